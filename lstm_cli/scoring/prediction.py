"""The outputs of a model in the order of the rows. Rows of similar length are computed in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm_cli.arrays import AnyArray, Float64, Int64, Mask, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.batching import collate, length_batches
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.nn.distributed import Workers
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.windows import Encoded, RowOutput, predict_windows
from lstm_cli.tasks.base import BatchOutputs, Outputs, Task

OutputsOf = Callable[[nn.Module, Batch], BatchOutputs]

_BATCH_ROWS = 256
_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536, "mps": 32_768}
"""Padded tokens in a batch. On a CPU, larger batches are no faster, and their memory is allocated and freed each time.
The numbers for GPUs come from the literature; they were not measured."""


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
                self._array = np.zeros((self.num_rows, *values.shape[1:]))
            self._array[rows] = values.numpy()
        else:
            self._rows |= zip(rows.tolist(), (value.numpy() for value in values), strict=True)

    def gather(self, workers: Workers) -> None:
        """Add the rows of the other processes. Every process has added some, and each row was added in one of them."""
        if self._array is not None:
            self._array = _summed(self._array, workers)
            return
        lengths = np.zeros(self.num_rows)
        lengths[list(self._rows)] = [len(values) for values in self._rows.values()]
        offsets = np.append(0, np.cumsum(_summed(lengths, workers))).astype(np.int64)
        flat = np.zeros((offsets[-1], *next(iter(self._rows.values())).shape[1:]))
        for row, values in self._rows.items():
            flat[offsets[row] : offsets[row + 1]] = values
        flat = _summed(flat, workers)
        self._rows = {row: flat[offsets[row] : offsets[row + 1]] for row in range(self.num_rows)}

    def outputs(self) -> Outputs:
        """(N, …) or ragged, in the order of the rows."""
        if self._array is not None:
            return self._array
        return Ragged.pack([self._rows[row] for row in range(self.num_rows)])


def _summed(array: Float64, workers: Workers) -> Float64:
    total = torch.from_numpy(array).to(workers.device)
    workers.sum_([total])
    summed: Float64 = total.cpu().numpy()
    return summed


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

    The caller may stop after any batch. Where several processes train, each computes a part of the batches; after the
    last one, every process has the outputs of all rows.
    """
    was_training, workers = model.training, runtime.workers
    model.eval()
    collected = CollectedOutputs(len(store))
    num_done = 0
    try:
        batches = length_batches(store.lengths, _BATCH_ROWS, _BATCH_TOKENS[runtime.device.type])
        shared = len(batches) >= workers.size > 1
        for rows in batches[workers.rank :: workers.size] if shared else batches:
            collected.add(rows, outputs_of(model, collate(store, rows).to(runtime.device)))
            num_done += len(rows)
            yield num_done, collected
        if shared:
            collected.gather(workers)
            yield len(store), collected
    finally:
        model.train(was_training)


def predict_rows(
    model: nn.Module, task: Task, rows: Iterable[Row[Any]], runtime: Runtime
) -> Iterator[RowOutput]:
    """One output for each row, in the order of the rows, in constant memory."""
    for window in predict_windows(TrainedModel(task, model), rows, runtime):
        yield from window
