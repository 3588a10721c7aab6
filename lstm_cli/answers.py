"""What `predict` needs to know of a task, without the task: this file imports neither torch nor a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lstm_cli.arrays import Float64


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Options of `lstmcls predict`: write the `top_k` best answers, and the probability of every answer.

    An answer with a lower score than `min_score` is none.
    """

    top_k: int = 1
    probs: bool = False
    min_score: float = 0.0


class Answering(Protocol):
    """Turns the output of a model for one row into the keys of a prediction. Every task does."""

    @property
    def prediction_keys(self) -> tuple[str, ...]:
        """The keys that every `prediction` has. They are the first columns of a table."""
        ...

    def accept(self, options: PredictOptions) -> None:
        """Raise ConfigError if an option is not supported."""
        ...

    def row_fault(self, row: Any) -> str | None:
        """Why a row that could be read does not fit, or None."""
        ...

    def prediction(self, row: Any, output: Any, options: PredictOptions) -> Mapping[str, Any]:
        """The keys of a prediction for one row's output."""
        ...


CLASS_KEYS = ("label", "score")
"""The keys that every prediction of a class has."""


def class_prediction(names: Sequence[str], output: Float64, options: PredictOptions) -> dict[str, Any]:
    """The keys of a prediction from the probabilities (C,) of the classes `names`."""
    best = int(output.argmax())
    score = float(output[best])
    keys: dict[str, Any] = {"label": names[best] if score >= options.min_score else None, "score": score}
    if options.min_score:
        keys["best"] = names[best]
    if options.top_k > 1:
        order = np.argsort(-output, kind="stable")[: options.top_k]
        keys["top"] = [{"label": names[i], "score": float(output[i])} for i in order]
    if options.probs:
        keys["probs"] = dict(zip(names, map(float, output), strict=True))
    return keys
