"""The windows of a prediction: while the network reads one, the next one is encoded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from lstm_cli.answers import Answering
from lstm_cli.arrays import Mask
from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import DataError
from lstm_cli.runtime import Runtime
from lstm_cli.scoring import windows
from lstm_cli.scoring.windows import Encoded, predict_windows
from lstm_cli.tasks.base import Outputs

RUNTIME = cast(Runtime, None)


class Judge:
    def row_fault(self, row: Row[Text]) -> str | None:
        return "too long" if len(row.content.text) > 3 else None


@dataclass
class Lengths:
    """Predicts the length of each text. Its network waits until `ahead` windows are encoded."""

    ahead: int = 0
    task: Answering = field(default_factory=lambda: cast(Answering, Judge()))
    encoded: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def encode(self, rows: Sequence[Row[Any]]) -> Encoded:
        if any(row.content.text == "bad" for row in rows):
            raise DataError("bad")
        with self.changed:
            self.encoded += 1
            self.changed.notify_all()
        return rows

    def outputs(self, encoded: Encoded, runtime: Runtime) -> tuple[Outputs, Mask, Mask]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.encoded >= self.ahead, timeout=60)
        lengths = np.array([len(row.content.text) for row in cast(Sequence[Row[Text]], encoded)], np.float64)
        return lengths, np.zeros(len(lengths), np.bool_), np.zeros(len(lengths), np.bool_)


@pytest.fixture(autouse=True)
def windows_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_FIRST_WINDOW_ROWS", 2)
    monkeypatch.setattr(windows, "_WINDOW_ROWS", 2)


def rows_of(*texts: str) -> list[Row[Text]]:
    return [text_row(text) for text in texts]


def test_the_next_window_is_encoded_before_the_network_has_read_this_one() -> None:
    model = Lengths()
    found = predict_windows(model, rows_of("a", "bb", "ccc", "a", "bb"), RUNTIME)
    assert [result.output for result in next(found)] == [1, 2]
    model.ahead = 3
    assert [[result.output for result in window] for window in found] == [[3, 1], [2]]


def test_the_first_window_is_predicted_before_the_next_row_is_asked_for() -> None:
    taken = []

    def rows() -> Iterator[Row[Text]]:
        for row in rows_of("a", "bb", "ccc"):
            taken.append(row)
            yield row

    assert len(next(predict_windows(Lengths(), rows(), RUNTIME))) == 2
    assert len(taken) == 2


def test_rows_before_a_pause_are_predicted_before_the_next_row_is_asked_for() -> None:
    taken = []

    def rows() -> Iterator[Row[Text] | None]:
        for row in (*rows_of("a", "bb", "ccc"), None, *rows_of("a")):
            taken.append(row)
            yield row

    found = predict_windows(Lengths(), rows(), RUNTIME)
    assert [len(next(found)) for _ in range(2)] == [2, 1]
    assert len(taken) == 4
    assert [len(window) for window in found] == [1]


def test_every_row_has_its_own_output_or_none_where_it_has_a_fault() -> None:
    found = predict_windows(Lengths(), rows_of("much", "a", "more", "less", "bb"), RUNTIME)
    assert [[result.output for result in window] for window in found] == [[None, 1], [None, None], [2]]


def test_a_fault_of_the_encoding_is_raised_after_the_windows_before_it() -> None:
    found = predict_windows(Lengths(), rows_of("a", "bb", "bad"), RUNTIME)
    assert len(next(found)) == 2
    with pytest.raises(DataError, match="bad"):
        next(found)
