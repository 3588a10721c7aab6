"""From the columns of a table to rows: which columns a content needs, and how their values become a row."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lstm_cli.data.files import ESCAPE, readable
from lstm_cli.data.rows import Reading, Row, RowError
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_COLUMNS = 20
_SHOWN_CHARS = 40
_SHOWN_LEVELS = 8
_LOG = logging.getLogger(__name__)
_OUTPUT_KEYS = {"row", "best", "top", "probs", "truncated", "unknown", "error"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the value of a column is: the position of the column, and the keys and numbers that lead into its value.

    `data.text` is column `data` with the steps `("text",)`, if no column is called `data.text`.
    """

    at: int
    steps: tuple[str, ...] = ()


def find_column(names: Sequence[str], wanted: str, *, nested: bool = False) -> Place | None:
    """The column that a config calls `wanted`, or None.

    An exact name comes first, then one that differs in case and surrounding spaces, then, if values are `nested`, a
    dotted path into a column. Raises ValueError, whose message names the columns, if several are meant.
    """
    if (at := _only([at for at, name in enumerate(names) if name == wanted], names)) is not None:
        return Place(at)
    loose = wanted.strip().casefold()
    if (
        at := _only([at for at, name in enumerate(names) if name.strip().casefold() == loose], names)
    ) is not None:
        return Place(at)
    parts = wanted.split(".")
    for length in range(len(parts) - 1, 0, -1) if nested else ():
        head = ".".join(parts[:length])
        if (at := _only([at for at, name in enumerate(names) if name == head], names)) is not None:
            return Place(at, tuple(parts[length:]))
    return None


def _only(found: Sequence[int], names: Sequence[str]) -> int | None:
    if len(found) > 1:
        places = " and ".join(f'column {at + 1} ("{_short(names[at])}")' for at in found)
        raise ValueError(f"{places} can both be meant" if len(found) == 2 else f"{places} can all be meant")
    return found[0] if found else None


def missing_columns(
    names: Sequence[str], reading: Reading, values: Sequence[object] | None = None
) -> str | None:
    """The error message if columns are missing: which ones, what the table has, which key to set. None if all exist.

    `values` are those of the first row, if its values can be nested.
    """
    missing = []
    for key, name in reading.columns():
        try:
            if find_column(names, name, nested=values is not None) is None:
                missing.append((key, name))
        except ValueError as fault:
            return f"data.{key} is {name}, but {fault}. Rename one of them, or set data.{key}"
    if not missing:
        return None
    have = list(names)
    if values is not None:
        inside = [found for name, value in zip(names, values, strict=True) for found in _paths(name, value)]
        # exports have dozens of keys: those that can hold a text or a label are shown first
        have = [path for path, _ in sorted(inside, key=lambda one: not isinstance(one[1], str | list))]
    shown = ", ".join(map(_short, have[:_SHOWN_COLUMNS]))
    more = f", … and {len(have) - _SHOWN_COLUMNS} more" if len(have) > _SHOWN_COLUMNS else ""
    absent = " and ".join(f'no column "{name}"' for _, name in missing)
    near = "".join(dict.fromkeys(_near(name, [*map(readable, have)]) for _, name in missing))
    keys = " and ".join(dict.fromkeys(f"data.{key}" for key, _ in missing))
    return f"{absent} (have: {readable(shown)}{more}).{near} Set {keys}{_header_hint(names, reading)}"


def _near(name: str, have: Sequence[str]) -> str:
    """A hint: a path that ends in `name`, such as data.text for text, or else a similar name."""
    inside = [path for path in have if path.endswith(f".{name}")]
    return f' Did you mean "{inside[0]}"?' if inside else did_you_mean(name, have)


def _paths(name: str, value: object, levels: int = _SHOWN_LEVELS) -> Iterator[tuple[str, object]]:
    """`name` and its value, or, if that is an object or a list of them, the dotted path of each value inside."""
    inside: Iterable[tuple[object, object]] = ()
    if levels and isinstance(value, dict):
        inside = value.items()
    elif levels and isinstance(value, list) and value and isinstance(value[0], dict | list):
        inside = [(0, value[0])]
    paths = [path for key, one in inside for path in _paths(f"{name}.{key}", one, levels - 1)]
    yield from paths or [(name, value)]


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}…"


def _header_hint(names: Sequence[str], reading: Reading) -> str:
    if reading.config.columns is not None:
        return " or data.columns"
    if len(names) == 1 and any(delimiter in names[0] for delimiter in ",;\t|"):
        return ", or data.delimiter: is it the character that separates the columns?"
    if any(len(name) > _SHOWN_CHARS or len(name.split()) > 3 or name.isdecimal() for name in names):
        return ", or data.columns if the file has no header row: its first row looks like data"
    return ""


def distinct(names: Iterable[str]) -> list[str]:
    """The names, where each later one of the same name has a number: note, note -> note, note.2."""
    given = list(names)
    taken = set(given)
    found: dict[str, None] = {}
    for name in given:
        if name in found:
            name = next(new for n in itertools.count(2) if (new := f"{name}.{n}") not in taken)
            taken.add(name)
        found[name] = None
    return list(found)


@lru_cache(maxsize=16)
def output_names(fields: tuple[str, ...], prediction_keys: tuple[str, ...]) -> list[str]:
    """The names of these input columns in the output, where they shadow no key and no column of a nested key."""
    keys = _OUTPUT_KEYS.union(prediction_keys)
    return distinct(
        f"input.{name}" if name in keys or name.startswith(("top.", "probs.")) else name for name in fields
    )


def as_text(value: object) -> str:
    """A cell as text, as a CSV file would hold it: null and NaN are empty, true is "true", a list is JSON.

    Raises RowError for a value that is nested too deeply.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case float() if math.isnan(value):  # what pandas writes where there is no value
            return ""
        case bytes():
            return value.decode("utf-8", ESCAPE)
        case bool() | int() | float() | list() | dict():
            try:
                return json.dumps(value, ensure_ascii=False, default=str)
            except RecursionError:
                raise RowError("a value is nested too deeply to be written as text") from None
        case _:  # dates, decimals
            return str(value)


def _inside(value: object, steps: Sequence[str], name: str) -> object:
    """The value to which `steps` lead; a list of one item needs no step. Raises RowError if there is none."""
    for step in steps:
        while isinstance(value, list | tuple) and len(value) == 1 and not step.isdecimal():
            value = value[0]
        match value:
            case Mapping() if step in value:
                value = value[step]
            case list() | tuple() if step.isdecimal() and int(step[:9]) < len(value):
                value = value[int(step)]
            case Mapping():
                raise RowError(
                    f'column "{name}": no "{step}" here (have: {_short(", ".join(map(str, value)))})'
                )
            case list() | tuple():
                hint = f"; name an item by its number, such as 0.{step}" if value else ""
                raise RowError(f'column "{name}": no item {step} in a list of {len(value)}{hint}')
            case _:
                raise RowError(f'column "{name}": no "{step}" in a {type(value).__name__}')
    return value


class Columns:
    """Makes rows from the values of one table. Raises DataError, which names `where`, if a column is missing.

    `nested`: values can be objects and lists, and dotted names lead into them. `escapes`: lone surrogates come from
    JSON escapes.
    """

    def __init__(
        self,
        names: Sequence[str],
        reading: Reading,
        path: str,
        where: str,
        *,
        nested: bool = False,
        escapes: bool = False,
    ) -> None:
        if fault := missing_columns(names, reading, [None] * len(names) if nested else None):
            raise DataError(f"{where}: {fault}")
        self._path = path
        self._reading = reading
        self._encoding = None if escapes else reading.config.encoding
        self._num_blank = 0
        self._read: list[tuple[str, Place]] = []
        for key, name in reading.columns():
            place = find_column(names, name, nested=nested)
            assert place is not None, "missing_columns has looked"
            self._read.append((name, place))
            if not place.steps and (found := names[place.at]) != name:
                _LOG.info(f'{path}: column "{readable(found)}" is read as data.{key}: {name}')
        self._group = self._read.pop() if reading.grouped else None
        left_out = set() if reading.keep_text else {place.at for _, place in self._read if not place.steps}
        kept = [(at, name) for at, name in enumerate(distinct(map(readable, names))) if at not in left_out]
        self._kept = kept if reading.keep_fields else None

    @property
    def kept(self) -> list[str]:
        """The names of the fields of every row."""
        return [name for _, name in self._kept or []]

    def row(self, values: Sequence[object], line: int) -> Row[Any]:
        """The row of these values, which are in the order of `names`. A row that cannot be used has an `error`."""
        fields = None
        try:
            if self._kept is not None:
                fields = {name: readable(as_text(values[at])) for at, name in self._kept}
            content = self._reading.content.from_values(
                [_inside(values[place.at], place.steps, name) for name, place in self._read],
                self._reading,
                self._encoding,
            )
            group = None
            if self._group is not None:
                name, place = self._group
                group = as_text(_inside(values[place.at], place.steps, name)).strip() or None
        except RowError as fault:
            return self._reading.broken(self._path, line, str(fault), fields)
        return Row(content, self._path, line, fields, group=group)


class BlankRows:
    """Counts the rows of a file whose cells are all empty, as spreadsheets write them below a table.

    They are no rows where labels are needed. `predict` still answers each of them, so that rows keep their place.
    """

    def __init__(self, path: str, reading: Reading) -> None:
        self._path = path
        self._are_skipped = reading.labelled
        self._count = 0

    def skip(self, values: Iterable[object]) -> bool:
        """Whether to skip the row with these values; if so, it is counted."""
        if not self._are_skipped or any(
            value is not None and (not isinstance(value, str | bytes) or value.strip()) for value in values
        ):
            return False
        self._count += 1
        return True

    def say(self) -> None:
        """Log how many rows were skipped."""
        if self._count:
            rows = (
                "row whose cells are all empty is"
                if self._count == 1
                else "rows whose cells are all empty are"
            )
            _LOG.info(f"{self._path}: {self._count:,} {rows} skipped")
