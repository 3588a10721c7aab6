#!/usr/bin/env python
"""Seconds and peak memory of whole commands as the rows grow: `check` reads, splits and encodes, `predict` predicts.

Rows are the built-in corpus over and over, each made distinct by a number. Needs a run to predict with:

    scripts/quickstart && .venv/bin/python scripts/bench_scaling.py --rows 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lstm_cli.data.builtin import reviews

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--run", default=str(ROOT / "runs" / "quickstart"))
    options = parser.parse_args()
    print("command        rows   seconds  µs/row  peak MB")
    with tempfile.TemporaryDirectory() as folder:
        for count in sorted(options.rows):
            path = Path(folder) / f"{count}.csv"
            write(path, count)
            sentences = ["check", str(ROOT / "configs" / "sentences.yaml"), "--set", f"data.train={path}"]
            for command in (sentences, ["predict", options.run, str(path), "-o", f"{path}.jsonl"]):
                seconds, megabytes = measured([*command, "--quiet"])
                micro = 1e6 * seconds / count
                print(f"{command[0]:8} {count:10,} {seconds:9.1f} {micro:7.0f} {megabytes:8.0f}", flush=True)


def write(path: Path, count: int) -> None:
    corpus = list(reviews("train"))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for i in range(count):
            text, label = corpus[i % len(corpus)]
            table.writerow([f"{text} {i // len(corpus)}", label])


def measured(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one `lstmcls` process.

    The system keeps the largest peak of all children so far, so the rows must not shrink from call to call.
    """
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lstm_cli", *arguments], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return time.perf_counter() - began, peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
