"""The `data:` section's own checks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lstm_cli.data.sources import DataConfig


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ({"dev": 0}, "dev", "fraction of train between 0 and 1"),
        ({"dev": 1.0}, "dev", "fraction of train between 0 and 1"),
        ({"dev": -0.1}, "dev", "fraction of train between 0 and 1"),
        ({"dev": float("nan")}, "dev", "fraction of train between 0 and 1"),
        ({"test": 0}, "test", "fraction of train between 0 and 1"),
        ({"test": 1.5}, "test", "fraction of train between 0 and 1"),
        ({"test": "fold:0/10"}, "test", "fold:1/10 to fold:10/10"),
        ({"test": "fold:11/10"}, "test", "fold:1/10 to fold:10/10"),
        ({"test": "fold:1/1"}, "test", "COUNT is at least 2"),
        ({"test": "fold:"}, "test", "fold:NUMBER/COUNT"),
        ({"test": "fold:a/b"}, "test", "fold:NUMBER/COUNT"),
        ({"test": "fold:1/" + "9" * 5_000}, "test", "fold:NUMBER/COUNT"),
        ({"test": ["fold:1/3", "b.csv"]}, "test", "a single fold, such as fold:3/10"),
        ({"dev": "fold:1/3"}, "dev", "only data.test can be one"),
        ({"train": "fold:1/3"}, "train", "only data.test can be one"),
        ({"train": ["a.csv", "fold:1/3"]}, "train", "only data.test can be one"),
        ({"dev": True}, "dev", "name or path"),
        ({"dev": {}}, "dev", "files of each label"),
        ({"dev": {"pos": "a.txt", "neg": 1}}, "dev", "neg must be a path"),
        ({"dev": {"pos": ["a.txt", ""]}}, "dev", "pos must be a path"),
        ({"dev": {"pos": []}}, "dev", "pos must be a path"),
        ({"dev": {True: "a.txt", False: "b.txt"}}, "dev", "the label True must be a text (put yes"),
        ({"dev": {1.5: "a.txt"}}, "dev", "the label 1.5 must be a text"),
        ({"dev": {"text": "a.txt"}}, "dev", "text: FILE, labels: FILE"),
        ({"dev": {"text": "a.txt", "labels": ["b.txt"]}}, "dev", "text: FILE, labels: FILE"),
        ({"dev": {"text": "a.txt", "labels": "b.txt", "mapping": "c"}}, "dev", "names: FILE"),
        ({"test": {"a": "fold:1/3"}}, "test", "a single fold"),
        ({"unlabelled": {"a": "b.txt"}}, "unlabelled", "name or path"),
        ({"delimiter": ";;"}, "delimiter", "one character, or one of comma, semicolon"),
        ({"delimiter": ""}, "delimiter", "one character"),
        ({"delimiter": '"'}, "delimiter", "one character"),
        ({"train": []}, "train", "name or path"),
        ({"train": ""}, "train", "name or path"),
        ({"test": ["a", 1]}, "test", "list of names"),
        ({"text_column": []}, "text_column", "name or path"),
        ({"text_column": "x", "label_column": "x"}, "label_column", "data.text_column"),
        ({"text_column": ["a", "x"], "label_column": "x"}, "label_column", "data.text_column"),
        ({"group_column": "label"}, "group_column", "must not be data.label_column"),
        ({"group_column": ""}, "group_column", "a column, or null"),
        ({"encoding": "utf9"}, "encoding", 'Did you mean "utf-8"?'),
        ({"encoding": "rot13"}, "encoding", "encoding of text"),
        ({"encoding": "undefined"}, "encoding", "encoding of text"),
        ({"encoding": "utf\0"}, "encoding", "encoding of text"),
        ({"columns": []}, "columns", "every column"),
        ({"columns": ["a", "b", "a"]}, "columns", "every column"),
        ({"format": "xlsx"}, "format", "csv"),
        ({"quoting": "all"}, "quoting", "standard"),
        ({"colums": ["a"]}, "colums", "Extra inputs"),
    ],
)
def test_a_wrong_key_is_one_fault_in_plain_words(keys: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig(**{"train": "a.csv", **keys})
    (fault,) = caught.value.errors()
    assert fault["loc"] == (path,)
    assert said in fault["msg"]


def test_train_alone_is_enough() -> None:
    config = DataConfig(train="a.csv")
    assert (config.dev, config.test, config.text_columns, config.label_column) == (
        0.1,
        None,
        ("text",),
        "label",
    )
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
    assert DataConfig(train="a.csv", text_column=["a", "b"]).text_columns == ("a", "b")


def test_a_split_that_is_cut_from_train_has_no_source() -> None:
    assert DataConfig(train="a.csv", dev="b.csv", test="c.csv").sources() == {
        "train": "a.csv",
        "dev": "b.csv",
        "test": "c.csv",
    }
    for test, fold in ((0.2, None), ("fold:3/10", (3, 10)), (None, None)):
        config = DataConfig(train=["a.csv", "b.csv"], test=test)
        assert (config.sources(), config.fold) == ({"train": ["a.csv", "b.csv"]}, fold)
        assert DataConfig.model_validate(config.model_dump(mode="json")) == config


def test_every_key_has_a_description() -> None:
    assert all(field.description for field in DataConfig.model_fields.values())
