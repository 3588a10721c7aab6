"""Several trained models of one task that answer as one: their outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstm_cli.arrays import Mask, Ragged
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.errors import LstmclsError
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.evaluation import evaluate
from lstm_cli.scoring.prediction import TrainedModel
from lstm_cli.scoring.windows import Encoded
from lstm_cli.tasks.base import Evaluation, Outputs, Scores, Task


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Models by name, whose outputs are averaged. Each encodes the rows by its own vocabulary. One model is an ensemble
    of one.

    `task` is that of the first model. A member is called for every window of rows, and may read its model from disk
    then: so one model at a time is in memory.
    """

    task: Task
    members: Mapping[str, Callable[[], TrainedModel]]

    def encode(self, rows: Sequence[Row[Any]]) -> Encoded:
        """The rows encoded by the only model; the rows themselves if there are several."""
        if len(self.members) > 1:
            return rows
        (load,) = self.members.values()
        return load().encode(rows)

    def outputs(self, encoded: Encoded, runtime: Runtime) -> tuple[Outputs, Mask, Mask]:
        """The mean outputs of N rows; (N,) whether a model had to cut a row, (N,) whether none knew a token of it."""
        truncated, unknown = np.zeros(len(encoded), np.bool_), np.ones(len(encoded), np.bool_)

        def each() -> Iterable[Outputs]:
            for load in self.members.values():
                outputs, cut, nothing_known = load().outputs(encoded, runtime)
                truncated[:] |= cut
                unknown[:] &= nothing_known
                yield outputs

        return mean_outputs(each()), truncated, unknown

    def evaluate(self, rows: Rows[Any], split: str, checkpoint: str, runtime: Runtime) -> Evaluation:
        """Score the mean outputs of all rows; the components are then the members.

        Raises NotFiniteError if an output is not finite, DataError if a row cannot be used.
        """
        names = list(self.members)
        first = self._score(names[0], rows, split, checkpoint, runtime)
        if len(names) == 1:
            return first
        truncated = np.array(first.store.truncated)
        components: dict[str, Scores] = {f"{names[0]} alone": first.scores}

        def each() -> Iterable[Outputs]:
            yield first.outputs
            for name in names[1:]:
                one = self._score(name, rows, split, checkpoint, runtime)
                components[f"{name} alone"] = one.scores
                truncated[:] |= one.store.truncated
                yield one.outputs

        outputs = mean_outputs(each())
        store = replace(first.store, truncated=truncated)
        scores = self.task.score(outputs, store)
        return replace(first, store=store, outputs=outputs, scores=scores, components=components)

    def _score(self, name: str, rows: Rows[Any], split: str, checkpoint: str, runtime: Runtime) -> Evaluation:
        one = self.members[name]()
        return evaluate(one.model, one.task, rows, split, checkpoint, runtime)


def mean_outputs(several: Iterable[Outputs]) -> Outputs:
    """The mean of at least one model's outputs of the same rows, (N, …) or ragged; of one model, its own outputs.

    Raises LstmclsError if the outputs of a row differ in length.
    """
    outputs = iter(several)
    first = next(outputs)
    total = np.array(_values(first))
    count = 1
    for one in outputs:
        if not _alike(first, one):
            raise LstmclsError("the outputs of the models differ in length, so they cannot be averaged")
        total += _values(one)
        count += 1
    total /= count
    return Ragged(total, first.offsets) if isinstance(first, Ragged) else total


def _values(outputs: Outputs) -> Any:
    return outputs.values if isinstance(outputs, Ragged) else outputs


def _alike(one: Outputs, other: Outputs) -> bool:
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        return np.array_equal(one.offsets, other.offsets)
    return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.shape == other.shape
