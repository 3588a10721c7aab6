"""CSV, TSV, JSON Lines and Parquet as people have them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]
Pairs = Callable[..., list[tuple[str, str | None]]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        'a "quoted" word',
        "two\nlines",
        "two\r\nlines",
        "a\rb",
        "next\x85line",
        "line\u2028separator",
        "\x00",
        "😀",
        "NA",
        '"',
        ",",
    ]
)
table = st.lists(st.tuples(texts, st.sampled_from(["pos", "neg", "null", "1"])), max_size=8)
in_one_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@in_one_folder
@given(rows=table, line_end=st.sampled_from(["\r\n", "\n"]))
def test_rows_written_as_csv_are_read_back(
    made: Made, opened: Open, rows: list[tuple[str, str]], line_end: str
) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    name = made("train.csv", out.getvalue())
    assert [(row.content.text, row.content.label) for row in opened(name)] == rows
    assert len(opened(name)) == len(rows)


@in_one_folder
@given(rows=table, ascii_only=st.booleans())
def test_rows_written_as_json_are_read_back(
    made: Made, pairs: Pairs, rows: list[tuple[str, str]], ascii_only: bool
) -> None:
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=ascii_only) for text, label in rows]
    assert pairs(made("train.jsonl", "\n".join(lines))) == rows


@in_one_folder
@given(rows=table)
def test_rows_written_as_parquet_are_read_back(made: Made, pairs: Pairs, rows: list[tuple[str, str]]) -> None:
    name = made("train.parquet", b"")
    schema = pa.schema([("label", pa.string()), ("text", pa.string())])
    pq.write_table(pa.table({"label": [r[1] for r in rows], "text": [r[0] for r in rows]}, schema), name)
    assert pairs(name) == rows


def test_a_row_knows_the_line_on_which_it_starts(made: Made, opened: Open) -> None:
    name = made("a.csv", 'text,label\r\n"one\r\ntwo\r\nthree",x\r\n\r\nfour,y\r\nfive\x85\u2028,x\r\nsix,y')
    assert [(row.line, row.where()) for row in opened(name)] == [(n, f"a.csv:{n}") for n in (2, 6, 7, 8)]


def test_texts_that_look_like_missing_values_stay_texts(made: Made, pairs: Pairs) -> None:
    rows: list[tuple[str, str | None]] = [
        (word, "x") for word in ("NA", "null", "None", "nan", "#N/A", " ", "")
    ]
    assert pairs(made("a.csv", "text,label\n" + "".join(f"{text},x\n" for text, _ in rows))) == rows


def test_carriage_returns_alone_end_the_rows_of_a_csv_file_too(made: Made, opened: Open) -> None:
    rows = opened(made("a.csv", "text,label\ra,x\r\rb,y\r"))
    assert [(row.content.text, row.content.label, row.line) for row in rows] == [("a", "x", 2), ("b", "y", 4)]


def test_blank_lines_of_a_table_are_no_rows(made: Made, pairs: Pairs) -> None:
    assert pairs(made("a.csv", "\n\ntext,label\na,x\n\nb,y\n\n\n")) == [("a", "x"), ("b", "y")]
    assert pairs(made("a.tsv", "text\tlabel\r\na\tx\r\n\r\nb\ty\r\n\r\n")) == [("a", "x"), ("b", "y")]


def test_in_a_file_of_one_column_a_blank_line_is_an_empty_text(made: Made, opened: Open) -> None:
    rows = opened(made("a.csv", 'text\na\n\n""\nb\n\n\n'), labelled=False)
    assert [(row.content.text, row.line) for row in rows] == [("a", 2), ("", 3), ("", 4), ("b", 5)]


def test_quotes_are_plain_characters_in_tsv_and_where_the_config_says_so(made: Made, pairs: Pairs) -> None:
    expected = [('he said "hi', "ham"), ('"', "spam"), ('"done"', "ham"), ("carriage\rreturn", "ham")]
    lines = "".join(f"{label}\t{text}\n" for text, label in expected)
    assert pairs(made("a.tsv", lines), columns=["label", "text"]) == expected
    assert (
        pairs(made("a.csv", lines.replace("\t", ",")), columns=["label", "text"], quoting="none") == expected
    )
    white = [(" a \x85 ", "x"), ("\u2028", "y")]
    assert pairs(made("c.tsv", "".join(f"{b}\t{a}\n" for a, b in white)), columns=["label", "text"]) == white
    standard = made("b.tsv", 'text\tlabel\n"a\tb\n""c"""\tx\n')
    assert pairs(standard, quoting="standard") == [('a\tb\n"c"', "x")]


@pytest.mark.parametrize("broken", ['"never closed,x\nb,y\nc,x\n', '"closed" too early,x\nb,y\n'])
def test_an_unbalanced_quote_names_the_row_in_which_it_opens(made: Made, pairs: Pairs, broken: str) -> None:
    with pytest.raises(DataError, match=r"^a\.csv:3: .*data\.quoting: none") as caught:
        pairs(made("a.csv", "text,label\nfine,x\n" + broken))
    assert "line " in str(caught.value)


def test_a_row_of_another_width_is_named_with_both_counts(made: Made, opened: Open, pairs: Pairs) -> None:
    name = made("a.csv", "text,label\nfine,x\nnot, fine,y\nonly\nlast,y\n")
    with pytest.raises(DataError, match=r"^a\.csv:3: 3 fields where the header has 2\. .*data\.delimiter"):
        pairs(name)
    rows = list(opened(name, on_error="row"))
    assert [(row.line, row.content.text, row.error is None) for row in rows] == [
        (2, "fine", True), (3, "", False), (4, "", False), (5, "last", True)
    ]  # fmt: skip
    with pytest.raises(
        DataError, match=r"^a\.tsv:2: 1 field where data\.columns names 2\. .*data\.quoting: standard"
    ):
        pairs(made("a.tsv", "a\tx\nb\n"), columns=["text", "label"])


def test_a_missing_column_is_named_with_the_columns_there_are_and_the_key(made: Made, pairs: Pairs) -> None:
    name = made("a.csv", "Texts,sentiment\ngood,pos\n")
    with pytest.raises(DataError) as caught:
        pairs(name)
    assert str(caught.value) == (
        'a.csv:1: no column "text" and no column "label" (have: Texts, sentiment). Did you mean "Texts"? '
        "Set data.text_column and data.label_column"
    )
    assert pairs(name, text_column="Texts", label_column="sentiment") == [("good", "pos")]


def test_a_first_row_that_is_no_header_is_recognised(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"data\.columns if the file has no header row"):
        pairs(made("a.tsv", "a fine film it was\tpos\nmore\tneg\n"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_character_between_the_columns_is_found_and_said(
    made: Made, pairs: Pairs, caplog: pytest.LogCaptureFixture, delimiter: str, ending: str, mark: str
) -> None:
    rows: list[tuple[str, str | None]] = [
        ("a, b; c | d", "x"),
        ("two\nlines; and, more", "y"),
        ("plain", "x"),
    ]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    content = (mark + out.getvalue()).encode()
    name = made(f"a{ending}", gzip.compress(content) if ending.endswith("gz") else content)
    with caplog.at_level("INFO"):
        assert pairs(name, quoting="standard") == rows
    usual = "\t" if ending == ".tsv" else ","
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if delimiter == usual else [said[0]])
    assert all("separate the columns (data.delimiter" in one for one in said)


def test_data_delimiter_overrides_what_is_found(made: Made, pairs: Pairs) -> None:
    name = made("a.csv", "text:label;text,label\none:x;y,z\n")
    assert pairs(name, delimiter=":", text_column="text", label_column="label;text,label") == [
        ("one", "x;y,z")
    ]
    assert pairs(name, delimiter="colon", label_column="label;text,label") == [("one", "x;y,z")]
    for named, character in (("tab", "\t"), ("\\t", "\t"), ("space", " "), ("bar", "|"), ("semicolon", ";")):
        made("b.csv", f"text{character}label\none{character}x\n")
        assert pairs("b.csv", delimiter=named) == [("one", "x")]


def test_a_header_that_holds_a_semicolon_is_one_column_if_the_config_names_it(
    made: Made, opened: Open
) -> None:
    name = made("a.csv", "text;note\none;a\ntwo;b\n")
    rows = opened(name, labelled=False, text_column="text;note")
    assert [row.content.text for row in rows] == ["one;a", "two;b"]


def test_in_doubt_commas_separate_the_columns(made: Made, pairs: Pairs) -> None:
    rows = [("a; b; c", "x"), ("d; e", "y")]
    lines = "".join(f"{text},{label}\n" for text, label in rows)
    assert pairs(made("a.csv", f"text,label\n{lines}")) == rows
    assert pairs(made("b.csv", lines), columns=["text", "label"]) == rows
    semicolons = "".join(f'"{text}";{label}\n' for text, label in rows)
    assert pairs(made("c.csv", semicolons), columns=["text", "label"]) == rows
    single = pairs(made("d.csv", "one, two\nthree; four\n"), columns=["text"], labelled=False, on_error="row")
    assert [text for text, _ in single] == ["", "three; four"]


def test_a_header_without_the_columns_is_shown_as_its_own_delimiter_divides_it(
    made: Made, pairs: Pairs
) -> None:
    with pytest.raises(DataError, match=r'no column "text" .*\(have: review, stars\)'):
        pairs(made("a.csv", "review;stars\ngood, bad;1\nfine;2\n"))
    with pytest.raises(DataError, match=r"\(have: review;stars\)\..* data\.delimiter"):
        pairs(made("b.csv", "review;stars\ngood bad 1\n"))


def test_headers_match_in_any_case_and_with_spaces_around_them_and_it_is_said(
    made: Made, pairs: Pairs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert pairs(made("a.csv", " text, LABEL ,id\ngood,x,1\n")) == [("good", "x")]
    assert [record.getMessage() for record in caplog.records] == [
        'a.csv: column " text" is read as data.text_column: text',
        'a.csv: column " LABEL " is read as data.label_column: label',
    ]
    caplog.clear()
    assert pairs(made("b.csv", "Text,text,label\nno,good,x\n")) == [("good", "x")]
    assert not caplog.records
    assert pairs(made("a.jsonl", '{"Text": "good", "Label ": "x"}\n')) == [("good", "x")]
    pq.write_table(pa.table({"TEXT": ["good"], "label": ["x"]}), "a.parquet")
    assert pairs("a.parquet") == [("good", "x")]
    assert pairs(made("c.csv", "Text;LABEL\ngood;x\n")) == [("good", "x")]


def test_two_columns_that_can_be_meant_are_both_named(made: Made, pairs: Pairs) -> None:
    with pytest.raises(
        DataError,
        match=r'^a\.csv:1: data\.label_column is label, but column 2 \("label"\) and column 3 \("label"\) can both be',
    ):
        pairs(made("a.csv", "text,label,label\ngood,x,y\n"))
    with pytest.raises(DataError, match=r'column 1 \("Text"\) and column 2 \("TEXT"\) can both be meant'):
        pairs(made("b.csv", "Text,TEXT,label\ngood,x,y\n"))
    assert pairs("b.csv", text_column="TEXT") == [("x", "y")]
    assert pairs(made("c.csv", "text,note,note,label,\ngood,a,b,x,\n")) == [("good", "x")]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_rows_whose_cells_are_all_empty_are_skipped_and_counted_where_labels_are_needed(
    made: Made, pairs: Pairs, opened: Open, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    rows = [("good", "x"), ("", ""), ("bad", "y"), (" ", "\t" if kind != "tsv" else ""), ("", "")]
    objects = [json.dumps({"text": text, "label": label}) for text, label in rows]
    out = io.StringIO()
    csv.writer(out, delimiter="\t" if kind == "tsv" else ",").writerows([("text", "label"), *rows])
    contents = {"jsonl": "\n".join(objects), "json": f"[{','.join(objects)}]"}
    name = made(f"a.{kind}", contents.get(kind, out.getvalue()))
    if kind == "parquet":
        pq.write_table(pa.table({"text": [row[0] for row in rows], "label": [row[1] for row in rows]}), name)
    with caplog.at_level("INFO"):
        assert pairs(name) == [("good", "x"), ("bad", "y")]
    assert [one.getMessage() for one in caplog.records] == [
        f"a.{kind}: 3 rows whose cells are all empty are skipped"
    ]
    assert len(opened(name, role="predict", labelled=False, keep_fields=True)) == 5


def test_a_row_with_a_text_and_no_label_is_not_blank(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"^a\.csv:2: the label .* is empty"):
        pairs(made("a.csv", "text,label\ngood,\n"))
    assert pairs(made("b.csv", "text,label\n,x\n")) == [("", "x")]


def test_dotted_names_reach_into_the_values_of_parquet(made: Made, pairs: Pairs) -> None:
    nested = pa.array([{"text": "good", "more": 1}, {"text": "bad", "more": 2}])
    pq.write_table(pa.table({"data": nested, "labels": pa.array([["x"], ["y"]])}), "a.parquet")
    assert pairs("a.parquet", text_column="data.text", label_column="labels.0") == [
        ("good", "x"),
        ("bad", "y"),
    ]
    assert pairs("a.parquet", text_column="data.text", label_column="labels") == [("good", "x"), ("bad", "y")]


def test_a_file_without_even_a_header_is_named(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"^a\.csv: the file is empty"):
        pairs(made("a.csv", "\n\n"))
    assert pairs(made("a.csv", "text,label\n")) == []


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_an_empty_label_is_named_with_its_row(made: Made, pairs: Pairs, extension: str) -> None:
    contents = {
        "csv": "text,label\na,x\nb,\n",
        "jsonl": '{"text":"a","label":"x"}\n{"text":"b","label":null}',
    }
    name = made(f"a.{extension}", contents.get(extension, ""))
    if extension == "parquet":
        pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", None]}), name)
    line = 3 if extension == "csv" else 2
    with pytest.raises(DataError, match=rf'^a\.{extension}:{line}: the label \(column "label"\) is empty'):
        pairs(name)


@pytest.mark.parametrize("extension", ["jsonl", "parquet"])
def test_a_label_that_is_not_a_number_is_empty(made: Made, pairs: Pairs, extension: str) -> None:
    name = made(f"a.{extension}", '{"text":NaN,"label":1.0}\n{"text":"b","label":NaN}')
    if extension == "parquet":
        pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, float("nan")]}), name)
    with pytest.raises(DataError, match=rf'^a\.{extension}:2: the label \(column "label"\) is empty'):
        pairs(name)


def test_json_values_become_the_text_they_would_be_in_csv(made: Made, opened: Open) -> None:
    rows = [
        {"text": None, "label": 1, "more": [1, "é"]},
        {"text": 1.5, "label": True, "more": {"a": None}},
        {"text": "", "label": "x", "more": "raw\ttab"},
    ]
    name = made(
        "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False).replace("\\t", "\t") for row in rows)
    )
    found = [(row.content.text, row.content.label) for row in opened(name)]
    assert found == [("", "1"), ("1.5", "true"), ("", "x")]
    kept = [row.fields for row in opened(name, labelled=False, keep_fields=True)]
    assert kept == [
        {"label": "1", "more": '[1, "é"]'}, {"label": "true", "more": '{"a": null}'}, {"label": "x", "more": "raw\ttab"}
    ]  # fmt: skip


def test_parquet_values_become_the_text_they_would_be_in_csv(made: Made, opened: Open) -> None:
    name = made("a.parquet", b"")
    columns: dict[str, Any] = {
        "text": pa.array(["a", None]), "label": pa.array([0, 1]), "flag": pa.array([True, None]),
        "day": pa.array([0, 1], pa.date32()), "list": pa.array([[1], []]), "raw": pa.array([b"x\xff", b""]),
    }  # fmt: skip
    pq.write_table(pa.table(columns), name)
    assert [(r.content.text, r.content.label, r.line, r.fields) for r in opened(name)] == [
        ("a", "0", 1, None),
        ("", "1", 2, None),
    ]
    kept = [row.fields for row in opened(name, labelled=False, keep_fields=True)]
    assert kept == [
        {"label": "0", "flag": "true", "day": "1970-01-01", "list": "[1]", "raw": "x�"},
        {"label": "1", "flag": "", "day": "1970-01-02", "list": "[]", "raw": ""},
    ]


def test_parquet_rows_are_numbered_across_batches(made: Made, opened: Open) -> None:
    name = made("a.parquet", b"")
    pq.write_table(
        pa.table({"label": ["x"] * 3000, "text": [str(i) for i in range(3000)]}), name, row_group_size=700
    )
    assert [(int(row.content.text), row.line) for row in opened(name)] == [(i, i + 1) for i in range(3000)]


def test_a_parquet_file_is_not_read_into_memory(made: Made, opened: Open) -> None:
    name = made("a.parquet", b"")
    rows = pa.table(
        {"text": [random.Random(i).randbytes(500).hex() for i in range(9_000)], "label": ["x"] * 9_000}
    )
    pq.write_table(rows, name, row_group_size=900, use_dictionary=False, compression="none")
    del rows
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in opened(name)]
    assert len(held) == 9_000
    assert max(held) < 3_000_000, "of 9,000,000"


def test_a_file_that_is_not_parquet_or_lacks_a_column_is_named(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"^a\.parquet: not a complete Parquet file"):
        pairs(made("a.parquet", "text,label\n"))
    pq.write_table(pa.table({"text": ["a"], "target": ["x"]}), "a.parquet")
    with pytest.raises(
        DataError, match=r'^a\.parquet: no column "label" \(have: text, target\)\. .*data\.label_column'
    ):
        pairs("a.parquet")
    with pytest.raises(DataError, match="unpack it first"):
        pairs(made("b.parquet.gz", b""))


def test_text_in_parquet_that_is_not_utf8_is_an_error_of_its_row(made: Made, opened: Open) -> None:
    name = made("a.parquet", b"")
    damaged = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"text": damaged, "label": ["x", "y"]}), name)
    assert [row.error is None for row in opened(name, on_error="row")] == [True, False]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "b", "label"', "not JSON: .* at character 2"),
        ('["b", "x"]', "a JSON list where an object is needed"),
        ("[" * 100_000, "not usable JSON"),
        ('{"text": ' + "9" * 5000 + ', "label": "x"}', "not usable JSON"),
        ('{"text": ["b"], "label": "x"}', 'column "text" holds a list'),
        ('{"text": "b", "label": ["x", "y"]}', "more than one label per text is not supported"),
        ('{"test": "b", "label": "x"}', r'no column "text" \(have: test, label\)\. Did you mean "test"\?'),
        (
            '{"text": "b\\udce9", "label": "x"}',
            r"half a character \(the lone surrogate \\udce9\) at character 2",
        ),
    ],
)
def test_a_line_that_is_not_json_is_named_and_the_others_are_read(
    made: Made, opened: Open, line: str, fault: str
) -> None:
    name = made("a.jsonl", '{"text": "a", "label": "x"}\n\n' + line + '\n{"label": "y", "text": "c"}\n')
    with pytest.raises(DataError, match=rf"^a\.jsonl:3: .*{fault}"):
        list(opened(name))
    rows = list(opened(name, on_error="row"))
    assert [(row.content.text, row.error is None) for row in rows] == [("a", True), ("", False), ("c", True)]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{\n"text": "a"}', "a.json:1: .*one object on one line"),
        ('"text"\n', "a.json:1: a JSON str where an object is needed"),
    ],
)
def test_a_json_file_of_one_value_is_not_taken_for_json_lines(
    made: Made, pairs: Pairs, content: str, fault: str
) -> None:
    with pytest.raises(DataError, match=f"^{fault}"):
        pairs(made("a.json", content))


def test_a_first_json_line_without_the_columns_is_an_error_of_the_file(made: Made, opened: Open) -> None:
    with pytest.raises(DataError, match=r'^a\.jsonl:1: no column "text"'):
        list(opened(made("a.jsonl", '{"review": "a"}\n{"review": "b"}\n'), labelled=False, on_error="row"))


def test_several_text_columns_are_joined_in_the_order_of_the_config(made: Made, opened: Open) -> None:
    name = made("a.csv", "label,body,id,title\nx,good,7,Film\n")
    keys = {"text_column": ["title", "body"], "join": " | ", "keep_fields": True}
    assert [(row.content.text, row.content.label, row.fields) for row in opened(name, **keys)] == [
        ("Film | good", "x", {"id": "7"})
    ]


def test_rows_without_labels_keep_every_other_column(made: Made, opened: Open) -> None:
    name = made("a.csv", "id,text,label\n1,good,\n")
    (row,) = opened(name, labelled=False, keep_fields=True)
    assert (row.content.label, row.fields) == (None, {"id": "1", "label": ""})
    (bare,) = opened(name, labelled=False)
    assert bare.fields is None


def test_a_row_that_cannot_be_read_keeps_its_other_columns(made: Made, opened: Open) -> None:
    name = made("a.csv", b"id,text\n1\xe9,caf\xe9\n")
    (row,) = opened(name, labelled=False, keep_fields=True, on_error="row")
    assert (row.content.text, row.fields) == ("", {"id": "1�"})
    assert row.error is not None
    assert 'byte 0xE9 at character 4 of column "text"' in row.error


def test_a_field_of_a_million_characters_is_a_field(made: Made, pairs: Pairs, tmp_path: Path) -> None:
    long = "word " * 200_000
    assert pairs(made("a.csv", f'text,label\n"{long}",x\n')) == [(long, "x")]
    assert tmp_path.exists()
