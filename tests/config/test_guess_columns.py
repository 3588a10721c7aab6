"""The columns of the text and the label are found by name or by content; in doubt an option is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstm_cli.config.guess import Given, guess
from lstm_cli.config.load import load_config
from lstm_cli.errors import ConfigError
from tests.config.tables import ROWS, label, measure, mode, number, table, text


@pytest.mark.parametrize(
    ("columns", "separator", "found"),
    [
        ({"text": text, "label": label}, ",", ("text", "label")),
        ({"id": number, "Review": text, " Sentiment ": label}, ",", ("Review", " Sentiment ")),
        ({"Bewertung": text, "Kategorie": label, "id": number}, ";", ("Bewertung", "Kategorie")),
        ({"评论": text, "情感": label}, "\t", ("评论", "情感")),
        ({"id": number, "what they wrote": text, "kind": label}, ",", ("what they wrote", "kind")),
        ({"text": text, "comment": mode, "label": label, "class": mode}, ",", ("text", "label")),
        ({"amount": measure, "words": text, "verdict": label}, "|", ("words", "verdict")),
    ],
)
def test_the_columns_are_found_by_their_names_or_by_what_they_hold(
    tmp_path: Path, columns: dict[str, Any], separator: str, found: tuple[str, str]
) -> None:
    ending = "tsv" if separator == "\t" else "csv"
    source = table(tmp_path / f"rows.{ending}", columns, separator)
    guessed = guess(source, Given())
    assert (guessed.content["data"]["text_column"], guessed.content["data"]["label_column"]) == found
    assert len(guessed.said) <= 6
    assert guessed.content["run"]["dir"] == "runs/rows"
    load_config(guessed.content, trains=True)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"review": text, "comment": text, "label": label}, "the text: review, comment; name it with --text"),
        ({"text": text, "class": label, "topic": mode}, "the label: class, topic; name it with --label"),
        ({"a": text, "b": label, "c": mode}, "the label: b, c; name it with --label"),
        ({"text": text, "label": measure}, "look like numbers that were measured .*--label"),
        ({"text": text, "label": text}, "too many for classes; name the column of the label with --label"),
        ({"text": text, "id": number}, "no column looks like a label; name it with --label"),
        ({"id": number, "label": label}, "no column looks like a text; name it with --text"),
    ],
)
def test_in_doubt_the_error_names_the_option(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        guess(table(tmp_path / "rows.csv", columns), Given())


def test_a_file_without_a_header_is_noticed_and_its_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("".join(f'{label},"{text}"\n' for text, label in ROWS), "utf-8")
    with pytest.raises(ConfigError, match=r"the first row looks like data .*--set data\.columns="):
        guess(str(path), Given())
    named = guess(str(path), Given(), ["data.columns=[label, text]"])
    assert (named.content["data"]["text_column"], named.content["data"]["label_column"]) == ("text", "label")
