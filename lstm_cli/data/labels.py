"""The labels of the training rows, and how many rows have each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lstm_cli.data.rows import Row
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_LABELS = 20
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Labels:
    """The label `names` in the order of the model's outputs, and the `counts` of their training rows.

    The names are sorted as numbers if all are integers, else alphabetically.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {name: number for number, name in enumerate(self.names)})

    @classmethod
    def learn(cls, rows: Iterable[Row[Any]]) -> Labels:
        """The labels of `rows`. Raises DataError for a row without a label, and for fewer than two labels."""
        counter: Counter[str] = Counter()
        path = "the training data"
        for row in rows:
            if row.content.label is None:
                raise DataError(f"{row.where()}: the row has no label")
            counter[row.content.label] += 1
            path = row.path
        if len(counter) < 2:
            only = "".join(f', all "{name}"' for name in counter)
            raise DataError(
                f"{path}: {counter.total()} rows{only}; at least two labels are needed. Is this the right "
                f"file, and is data.label_column the right column?"
            )
        names = sorted(counter)
        if all(_INTEGER.fullmatch(name) for name in names):
            names.sort(key=int)  # stable: 01 before 1, as sorted alphabetically
        return cls(tuple(names), tuple(counter[name] for name in names))

    def index(self, row: Row[Any]) -> int:
        """The class number of the row.

        Raises DataError, with the nearest name, for a label that train does not have.
        """
        label = row.content.label or ""  # "" is the label of no training row
        number = self._numbers.get(label)
        if number is None:
            more = (
                f", … and {len(self.names) - _SHOWN_LABELS} more" if len(self.names) > _SHOWN_LABELS else ""
            )
            raise DataError(
                f'{row.where()}: label "{label}" is not in the training data '
                f"(have: {', '.join(self.names[:_SHOWN_LABELS])}{more}).{did_you_mean(label, self.names)}"
            )
        return number

    def to_json(self) -> bytes:
        """The content of labels.json: the names."""
        return json.dumps(self.names, ensure_ascii=False, indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes, counts: Sequence[int]) -> Labels:
        """Read what `to_json` wrote, and combine it with the counts. Raises ValueError for anything else."""
        names = names_from_json(data)
        if len(names) != len(counts):
            raise ValueError(f"{len(names)} labels, {len(counts)} counts")
        if not all(type(count) is int and 0 < count < 2**53 for count in counts):
            raise ValueError("every label needs a positive number of training rows")
        return cls(names, tuple(counts))


def names_from_json(data: bytes) -> tuple[str, ...]:
    """The names that `Labels.to_json` wrote. Raises ValueError for anything else."""
    names = json.loads(data)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("labels must be a list of texts")
    if not len(set(names)) == len(names) >= 2:
        raise ValueError(f"{len(names)} labels: at least two different labels are needed")
    "".join(names).encode()  # raises for a lone surrogate, which JSON can express and UTF-8 cannot
    return tuple(names)
