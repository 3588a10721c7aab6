"""The list of tasks. To add one: write its file, and name its config in `TASKS`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import get_args

from lstm_cli.errors import CheckpointError
from lstm_cli.tasks.base import Task, TaskConfig
from lstm_cli.tasks.classify import ClassifyConfig

TASKS: list[type[TaskConfig]] = [ClassifyConfig]
"""The first one is meant where `task.kind` is not given."""


def kind_of(task: type[TaskConfig]) -> str:
    """The `task.kind` that names this config."""
    return str(get_args(task.model_fields["kind"].annotation)[0])


def load_task(files: Mapping[str, bytes]) -> Task:
    """The task whose `files` these are. Raises CheckpointError where they are not a task's."""
    try:
        kind = json.loads(files["config.json"])["kind"]
    except (KeyError, ValueError, TypeError, RecursionError) as fault:
        raise CheckpointError(f"config.json: does not say what task this is ({fault})") from None
    if kind == "pretrain":
        raise CheckpointError(
            "config.json: language models of `lstmcls pretrain`, and no task; train one from them with "
            "--set task.encoder.init_from=THIS_RUN"
        )
    kinds = {kind_of(task): task for task in TASKS}
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError(f"config.json: task kind {kind!r:.100} is not known (have: {', '.join(kinds)})")
    try:
        return kinds[kind].load(files)
    except (KeyError, ValueError, TypeError, RecursionError) as fault:
        raise CheckpointError(
            f"{', '.join(files)}: do not make a task of kind {kind} ({str(fault)[:500]})"
        ) from None
