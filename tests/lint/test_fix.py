"""The cleaned copy: every repair is made and logged, fixing it again changes nothing, no input is overwritten."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_cli.data.sources import DataConfig, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.lint.fix import check_target, fix, log_path

Table = Sequence[tuple[str, ...]]
HEADER = ("text", "label")
SOUND: Table = [("quite fine", "good"), ("rather dull", "bad"), ("very fine", "good"), ("very dull", "bad")]


def write(path: Path, rows: Table, header: tuple[str, ...] = HEADER, encoding: str = "utf-8") -> str:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def logged(out: Path) -> list[tuple[str, str, str, str | None]]:
    lines = [json.loads(line) for line in log_path(out).read_text("utf-8").strip("\n").split("\n")]
    return [(Path(line["where"]).name, line["what"], line["before"], line["after"]) for line in lines]


def read(config: DataConfig, out: Path) -> Table:
    loaded = config.model_copy(update={"train": str(out)})
    return [
        (row.content.text, str(row.content.label))
        for row in open_rows(str(out), loaded, "train", labelled=True, content=Text)
    ]


@pytest.mark.parametrize("name", ["clean.csv", "clean.jsonl"])
def test_every_repair_is_made_and_logged_with_its_line(name: str, tmp_path: Path) -> None:
    rows = [
        *SOUND,
        ("the cafÃ© was\x85 fine.<br />Yes", "good"),
        (" ", "good"),
        ("quite fine", "good"),
        ("well made", "Good "),
        ("so so", "good"),
        ("so so", "bad"),
        ("seen in test", "bad"),
        ("no label", ""),
        ("seen in<br />test", "bad"),
    ]
    config = DataConfig(
        train=write(tmp_path / "train.csv", rows),
        test=write(tmp_path / "test.csv", [("seen in test", "bad")]),
    )
    out = tmp_path / name
    fixed = fix(config, out, Text)
    assert read(config, out) == [*SOUND, ("the café was… fine. Yes", "good"), ("well made", "good")]
    assert logged(out) == [
        ("train.csv:6", "mojibake and control characters and <br />", rows[4][0], "the café was… fine. Yes"),
        ("train.csv:7", "empty text", " ", None),
        ("train.csv:8", "copy of an earlier row", "quite fine", None),
        ("train.csv:9", "label", "Good ", "good"),
        ("train.csv:10", "text with several labels", "so so", None),
        ("train.csv:11", "text with several labels", "so so", None),
        ("train.csv:12", "also in dev or test", "seen in test", None),
        (
            "train.csv:13",
            "cannot be read",
            'the label (column "label") is empty. Give the row a label or remove it',
            None,
        ),
        ("train.csv:14", "also in dev or test", "seen in<br />test", None),
    ]
    assert (fixed.read, fixed.written, sum(fixed.changes.values())) == (13, 6, 9)


TEXT = st.lists(
    st.sampled_from(["Ã", "©", "\x85", "\x00", "<br>", " ", "a", "b", "\n", '"', ",", "é"]), max_size=6
).map("".join)
ROWS = st.lists(st.tuples(TEXT, st.sampled_from(["x", "X", "x ", "y", "Y"])), max_size=10)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=ROWS, test=ROWS)
def test_fixing_what_is_fixed_changes_nothing(train: Table, test: Table, tmp_path: Path) -> None:
    config = DataConfig(
        train=write(tmp_path / "train.csv", [*train, *SOUND]),
        test=write(tmp_path / "test.csv", [*test, ("end", "x")]),
    )
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    fix(config, once, Text)
    assert fix(config.model_copy(update={"train": str(once)}), twice, Text).changes == {}
    assert once.read_bytes() == twice.read_bytes()
    for path in (once, twice, log_path(once), log_path(twice)):
        path.unlink()


def test_labels_are_spelled_as_test_spells_them_even_where_train_mostly_does_not(tmp_path: Path) -> None:
    train = [("one text", "Good"), ("two text", "Good"), ("three text", "good"), ("four text", "bad")]
    config = DataConfig(train=write(tmp_path / "train.csv", train))
    fix(config, tmp_path / "a.csv", Text)
    assert {label for _, label in read(config, tmp_path / "a.csv")} == {"Good", "bad"}
    config = DataConfig(train=config.train, test=write(tmp_path / "test.csv", [("five", "good")]))
    fix(config, tmp_path / "b.csv", Text)
    assert {label for _, label in read(config, tmp_path / "b.csv")} == {"good", "bad"}


def test_all_columns_stay_and_each_text_column_is_repaired(tmp_path: Path) -> None:
    rows = [("7", "A<br>title", "cafÃ©", "x"), ("8", "Another", "body", "y")]
    config = DataConfig(
        train=write(tmp_path / "train.csv", rows, ("id", "title", "body", "label")),
        text_column=["title", "body"],
    )
    fix(config, tmp_path / "out.csv", Text)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"title": "A title", "body": "café", "label": "x", "id": "7"},
            {"title": "Another", "body": "body", "label": "y", "id": "8"},
        ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8"])
@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_the_copy_is_written_as_the_config_reads(encoding: str, name: str, tmp_path: Path) -> None:
    rows: Table = [("x", "café one"), ("y", "naïve two")]
    config = DataConfig(
        train=write(tmp_path / "train.csv", rows[1:], rows[0], encoding),
        encoding=encoding,
        columns=["label", "text"],
    )
    fix(config, tmp_path / name, Text)
    assert read(config, tmp_path / name) == [("café one", "x"), ("naïve two", "y")]


def test_a_repair_that_the_encoding_cannot_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", [*SOUND, ("10 â\x82¬", "bad")], encoding="latin-1")
    config = DataConfig(train=train, encoding="latin-1")
    with pytest.raises(DataError, match=r"latin-1 .* cannot encode .*'€'; try a name that ends in .jsonl"):
        fix(config, tmp_path / "out.csv", Text)
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    fix(config, tmp_path / "out.jsonl", Text)
    assert ("10 €", "bad") in read(config, tmp_path / "out.jsonl")


def test_where_no_two_labels_would_be_left_nothing_is_written(tmp_path: Path) -> None:
    config = DataConfig(train=write(tmp_path / "train.csv", [("same", "x"), ("same", "y"), ("other", "y")]))
    with pytest.raises(DataError, match="fewer than two labels"):
        fix(config, tmp_path / "out.csv", Text)
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("data/train.csv", "exists already"),
        ("data/link.csv", "exists already"),
        ("data/new.csv", "data.train would read it too"),
        ("folder/new.csv", "is inside data.dev"),
        ("no/new.csv", "there is no folder"),
        ("new.tsv", "try .csv or .jsonl"),
    ],
)
def test_a_name_that_would_touch_the_input_is_refused(
    out: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "folder/x"):
        Path(folder).mkdir(parents=True)
    write(Path("data/train.csv"), SOUND)
    Path("data/link.csv").symlink_to("nowhere.csv")
    with pytest.raises(ConfigError, match=said):
        check_target(Path(out), DataConfig(train="data/*.csv", dev="folder"), Text)
    check_target(Path("new.csv"), DataConfig(train="data/*.csv", dev="folder"), Text)


def test_the_copy_of_data_in_another_layout_is_one_table(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("good\ngood\nfine\n", encoding="utf-8")
    (tmp_path / "n.txt").write_text("bad\n", encoding="utf-8")
    config = DataConfig(train={"pos": str(tmp_path / "p.txt"), "neg": str(tmp_path / "n.txt")})
    fix(config, tmp_path / "out.csv", Text)
    assert read(config, tmp_path / "out.csv") == [("good", "pos"), ("fine", "pos"), ("bad", "neg")]


def test_labels_written_in_two_ways_are_folded(tmp_path: Path) -> None:
    rows = [("a", "1"), ("b", "1"), ("c", "1.0"), ("d", "0"), ("e", "['0']")]
    config = DataConfig(train=write(tmp_path / "train.csv", rows))
    fix(config, tmp_path / "out.csv", Text)
    assert [label for _, label in read(config, tmp_path / "out.csv")] == ["1", "1", "1", "0", "0"]


def test_the_copy_has_the_delimiter_that_the_config_names_and_finds_headers_as_the_reader_does(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.csv").write_text("Title; BODY;label\none;two;x\nthree;four;y\n", encoding="utf-8")
    for delimiter in (";", "auto"):
        config = DataConfig(
            train=str(tmp_path / "train.csv"), text_column=["title", "body"], delimiter=delimiter
        )
        out = tmp_path / f"out-{delimiter[0]}.csv"
        fix(config, out, Text)
        assert read(config, out) == [("one two", "x"), ("three four", "y")]


def test_a_copy_inside_a_folder_that_is_given_by_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pos").mkdir()
    config = DataConfig(train={"pos": str(tmp_path / "pos"), "neg": str(tmp_path / "*.csv")})
    for out in ("pos/out.csv", "out.csv"):
        with pytest.raises(ConfigError, match=r"data\.train"):
            check_target(tmp_path / out, config, Text)
