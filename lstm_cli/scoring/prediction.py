"""From rows to outputs in their own order: batches of near-equal length inside, nothing of it to be seen outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lstm_cli.batch import Batch
from lstm_cli.data.batching import collate, length_batches
from lstm_cli.data.rows import Row
from lstm_cli.data.store import TokenStore, pack
from lstm_cli.runtime import Runtime
from lstm_cli.tasks.base import Outputs, Task

OutputsOf = Callable[[nn.Module, Batch], Tensor]

_BATCH_ROWS = 256
_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536, "mps": 32_768}
"""On a CPU larger batches are no faster and their memory comes and goes by the page; a GPU wants more at a time (that
it does, and how many, is read and not measured)."""
_FIRST_WINDOW_ROWS = 256
_WINDOW_ROWS = 8_192
_WINDOW_CHARS = 16 * 2**20
"""A window is sorted by length as a whole; its texts and tokens are all that is ever held of an input. The first is
small, so that whoever reads the outputs does not wait for thousands of rows, and each is twice the one before."""


@dataclass(frozen=True, slots=True)
class RowOutput:
    """What the model said of one row; `output` is None where the row could not be read (`row.error`)."""

    row: Row[Any]
    output: npt.NDArray[np.float64] | None
    truncated: bool


def predict_store(model: nn.Module, task: Task, store: TokenStore, runtime: Runtime) -> Outputs:
    """(N, …) outputs of every row of the store, in its order, in fp32 and with dropout off.

    The model is left in the mode (train or eval) that it came in.
    """
    *_, (_, outputs) = predict_batches(model, task.outputs, store, runtime)
    return outputs


@torch.inference_mode()
def predict_batches(
    model: nn.Module, outputs_of: OutputsOf, store: TokenStore, runtime: Runtime
) -> Iterator[tuple[int, Outputs]]:
    """`predict_store`, a batch at a time: after each one, how many rows are done and the outputs so far, by a task's
    `outputs` or `uncalibrated`.

    It can be left between two batches.
    """
    was_training = model.training
    model.eval()
    outputs: Outputs | None = None
    num_done = 0
    try:
        for rows in length_batches(store.lengths, _BATCH_ROWS, _BATCH_TOKENS[runtime.device.type]):
            values = outputs_of(model, collate(store, rows).to(runtime.device)).numpy()
            if outputs is None:
                outputs = np.empty((len(store), *values.shape[1:]))
            outputs[rows] = values
            num_done += len(rows)
            yield num_done, outputs
    finally:
        model.train(was_training)


def predict_rows(
    model: nn.Module, task: Task, rows: Iterable[Row[Any]], runtime: Runtime
) -> Iterator[RowOutput]:
    """One output for every row in, in the order they come, in memory that does not grow with their number."""
    for window in predict_windows(model, task, rows, runtime):
        yield from window


def predict_windows(
    model: nn.Module, task: Task, rows: Iterable[Row[Any]], runtime: Runtime, skip: int = 0
) -> Iterator[list[RowOutput]]:
    """`predict_rows`, a window at a time, without the first windows that hold `skip` rows together: they are only read.

    What meets in a batch is decided by the window, so that the rows after those skipped get the same bytes as if none
    had been. Raises ValueError where no window ends after `skip` rows.
    """
    passed = 0
    for window in _windows(rows):
        if passed < skip:
            passed += len(window)
            continue
        if passed > skip:
            break
        yield _predict_window(model, task, window, runtime)
    if passed != skip:
        raise ValueError(f"no window ends after {skip} rows; the nearest after {passed}")


def _predict_window(
    model: nn.Module, task: Task, window: list[Row[Any]], runtime: Runtime
) -> list[RowOutput]:
    readable = [row for row in window if row.error is None]
    if not readable:
        return [RowOutput(row, None, False) for row in window]
    encoded = task.encode_window(readable)
    answers = zip(predict_store(model, task, pack(encoded), runtime), encoded.truncated, strict=True)
    return [
        RowOutput(row, *next(answers)) if row.error is None else RowOutput(row, None, False) for row in window
    ]


def _windows(rows: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
    window: list[Row[Any]] = []
    num_rows, num_chars = min(_FIRST_WINDOW_ROWS, _WINDOW_ROWS), 0
    for row in rows:
        window.append(row)
        num_chars += len(row.content.text)
        if len(window) == num_rows or num_chars >= _WINDOW_CHARS:
            yield window
            window, num_rows, num_chars = [], min(2 * num_rows, _WINDOW_ROWS), 0
    if window:
        yield window
