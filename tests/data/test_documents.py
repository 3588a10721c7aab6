"""Plain text by lines, by files and by folders, fastText's lines, and stdin."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data.documents import as_they_come
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import DataConfig, stream_rows
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]
Pairs = Callable[..., list[tuple[str, str | None]]]

ODD_LINES = [
    "",
    " ",
    "next\x85line",
    "a\u2028b\u2029c",
    "a\rb",
    "\x00\x1b[31m\x0b\x0c",
    "😀👩‍👩‍👧",
    "\ufeffinside",
    "word " * 200_000,
    '"',
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_only_a_line_feed_ends_a_line_of_text(made: Made, opened: Open, line_end: str, last: bool) -> None:
    name = made("a.txt", line_end.join(ODD_LINES) + line_end * last)
    rows = list(opened(name, labelled=False))
    assert [row.content.text for row in rows] == ODD_LINES
    assert [row.line for row in rows] == list(range(1, len(ODD_LINES) + 1))


def test_an_empty_file_has_no_rows_and_a_blank_line_is_one(made: Made, pairs: Pairs) -> None:
    assert pairs(made("a.txt", ""), labelled=False) == []
    assert pairs(made("a.txt", "\n"), labelled=False) == [("", None)]


def streamed(stream: BinaryIO, **keys: Any) -> list[Row[Text]]:
    rows = list(stream_rows(stream, DataConfig(train="-", **keys), content=Text))
    assert None not in rows
    return cast(list[Row[Text]], rows)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=10)))
def test_a_stream_has_one_row_a_line(lines: list[str]) -> None:
    stream = io.BytesIO("".join(line + "\n" for line in lines).encode())
    rows = streamed(stream)
    expected = [line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines)]
    assert [row.content.text for row in rows] == expected
    assert not stream.closed


def test_a_stream_is_read_no_further_than_needed() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            line = b"one more line\n"
            buffer[: len(line)] = line
            self.given += 1
            return len(line)

    endless = Endless()
    rows = stream_rows(
        io.BufferedReader(cast(io.RawIOBase, endless), 64), DataConfig(train="-"), content=Text
    )
    assert [row and row.where() for row in islice(rows, 3)] == ["stdin:1", "stdin:2", "stdin:3"]
    assert endless.given < 10


def test_a_pipe_that_pauses_gives_none_once_after_each_row_and_never_before_the_first() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", 0) as source:  # noqa: PTH123
        rows = stream_rows(stream, DataConfig(train="-"), content=Text)
        for text in ("one", "two"):
            source.write(f"{text}\n".encode())
            row = next(rows)
            assert row is not None
            assert row.content.text == text
            assert next(rows) is None
        source.write(b"three\nfour\n\xff")
        source.close()
        rest = [row for row in rows if row]
        assert [row.content.text for row in rest] == ["three", "four", ""]
        assert rest[2].error


def test_rows_that_come_slowly_but_without_a_pause_are_answered_too() -> None:
    def slowly() -> Iterator[Row[Text]]:
        for _ in range(60):
            time.sleep(0.01)
            yield text_row("a row")

    rows = list(as_they_come(slowly, seconds=60))
    assert sum(row is None for row in rows) >= 2
    assert len(rows) - rows.count(None) == 60


def test_the_time_that_rows_wait_for_a_model_is_no_pause() -> None:
    rows = as_they_come(lambda: iter([text_row("a row")] * 4), seconds=60)
    for _ in range(4):
        assert next(rows) is not None
        time.sleep(0.3)
    assert list(rows) == []


def test_a_fault_in_a_pipe_is_raised_where_its_rows_are_taken() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", 0) as source:  # noqa: PTH123
        source.write(b"text")
        source.close()
        with pytest.raises(DataError, match=r"^stdin: UTF-16"):
            list(stream_rows(stream, DataConfig(train="-", encoding="utf-16"), content=Text))


def test_a_line_of_a_stream_that_cannot_be_decoded_is_a_row_with_an_error() -> None:
    rows = streamed(io.BytesIO(b"fine\ncaf\xe9\nfine"))
    assert [row.content.text for row in rows] == ["fine", "", "fine"]
    assert (
        rows[1].error == "not valid UTF-8: byte 0xE9 at character 4 of the line. Try data.encoding: latin-1"
    )
    with pytest.raises(DataError, match=r"^stdin: UTF-16"):
        streamed(io.BytesIO(b"text"), encoding="utf-16")
    latin = streamed(io.BytesIO(b"caf\xe9\n"), encoding="latin-1")
    assert [row.content.text for row in latin] == ["café"]


def test_plain_text_is_refused_where_labels_are_needed(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r"^data\.train: a\.txt: plain text has no labels.*__label__NAME"):
        pairs(made("a.txt", "good\nbad\n"))


def test_fasttext_lines_are_recognised_and_split(made: Made, opened: Open) -> None:
    name = made(
        "a.txt",
        "\n  __label__pos  a fine film\r\n\n__label__neg\t \u00a0bad \n__label__x\n__label__a__label__b y",
    )
    rows = [(row.content.text, row.content.label, row.line) for row in opened(name)]
    assert rows == [
        ("a fine film", "pos", 2), ("\u00a0bad ", "neg", 4), ("", "x", 5), ("y", "a__label__b", 6)
    ]  # fmt: skip
    first = next(iter(opened(name, labelled=False)))
    assert (first.content.text, first.content.label) == ("a fine film", None)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("__label__a __label__b text", "2 labels on one line.*not supported"),
        ("no label", "the line does not start with __label__"),
        ("__label__ text", "the label is empty"),
    ],
)
def test_a_fasttext_line_without_exactly_one_label_is_named(
    made: Made, pairs: Pairs, line: str, fault: str
) -> None:
    with pytest.raises(DataError, match=rf"^a\.txt:2: {fault}"):
        pairs(made("a.txt", f"__label__a fine\n{line}\n"))


def test_the_folder_of_a_file_is_its_label(made: Made, opened: Open) -> None:
    for name in (
        "d/pos/b.txt",
        "d/pos/a",
        "d/neg/deep/er/1.txt",
        "d/pos/.hidden",
        "d/.git/x",
        "d/README",
        "d/neg/.h/x",
        "d/neg/Thumbs.db",
        "d/pos/desktop.ini",
    ):
        made(name, f"{name}\nsecond line\n")
    rows = list(opened("d"))
    names = ["neg/deep/er/1.txt", "pos/a", "pos/b.txt"]
    assert [(row.content.text, row.content.label) for row in rows] == [
        (f"d/{n}\nsecond line\n", n[:3]) for n in names
    ]
    assert [row.where() for row in rows] == [f"d/{n}:1" for n in names]


def test_a_folder_without_class_folders_is_named(made: Made, pairs: Pairs) -> None:
    made("d/a.csv", "text,label\n")
    with pytest.raises(DataError, match=r"^d: a folder without sub-folders.*d/\*\.csv"):
        pairs("d")
    with pytest.raises(DataError, match=r"^data\.train: d: a folder, but data\.format is csv.*d/\*\.csv"):
        pairs("d", format="csv")


def test_without_labels_every_file_of_a_folder_is_a_document(made: Made, opened: Open) -> None:
    for name in ("d/b.txt", "d/a/z.log", "d/.hidden"):
        made(name, name)
    made("many/x/1", "")
    for number in range(20):
        made(f"many/{number * 7 % 20:02}", "")
    names = [row.path for row in opened("many", labelled=False)]
    assert names == [*(f"many/{number:02}" for number in range(20)), "many/x/1"]
    rows = list(opened("d", role="predict", labelled=False))
    assert [(row.content.text, row.fields) for row in rows] == [
        ("d/a/z.log", {"id": "a/z.log"}),
        ("d/b.txt", {"id": "b.txt"}),
    ]


def test_a_document_that_cannot_be_decoded_is_named_with_its_line(
    made: Made, opened: Open, pairs: Pairs
) -> None:
    made("d/x/1", b"one\ntwo\ncaf\xe9")
    made("d/y/1", "fine")
    with pytest.raises(
        DataError, match=r"^d/x/1:1: not valid UTF-8: byte 0xE9 at character 4 of line 3 of the file"
    ):
        pairs("d")
    assert pairs("d", encoding="latin-1") == [("one\ntwo\ncafé", "x"), ("fine", "y")]
    assert [row.error is None for row in opened("d", on_error="row")] == [False, True]


def test_reading_can_stop_early_without_leaving_files_open(made: Made, opened: Open) -> None:
    reading: Iterator[object] = iter(opened(made("a.txt", "a\nb\n"), labelled=False))
    next(reading)
    del reading  # an open file would warn here, and warnings are errors
    Path("a.txt").unlink()
