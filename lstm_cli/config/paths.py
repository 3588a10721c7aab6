"""Paths in a config: relative ones are looked up in the current folder, then beside the config."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from lstm_cli.config.faults import KeyPath
from lstm_cli.data.config import FOLD, FROM
from lstm_cli.data.find import names_rows

PATH_KEYS: tuple[KeyPath, ...] = (
    *(("data", name) for name in ("train", "dev", "test", "unlabelled")),
    ("task", "encoder", "init_from"),
)
"""The keys that name files or folders to read."""
_PRETRAIN = "pretrain"


def names_files(value: object) -> bool:
    """Whether the value of one of `PATH_KEYS` names files or data sets, and not a fraction, a fold or a keyword."""
    match value:
        case str():
            return value != _PRETRAIN and not value.startswith((FOLD, FROM))
        case list() | dict():
            return True
    return False


def at(content: Any, path: Sequence[str]) -> Any:
    """The value of a key, or None if it is not there."""
    for part in path:
        content = content.get(part) if isinstance(content, dict) else None
    return content


def put(content: Any, path: Sequence[str], value: object) -> None:
    """Set a key whose sections exist."""
    at(content, path[:-1])[path[-1]] = value


def places_beside(source: str, run_dir: object) -> list[Path]:
    """Where the files of a config may lie, besides the current folder.

    For a YAML file it is its own folder. For a run's folder it is first the folder in which the training was started:
    `run_dir` (runs/reviews) in the run's config says how far above the run it is, wherever the project was moved to.
    """
    if source == "-":
        return []
    path = Path(source)
    if not path.is_dir():
        return [path.parent]
    is_below = (
        isinstance(run_dir, str) and not Path(run_dir).is_absolute() and ".." not in Path(run_dir).parts
    )
    up = len(Path(run_dir).parts) if isinstance(run_dir, str) and is_below else 0
    root = Path(os.path.normpath(path.joinpath(*[".."] * up)))
    return [root, path] if up else [path]


def find_beside(raw: Any, places: Collection[Path], typed: Iterable[KeyPath]) -> None:
    """Replace the paths in `raw` that do not exist in the current folder by those that exist in one of the `places`.

    Keys at or below `typed` come from the command line: their paths are those of the current folder.
    """
    for path in PATH_KEYS:
        value = at(raw, path)
        if places and names_files(value) and not any(path[: len(key)] == key for key in typed):
            put(raw, path, _found(value, places))


def _found(value: Any, places: Collection[Path]) -> Any:
    match value:
        case list():
            return [_found(one, places) for one in value]
        case dict():
            return {key: _found(one, places) for key, one in value.items()}
        case str() if not names_rows(value) and not _exists(value):
            return next((str(place / value) for place in places if _exists(str(place / value))), value)
    return value


def _exists(path: str) -> bool:
    try:
        whole = Path(path).expanduser()
        return whole.exists() or (glob.has_magic(path) and bool(glob.glob(str(whole), recursive=True)))  # noqa: PTH207
    except (OSError, ValueError, RuntimeError):  # no such home folder, a null byte
        return False
