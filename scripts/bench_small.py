#!/usr/bin/env python
"""Few rows: the model of `lstmcls train ROWS.csv` against TF-IDF with logistic regression, mean over seeds.

    .venv/bin/python scripts/bench_small.py DATA --seeds 10
    .venv/bin/python scripts/bench_small.py DATA --seeds 3 --set train.batch_size=8 --set train.epochs=20

DATA is a folder with the unpacked data sets. Each seed draws its training rows (dev is cut from them) and, from the
others, up to 1,000 test rows. The config is the guessed one. TF-IDF is fitted on the same rows as the network, and a
second time on these and the dev rows together, as someone who trains nothing else would. Each line of --results is one
training. What is there is not trained again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml

Pairs = list[tuple[str, str]]
MOST_TEST = 1_000
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")  # as the command line does
SIZES = (200, 500, 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="over the guessed config"
    )
    parser.add_argument("--results", type=Path, default=Path("runs/small.jsonl"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    how = " ".join(options.set) or "guessed"
    known = results(options.results)
    for seed in range(options.first_seed, options.seeds):
        for name, rows in sets(options.data):
            for size in options.sizes:
                if options.only in name and (how, name, size, seed) not in known:
                    found = trained(*drawn(rows, size, seed), seed, options.set)
                    line = {"how": how, "set": name, "rows": size, "seed": seed, **found}
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
    table(results(options.results))


def results(path: Path) -> dict[tuple[str, str, int, int], dict[str, float]]:
    lines = map(json.loads, path.read_text("utf-8").splitlines()) if path.exists() else ()
    return {(one["how"], one["set"], one["rows"], one["seed"]): one for one in lines}


def table(found: dict[tuple[str, str, int, int], dict[str, float]]) -> None:
    """Accuracy and macro F1 in points, each the mean over the seeds, and its standard error of the difference."""
    print(
        "| config | set | rows | seeds | model | TF-IDF, same rows | TF-IDF, with dev | minus the better | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    groups = defaultdict(list)
    for (how, name, size, _), one in found.items():
        groups[how, name, size].append(one)
    for (how, name, size), seeds in sorted(groups.items()):
        cells, rivals = [], []
        for who in ("model", "tfidf", "tfidf_all"):
            scores = np.array([[100 * one[f"{who}_accuracy"], 100 * one[f"{who}_f1"]] for one in seeds])
            rivals.append(scores)
            cells.append(", ".join(f"{value:.1f}" for value in scores.mean(axis=0)))
        better = max(rivals[1:], key=lambda scores: scores.mean(axis=0)[0])
        less = rivals[0] - better
        error = less.std(axis=0, ddof=1)[0] / np.sqrt(len(seeds)) if len(seeds) > 1 else float("nan")
        mean = less.mean(axis=0)
        seconds = np.mean([one["seconds"] for one in seeds])
        cells.append(f"{mean[0]:+.1f} ± {error:.1f}, {mean[1]:+.1f}")
        print(f"| {how} | {name} | {size} | {len(seeds)} | {' | '.join(cells)} | {seconds:.0f} |")


def sets(data: Path) -> list[tuple[str, Pairs]]:
    """Name and all labelled rows of each set."""
    tweets = read(data / "tweets-8-languages" / "train.csv", "text", "label", language="german")
    return [
        ("sst2", read(data / "sst2" / "train.csv", "text", "label")),
        ("trec", read(data / "trec" / "train.csv", "text", "label")),
        ("hotels", read(data / "hotel-chinese" / "train.csv", "text", "label")),
        ("airlines", read(data / "quirks" / "airline-tweets.csv", "text", "airline_sentiment")),
        ("german", tweets),
    ]


def read(path: Path, text: str, label: str, **only: str) -> Pairs:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        found = [
            (row[text], row[label]) for row in rows if all(row[key] == value for key, value in only.items())
        ]
    return list({text: (text, label) for text, label in found}.values())  # no text in train and test


def drawn(rows: Pairs, size: int, seed: int) -> tuple[Pairs, Pairs]:
    """Training rows, and up to MOST_TEST test rows."""
    mixed = random.Random(seed).sample(rows, min(len(rows), size + MOST_TEST))
    return mixed[:size], mixed[size:]


def trained(
    train: Pairs, test: Pairs, seed: int, overrides: list[str], preset: str | None = None
) -> dict[str, float]:
    """Scores of the model and of both rivals on the test rows, and the seconds of the training."""
    import lstm_cli

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder / "rows.csv", train)
        write(folder / "test.csv", test)
        settings = dict(one.split("=", 1) for one in overrides)
        settings |= {"data.test": f"{folder}/test.csv", "run.seed": str(seed), "run.threads": "1"}
        began = time.perf_counter()
        run = lstm_cli.train(
            folder / "rows.csv",
            run=folder / "run",
            preset=preset,
            quiet=True,
            **{key.replace(".", "__"): yaml.safe_load(value) for key, value in settings.items()},
        )
        seconds = time.perf_counter() - began
    rival = run.metrics["baselines"]["tfidf_logreg"]
    alone = tfidf(train, test, seed)
    return {
        "model_accuracy": run.metrics["accuracy"],
        "model_f1": run.metrics["macro_f1"],
        "tfidf_accuracy": rival["accuracy"],
        "tfidf_f1": rival["macro_f1"],
        "tfidf_all_accuracy": alone[0],
        "tfidf_all_f1": alone[1],
        "seconds": seconds,
    }


def tfidf(train: Pairs, test: Pairs, seed: int) -> tuple[float, float]:
    """Accuracy and macro F1 on `test` of TF-IDF that is fitted on all of `train`."""
    from sklearn.metrics import accuracy_score, f1_score

    from lstm_cli.features.tfidf import tfidf_logreg

    labels = sorted({label for _, label in train})
    targets = np.array([labels.index(label) for _, label in train])
    found = tfidf_logreg([text for text, _ in train], targets, [text for text, _ in test], len(labels), seed)
    predicted = [labels[i] for i in found.predicted]
    expected = [label for _, label in test]
    f1 = f1_score(expected, predicted, average="macro", zero_division=0)
    return float(accuracy_score(expected, predicted)), float(f1)


def write(path: Path, rows: Pairs) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


if __name__ == "__main__":
    main()
