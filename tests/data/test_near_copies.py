"""Unlabelled copies of dev and test texts are found however they were changed; other texts are kept."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from lstm_cli.data import near_copies
from lstm_cli.data.corpus import load_corpus
from lstm_cli.data.near_copies import NearCopies
from lstm_cli.data.sources import DataConfig, load_splits
from lstm_cli.data.text import Text, text_row

Made = Callable[[str, str | bytes], str]

WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in ("r", "nt", "s", "p", "ck")]


def sentence(number: int, length: int) -> str:
    """`length` words with punctuation, quotes and a line break, the same for the same number."""
    drawn = random.Random(number * 1_000 + length)
    parts = [drawn.choice(WORDS) + drawn.choice(["", "", "", ",", "."]) for _ in range(length)]
    parts[length // 2] = f'"{parts[length // 2]}"'
    middle = 2 * length // 3
    return f"{' '.join(parts[:middle])}\n{' '.join(parts[middle:])} & it's over"


def without_word(text: str) -> str:
    found = list(re.finditer(r"\S+", text))
    word = found[len(found) // 3]
    return text[: word.start()] + text[word.end() :]


CHANGES: dict[str, Callable[[str], str]] = {
    "nothing": str,
    "a full stop": lambda text: f"{text} .",
    "a word less": without_word,
    "the first word less": lambda text: text.split(" ", 1)[1],
    "the last word less": lambda text: text.rsplit(" ", 1)[0],
    "a word more": lambda text: f"{text} truly",
    "a word more in the middle": lambda text: text.replace(" & ", " & well "),
    "line break as <br />": lambda text: text.replace("\n", "<br /><br />"),
    "line break as a space": lambda text: text.replace("\n", " "),
    "line break as CR LF": lambda text: text.replace("\n", "\r\n"),
    "line break as in JSON": lambda text: text.replace("\n", "\\n"),
    "capitals": str.upper,
    "HTML entities": lambda text: text.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#39;"),
    "HTML entities twice": lambda text: text.replace('"', "&amp;quot;").replace("'", "&amp;#x27;"),
    "tags": lambda text: f"<p>{text.replace(chr(10), '</p><p class=x>')}</p>",
    "white space": lambda text: "  " + text.replace(" ", "\u00a0  \t") + " ",
    "curly quotes": lambda text: text.replace("'", "’").replace('"', "“"),
    "no punctuation": lambda text: text.replace(".", "").replace(",", "").replace('"', ""),
    "a word less, in markup": lambda text: without_word(text).replace("\n", "<br>").replace('"', "&quot;"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("length", [5, 8, 12, 20, 40, 64, 70, 200])
def test_a_copy_is_found_however_it_was_changed(change: str, length: int) -> None:
    texts = [sentence(number, length) for number in range(50)]
    index = NearCopies.of(text_row(text) for text in texts)
    changed = [CHANGES[change](text) for text in texts]
    missed = [
        text for text, found in zip(changed, index.mask(map(text_row, changed)), strict=True) if not found
    ]
    assert missed == []


@pytest.mark.parametrize("length", [5, 8, 12, 20, 40, 64, 70, 200])
def test_other_texts_are_kept(length: int) -> None:
    index = NearCopies.of(text_row(sentence(number, length)) for number in range(50))
    assert not index.mask(text_row(sentence(number, length)) for number in range(50, 400)).any()


def test_texts_without_words_and_of_few_words_are_compared_as_a_whole() -> None:
    index = NearCopies.of(map(text_row, ["...", "very good", "😀", "one two three"]))
    asked = [
        "...",
        "..",
        "Very  GOOD!",
        "good",
        "very",
        "very very good",
        "😀",
        "",
        "one two",
        "one two three four",
    ]
    assert index.mask(map(text_row, asked)).tolist() == [
        True, False, True, False, False, False, True, False, False, True
    ]  # fmt: skip
    assert NearCopies.of([]).mask(map(text_row, asked)).tolist() == [False] * len(asked)
    assert NearCopies.of(map(text_row, asked)).mask([]).tolist() == []


def test_the_size_of_a_chunk_has_no_influence(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [text_row(sentence(number, 30 + number)) for number in range(40)]
    asked = [text_row(without_word(sentence(number, 30 + number))) for number in range(20, 90)]
    whole = NearCopies.of(given).mask(asked)
    monkeypatch.setattr(near_copies, "_WORDS_AT_ONCE", 100)
    assert np.array_equal(NearCopies.of(given).mask(asked), whole)
    assert whole.tolist() == [True] * 20 + [False] * 50


def test_copies_of_a_template_that_thousands_of_texts_have_are_found_too() -> None:
    template = sentence(0, 150)
    index = NearCopies.of(text_row(f"{template} {number}") for number in range(3_000))
    assert index.mask(text_row(f"{template} {number} x") for number in range(100)).all()


def test_the_text_to_pretrain_on_has_no_near_copy_of_dev_and_test(made: Made) -> None:
    rows = [(sentence(number, 20), "ab"[number % 2]) for number in range(120)]

    def table(part: list[tuple[str, str]]) -> str:
        return "text,label\n" + "".join(
            '"' + text.replace('"', '""') + f'",{label}\n' for text, label in part
        )

    planted = [change(text) for (text, _), change in zip(rows[60:80], [*CHANGES.values()] * 2, strict=False)]
    other = [sentence(number, 20) for number in range(200, 230)]
    made("unlabelled.csv", table([(text, "") for text in planted + other]))
    config = DataConfig(
        train=made("train.csv", table(rows[:60])),
        dev=made("dev.csv", table(rows[60:70])),
        test=made("test.csv", table(rows[70:80])),
        unlabelled="unlabelled.csv",
    )
    corpus = load_corpus(config, load_splits(config, 0, content=Text), 0)
    assert corpus.num_left_out == 20
    assert [row.content.text for row in corpus.whole.members[1]] == other
    assert len(corpus.whole.members[0]) == 60
