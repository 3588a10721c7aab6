"""What names rows and what names a config; anything else is refused with what to give instead."""

from __future__ import annotations

import glob
from pathlib import Path

from lstm_cli.data.find import kind_of_name, names_rows
from lstm_cli.errors import ConfigError, did_you_mean

_OF_A_RUN = {"config.yaml", "checkpoints", "model.onnx"}
"""A run, what is left of one, or an exported folder."""
_SHEET = "save the sheet as CSV (UTF-8)"
_DOCUMENT = "save its rows as CSV, or its lines as text"
_ARCHIVE = "unpack it, and give the file or folder with the rows"
_DATABASE = "write its rows to a CSV file"
_UNREAD = (
    dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _SHEET)
    | dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pdf", ".pptx"), _DOCUMENT)
    | dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE)
    | dict.fromkeys((".sqlite", ".sqlite3", ".db", ".pkl", ".pickle", ".npy", ".npz", ".h5"), _DATABASE)
    | dict.fromkeys((".feather", ".arrow", ".orc", ".avro", ".xml", ".html"), _DATABASE)
)
"""Endings of files that are neither configs nor rows, and what to do with them."""
_OF_CONFIGS = {".yaml", ".yml"}


def is_data(source: str) -> bool:
    """Whether `source` names rows and not a config: a data set, a file of a data format, a folder or a glob of them."""
    if names_rows(source) or _is_glob(source):
        return True
    path = Path(source)
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        return bool(names) and not names & _OF_A_RUN
    return path.is_file() and kind_of_name(source) is not None


def refuse_unread(source: str) -> None:
    """Raise ConfigError for what is neither a config nor rows, with what to give instead."""
    path = Path(source)
    if names_rows(source) or _is_glob(source) or source == "-":
        return
    if path.is_dir():
        _refuse_folder(source, path)
        return
    ending = path.suffix.lower()
    if path.is_file() and ending in _UNREAD:
        raise ConfigError(f"{source}: {ending} files are not read; {_UNREAD[ending]}")
    if not path.exists() and kind_of_name(source) is not None:
        folder = path.parent
        if not folder.is_dir():
            raise ConfigError(f"{source}: no such file, and no folder {folder}")
        near = did_you_mean(path.name, sorted(one.name for one in folder.iterdir()))
        raise ConfigError(f"{source}: no such file.{near}")


def _is_glob(source: str) -> bool:
    path = Path(source)
    return glob.has_magic(source) and not path.exists() and path.suffix.lower() not in _OF_CONFIGS


def _refuse_folder(source: str, path: Path) -> None:
    entries = sorted(path.iterdir())
    if not entries:
        raise ConfigError(f"{source}: an empty folder; give a file of labelled rows, such as reviews.csv")
    if {one.name for one in entries} & _OF_A_RUN:
        return
    for one in entries:
        inside = sorted(one.iterdir()) if one.is_dir() else []
        if runs := [inner for inner in (one, *inside) if inner.is_dir() and _is_run(inner)]:
            files = [entry.name for entry in entries if entry.is_file() and kind_of_name(entry.name)]
            instead = f"the file of labelled rows, such as {path / files[0]}" if files else "the rows"
            raise ConfigError(f"{source}: holds runs, such as {runs[0]}, and not only rows; give {instead}")


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OF_A_RUN)
