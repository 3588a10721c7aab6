"""Rows in, outputs out, in constant memory: a window of rows at a time. Whatever computes the outputs, torch or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Protocol

from lstm_cli.answers import Answering
from lstm_cli.arrays import AnyArray, Float64, Mask, Ragged
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store

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
    def task(self) -> Answering:
        """The task that judges the rows and names the outputs."""
        ...

    def encode(self, rows: Sequence[Row[Any]]) -> Encoded:
        """What can be done for N rows without a fault before the network runs: tokens and n-grams."""
        ...

    def outputs(self, encoded: Encoded, runtime: Any) -> tuple[Float64 | Ragged, Mask, Mask]:
        """The outputs of N rows; (N,) whether a row was cut, (N,) whether nothing of it is known."""
        ...


def predict_windows(
    predictor: Predictor, rows: Iterable[Row[Any] | None], runtime: Any, skip: int = 0
) -> Iterator[list[RowOutput]]:
    """One output for each row, in the order of the rows, window by window.

    The first windows, with `skip` rows in total, are read but not predicted.

    None among the rows is a pause: the rows before it are predicted at once, as is the first window. Later the next
    window is encoded while the network reads this one.

    A batch never crosses a window, so the rows after the skipped ones get exactly the same outputs as without skipping.
    Raises ValueError if no window ends after `skip` rows.
    """
    ahead: _Window | None = None
    is_first = True
    for window in windows_after(rows, skip):
        following = _Window.start(predictor, window) if window else None
        if ahead:
            yield ahead.predicted(predictor, runtime)
        if is_first and following:
            yield following.predicted(predictor, runtime)
            following = None
        ahead, is_first = following, False
    if ahead:
        yield ahead.predicted(predictor, runtime)


def predict_window(predictor: Predictor, rows: Sequence[Row[Any]], runtime: Any) -> list[RowOutput]:
    """One output for each row of one of the `windows_after`; `predict_windows` gives the same."""
    return _Window.start(predictor, rows).predicted(predictor, runtime)


def windows_after(rows: Iterable[Row[Any] | None], skip: int) -> Iterator[list[Row[Any]]]:
    """The windows of the rows after the first `skip` rows, and after a window that ends in a pause an empty one.

    Raises ValueError if no window ends after `skip` rows.
    """
    passed = 0
    for window in _windows(rows):
        if passed < skip:
            passed += len(window)
            continue
        if passed > skip:
            break
        yield window
    if passed != skip:
        raise ValueError(f"no window ends after {skip} rows; the nearest after {passed}")


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

    def predicted(self, predictor: Predictor, runtime: Any) -> list[RowOutput]:
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


def _judged(task: Answering, row: Row[Any]) -> Row[Any]:
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
