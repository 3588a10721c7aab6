"""Sequences of numbers: the content of rows for `task.kind: sequence`.

A sequence is one row. It comes from one line (a list in JSON Lines or Parquet, a line of a .ts file), or from the lines
of a long table that have its id (`Content.gathered`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_cli.arrays import Float64
from lstm_cli.data.columns import as_text
from lstm_cli.data.rows import Content, Reading, Row, RowError
from lstm_cli.data.sequences_config import SequencesConfig
from lstm_cli.data.text import label_of
from lstm_cli.data.times import Kind, parse_time

MISSING = frozenset({"", "?", "na", "nan", "null", "none", "n/a", "."})
"""What stands for a number that is not known, in lower case."""
_MAX_NUMBERS = 10_000_000
_CELL_CHARS = 60


@dataclass(frozen=True, slots=True)
class _Step:
    """A line of a long table: one step of the sequence `name`."""

    name: str
    kind: Kind | None
    time: int
    values: tuple[float, ...]
    label: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Dense(Content):
    """`values` (T, F) of T steps and F channels, NaN where a number is missing, and the label, or None if unknown.

    `name` is its id in a long table, else "".
    """

    values: Float64
    label: str | None = None
    name: str = ""

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        config = sequences_config(reading)
        if config.value_columns:
            named = [("sequences.id_column", str(config.id_column))]
            named += [("sequences.time_column", config.time_column)] if config.time_column else []
            named += [("sequences.value_columns", name) for name in config.value_columns]
        else:
            named = [("sequences.values_column", config.values_column)]
        return named + ([("label_column", reading.config.label_column)] if reading.labelled else [])

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Any:
        """The sequence of one line, or the step of which `gathered` makes sequences."""
        config, left = sequences_config(reading), list(values)
        label = label_of(left.pop(), reading.config.label_column, encoding) if reading.labelled else None
        if not config.value_columns:
            return cls(_matrix(left[0], config.values_column), label)
        name = as_text(left.pop(0)).strip()
        if not name:
            raise RowError(f'column "{config.id_column}": empty, so the step belongs to no sequence')
        kind, time = parse_time(left.pop(0)) if config.time_column else (None, 0)
        return _Step(name, kind, time, tuple(map(_number, left, config.value_columns)), label)

    @classmethod
    def empty(cls) -> Dense:
        return cls(np.zeros((0, 0)))

    @classmethod
    def gathered(cls, rows: Iterator[Row[Any]], reading: Reading) -> Iterator[Row[Any]]:
        """The sequences of the steps of one file, in the order of their first lines; each other row as it is.

        A line that cannot be used comes first.
        """
        steps: dict[str, list[tuple[_Step, Row[Any]]]] = {}
        for row in rows:
            if row.error is None and isinstance(row.content, _Step):
                steps.setdefault(row.content.name, []).append((row.content, row))
            else:
                yield row
        for name, of_sequence in steps.items():
            yield _sequence(name, of_sequence, reading)

    def key(self) -> bytes:
        return repr(self.values.shape).encode() + self.values.tobytes()

    def stratum(self) -> str | None:
        return self.label

    def size(self) -> int:
        return self.values.size

    def as_json(self) -> dict[str, Any]:
        return {"values": [[None if math.isnan(x) else x for x in step] for step in self.values.tolist()]} | (
            {} if self.label is None else {"label": self.label}
        )


def sequences_config(reading: Reading) -> SequencesConfig:
    """The `data.sequences:` section, or its defaults."""
    return reading.config.sequences or SequencesConfig()


def _number(value: object, name: str) -> float:
    """A number, NaN if it is missing. Raises RowError, which names the column, for anything else."""
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return math.nan
    try:
        found = float(value) if isinstance(value, int | float) else float(str(value))
    except (ValueError, OverflowError):
        raise RowError(f'column "{name}": {str(value)[:_CELL_CHARS]!r} is no number') from None
    if math.isinf(found):
        raise RowError(f'column "{name}": an infinite number')
    return found


def _sequence(name: str, steps: list[tuple[_Step, Row[Any]]], reading: Reading) -> Row[Any]:
    _, first = steps[0]
    labels = {step.label: row.line for step, row in reversed(steps)}
    fields = first.fields
    if len(labels) > 1:
        (one, line), (other, other_line) = sorted(labels.items(), key=lambda item: item[1])[:2]
        error = f'sequence {name!r} has two labels: "{one}" on line {line}, "{other}" on line {other_line}'
        return reading.broken(first.path, other_line, error, fields)
    for step, row in steps:
        if step.kind != steps[0][0].kind:
            error = f"the time is a {step.kind}, that of line {first.line} is a {steps[0][0].kind}"
            return reading.broken(first.path, row.line, error, fields)
    steps = sorted(steps, key=lambda one: one[0].time)  # stable: without times, the order of the lines
    values = np.array([step.values for step, _ in steps], np.float64)
    return Row(Dense(values, steps[0][0].label, name), first.path, first.line, fields, group=first.group)


def _matrix(value: object, name: str) -> Float64:
    """(T, F) from a list of numbers or of lists of numbers; a cell of a table may hold it as JSON."""
    if isinstance(value, bytes):
        value = as_text(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(
                f'column "{name}" holds a text where a list is needed, such as [[0.5, 1], [0.25, 2]]'
            ) from None
    if not isinstance(value, list | tuple | np.ndarray):
        raise RowError(f'column "{name}" holds a {type(value).__name__} where a list of numbers is needed')
    if not len(value):
        raise RowError(f'column "{name}" is an empty list, and a sequence has at least one step')
    steps: list[Sequence[object]] = [
        list(step) if isinstance(step, list | tuple | np.ndarray) else [step] for step in value
    ]
    width = len(steps[0])
    for at, step in enumerate(steps, 1):
        if len(step) != width or not width:
            raise RowError(
                f'column "{name}" has {len(step)} numbers in step {at} and {width} in step 1; each step needs the '
                f"same, null for those that are missing"
            )
    if width * len(steps) > _MAX_NUMBERS:
        raise RowError(
            f'column "{name}" has {width * len(steps):,} numbers; at most {_MAX_NUMBERS:,} are read'
        )
    return np.array([[_number(one, name) for one in step] for step in steps], np.float64)
