"""Rows that cannot be read, texts that are damaged or empty, and files that are read with the wrong settings."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from lstm_cli.data.files import open_text
from lstm_cli.data.sources import DataConfig
from lstm_cli.errors import DataError
from lstm_cli.lint.findings import Example, Finding, Severity, of_rows
from lstm_cli.lint.scan import Scan
from lstm_cli.lint.text import Mark

_DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_PEEK_LINES = 50
_MARKED: tuple[tuple[Mark, str, Severity, str, str], ...] = (
    (Mark.EMPTY, "empty-texts", "warning", "rows with an empty text", "--fix OUT drops them"),
    (Mark.ONE_WORD, "one-word-texts", "note", "rows of one word or none", "are these texts complete?"),
    (
        Mark.MOJIBAKE,
        "mojibake",
        "warning",
        "rows with UTF-8 that was decoded as latin-1 or cp1252, such as Ã© for é",
        "read the original as UTF-8, or --fix OUT decodes it again",
    ),
    (
        Mark.LOST,
        "lost-characters",
        "warning",
        "rows with U+FFFD, which replaces characters that an earlier conversion lost",
        "use the original file: the characters cannot be recovered from this one",
    ),
    (
        Mark.CONTROL,
        "control-characters",
        "warning",
        "rows with control characters",
        "--fix OUT removes them, or puts the character that cp1252 has at this byte",
    ),
    (
        Mark.ENTITY,
        "entities",
        "note",
        "rows with HTML entities such as &amp;",
        "replace them by the characters that they stand for",
    ),
    (
        Mark.HEADER,
        "header-read-as-row",
        "warning",
        "rows that are a header: they hold the names of the text and label columns",
        "leave out data.columns if the file has a header row; take repeated headers out of it",
    ),
)
_MOSTLY: tuple[tuple[Mark, float, str, str, str], ...] = (
    (
        Mark.QUOTED,
        0.2,
        "quotes-in-texts",
        "texts that begin and end with a quotation mark",
        'if the file quotes its fields ("…"), set data.quoting: standard',
    ),
    (
        Mark.NUMBER,
        0.5,
        "texts-are-numbers",
        "texts that are numbers",
        "is data.text_column the right column?",
    ),
)


def damage(scan: Scan, config: DataConfig, strips_markup: bool) -> Iterator[Finding]:
    """Every finding about reading and about single rows. Only texts are examined for damage."""
    for fault in scan.faults:
        examples = tuple(Example(where, what) for where, what in fault.examples)
        yield Finding(
            "unreadable",
            "error",
            fault.source,
            fault.count,
            "rows or files that cannot be read",
            examples,
            "correct the rows, or how they are read (the data: section)",
        )
        yield from _delimiter(examples[0].where, fault.source, config)
    for number, source in enumerate(scan.sources if scan.holds_text else ()):
        rows = np.flatnonzero(scan.table["source"] == number)
        found = scan.table["marks"][rows]
        for mark, code, severity, what, advice in _MARKED:
            yield from of_rows(scan, code, severity, source, rows[found & mark > 0], what, advice)
        for mark, fraction, code, what, advice in _MOSTLY:
            marked = rows[found & mark > 0]
            if len(marked) > fraction * len(rows):
                yield from of_rows(scan, code, "warning", source, marked, what, advice)
        yield from of_rows(
            scan,
            "markup",
            "note" if strips_markup else "warning",
            source,
            rows[found & Mark.TAG > 0],
            "rows with HTML tags such as <br />",
            "task.tokenizer.strip_markup replaces them by a space"
            if strips_markup
            else "set task.tokenizer.strip_markup: true; --fix OUT replaces <br /> by a space",
        )


def refusal(fault: DataError, found: Sequence[Finding]) -> Iterator[Finding]:
    """A finding for the error that would stop a training, unless another finding reports it already."""
    if not any(finding.code in ("unreadable", "unknown-labels") for finding in found):
        where, _, what = str(fault).partition(": ")
        advice = "correct this first: no training can start"
        yield Finding(
            "refused", "error", "train", 1, "faults of the data as a whole", (Example(where, what),), advice
        )


def _delimiter(where: str, source: str, config: DataConfig) -> Iterator[Finding]:
    """A finding if a table cannot be read, but another delimiter would divide its lines evenly."""
    path = where if _is_file(where) else where.rpartition(":")[0]
    used = {".csv": ",", ".tsv": "\t"}.get(
        Path(path).suffix.lower(), {"csv": ",", "tsv": "\t"}.get(config.format)
    )
    if used is None or not _is_file(path):
        return
    try:
        with open_text(path, config.encoding) as stream:
            lines = [line.rstrip("\r\n") for line in islice(stream, _PEEK_LINES)]
    except DataError:  # reported already, as unreadable
        return
    likely = likely_delimiter(lines)
    if likely is not None and likely != used and (likely_delimiter(lines, (used,)) is None):
        how = {"\t": "set data.format: tsv", ",": "set data.format: csv"}
        yield Finding(
            "delimiter",
            "warning",
            source,
            1,
            f"files that are read with {_DELIMITERS[used]} between the columns, but whose lines are divided by "
            f"{_DELIMITERS[likely]}",
            (Example(f"{path}:1"),),
            how.get(likely, "save the file with commas or tabs between the columns"),
        )


def _is_file(path: str) -> bool:
    with suppress(OSError):  # the message may not name a file, and may be too long for a file name
        return Path(path).is_file()
    return False


def likely_delimiter(lines: Sequence[str], among: Sequence[str] = tuple(_DELIMITERS)) -> str | None:
    """The first delimiter that divides nine of ten lines into the same number of fields, at least two; or None."""
    filled = [line.replace("\r", " ") for line in lines if line]
    best = None
    for delimiter in among:
        widths = [len(next(csv.reader([line], delimiter=delimiter), [])) for line in filled]
        usual = max(set(widths), key=widths.count, default=1)
        if usual > 1 and widths.count(usual) >= 0.9 * len(widths):
            best = best or delimiter
    return best
