"""The `data:` section of the config: where the rows are and how they are read."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from lstm_cli.data.files import encoding_fault
from lstm_cli.schema import Config

FOLD = "fold:"

Format = Literal["auto", "csv", "tsv", "jsonl", "parquet", "text", "folder", "fasttext"]


class DataConfig(Config):
    """The `data:` section: which files hold the rows, and which of their columns are the text and the label."""

    train: str | list[str] = Field(
        description="training rows: a file, a folder with one sub-folder per class, a glob, "
        "hub:OWNER/NAME[:CONFIG][@SPLIT], builtin:reviews, or a list of these; .gz, .xz and .zst are unpacked"
    )
    dev: str | list[str] | float = Field(
        default=0.1,
        description="rows that choose the best epoch: sources as for train, or a fraction cut from train (stratified "
        "by label, seeded; all copies of a text go to the same split)",
    )
    test: str | list[str] | float | None = Field(
        default=None,
        description="rows for the final score: sources as for train, a fraction cut from train before dev, or "
        "fold:3/10, the third of ten folds of train, which do not depend on the seed; null: none",
    )
    unlabelled: str | list[str] | None = Field(
        default=None,
        description="more text of the same kind, without labels, to pretrain on: sources as for train, or "
        "text files with one document per line; null: only the training rows",
    )
    text_column: str | list[str] = Field(
        default="text", description="column that holds the text; a list of columns is joined into one text"
    )
    label_column: str = Field(default="label", description="column that holds the label")
    join: str = Field(default=" ", description="separator between the texts of several text columns")
    format: Format = Field(
        default="auto",
        description="csv, tsv, jsonl, parquet, text (one document per line, no labels), folder (one sub-folder "
        "per class) or fasttext; auto: by the file's name",
    )
    encoding: str = Field(
        default="utf-8",
        description="encoding of the files: utf-8, latin-1, cp1252, utf-16, gb18030 or another",
    )
    columns: list[str] | None = Field(
        default=None, description="names of the columns, in order, of a CSV or TSV file without a header row"
    )
    quoting: Literal["auto", "standard", "none"] = Field(
        default="auto",
        description='standard: "a quoted field, with commas"; none: quotes are plain characters; '
        "auto: standard in CSV, none in TSV",
    )

    @field_validator("train", "dev", "test", "unlabelled", "text_column", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Give one message. Pydantic alone would give one for each type of the union."""
        if isinstance(value, bool | dict) or value in ("", []):
            raise ValueError("must be a name or path, or a list of them")
        if isinstance(value, list) and not all(isinstance(one, str) and one for one in value):
            raise ValueError("must be a list of names or paths, each of them a text")
        return value

    @field_validator("dev", "test")
    @classmethod
    def _check_fraction(cls, value: str | list[str] | float | None) -> str | list[str] | float | None:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("must be a path, or a fraction of train between 0 and 1 such as 0.1")
        return value

    @field_validator("train", "dev", "test")
    @classmethod
    def _check_fold(cls, value: object, info: ValidationInfo) -> object:
        named = value if isinstance(value, list) else [value]
        if any(isinstance(one, str) and one.startswith(FOLD) for one in named):
            if info.field_name != "test":
                raise ValueError("must not be a fold: only data.test can be one")
            if isinstance(value, list):
                raise ValueError("must be a single fold, such as fold:3/10, and not a list")
            _fold(str(value))
        return value

    @field_validator("label_column")
    @classmethod
    def _label_is_no_text(cls, value: str, info: ValidationInfo) -> str:
        texts = info.data.get("text_column", [])
        if value in ([texts] if isinstance(texts, str) else texts):
            raise ValueError("must not be a column of data.text_column: the model would read the label")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        if fault := encoding_fault(value):
            raise ValueError(fault)
        return value

    @field_validator("columns")
    @classmethod
    def _columns_are_distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("must name every column of the file, each with its own name")
        return value

    @property
    def fold(self) -> tuple[int, int] | None:
        """(3, 10) if data.test is fold:3/10, the third of ten folds of train; else None."""
        is_fold = isinstance(self.test, str) and self.test.startswith(FOLD)
        return _fold(str(self.test)) if is_fold else None

    def sources(self) -> dict[str, str | list[str]]:
        """The paths of train, dev and test. A split that is cut from train is left out."""
        named = {"train": self.train, "dev": self.dev, "test": None if self.fold else self.test}
        return {split: paths for split, paths in named.items() if isinstance(paths, str | list)}

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns in the order in which they are joined."""
        return (self.text_column,) if isinstance(self.text_column, str) else tuple(self.text_column)


def _fold(text: str) -> tuple[int, int]:
    """fold:3/10 -> (3, 10). Raises ValueError for another form."""
    numbers = re.fullmatch(rf"{FOLD}([0-9]{{1,9}})/([0-9]{{1,9}})", text)
    number, count = map(int, numbers.groups()) if numbers else (0, 0)
    if count < 2 or not 1 <= number <= count:
        raise ValueError(
            "must have the form fold:NUMBER/COUNT, such as fold:1/10 to fold:10/10; COUNT is at least 2"
        )
    return number, count
