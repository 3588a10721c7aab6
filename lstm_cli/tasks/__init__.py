"""The list of tasks. To add one: write its file, and name it in TaskConfig and in `load_task`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from lstm_cli.errors import CheckpointError
from lstm_cli.tasks.base import Loss, Outputs, Scores, Task
from lstm_cli.tasks.classify import Classify, ClassifyConfig

__all__ = ["Classify", "ClassifyConfig", "Loss", "Outputs", "Scores", "Task", "TaskConfig", "load_task"]

TaskConfig = (
    ClassifyConfig  # the second task makes this Annotated[ClassifyConfig | …, Field(discriminator="kind")]
)


def load_task(files: Mapping[str, bytes]) -> Classify:
    """The task that `Task.files` described. Raises CheckpointError where the files do not make one."""
    try:
        kind = json.loads(files["config.json"])["kind"]
    except (KeyError, ValueError, TypeError, RecursionError) as fault:
        raise CheckpointError(f"config.json: does not say what task this is ({fault})") from None
    match kind:
        case "classify":
            return Classify.load(files)
        case "pretrain":
            raise CheckpointError(
                "config.json: language models of `lstmcls pretrain`, and no classifier; train one from them with "
                "--set task.encoder.init_from=THIS_RUN"
            )
        case _:
            raise CheckpointError(f"config.json: task kind {kind!r:.100} is not known (have: classify)")
