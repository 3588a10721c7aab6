"""Names from data do nothing where they are shown: not in a terminal, not in Markdown, not in a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data.escaping import markdown, one_line, unlike_formula, visible


@given(st.text())
def test_what_is_visible_has_no_control_and_turns_no_direction(text: str) -> None:
    shown = visible(text)
    assert {unicodedata.category(char) for char in shown} & {"Cc", "Zl", "Zp"} <= (
        {"Cc"} if re.search("[\n\t]", shown) else set()
    )
    turned = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    assert {unicodedata.bidirectional(char) for char in shown} & turned == set()
    assert not set("\u061c\u200e\u200f") & set(shown)
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    "text", ["gut", "very_bad", "не плохо", "सकारात्मक", "👩‍👩‍👧", "عربي", "a-b (c) #1: 5/6, 7.5 %!"]
)
def test_an_ordinary_name_is_shown_as_it_is(text: str) -> None:
    assert markdown(text) == visible(text) == unlike_formula(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("safe\u202efdp.exe", "safe\\u202efdp.exe"),
        ("a\u2028b\x85c\rd", "a\\u2028b\\x85c\\x0dd"),
        ("two\nlines\there", "two\nlines\there"),
    ],
)
def test_what_a_terminal_would_execute_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](http://evil/x.png)", r"!\[x\](http\://evil/x.png)"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[click](javascript:alert(1))", r"\[click\](javascript:alert(1))"),
        ("www.evil.org and me@evil.org", r"www\.evil.org and me\@evil.org"),
        ("mailto:me", r"mailto\:me"),
        ("a | b", r"a \| b"),
        ("**bold** _it_ `code` ~~gone~~", r"\*\*bold\*\* \_it\_ \`code\` \~\~gone\~\~"),
        ("&lt; &#60; R&D & Co", r"\&lt; \&#60; R\&D & Co"),
        ("a\n# heading", "a # heading"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_nothing_of_a_name_is_markup(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert unlike_formula(text) == f"'{text}"
