#!/usr/bin/env python
"""Seconds and peak memory of whole commands as the rows grow. Both should be flat in a row, memory in all of them.

`train` is timed up to its first saved step (rows read, split, counted and encoded, vocabulary learned), trains for
`--seconds` more and is stopped by SIGTERM; `predict` runs to its end. Rows are the built-in corpus over and over, each
made distinct by a number, joined to documents of about `--words` words. Needs a run to predict with:

    scripts/quickstart && .venv/bin/python scripts/bench_scaling.py --rows 10000 100000 1000000
    .venv/bin/python scripts/bench_scaling.py --rows 1000000 --words 200 --config documents --only train
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
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
    parser.add_argument("--words", type=int, default=15)
    parser.add_argument("--config", default="sentences", help="of configs/, for train")
    parser.add_argument("--seconds", type=float, default=30.0, help="of training")
    parser.add_argument("--run", default=str(ROOT / "runs" / "quickstart"), help="to predict with")
    parser.add_argument("--only", choices=["train", "predict"])
    options = parser.parse_args()
    print("command        rows   seconds  µs/row  peak MB")
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            write(path, count, options.words)
            # so that nothing is found in a cache
            environment = {**os.environ, "XDG_CACHE_HOME": str(Path(folder) / "cache")}
            commands = {
                "train": [str(ROOT / "configs" / f"{options.config}.yaml"), "--set", f"data.train={path}"],
                "predict": [options.run, str(path), "-o", f"{path}.jsonl"],
            }
            commands["train"] += ["--run", str(Path(folder) / "run"), "--set", "train.save_every=1"]
            commands["train"] += ["--set", "task.encoder.init_from=null"]  # its first step is what is timed
            for name, arguments in commands.items():
                if options.only not in (None, name):
                    continue
                first = Path(folder) / "run" / "checkpoints" / "last" if name == "train" else None
                seconds, megabytes = measured([name, *arguments], environment, first, options.seconds)
                micro = 1e6 * seconds / count
                print(f"{name:8} {count:10,} {seconds:9.1f} {micro:7.0f} {megabytes:8.0f}", flush=True)


def write(path: Path, count: int, words: int) -> None:
    corpus = list(reviews("train"))
    average = sum(len(text.split()) for text, _ in corpus) / len(corpus)
    joined = max(1, round(words / average))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for i in range(count):
            parts = [corpus[(i * joined + j) % len(corpus)] for j in range(joined)]
            table.writerow([f"{' '.join(text for text, _ in parts)} {i // len(corpus)}", parts[0][1]])


def measured(
    arguments: list[str], environment: dict[str, str], first: Path | None, seconds: float
) -> tuple[float, float]:
    """Seconds of one `lstmcls` process, or until `first` is there, and its peak resident megabytes; it is stopped
    `seconds` after that."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "lstm_cli.cli", *arguments, "--quiet"], env=environment)
    taken = None
    while first is not None and taken is None:
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(arguments)}: ended before it trained")
        if first.exists():
            taken = time.perf_counter() - began
            time.sleep(seconds)
            process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in (0, 143):
        raise SystemExit(f"{' '.join(arguments)}: exit {code}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return taken or time.perf_counter() - began, peak


if __name__ == "__main__":
    main()
