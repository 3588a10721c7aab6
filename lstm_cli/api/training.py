"""Training from Python: the same run as `lstmcls train`, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from lstm_cli.api.predictor import Device, Predictor, load_trained
from lstm_cli.commands.train import TrainRequest, train_run
from lstm_cli.config.guess import Given, config_for
from lstm_cli.console import Screen
from lstm_cli.errors import Interrupted
from lstm_cli.runtime import borrowed


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training.

    Attributes:
        path: the run's folder, with the model, its scores and the report.
        metrics: the content of metrics.json: the best model's scores on test, or on dev if there is no test.
    """

    path: Path
    metrics: Mapping[str, Any] = field(repr=False)

    def predictor(self, *, device: Device = "auto", threads: int = 0) -> Predictor:
        """The best model, as `lstm_cli.load` returns it."""
        return load_trained(self.path, checkpoint="best", device=device, threads=threads)


def train(
    config: str | PathLike[str] | Mapping[str, Any],
    *,
    text: str | None = None,
    label: str | None = None,
    preset: str | None = None,
    run: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    baselines: bool = True,
    quiet: bool = False,
    **overrides: Any,
) -> Run:
    """Train a model, save it, and score it, as `lstmcls train CONFIG` does.

    Args:
        config: a YAML file, a run's folder, the content of a config as a mapping, or data: a file, a folder or a data
            set, for which the config is guessed.
        text, label: for data, the columns of the text and the label.
        preset: for data, the config to start from, one of those that `lstmcls init` writes.
        run: the run's folder, in place of the config's `run.dir`.
        resume: resume the run from its last checkpoint.
        overwrite: if the folder already holds a run, delete that run and start again.
        baselines: also score the simple methods, and say whether the model beats them.
        quiet: print errors only. The rest goes to stderr.
        overrides: keys of the config by their path, with two underscores for a dot: `train__epochs=5`.

    Raises:
        ConfigError: the config has faults, or the folder already holds a run.
        DataError: the rows cannot be used.
        StorageError: a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the training is saved, and `resume=True` continues it.
    """
    source = config if isinstance(config, Mapping) else str(config)
    settings = [
        f"{name.replace('__', '.')}={json.dumps(value, default=str, ensure_ascii=False)}"
        for name, value in overrides.items()
    ]
    screen = Screen(quiet=quiet)
    given = Given(text, label, preset)
    folder = None if run is None else str(run)
    loaded = config_for(source, given, screen.say, settings, folder, trains=not resume)
    request = TrainRequest(
        loaded.run.dir, resume=resume, overwrite=overwrite, baselines=baselines, warns=not quiet
    )
    try:
        with borrowed(loaded.run):
            metrics = train_run(loaded, request, screen)
    except Interrupted as stopped:
        raise KeyboardInterrupt(str(stopped)) from None
    return Run(Path(loaded.run.dir), metrics)
