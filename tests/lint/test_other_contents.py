"""Rows that hold no text are checked too: what cannot be read, labels and copies; nothing is said about words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_cli.data.rows import Content, Reading, Row
from lstm_cli.data.sources import DataConfig
from lstm_cli.errors import ConfigError
from lstm_cli.lint.copies import copies
from lstm_cli.lint.damage import damage
from lstm_cli.lint.findings import Finding
from lstm_cli.lint.fix import check_target, fix
from lstm_cli.lint.labels import labels
from lstm_cli.lint.report import CheckReport
from lstm_cli.lint.scan import Scan, scan
from lstm_cli.lint.survey import survey
from lstm_cli.lint.suspects import suspects
from lstm_cli.lint.text import Mark

CONFIG = DataConfig(train="train.csv", dev="dev.csv")


@dataclass(frozen=True, slots=True)
class Vector(Content):
    """Numbers and, where it is known, their label."""

    values: tuple[float, ...]
    label: str | None = None

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        return [("text_column", name) for name in reading.config.text_columns]

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Vector:
        return cls(tuple(float(str(value)) for value in values))

    @classmethod
    def from_text(cls, text: str, label: str | None) -> Vector:
        return cls(tuple(map(float, text.split())), label)

    @classmethod
    def empty(cls) -> Vector:
        return cls(())

    def key(self) -> bytes:
        return np.array(self.values).tobytes()

    def stratum(self) -> str | None:
        return self.label

    def size(self) -> int:
        return len(self.values)

    def as_json(self) -> dict[str, Any]:
        return {"values": list(self.values), "label": self.label}


def scanned(**splits: Sequence[Vector | str]) -> Scan:
    """A scan of vectors; a string is the error of a row that cannot be read."""
    rows = {
        name: [
            Row(Vector(()), f"{name}.csv", line, error=one)
            if isinstance(one, str)
            else Row(one, f"{name}.csv", line)
            for line, one in enumerate(of, 1)
        ]
        for name, of in splits.items()
    }
    return scan(rows, CONFIG, Vector)


def found_in(**splits: Sequence[Vector | str]) -> dict[str, Finding]:
    table = scanned(**splits)
    findings = [*damage(table, CONFIG, strips_markup=False), *labels(table, CONFIG), *copies(table)]
    assert not [one for one in findings if "--fix" in one.advice or "text" in one.what]
    return {f"{one.code} {one.split}": one for one in findings}


def vectors(count: int, label: str | None, start: int = 0) -> list[Vector]:
    return [Vector((float(i), 0.5), label) for i in range(start, start + count)]


def test_sound_vectors_have_no_finding() -> None:
    mixed = [one for pair in zip(vectors(60, "a"), vectors(60, "b", 60), strict=True) for one in pair]
    assert found_in(train=mixed, dev=[*vectors(5, "a", 200), *vectors(5, "b", 300)]) == {}


def test_vectors_are_marked_as_unreadable_and_as_nothing_else() -> None:
    table = scanned(train=[Vector((), "a"), Vector((1.0,), "b"), "not a number"])
    assert table.table["marks"].tolist() == [0, 0, int(Mark.UNREADABLE)]
    assert table.table["size"].tolist() == [0, 1, 0]
    assert not table.signatures.any()
    (finding,) = damage(table, CONFIG, strips_markup=False)
    assert (finding.code, finding.severity, str(finding.examples[0])) == (
        "unreadable",
        "error",
        "train.csv:3: not a number",
    )


def test_labels_of_vectors_are_checked() -> None:
    train = [*vectors(60, "up"), *vectors(60, "down", 60), *vectors(2, "Up", 120)]
    found = found_in(train=train, dev=[Vector((7.5,), "dwn")])
    assert found["unknown-labels dev"].examples[0].detail == 'label "dwn". Did you mean "down"?'
    assert found["label-spellings all"].count == 2
    assert found["rare-classes train"].count == 1
    assert found["sorted-by-label train"].count == 2


def test_copies_of_vectors_are_found_within_a_source_and_across_splits() -> None:
    one, two, three = Vector((1.0, 2.0), "a"), Vector((2.0, 1.0), "b"), Vector((1.0, 2.0), "b")
    found = found_in(train=[one, two, one, three, "broken"], dev=[two, Vector((9.0,), "a"), Vector((), "b")])
    assert found["exact-duplicates train"].count == 2
    assert str(found["exact-duplicates train"].examples[0]) == "train.csv:3: as line 1"
    assert found["conflicting-labels-exact train"].count == 3
    assert (
        found["exact-leak train → dev"].count == 1
    )  # an empty vector is no copy of a row that cannot be read
    assert found["exact-leak train → dev"].severity == "error"
    assert str(found["exact-leak train → dev"].examples[0]) == "dev.csv:1: as train.csv:2"
    assert not [name for name in found if name.startswith(("near", "normalised"))]


def test_vectors_without_labels_are_counted_and_compared() -> None:
    found = found_in(train=[*vectors(60, None), *vectors(1, None)], dev=vectors(2, None, 100))
    assert list(found) == ["exact-duplicates train"]


def test_a_row_without_a_label_contradicts_no_label() -> None:
    mixed = [one for pair in zip(vectors(60, "a"), vectors(60, "b", 60), strict=True) for one in pair]
    assert list(found_in(train=[*mixed, Vector((1.0, 0.5), None)])) == ["exact-duplicates train"]


def test_vectors_are_surveyed_by_their_size() -> None:
    table = scanned(train=[*vectors(3, "a"), Vector((1.0,) * 7, "b")], dev=vectors(2, None))
    report = CheckReport(survey(table, {}), (), None)
    assert report.to_json()["splits"]["train"]["size"] == {"median": 2, "p95": 7, "max": 7}
    assert [title for title, _, _ in report.tables()] == ["data", "labels"]
    assert report.tables()[0][1][2] == "median size"
    unlabelled = CheckReport(survey(scanned(train=vectors(2, None)), {}), (), None)
    assert [title for title, _, _ in unlabelled.tables()] == ["data"]


def test_repairs_and_suspects_of_vectors_are_refused(tmp_path: Path) -> None:
    said = r"--fix: works on texts only, got a task whose rows hold Vector; leave --fix out"
    with pytest.raises(ConfigError, match=said):
        check_target(tmp_path / "out.csv", CONFIG, Vector)
    with pytest.raises(ConfigError, match=said):
        fix(CONFIG, tmp_path / "out.csv", Vector)
    with pytest.raises(ConfigError, match=said.replace("fix", "suspects")):
        suspects(scanned(train=vectors(20, "a")), [], 0)
