"""Text files with a text a line, one file for each class: which files are that, and the label of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lstm_cli.data.files import PACKED, open_lines
from lstm_cli.errors import DataError

_MOST_CLASSES = 100
_NO_CLASS = {"readme", "license", "licence", "changelog"}
_SPLITS = re.compile(
    r"(train|training|dev|val|valid|validation|test|unlabelled|unlabeled|unsup)", re.IGNORECASE
)
_TEXTS, _LABELS = re.compile(r"texts?$", re.IGNORECASE), re.compile(r"labels?$", re.IGNORECASE)


def text_files_in(folder: Path) -> list[str]:
    """The paths of the text files of a folder, sorted, without hidden files and those that describe a data set."""
    return sorted(
        str(path)
        for path in folder.iterdir()
        if path.is_file() and path.name[0] != "." and _is_text(path) and not describes_data(path)
    )


def describes_data(path: Path) -> bool:
    """Whether a file is named as one about a data set, such as README.txt, and not after a class."""
    return label_of(path).lower() in _NO_CLASS


def is_split(name: str) -> bool:
    """Whether a file or folder without endings is named after a split, such as train, and not after a class."""
    return _SPLITS.fullmatch(name) is not None


def label_of(path: str | Path) -> str:
    """The name of a file without its endings: `pos` for pos.txt and pos.txt.gz."""
    name = Path(path).name
    for ending in (*PACKED, ".txt"):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return name


def _is_text(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return [one for one in suffixes if one not in PACKED][-1:] == [".txt"]


def check_class_files(paths: Sequence[str], where: str, encoding: str) -> None:
    """Raise DataError, which begins with `where`, unless each of the text files can hold the texts of one class."""
    labels = [label_of(path) for path in paths]
    for path, label in zip(paths, labels, strict=True):
        partners = [other for other, name in zip(paths, labels, strict=True) if _LABELS.search(name)]
        if _TEXTS.search(label) and partners:
            raise DataError(
                f"{where}: texts and labels in files of their own, line by line? Then name them, such as "
                f"{{text: {path}, labels: {partners[0]}}}"
            )
    if splits := [path for path, label in zip(paths, labels, strict=True) if is_split(label)]:
        raise DataError(
            f"{where}: {splits[0]} is named after a split, but a text file is named after the class of its texts. "
            f"Name the files of each class, such as {{positive: a.txt, negative: b.txt}}"
        )
    single = [path for path in paths if not has_lines(path, encoding)]
    if len(paths) > _MOST_CLASSES or 2 * len(single) > len(paths):
        what = (
            f"{len(single)} of one line"
            if single
            else f"more than {_MOST_CLASSES}, the most that can be classes"
        )
        raise DataError(
            f"{where}: {len(paths)} text files, {what}. If each is one text, put them in one sub-folder per class; "
            f"if each holds the texts of a class, name them: {{positive: a.txt, negative: b.txt}}"
        )


def has_lines(path: str, encoding: str) -> bool:
    """Whether a text file has two lines or more that are not blank."""
    with open_lines(path, encoding) as lines:
        return sum(1 for _ in islice(filter(str.strip, lines), 2)) == 2
