"""The baselines of a task: fitted once for the same rows and saved in the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.arrays import Ragged
from lstm_cli.data.durable import read_file, write_file
from lstm_cli.data.sources import Rows
from lstm_cli.tasks.base import Baseline, Comparison, Evaluation, Task

_MAX_BYTES, _MAX_ROW_BYTES = 2**16, 2**12
"""Limits on a file of kept baselines: for itself and for each scored row. A class takes up to 6 bytes."""

FORMAT = 2
"""Increased whenever a baseline would predict differently, so that no old file is read."""


def with_baselines(
    evaluation: Evaluation,
    task: Task,
    train: Rows[Any],
    rows: Rows[Any],
    path: Path,
    say: Callable[[str], None],
) -> Evaluation:
    """The evaluation with the task's baselines, read from `path`, or fitted on `train` and saved there."""
    saved = _read(path, _MAX_BYTES + _MAX_ROW_BYTES * len(evaluation.store))
    if saved is None or not _match(saved, task, evaluation):
        say("fitting the baselines on the same training rows (--no-baselines skips this) …")
        saved = task.baselines(train, rows)
        lines = [{"name": one.name, "predicted": _listed(one), "note": one.note} for one in saved]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(lines).encode(), shared=True)
    return replace(evaluation, baselines=tuple(saved))


def comparisons(task: Task, evaluation: Evaluation) -> dict[str, Comparison]:
    """The comparison of the model with each baseline, by the baseline's name."""
    return {one.name: task.compare(evaluation.outputs, one, evaluation.store) for one in evaluation.baselines}


def _listed(baseline: Baseline) -> list[Any]:
    predicted = baseline.predicted
    return [row.tolist() for row in predicted] if isinstance(predicted, Ragged) else predicted.tolist()


def _read(path: Path, max_bytes: int) -> list[Baseline] | None:
    """The baselines in the file, or None if it does not hold baselines."""
    try:
        return [
            Baseline(str(one["name"]), _predicted(one["predicted"]), str(one["note"]))
            for one in json.loads(read_file(path, max_bytes))
        ] or None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _predicted(values: list[Any]) -> Any:
    if values and isinstance(values[0], list):
        return Ragged.pack([np.array(row) for row in values])
    return np.array(values)


def _match(baselines: list[Baseline], task: Task, evaluation: Evaluation) -> bool:
    """Whether the baselines have a valid prediction for each scored row."""
    try:
        comparisons(task, replace(evaluation, baselines=baselines))
    except (ValueError, TypeError, IndexError):
        return False
    return True
