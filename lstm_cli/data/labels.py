"""The labels that the training rows have, and the number of each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_LABELS = 20
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Labels:
    """`names` in the order of the model's outputs, and the `counts` of each in train.

    The order is that of the numbers where all names are integers, else that of the letters.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {name: number for number, name in enumerate(self.names)})

    @classmethod
    def learn(cls, rows: Iterable[Row[Text]]) -> Labels:
        """The labels of `rows`. Raises DataError where there are fewer than two."""
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
                f"{path}: {counter.total()} rows{only}: at least two labels are needed. Is it the right "
                f"file, and data.label_column the right column?"
            )
        names = sorted(counter)
        if all(_INTEGER.fullmatch(name) for name in names):
            names.sort(key=int)  # stable: 1 before 01 as the letters have it
        return cls(tuple(names), tuple(counter[name] for name in names))

    def index(self, row: Row[Text]) -> int:
        """The number of the row's label. Raises DataError, with the nearest name, for one train lacks."""
        label = row.content.label or ""  # which no training row has
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
        """The names, as labels.json holds them."""
        return json.dumps(self.names, ensure_ascii=False, indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes, counts: Sequence[int]) -> Labels:
        """What `to_json` wrote, with the counts again. Raises ValueError for anything else."""
        names = json.loads(data)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("labels must be a list of texts")
        if not len(set(names)) == len(names) == len(counts) >= 2:
            raise ValueError(f"{len(names)} labels, {len(counts)} counts: two or more are needed, each once")
        if not all(type(count) is int and 0 < count < 2**53 for count in counts):
            raise ValueError("every label needs the number of its training rows")
        "".join(names).encode()  # half a character, which JSON may spell, could not be written out
        return cls(tuple(names), tuple(counts))
