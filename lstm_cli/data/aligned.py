"""Texts in one file and their labels in another, line by line, and the names of labels that are numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from lstm_cli.data.columns import BlankRows
from lstm_cli.data.files import open_lines, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_NAMES = 20


def read_aligned(path: str, labels_path: str, names_path: str | None, reading: Reading) -> Iterator[Row[Any]]:
    """One row per line of `path`, with the label on the same line of `labels_path`, or its name if there are names.

    Lines that are blank in both files are skipped. Raises DataError if one file has more lines than the other.
    """
    encoding = reading.config.encoding
    names = None if names_path is None else _names(names_path, reading)
    blank = BlankRows(path, reading)
    with (
        open_lines(path, encoding, reading.hashes) as texts,
        open_lines(labels_path, encoding, reading.hashes) as labels,
    ):
        for line, (text, label) in enumerate(zip_longest(texts, labels), 1):
            if blank.skip((text, label)):
                continue
            if text is None or label is None:
                longer, shorter = (path, labels_path) if label is None else (labels_path, path)
                raise DataError(
                    f"{longer}:{line}: {shorter} has only {line - 1} lines. Line N of one file must belong to line N "
                    f"of the other"
                )
            if fault := text_fault(text, "the line", encoding) or text_fault(
                label, f"the label ({labels_path}:{line})", encoding
            ):
                yield reading.broken(path, line, fault)
                continue
            label = label.strip()
            if not label:
                yield reading.broken(path, line, f"its label is empty ({labels_path}:{line})")
            elif names is not None and label not in names:
                shown = ", ".join(list(names)[:_SHOWN_NAMES])
                near = did_you_mean(label, names)
                yield reading.broken(
                    path,
                    line,
                    f'its label "{label}" ({labels_path}:{line}) has no name in {names_path} (have: {shown}).{near}',
                )
            else:
                yield reading.row_of_text(text, label if names is None else names[label], path, line)
    blank.say()


def _names(path: str, reading: Reading) -> dict[str, str]:
    """The name of each label: lines of label, tab, name; or lines of names alone, numbered from 0."""
    encoding = reading.config.encoding
    with open_lines(path, encoding, reading.hashes) as lines:
        filled = [(line, text) for line, text in enumerate(lines, 1) if text.strip()]
    names: dict[str, str] = {}
    for number, (line, text) in enumerate(filled):
        if fault := text_fault(text, "the line", encoding):
            raise DataError(f"{path}:{line}: {fault}")
        cells = [cell.strip() for cell in text.split("\t")]
        label, name = (str(number), cells[0]) if len(cells) == 1 else (cells[0], cells[1])
        if label in names or not name:
            what = f'the label "{label}" has a name already' if name else f'the label "{label}" has no name'
            raise DataError(f"{path}:{line}: {what}. A line is a label, a tab and its name, or a name alone")
        names[label] = name
    return names
