#!/usr/bin/env python
"""How much faster several processes train one model than one process, each with one CPU thread.

    .venv/bin/python scripts/bench_processes.py                     the built-in corpus, 2 processes, 3 pairs
    .venv/bin/python scripts/bench_processes.py --data train.csv --config documents

Both read the same batches in the same order; with N processes a step has N of them. The figure is the ratio of the
tokens per second of an epoch, without start, vocabulary and scoring, in runs that take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="builtin:reviews")
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(options.pairs):
            one = speed(options, Path(folder) / f"one-{pair}", 1)
            several = speed(options, Path(folder) / f"several-{pair}", options.processes)
            ratios.append(several / one)
            print(
                f"1 process {one:,.0f} tokens/s, {options.processes} processes {several:,.0f}: {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"{options.processes} processes are {statistics.median(ratios):.2f} times as fast (median)")


def speed(options: argparse.Namespace, run: Path, processes: int) -> float:
    """The tokens per second of the last epoch of a training."""
    sets = [
        f"data.train={options.data}",
        "data.dev=0.1",
        "data.test=null",
        "task.encoder.init_from=null",
        f"train.epochs={options.epochs}",
        "run.threads=1",
        f"run.dir={run}",
    ]
    command = ["train", str(ROOT / "configs" / f"{options.config}.yaml"), "--no-baselines", "--quiet"]
    command += [argument for value in sets for argument in ("--set", value)]
    start = [sys.executable, "-m", "lstm_cli"]
    if processes > 1:
        start = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(processes),
            "-m",
            "--",
        ]
        start += ["lstm_cli"]
    subprocess.run([*start, *command], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT)
    *_, last = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(last)["tokens_per_second"])


if __name__ == "__main__":
    main()
