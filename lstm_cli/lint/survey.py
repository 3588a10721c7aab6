"""The size and shape of every split, in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_cli.data.store import Store
from lstm_cli.lint.findings import Finding
from lstm_cli.lint.labels import counts
from lstm_cli.lint.scan import Scan

_LONG, _STRANGE = 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Survey:
    """One split: rows a class, and words a row (characters, in scripts without spaces). The shares, of rows that
    task.max_tokens cuts and of tokens that are unknown, are None where the data cannot be encoded."""

    rows: int
    classes: dict[str, int]
    median: int
    p95: int
    longest: int
    truncated: float | None
    unknown: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "classes": self.classes,
            "words": {"median": self.median, "p95": self.p95, "max": self.longest},
            "truncated_share": self.truncated,
            "unknown_share": self.unknown,
        }


def survey(scan: Scan, stores: Mapping[str, Store]) -> dict[str, Survey]:
    """Every split by name. `stores` are those splits that could be encoded."""
    found = {}
    for split, rows in scan.splits.items():
        lengths = scan.table["words"][rows] if len(rows) else np.zeros(1, np.int32)
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
        )
    return found


def coverage(surveys: Mapping[str, Survey], max_tokens: int) -> Iterator[Finding]:
    """Findings about what the model will not see: the middle or end of long texts, and unknown words."""
    for split, one in surveys.items():
        if one.truncated and one.truncated > _LONG:
            yield Finding(
                "truncated",
                "note",
                split,
                round(one.truncated * one.rows),
                f"rows longer than task.max_tokens ({max_tokens}), which are cut",
                (),
                "raise it, if what is cut off matters: time grows with it",
            )
        if split != "train" and one.unknown and one.unknown > _STRANGE:
            yield Finding(
                "unknown-tokens",
                "note",
                split,
                one.rows,
                f"rows with {one.unknown:.0%} unknown tokens between them",
                (),
                "another language or field than train's? Try task.tokenizer.kind: bpe, or a lower min_count",
            )
