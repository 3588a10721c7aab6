"""The outputs of a model in the order of the rows. Rows of similar length are computed in one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lstm_cli.arrays import AnyArray, Float64, Int64, Mask, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.batching import collate, length_batches
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.runtime import Runtime
from lstm_cli.tasks.base import BatchOutputs, Outputs, Task

OutputsOf = Callable[[nn.Module, Batch], BatchOutputs]

_BATCH_ROWS = 256
_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536, "mps": 32_768}
"""Padded tokens in a batch. On a CPU, larger batches are no faster, and their memory is allocated and freed each time.
The numbers for GPUs come from the literature; they were not measured."""
_FIRST_WINDOW_ROWS = 256
_WINDOW_ROWS = 8_192
_WINDOW_SIZE = 16 * 2**20
"""Limits of a window, in rows and in the size of their content (characters or numbers). Only one window of the input is
in memory. Its rows are sorted by length. The first window is small, so that outputs appear soon; each next window has
twice as many rows."""


@dataclass(frozen=True, slots=True, eq=False)
class RowOutput:
    """The model's output for one row; `output` is None if the row could not be read (`row.error`).

    `truncated`: the row was cut. `unknown`: no token of it is in the vocabulary.
    """

    row: Row[Any]
    output: AnyArray | None
    truncated: bool = False
    unknown: bool = False


Encoded = Store | Sequence[Row[Any]]
"""Rows encoded by the vocabulary of one model, or the rows themselves, which each of several models encodes."""


class Predictor(Protocol):
    """What predicts rows: one model, or several whose outputs are averaged."""

    @property
    def task(self) -> Task:
        """The task that judges the rows and names the outputs."""
        ...

    def encode(self, rows: Sequence[Row[Any]]) -> Encoded:
        """What can be done for N rows without a fault before the network runs: tokens and n-grams."""
        ...

    def outputs(self, encoded: Encoded, runtime: Runtime) -> tuple[Outputs, Mask, Mask]:
        """The outputs of N rows; (N,) whether a row was cut, (N,) whether nothing of it is known."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A task and its trained model."""

    task: Task
    model: nn.Module

    def encode(self, rows: Sequence[Row[Any]]) -> Store:
        """The rows encoded by the model's own vocabulary."""
        return self.task.encode_window(rows)

    def outputs(self, encoded: Encoded, runtime: Runtime) -> tuple[Outputs, Mask, Mask]:
        """The model's outputs for N rows; (N,) whether a row was cut, (N,) whether no token of it is known."""
        encoded = encoded if isinstance(encoded, Store) else self.encode(encoded)
        return (
            predict_store(self.model, self.task.outputs, encoded, runtime),
            encoded.truncated,
            encoded.all_unknown,
        )


@dataclass(slots=True, eq=False)
class CollectedOutputs:
    """Collects the outputs of `num_rows` rows from batches in any order."""

    num_rows: int
    _array: Float64 | None = None
    _rows: dict[int, AnyArray] = field(default_factory=dict)

    def add(self, rows: Int64, values: BatchOutputs) -> None:
        """Add the outputs of the rows with these indices (B,)."""
        if isinstance(values, Tensor):
            if self._array is None:
                self._array = np.empty((self.num_rows, *values.shape[1:]))
            self._array[rows] = values.numpy()
        else:
            self._rows |= zip(rows.tolist(), (value.numpy() for value in values), strict=True)

    def outputs(self) -> Outputs:
        """(N, …) or ragged, in the order of the rows."""
        if self._array is not None:
            return self._array
        return Ragged.pack([self._rows[row] for row in range(self.num_rows)])


def predict_store(model: nn.Module, outputs_of: OutputsOf, store: Store, runtime: Runtime) -> Outputs:
    """The outputs of all rows of the store, (N, …) or ragged, in its order, computed in fp32 and without dropout.

    `outputs_of` is a task's `outputs` or `uncalibrated`. The model's mode (train or eval) is the same afterwards.
    """
    *_, (_, collected) = predict_batches(model, outputs_of, store, runtime)
    return collected.outputs()


@torch.inference_mode()
def predict_batches(
    model: nn.Module, outputs_of: OutputsOf, store: Store, runtime: Runtime
) -> Iterator[tuple[int, CollectedOutputs]]:
    """`predict_store` batch by batch: yields the number of finished rows and the outputs so far after each batch.

    The caller may stop after any batch.
    """
    was_training = model.training
    model.eval()
    collected = CollectedOutputs(len(store))
    num_done = 0
    try:
        for rows in length_batches(store.lengths, _BATCH_ROWS, _BATCH_TOKENS[runtime.device.type]):
            collected.add(rows, outputs_of(model, collate(store, rows).to(runtime.device)))
            num_done += len(rows)
            yield num_done, collected
    finally:
        model.train(was_training)


def predict_rows(
    model: nn.Module, task: Task, rows: Iterable[Row[Any]], runtime: Runtime
) -> Iterator[RowOutput]:
    """One output for each row, in the order of the rows, in constant memory."""
    for window in predict_windows(TrainedModel(task, model), rows, runtime):
        yield from window


def predict_windows(
    predictor: Predictor, rows: Iterable[Row[Any] | None], runtime: Runtime, skip: int = 0
) -> Iterator[list[RowOutput]]:
    """`predict_rows` window by window. The first windows, with `skip` rows in total, are read but not predicted.

    None among the rows is a pause: the rows before it are predicted at once. Without pauses, the next window is encoded
    while the network reads this one.

    A batch never crosses a window, so the rows after the skipped ones get exactly the same outputs as without skipping.
    Raises ValueError if no window ends after `skip` rows.
    """
    passed = 0
    ahead: _Window | None = None
    for window in _windows(rows):
        if passed < skip:
            passed += len(window)
            continue
        if passed > skip:
            break
        following = _Window.start(predictor, window) if window else None
        if ahead:
            yield ahead.predicted(predictor, runtime)
        ahead = following
    if passed != skip:
        raise ValueError(f"no window ends after {skip} rows; the nearest after {passed}")
    if ahead:
        yield ahead.predicted(predictor, runtime)


@dataclass(frozen=True, slots=True)
class _Window:
    """Rows that a thread encodes. `encoded` waits for it, and raises what it raised."""

    rows: list[Row[Any]]
    encoded: Callable[[], Encoded]

    @classmethod
    def start(cls, predictor: Predictor, rows: Sequence[Row[Any]]) -> _Window:
        judged = [_judged(predictor.task, row) for row in rows]
        readable = [row for row in judged if row.error is None]
        return cls(judged, _beside(lambda: predictor.encode(readable) if readable else ()))

    def predicted(self, predictor: Predictor, runtime: Runtime) -> list[RowOutput]:
        encoded = self.encoded()
        if not len(encoded):
            return [RowOutput(row, None) for row in self.rows]
        outputs, truncated, unknown = predictor.outputs(encoded, runtime)
        answers = zip(outputs, truncated.tolist(), unknown.tolist(), strict=True)
        return [
            RowOutput(row, *next(answers)) if row.error is None else RowOutput(row, None) for row in self.rows
        ]


def _beside(call: Callable[[], Encoded]) -> Callable[[], Encoded]:
    """Start the call in a thread, which ends with the process; what is returned waits for its result."""
    done: SimpleQueue[tuple[Encoded | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except BaseException as fault:  # noqa: BLE001 - raised again where the result is wanted
            done.put((None, fault))

    def result() -> Encoded:
        value, fault = done.get()
        if fault is not None:
            raise fault
        assert value is not None
        return value

    threading.Thread(target=run, name="encode", daemon=True).start()
    return result


def _judged(task: Task, row: Row[Any]) -> Row[Any]:
    """The row, with an error if the task cannot encode it."""
    if row.error is not None or (fault := task.row_fault(row)) is None:
        return row
    return replace(row, error=fault)


def _windows(rows: Iterable[Row[Any] | None]) -> Iterator[list[Row[Any]]]:
    """Windows of rows, and after a window that ends in a pause an empty one."""
    window: list[Row[Any]] = []
    num_rows, size = min(_FIRST_WINDOW_ROWS, _WINDOW_ROWS), 0
    for row in rows:
        if row is None:
            if window:
                yield window
                yield []
            window, size = [], 0
            continue
        window.append(row)
        size += row.content.size()
        if len(window) == num_rows or size >= _WINDOW_SIZE:
            yield window
            window, num_rows, size = [], min(2 * num_rows, _WINDOW_ROWS), 0
    if window:
        yield window
