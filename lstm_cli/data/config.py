"""The `data:` section of the config: where the rows are and how they are read."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from lstm_cli.data.files import encoding_fault
from lstm_cli.data.sequences_config import SequencesConfig
from lstm_cli.data.series_config import SeriesConfig
from lstm_cli.schema import Config

FOLD = "fold:"
FROM = "from:"

Format = Literal[
    "auto", "csv", "tsv", "jsonl", "parquet", "text", "folder", "fasttext", "conllu", "conll", "ts"
]


Paths = str | list[str] | dict[str, str | list[str]]
"""Sources of rows: one, several, `{LABEL: files, …}`, or `{text: file, labels: file}` with a file of `names` or not."""
ALIGNED = ("text", "labels", "names")
_DELIMITER_NAMES = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "bar": "|",
    "colon": ":",
    "space": " ",
}


class DataConfig(Config):
    """The `data:` section: which files hold the rows, and which of their columns are the text and the label."""

    train: Paths = Field(
        description="training rows: a file, a folder with one sub-folder or one text file per class, a glob, "
        "hub:OWNER/NAME[:CONFIG][@SPLIT], builtin:reviews, or a list of these; .gz, .xz and .zst are unpacked; or "
        "{positive: a.txt, negative: b.txt}, the files of each label, or {text: a.txt, labels: b.txt, names: c.txt}, "
        "texts and labels line by line and, if the labels are numbers, their names"
    )
    dev: Paths | float = Field(
        default=0.1,
        description="rows that choose the best epoch: sources as for train, or a fraction cut from train (stratified "
        "by label, seeded; all copies of a text go to the same split)",
    )
    test: Paths | float | None = Field(
        default=None,
        description="rows for the final score: sources as for train, a fraction cut from train before dev, or "
        "fold:3/10, the third of ten folds of train, which do not depend on the seed; null: none",
    )
    unlabelled: str | list[str] | None = Field(
        default=None,
        description="more text of the same kind, without labels, to pretrain on: sources as for train, or "
        "text files with one document per line (copies and near copies of dev and test texts are left out); null: only "
        "the training rows",
    )
    text_column: str | list[str] = Field(
        default="text", description="column that holds the text; a list of columns is joined into one text"
    )
    label_column: str = Field(default="label", description="column that holds the label")
    words_column: str = Field(
        default="words", description="tag: column that holds the list of words, of JSON Lines or Parquet"
    )
    tag_column: str | None = Field(
        default=None,
        description="tag: column that holds the tags: of CoNLL-U upos, xpos or another; of columns its number, from 1; "
        "of JSON Lines and Parquet a list; null: upos, the last column, or tags",
    )
    group_column: str | None = Field(
        default=None,
        description="column that names the group of a row, such as its author, patient, product or source: rows of one "
        "group are never on both sides of a split that is cut from train (dev, test, fold), so that the score is that "
        "on new groups; null: only copies of a text stay together",
    )
    join: str = Field(default=" ", description="separator between the texts of several text columns")
    format: Format = Field(
        default="auto",
        description="csv, tsv, jsonl (also for one JSON array), parquet, text (one document per line), folder (one "
        "sub-folder per class, one document per file), fasttext, conllu, conll (columns with a word and its tag on "
        "each line, as in CoNLL-2003) or ts (sequences of numbers); auto: by the file's name",
    )
    delimiter: str = Field(
        default="auto",
        description="character that separates the columns of a CSV or TSV file: comma, semicolon, tab, bar, colon, "
        "space, or any other character; auto: the one of , ; tab | that makes a header with the columns needed",
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

    series: SeriesConfig | None = Field(
        default=None,
        description="how a table of points in time becomes windows, for task.kind: forecast; null: the defaults",
    )

    sequences: SequencesConfig | None = Field(
        default=None,
        description="which columns hold the numbers of a sequence, for task.kind: sequence; null: the defaults",
    )

    @field_validator("unlabelled", "text_column", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Give one message. Pydantic alone would give one for each type of the union."""
        if isinstance(value, bool | dict) or value in ("", []):
            raise ValueError("must be a name or path, or a list of them")
        if isinstance(value, list) and not all(isinstance(one, str) and one for one in value):
            raise ValueError("must be a list of names or paths, each of them a text")
        return value

    @field_validator("train", "dev", "test", mode="before")
    @classmethod
    def _are_paths(cls, value: object) -> object:
        return _files_of_labels(value) if isinstance(value, dict) else cls._one_or_several(value)

    @field_validator("dev", "test")
    @classmethod
    def _check_fraction(cls, value: Paths | float | None) -> Paths | float | None:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("must be a path, or a fraction of train between 0 and 1 such as 0.1")
        return value

    @field_validator("train")
    @classmethod
    def _train_is_no_cut(cls, value: Paths) -> Paths:
        if isinstance(value, str) and value.startswith(FROM):
            raise ValueError(
                "must name rows: only data.dev and data.test can be cut by a time, as in dev: from:2024-01-01"
            )
        return value

    @field_validator("train", "dev", "test")
    @classmethod
    def _check_fold(cls, value: Paths | float | None, info: ValidationInfo) -> Paths | float | None:
        if isinstance(value, float | None):
            return value
        if any(path.startswith(FOLD) for path in paths_in(value)):
            if info.field_name != "test":
                raise ValueError("must not be a fold: only data.test can be one")
            if not isinstance(value, str):
                raise ValueError("must be a single fold, such as fold:3/10, and not a list")
            _fold(value)
        return value

    @field_validator("label_column")
    @classmethod
    def _label_is_no_text(cls, value: str, info: ValidationInfo) -> str:
        texts = info.data.get("text_column", [])
        if value in ([texts] if isinstance(texts, str) else texts):
            raise ValueError("must not be a column of data.text_column: the model would read the label")
        return value

    @field_validator("group_column")
    @classmethod
    def _group_is_no_label(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "":
            raise ValueError("must be the name of a column, or null")
        if value is not None and value == info.data.get("label_column"):
            raise ValueError("must not be data.label_column: dev would have other labels than train")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        if fault := encoding_fault(value):
            raise ValueError(fault)
        return value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _delimiter_is_a_character(cls, value: object) -> object:
        value = _DELIMITER_NAMES.get(value, value) if isinstance(value, str) else value
        if isinstance(value, str) and value != "auto" and (len(value) != 1 or value in '"\r\n'):
            names = ", ".join(name for name in _DELIMITER_NAMES if name.isalpha())
            raise ValueError(f"must be auto, one character, or one of {names}")
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

    def sources(self) -> dict[str, Paths]:
        """The sources of train, dev and test. A split that is cut from train is left out."""
        named = {"train": self.train, "dev": self.dev, "test": None if self.fold else self.test}
        return {
            split: paths
            for split, paths in named.items()
            if isinstance(paths, str | list | dict) and not str(paths).startswith(FROM)
        }

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns in the order in which they are joined."""
        return (self.text_column,) if isinstance(self.text_column, str) else tuple(self.text_column)


def paths_in(sources: Paths) -> list[str]:
    """Every path, glob and name of a data set that `sources` name."""
    if isinstance(sources, dict):
        return [path for files in sources.values() for path in paths_in(files)]
    return [sources] if isinstance(sources, str) else sources


def _files_of_labels(value: dict[object, object]) -> dict[str, object]:
    """A mapping of labels to files, or of `text` and `labels` to one file each, with labels as texts.

    Raises ValueError for another mapping.
    """
    if not value:
        raise ValueError("must name the files of each label, such as {positive: a.txt, negative: b.txt}")
    named: dict[str, object] = {}
    for label, files in value.items():
        if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
            raise ValueError(
                f"the label {label!r} must be a text (put yes, no, on, off, null and numbers with a point in quotes)"
            )
        if not all(
            isinstance(one, str) and one for one in (files if isinstance(files, list) and files else [files])
        ):
            raise ValueError(f"{label} must be a path, or a list of paths")
        named[str(label).strip()] = files
    aligned = {"text", "labels"}
    if aligned & named.keys() and not (
        aligned <= named.keys() <= set(ALIGNED) and all(isinstance(one, str) for one in named.values())
    ):
        raise ValueError(
            "must be {text: FILE, labels: FILE}, with one text and one label per line, and with names: FILE if the "
            "labels are numbers; or {LABEL: FILE, …}"
        )
    return named


def _fold(text: str) -> tuple[int, int]:
    """fold:3/10 -> (3, 10). Raises ValueError for another form."""
    numbers = re.fullmatch(rf"{FOLD}([0-9]{{1,9}})/([0-9]{{1,9}})", text)
    number, count = map(int, numbers.groups()) if numbers else (0, 0)
    if count < 2 or not 1 <= number <= count:
        raise ValueError(
            "must have the form fold:NUMBER/COUNT, such as fold:1/10 to fold:10/10; COUNT is at least 2"
        )
    return number, count
