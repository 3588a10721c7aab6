"""Keys that contradict each other, and keys that nothing reads."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from lstm_cli.config.faults import KeyPath
from lstm_cli.training.config import PretrainConfig

if TYPE_CHECKING:
    from lstm_cli.config.load import RunConfig


def conflicts(config: RunConfig) -> Iterator[tuple[KeyPath, str]]:
    """(path of the key, message) for each key that contradicts another key."""
    for path, message in config.task.conflicts():
        yield ("task", *path), message
    if config.task.init_from is None:
        for key, neutral in (("pretrained_rate", 1.0), ("frozen_epochs", 0.0)):
            if (value := getattr(config.train, key)) != neutral:
                yield (
                    ("train", key),
                    f"applies to pretrained weights, but task.encoder.init_from is not set, got {value}; "
                    f"try {neutral}, or set task.encoder.init_from to a run of lstmcls pretrain",
                )
    if config.data.series is not None and config.task.kind != "forecast":
        yield (
            ("data", "series"),
            f"is read by task.kind: forecast, got task.kind: {config.task.kind}; leave it out",
        )
    sequences = config.data.sequences
    if sequences is not None and config.task.kind != "sequence":
        yield (
            ("data", "sequences"),
            f"is read by task.kind: sequence, got task.kind: {config.task.kind}; leave it out",
        )
    elif sequences is not None and bool(sequences.value_columns) != (sequences.id_column is not None):
        missing = "id_column" if sequences.value_columns else "value_columns"
        yield (
            ("data", "sequences", missing),
            "a long table needs both value_columns, the numbers of a step, and id_column, its sequence; set it",
        )
    if config.data.group_column is not None and config.task.kind == "forecast":
        yield (
            ("data", "group_column"),
            f"task.kind: forecast cuts train by time alone, got {config.data.group_column}; try null",
        )
    if config.run.precision == "fp16" and config.run.device == "cpu":
        yield ("run", "precision"), "fp16 needs a GPU and run.device is cpu; try bf16 or auto"


def _idle(config: RunConfig) -> Iterator[tuple[KeyPath, KeyPath, str]]:
    """Each key that is changed and idle, with the key that would have it read, and what to set that to."""
    groups: list[tuple[bool, tuple[KeyPath, ...], KeyPath, str]] = [
        (
            config.task.kind == "classify",
            (("data", "text_column"),),
            ("task", "kind"),
            "classify",
        ),
        (
            config.task.kind not in ("forecast", "tag"),
            (("data", "label_column"),),
            ("task", "kind"),
            "classify",
        ),
        (
            config.train.schedule == "plateau",
            (("train", "plateau_patience"), ("train", "plateau_factor")),
            ("train", "schedule"),
            "plateau",
        ),
        (
            config.task.init_from is not None,
            (*(("pretrain", name) for name in PretrainConfig.model_fields), ("data", "unlabelled")),
            ("task", "encoder", "init_from"),
            "pretrain, or to the folder of lstmcls pretrain",
        ),
        (
            config.task.kind == "tag",
            (("data", "words_column"), ("data", "tag_column")),
            ("task", "kind"),
            "tag",
        ),
        (
            len(config.data.text_columns) > 1,
            (("data", "join"),),
            ("data", "text_column"),
            "a list of columns",
        ),
    ]
    for is_read, paths, reader, value in groups:
        for section, name in () if is_read else paths:
            field = type(getattr(config, section)).model_fields[name]
            if getattr(getattr(config, section), name) != field.default:
                yield (section, name), reader, value


def unread(config: RunConfig, typed: Container[KeyPath]) -> Iterator[tuple[KeyPath, str]]:
    """(path, message) for each key that is not at its default and that no training of this config reads.

    `typed` are the keys given by --set. A --set that turns a part off may leave the keys of that part in the file.
    """
    for path, reader, value in _idle(config):
        if path in typed or reader not in typed:
            yield (
                path,
                f"nothing in this training reads it; leave it out, or set {'.'.join(reader)} to {value}",
            )
