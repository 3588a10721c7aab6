"""`lstmcls train --folds K --refit`: one model trained on all rows, for as many epochs as the folds found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.arrays import Ragged
from lstm_cli.commands.train import starting_point
from lstm_cli.commands.training_loop import SaveClock, keep_provenance, open_run, tidy
from lstm_cli.config.load import RunConfig
from lstm_cli.console import Screen
from lstm_cli.data.sources import load_splits, open_rows
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError, Interrupted
from lstm_cli.runs.checkpoint import exists, load_checkpoint, save
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.runs.group import REFIT, RunGroup
from lstm_cli.runs.origin import named_origin
from lstm_cli.runs.signals import stop_requests
from lstm_cli.runtime import Runtime, start
from lstm_cli.scoring.abilities import averaged, calibrated
from lstm_cli.scoring.prediction import predict_batches
from lstm_cli.tasks.base import Calibrated, Outputs, Task
from lstm_cli.training.fit import StepReport
from lstm_cli.training.refit import fit_without_dev
from lstm_cli.training.state import TrainState


def refuse_refit(config: RunConfig) -> None:
    """Raise ConfigError if the training needs dev rows to go on."""
    if config.train.schedule == "plateau":
        raise ConfigError(
            "--refit: has no dev rows, and train.schedule is plateau, which lowers the learning rate by the dev score; "
            "try --set train.schedule=cosine"
        )


def refit(group: RunGroup, config: RunConfig, folds: Mapping[str, RunConfig], screen: Screen) -> None:
    """Train the run `group.refit` on all rows of data.train, or resume it.

    The number of epochs is the median of the folds' best epochs; the learning rates are those of `train.epochs`. The
    calibration is fitted on the outputs that each fold's model has for the rows that it did not learn from.
    """
    config = config.model_copy(update={"run": config.run.model_copy(update={"dir": str(group.refit)})})
    best = {path.name: load_checkpoint(RunFolder(path).best) for path in group.paths}
    epochs = [int(saved.about["epoch"]) for saved in best.values()]
    num_epochs = int(statistics.median(epochs) + 0.5)
    found = {"epochs": num_epochs, "folds": {name: saved.name for name, saved in best.items()}}
    named = named_origin(config.task, config.run.seed)
    runtime = start(config.run)
    resume = holds_a_run(group.refit)
    with open_run(config, "train", screen, runtime.workers, resume=resume, overwrite=False) as (run, resumed):
        if resumed and run.read_environment().get(REFIT) != found:
            raise ConfigError(
                f"{run.environment}: the folds have changed since this run began, so it cannot be resumed; delete "
                f"{run.path} to train it again"
            )
        origin = starting_point(config, run, named, runtime, screen, resumed=resumed)
        rows = open_rows(config.data.train, config.data, "train", labelled=True, content=config.task.content)
        metadata = {"seed": config.run.seed, **origin.metadata(), **runtime.metadata(), REFIT: found}
        keep_provenance(run, config, {"train": rows}, metadata, runtime.workers, resumed=resumed)
        task = origin.learned_task(runtime.device) or config.task.fit(rows, origin)
        store = task.encode(rows, scored=False)
        state = TrainState.start(
            task, config.train, runtime, config.run.seed, origin.weights, origin.pretrained
        )
        if origin.checkpoint:
            origin.checkpoint.restore(state, scored=False)
        run.keep_records(state.progress.epoch)
        screen.say(
            f"refit: {len(store):,} rows, {num_epochs} epochs, the median of the folds' best epochs "
            f"({', '.join(map(str, epochs))})"
        )
        _train(run, config, task, state, store, num_epochs, runtime, screen)
        if not _is_finished(run):
            if ability := calibrated(task):
                _calibrate(ability, task, state, folds, runtime)
            save(run.best, run.last, task, state)
        tidy(run)


def _is_finished(run: RunFolder) -> bool:
    """Whether the calibrated model was saved under both names: a process may be killed between the two."""
    return exists(run.best) and load_checkpoint(run.best).digest == load_checkpoint(run.last).digest


def _train(
    run: RunFolder,
    config: RunConfig,
    task: Task,
    state: TrainState,
    store: Store,
    num_epochs: int,
    runtime: Runtime,
    screen: Screen,
) -> None:
    """Train the rest of the epochs, with checkpoints. Raises Interrupted after a signal, once the state is saved."""
    saves = SaveClock(config.train.save_every)
    progress = state.progress
    with (
        stop_requests(
            lambda: screen.say("stopping after saving; send the signal again (Ctrl-C) to stop at once")
        ) as stop,
        screen.training(
            num_epochs, progress.epoch, config.train.select_by, task.loss_metric.name, None
        ) as bar,
    ):
        for report in fit_without_dev(state, task, store, config.train, num_epochs, runtime):
            is_step = isinstance(report, StepReport)
            if isinstance(report, StepReport):
                saves.count_step()
                bar.step(report)
            else:
                run.record(report.as_record())
                screen.say(
                    f"epoch {report.epoch + 1:>2}  train loss {report.train_loss:.4f}  {report.seconds:.0f} s"
                )
            is_stopped = stop.signal_number is not None
            if not is_step or is_stopped or (saves.is_due() and state.is_good):
                save(None, run.last, task, state)
                saves.start_again()
            if stop.signal_number is not None:
                raise Interrupted(stop.signal_number, "saved")


def _calibrate(
    ability: Calibrated, task: Task, state: TrainState, folds: Mapping[str, RunConfig], runtime: Runtime
) -> None:
    """Fit the calibration on the rows of all folds, with the outputs of the model that did not learn from the row."""
    outputs: list[Outputs] = []
    stores: list[Store] = []
    for config in folds.values():
        run = RunFolder(Path(config.run.dir))
        fold_task, model = load_checkpoint(run.best).load(runtime.device)
        uncalibrated = calibrated(fold_task)
        assert uncalibrated is not None
        if _names(fold_task) != _names(task):
            raise ConfigError(
                f"{run.path}: its outputs do not stand for what those of a model of all rows stand for, so they cannot "
                f"calibrate it; try fewer folds"
            )
        splits = load_splits(config.data, run.dev_seed(config.run.seed), content=config.task.content)
        assert splits.test is not None
        store = fold_task.encode(splits.test)
        *_, (_, collected) = predict_batches(model, uncalibrated.uncalibrated, store, runtime)
        outputs.append(collected.outputs())
        stores.append(store)
    ability.calibrate(state.scored_model, _joined(outputs), _joined_stores(stores))


def _names(task: Task) -> list[str] | None:
    ability = averaged(task)
    return list(ability.output_names()) if ability else None


def _joined(several: list[Any]) -> Any:
    """Inputs, outputs or targets one after another: arrays, or ragged."""
    if isinstance(several[0], Ragged):
        return Ragged.pack([row for one in several for row in one])
    return np.concatenate(several)


def _joined_stores(stores: list[Store]) -> Store:
    """The rows of these stores, one store after another. Each has the tokens of its own vocabulary."""
    return Store(
        _joined([store.inputs for store in stores]),
        np.concatenate([store.truncated for store in stores]),
        _joined([store.known_targets for store in stores]),
        {name: np.concatenate([store.extras[name] for store in stores]) for name in stores[0].extras},
    )
