"""Names from data, such as labels, columns and files, made harmless where people and programs read them.

What a terminal would execute and what turns the direction of a line around is written as an escape, `\\x1b` or
`\\u202e`. JSON files keep every name as it is.
"""

from __future__ import annotations

import re

_CONTROLS = [code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"]
_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_LINE_ENDS = [0x2028, 0x2029]
_ESCAPES = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (*_DIRECTIONS, *_LINE_ENDS)}
_MARKUP = re.compile(
    r"[\\`*\[\]<>|~]|&(?=[\w#])|(?<!\w)_|_(?!\w)|@(?=\w)|:(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.",
    re.IGNORECASE,
)
"""Punctuation where it is markup. The rest stays as it is, so that the page reads well without a viewer too."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    """`text` with every character escaped that a terminal would execute or that turns its direction around.

    Line feeds and tabs stay.
    """
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """`visible` text on one line: its lines are separated by semicolons."""
    return "; ".join(line for line in visible(text).split("\n") if line.strip())


def markdown(text: str) -> str:
    """`visible` text in which nothing is Markdown or HTML: no link, no image, no tag, no emphasis, no table."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", " ".join(visible(text).split()))


def unlike_formula(text: str) -> str:
    """`text` with an apostrophe in front if a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
