"""Every fault that is planted is found, counted, and shown with its line; sound rows have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_cli.data.sources import DataConfig
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import DataError
from lstm_cli.lint.damage import damage, likely_delimiter
from lstm_cli.lint.scan import scan
from tests.conftest import small_rows
from tests.lint.conftest import Found

SOUND = small_rows(200, 0)
UNSEEN = small_rows(60, 1)


def test_sound_rows_have_no_finding(found: Found) -> None:
    assert found(SOUND, UNSEEN) == {}


def shuffled(rows: list[tuple[str, str]], planted: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return rows[:50] + planted + rows[50:]


@pytest.mark.parametrize(
    ("code", "severity", "planted", "where"),
    [
        ("empty-texts", "warning", [(" ", "positive"), ("\t", "negative")], "train.csv:51"),
        ("one-word-texts", "note", [("good", "positive"), ("!!", "negative")], "train.csv:51"),
        ("mojibake", "warning", [("the cafÃ© was fine", "positive")], "train.csv:51"),
        ("lost-characters", "warning", [("the caf\ufffd was fine", "positive")], "train.csv:51"),
        ("control-characters", "warning", [("that\x92s fine", "positive")], "train.csv:51"),
        ("markup", "warning", [("fine.<br /><br />Really", "positive")], "train.csv:51"),
        ("entities", "note", [("fish &amp; chips", "positive")], "train.csv:51"),
        ("header-read-as-row", "warning", [("text", "label")], "train.csv:51"),
        (
            "label-spellings",
            "error",
            [("quite fine", "Positive"), ("very fine", "positive ")],
            "train.csv:51",
        ),
        ("rare-classes", "warning", [("quite so", "mixed"), ("rather so", "mixed")], "train.csv:51"),
        ("classes-without-dev", "warning", [("quite so", "mixed")], "train.csv:51"),
        ("imbalance", "note", [("quite so", "mixed")], "train.csv:51"),
        ("exact-duplicates", "warning", [SOUND[0]], "train.csv:51"),
    ],
)
def test_a_planted_fault_is_found_with_its_line(
    code: str, severity: str, planted: list[tuple[str, str]], where: str, found: Found
) -> None:
    names = {one.code: one for one in found(shuffled(SOUND, planted), UNSEEN).values()}
    finding = names[code]
    assert finding.severity == severity
    assert finding.count == (1 if code in ("rare-classes", "imbalance") else len(planted))
    assert finding.examples[0].where == where
    assert finding.advice


def test_markup_that_the_tokenizer_strips_is_a_note(found: Found) -> None:
    names = found(shuffled(SOUND, [("fine.<br />Really", "positive")]), strips_markup=True)
    assert names["markup train"].severity == "note"


def test_a_label_that_train_lacks_is_named_with_the_nearest_and_counted(found: Found) -> None:
    test = [("quite so", "postive"), ("rather so", "negative"), ("so", "postive"), ("and so on", "x")]
    finding = found(SOUND, test=test)["unknown-labels test"]
    assert (finding.severity, finding.count) == ("error", 3)
    assert [str(one) for one in finding.examples] == [
        'test.csv:1: label "postive". Did you mean "positive"?',
        'test.csv:4: label "x".',
    ]
    assert "negative, positive" in finding.what


def test_rows_sorted_by_label_are_noted(found: Found) -> None:
    finding = found(sorted(SOUND, key=lambda row: row[1]))["sorted-by-label train"]
    assert (finding.severity, finding.count) == ("note", 1)
    assert finding.examples[0].where == "train.csv:101"


def test_a_label_column_that_holds_texts_is_suspected(found: Found) -> None:
    names = found([(text, f"{label} {i}") for i, (text, label) in enumerate(SOUND)])
    assert names["many-labels train"].count == 200
    assert "data.label_column" in names["many-labels train"].advice


def test_a_text_column_of_numbers_and_quotes_that_were_kept_are_suspected(found: Found) -> None:
    assert (
        found([(str(i), label) for i, (_, label) in enumerate(SOUND)])["texts-are-numbers train"].count == 200
    )
    assert found([(f'"{text}"', label) for text, label in SOUND])["quotes-in-texts train"].count == 200


def test_rows_that_cannot_be_read_are_counted_and_do_not_hide_the_rest() -> None:
    config = DataConfig(train="train.csv")
    rows = [
        text_row("some text", "a", "train.csv", 2),
        *(text_row("", None, "train.csv", n, error=f"no {n}") for n in range(3, 9)),
    ]
    table = scan({"train": rows, "dev": DataError("dev.csv:1: no column")}, config, Text)
    train, dev = damage(table, config, strips_markup=False)
    assert (train.count, train.severity, str(train.examples[2])) == (6, "error", "train.csv:5: no 5")
    assert (dev.count, dev.severity, str(dev.examples[0])) == (1, "error", "dev.csv:1: no column")


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["text\tlabel", "one, two\ta", "three\tb"], "\t"),
        (["text;label", '"one; two";a', "three;b"], ";"),
        (["text,label", '"one, two",a'], ","),
        (["text;label", "one\rtwo;a"], ";"),
        (["just words", "and, more words", "no columns here"], None),
        ([], None),
    ],
)
def test_the_delimiter_is_what_divides_the_lines_evenly(lines: list[str], delimiter: str | None) -> None:
    assert likely_delimiter(lines) == delimiter


def test_a_message_that_names_no_file_is_a_finding_too() -> None:
    config = DataConfig(train="train.csv", format="csv")
    table = scan({"train": DataError("no rows " * 1_000)}, config, Text)
    assert [one.code for one in damage(table, config, strips_markup=False)] == ["unreadable"]


def test_a_wrong_delimiter_is_suspected(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text;label\none;a\ntwo;b\n", encoding="utf-8")
    config = DataConfig(train=str(path))
    table = scan({"train": DataError(f"{path}:1: no column")}, config, Text)
    assert {one.code: one.what for one in damage(table, config, strips_markup=False)}["delimiter"].endswith(
        "semicolons"
    )


@pytest.mark.parametrize(
    ("usual", "other"),
    [("1", "1.0"), ("1", "1."), ("-2", "-2.00"), ("good", "['good']"), ("good", '["Good"]'), ("1", "[1.0]")],
)
def test_a_label_written_in_another_way_is_one_label(found: Found, usual: str, other: str) -> None:
    rows = [(text, usual if label == "positive" else label) for text, label in SOUND]
    finding = found(shuffled(rows, [("quite fine", other), ("very fine", other)]), UNSEEN)[
        "label-spellings all"
    ]
    assert (finding.severity, finding.count) == ("error", 2)
    assert f'"{usual}" (100), "{other}" (2)' in finding.what


@pytest.mark.parametrize(
    ("one", "other"), [("1", "01"), ("1", "1.5"), ("10", "1.0"), ("v1", "v1.0"), ("a", "['b']")]
)
def test_labels_that_only_look_alike_stay_apart(found: Found, one: str, other: str) -> None:
    assert not [
        name for name in found([("good", one), ("bad", other)] * 10) if name.startswith("label-spellings")
    ]


def test_labels_that_are_lists_or_several_labels_are_said(found: Found) -> None:
    names = ["['a']", '["a", "b"]', "[]", "x#y", "y#x#y", "x", "y", "C#", "a[1]"]
    findings = found([(f"text number {i} {name}", name) for i, name in enumerate(names)])
    assert findings["labels-are-lists all"].count == 3
    assert findings["labels-are-joined all"].count == 2
    assert findings["labels-are-joined all"].severity == "warning"
