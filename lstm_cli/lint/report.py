"""All that `check` has to say about the data, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lstm_cli.lint.findings import Finding
from lstm_cli.lint.survey import Survey
from lstm_cli.lint.suspects import Suspects

_SHOWN_CLASSES, _SHOWN_SUSPECTS = 20, 20
Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """The splits by name, the findings with errors first, and the suspects; None: not asked for."""

    surveys: Mapping[str, Survey]
    findings: Sequence[Finding]
    suspects: Suspects | None

    def errors(self) -> list[str]:
        """Each error with its examples and advice, as lines."""
        return [
            "\n  ".join([one.headline(), *one.lines()]) for one in self.findings if one.severity == "error"
        ]

    def tables(self) -> list[tuple[str, list[str], Rows]]:
        """(title, columns, rows) of the splits, the labels and the first suspects."""
        tables = [
            ("data", ["split", "rows", "median words", "95 %", "max", "cut", "unknown"], self._splits()),
            ("labels", ["label", *(f"{split} rows" for split in self.surveys), "of train"], self._labels()),
        ]
        if self.suspects is not None:
            ranked = self.suspects.ranked
            rows = [
                [one.where, one.given, one.suggested, f"{one.confidence:.2f}"]
                for one in ranked[:_SHOWN_SUSPECTS]
            ]
            title = f"{len(ranked):,} suspicious labels (all with --json), by TF-IDF: {self.suspects.note}"
            tables.append((title, ["row", "given", "suggested", "confidence"], rows))
        return tables

    def _splits(self) -> Rows:
        return [
            [
                split,
                *(f"{number:,}" for number in (one.rows, one.median, one.p95, one.longest)),
                *("–" if share is None else f"{share:.1%}" for share in (one.truncated, one.unknown)),
            ]
            for split, one in self.surveys.items()
        ]

    def _labels(self) -> Rows:
        names = list(dict.fromkeys(name for one in self.surveys.values() for name in one.classes))
        train = self.surveys["train"]
        rows = [
            [
                name,
                *(f"{one.classes.get(name, 0):,}" for one in self.surveys.values()),
                f"{train.classes.get(name, 0) / max(train.rows, 1):.1%}",
            ]
            for name in names[:_SHOWN_CLASSES]
        ]
        more = len(names) - _SHOWN_CLASSES
        return [*rows, [f"… and {more:,} more", *[""] * (len(self.surveys) + 1)]] if more > 0 else rows

    def to_json(self) -> dict[str, Any]:
        """What --json prints."""
        report: dict[str, Any] = {
            "splits": {split: one.to_json() for split, one in self.surveys.items()},
            "findings": [asdict(one) for one in self.findings],
        }
        return report if self.suspects is None else report | {"suspects": asdict(self.suspects)}
