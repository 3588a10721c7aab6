"""`lstmcls train`: config → run folder → starting point → rows → task → encoded rows → epochs → scores."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from lstm_cli.commands.evaluate import evaluate_split
from lstm_cli.commands.pretrain import pretrain_run
from lstm_cli.commands.training_loop import Training, keep_provenance, open_run
from lstm_cli.config.guess import NOTHING_GIVEN, Given, config_for
from lstm_cli.config.load import RunConfig
from lstm_cli.console import Screen, one_line
from lstm_cli.data.sources import Splits, load_splits
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError, Interrupted
from lstm_cli.lint.worth import before_training
from lstm_cli.nn.distributed import Workers
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.runs.models import open_models
from lstm_cli.runs.origin import Origin, named_origin
from lstm_cli.runtime import Runtime, start
from lstm_cli.tasks.base import Task
from lstm_cli.training.fit import EncodedSplits
from lstm_cli.training.state import TrainState


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """The arguments of `lstmcls train`. `by` and `count` come from --seeds N or --folds K, `refit` from --refit."""

    source: str
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    resume: bool = False
    overwrite: bool = False
    baselines: bool = True
    by: Literal["seeds", "folds"] | None = None
    count: int = 0
    refit: bool = False
    warns: bool = True  # about the data: of several runs, the first
    given: Given = NOTHING_GIVEN
    dry_run: bool = False


def train(request: TrainRequest, screen: Screen) -> None:
    """Train a model, save its `best` and `last` checkpoint, and score the best on test (on dev if there is no test)."""
    config = configured(request, screen)
    if request.dry_run:
        sys.stdout.write(config.to_yaml())
        return
    if request.resume and (run := RunFolder(Path(config.run.dir))).is_refit:
        raise ConfigError(
            f"{run.path}: the model of --refit, which has no dev rows; to resume it, resume its group with "
            f"lstmcls train {run.path.parent} --folds K --refit --resume"
        )
    train_run(config, request, screen)


def configured(request: TrainRequest, screen: Screen) -> RunConfig:
    """The config of the request: what it names, or what is guessed for its data. Raises ConfigError or DataError."""
    return config_for(
        request.source,
        request.given,
        screen.say,
        request.overrides,
        request.run_dir,
        trains=not request.resume,
    )


def train_run(config: RunConfig, request: TrainRequest, screen: Screen) -> dict[str, Any]:
    """Train and score one run. Returns the metrics.json of its best model."""
    # both before the run opens: if they fail, --overwrite must not have deleted the old run
    named = named_origin(config.task, config.run.seed)
    runtime = start(config.run)
    workers = runtime.workers
    opened = open_run(config, "train", screen, workers, resume=request.resume, overwrite=request.overwrite)
    with _resumable(config), opened as (run, resumed):
        if request.warns and not resumed and workers.leads:  # before a pretraining, which may take hours
            _warn_of_data(config, named.dev_seed, run, screen)
        origin = starting_point(config, run, named, runtime, screen, resumed=resumed)
        splits = load_splits(config.data, origin.dev_seed, content=config.task.content)
        metadata = {"seed": config.run.seed, **origin.metadata(), **runtime.metadata()}
        keep_provenance(run, config, splits.by_name(), metadata, workers, resumed=resumed)
        if origin.pretraining:
            origin.pretraining.announce(splits, screen.say, screen.warn)
        if not resumed:
            screen.say("reading the training rows …")
        task = origin.learned_task(runtime.device) or config.task.fit(splits.train, origin)
        stores = _encode(task, splits)
        training = Training(
            command="train",
            run=run,
            task=task,
            data=EncodedSplits(stores["train"], stores["dev"]),
            config=config.train,
            runtime=runtime,
            start=partial(
                TrainState.start,
                task,
                config.train,
                runtime,
                config.run.seed,
                origin.weights,
                origin.pretrained,
            ),
            stores=stores,
            metric=config.train.select_by,
            tensorboard=config.run.tensorboard,
            screen=screen,
        )
        training.train(origin.checkpoint)
        if not workers.leads:
            return {}
        alone = replace(runtime, workers=Workers())
        return _score(config, run, splits, alone, screen, baselines=request.baselines)


def _warn_of_data(config: RunConfig, dev_seed: int, run: RunFolder, screen: Screen) -> None:
    """Print and log what `lstmcls check` finds about the worth of the scores."""
    content = config.task.content
    found = before_training(config.data, load_splits(config.data, dev_seed, content=content), content)
    screen.findings([("warning", one.headline(), one.lines()) for one in found])
    for one in found:
        run.write_log(f"warning: {one_line(one.headline(), one.lines())}")


@contextmanager
def _resumable(config: RunConfig) -> Iterator[None]:
    """If a signal stops the run while it still pretrains, the message names the command that resumes the whole run."""
    try:
        yield
    except Interrupted as stopped:
        if not config.task.pretrains_first:
            raise
        raise Interrupted(
            stopped.signal_number, f"saved; to resume: lstmcls train {config.run.dir} --resume"
        ) from None


def starting_point(
    config: RunConfig, run: RunFolder, named: Origin, runtime: Runtime, screen: Screen, *, resumed: bool
) -> Origin:
    """Where the training starts: from the run's last checkpoint if it is `resumed`, else from `named`, or from a
    pretraining that runs now (`init_from: pretrain`).

    That pretraining has its own folder inside the run's and is resumed if it was interrupted. Every checkpoint of the
    run contains its weights, so a resumed training no longer needs it.
    """
    if resumed:
        return named.resumed(run, config.task)
    if not config.task.pretrains_first:
        return named
    splits = load_splits(config.data, named.dev_seed, content=config.task.content)
    # check the labels before the pretraining, which may take hours
    config.task.check_targets(splits.train, chain(splits.dev, splits.test or ()))
    section = config.run.model_copy(update={"dir": str(run.pretraining)})
    screen.say("pretraining a language model on the text first")
    pretrain_run(
        config.model_copy(update={"run": section}),
        runtime,
        screen,
        resume=holds_a_run(run.pretraining),
        overwrite=False,
    )
    return named_origin(config.task, config.run.seed, run.pretraining)


def _encode(task: Task, splits: Splits[Any]) -> dict[str, Store]:
    """Encode every split, test too, so that an error in the test rows shows before hours of training."""
    return {name: task.encode(rows, scored=name != "train") for name, rows in splits.by_name().items()}


def _score(
    config: RunConfig,
    run: RunFolder,
    splits: Splits[Any],
    runtime: Runtime,
    screen: Screen,
    *,
    baselines: bool,
) -> dict[str, Any]:
    """Score the best model and print where it is. Returns the content of metrics.json."""
    split, rows = ("test", splits.test) if splits.test is not None else ("dev", splits.dev)
    try:
        best = open_models(run.path, "best", runtime.device)
        metrics = evaluate_split(
            best, rows, split, splits.by_name(), runtime, screen, with_baselines=baselines
        )
    except Interrupted as stopped:
        raise Interrupted(
            stopped.signal_number,
            f"the training is complete and saved, but not scored; to score it: lstmcls eval {run.path}",
        ) from None
    screen.say(f"the model is in {run.best}")
    if config.task.text_reader():
        screen.say(f"next: lstmcls predict {shlex.quote(str(run.path))} --text 'some text'")
    else:
        screen.say(f"next: lstmcls predict {shlex.quote(str(run.path))} FILE")
    return metrics
