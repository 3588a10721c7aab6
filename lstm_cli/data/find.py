"""From the paths in the config to sources: files, folders and data sets, each with its format."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from lstm_cli.data.documents import starts_with_label
from lstm_cli.data.files import PACKED
from lstm_cli.data.hub import BUILTIN, HUB, check_builtin
from lstm_cli.data.rows import Reading
from lstm_cli.errors import DataError, did_you_mean

Kind = Literal[
    "csv", "tsv", "jsonl", "parquet", "text", "fasttext", "class_folders", "documents", "hub", "builtin"
]

_KIND_OF_SUFFIX: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
_SHOWN_FILES = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A file, a folder or a data set, and the format in which it is read."""

    path: str
    kind: Kind


def find_sources(paths: str | Sequence[str], role: str, reading: Reading) -> tuple[Source, ...]:
    """The sources that `paths` name, in this order; the matches of a glob are sorted.

    Raises DataError for a path that does not exist, a glob without a match, a file of unknown format, and for plain
    text if labels are needed.
    """
    key = f"data.{role}: " if role in ("train", "dev", "test", "unlabelled") else ""
    sources = []
    for path in [paths] if isinstance(paths, str) else paths:
        if path.startswith(HUB):
            sources.append(Source(path, "hub"))
        elif path.startswith(BUILTIN):
            check_builtin(path)
            sources.append(Source(path, "builtin"))
        else:
            sources += [Source(found, _kind(found, key, reading)) for found in _expand(path, key)]
    return tuple(sources)


def _expand(path: str, key: str) -> Iterator[str]:
    path = str(Path(path).expanduser())
    if Path(path).exists():  # before globbing, because a file name can contain brackets
        yield path
    elif glob.has_magic(path):
        # Path.glob takes no absolute pattern and finds hidden files
        found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
        if not found:
            raise DataError(f"{key}no file matches {path}{_nearby(path)}")
        yield from found
    else:
        raise DataError(f"{key}no file or folder {path}{_nearby(path)}")


def _nearby(path: str) -> str:
    """A hint for a path that does not exist: the nearest name, or what the folder holds."""
    folder = Path(path).parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    if not folder.is_dir():
        return f": there is no folder {folder} (the working folder is {Path.cwd()})"
    names = sorted(child.name for child in folder.iterdir() if child.name[0] != ".")
    if near := did_you_mean(Path(path).name, names):
        return f".{near}"
    more = ", …" if len(names) > _SHOWN_FILES else ""
    return f" ({folder.absolute()} has: {', '.join(names[:_SHOWN_FILES]) or 'nothing'}{more})"


def _kind(path: str, key: str, reading: Reading) -> Kind:
    kind = _kind_of_folder(path, key, reading) if Path(path).is_dir() else _kind_of_file(path, key, reading)
    if kind == "text" and reading.labelled:
        raise DataError(
            f"{key}{path}: plain text has no labels. Use CSV, TSV, JSON Lines or Parquet with a label "
            f"column, a folder with one sub-folder for each class, or lines that begin with __label__NAME"
        )
    return kind


def _kind_of_folder(path: str, key: str, reading: Reading) -> Kind:
    wanted = reading.config.format
    if wanted not in ("auto", "folder") and not (wanted == "text" and not reading.labelled):
        raise DataError(
            f"{key}{path}: a folder, but data.format is {wanted}. To read its files, write a glob such as "
            f"{Path(path) / f'*.{wanted}'}; if it has one sub-folder for each class, set data.format: folder"
        )
    return "class_folders" if reading.labelled else "documents"


def _kind_of_file(path: str, key: str, reading: Reading) -> Kind:
    if not Path(path).is_file():
        raise DataError(
            f"{key}{path}: not a regular file, but rows are read more than once. Copy it into a file first"
        )
    match reading.config.format:
        case "auto":
            return _kind_by_name(path, key, reading)
        case "folder" if not reading.labelled:  # a model that was trained on folders can read any file
            return _kind_by_name(path, key, reading)
        case "folder":
            raise DataError(
                f"{key}{path}: a file, but data.format is folder. Name the folder, or set data.format: auto"
            )
        case "csv" | "tsv" | "jsonl" | "parquet" | "text" | "fasttext" as kind:
            return kind
        case never:
            assert_never(never)


def _kind_by_name(path: str, key: str, reading: Reading) -> Kind:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    kind = _KIND_OF_SUFFIX.get(suffixes[-1]) if suffixes else None
    if kind is None:
        known = f"{' '.join(_KIND_OF_SUFFIX)}, each also with {' '.join(PACKED)}"
        raise DataError(
            f"{key}{path}: the file name does not show the format (known: {known}). "
            f"Set data.format: csv, tsv, jsonl, parquet, text or fasttext"
        )
    if kind == "text" and starts_with_label(path, reading.config.encoding):
        return "fasttext"
    return kind
