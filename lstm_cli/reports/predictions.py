"""Predictions as lines: JSON Lines with every digit, or tables for spreadsheets and other programs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, TextIO

from lstm_cli.data.conll import FIELD, with_tags
from lstm_cli.data.escaping import unlike_formula, visible
from lstm_cli.errors import LstmclsError

_BOM = "\ufeff"
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def write_json_lines(lines: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    """Write each line as a JSON object, without a character that some readers take for the end of a line."""
    for line in lines:
        print(json.dumps(line, ensure_ascii=False).translate(_ESCAPED), file=stream)


def write_conll(lines: Iterable[Mapping[str, Any]], stream: TextIO, tag_column: str | None) -> None:
    """Write each sentence as it was read, with the tags of its prediction, or a word and a tag on each line.

    A sentence that could not be read stays as it was.
    """
    for line in lines:
        block, tags = line.get(FIELD), line.get("tags")
        if block is None:
            block = "\n".join(map("\t".join, zip(line.get("tokens", ()), tags or (), strict=True)))
        elif tags is not None:
            block = with_tags(block, tags, tag_column)
        print(block, end="\n\n", file=stream)


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV or TSV file with a header and numbers of six digits.

    `columns` are filled by `begin`, or known from an earlier start. `bom`: begin with a byte order mark, by which Excel
    knows UTF-8. `quote_formulas`: a text that a spreadsheet would run as a formula gets an apostrophe in front.
    """

    stream: TextIO
    format: Literal["csv", "tsv"]
    columns: list[str]
    bom: bool = False
    quote_formulas: bool = False

    def begin(self, columns: Iterable[str]) -> None:
        """Write the header."""
        self.columns.extend(dict.fromkeys(columns))
        if self.bom:
            self.stream.write(_BOM)
        self._write_rows([list(map(visible, self.columns))])

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines below the header. Raises LstmclsError for a line with other columns."""
        self._write_rows(map(self._cells, lines))

    def _cells(self, line: Mapping[str, Any]) -> list[Any]:
        cells = flat(line)
        refuse_other_columns(line["row"], cells, self.columns)
        return [_label(name, cells.get(name, "")) for name in self.columns]

    def _write_rows(self, rows: Iterable[list[Any]]) -> None:
        # Most readers take a lone \r for the end of a row, and csv quotes it only if its own line end contains \r.
        ends = SimpleNamespace(write=lambda text: self.stream.write(text.removesuffix("\r\n") + "\n"))
        table = csv.writer(ends, delimiter="," if self.format == "csv" else "\t", lineterminator="\r\n")
        for row in rows:
            table.writerow(map(self._shown, row))

    def _shown(self, cell: Any) -> Any:
        if isinstance(cell, float):
            return f"{cell:.6g}"  # more digits are noise, and fill the cell of a spreadsheet
        if isinstance(cell, bool):
            return str(cell).lower()
        return unlike_formula(cell) if self.quote_formulas and isinstance(cell, str) else cell


def refuse_other_columns(row: int, names: Iterable[str], columns: Collection[str]) -> None:
    """Raise LstmclsError if a row of a table has columns that are not among `columns`."""
    if unknown := [name for name in names if name not in columns]:
        raise LstmclsError(
            f"row {row}: has the columns {', '.join(unknown)}, which are not in the first row, and a table "
            f"has the columns of its first row; try --format jsonl, or one input at a time"
        )


def _label(name: str, cell: Any) -> Any:
    """The cell, without what a terminal would execute if it is a label; a text stays as it was read."""
    return (
        visible(cell) if isinstance(cell, str) and re.fullmatch(r"label|best|top\.\d+\.label", name) else cell
    )


def flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction as the cells of a table: nested keys become `probs.NAME`, `top.1.label` and so on."""
    cells: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            cells |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif isinstance(value, list):
            if not all(isinstance(entry, dict) for entry in value):
                # one cell: a column for each value would be missing in the first row if that is shorter
                cells[name] = json.dumps(value, ensure_ascii=False)
                continue
            for i, entry in enumerate(value, start=1):
                cells |= {f"{name}.{i}.{key}": part for key, part in entry.items()}
        else:
            cells[name] = value
    return cells
