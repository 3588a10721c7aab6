"""A repaired copy of the training rows, and a log of every change. The original files are never changed."""

from __future__ import annotations

import csv
import glob
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

import numpy as np

from lstm_cli.arrays import Mask
from lstm_cli.data.columns import find_column
from lstm_cli.data.config import paths_in
from lstm_cli.data.duplicates import first_of
from lstm_cli.data.durable import atomic_writer
from lstm_cli.data.rows import Content, Row
from lstm_cli.data.sources import DataConfig, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.lint.labels import fold
from lstm_cli.lint.scan import hash_of
from lstm_cli.lint.text import check_is_text, repaired

KEPT, UNREADABLE, EMPTY, HELD_OUT, CONFLICT, DUPLICATE = range(6)
_DROPPED = (
    "",
    "cannot be read",
    "empty text",
    "also in dev or test",
    "text with several labels",
    "copy of an earlier row",
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """How many rows were read and written, and the number of changes of each kind."""

    read: int
    written: int
    changes: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What happens to each row (KEPT, or why it is dropped), the spelling of each label, and the columns to write."""

    fates: bytes
    spelling: dict[str, str]
    columns: list[str]


def check_target(out: Path, config: DataConfig, content: type[Content]) -> None:
    """Raise ConfigError if the rows hold no text, if `out` cannot be written, or if `data:` would read `out` too.

    `content` is the class of the contents of the rows.
    """
    check_is_text(content, "--fix")
    faults = []
    if out.suffix not in (".csv", ".jsonl"):
        faults.append(
            f"--fix {out}: cannot write a format with the ending {out.suffix!r}; try .csv or .jsonl"
        )
    if not out.parent.is_dir():
        faults.append(f"--fix {out}: there is no folder {out.parent}")
    if out.suffix == ".csv" and config.quoting == "none":
        faults.append(f"--fix {out}: data.quoting is none, but a text can hold a comma; try .jsonl")
    faults += [
        f"--fix {path}: exists already; name a new file"
        for path in (out, log_path(out))
        if path.exists() or path.is_symlink()
    ]
    for key, named in config.sources().items():
        for path in paths_in(named):
            if glob.has_magic(path) and fnmatch(str(out.absolute()), str(Path(path).absolute())):
                faults.append(f"--fix {out}: data.{key} would read it too ({path}); name a file elsewhere")
            elif Path(path).is_dir() and out.resolve().is_relative_to(Path(path).resolve()):
                faults.append(f"--fix {out}: is inside data.{key} ({path}); name a file elsewhere")
    if faults:
        raise ConfigError(faults)


def log_path(out: Path) -> Path:
    """The path of the log of changes."""
    return out.with_name(f"{out.name}.log.jsonl")


def fix(config: DataConfig, out: Path, content: type[Content]) -> Fixed:
    """Write the repaired rows to `out` and the changes to its log. Each file appears complete or not at all.

    It repairs mojibake, control characters and `<br />`. A label gets the spelling of dev and test if they agree on
    one, else the most frequent spelling in train. It drops rows that cannot be read, empty rows, rows whose text is
    also in dev or test, all rows of a text with several labels, and copies. All decisions depend on the repaired texts,
    so fixing a fixed file changes nothing.

    Raises ConfigError if the rows hold no text. Raises DataError if fewer than two labels would be left, or if
    data.encoding lacks a character.
    """
    check_is_text(content, "--fix")
    plan = _plan(config)
    changes: Counter[str] = Counter()
    try:
        with (
            atomic_writer(out, config.encoding, shared=True) as kept,
            atomic_writer(log_path(out), "utf-8", "backslashreplace", shared=True) as log,
        ):
            write = _writer(kept, out, config, plan.columns)
            for row, fate in zip(_train(config), plan.fates, strict=True):
                record, changed = _record(row, config, plan)
                if fate == KEPT:
                    write(record)
                else:
                    changed = [(_DROPPED[fate], row.error or _texts(row, config)[0], None)]
                for what, before, after in changed:
                    changes[what] += 1
                    line = {"where": row.where(), "what": what, "before": before, "after": after}
                    log.write(json.dumps(line, ensure_ascii=False) + "\n")
    except UnicodeEncodeError as fault:
        raise DataError(
            f"--fix {out}: {config.encoding} (data.encoding) cannot encode the repaired character "
            f"{fault.object[fault.start]!r}; try a name that ends in .jsonl"
        ) from None
    return Fixed(len(plan.fates), plan.fates.count(KEPT), dict(changes))


def _train(config: DataConfig) -> Iterable[Row[Text]]:
    """The training rows with all columns.

    If there are several text columns, the first is the text, the others are fields.
    """
    one_text = config.model_copy(update={"text_column": config.text_columns[0]})
    return open_rows(
        config.train, one_text, "train", labelled=True, keep_fields=True, on_error="row", content=Text
    )


def _texts(row: Row[Text], config: DataConfig) -> list[str]:
    texts = [row.content.text]
    names, values = list(row.fields or ()), list((row.fields or {}).values())
    for name in config.text_columns[1:]:
        place = find_column(names, name)
        if place is None and row.error is None:
            raise DataError(f'{row.where()}: no column "{name}". Set data.text_column')
        texts.append("" if place is None else values[place.at])
    return texts


def _plan(config: DataConfig) -> _Plan:
    held_out, spelled = _held_out(config)
    raw, clean, labels = array("Q"), array("Q"), array("q")
    fates, names = bytearray(), Counter[str]()
    columns = dict.fromkeys((*config.text_columns, config.label_column))
    for row in _train(config):
        texts = _texts(row, config)
        whole = config.join.join(repaired(text)[0] for text in texts)
        fates.append(UNREADABLE if row.content.label is None else KEPT if whole.strip() else EMPTY)
        raw.append(hash_of(config.join.join(texts).encode()))
        clean.append(hash_of(whole.encode()))
        columns |= dict.fromkeys(row.fields or ())
        label = row.content.label or ""
        names[label] += 1
        labels.append(hash_of(fold(label).encode()) >> 1)
    fate, keys = np.frombuffer(fates, np.uint8).copy(), np.frombuffer(clean, np.uint64)
    in_held_out: Mask = np.isin(np.frombuffer(raw, np.uint64), held_out) | np.isin(keys, held_out)
    fate[(fate == KEPT) & in_held_out] = HELD_OUT
    rows = np.flatnonzero(fate == KEPT)
    first, of = first_of(keys[rows]), np.frombuffer(labels, np.int64)[rows]
    contradicts = np.bincount(first, of != of[first], len(rows))[first] > 0
    fate[rows[first != np.arange(len(rows))]] = DUPLICATE
    fate[rows[contradicts]] = CONFLICT
    if len(np.unique(of[fate[rows] == KEPT])) < 2:
        raise DataError("fewer than two labels would be left; correct the first findings by hand")
    return _Plan(fate.tobytes(), _spelling(names, spelled), list(columns))


def _held_out(config: DataConfig) -> tuple[Any, set[str]]:
    """(M,) uint64 hashes of the texts of dev and test, unchanged and repaired, and their labels."""
    hashes, spelled = array("Q"), set()
    for role, paths in config.sources().items():
        if role != "train":
            for row in open_rows(paths, config, role, labelled=True, on_error="row", content=Text):
                if row.content.label is not None and row.content.text.strip():
                    hashes.append(hash_of(row.content.text.encode()))
                    hashes.append(hash_of(repaired(row.content.text)[0].encode()))
                    spelled.add(row.content.label)
    return np.frombuffer(hashes, np.uint64), spelled


def _spelling(names: Counter[str], spelled: set[str]) -> dict[str, str]:
    """The spelling for each label of train: that of dev and test if they use only one, else the most frequent."""
    groups = defaultdict(list)
    for name in names:
        groups[fold(name)].append(name)
    chosen: dict[str, str] = {}
    for folded, group in groups.items():
        used = [name for name in spelled if fold(name) == folded]
        best = used[0] if len(used) == 1 else min(group, key=lambda name: (-names[name], name))
        chosen |= dict.fromkeys(group, best)
    return chosen


def _record(
    row: Row[Text], config: DataConfig, plan: _Plan
) -> tuple[dict[str, str], list[tuple[str, str, str | None]]]:
    """The columns of the row to write, and (what, before, after) of each change."""
    record: dict[str, str] = {}
    changes: list[tuple[str, str, str | None]] = []
    for name, text in zip(config.text_columns, _texts(row, config), strict=True):
        record[name], what = repaired(text)
        if what:
            changes.append((" and ".join(what), text, record[name]))
    label = row.content.label or ""
    record[config.label_column] = plan.spelling[label]
    if plan.spelling[label] != label:
        changes.append(("label", label, plan.spelling[label]))
    return record | {k: v for k, v in (row.fields or {}).items() if k not in record}, changes


def _writer(
    stream: IO[str], out: Path, config: DataConfig, columns: list[str]
) -> Callable[[dict[str, str]], object]:
    """A function that writes one row so that the data: section can read it.

    A CSV file gets a header unless data.columns names the columns.
    """
    if out.suffix == ".jsonl":
        ascii_only = config.encoding.lower().replace("_", "-") not in ("utf-8", "utf8")
        return lambda record: stream.write(json.dumps(record, ensure_ascii=ascii_only) + "\n")
    delimiter = "," if config.delimiter == "auto" else config.delimiter
    table = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    names = columns if config.columns is None else config.columns
    if config.columns is None:
        table.writerow(names)
    return lambda record: table.writerow([record.get(name, "") for name in names])
