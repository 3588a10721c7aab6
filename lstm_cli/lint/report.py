"""What `check` reports about the data, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lstm_cli.lint.findings import Finding
from lstm_cli.lint.survey import Survey
from lstm_cli.lint.suspects import Suspects

_SHOWN_CLASSES, _SHOWN_SUSPECTS = 20, 20
Cells = list[list[str]]
"""The rows of a table, each a list of its cells."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The splits by name, the findings with errors first, and the suspects, or None without `--suspects`."""

    surveys: Mapping[str, Survey]
    findings: Sequence[Finding]
    suspects: Suspects | None

    def errors(self) -> tuple[list[str], list[str]]:
        """One text (headline, examples, advice) for each error about rows that cannot be read, and for each other."""
        texts = {
            one: "\n  ".join([one.headline(), *one.lines()])
            for one in self.findings
            if one.severity == "error"
        }
        unreadable = [text for one, text in texts.items() if one.code == "unreadable"]
        return unreadable, [text for one, text in texts.items() if one.code != "unreadable"]

    def tables(self) -> list[tuple[str, list[str], Cells]]:
        """(title, columns, cells) of the splits with rows, of their labels and of the first suspects."""
        unit = next((one.unit for one in self.surveys.values()), "words")
        tables = []
        if cells := self._splits():
            tables.append(
                ("data", ["split", "rows", f"median {unit}", "95 %", "max", "cut", "unknown"], cells)
            )
        if cells := self._labels():
            columns = ["label", *(f"{split} rows" for split in self._filled()), "of train"]
            tables.append(("labels", columns, cells))
        if self.suspects is not None:
            ranked = self.suspects.ranked
            rows = [
                [one.where, one.given, one.suggested, f"{one.confidence:.2f}"]
                for one in ranked[:_SHOWN_SUSPECTS]
            ]
            title = (
                f"{len(ranked):,} suspicious labels (--json lists all), found by TF-IDF: {self.suspects.note}"
            )
            tables.append((title, ["row", "given", "suggested", "confidence"], rows))
        return tables

    def _filled(self) -> dict[str, Survey]:
        """The splits that have rows: one that cannot be read has none, and gets no line in a table."""
        return {split: one for split, one in self.surveys.items() if one.rows}

    def _splits(self) -> Cells:
        return [
            [
                split,
                *(f"{number:,}" for number in (one.rows, one.median, one.p95, one.longest)),
                *("–" if part is None else f"{part:.1%}" for part in (one.truncated, one.unknown)),
            ]
            for split, one in self._filled().items()
        ]

    def _labels(self) -> Cells:
        filled = self._filled()
        names = list(dict.fromkeys(name for one in filled.values() for name in one.classes))
        train = self.surveys["train"]
        rows = [
            [
                name,
                *(f"{one.classes.get(name, 0):,}" for one in filled.values()),
                f"{train.classes.get(name, 0) / max(train.rows, 1):.1%}",
            ]
            for name in names[:_SHOWN_CLASSES]
        ]
        more = len(names) - _SHOWN_CLASSES
        return [*rows, [f"… and {more:,} more", *[""] * (len(filled) + 1)]] if more > 0 else rows

    def to_json(self) -> dict[str, Any]:
        """The object that --json prints; programs rely on its keys."""
        report: dict[str, Any] = {
            "splits": {split: one.to_json() for split, one in self.surveys.items()},
            "findings": [asdict(one) for one in self.findings],
        }
        return report if self.suspects is None else report | {"suspects": asdict(self.suspects)}
