#!/usr/bin/env python
"""How well the two answers of `lstmcls explain` agree, and how long they take.

    .venv/bin/python scripts/bench_explain.py runs/reviews dev.csv

Of each text in the column `text`, the word with the largest contribution: has leaving it out the same sign? Also the
largest error of the sum of the contributions, as a fraction of what they add up to.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

import lstm_cli


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1_000)
    options = parser.parse_args()
    model = lstm_cli.load(options.run, threads=1)
    with options.data.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][: options.rows]
    agree, errors, seconds = [], [], []
    for text in texts:
        began = time.perf_counter()
        why = model.explain(text)
        seconds.append(time.perf_counter() - began)
        top = max(why.words, key=lambda word: abs(word.contribution))
        agree.append(top.without is not None and top.contribution * top.without > 0)
        errors.append(abs(why.error) / max(abs(why.difference - why.base), 0.1))
    print(f"{len(texts):,} texts: the top word has the same sign in {100 * statistics.mean(agree):.1f} %")
    print(f"error of the sum: median {statistics.median(errors):.4f}, largest {max(errors):.4f}")
    print(f"seconds per text: median {statistics.median(seconds):.3f}, largest {max(seconds):.3f}")


if __name__ == "__main__":
    main()
