#!/usr/bin/env python
"""The preset that `lstmcls train ROWS.csv` guesses against the others, on held-out rows, mean over seeds.

    .venv/bin/python scripts/bench_guess.py DATA --seeds 3
    .venv/bin/python scripts/bench_guess.py DATA --seeds 3 --only tweets --presets sentences multilingual

DATA is a folder with the unpacked data sets. Each seed draws up to --rows training rows (dev is cut from them) and,
from the others, up to 1,000 test rows. Each line of --results is one training. What is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_small import Pairs, drawn, read, sets, trained, write

PRESETS = ("sentences", "multilingual", "documents")
LANGUAGES = ("arabic", "english", "french", "german", "hindi", "italian", "portuguese", "spanish")
NEAR = 0.5
"""Points of accuracy below the best preset that count as chance."""

Key = tuple[str, str, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument("--results", type=Path, default=Path("runs/guess.jsonl"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = results(options.results)
    for seed in range(options.first_seed, options.seeds):
        for name, rows in all_sets(options.data):
            for preset in options.presets:
                if options.only not in name or (name, preset, seed) in known:
                    continue
                train, test = drawn(rows, min(options.rows, 4 * len(rows) // 5), seed)
                line = {"set": name, "preset": preset, "seed": seed, "rows": len(train)}
                line |= {"guessed": guessed(train)} | trained(train, test, seed, [], preset)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    table(results(options.results))


def results(path: Path) -> dict[Key, dict[str, float]]:
    lines = map(json.loads, path.read_text("utf-8").splitlines()) if path.exists() else ()
    return {(one["set"], one["preset"], one["seed"]): one for one in lines}


def table(found: dict[Key, dict[str, float]]) -> None:
    """Accuracy and macro F1 of each preset in points, and those of the guessed one minus those of the best."""
    print(f"| set | rows | seeds | {' | '.join(PRESETS)} | guessed | minus the best | |")
    print("|---|---|---|" + "---|" * (len(PRESETS) + 3))
    groups: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for (name, preset, _), one in found.items():
        groups[name][preset].append(one)
    for name, presets in groups.items():
        means = {
            preset: 100 * np.mean([[one["model_accuracy"], one["model_f1"]] for one in seeds], axis=0)
            for preset, seeds in presets.items()
        }
        every = [one for seeds in presets.values() for one in seeds]
        votes = [str(one["guessed"]) for one in every]
        choice = max(set(votes), key=votes.count)
        cells = [f"{means[one][0]:.1f}, {means[one][1]:.1f}" if one in means else "" for one in PRESETS]
        less = means[choice] - np.max([*means.values()], axis=0) if choice in means else np.full(2, np.nan)
        mark = "" if less[0] >= -NEAR else "worse"
        size = f"{every[0]['rows']:,.0f} | {min(map(len, presets.values()))}"
        print(
            f"| {name} | {size} | {' | '.join(cells)} | {choice} | {less[0]:+.1f}, {less[1]:+.1f} | {mark} |"
        )


def all_sets(data: Path) -> Iterator[tuple[str, Pairs]]:
    """Name and labelled rows of each set."""
    yield from (one for one in sets(data) if one[0] != "german")
    yield "emotions", read(data / "tweets-emotion" / "train.csv", "text", "label")
    for language in LANGUAGES:
        path = data / "tweets-8-languages" / "train.csv"
        yield f"tweets-{language}", read(path, "text", "label", language=language)
    yield "tweets-all", read(data / "tweets-8-languages" / "train.csv", "text", "label")
    yield "ag-news", read(data / "ag-news-10k" / "train.csv", "text", "label")
    for name in ("sms-spam", "uci-imdb-sentences"):
        yield name, lines(data / "quirks" / f"{name}.tsv")
    yield "newsgroups", posts(data / "20-newsgroups" / "train")
    yield "imdb", read(data / "imdb" / "train.csv", "text", "label")


def lines(path: Path) -> Pairs:
    """Rows of a TSV file without a header; the column with fewer different values is the label."""
    cells = [line.split("\t")[:2] for line in path.read_text("utf-8").splitlines() if "\t" in line]
    at = min((0, 1), key=lambda column: len({row[column] for row in cells}))
    return [(row[1 - at], f"class {row[at].strip()}") for row in cells]


def posts(folder: Path) -> Pairs:
    """Subject and body of each post."""
    found = []
    for path in sorted(folder.glob("*/*")):
        head, _, body = path.read_text("latin-1").partition("\n\n")
        subject = re.search(r"^Subject: (.*)$", head, re.MULTILINE)
        found.append((f"{subject[1] if subject else ''}\n{body}", path.parent.name))
    return found


def guessed(train: Pairs) -> str:
    """The preset that is guessed for these rows."""
    from lstm_cli.config.guess import Given, guess

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "rows.csv"
        write(path, train)
        said = guess(str(path), Given()).said
    return next(found[1] for one in said if (found := re.match(r"preset (\w+):", one)))


if __name__ == "__main__":
    main()
