"""Rows from all their sources, each with its file and line, and the splits of a run.

No rows are kept in memory: every iteration reads the files again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO, Generic, Literal, assert_never

import numpy as np

from lstm_cli.arrays import Mask
from lstm_cli.data.aligned import read_aligned
from lstm_cli.data.columns import BlankRows
from lstm_cli.data.config import FROM, DataConfig, Paths
from lstm_cli.data.conll import read_conll
from lstm_cli.data.documents import (
    as_they_come,
    read_class_folders,
    read_documents,
    read_fasttext,
    read_lines,
    read_stream,
    rows_of_lines,
    sha256_of_folder,
)
from lstm_cli.data.files import Hashes, ends_lines_with_cr, sha256_of_file
from lstm_cli.data.find import Source, find_sources
from lstm_cli.data.hub import read_builtin, read_hub
from lstm_cli.data.json_rows import read_json
from lstm_cli.data.parquet import kept_columns as kept_parquet_columns
from lstm_cli.data.parquet import parquet_batches, read_parquet
from lstm_cli.data.rows import C, Reading, Row
from lstm_cli.data.series import time_split
from lstm_cli.data.split import folds, held_out_mask
from lstm_cli.data.tables import kept_columns, read_delimited
from lstm_cli.data.text import Text
from lstm_cli.data.ts import read_ts
from lstm_cli.errors import DataError

__all__ = ["DataConfig", "Rows", "Splits", "load_splits", "open_rows", "stream_rows", "typed_rows"]


_FEW_ROWS = 10

_FOLDERS = ("class_folders", "documents")
_WITHOUT_COLUMNS = (*_FOLDERS, "text", "fasttext", "aligned", "conllu", "conll", "ts")


class Rows(Generic[C]):
    """A sequence of rows. Every iteration reads them from their sources again, in the same order.

    At the end of each source it raises DataError if a file is not the same as in the first reading, so that nothing is
    learned, encoded or cached from other rows than `digest` says.
    """

    def __init__(
        self,
        sources: tuple[Source, ...],
        role: str,
        reading: Reading,
        on_error: Literal["raise", "row"] = "raise",
        mask: Mask | None = None,
    ) -> None:
        self._sources = sources
        self._role = role
        self._reading = reading
        self._on_error = on_error
        self._mask = mask
        self._count: int | None = None
        self._digests: Hashes = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The files, folders and data sets, globs resolved."""
        return tuple(path for source in self._sources for path in source.paths)

    @property
    def selected(self) -> Mask | None:
        """(N,) True for the selected rows of the sources, or None if all are selected."""
        return self._mask

    def __iter__(self) -> Iterator[Row[C]]:
        """Yield the rows.

        Raises DataError for an unreadable source and, unless `on_error` is "row", for an unreadable row.
        """
        kept = None if self._mask is None else self._mask.tobytes()
        expected = self._count if kept is None else len(kept)
        read = 0
        for read, row in enumerate(self._all_rows(), 1):
            if expected is not None and read > expected:  # a consumer may have room for no more
                break
            if kept is None or kept[read - 1]:
                yield row
        if expected is not None and read != expected:
            raise _changed(", ".join(self.sources))
        if kept is None:
            self._count = read

    def columns(self) -> list[str]:
        """The fields that the rows of the first source have, also if it has no row, or only a header.

        [] for formats in which every row names its own.
        """
        match self._sources[0]:
            case Source(path, "csv"):
                return kept_columns(path, self._reading, ",")
            case Source(path, "tsv"):
                return kept_columns(path, self._reading, "\t")
            case Source(_, "text" | "fasttext"):
                return ["text"] if self._reading.keep_text else []
            case _:
                return []

    def is_parquet(self) -> bool:
        """Whether all sources are Parquet files with one row per line, as `parquet_batches` needs."""
        return self._reading.a_row_a_line and all(source.kind == "parquet" for source in self._sources)

    def without_fields(self) -> Rows[C]:
        """The same rows without their fields."""
        reading = replace(self._reading, keep_fields=False)
        return Rows[C](self._sources, self._role, reading, self._on_error, self._mask)

    def parquet_schema(self) -> Any:
        """The Arrow schema of `parquet_batches`. Raises DataError if not all files have the same columns."""
        first, *others = self._sources
        _, schema = kept_parquet_columns(first.path, self._reading)
        for source in others:
            if not kept_parquet_columns(source.path, self._reading)[1].equals(schema):
                raise DataError(
                    f"{source.path}: has other columns or types than {first.path}, and a Parquet file has one "
                    f"schema; predict one at a time, or with --format jsonl"
                )
        return schema

    def parquet_batches(self) -> Iterator[Any]:
        """The columns of the rows as Arrow batches with the types of the Parquet files, in the order of the rows.

        Columns that are read as content are left out unless the rows keep them. Raises DataError if a file has changed.
        """
        import pyarrow as pa

        read = 0
        for source in self._sources:
            hashes: Hashes = {}
            places, schema = kept_parquet_columns(source.path, self._reading)
            for batch in parquet_batches(source.path, hashes):
                kept = batch.select(places).rename_columns(schema.names)
                if self._mask is not None:
                    kept = kept.filter(pa.array(self._mask[read : read + len(batch)]))
                read += len(batch)
                yield kept
            self._check_unchanged(source, hashes)

    def _all_rows(self) -> Iterator[Row[C]]:
        for source in self._sources:
            hashes: Hashes = {}
            for row in _read(source, self._role, replace(self._reading, hashes=hashes)):
                if row.error is not None and self._on_error == "raise":
                    raise DataError(f"{row.where()}: {row.error}")
                yield row
            self._check_unchanged(source, hashes)

    def _check_unchanged(self, source: Source, hashes: Hashes) -> None:
        """Raise DataError if the files that were read now have other `hashes` than when they were read first."""
        if source.kind in ("hub", "builtin"):  # loaded once in a process, so they do not change
            return
        for path in source.paths:
            now = sha256_of_folder(path, hashes) if source.kind in _FOLDERS else hashes[path]
            if not now or self._digests.setdefault(path, now) != now:
                raise _changed(path)

    def __len__(self) -> int:
        """The number of rows. The first call reads all rows to count them."""
        if self._count is None:
            self._count = sum(1 for _ in self) if self._mask is None else int(self._mask.sum())
        return self._count

    def refuse_empty(self) -> None:
        """Raise DataError if there is no row. Reads the first one."""
        if next(iter(self), None) is None:
            raise DataError(f"{', '.join(self.sources)}: no rows. Is this the right file?")

    def select(self, mask: Mask) -> Rows[C]:
        """The rows where `mask` (N,) is True, as a view."""
        if mask.dtype != np.bool_ or mask.shape != (len(self),):
            raise ValueError(f"mask must be bool of shape ({len(self)},), not {mask.dtype} of {mask.shape}")
        whole = mask.copy()
        if self._mask is not None:
            whole = self._mask.copy()
            whole[np.flatnonzero(self._mask)] = mask
        view = Rows[C](self._sources, self._role, self._reading, self._on_error, whole)
        view._digests = self._digests
        return view

    def files(self) -> dict[str, str]:
        """SHA-256 (hex) of every source by path: of a file, of all files of a folder, or of all rows of a data set."""
        for source in self._sources:
            for path in source.paths:
                if path not in self._digests:
                    self._digests[path] = (
                        self._sha256_of(source) if path == source.path else sha256_of_file(path)
                    )
        return {path: self._digests[path] for path in self.sources}

    def _sha256_of(self, source: Source) -> str:
        match source.kind:
            case "class_folders" | "documents":
                return sha256_of_folder(source.path, {})
            case "hub" | "builtin":  # there is no file to hash, so their rows are hashed
                digest = hashlib.sha256()
                for row in _read(source, self._role, self._reading):
                    digest.update(
                        json.dumps([*row.content.as_json().values(), row.fields, row.error]).encode()
                    )
                return digest.hexdigest()
            case _:
                return sha256_of_file(source.path)

    def _inputs_of(self, source: Source, files: Mapping[str, str]) -> list[Any]:
        """What determines the rows of a source. For the formats of version 0.1 its form stays, so that runs resume."""
        inputs: list[Any] = [source.kind, *(files[path] for path in source.paths)]
        if source.label is not None:
            inputs.append({"label": source.label})
        if source.names is not None:
            inputs.append("names")
        if source.kind in ("text", "fasttext") and ends_lines_with_cr(
            source.path, self._reading.config.encoding
        ):
            inputs.append("cr")  # version 0.2 read one line
        return inputs

    def digest(self) -> str:
        """SHA-256 (hex) of everything that determines these rows: contents, formats, options and selection.

        The paths of the files do not change it.
        """
        files = self.files()
        how = self._reading.config.model_dump(
            mode="json", exclude={"train", "dev", "test", "unlabelled", "format"}
        )
        # not there in version 0.2, whose digests stay
        for key, default in (
            ("delimiter", "auto"),
            ("group_column", None),
            ("words_column", "words"),
            ("tag_column", None),
            ("series", None),
            ("sequences", None),
        ):
            if how[key] == default:
                del how[key]
        inputs: dict[str, Any] = {
            "sources": [self._inputs_of(source, files) for source in self._sources],
            "how": how,
            "labelled": self._reading.labelled,
            "keep_fields": self._reading.keep_fields,
            "mask": None if self._mask is None else hashlib.sha256(self._mask.tobytes()).hexdigest(),
        }
        if self._reading.content is not Text:  # not for texts: their digest stays that of version 0.1
            inputs["content"] = self._reading.content.__name__
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _changed(source: str) -> DataError:
    return DataError(
        f"{source}: has changed since it was read first. Do not change the files while they are in use"
    )


def _read(source: Source, role: str, reading: Reading) -> Iterator[Row[Any]]:
    if source.label is None:
        return reading.content.gathered(_rows_of(source, role, reading), reading)
    return _with_label(source, source.label, role, reading)


def _with_label(source: Source, label: str, role: str, reading: Reading) -> Iterator[Row[Any]]:
    """The rows of a source that all have one label. Blank lines of plain text are skipped."""
    blank = BlankRows(source.path, reading)
    for row in _rows_of(source, role, replace(reading, labelled=False)):
        if row.error is not None:
            yield row
        elif not isinstance(row.content, Text):
            yield reading.broken(
                row.path, row.line, "the files are given by label, and this task has no labels"
            )
        elif source.kind != "text" or not blank.skip([row.content.text]):
            yield replace(row, content=Text(row.content.text, label))
    blank.say()


def _rows_of(source: Source, role: str, reading: Reading) -> Iterator[Row[Any]]:
    match source.kind:
        case "csv":
            return read_delimited(source.path, reading, ",")
        case "tsv":
            return read_delimited(source.path, reading, "\t")
        case "jsonl":
            return read_json(source.path, reading)
        case "parquet":
            return read_parquet(source.path, reading)
        case "text":
            return read_lines(source.path, reading)
        case "fasttext":
            return read_fasttext(source.path, reading)
        case "conllu" | "conll" as form:
            return read_conll(source.path, reading, form)
        case "ts":
            return read_ts(source.path, reading)
        case "aligned":
            assert source.labels is not None
            return read_aligned(source.path, source.labels, source.names, reading)
        case "class_folders":
            return read_class_folders(source.path, reading)
        case "documents":
            return read_documents(source.path, reading)
        case "hub":
            return read_hub(source.path, role, reading)
        case "builtin":
            return read_builtin(source.path, role, reading)
        case never:
            assert_never(never)


def open_rows(
    paths: Paths | Sequence[str],
    config: DataConfig,
    role: str,
    labelled: bool,
    keep_fields: bool = False,
    on_error: Literal["raise", "row"] = "raise",
    *,
    content: type[C],
    keep_text: bool = False,
) -> Rows[C]:
    """The rows of `paths` (files, folders, globs, data sets), read as the `data:` section says.

    `role` is train, dev, test, unlabelled or predict; it names the key in errors and selects the split of a data set.
    `labelled`: every row must have a label; otherwise labels are neither needed nor read. `keep_fields`: the columns
    that are not read as content stay as `Row.fields`; `keep_text`: so do those that are. `on_error` "row": a row that
    cannot be read is returned with its `error`, so that there is one row out for each row in. The labelled rows of
    train have their group if the config names a column for it. Raises DataError.
    """
    grouped = role == "train" and labelled and config.group_column is not None
    reading = Reading(config, content, labelled, keep_fields, keep_text, grouped)
    sources = find_sources(paths, role, reading)
    for source in sources if grouped else ():
        if source.kind in _WITHOUT_COLUMNS:
            raise DataError(
                f"data.group_column: names a column, {config.group_column}, and {source.path} has none; try null, or "
                f"a table with a column for the text, the label and the group"
            )
    return Rows(sources, role, reading, on_error)


def stream_rows(
    stream: BinaryIO,
    config: DataConfig,
    name: str = "stdin",
    *,
    content: type[C],
    keep_text: bool = False,
) -> Iterator[Row[C] | None]:
    """One row per line of a binary stream, in constant memory, and None where the stream pauses.

    A line that cannot be decoded has an `error`. `keep_text`: the line is the field `text`.
    """
    reading = Reading(config, content, labelled=False, keep_text=keep_text)
    try:
        number = stream.fileno()
        pauses = not stat.S_ISREG(os.fstat(number).st_mode)
    except OSError:  # it lies in memory
        pauses = False
    if not pauses:
        return read_stream(stream, name, reading)
    # a reader of its own: Python cannot end while a thread waits for its stdin
    own = io.BufferedReader(io.FileIO(number, closefd=False))
    return as_they_come(lambda: read_stream(own, name, reading))


def typed_rows(
    texts: Sequence[str], option: str, config: DataConfig, *, content: type[C], keep_text: bool
) -> Iterator[Row[C]]:
    """One row per text of an option of the command line, such as --text."""
    return rows_of_lines(texts, option, Reading(config, content, labelled=False, keep_text=keep_text))


@dataclass(frozen=True, slots=True)
class Splits(Generic[C]):
    """The training rows, the dev rows, which select the best epoch, and the test rows, if any, for the final score."""

    train: Rows[C]
    dev: Rows[C]
    test: Rows[C] | None

    def by_name(self) -> dict[str, Rows[C]]:
        """The splits by name. Without test rows there is no entry `test`."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: rows for name, rows in splits.items() if rows is not None}


def load_splits(
    config: DataConfig, seed: int, on_error: Literal["raise", "row"] = "raise", *, content: type[C]
) -> Splits[C]:
    """The splits of the `data:` section. Raises DataError.

    A fold or fraction for test is cut from train first, then a fraction for dev from the rest. `on_error` is that of
    `open_rows`.
    """
    found = {
        split: open_rows(paths, config, split, labelled=True, on_error=on_error, content=content)
        for split, paths in config.sources().items()
    }
    for rows in found.values():
        rows.refuse_empty()
    if config.group_column is not None and "dev" in found and ("test" in found or config.test is None):
        raise DataError(
            f"data.group_column: nothing reads {config.group_column}, because no rows are cut from train; try null, or "
            f"a fraction such as data.dev=0.1"
        )
    train, test, dev = found["train"], found.get("test"), found.get("dev")
    if content.empty().span() is not None:
        return _in_time(train, dev, test, config)
    for split, begin in (("dev", config.dev), ("test", config.test)):
        if isinstance(begin, str) and begin.startswith(FROM):
            raise DataError(
                f"data.{split}: {begin} cuts rows by their time, and only those of task.kind: forecast have one; try a "
                f"fraction such as data.{split}=0.1, or a file"
            )
    if config.fold is not None:
        train, test = _cut(train, _in_fold(train, *config.fold))
    elif isinstance(config.test, float):
        # where dev is cut too, a label with three texts gives one each to train, dev and test
        leave = 2 if isinstance(config.dev, float) else 1
        train, test = _cut(train, _fraction(train, config.test, seed, "test", leave))
    if isinstance(config.dev, float):
        train, dev = _cut(train, _fraction(train, config.dev, seed, "dev", 1))
    assert dev is not None
    return Splits(train, dev, test)


def _in_time(train: Rows[C], dev: Rows[C] | None, test: Rows[C] | None, config: DataConfig) -> Splits[C]:
    """The splits of rows in time: test is cut from the end of train, then dev from the end of the rest."""
    if config.fold is not None:
        raise DataError(
            f"data.test: {config.test}: folds would mix past and future; try test: 0.1, the last tenth of the time"
        )
    if test is None and config.test is not None:
        train, test = _cut_at(train, config.test, "test")
    if dev is None:
        train, dev = _cut_at(train, config.dev, "dev")
    return Splits(train, dev, test)


def _cut_at(rows: Rows[C], begin: Any, split: str) -> tuple[Rows[C], Rows[C]]:
    before, after = time_split(rows, begin.removeprefix(FROM) if isinstance(begin, str) else begin)
    for mask, what in ((before, "train"), (after, split)):
        if not mask.any():
            raise DataError(
                f"data.{split}: {begin} leaves no row for {what}: a row needs a whole horizon on its side of the cut"
            )
    rows._count = len(before)
    return rows.select(before), rows.select(after)


def _cut(rows: Rows[C], held_out: Mask) -> tuple[Rows[C], Rows[C]]:
    """The rows that stay, and the rows that the mask `held_out` (N,) takes out."""
    rows._count = len(held_out)
    return rows.select(~held_out), rows.select(held_out)


def _fraction(rows: Rows[C], fraction: float, seed: int, split: str, leave: int) -> Mask:
    held_out = held_out_mask(rows, fraction, seed, leave=leave)
    if not held_out.any():
        found = dict.fromkeys(row.content.stratum() for row in rows)
        if len(found) == len(held_out) > _FEW_ROWS:
            shown = " and ".join(f'"{label}"' for label in islice(found, 2))
            raise DataError(
                f"{', '.join(rows.sources)}: every one of the {len(held_out):,} rows has a label of its own, such as "
                f"{shown}, so these are no classes. Is data.label_column ({rows._reading.config.label_column}) the "
                f"right column? If it holds numbers, replace ranges of them by names"
            )
        if (column := rows._reading.config.group_column) is not None:
            groups = {row.group for row in rows}
            raise DataError(
                f"data.{split}: no label of the {len(held_out)} training rows is in more than {leave} of the "
                f"{len(groups)} groups (data.group_column: {column}), so no group can be held out. Add rows of other "
                f"groups, set data.group_column=null, or give {split} a file of its own"
            )
        raise DataError(
            f"data.{split}: no label of the {len(held_out)} training rows has more than {leave} different "
            f"text{'s' if leave > 1 else ''}, so none can be held out. Add rows, or give {split} a file of its own"
        )
    return held_out


def _together(rows: Rows[Any]) -> str:
    """What is never divided between two sides of a cut."""
    column = rows._reading.config.group_column
    return "copies of a text" if column is None else f"rows of one {column}"


def _in_fold(rows: Rows[C], number: int, count: int) -> Mask:
    fold_of = folds(rows, count)
    if empty := count - len(np.unique(fold_of[fold_of > 0])):
        raise DataError(
            f"data.test: {count} folds of {len(fold_of)} training rows leave {empty} folds without a row "
            f"(all {_together(rows)} are in one fold). Try fewer folds"
        )
    in_fold: Mask = fold_of == number
    return in_fold
