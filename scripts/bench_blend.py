#!/usr/bin/env python
"""Network and n-grams together against each alone, on test rows that differ from train and dev, and with few dev rows.

    .venv/bin/python scripts/bench_blend.py DATA --group other --seeds 3
    .venv/bin/python scripts/bench_blend.py DATA --group other --seeds 3 --dev-by-group --logits runs/blend-groups
    .venv/bin/python scripts/bench_blend.py DATA --group small --seeds 10

DATA is a folder with the unpacked data sets. A set of the group `other` is tested on another airline, language, later
posts or other kind of text than it is trained on; one of `small` has 200, 500 or 1,000 training rows; one of `alike` is
tested on rows like its own. Texts are cut to 64 tokens, and the language model reads a million tokens at most. The test
rows of `alike` and `small` are the dev file, or held out of train. Each run keeps the logits of every epoch in
--logits. What is there is not trained again, so a change of lstm_cli/metrics/calibration.py is measured in seconds.
With --dev-by-group, dev has other languages or airlines than train (data.group_column) and 0.2 of the rows; sets
without such groups are left out.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Pairs = list[tuple[str, ...]]
"""Text and label of each row, and the group that it belongs to, if there are groups."""
MOST_TRAIN, MOST_TEST = 3_000, 1_500
AIRLINES = ("Virgin America", "United", "Delta")
LANGUAGES = ("german", "english", "arabic", "hindi", "french", "italian", "spanish", "portuguese")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--group", choices=("other", "small", "alike"), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--dev-by-group", action="store_true")
    parser.add_argument("--logits", type=Path, default=Path("runs/blend"))
    options = parser.parse_args()
    options.logits.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first_seed, options.seeds):
        for name, config, train, test in sets(options.data, options.group, seed):
            kept = options.logits / f"{name}.{seed}.npz"
            if options.only not in name or kept.exists() or (options.dev_by_group and len(train[0]) < 3):
                continue
            np.savez_compressed(kept, **logits_of(config, train, test, seed, by_group=options.dev_by_group))
            print(kept, file=sys.stderr, flush=True)
    kept = sorted(options.logits.glob(f"{options.group}-*.npz"))
    table([path for path in kept if options.only in path.name])


def table(paths: list[Path]) -> None:
    """Accuracy, macro F1 (in points) and log loss of whole, network and n-grams, each the mean over the seeds."""
    found: dict[str, list[np.ndarray]] = {}
    for path in paths:
        found.setdefault(path.name.split(".")[0], []).append(scores(dict(np.load(path))))
    print("| set | seeds | whole | network | n-grams | whole minus better |")
    print("|---|---|---|---|---|---|")
    for name, seeds in found.items():
        mean = np.mean(seeds, axis=0)  # (3, 3)
        cells = [f"{100 * accuracy:.1f}, {100 * f1:.1f}, {loss:.3f}" for accuracy, f1, loss in mean]
        less = 100 * (mean[0, :2] - mean[1:, :2].max(axis=0))
        print(f"| {name} | {len(seeds)} | {' | '.join(cells)} | {less[0]:+.1f}, {less[1]:+.1f} |")


def scores(kept: dict[str, np.ndarray]) -> np.ndarray:
    """(3, 3): accuracy, macro F1 and log loss of whole, network and n-grams on test, of the epoch with the lowest dev
    loss."""
    from lstm_cli.metrics.calibration import Calibration, softmax
    from lstm_cli.metrics.classification import accuracy_and_macro_f1

    def loss(probs: np.ndarray, targets: np.ndarray) -> float:
        chosen = probs[np.arange(len(targets)), targets]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())

    def values(split: str, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        network, ngrams = kept[f"{split}_network"][epoch], kept[f"{split}_ngrams"]
        return (
            network.astype(np.float64),
            ngrams.astype(np.float64),
            kept[f"{split}_targets"].astype(np.int64),
        )

    best: tuple[float, int, Calibration] | None = None
    for epoch in range(len(kept["dev_network"])):
        network, ngrams, targets = values("dev", epoch)
        fitted = Calibration.fit(network, ngrams, targets)
        dev_loss = loss(fitted.probs(network, ngrams), targets)
        if best is None or dev_loss < best[0]:
            best = dev_loss, epoch, fitted
    assert best is not None
    network, ngrams, targets = values("test", best[1])
    all_probs = (best[2].probs(network, ngrams), softmax(network), softmax(ngrams))
    return np.array(
        [
            (*accuracy_and_macro_f1(targets, one.argmax(axis=1), one.shape[1]), loss(one, targets))
            for one in all_probs
        ]
    )


def sets(data: Path, group: str, seed: int) -> Iterator[tuple[str, str, Pairs, Pairs]]:
    """Name, config, training rows (dev is cut from them) and test rows of each set."""
    if group == "other":
        yield from other(data, seed)
        return
    sst2, emotions, hotels = (
        read(data / one / "train.csv") for one in ("sst2", "tweets-emotion", "hotel-chinese")
    )
    train, test = cut(hotels, len(hotels) - 1_000, 1_000, seed)
    known = {
        "sst2": ("sentences", sst2, read(data / "sst2" / "dev.csv")),
        "emotions": ("sentences", emotions, read(data / "tweets-emotion" / "dev.csv")),
        "hotels": ("multilingual", train, test),
    }
    if group == "small":
        for size in (200, 500, 1_000):
            for name, (config, train, test) in known.items():
                yield f"small-{name}-{size}", config, cut(train, size, 0, seed)[0], test
        return
    trec = read(data / "trec" / "train.csv")
    known["trec"] = ("sentences", *cut(trec, len(trec) - 545, 545, seed))
    for name, (config, train, test) in known.items():
        yield f"alike-{name}", config, train, test


def other(data: Path, seed: int) -> Iterator[tuple[str, str, Pairs, Pairs]]:
    tweets = read(data / "tweets-8-languages" / "train.csv", "language")
    airlines = read(data / "quirks" / "airline-tweets.csv", "airline", label="airline_sentiment")
    for language in LANGUAGES:
        yield f"other-{language}", "sentences", *parts(tweets, language, seed)
    for airline in AIRLINES:
        yield f"other-{airline.split()[0].lower()}", "sentences", *parts(airlines, airline, seed)
    early, late = posts(data / "20-newsgroups" / "train")
    yield "other-newsgroups", "sentences", cut(early, 2_000, 0, seed)[0], cut(late, MOST_TEST, 0, 0)[0]
    lines = (data / "quirks" / "uci-imdb-sentences.tsv").read_text("utf-8").splitlines()
    cells = [line.split("\t") for line in lines if "\t" in line]
    sentences: Pairs = [(text, "positive" if label.strip() == "1" else "negative") for text, label in cells]
    full = {"pos": "positive", "neg": "negative"}
    reviews: Pairs = [
        (text, full[label]) for text, label in cut(read(data / "imdb" / "train.csv"), 2_000, 0, seed)[0]
    ]
    yield "other-imdb", "sentences", reviews, sentences
    yield "other-sst2", "sentences", cut(read(data / "sst2" / "train.csv"), MOST_TRAIN, 0, seed)[0], sentences
    for language in ("german", "hindi"):
        yield f"other-{language}-pieces", "multilingual", *parts(tweets, language, seed)


def read(path: Path, *keys: str, label: str = "label") -> Pairs:
    """Text and label of each row; with a key, its value is the group."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return [(row["text"], row[label], *(row[key] for key in keys)) for row in csv.DictReader(file)]


def parts(rows: Pairs, left_out: str, seed: int) -> tuple[Pairs, Pairs]:
    """Training rows of all parts but one, and test rows of that one."""
    inside = [row for row in rows if row[2] != left_out]
    outside = [row for row in rows if row[2] == left_out]
    return cut(inside, MOST_TRAIN, 0, seed)[0], cut(outside, MOST_TEST, 0, 0)[0]


def posts(folder: Path) -> tuple[Pairs, Pairs]:
    """The first 60 % and the last 25 % of each newsgroup's posts by their number: subject and body."""
    early: Pairs = []
    late: Pairs = []
    for group in sorted(folder.iterdir()):
        rows = []
        for path in sorted(group.iterdir(), key=lambda path: int(path.name)):
            head, _, body = path.read_text("latin-1").partition("\n\n")
            fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
            rows.append((f"{fields.get('Subject', '')}\n{body}", group.name))
        early += rows[: int(0.6 * len(rows))]
        late += rows[int(0.75 * len(rows)) :]
    return early, late


def cut(rows: Pairs, num_first: int, num_second: int, seed: int) -> tuple[Pairs, Pairs]:
    mixed = random.Random(seed).sample(rows, len(rows))
    return mixed[:num_first], mixed[num_first : num_first + num_second]


def logits_of(
    config_name: str, train: Pairs, test: Pairs, seed: int, *, by_group: bool
) -> dict[str, np.ndarray]:
    """Train as `lstmcls train` does, and keep what both components say of dev and test after every epoch (E, N, C)."""
    from lstm_cli.commands.pretrain import pretrain_run
    from lstm_cli.config.load import load_config
    from lstm_cli.console import Screen
    from lstm_cli.data.sources import load_splits
    from lstm_cli.runs.origin import named_origin
    from lstm_cli.runtime import start
    from lstm_cli.scoring.prediction import predict_batches
    from lstm_cli.training.fit import EncodedSplits, EpochReport, fit
    from lstm_cli.training.state import TrainState

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = [f"run.seed={seed}", "run.threads=1", "task.max_tokens=64", "pretrain.budget=1000000"]
        if by_group:
            sets += ["data.group_column=group", "data.dev=0.2"]
        for name, rows in (("train", train), ("test", test)):
            write(folder / f"{name}.csv", rows)
            sets.append(f"data.{name}={folder / name}.csv")
        source = Path(__file__).parents[1] / "configs" / f"{config_name}.yaml"
        config = load_config(str(source), sets, str(folder / "pretrained"))
        runtime = start(config.run)
        pretrain_run(config, runtime, Screen(quiet=True), resume=False, overwrite=False)
        origin = named_origin(config.task, seed, folder / "pretrained")
        splits = load_splits(config.data, origin.dev_seed, content=config.task.content)
        assert splits.test is not None
        task = config.task.fit(splits.train, origin)
        stores = {"dev": task.encode(splits.dev), "test": task.encode(splits.test)}
        state = TrainState.start(task, config.train, runtime, seed, origin.weights, origin.pretrained)
        kept: dict[str, list[np.ndarray]] = {"dev": [], "test": []}
        data = EncodedSplits(task.encode(splits.train, scored=False), stores["dev"])
        for report in fit(state, task, data, config.train, runtime):
            if isinstance(report, EpochReport):
                for name, store in stores.items():
                    *_, (_, collected) = predict_batches(
                        state.scored_model, task.uncalibrated, store, runtime
                    )
                    kept[name].append(np.log(np.maximum(collected.outputs(), np.finfo(np.float64).tiny)))
        found = {f"{name}_network": np.stack(epochs).astype(np.float32) for name, epochs in kept.items()}
        for name, store in stores.items():
            found[f"{name}_ngrams"] = np.asarray(store.extras["ngram_logits"])
            found[f"{name}_targets"] = np.asarray(store.known_targets)
        return found


def write(path: Path, rows: Pairs) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerows([("text", "label", "group")[: len(rows[0])], *rows])


if __name__ == "__main__":
    sys.exit(main())
