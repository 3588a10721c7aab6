#!/usr/bin/env python
"""What the look into the model adds to the time of `lstmcls eval`: the n-grams and the explanations in report.html.

    .venv/bin/python scripts/bench_report.py runs/reviews --pairs 20

Evaluates the run in pairs, with and without it, each in its own process with one thread. Compares user CPU time. The
baselines are fitted once before, because later evaluations read them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

_EVAL = """
import sys
from lstm_cli.__main__ import main
import lstm_cli.commands.evaluate
if sys.argv.pop(1) == "without":
    lstm_cli.commands.evaluate.inside = lambda *_: None
sys.exit(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    _seconds(options.run, "with")
    ratios, seconds = [], []
    for pair in range(options.pairs):
        kinds = ["with", "without"] if pair % 2 else ["without", "with"]
        took = {kind: _seconds(options.run, kind) for kind in kinds}
        ratios.append(took["with"] / took["without"])
        seconds.append(took["without"])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"user CPU time with / without: median {middle:.3f}, quartiles {low:.3f} to {high:.3f}")
    print(f"without: median {statistics.median(seconds):.2f} s; {options.pairs} pairs")


def _seconds(run: str, kind: str) -> float:
    """The user CPU time of one evaluation, in seconds."""
    before = os.times().children_user
    command = [sys.executable, "-c", _EVAL, kind, "eval", run, "--quiet", "--set", "run.threads=1"]
    subprocess.run(command, check=True)
    return os.times().children_user - before


if __name__ == "__main__":
    main()
