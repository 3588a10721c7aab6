#!/usr/bin/env python
"""The trainings behind the tables of docs/tasks/: taggers, sequences and forecasts, each beside its built-in rivals.

    .venv/bin/python scripts/bench_tasks.py DATA --only bikes --seeds 3
    .venv/bin/python scripts/bench_tasks.py DATA --only ewt wnut --seeds 2 --runs runs/tasks

DATA is a folder with the unpacked data sets. Each name is one `lstmcls train --seeds N`; its runs stay under --runs,
and a name whose runs are finished is not trained again. Scores are those of the dev rows, which also chose the epoch;
those of `demand` and `sessions` are of their test rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SHOWN = ("accuracy", "unseen_accuracy", "span_f1", "roc_auc", "macro_f1", "mae_h1", "mae", "coverage")


def trainings(data: Path) -> dict[str, list[str]]:
    """The arguments of `lstmcls train` by name: a preset or a file, then values for --set."""
    ewt, wnut, bikes = data / "ud-english-ewt", data / "wnut17", data / "bike-sharing" / "train.csv"
    english = ["tagger", f"data.train={ewt}/train.conllu", f"data.dev={ewt}/dev.conllu", "data.test=null"]
    tweets = ["tagger", f"data.train={wnut}/train.conll", f"data.dev={wnut}/dev.conll", "data.test=null"]
    tweets += ["train.select_by=span_f1"]
    hourly = ["forecast", "data.test=null"]
    return {
        "ewt": english,
        "ewt-no-features": [*english, "task.features=none"],
        "ewt-no-characters": [*english, "task.characters=none"],
        "ewt-no-crf": [*english, "task.crf=false"],
        "wnut": tweets,
        "wnut-no-features": [*tweets, "task.features=none"],
        "bikes": [
            *hourly,
            f"data.train={bikes}",
            "data.dev=from:2012-04-09 12:00",
            "data.series.time_column=[dteday,hr]",
            "data.series.target_column=cnt",
            "data.series.known_columns=[holiday,workingday]",
            "train.epochs=8",
        ],
        "etth1": [
            *hourly,
            f"data.train={data / 'etth1' / 'train-dev.csv'}",
            "data.dev=from:2017-06-26",
            "data.series.time_column=date",
            "data.series.target_column=OT",
            "task.calendar=[hour]",
            "task.season=24",
        ],
        "demand": ["forecast"],
        "sessions": ["sessions"],
        "plaid": [f"{data / 'plaid' / 'train.ts'}", "data.dev=0.2", "data.test=null"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", default=[], choices=list(trainings(Path())))
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--runs", type=Path, default=Path("runs/tasks"))
    options = parser.parse_args()
    print("| training | | scores | s per seed |\n|---|---|---|---|")
    for name, arguments in trainings(options.data.resolve()).items():
        if not options.only or name in options.only:
            rows(name, summary(arguments, options.runs / name, options.seeds))


def summary(arguments: list[str], run: Path, seeds: int) -> dict[str, Any]:
    """The summary.json of one training of several seeds. Exits if the training fails."""
    found = run / "summary.json"
    if not found.exists():
        preset, *values = arguments
        command = ["train", preset, "--seeds", str(seeds), "--run", str(run)]
        command += [part for value in values for part in ("--set", value)]
        done = subprocess.run(
            [sys.executable, "-m", "lstm_cli", *command], stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{run}: lstmcls train ended with exit code {done.returncode}")
    read: dict[str, Any] = json.loads(found.read_text("utf-8"))
    return read


def rows(name: str, found: dict[str, Any]) -> None:
    """Print a line for the model and one for each rival: the mean over the seeds, ± its standard deviation."""
    seconds = found["seconds"] / len(found["members"])
    print(f"| {name} ({found['split']}) | this model | {spreads(found['scores'])} | {seconds:.0f} |")
    for rival, scores in found["baselines"].items():
        print(f"| | {rival} | {spreads(scores)} | |", flush=True)


def spreads(scores: dict[str, dict[str, float]]) -> str:
    return ", ".join(
        f"{name} {scores[name]['mean']:.4g} ± {scores[name]['sd']:.2g}" for name in SHOWN if name in scores
    )


if __name__ == "__main__":
    main()
