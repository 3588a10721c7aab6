"""Scores of a model on rows with known targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from lstm_cli.arrays import Ragged
from lstm_cli.data.sources import Rows
from lstm_cli.data.split import content_hashes
from lstm_cli.errors import NotFiniteError
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.abilities import calibrated
from lstm_cli.scoring.prediction import predict_store
from lstm_cli.tasks.base import Evaluation, Outputs, Seen, Task


def evaluate(
    model: nn.Module,
    task: Task,
    rows: Rows[Any],
    split: str,
    checkpoint: str,
    runtime: Runtime,
) -> Evaluation:
    """Score all rows. Raises NotFiniteError if an output is not finite, DataError if a row cannot be used."""
    ability = calibrated(task)
    store = task.encode(rows)
    outputs_of = ability.uncalibrated if ability else task.outputs
    outputs = predict_store(model, outputs_of, store, runtime)
    refuse_not_finite(outputs)
    components = {}
    if ability:
        components, outputs = ability.components(outputs, store), ability.calibrated(model, outputs, store)
    return Evaluation(
        split, checkpoint, rows, store, outputs, task.score(outputs, store), components=components
    )


def count_seen(rows: Rows[Any], splits: Mapping[str, Rows[Any]]) -> Seen:
    """How many rows the model that was trained on these splits has seen. Rows of train are not counted in dev too."""
    if rows is splits.get("test") and rows.selected is not None:  # cut from train together with all copies
        return Seen(in_train=0, in_dev=0)
    hashes = content_hashes(rows)
    in_train, in_dev = (
        np.isin(hashes, content_hashes(splits[name]) if name in splits else []) for name in ("train", "dev")
    )
    return Seen(int(in_train.sum()), int((in_dev & ~in_train).sum()))


def refuse_not_finite(outputs: Outputs) -> None:
    """Raise NotFiniteError if an output is NaN or infinite."""
    values = outputs.values if isinstance(outputs, Ragged) else outputs
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the model's outputs are NaN or infinite: its weights have diverged; "
            "try a lower train.learning_rate or train.clip_norm"
        )
