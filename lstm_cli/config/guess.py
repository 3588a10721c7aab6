"""A config for data that has none: which columns hold the text and the label, which preset fits, and why.

In doubt it asks: an error names the option that decides. It looks at the first rows only.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from lstm_cli.config.folder import refuse_by_names, refuse_unreadable
from lstm_cli.config.guess_columns import (
    MOST_LABELS,
    MOST_ROWS,
    find_columns,
    first_error,
    has_columns,
    without_spaces,
)
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.config.presets import preset_path
from lstm_cli.config.source import is_data, refuse_unread
from lstm_cli.data.dense import Dense
from lstm_cli.data.find import kind_of_name
from lstm_cli.data.hub import BUILTIN, HUB
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import open_rows
from lstm_cli.data.tagged import Words
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.metrics.spans import scheme_of

_ROWS_WITH_TEST = 1_000
_SHOWN_LABELS = 5
_FEWEST_ROWS = 10
_WORD = re.compile(r"\w+")
_MANY_UNKNOWN = 0.2
"""Fraction of the words of new rows that no training row has twice, from which byte pairs are the better tokens."""
_LONG_TEXT = 100
_FEW_ROWS = 1_500
_FOR_FEW_ROWS = {"train": {"batch_size": 8, "epochs": 15}, "pretrain": {"batch_size": 8}}
"""Below so many rows of short texts the presets make too few steps: docs/presets.md has what more steps gain."""


_LONG_SEQUENCE = 100
_FOR_SEQUENCES: dict[str, Any] = {
    "noise": 0.0,
    "pooling": "mean+max",
    "dropout": 0.4,
    "encoder": {"embedding_size": 64, "hidden_size": 64},
}
_FOR_LONG_SEQUENCES = {"scaling": "sequence", "frame_size": 128, "frame_step": 32}
"""What differs from preset sessions, whose 16 numbers a step are nearly all noise (docs/tasks/sequence.md)."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A config as a mapping, and what was guessed, in sentences."""

    content: dict[str, Any]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What need not be guessed: the columns of the text and the label, and the preset."""

    text: str | None = None
    label: str | None = None
    preset: str | None = None


NOTHING_GIVEN = Given()


def config_for(
    source: str | Mapping[str, Any],
    given: Given,
    say: Callable[[str], None],
    overrides: Sequence[str] = (),
    run_dir: str | None = None,
    *,
    trains: bool = False,
) -> RunConfig:
    """`load_config` for a config, or for data, for which the config is guessed; `say` gets what and why.

    Raises ConfigError, and DataError if data cannot be read.
    """
    if isinstance(source, str):
        refuse_unread(source)
    if isinstance(source, str) and is_data(source):
        guessed = guess(source, given, [one for one in overrides if one.startswith("data.")])
        for sentence in guessed.said:
            say(sentence)
        source = guessed.content
    elif options := [f"--{name}" for name, value in asdict(given).items() if value is not None]:
        raise ConfigError(
            f"{', '.join(options)}: for data without a config, but {source} is a config; try --set "
            f"data.text_column=…, data.label_column=…"
        )
    return load_config(source, overrides, run_dir, trains=trains)


def guess(source: str, given: Given, overrides: Sequence[str] = ()) -> Guess:
    """A config that trains on the rows of `source`, which are read as the `overrides` of `data:` say.

    Raises DataError if the rows cannot be read, ConfigError if it is in doubt.
    """
    if kind_of_name(source) in ("conllu", "conll"):
        return _guess_tagger(source, given, overrides)
    if kind_of_name(source) == "ts":
        return _guess_sequences(source, given, overrides)
    data: dict[str, Any] = {"train": source}
    reading = load_config({"data": data}, overrides).data
    refuse_by_names(source, reading)
    said = []
    if has_columns(source):
        try:
            found = find_columns(source, given.text, given.label, reading)
        except ConfigError:
            if given.text or given.label or not _has_tags(source, overrides):
                raise
            return _guess_tagger(source, given, overrides)
        data |= {"text_column": found.text, "label_column": found.label}
        said.append(
            f"{source}: the text is column {found.text} ({found.text_why}), the label column {found.label} "
            f"({found.label_why})"
        )
    elif given.text or given.label:
        raise ConfigError(f"--text, --label: {source} has no columns; leave them out")
    columns = {name: value for name, value in data.items() if name != "train"}
    rows = open_rows(
        source, reading.model_copy(update=columns), "train", labelled=True, on_error="row", content=Text
    )
    read = list(islice(rows, MOST_ROWS))
    refuse_unreadable(source, read)
    sample = [row for row in read if row.error is None]
    if not sample:
        raise DataError(first_error(source, read))
    _refuse_labels(source, sample)
    said.append(f"labels: {_shown_labels(sample)}")
    name, why = _preset(sample) if given.preset is None else (given.preset, "as asked")
    said.append(f"preset {name}: {why}")
    content = yaml.safe_load(preset_path(name).read_text("utf-8"))
    num_rows = len(rows)
    if num_rows < _FEW_ROWS and name != "documents":
        for section, keys in _FOR_FEW_ROWS.items():
            content[section] = {**content.get(section, {}), **keys}
        batch, epochs = _FOR_FEW_ROWS["train"].values()
        said.append(f"{num_rows:,} rows are few: batches of {batch} rows and {epochs} epochs make more steps")
    fraction = 0.1 if num_rows >= _ROWS_WITH_TEST else None
    if fraction:
        said.append(f"of {num_rows:,} rows a tenth is held out for the final score (data.test: {fraction})")
    else:
        said.append(
            f"{num_rows:,} rows are too few to hold some out for a final score; --folds 10 scores every row"
        )
    content["data"] = {**data, "dev": 0.1, "test": fraction}
    content.setdefault("run", {})["dir"] = f"runs/{_stem(source)}"
    return Guess(content, tuple(said))


def _has_tags(source: str, overrides: Sequence[str]) -> bool:
    """Whether one of the first rows holds a list of words and a list of tags."""
    reading = load_config({"data": {"train": source}, "task": {"kind": "tag"}}, overrides).data
    rows = open_rows(source, reading, "train", labelled=True, on_error="row", content=Words)
    try:
        return any(row.error is None for row in islice(rows, _FEWEST_ROWS))
    except DataError:  # a table without these columns
        return False


def _guess_tagger(source: str, given: Given, overrides: Sequence[str]) -> Guess:
    """The config of a tagger for sentences with a tag for each word. Raises as `guess`."""
    if given.text or given.label:
        raise ConfigError(
            f"--text, --label: {source} has words and tags; leave them out, or name the tags with --set "
            f"data.tag_column=…"
        )
    name = given.preset or "tagger"
    content = yaml.safe_load(preset_path(name).read_text("utf-8"))
    if content["task"].get("kind") != "tag":
        raise ConfigError(f"--preset {name}: does not tag words, and {source} has words and tags; try tagger")
    reading = load_config({"data": {"train": source}, "task": {"kind": "tag"}}, overrides).data
    rows = open_rows(source, reading, "train", labelled=True, content=Words)
    sample = [row.content.tags or () for row in islice(rows, MOST_ROWS)]
    if len(sample) < _FEWEST_ROWS:
        raise DataError(
            f"{source}: {len(sample)} sentences are too few to learn from; give {_FEWEST_ROWS} or more"
        )
    scheme = scheme_of(sample)
    counts = Counter(tag for tags in sample for tag in tags)
    shown = ", ".join(f"{tag} ({count:,})" for tag, count in counts.most_common(_SHOWN_LABELS))
    said = [f"{source}: sentences with {len(counts)} tags: {shown}", f"preset {name}: each word has a tag"]
    if scheme is not None:
        content["train"]["select_by"] = "span_f1"
        said.append(f"the tags mark spans in the scheme {scheme}, so span F1 decides which epoch is kept")
    content["data"] = {"train": source, "dev": 0.1, "test": 0.1}
    content.setdefault("run", {})["dir"] = f"runs/{_stem(source)}"
    return Guess(content, tuple(said))


def _guess_sequences(source: str, given: Given, overrides: Sequence[str]) -> Guess:
    """The config of a classifier of sequences of numbers. Raises as `guess`."""
    if given.text or given.label:
        raise ConfigError(f"--text, --label: {source} has no columns; leave them out")
    name = given.preset or "sessions"
    content = yaml.safe_load(preset_path(name).read_text("utf-8"))
    if content["task"].get("kind") != "sequence":
        raise ConfigError(
            f"--preset {name}: does not classify sequences of numbers, as {source} has; try sessions"
        )
    reading = load_config({"data": {"train": source}, "task": {"kind": "sequence"}}, overrides).data
    rows = open_rows(source, reading, "train", labelled=True, content=Dense)
    sample = list(islice(rows, MOST_ROWS))
    if len(sample) < _FEWEST_ROWS:
        raise DataError(
            f"{source}: {len(sample)} sequences are too few to learn from; give {_FEWEST_ROWS} or more"
        )
    lengths = sorted(len(row.content.values) for row in sample)
    counts = Counter(row.content.label for row in sample)
    shown = ", ".join(f"{label} ({count:,})" for label, count in counts.most_common(_SHOWN_LABELS))
    said = [
        f"{source}: sequences of {lengths[0]:,} to {lengths[-1]:,} steps, {len(counts)} labels: {shown}",
        f"preset {name}: each sequence has a label",
    ]
    content["task"] |= _FOR_SEQUENCES
    content["train"] |= {"select_by": "macro_f1", "batch_size": 16, "epochs": 60, "patience": 20}
    content["train"] |= {"weight_decay": 0.01, "learning_rate": 3e-3}
    if lengths[len(lengths) // 2] > _LONG_SEQUENCE:
        content["task"] |= _FOR_LONG_SEQUENCES
        content["task"]["encoder"] = content["task"]["encoder"] | {"kernel_size": 32}
        said.append("the sequences are long, so the network reads frames of 128 steps, one every 32 steps")
    content["data"] = {"train": source, "dev": 0.15, "test": 0.15 if len(sample) >= _ROWS_WITH_TEST else None}
    content.setdefault("run", {})["dir"] = f"runs/{_stem(source)}"
    return Guess(content, tuple(said))


def _refuse_labels(source: str, sample: Sequence[Row[Text]]) -> None:
    """Raise DataError or ConfigError if the labels are none."""
    labels = [row.content.label or "" for row in sample]
    if len(labels) < _FEWEST_ROWS:
        raise DataError(
            f"{source}: {len(labels)} rows that can be read are too few to learn from; give {_FEWEST_ROWS} or more"
        )
    different = set(labels)
    if len(different) == 1 and len(labels) < MOST_ROWS:
        raise DataError(
            f"{source}: all {len(labels):,} rows have the label {labels[0][:40]!r}; give rows of two classes or more"
        )
    numbers = [label for label in different if re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", label)]
    if len(numbers) == len(different) > 20:
        raise ConfigError(
            f"{source}: the labels look like numbers that were measured ({len(different)} different ones, such as "
            f"{', '.join(sorted(different)[:3])}), not like classes; name the column of the label with --label"
        )
    if len(different) > max(MOST_LABELS, len(labels) // 5) or len(different) > len(labels) / 2:
        raise ConfigError(
            f"{source}: {len(different):,} different labels in {len(labels):,} rows, such as "
            f"{min(different, key=len)[:40]!r}: too many for classes; name the column of the label with --label"
        )


def _shown_labels(sample: Sequence[Row[Text]]) -> str:
    counts = Counter(row.content.label for row in sample)
    shown = ", ".join(f"{label} ({count:,})" for label, count in counts.most_common(_SHOWN_LABELS))
    more = f" and {len(counts) - _SHOWN_LABELS} more" if len(counts) > _SHOWN_LABELS else ""
    return f"{shown}{more}" + (f", of the first {len(sample):,} rows" if len(sample) == MOST_ROWS else "")


def _preset(sample: Sequence[Row[Text]]) -> tuple[str, str]:
    texts = [row.content.text for row in sample]
    if without_spaces("".join(text[:500] for text in texts[:1_000])):
        return "multilingual", "the script puts no spaces between words"
    words = [_WORD.findall(text.casefold()) for text in texts]
    length = median(map(len, words))
    if length > _LONG_TEXT:
        return "documents", f"long texts, half of them above {length:.0f} words"
    unknown = _unknown(words)
    why = f"half of the texts are above {length:.0f} words, and {unknown:.0%} of the words of new rows are unknown"
    return ("multilingual" if unknown > _MANY_UNKNOWN else "sentences"), why


def _unknown(words: Sequence[Sequence[str]]) -> float:
    """The fraction of the words of every tenth text that the other texts do not have twice."""
    counts = Counter(word for i, one in enumerate(words) if i % 10 for word in one)
    new = [word for i, one in enumerate(words) if i % 10 == 0 for word in one]
    return sum(counts[word] < 2 for word in new) / max(len(new), 1)


def _stem(source: str) -> str:
    """The name of the run for this data."""
    if source.startswith((HUB, BUILTIN)):
        name = source.rpartition(":")[2]
    else:
        parts = [part for part in Path(source).parts if Path(source).exists() or not glob.has_magic(part)]
        name = parts[-1] if parts else ""
    return re.sub(r"[^\w-]+", "-", name.partition(".")[0] or "data").strip("-") or "data"
