#!/usr/bin/env python
"""What each change of a recipe does to its score on rows held out of train: mean ± sd over seeds, seconds, parameters.

    .venv/bin/python scripts/ablate.py configs/sentences.yaml --data trec=questions.csv --seeds 3 \\
        --change "max pooling: task.pooling=max" --change "no n-grams: task.features=none" --out table.csv

The recipe as it is comes first. A change is a name and the overrides that make it; those after --set hold for all.
"{recipe}" in an override is the folder of the recipe's run of the same seed: task.encoder.init_from={recipe}/pretrain
starts from the same language model, and its seconds are not counted again.
Every seed cuts other test rows (a tenth) and other dev rows from train, the same for every change, so that a change is
held against the recipe on the same rows: `gain` is the mean of those differences in accuracy, with their sd. Finished
runs are kept in --runs and not trained again; the rows of one data set replace those that --out had of it.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from lstm_cli.runs.folder import RunFolder

RECIPE = "as it is"
SCORES = ("accuracy", "macro_f1", "log_loss", "ece")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--data", required=True, help="NAME=TRAINING-FILE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--change", action="append", default=[], metavar="'NAME: KEY=VALUE …'")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    options = parser.parse_args()
    name, _, path = options.data.partition("=")
    shared = [f"data.train={path}", "data.dev=0.1", "data.test=0.1", *options.set]
    changes = {RECIPE: ""} | {
        change.partition(":")[0].strip(): change.partition(":")[2].strip() for change in options.change
    }
    lines: list[dict[str, Any]] = []
    recipe: list[dict[str, Any]] = []
    for change, overrides in changes.items():
        scored = []
        for seed in range(options.seeds):
            own, of_recipe = (folder(options, name, which) / f"seed-{seed}" for which in (change, RECIPE))
            sets = [part.replace("{recipe}", str(of_recipe.resolve())) for part in overrides.split()]
            scored.append(scores(options.config, [*shared, *sets], own, seed))
        recipe = recipe or scored
        gains = [
            100 * (one["accuracy"] - other["accuracy"]) for one, other in zip(scored, recipe, strict=True)
        ]
        line = {"data": name, "change": change, "overrides": overrides, "seeds": options.seeds}
        for score in SCORES:
            values = [one[score] for one in scored]
            line |= {score: f"{statistics.mean(values):.4f}", f"{score}_sd": f"{sd(values):.4f}"}
        line |= {"gain": f"{statistics.mean(gains):+.2f}", "gain_sd": f"{sd(gains):.2f}"}
        line["seconds"] = f"{statistics.mean(one['seconds'] for one in scored):.0f}"
        line["parameters"] = scored[0]["parameters"]
        print(
            f"{name} {change}: {float(line['accuracy']):.2%} ± {float(line['accuracy_sd']):.2%}, macro F1 "
            f"{line['macro_f1']}, gain {line['gain']} ± {line['gain_sd']}, {line['seconds']} s",
            flush=True,
        )
        lines.append(line)
        if options.out:
            write(options.out, name, lines)


def folder(options: argparse.Namespace, data: str, change: str) -> Path:
    """Where the runs of a change are kept."""
    kept: Path = options.runs / Path(options.config).stem / data
    return kept / change.replace(" ", "-").replace("/", "-")


def scores(config: str, overrides: list[str], run: Path, seed: int) -> dict[str, Any]:
    """Train one seed, unless it is done, and return its test scores, the seconds of its epochs and its parameters."""
    report = run / "eval" / "test" / "metrics.json"
    if not report.exists():
        sets = [part for override in [*overrides, f"run.seed={seed}"] for part in ("--set", override)]
        command = ["train", config, *sets, "--run", str(run), "--overwrite", "--no-baselines", "--quiet"]
        subprocess.run([sys.executable, "-m", "lstm_cli.cli", *command], check=True)
    metrics: dict[str, Any] = json.loads(report.read_text("utf-8"))
    metrics["seconds"] = RunFolder(run).seconds()
    metrics["parameters"] = num_parameters(run / "checkpoints" / "best" / "model.safetensors")
    return metrics


def num_parameters(path: Path) -> int:
    """From the header of a safetensors file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name not in ("__metadata__", "scales", "uniform"):
            size = 1
            for width in tensor["shape"]:
                size *= width
            total += size
    return total


def sd(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def write(out: Path, data: str, lines: list[dict[str, Any]]) -> None:
    """The table, with what it had of other data sets before."""
    kept: list[dict[str, Any]] = []
    if out.exists():
        with out.open(encoding="utf-8", newline="") as file:
            kept = [line for line in csv.DictReader(file) if line["data"] != data]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        table.writeheader()
        table.writerows([*kept, *lines])


if __name__ == "__main__":
    main()
