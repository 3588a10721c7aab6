"""The size and shape of every split, in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lstm_cli.data.store import Store
from lstm_cli.lint.findings import Finding
from lstm_cli.lint.labels import counts
from lstm_cli.lint.scan import Scan

_MANY_TRUNCATED, _MANY_UNKNOWN = 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Survey:
    """One split: the rows of each class and the length of the rows, counted in `unit`.

    The unit is words (in scripts without spaces, characters); for contents other than text it is their own size.
    `truncated` is the fraction of rows that task.max_tokens cuts, `unknown` the fraction of tokens that are not in the
    vocabulary. Both are None if the data cannot be encoded; `unknown` is also None for dense features.
    """

    rows: int
    classes: dict[str, int]
    median: int
    p95: int
    longest: int
    truncated: float | None
    unknown: float | None
    unit: Literal["words", "size"] = "words"

    def to_json(self) -> dict[str, Any]:
        """The numbers of the split, as `check --json` prints them."""
        return {
            "rows": self.rows,
            "classes": self.classes,
            self.unit: {"median": self.median, "p95": self.p95, "max": self.longest},
            "truncated_share": self.truncated,
            "unknown_share": self.unknown,
        }


def survey(scan: Scan, stores: Mapping[str, Store]) -> dict[str, Survey]:
    """Every split by name. `stores` holds the splits that could be encoded."""
    found = {}
    for split, rows in scan.splits.items():
        lengths = scan.table["size"][rows] if len(rows) else np.zeros(1, np.int32)
        median, p95, longest = np.percentile(lengths, (50, 95, 100), method="higher")
        store = stores.get(split)
        found[split] = Survey(
            rows=len(rows),
            classes={
                scan.labels[code]: int(count)
                for code, count in sorted(enumerate(counts(scan, split)), key=lambda entry: -entry[1])
                if count
            },
            median=int(median),
            p95=int(p95),
            longest=int(longest),
            truncated=None if store is None else float(store.truncated.mean()),
            unknown=None if store is None else store.unknown_fraction,
            unit="words" if scan.holds_text else "size",
        )
    return found


def coverage(surveys: Mapping[str, Survey], max_tokens: int) -> Iterator[Finding]:
    """Findings about what the model will not read: the cut part of long rows, and unknown tokens."""
    for split, one in surveys.items():
        if one.truncated and one.truncated > _MANY_TRUNCATED:
            yield Finding(
                "truncated",
                "note",
                split,
                round(one.truncated * one.rows),
                f"rows longer than task.max_tokens ({max_tokens}), which are cut",
                (),
                "raise it if the part that is cut off matters; training time grows with it",
            )
        if split != "train" and one.unknown and one.unknown > _MANY_UNKNOWN:
            yield Finding(
                "unknown-tokens",
                "note",
                split,
                one.rows,
                f"rows in which {one.unknown:.0%} of all tokens are unknown",
                (),
                "is the language or subject another than in train? Try task.tokenizer.kind: bpe, or a lower min_count",
            )
