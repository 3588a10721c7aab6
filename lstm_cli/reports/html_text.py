"""Texts and names of the data as HTML, in which nothing of them is markup."""

from __future__ import annotations

from html import escape

from lstm_cli.data.escaping import visible

_LABEL_CHARS = 200
CELL_CHARS = 500
"""Characters shown of a table's cell."""


def plain(text: str) -> str:
    """All of the text, also what would be markup."""
    return escape(visible(text))


def shortened(text: str, most: int) -> str:
    """`plain`, of the first `most` characters."""
    return plain(text if len(text) <= most else f"{text[:most]} …")


def label_text(label: str) -> str:
    """The label, or its beginning if it is very long."""
    return shortened(label, _LABEL_CHARS)


def bar(name: str, value: float, shown: str) -> str:
    """`name` and `shown` are HTML, `value` is from 0 to 1."""
    return f'<div class="bar"><bdi>{name}</bdi><meter value="{value:.4f}"></meter><span>{shown}</span></div>'
