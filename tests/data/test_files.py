"""Bytes to text: encodings, byte-order marks, compression, damage."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_cli.data.files import bounded_lines, sha256_of_file, text_fault, unpacked
from lstm_cli.errors import DataError
from tests.data.conftest import Open

Made = Callable[[str, str | bytes], str]
Pairs = Callable[..., list[tuple[str, str | None]]]

CONTENT = "text,label\nnaïve – 好,pos\nbad,neg\n"
EXPECTED = [("naïve – 好", "pos"), ("bad", "neg")]


def zstd(data: bytes) -> bytes:
    packed = pa.compress(data, codec="zstd", asbytes=True)
    assert isinstance(packed, bytes)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_packed_file_reads_as_the_file(made: Made, pairs: Pairs, ending: str) -> None:
    assert pairs(made(f"a.csv{ending}", PACKERS[ending](CONTENT.encode()))) == EXPECTED
    halves = PACKERS[ending](CONTENT[:20].encode()) + PACKERS[ending](CONTENT[20:].encode())
    assert pairs(made(f"b.CSV{ending}", halves)) == EXPECTED
    assert pairs(made(f"c.txt{ending}", PACKERS[ending](b"__label__x fine\n"))) == [("fine", "x")]


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("damage", ["cut short", "not packed"])
def test_a_damaged_packed_file_is_named(made: Made, pairs: Pairs, ending: str, damage: str) -> None:
    long = CONTENT + "".join(f"{i * 7919 % 10_007},x\n" for i in range(9_000))
    packed = PACKERS[ending](long.encode())
    name = made(f"a.csv{ending}", packed[: len(packed) // 2] if damage == "cut short" else long.encode())
    with pytest.raises(DataError, match=rf"^a\.csv{ending}: cannot be read: .*as its ending {ending} says"):
        pairs(name)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16", "gb18030"])
def test_a_named_encoding_is_read(made: Made, pairs: Pairs, encoding: str) -> None:
    assert pairs(made("a.csv", CONTENT.encode(encoding)), encoding=encoding) == EXPECTED


def test_every_file_of_a_list_may_have_a_byte_order_mark(made: Made, pairs: Pairs) -> None:
    marked = CONTENT.encode("utf-8-sig")
    files = [made("a.csv", marked), made("b.csv", CONTENT), made("c.csv", marked)]
    assert pairs(files) == EXPECTED * 3
    jsonl = '\ufeff{"text": "a", "label": "x"}\n'
    assert pairs([made("a.jsonl", jsonl), made("b.jsonl", jsonl)]) == [("a", "x")] * 2


def test_a_latin_1_file_read_as_utf_8_names_file_line_and_key(made: Made, opened: Open, pairs: Pairs) -> None:
    name = made("a.csv", 'text,label\n"fine\nfine",x\ncaf\u00e9,y\nfine,y\n'.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        pairs(name)
    assert str(caught.value) == (
        'a.csv:4: not valid UTF-8: byte 0xE9 at character 4 of column "text". Try data.encoding: latin-1'
    )
    rows = list(opened(name, on_error="row"))
    assert [(row.content.text, row.error is None) for row in rows] == [
        ("fine\nfine", True),
        ("", False),
        ("fine", True),
    ]
    assert pairs(name, encoding="latin-1")[1] == ("café", "y")


def test_a_label_and_a_header_that_cannot_be_decoded_are_named(made: Made, pairs: Pairs) -> None:
    with pytest.raises(DataError, match=r'^a\.csv:2: not valid UTF-8: .* of column "label"'):
        pairs(made("a.csv", b"text,label\na,\xe9\n"))
    with pytest.raises(DataError, match=r"^a\.csv:2: not valid UTF-8: .* of the header"):
        pairs(made("a.csv", b"\ntext,label,caf\xe9\na,b,c\n"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.tsv"])
def test_utf_16_read_as_utf_8_points_to_utf_16(made: Made, pairs: Pairs, name: str) -> None:
    with pytest.raises(DataError, match=rf"^{name}:1: .*Try data\.encoding: utf-16"):
        pairs(made(name, CONTENT.encode("utf-16")))


def test_utf_16_without_a_byte_order_mark_is_named(made: Made, pairs: Pairs) -> None:
    name = made("a.csv", CONTENT.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"^a\.csv: UTF-16 stream does not start with BOM.*utf-16-le"):
        pairs(name, encoding="utf-16")
    assert pairs(name, encoding="utf-16-le") == EXPECTED


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("ascii", b"\xe9"),
        ("cp1252", b"\x81"),
        ("utf-16-le", b"\x00\xdc"),
        ("gb18030", b"\xff"),
        ("shift_jis", b"\xfd"),
    ],
)
def test_bytes_that_are_invalid_in_another_encoding_are_an_error_of_their_row(
    made: Made, opened: Open, encoding: str, bad: bytes
) -> None:
    lines = [part.encode(encoding) for part in ("text,label\nfine,x\nbad", ",y\nfine,x\n")]
    rows = list(opened(made("a.csv", bad.join(lines)), encoding=encoding, on_error="row"))
    assert [row.error is None for row in rows] == [True, False, True]
    assert f"not valid {encoding}: byte 0x" in str(rows[1].error)


def test_half_a_character_at_the_end_of_a_file_is_an_error_of_its_row(made: Made, opened: Open) -> None:
    rows = list(opened(made("a.txt", "fine\n好".encode()[:-1]), labelled=False, on_error="row"))
    assert [row.error is None for row in rows] == [True, False]


def test_a_file_has_the_hash_of_its_bytes(made: Made) -> None:
    name = made("a.txt", "one")
    first = sha256_of_file(name)
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert sha256_of_file(made("a.txt", "three")) != first


def test_a_line_beyond_the_limit_is_cut_and_the_next_line_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lstm_cli.data.files.MAX_LINE_CHARS", 5)
    for length in range(4, 30):
        long = "x" * length
        lines = list(bounded_lines(io.StringIO(f"{long}\na\n\n{long}\n{long}", newline="\n")))
        shown = long[:6] if length > 5 else long
        assert [line.removesuffix("\n") for line in lines] == [shown, "a", "", shown, shown]
        assert all((len(line) > 5) == (length > 4) for line in (lines[0], lines[3]))


@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4), padding=st.integers(0, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_xz_files_of_several_streams_with_padding_are_read_as_one(
    tmp_path: Path, parts: list[bytes], padding: int
) -> None:
    path = tmp_path / "a.xz"
    packed = (b"\0\0\0\0" * padding).join(lzma.compress(part) for part in parts)
    path.write_bytes(packed)
    with path.open("rb") as file, unpacked(file, "a.xz") as stream:
        assert stream.read() == b"".join(parts)
    path.write_bytes(packed[:-1])
    with path.open("rb") as file, unpacked(file, "a.xz") as stream, pytest.raises((EOFError, lzma.LZMAError)):
        stream.read()


def test_a_text_beyond_the_limit_is_an_error_and_one_of_100_000_words_is_not() -> None:
    assert text_fault("word " * 100_000, "it", "utf-8") is None
    assert "more than 3,000,000 characters" in str(text_fault("x" * 3_000_001, "it", "utf-8"))
