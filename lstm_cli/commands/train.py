"""`lstmcls train`: config → run → rows → vocabulary → tokens → model → epochs → scores."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_cli.checkpoint import exists, load_checkpoint, save_best, save_last
from lstm_cli.commands.evaluate import evaluate_split
from lstm_cli.config import RunConfig, load_config
from lstm_cli.console import Screen, TrainingProgress
from lstm_cli.data.sources import Splits, load_splits
from lstm_cli.data.store import TokenStore
from lstm_cli.errors import ConfigError, Interrupted, NotFiniteError
from lstm_cli.interrupts import stop_requests
from lstm_cli.plots import learning_curves
from lstm_cli.report import TensorBoard
from lstm_cli.rundir import RunDir, holds_a_run, locked
from lstm_cli.runtime import Runtime, available_memory, start
from lstm_cli.tasks import Task
from lstm_cli.train_state import TrainConfig, TrainState
from lstm_cli.training import (
    EncodedSplits,
    EpochReport,
    Report,
    ScoringReport,
    StepReport,
    fit,
    memory_estimate,
)


def train(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    screen: Screen,
    *,
    resume: bool,
    overwrite: bool,
    baselines: bool,
) -> None:
    """Train, keep `best` and `last`, and score the best on test (on dev where there is no test)."""
    config = load_config(source, overrides, run_dir)
    train_run(config, screen, resume=resume, overwrite=overwrite, baselines=baselines)


def train_run(
    config: RunConfig, screen: Screen, *, resume: bool, overwrite: bool, baselines: bool
) -> dict[str, Any]:
    """One whole run. Returns what metrics.json says of its best model."""
    runtime = start(config.run)
    with locked(Path(config.run.dir)):
        run, going_on = _open_run(config, screen, resume=resume, overwrite=overwrite)
        splits = load_splits(config.data, config.run.seed)
        _keep_provenance(run, splits, going_on, {"seed": config.run.seed, **runtime.facts()})

        last = load_checkpoint(run.last) if going_on else None
        task: Task = last.load(runtime.device)[0] if last else config.task.fit(splits.train)
        data = EncodedSplits(task.encode(splits.train), task.encode(splits.dev))
        # encoded now, so that a fault of the test rows is not found after hours of training
        test = {"test": task.encode(splits.test)} if splits.test is not None else {}
        state = TrainState.start(task, config.train, runtime, config.run.seed)
        if last:
            if last.passed_over:
                screen.warn(f"{last.passed_over}; going on from {last.folder}")
            last.restore(state)
        screen.splits({"train": data.train, "dev": data.dev, **test})
        screen.stages(state.model.stages())  # type: ignore[operator]
        screen.say(f"run {run.path}, seed {config.run.seed}, on {runtime.why}")
        if runtime.device.type == "cpu":
            _warn_of_memory(state, data.train, config.train, screen)

        _train(run, state, task, data, config, runtime, screen)
        return _score(run, splits, config.train.select_by, runtime, screen, baselines=baselines)


def _train(
    run: RunDir,
    state: TrainState,
    task: Task,
    data: EncodedSplits,
    config: RunConfig,
    runtime: Runtime,
    screen: Screen,
) -> None:
    """Train from where the state stands, keeping `best` and `last`. Raises Interrupted, once saved, where asked to."""
    progress = state.progress
    run.keep_records(progress.epoch)
    saves = _SaveClock(config.train.save_every, progress.step)
    writer = TensorBoard(run.tensorboard) if config.run.tensorboard else None
    with (
        stop_requests(lambda: screen.say("stopping: saving first; ask again to stop at once")) as stop,
        screen.training(config.train.epochs, progress.epoch, config.train.select_by) as shown,
    ):
        parts = 1
        for report in _fit(run, state, task, data, config.train, runtime, screen):
            match report:
                case StepReport():
                    shown.step(
                        report.epoch,
                        report.position,
                        report.num_batches,
                        report.loss,
                        report.tokens_per_second,
                    )
                    if report.parts > parts:
                        parts = report.parts
                        screen.warn(
                            f"out of memory: every batch goes in {parts} parts from here on, the gradient is the same"
                        )
                case ScoringReport():
                    shown.scoring(report.num_done, report.num_rows)
                case EpochReport():
                    record = _record(report)
                    run.record(record)
                    _show_epoch(run, screen, shown, record, report.warnings, state.progress.best_score)
                    if writer:
                        writer.write(record)
                    if report.improved:
                        save_best(run.best, task, state)
            step, stopping = state.progress.step, stop.signal_number is not None
            if isinstance(report, EpochReport) or stopping or (saves.is_due(step) and state.is_good):
                save_last(run.last, task, state)
                saves.saved(step)
            if stop.signal_number is not None:
                raise Interrupted(
                    stop.signal_number, f"stopped and saved; to go on: lstmcls train {run.path} --resume"
                )


def _fit(
    run: RunDir,
    state: TrainState,
    task: Task,
    data: EncodedSplits,
    config: TrainConfig,
    runtime: Runtime,
    screen: Screen,
) -> Iterator[Report]:
    """`fit`, which on its first NotFiniteError goes back to the last checkpoint with half the learning rate."""
    while True:
        try:
            yield from fit(state, task, data, config, runtime)
            return
        except NotFiniteError as fault:
            if state.progress.went_back:
                raise
            message = str(fault)
        if exists(run.last):
            last = load_checkpoint(run.last)
            last.go_back(state)
            where = f"the checkpoint of step {state.progress.step}"
        else:
            fresh = TrainState.start(task, config, runtime, state.seed)
            state.go_back(fresh.training_tensors(), fresh.training_numbers())
            where = "the beginning"
        screen.warn(f"{message}; going back to {where} with half the learning rate, this once")
        run.write_log(f"warning: {message}; went back to {where}")
        run.keep_records(state.progress.epoch)


@dataclass(slots=True)
class _SaveClock:
    """Says when `train.save_every` has passed since the last save."""

    every: int | str
    step: int
    time: float = field(default_factory=time.monotonic)

    def is_due(self, step: int) -> bool:
        if isinstance(self.every, int):
            return step - self.step >= self.every
        return time.monotonic() - self.time >= int(self.every.removesuffix("s"))

    def saved(self, step: int) -> None:
        self.step, self.time = step, time.monotonic()


def _score(
    run: RunDir, splits: Splits, select_by: str, runtime: Runtime, screen: Screen, *, baselines: bool
) -> dict[str, Any]:
    """Draw the curves and score the best model. Returns what metrics.json says."""
    try:
        learning_curves(run.records(), select_by, run.curves)
        split, rows = ("test", splits.test) if splits.test is not None else ("dev", splits.dev)
        metrics = evaluate_split(
            run, "best", rows, split, splits.train if baselines else None, runtime, screen
        )
    except Interrupted as stopped:
        raise Interrupted(
            stopped.signal_number,
            f"stopped; the training is over and saved, its scores are not: lstmcls eval {run.path}",
        ) from None
    screen.say(f"the model is in {run.best}")
    screen.say(f"next: echo 'some text' | lstmcls predict {run.path} -")
    return metrics


def _open_run(config: RunConfig, screen: Screen, *, resume: bool, overwrite: bool) -> tuple[RunDir, bool]:
    """The run's folder, and whether a training in it is gone on with."""
    path = Path(config.run.dir)
    if not resume:
        return RunDir.create(path, config.to_yaml(), overwrite=overwrite), False
    if holds_a_run(path):
        run = RunDir.open(path)
        refuse_changes(run, config, f"lstmcls train {run.path} --resume")
        if exists(run.last):
            return run, True
    else:
        run = RunDir.create(path, config.to_yaml(), overwrite=False)
    screen.say(f"{run.path}: no checkpoint was written yet, so the training starts from the beginning")
    return run, False


def refuse_changes(run: RunDir, config: RunConfig, how_to_go_on: str) -> None:
    """A training goes on as it began. Raises ConfigError with the difference."""
    before = load_config(str(run.path), run_dir=config.run.dir)  # the folder may have been moved
    then, now = before.to_yaml().splitlines(), config.to_yaml().splitlines()
    changes = [line for line in difflib.unified_diff(then, now, n=0) if line[:3] not in ("---", "+++", "@@ ")]
    if changes:
        raise ConfigError(
            f"{run.config}: the config has changed since this run began, so it cannot be resumed:\n"
            + "\n".join(changes)
            + f"\ntry the run's own config ({how_to_go_on}), or another --run"
        )


def _keep_provenance(run: RunDir, splits: Splits, going_on: bool, facts: Mapping[str, Any]) -> None:
    """Write what the run is made from; on a resumed run, refuse where the data is no longer what it was."""
    data = {
        name: {"sha256": rows.digest(), "rows": len(rows), "sources": list(rows.sources)}
        for name, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test))
        if rows is not None
    }
    if going_on:
        before = run.read_environment().get("data", {})
        changed = [name for name in data if before.get(name, {}).get("sha256") != data[name]["sha256"]]
        if changed:
            raise ConfigError(
                f"{run.environment}: the rows of {', '.join(changed)} are not those that this run began with, so it "
                f"cannot be resumed; try the old files, or another --run"
            )
    else:
        run.write_environment({**facts, "data": data})


def _warn_of_memory(state: TrainState, train: TokenStore, config: TrainConfig, screen: Screen) -> None:
    """On a CPU, where running out of memory ends the process without a word: say so before."""
    needed, available = memory_estimate(state.model, train, config), available_memory()
    if available is not None and needed > available:
        screen.warn(
            f"the longest batch will take about {needed / 2**30:.1f} GB of memory, {available / 2**30:.1f} GB are "
            f"free; try a lower train.batch_tokens, train.batch_size or task.max_tokens"
        )


def _record(report: EpochReport) -> dict[str, Any]:
    """A line of metrics.jsonl."""
    return {
        "epoch": report.epoch + 1,
        "step": report.step,
        "train_loss": report.train_loss,
        "dev": report.dev.scalars(),
        "best": report.improved,
        "learning_rate": report.learning_rate,
        "tokens_per_second": round(report.tokens_per_second, 1),
        "padding_share": round(report.padding_share, 5),
        "skipped_steps": report.skipped_steps,
        "seconds": round(report.seconds, 3),
        "dev_seconds": round(report.dev_seconds, 3),
    }


def _show_epoch(
    run: RunDir,
    screen: Screen,
    shown: TrainingProgress,
    record: Mapping[str, Any],
    warnings: Sequence[str],
    best: float | None,
) -> None:
    shown.epoch(record, best)
    run.write_log(f"epoch {record['epoch']}: train loss {record['train_loss']:.4f}, dev {record['dev']}")
    if record["skipped_steps"]:
        warnings = [
            *warnings,
            f"{record['skipped_steps']} steps were skipped: their loss or gradient was not finite",
        ]
    for warning in warnings:
        screen.warn(warning)
        run.write_log(f"warning: {warning}")
