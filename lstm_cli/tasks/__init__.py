"""The list of tasks. To add a task, write its file and add its config to `TASKS`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

from lstm_cli.errors import CheckpointError
from lstm_cli.tasks.base import Task, TaskConfig
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.tasks.forecast import ForecastConfig
from lstm_cli.tasks.sequence import SequenceConfig
from lstm_cli.tasks.tag import TagConfig

TASKS: list[type[TaskConfig]] = [ClassifyConfig, TagConfig, ForecastConfig, SequenceConfig]
"""The configs of all kinds of task. The first one is the default of `task.kind`."""


def kind_of(task: type[TaskConfig]) -> str:
    """The value of `task.kind` that selects this config."""
    return str(get_args(task.model_fields["kind"].annotation)[0])


def load_task(files: Mapping[str, bytes]) -> Task:
    """Load a task from the `files` of a checkpoint. Raises CheckpointError if they do not hold a known task."""
    try:
        kind = json.loads(files["config.json"])["kind"]
    except (KeyError, ValueError, TypeError, RecursionError) as fault:
        raise CheckpointError(f"config.json: does not name the kind of task ({fault})") from None
    if kind == "pretrain":
        raise CheckpointError(
            "config.json: a language model of `lstmcls pretrain`, which cannot be evaluated or predict; start a "
            "training from it with --set task.encoder.init_from=THIS_RUN"
        )
    kinds = {kind_of(task): task for task in TASKS}
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError(f"config.json: task kind {kind!r:.100} is not known (have: {', '.join(kinds)})")
    try:
        return kinds[kind].load(files)
    except (KeyError, ValueError, TypeError, RecursionError) as fault:
        raise CheckpointError(
            f"{', '.join(files)}: cannot be loaded as a task of kind {kind} ({str(fault)[:500]})"
        ) from None
