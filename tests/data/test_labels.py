"""Labels learned from train, and what is said of one that train lacks."""

from __future__ import annotations

import pytest

from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import DataError


def rows_of(*labels: str | None) -> list[Row[Text]]:
    return [text_row("text", label, "train.csv", line) for line, label in enumerate(labels, 2)]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (["pos", "neg", "Pos"], ("Pos", "neg", "pos")),
        (["10", "9", "-1", "01", "1"], ("-1", "01", "1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["10", "9", "1.5"], ("1.5", "10", "9")),
        (["²", "1"], ("1", "²")),
        (["9" * 30, "1"], ("1", "9" * 30)),
    ],
)
def test_labels_are_sorted_by_number_where_all_are_integers(found: list[str], names: tuple[str, ...]) -> None:
    labels = Labels.learn(rows_of(*found, *found[:1]))
    assert labels.names == names
    assert dict(zip(labels.names, labels.counts, strict=True)) == {
        name: 1 + (name == found[0]) for name in found
    }
    assert [labels.index(row) for row in rows_of(*names)] == list(range(len(names)))


def test_an_unknown_label_is_named_with_its_row_and_the_nearest_label() -> None:
    labels = Labels.learn(rows_of("positive", "negative"))
    with pytest.raises(DataError) as caught:
        labels.index(text_row("text", "postive", "train.csv", 17))
    assert str(caught.value) == (
        'train.csv:17: label "postive" is not in the training data (have: negative, positive). '
        'Did you mean "positive"?'
    )
    with pytest.raises(DataError, match=r'label "" is not in the training data'):
        labels.index(text_row("text", None, "dev.csv", 2))


def test_of_many_labels_a_few_are_shown() -> None:
    labels = Labels.learn(rows_of(*map(str, range(57))))
    with pytest.raises(DataError, match=r"\(have: 0, 1, .*, 19, … and 37 more\)"):
        labels.index(text_row("text", "x", "dev.csv", 2))
    few = Labels.learn(rows_of(*map(str, range(20))))
    with pytest.raises(DataError, match=r", 18, 19\)"):
        few.index(text_row("text", "x", "dev.csv", 2))


@pytest.mark.parametrize("found", [[], ["x", "x"]])
def test_fewer_than_two_labels_are_refused(found: list[str]) -> None:
    with pytest.raises(DataError, match=rf"{len(found)} rows.*at least two labels.*data\.label_column"):
        Labels.learn(rows_of(*found))


def test_a_row_without_a_label_cannot_be_learned_from() -> None:
    with pytest.raises(DataError, match=r"^train\.csv:3: "):
        Labels.learn(rows_of("a", None))


def test_labels_are_the_same_after_saving_and_loading() -> None:
    labels = Labels.learn(rows_of("好", "bad", "bad"))
    again = Labels.from_json(labels.to_json(), labels.counts)
    assert again == labels
    assert again.index(rows_of("好")[0]) == labels.index(rows_of("好")[0])


@pytest.mark.parametrize("data", [b"", b"{}", b'["a", 1]', b'["a"]', b'["a", "a"]', b"\xff"])
def test_labels_that_are_damaged_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Labels.from_json(data, (1, 1))
