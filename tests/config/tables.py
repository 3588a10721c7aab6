"""Tables of 80 rows to guess the columns of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import small_rows

ROWS = small_rows(80)


def table(path: Path, columns: dict[str, Any], separator: str = ",") -> str:
    """A table of 80 rows; a column is a function of (number, text, label)."""
    lines = [separator.join(columns)]
    for i, (text, label) in enumerate(ROWS):
        lines.append(separator.join(str(column(i, text, label)) for column in columns.values()))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


def text(i: int, text: str, label: str) -> str:
    return f'"{text}, said {i}"'


def label(i: int, text: str, label: str) -> str:
    return label


def number(i: int, text: str, label: str) -> str:
    return str(i)


def measure(i: int, text: str, label: str) -> str:
    return f"{i * 1.5}"


def mode(i: int, text: str, label: str) -> str:
    return ("web", "phone", "shop")[i % 3]
