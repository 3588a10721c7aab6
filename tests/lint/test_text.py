"""Words as they are compared, the marks of damage, and repairs that leave sound text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data.words import words
from lstm_cli.lint.text import Mark, marks, repaired


def marked(text: str) -> Mark:
    return marks(text, len(words(text)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't stop!", "dont  STOP"),
        ("Don’t stop…", "DON'T STOP"),
        ("snake_case", "snake case"),
        ("Größe, 10 €.", "grösse 10 €"),
        ("很 好，真的！", "很好真的"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "Full-width"),
    ],
)
def test_words_are_equal_whatever_their_case_space_and_punctuation(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("good 😊", "good 😡"), ("कि", "की"), ("ما أجمل", "ما أقبح"), ("1 star", "5 star"), ("5 €", "5 £")],
)
def test_signs_with_a_meaning_belong_to_words(one: str, other: str) -> None:
    assert words(one) != words(other)


def test_scripts_without_spaces_count_characters() -> None:
    assert len(words("风格还是蛮精致的")) == 8
    assert len(words("a long word")) == 3


ACCENTED = "Crème brûlée à la façon “d’été” — 10 €"


def misread(text: str, codec: str) -> str:
    """Its UTF-8 as browsers read it by another name: what cp1252 lacks is as in latin-1."""
    return "".join(bytes([byte]).decode(codec, "ignore") or chr(byte) for byte in text.encode())


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "original", [ACCENTED, "Привет, как дела", "¿Qué pasó?", "naïve", "风格还是", "so good 😊"]
)
def test_utf8_that_was_decoded_as_something_else_is_found_and_decoded_again(
    original: str, times: int, codec: str
) -> None:
    garbled = original
    for _ in range(times):
        garbled = misread(garbled, codec)
    assert Mark.MOJIBAKE in marked(garbled)
    assert repaired(garbled) == (original, ["mojibake"])


@pytest.mark.parametrize(
    "sound",
    [
        ACCENTED,
        "„Das MENÜ“ war gut",
        "« Voilà », dit-il",
        "ÀÉÎÕÜ",
        "Привет",
        "São João",
        "naïveté…",
        "风格“还是”",
        "10 µm ± 2 °C",
    ],
)
def test_sound_text_is_left_alone(sound: str) -> None:
    assert marked(sound) & ~Mark.ONE_WORD == Mark(0)
    assert repaired(sound) == (sound, [])


def test_control_characters_are_removed_or_replaced_by_those_of_cp1252() -> None:
    assert Mark.CONTROL in marked("two\x85three words")
    assert repaired("two\x85three don\x92t\x00 stop\x0bhere\ufeff\x81")[0] == "two…three don’t stop here"
    assert repaired("a tab\t and lines\r\n stay") == ("a tab\t and lines\r\n stay", [])


def test_line_breaks_of_markup_become_one_space() -> None:
    assert repaired("one.<br /><br/>Two<BR>three <b>bold</b>")[0] == "one. Two three <b>bold</b>"


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (" \t\n", Mark.EMPTY),
        ("word", Mark.ONE_WORD),
        ("!!!", Mark.ONE_WORD),
        ("12.5", Mark.NUMBER),
        ("lost \ufffd sign", Mark.LOST),
        ("a <i>tag</i> here", Mark.TAG),
        ("fish &amp; chips", Mark.ENTITY),
        ("the Astros #39; night", Mark.ENTITY),
        ('"all of it quoted"', Mark.QUOTED),
    ],
)
def test_every_mark_is_set_on_its_damage_and_not_on_plain_text(text: str, mark: Mark) -> None:
    assert mark in marked(text)
    assert marked('1 < 2 and 3 > 2; AT&T said "so" at #5') == Mark(0)


DAMAGE = st.sampled_from(
    ["Ã", "©", "â", "€", "™", "\x80", "\x92", "\x00", "<br", " />", "<", "\ufeff", "Ð", "¿", "a", " "]
)


@given(st.lists(DAMAGE, max_size=12).map("".join) | st.text(max_size=30))
def test_repairing_what_is_repaired_changes_nothing(text: str) -> None:
    once, _ = repaired(text)
    assert repaired(once) == (once, [])
    assert not marked(once) & (Mark.MOJIBAKE | Mark.CONTROL)
