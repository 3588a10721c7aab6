"""From the paths in the config to sources: files, folders and data sets, each with its format."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, assert_never

from lstm_cli.data.addresses import files_at, is_address
from lstm_cli.data.class_files import check_class_files, has_lines, label_of, text_files_in
from lstm_cli.data.config import Paths
from lstm_cli.data.documents import class_folders, files_below, starts_with_label
from lstm_cli.data.files import PACKED, readable
from lstm_cli.data.hub import BUILTIN, HUB, check_builtin
from lstm_cli.data.rows import Reading
from lstm_cli.errors import DataError, did_you_mean

Kind = Literal[
    "csv",
    "tsv",
    "jsonl",
    "parquet",
    "text",
    "fasttext",
    "aligned",
    "conllu",
    "conll",
    "ts",
    "class_folders",
    "documents",
    "hub",
    "builtin",
]

_KIND_OF_SUFFIX: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".conllu": "conllu",
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
    ".ts": "ts",
}
_SHOWN_FILES = 5
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A file, a folder or a data set, and the format in which it is read.

    `label`: the label of all of its rows, if it has none in itself. `labels` and `names`: the file with the labels of
    an aligned file, and the one with the names of the labels.
    """

    path: str
    kind: Kind
    label: str | None = None
    labels: str | None = None
    names: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All of its files."""
        return tuple(path for path in (self.path, self.labels, self.names) if path is not None)


def names_rows(source: str) -> bool:
    """Whether `source` is a data set or an address, which can be nothing but rows."""
    return source.startswith((HUB, BUILTIN)) or is_address(source)


def find_sources(paths: Paths | Sequence[str], role: str, reading: Reading) -> tuple[Source, ...]:
    """The sources that `paths` name, in this order; the matches of a glob are sorted.

    Raises DataError for a path that does not exist, a glob without a match, a file of unknown format, and for plain
    text if labels are needed and nothing says which.
    """
    key = f"data.{role}: " if role in ("train", "dev", "test", "unlabelled") else ""
    if not isinstance(paths, dict):
        return tuple(
            source
            for path in ([paths] if isinstance(paths, str) else paths)
            for source in _named(path, key, reading)
        )
    if "labels" in paths:
        return (_aligned(paths, key, reading),)
    unlabelled = replace(reading, labelled=False)  # the labels are given
    return tuple(
        replace(source, label=label)
        for label, files in paths.items()
        for path in ([files] if isinstance(files, str) else files)
        for source in _named(path, f"{key}{label}: ", unlabelled, default="text")
    )


def _named(path: str, key: str, reading: Reading, default: Kind | None = None) -> Iterator[Source]:
    """The sources of one path, glob or name of a data set. `default` is the kind of a file whose name shows none."""
    if path.startswith(HUB):
        yield Source(path, "hub")
    elif path.startswith(BUILTIN):
        check_builtin(path)
        yield Source(path, "builtin")
    else:
        found = list(_expand(path, key))
        sources = [source for one in found for source in _found(one, key, reading, default)]
        texts = [source.path for source in sources if source.kind == "text" and source.label is None]
        if reading.labelled and texts:
            if not glob.has_magic(path) or texts == [path] or len(texts) < len(sources):
                raise DataError(
                    f"{key}{texts[0]}: plain text has no labels. Use CSV, TSV, JSON Lines or Parquet with a label "
                    f"column, a folder with one sub-folder for each class, the text files of each class, such as "
                    f"{{positive: a.txt, negative: b.txt}}, or lines that begin with __label__NAME"
                )
            sources = _class_files(texts, f"{key}{path}", reading)
        yield from sources


def _class_files(paths: Sequence[str], where: str, reading: Reading) -> list[Source]:
    """Text files with a text a line, one for each class, as sources with labels."""
    check_class_files(paths, where, reading.config.encoding)
    sources = [Source(path, "text", label=label_of(path)) for path in paths]
    classes = ", ".join(dict.fromkeys(str(source.label) for source in sources))
    _LOG.info(f"{where}: one file for each class, with one text per line: {classes}")
    return sources


def _aligned(paths: dict[str, Any], key: str, reading: Reading) -> Source:
    """Texts and labels in two files. Raises DataError for anything but one text file each."""
    files = {}
    for name, path in paths.items():
        found = list(_expand(path, f"{key}{name}: "))
        if len(found) != 1 or not _is_file(found[0]):
            raise DataError(f"{key}{name}: {path}: must be one file with one {name.rstrip('s')} per line")
        files[name] = found[0]
    if not reading.labelled:
        return Source(files["text"], "text")
    return Source(files["text"], "aligned", labels=files["labels"], names=files.get("names"))


def _is_file(path: str) -> bool:
    return is_address(path) or Path(path).is_file()


def _expand(path: str, key: str) -> Iterator[str]:
    if is_address(path):
        yield from files_at(path, key)
        return
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


def _found(path: str, key: str, reading: Reading, default: Kind | None) -> list[Source]:
    """The sources of a path that exists. Plain text in a file has no label yet, also where labels are needed."""
    if Path(path).is_dir():
        return _in_folder(path, key, reading)
    if default and reading.config.format == "auto" and kind_of_name(path) is None and _is_file(path):
        return [Source(path, default)]
    return [Source(path, _kind_of_file(path, key, reading))]


def _in_folder(path: str, key: str, reading: Reading) -> list[Source]:
    """A folder: without labels one document per file; else one sub-folder or one text file for each class."""
    wanted = reading.config.format
    if wanted not in ("auto", "folder", "text"):
        raise DataError(
            f"{key}{path}: a folder, but data.format is {wanted}. To read its files, write a glob such as "
            f"{Path(path) / f'*.{wanted}'}; if it has one sub-folder for each class, set data.format: folder"
        )
    if not reading.labelled:
        return [Source(path, "documents")]
    if wanted == "folder":
        return [Source(path, "class_folders")]
    classes = class_folders(path)
    if not classes:
        files = text_files_in(Path(path))
        return _class_files(files, f"{key}{path}", reading) if files else [Source(path, "class_folders")]
    texts = {
        label: [str(Path(path) / label / name) for name in files_below(str(Path(path) / label))]
        for label in classes
    }
    by_lines = wanted == "text"
    if wanted == "auto" and all(len(files) == 1 for files in texts.values()):
        by_lines = all(has_lines(files[0], reading.config.encoding) for files in texts.values())
        if by_lines:
            _LOG.info(
                f"{key}{path}: each sub-folder holds one file, which is read as one text per line (data.format: folder "
                f"reads each file as one text)"
            )
    if by_lines:
        return [Source(one, "text", label=readable(label)) for label, files in texts.items() for one in files]
    return [Source(path, "class_folders")]


def _kind_of_file(path: str, key: str, reading: Reading) -> Kind:
    if not _is_file(path):
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
        case "csv" | "tsv" | "jsonl" | "parquet" | "text" | "fasttext" | "conllu" | "conll" | "ts" as kind:
            return kind
        case never:
            assert_never(never)


def kind_of_name(path: str) -> Kind | None:
    """The format that the name of a file shows, or None."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return _KIND_OF_SUFFIX.get(suffixes[-1]) if suffixes else None


def _kind_by_name(path: str, key: str, reading: Reading) -> Kind:
    kind = kind_of_name(path)
    if kind is None:
        known = f"{' '.join(_KIND_OF_SUFFIX)}, each also with {' '.join(PACKED)}"
        raise DataError(
            f"{key}{path}: the file name does not show the format (known: {known}). "
            f"Set data.format: csv, tsv, jsonl, parquet, text, fasttext, conllu, conll or ts"
        )
    if kind == "text" and starts_with_label(path, reading.config.encoding):
        return "fasttext"
    return kind
