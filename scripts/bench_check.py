#!/usr/bin/env python
"""`lstmcls check` on data of your own: seconds, findings and, where the truth is known, how good its suspects are.

    .venv/bin/python scripts/bench_check.py configs/documents.yaml --data reviews.csv
    .venv/bin/python scripts/bench_check.py configs/sentences.yaml --data news.csv --given crowd_label --true label

With --true, the labels of the column --given are suspected, and the precision is the share of the first 100, 500 and
1,000 suspects whose label is not that of the column --true. The file is a CSV with a header and a row a line.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--data", required=True)
    parser.add_argument("--given", default="label")
    parser.add_argument("--true")
    options = parser.parse_args()
    arguments = ["check", options.config, "--set", f"data.train={options.data}", "--json", "--quiet"]
    arguments += ["--set", f"data.label_column={options.given}", *(["--suspects"] if options.true else [])]
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-m", "lstm_cli.cli", *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_CACHE_HOME": cache},
        )
        seconds = time.perf_counter() - began
    report = json.loads(answer.stdout)
    print(f"exit {answer.returncode}, {seconds:.1f} s")
    for finding in report["findings"]:
        print(f"{finding['severity']:8} {finding['count']:8,}  {finding['what']}")
    if options.true:
        precision(options, report["suspects"]["ranked"])


def precision(options: argparse.Namespace, ranked: list[dict[str, str]]) -> None:
    csv.field_size_limit(2**30)
    with Path(options.data).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = [row[options.given] != row[options.true] for row in rows]
    print(f"{sum(wrong):,} of {len(rows):,} labels are wrong; {len(ranked):,} suspects")
    hits = [wrong[int(suspect["where"].rpartition(":")[2]) - 2] for suspect in ranked]  # line 1 is the header
    for first in (100, 500, 1000):
        print(f"of the first {first:5,} suspects {sum(hits[:first]) / len(hits[:first]):.3f} are wrong")


if __name__ == "__main__":
    main()
