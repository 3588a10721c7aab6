"""Rows that do not come from the user's files: data sets of the Hugging Face Hub, and the built-in corpus."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from lstm_cli.data.columns import Columns
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError, LstmclsError, did_you_mean

HUB = "hub:"
BUILTIN = "builtin:"
_SPLIT_OF_ROLE = {"train": "train", "dev": "validation", "test": "test", "unlabelled": "train"}
_BATCH_ROWS = 1000
_MAX_REASON_CHARS = 1000
_FORM = "the form is hub:OWNER/NAME[:CONFIG][@SPLIT], or hub:FOLDER for a folder in the layout of the Hub"
_ON_THE_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def read_hub(source: str, role: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of `hub:OWNER/NAME[:CONFIG][@SPLIT]`. `line` is the row's number; class numbers become class names.

    The default split follows from the role: train for train and unlabelled, validation for dev, test for any other.
    Instead of OWNER/NAME there can be a folder in the layout of the Hub. Raises DataError for any other name, and if
    the data set cannot be loaded or lacks a column.
    """
    name, _, split = source.removeprefix(HUB).partition("@")
    name, _, config = name.partition(":")
    dataset = _load(source, name, config or None, split or _SPLIT_OF_ROLE.get(role, "test"))
    path = f"{HUB}{name}{config and f':{config}'}@{dataset.split}"
    columns = Columns(dataset.column_names, reading, path, path)
    names = [getattr(dataset.features[column], "names", None) for column in dataset.column_names]
    line = 0
    batches = dataset.iter(batch_size=_BATCH_ROWS)
    while True:
        with _naming(f"{path}: cannot be read after row {line}"):
            batch = next(batches, None)
        if batch is None:
            return
        for row in zip(*batch.values(), strict=True):
            line += 1
            yield columns.row(
                [_class_name(value, known) for value, known in zip(row, names, strict=True)], line
            )


def _class_name(value: object, names: list[str] | None) -> object:
    """The name of a class; None for -1, which data sets use for a label that they do not publish."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


@functools.cache
def _load(source: str, name: str, config: str | None, split: str) -> Any:
    """The `datasets.Dataset`. It is memory-mapped, so keeping it takes no memory."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    with _naming(f"{source}: split {split} cannot be loaded"):
        return datasets.load_dataset(_repository(source, name), config, split=split)


def _repository(source: str, name: str) -> str:
    """The absolute path of a folder, or OWNER/NAME.

    A bare word is neither: `datasets` takes it for one of its builders (csv, sql, webdataset, …), which reads whatever
    lies in the working folder. Up to 5.1 the builder called pandas unpickled it.
    """
    if name and Path(name).is_dir():
        return str(Path(name).absolute())
    if _ON_THE_HUB.fullmatch(name):
        return name
    raise DataError(f"{source}: {name!r} is neither OWNER/NAME nor a folder; {_FORM}")


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn whatever the loader raises into a DataError: a data set is a stranger's, and there are dozens of readers."""
    try:
        yield
    except LstmclsError:
        raise
    except Exception as fault:
        reason = " ".join(str(fault).split()).rstrip(".")[:_MAX_REASON_CHARS] or type(fault).__name__
        raise DataError(f"{what}: {reason}; {_FORM}") from fault


def read_builtin(source: str, role: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a built-in corpus; `line` is the row's number. The demand is one series for every role."""
    from lstm_cli.data import builtin

    if source == f"{BUILTIN}demand":
        from lstm_cli.data.builtin_demand import demand

        columns = Columns(["ds", "y"], reading, source, source)
        yield from (columns.row(point, line) for line, point in enumerate(demand(), 1))
        return
    role = "train" if role == "unlabelled" else role
    split = cast(Literal["train", "dev", "test"], role if role in _SPLIT_OF_ROLE else "test")
    if source == f"{BUILTIN}sessions":
        from lstm_cli.data.builtin_sessions import sessions
        from lstm_cli.data.dense import Dense

        if reading.content is not Dense:
            raise DataError(
                f"{source}: sequences of numbers, which this task does not read; try task.kind: sequence"
            )
        for line, (values, label) in enumerate(sessions(split), 1):
            yield Row(Dense(values, label if reading.labelled else None), f"{source}@{split}", line)
        return
    for line, (text, label) in enumerate(builtin.reviews(split), 1):
        yield reading.row_of_text(text, label, f"{source}@{split}", line)


def check_builtin(source: str) -> None:
    """Raise DataError if `source` is not the name of a built-in corpus."""
    known = [f"{BUILTIN}{name}" for name in ("reviews", "demand", "sessions")]
    if source not in known:
        raise DataError(
            f"{source}: no such built-in corpus (have: {', '.join(known)}).{did_you_mean(source, known)}"
        )
