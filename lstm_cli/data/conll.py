"""Readers of tagged sentences with one word per line: CoNLL-U, and columns as in CoNLL-2000 and CoNLL-2003.

A blank line ends a sentence. In CoNLL-U a sentence has comments (`# …`), ranges of words (`2-4`) and empty nodes
(`5.1`); none of them is a word that is tagged (https://universaldependencies.org/format.html). In columns the fields
stand apart by tabs, or by spaces if a line has no tab; lines that begin with -DOCSTART- separate documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from lstm_cli.data.files import open_lines, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.data.tagged import Words
from lstm_cli.errors import DataError, did_you_mean

Form = Literal["conllu", "conll"]
FIELD = "conll"
"""The field of a row that holds its lines, if fields are kept. `predict` writes them back with the tags it found."""

_NAMES = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_DOCUMENT = "-DOCSTART-"


def read_conll(path: str, reading: Reading, form: Form) -> Iterator[Row[Any]]:
    """One row per sentence. A sentence with a broken line has an `error` that names the line.

    Raises DataError for a task that reads no words, and for a `data.tag_column` that the format does not have.
    """
    if not issubclass(reading.content, Words):
        raise DataError(
            f"{path}: sentences with a tag for each word, and this task does not read words; try task.kind: tag"
        )
    place = tag_place(reading.config.tag_column, form, path)
    with open_lines(path, reading.config.encoding, reading.hashes) as found:
        for block in _sentences(found, form):
            yield from _sentence(block, path, reading, form, place)


def _sentences(found: Iterable[str], form: Form) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of each sentence.

    Lines without a word that stand alone, such as -DOCSTART-, belong to the next sentence, those at the end of the file
    to the last one, so that `predict` writes them back.
    """
    before: list[tuple[int, str]] = []  # a whole sentence, until it is known that it is not the last one
    block: list[tuple[int, str]] = []
    has_word = False
    for line, text in enumerate(found, 1):
        blank = not text.strip()
        if not blank and not has_word and word_cells(text, form) is not None:
            has_word = True
            if before:
                yield before
                before = []
        if not (blank and has_word):
            if not blank or block:
                block.append((line, text))
        else:
            before, block, has_word = block, [], False
    rest = [*before, *([(0, "")] if before and block else []), *block]
    while rest and not rest[-1][1].strip():
        rest.pop()
    if rest:
        yield rest


def tag_place(column: str | None, form: Form, where: str) -> int:
    """The place of the tags in a line: a name of CoNLL-U, or a number from 1; of columns the last one (-1) if none.

    Raises DataError for another name.
    """
    if column is None:
        return _NAMES.index("upos") if form == "conllu" else -1
    if column.isdecimal() and 2 <= int(column[:4]) <= (len(_NAMES) if form == "conllu" else 1_000):
        return int(column) - 1
    if form == "conllu" and column.lower() in _NAMES[2:]:
        return _NAMES.index(column.lower())
    known = ", ".join(_NAMES[2:]) if form == "conllu" else "the number of a column, such as 4"
    raise DataError(
        f"{where}: has no column {column} (have: {known}).{did_you_mean(column, _NAMES)} Set data.tag_column"
    )


def _sentence(
    block: list[tuple[int, str]], path: str, reading: Reading, form: Form, place: int
) -> Iterator[Row[Any]]:
    """The row of a sentence; none if its lines are all comments."""
    words: list[str] = []
    tags: list[str] = []
    fault = None
    first = 0
    fields = (
        {FIELD: "\n".join(text for _, text in block)} if reading.keep_fields and reading.keep_text else None
    )
    for line, text in block:
        if not text.strip():
            first = 0 if not words else first  # the comments above stood alone
            continue
        first = first or line
        if (fault := text_fault(text, "the line", reading.config.encoding)) is None:
            if (cells := word_cells(text, form)) is None:
                continue
            fault = _fault(cells, form, place, labelled=reading.labelled)
        if fault is not None:
            yield reading.broken(path, line, fault, fields)
            return
        assert cells is not None
        words.append(cells[1] if form == "conllu" else cells[0])
        tags.append(cells[place] if reading.labelled else "")
    if words:
        content = Words(tuple(words), tuple(tags) if reading.labelled else None)
        yield Row(content, path, first, fields)


def word_cells(text: str, form: Form) -> list[str] | None:
    """The cells of a line with a word; None for a blank line, a comment, a range, an empty node or -DOCSTART-."""
    if not text.strip():
        return None
    if form == "conllu":
        if text.startswith("#"):
            return None
        cells = text.split("\t")
        return (
            None
            if cells[0].replace("-", "").replace(".", "").isdecimal() and not cells[0].isdecimal()
            else cells
        )
    if text.startswith(_DOCUMENT):
        return None
    return text.split("\t") if "\t" in text else text.split()


def _fault(cells: list[str], form: Form, place: int, *, labelled: bool) -> str | None:
    """Why a line with a word cannot be used, or None."""
    if form == "conllu":
        if len(cells) != len(_NAMES):
            return f"{len(cells)} columns, where CoNLL-U has {len(_NAMES)} with tabs between them"
        if not cells[0].isdecimal():
            return f'the line begins with "{cells[0][:20]}", where CoNLL-U has the number of the word'
        if not cells[1].strip():
            return "the word (column 2, form) is empty"
    elif not cells[0].strip():
        return "the word (column 1) is empty"
    if not labelled:
        return None
    if place >= len(cells) or (place < 0 and len(cells) < 2):
        return f"no column {place + 1 if place >= 0 else 2} with a tag, only {len(cells)} column" + "s" * (
            len(cells) != 1
        )
    if not cells[place].strip() or (form == "conllu" and cells[place] == "_"):
        return f"the tag (column {place % len(cells) + 1}) is empty"
    return None


def with_tags(block: str, tags: Sequence[str], column: str | None) -> str:
    """The lines of a sentence with other tags, and everything else as it was.

    A line of columns without a place for the tag gets one at its end.
    """
    lines = block.split("\n")
    form: Form = "conllu" if any(len(line.split("\t")) == len(_NAMES) for line in lines) else "conll"
    place = tag_place(column, form, FIELD)
    remaining = iter(tags)
    return "\n".join(
        line
        if (cells := word_cells(line, form)) is None
        else _with_tag(line, len(cells), next(remaining), place)
        for line in lines
    )


def _with_tag(line: str, num_cells: int, tag: str, place: int) -> str:
    if place >= num_cells or (place < 0 and num_cells < 2):
        separator = " " if num_cells > 1 and "\t" not in line else "\t"
        return f"{line.rstrip()}{separator}{tag}"
    parts = re.split("(\t)" if "\t" in line else r"(\s+)", line.strip("\r"))
    cells = [at for at, part in enumerate(parts) if part and not part.isspace()] if "\t" not in line else None
    parts[cells[place] if cells else 2 * (place % num_cells)] = tag
    return "".join(parts)
