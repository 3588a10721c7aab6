"""How good a model is on rows whose targets are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from lstm_cli.data.store import TokenStore
from lstm_cli.errors import NotFiniteError
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.prediction import predict_store
from lstm_cli.tasks.base import Outputs, Scores, Task


@dataclass(frozen=True, slots=True)
class EvalReport:
    """`scores` of a split, and the (N, …) `outputs` they were counted from, in row order."""

    scores: Scores
    outputs: Outputs


def evaluate(model: nn.Module, task: Task, store: TokenStore, runtime: Runtime) -> EvalReport:
    """Score every row of the store. Raises NotFiniteError where an output is not finite."""
    outputs = predict_store(model, task, store, runtime)
    refuse_not_finite(outputs)
    return EvalReport(task.score(outputs, store), outputs)


def refuse_not_finite(outputs: Outputs) -> None:
    """Raise NotFiniteError where one of the (N, …) outputs is not finite."""
    if not np.isfinite(outputs).all():
        raise NotFiniteError(
            "the model's outputs are NaN or infinite: its weights have grown beyond all bounds; "
            "try a lower train.learning_rate or train.clip_norm"
        )
