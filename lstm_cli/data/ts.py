"""Reader of .ts files: a head of lines that begin with `@`, then one sequence a line.

A line has the numbers of each channel with commas between them, a colon between channels, and the label at its end.
`?` is a missing number. Sequences may differ in length. (Format of the UEA and UCR archives, Bagnall et al. 2018.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_cli.data.dense import MISSING, Dense
from lstm_cli.data.files import MAX_LINE_CHARS, open_lines, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError


@dataclass(slots=True)
class _Head:
    """What the head says: `has_label`, and the labels it allows, if it names them."""

    has_label: bool = False
    labels: tuple[str, ...] = ()


def read_ts(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """The sequences of a .ts file. Raises DataError for another task, and for a head that cannot be used.

    A line that cannot be used gives a row with an `error`.
    """
    if reading.content is not Dense:
        raise DataError(
            f"{path}: sequences of numbers, which this task does not read; try task.kind: sequence"
        )
    head = _Head()
    in_data = False
    with open_lines(path, reading.config.encoding, reading.hashes) as lines:
        for line, text in enumerate(lines, 1):
            stripped = text.strip()
            if not stripped or stripped.lstrip("\ufeff").startswith("#"):
                continue
            if in_data:
                yield _row(stripped, path, line, reading, head)
            elif stripped.lower() == "@data":
                in_data = True
                if reading.labelled and not head.has_label:
                    raise DataError(
                        f"{path}:{line}: the head has no @classLabel true, so the sequences have no labels"
                    )
            elif stripped.startswith("@"):
                _read_head(stripped[1:].split(), head, f"{path}:{line}")
            else:
                raise DataError(
                    f"{path}:{line}: expected a line that begins with @, such as @data before the first sequence"
                )
    if not in_data:
        raise DataError(f"{path}: no line @data, after which the sequences would come")


def _read_head(words: list[str], head: _Head, where: str) -> None:
    key, values = (words[0].lower(), words[1:]) if words else ("", [])
    is_true = bool(values) and values[0].lower() == "true"
    if key == "timestamps" and is_true:
        raise DataError(f"{where}: sequences with time stamps are not supported; write the numbers alone")
    if key == "targetlabel" and is_true:
        raise DataError(f"{where}: the targets are numbers, and task.kind: sequence predicts classes")
    if key == "classlabel":
        head.has_label, head.labels = is_true, tuple(values[1:])


def _row(text: str, path: str, line: int, reading: Reading, head: _Head) -> Row[Any]:
    if fault := text_fault(text, "the line", reading.config.encoding, MAX_LINE_CHARS):
        return reading.broken(path, line, fault)
    channels = text.split(":")
    label = channels.pop().strip() if head.has_label else None
    if not channels:
        return reading.broken(path, line, "no colon, which stands before the label")
    if reading.labelled and not label:
        return reading.broken(path, line, "no label after the last colon")
    if reading.labelled and head.labels and label not in head.labels:
        have = ", ".join(head.labels[:20])
        return reading.broken(path, line, f'label "{label:.60}" is not in @classLabel (have: {have})')
    values: list[list[float]] = []
    for at, channel in enumerate(channels, 1):
        found = _numbers(channel.split(","))
        if isinstance(found, str):
            return reading.broken(path, line, f"channel {at}: {found}")
        if values and len(found) != len(values[0]):
            fault = f"channel {at} has {len(found)} numbers and channel 1 has {len(values[0])}"
            return reading.broken(path, line, f"{fault}; write ? for those that are missing")
        values.append(found)
    return Row(Dense(np.array(values, np.float64).T, label if reading.labelled else None), path, line)


def _numbers(cells: list[str]) -> list[float] | str:
    """The numbers, or the error."""
    found = []
    for cell in cells:
        try:
            one = float(cell)
        except ValueError:
            if cell.strip().lower() not in MISSING:
                return f"{cell.strip()[:60]!r} is no number"
            one = math.nan
        if math.isinf(one):
            return "an infinite number"
        found.append(one)
    return found
