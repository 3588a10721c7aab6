"""Files as streams of text: unpacked and decoded, with marks for the bytes that cannot be decoded.

A byte that is invalid in the encoding becomes a mark: the lone surrogate U+DC00 + byte. Python's own surrogateescape
does the same, but only for bytes from 0x80 on, and UTF-16 needs all. So a bad byte makes only one row unusable: the
reader continues, finds the mark with `text_fault` and names the line. A strict decoder would stop, and report only an
offset.

A small compressed file can unpack to an endless line, so the length of a line and of a text is limited.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, cast

from lstm_cli.data.addresses import AddressFile, is_address
from lstm_cli.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Hashes = dict[str, str]
"""SHA-256 (hex) by the path of each file, of the very bytes that were read."""
NewLine = Literal["", "\n", "\r"]
PACKED = (".gz", ".xz", ".zst")
MAX_LINE_CHARS = 2**24
"""Maximum characters in a line, or in a row of CSV. 16 million characters take up to 0.4 GB after splitting or
parsing."""
MAX_TEXT_CHARS = 3_000_000
"""Maximum characters in one text, five times as many as 100,000 words have. The `tokenizers` library takes up to 414
bytes per character."""
_CHUNK_BYTES = 2**16
_XZ_MEMORY = 2**27
"""Maximum memory for unpacking, in bytes, twice what the highest preset of xz needs. A crafted file can demand 4 GB."""
ESCAPE = "lstm_cli.escape"
_MARK = 0xDC00
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_USUAL_ENCODINGS = (
    "utf-8",
    "latin-1",
    "cp1252",
    "utf-16",
    "ascii",
    "gb18030",
    "gbk",
    "big5",
    "shift_jis",
    "euc-kr",
)


def _escape(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeDecodeError):
        raise fault
    return "".join(chr(_MARK + byte) for byte in fault.object[fault.start : fault.end]), fault.end


codecs.register_error(ESCAPE, _escape)


def encoding_fault(name: str) -> str | None:
    """The error message if `name` is not a text encoding, else None."""
    try:
        "text".encode(name)
    except (LookupError, ValueError):  # ValueError: a NUL in the name, or the codec called "undefined"
        near = did_you_mean(name, _USUAL_ENCODINGS).strip()
        return f"must be an encoding of text, such as utf-8, latin-1 or utf-16{near and f' ({near})'}"
    return None


def text_fault(text: str, place: str, encoding: str | None, limit: int = MAX_TEXT_CHARS) -> str | None:
    """The reason why `text` cannot be used, or None. If `encoding` is None, lone surrogates come from JSON escapes."""
    if len(text) > limit:
        return f"{place} has more than {limit:,} characters. Is it one text? If so, divide it into several"
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as fault:
        at = fault.start
    else:
        return None
    lines = text.count("\n", 0, at)
    column = at - text.rfind("\n", 0, at)
    place = f"character {column} of {f'line {lines + 1} of ' if lines else ''}{place}"
    code = ord(text[at])
    if encoding is None or not _MARK <= code <= _MARK + 0xFF:
        return f"half a character (the lone surrogate \\u{code:04x}) at {place}"
    begins_as_utf16 = text.startswith(("\udcff\udcfe", "\udcfe\udcff"))
    if "\0" in text and not begins_as_utf16:
        return (
            f"not text: byte 0x{code - _MARK:02X} at {place}, and a zero byte. A picture, a PDF or a program? "
            f"Give text files only"
        )
    hint = "utf-16" if begins_as_utf16 else "latin-1" if _is_utf8(encoding) else "utf-8"
    name = "UTF-8" if _is_utf8(encoding) else encoding
    return f"not valid {name}: byte 0x{code - _MARK:02X} at {place}. Try data.encoding: {hint}"


def readable(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, so that it can be encoded."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _open_raw(path: str) -> io.RawIOBase:
    """The bytes of a file, which may be at an address, without a buffer."""
    return AddressFile(path) if is_address(path) else Path(path).open("rb", buffering=0)


class _HashedFile(io.RawIOBase):
    """A file, and the SHA-256 of what is read from it."""

    def __init__(self, path: str) -> None:
        self._file = _open_raw(path)
        self._hash = hashlib.sha256()
        self._is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._file.readinto(buffer) or 0
        self._hash.update(memoryview(buffer)[:count])
        self._is_at_end = count == 0
        return count

    def sha256(self) -> str:
        """SHA-256 (hex) of the whole file; what follows is read now."""
        while not self._is_at_end:
            self.read(_CHUNK_BYTES)
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


def unpacked(packed: BinaryIO, path: str) -> BinaryIO:
    """The bytes of the open file `packed`, unpacked if the name `path` ends in .gz, .xz or .zst."""
    match Path(path).suffix.lower():
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=packed, mode="rb"))
        case ".xz":
            return io.BufferedReader(_XzFile(packed), _CHUNK_BYTES)
        case ".zst":
            import pyarrow as pa  # the standard library reads Zstandard only from Python 3.14 on

            return cast(BinaryIO, pa.input_stream(packed, compression="zstd"))
        case _:
            return packed


class _XzFile(io.RawIOBase):
    """An .xz file, unpacked as by `lzma.open`, but with at most `_XZ_MEMORY` bytes of memory."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._unpacker = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        content = b""
        while not content:
            packed = b""
            if self._unpacker.eof:  # the end of one stream; another can follow, after padding with zeros
                packed = self._unpacker.unused_data
                while not (packed := packed.lstrip(b"\0")):
                    if not (packed := self._packed.read(_CHUNK_BYTES)):
                        return 0
                self._unpacker = self._new()
            elif self._unpacker.needs_input and not (packed := self._packed.read(_CHUNK_BYTES)):
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            content = self._unpacker.decompress(packed, len(view))
        view[: len(content)] = content
        return len(content)


def bounded_lines(stream: TextIO, end: str = "\n") -> Iterator[str]:
    """The lines of `stream`, which `end` ends, with their ends.

    A line that is too long is cut to `MAX_LINE_CHARS` + 1 characters, so the caller sees that it was too long.
    """
    while line := stream.readline(MAX_LINE_CHARS + 1):
        yield line
        while len(line) > MAX_LINE_CHARS and not line.endswith(end):
            line = stream.readline(MAX_LINE_CHARS + 1)


def without_end(line: str) -> str:
    """The line without the `\\n` or `\\r\\n` at its end."""
    return line.removesuffix("\n").removesuffix("\r")


def decode(stream: BinaryIO, encoding: str, newline: NewLine = "\n") -> io.TextIOWrapper:
    """`stream` as text, without a byte-order mark. `newline` is that of `open`; by default only `\\n` ends a line."""
    name = "utf-8-sig" if _is_utf8(encoding) else encoding
    return io.TextIOWrapper(stream, encoding=name, errors=ESCAPE, newline=newline)


@contextmanager
def open_text(
    path: str, encoding: str, newline: NewLine = "\n", hashes: Hashes | None = None
) -> Iterator[TextIO]:
    """The file as text. Errors in opening, unpacking or reading it become a DataError that names it.

    If no exception ends the block, `hashes` gets the SHA-256 of the file that was read.
    """
    with (
        naming(path),
        _HashedFile(path) as file,
        io.BufferedReader(file) as packed,
        unpacked(packed, path) as binary,
        decode(binary, encoding, newline) as text,
    ):
        yield text
        if hashes is not None:
            hashes[path] = file.sha256()


@contextmanager
def open_in_any_order(path: str, hashes: Hashes | None) -> Iterator[BinaryIO]:
    """The file's bytes, which are hashed at the end of the block, for a format that is not read from front to back.

    A file that was written to meanwhile gets no hash. Errors become a DataError as in `open_text`.
    """
    with naming(path), io.BufferedReader(_open_raw(path), _CHUNK_BYTES) as file:
        before = _state(file)
        yield file
        if hashes is not None:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path] = digest if _state(file) == before else ""


def _state(file: io.BufferedReader[Any]) -> tuple[int, int]:
    """What changes when the file is written to. At an address that is its end only."""
    if isinstance(file.raw, AddressFile):
        end = file.seek(0, io.SEEK_END)
        file.seek(0)
        return end, 0
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


@contextmanager
def open_lines(path: str, encoding: str, hashes: Hashes | None = None) -> Iterator[Iterator[str]]:
    """The lines of a file without their ends: `\\n` and `\\r\\n` end a line, and `\\r` in a file that has no `\\n`.

    In a file with `\\n`, a lone `\\r` is a character of its line. Errors and `hashes` are as in `open_text`.
    """
    end: NewLine = "\r" if ends_lines_with_cr(path, encoding) else "\n"
    with open_text(path, encoding, end, hashes) as stream:
        yield (without_end(line) for line in bounded_lines(stream, end))


def ends_lines_with_cr(path: str, encoding: str) -> bool:
    """Whether a file has `\\r` and no `\\n`, as far as a line may reach: old programs of the Macintosh write that."""
    has_cr, left = False, MAX_LINE_CHARS
    with open_text(path, encoding, newline="") as stream:
        while left > 0 and (chunk := stream.read(_CHUNK_BYTES)):
            if "\n" in chunk:
                return False
            has_cr = has_cr or "\r" in chunk
            left -= len(chunk)
    return has_cr


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn errors in opening, unpacking or reading a file into a DataError that names `path`."""
    try:
        yield
    except UnicodeError as fault:  # from the codec: UTF-16 or UTF-32 without a byte-order mark
        raise DataError(f"{path}: {fault}. Try data.encoding: utf-16-le or utf-8") from fault
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        hint = ""
        if Path(path).suffix.lower() in PACKED:
            hint = f". Is it damaged, or not compressed as its ending {Path(path).suffix} says?"
        raise DataError(f"{path}: cannot be read: {reason}{hint}") from fault


def sha256_of_file(path: str) -> str:
    """SHA-256 (hex) of the bytes on the disk."""
    with naming(path), io.BufferedReader(_open_raw(path), _CHUNK_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
