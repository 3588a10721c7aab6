"""Text files as they lie around: one file a class, texts and labels in two files, folders of either kind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstm_cli.data.sources import DataConfig, Rows, load_splits, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from tests.data.conftest import Open
from tests.lint.test_other_contents import Vector

Made = Callable[[str, str | bytes], str]

POS, NEG = "good\nfine film\n\nvery good\n", "bad\nawful\n"
ALIGNED = {"text": "t.txt", "labels": "l.txt"}
ROWS = [("good", "pos"), ("fine film", "pos"), ("very good", "pos"), ("bad", "neg"), ("awful", "neg")]


def rows_of(train: Any, role: str = "train", **keys: Any) -> Rows[Text]:
    config = DataConfig(train=train, **keys)
    return open_rows(config.train, config, role, labelled=True, content=Text)


def pairs_of(train: Any, **keys: Any) -> list[tuple[str, str | None]]:
    return [(row.content.text, row.content.label) for row in rows_of(train, **keys)]


@pytest.fixture
def layouts(made: Made) -> dict[str, Any]:
    """The same five rows in every layout of text files."""
    made("flat/pos.txt", POS)
    made("flat/neg.txt", NEG)
    made("flat/README.txt", "what this is")
    made("flat/notes.md", "more")
    made("packed/pos.txt.gz", gzip.compress(POS.encode()))
    made("packed/neg.txt", NEG)
    made("folders/pos/all.txt", POS)
    made("folders/neg/all.txt", NEG)
    made("parts/a.txt", "good\nfine film\n")
    made("parts/b.txt", "very good\n")
    made("odd/rt.pos", POS.replace("\n", "\r"))
    made("text.txt", "\n".join(text for text, _ in ROWS) + "\n\n")
    made("labels.txt", " \n".join(str(label) for _, label in ROWS))
    made("numbers.txt", "\r\n".join("10"[label == "neg"] for _, label in ROWS) + "\r\n\r\n")
    made("mapping.txt", "0\tneg\n1\tpos\tanother column\n")
    made("classes.txt", "neg\npos\n")
    return {
        "a folder": "flat",
        "a glob": "flat/[pn]*.txt",
        "a list of globs": ["flat/p*.txt", "flat/n*.txt"],
        "compressed": "packed",
        "a sub-folder with one file": "folders",
        "a mapping": {"pos": "flat/pos.txt", "neg": "flat/neg.txt"},
        "a mapping to several files": {"pos": ["parts/a.txt", "parts/b.txt"], "neg": ["flat/neg.txt"]},
        "a mapping to globs": {"pos": "parts/*.txt", "neg": "flat/n*.txt"},
        "a mapping to CR and another ending": {"pos": "odd/rt.pos", "neg": "flat/neg.txt"},
        "aligned": {"text": "text.txt", "labels": "labels.txt"},
        "aligned with names": {"text": "text.txt", "labels": "numbers.txt", "names": "mapping.txt"},
        "aligned with names alone": {"text": "text.txt", "labels": "numbers.txt", "names": "classes.txt"},
    }


LAYOUTS = [
    "a folder",
    "a glob",
    "a list of globs",
    "compressed",
    "a sub-folder with one file",
    "a mapping",
    "a mapping to several files",
    "a mapping to globs",
    "a mapping to CR and another ending",
    "aligned",
    "aligned with names",
    "aligned with names alone",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_text_files_gives_the_rows(layouts: dict[str, Any], layout: str) -> None:
    assert sorted(map(str, pairs_of(layouts[layout]))) == sorted(map(str, ROWS))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_survives_the_resolved_config(layouts: dict[str, Any], layout: str) -> None:
    config = DataConfig(train=layouts[layout], test=layouts[layout])
    again = DataConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert set(again.sources()) == {"train", "test"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_be_cut_into_splits_and_folds(layouts: dict[str, Any], layout: str) -> None:
    splits = load_splits(DataConfig(train=layouts[layout], dev=0.4), 0, content=Text)
    assert (len(splits.train), len(splits.dev)) == (3, 2)
    folds = load_splits(
        DataConfig(train=layouts[layout], dev=layouts[layout], test="fold:1/2"), 0, content=Text
    )
    assert folds.test is not None
    assert len(folds.train) + len(folds.test) == 5
    separate = load_splits(DataConfig(train=layouts[layout], dev=layouts[layout]), 0, content=Text)
    assert list(separate.train) == list(separate.dev)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_of_a_layout_is_hashed_and_any_change_of_one_changes_the_digest(
    layouts: dict[str, Any], layout: str
) -> None:
    rows = rows_of(layouts[layout])
    before = rows.digest()
    assert rows_of(layouts[layout]).digest() == before
    assert set(rows.files()) == set(rows.sources)
    for path in rows.sources:
        old = Path(path).read_bytes()
        new = gzip.compress(b"other\nlines\n") if path.endswith(".gz") else old + b"\nsome more\n"
        Path(path).write_bytes(new)
        assert rows_of(layouts[layout]).digest() != before, path
        Path(path).write_bytes(old)


def test_the_labels_of_files_are_part_of_the_digest_and_their_paths_are_not(layouts: dict[str, Any]) -> None:
    a, b = "flat/pos.txt", "flat/neg.txt"
    digests = [
        rows_of(train).digest()
        for train in ({"x": a, "y": b}, {"y": a, "x": b}, {"x": b, "y": a}, {"x": a, "z": b})
    ]
    assert len(set(digests)) == 4
    Path("moved").mkdir()
    Path(a).rename("moved/other.txt")
    assert rows_of({"x": "moved/other.txt", "y": b}).digest() == digests[0]


def test_rows_of_text_files_know_their_lines(layouts: dict[str, Any]) -> None:
    found = [row.where() for row in rows_of("flat")]
    assert found == ["flat/neg.txt:1", "flat/neg.txt:2", "flat/pos.txt:1", "flat/pos.txt:2", "flat/pos.txt:4"]
    aligned = [row.where() for row in rows_of(layouts["aligned"])]
    assert aligned == [f"text.txt:{line}" for line in range(1, 6)]


def test_a_layout_that_was_decided_by_what_the_files_hold_is_said(
    layouts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        rows_of("flat")
        rows_of("flat/[pn]*.txt", role="dev")
        rows_of("folders")
        rows_of(layouts["aligned"])
    assert [record.getMessage() for record in caplog.records] == [
        "data.train: flat: one file for each class, with one text per line: neg, pos",
        "data.dev: flat/[pn]*.txt: one file for each class, with one text per line: neg, pos",
        "data.train: folders: each sub-folder holds one file, which is read as one text per line "
        "(data.format: folder reads each file as one text)",
    ]


def test_data_format_decides_a_folder_that_could_be_either(layouts: dict[str, Any], made: Made) -> None:
    assert pairs_of("folders", format="folder") == [(NEG, "neg"), (POS, "pos")]
    made("many/pos/1.txt", "one\ntwo\n")
    made("many/pos/2.txt", "three\nfour\n")
    made("many/neg/1.txt", "five\n")
    assert pairs_of("many") == [("five\n", "neg"), ("one\ntwo\n", "pos"), ("three\nfour\n", "pos")]
    assert len(pairs_of("many", format="text")) == 5
    made("single/pos/1.txt", "one\n")
    made("single/neg/1.txt", "two\nlines\n")
    assert pairs_of("single") == [("two\nlines\n", "neg"), ("one\n", "pos")]


def test_files_given_by_label_may_be_of_any_format(made: Made) -> None:
    made("a.csv", "id,text\n1,good\n2,\n")
    made("docs/1.txt", "a whole\nfile")
    made("b.jsonl", '{"text": "so so", "label": "ignored"}\n')
    assert pairs_of({"pos": "a.csv", "neg": "docs", "mid": "b.jsonl"}) == [
        ("good", "pos"), ("", "pos"), ("a whole\nfile", "neg"), ("so so", "mid")
    ]  # fmt: skip


def test_a_label_that_is_a_number_is_a_text(made: Made) -> None:
    made("a.txt", "good\n")
    made("b.txt", "bad\n")
    assert pairs_of({1: "a.txt", 0: "b.txt"}) == [("good", "1"), ("bad", "0")]


@pytest.mark.parametrize(
    ("files", "train", "said"),
    [
        ({"d/train.txt": POS, "d/test.txt": NEG}, "d", r"d/test\.txt is named after a split.*\{positive: a\.txt"),
        (
            {"d/train_text.txt": POS, "d/train_labels.txt": NEG},
            "d",
            r"^data\.train: d: .*\{text: d/train_text\.txt, labels: d/train_labels\.txt\}",
        ),
        ({f"d/{n:03}.txt": "one\n" for n in range(9)}, "d", "9 text files, 9 of one line.*one sub-folder per class"),
        ({f"d/{n:03}.txt": POS for n in range(101)}, "d/*.txt", "101 text files, more than 100"),
        ({"pos.txt": POS, "neg.txt": NEG}, ["pos.txt", "neg.txt"], r"pos\.txt: plain text has no labels.*\{positive: "),
        ({"a/pos.txt": POS, "a/neg.csv": "text,label\n"}, "a/*", r"a/pos\.txt: plain text has no labels"),
        ({"pos.txt": POS}, {"pos": "pos.txt", "neg": "ne.txt"}, r"^data\.train: neg: no file or folder ne\.txt"),
        ({"t.txt": "a\nb\n", "l.txt": "x\n"}, ALIGNED, r"^t\.txt:2: l\.txt has only 1 lines"),
        ({"t.txt": "a\n", "l.txt": "x\ny\n"}, ALIGNED, r"^l\.txt:2: t\.txt has only 1 lines"),
        ({"t.txt": "a\nb\n", "l.txt": "x\n\n"}, ALIGNED, r"^t\.txt:2: its label is empty \(l\.txt:2\)"),
        ({"t.txt/a.txt": "a\n", "l.txt": "x\n"}, ALIGNED, r"text: t\.txt: must be one file with one text per line"),
        (
            {"t.txt": "a\nb\n", "l.txt": "0\n2\n", "n.txt": "neg\npos\n"},
            ALIGNED | {"names": "n.txt"},
            r'^t\.txt:2: its label "2" \(l\.txt:2\) has no name in n\.txt \(have: 0, 1\)',
        ),
        (
            {"t.txt": "a\n", "l.txt": "0\n", "n.txt": "0\tneg\n0\tpos\n"},
            ALIGNED | {"names": "n.txt"},
            r'^n\.txt:2: the label "0" has a name already',
        ),
    ],
)  # fmt: skip
def test_a_layout_that_cannot_be_is_refused_with_the_way_to_name_it(
    made: Made, files: dict[str, str], train: Any, said: str
) -> None:
    for name, content in files.items():
        made(name, content)
    with pytest.raises(DataError, match=said):
        list(rows_of(train))


def test_fasttext_lines_in_a_glob_stay_fasttext(made: Made) -> None:
    made("d/a.txt", "__label__x good\n__label__y bad\n")
    made("d/b.txt", "__label__x fine\n")
    assert pairs_of("d/*.txt") == [("good", "x"), ("bad", "y"), ("fine", "x")]


def test_files_given_by_label_are_refused_by_a_task_without_labels(made: Made) -> None:
    made("a.csv", "x,y\n1,2\n")
    config = DataConfig(train={"pos": "a.csv"}, text_column=["x", "y"])
    rows = open_rows(config.train, config, "train", labelled=True, on_error="row", content=Vector)
    assert all(row.error for row in rows)


def test_without_labels_the_files_of_a_folder_are_still_documents(
    layouts: dict[str, Any], opened: Open
) -> None:
    assert len(opened("flat", role="predict", labelled=False)) == 4


@pytest.mark.parametrize("ending", ["txt", "fasttext", "jsonl", "json", "csv", "tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_carriage_return_alone_ends_a_line_in_a_file_without_line_feeds(
    made: Made, opened: Open, ending: str, encoding: str
) -> None:
    contents = {
        "txt": "good\rbad\r",
        "fasttext": "__label__x good\r__label__y bad",
        "jsonl": '{"text": "good", "label": "x"}\r{"text": "bad", "label": "y"}\r',
        "json": '[{"text": "good", "label": "x"},\r{"text": "bad", "label": "y"}\r]',
        "csv": "text,label\rgood,x\rbad,y\r",
        "tsv": "text\tlabel\rgood\tx\rbad\ty\r",
    }
    name = made(f"a.{ending.replace('fasttext', 'txt')}", contents[ending].encode(encoding))
    rows = list(opened(name, labelled=ending != "txt", encoding=encoding))
    assert [row.content.text for row in rows] == ["good", "bad"]
    assert [row.line for row in rows] == ([2, 3] if ending.endswith("sv") else [1, 2])


def test_the_digest_of_version_0_2_stays_for_its_formats(made: Made, opened: Open) -> None:
    made("d/x/1", "good")
    made("d/y/1", "bad")
    made("a.csv", "text,label\ngood,x\n")
    made("b.txt", "__label__x good\n")
    assert [opened(name).digest()[:16] for name in ("a.csv", "b.txt", "d")] == [
        "38499d13da319a54", "a2192ab85835e098", "d5304a25e0b5cad8"
    ]  # fmt: skip
    assert opened("a.csv", delimiter=";").digest() != opened("a.csv").digest()
