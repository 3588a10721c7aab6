"""What every training does with the reports of `fit`: record and show them, save checkpoints, stop, recover from
NaN."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

from lstm_cli.config.load import RunConfig, as_yaml, load_config
from lstm_cli.config.paths import PATH_KEYS, at, names_files, put
from lstm_cli.console import Screen, TrainingProgress
from lstm_cli.data.corpus import Corpus
from lstm_cli.data.durable import write_file
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError, Interrupted, LstmclsError, NotFiniteError
from lstm_cli.nn.distributed import ProcessLost, Workers
from lstm_cli.reports.plots import learning_curves
from lstm_cli.reports.tensorboard import TensorBoard
from lstm_cli.runs.checkpoint import Checkpoint, delete, delete_older, exists, load_checkpoint, save
from lstm_cli.runs.folder import RunFolder, holds_a_run
from lstm_cli.runs.lock import locked
from lstm_cli.runs.signals import StopRequest, stop_requests
from lstm_cli.runtime import Runtime, available_memory
from lstm_cli.scoring.abilities import calibrated
from lstm_cli.tasks.base import Trainable
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import (
    EncodedSplits,
    EpochReport,
    FitReport,
    ScoringReport,
    StepReport,
    fit,
    learning_rate,
    memory_estimate,
)
from lstm_cli.training.state import TrainState


@dataclass(frozen=True, slots=True)
class Training:
    """One training: the arguments of `fit`, the run folder, and the name of the command.

    `start` makes a fresh state. `stores` are listed in the table of the data. `metric` is the dev score in
    the line of each epoch.
    """

    command: str
    run: RunFolder
    task: Trainable
    data: EncodedSplits
    config: TrainConfig
    runtime: Runtime
    start: Callable[[], TrainState]
    stores: Mapping[str, Store]
    metric: str
    tensorboard: bool
    screen: Screen

    def train(self, last: Checkpoint | None) -> None:
        """Train from the beginning or from the checkpoint `last`, save checkpoints, and draw the learning curves.

        Raises Interrupted after a signal, once the state is saved.
        """
        run, screen, state = self.run, self.screen, self._begin(last)
        workers = self.runtime.workers
        saves = SaveClock(self.config.save_every)
        writer = TensorBoard(run.tensorboard) if self.tensorboard and workers.leads else None
        with (
            stop_requests(
                lambda: screen.say("stopping after saving; send the signal again (Ctrl-C) to stop at once")
            ) as stop,
            screen.training(
                self.config.epochs, state.progress.epoch, self.metric, self._loss, self._whole_model
            ) as bar,
        ):
            for report in self._fit(state):
                if not workers.leads:
                    if (stopped_by := self._agreed(stop, report)) is not None:
                        raise Interrupted(stopped_by, f"process {workers.rank} stopped with the others")
                    continue
                ends_epoch = improved = False
                match report:
                    case StepReport():
                        saves.count_step()
                        bar.step(report)
                    case ScoringReport():
                        bar.scoring(report.num_done, report.num_rows)
                    case EpochReport():
                        ends_epoch, improved = True, report.improved
                        record = report.as_record()
                        run.record(record)
                        self._show_epoch(bar, record, report.warnings)
                        if writer:
                            writer.write(record)
                stopped_by = self._agreed(stop, report)
                if ends_epoch or stopped_by is not None or (saves.is_due() and state.is_good):
                    save(run.best if improved else None, run.last, self.task, state)
                    saves.start_again()
                if stopped_by is not None:
                    run.write_log(
                        f"stopped by {Signals(stopped_by).name} after step {state.progress.step}, and saved"
                    )
                    raise Interrupted(
                        stopped_by, f"saved; to resume: lstmcls {self.command} {run.path} --resume"
                    )
        if not workers.leads:
            workers.wait()
            return
        ending = self._ending(state)
        screen.say(ending)
        run.write_log(ending)
        tidy(run)
        workers.wait()
        try:
            learning_curves(run.records(), self.metric, self._loss, self._whole_model, run.curves)
        except Interrupted as stopped:
            raise Interrupted(
                stopped.signal_number,
                f"the training is complete and saved; to resume: lstmcls {self.command} {run.path} --resume",
            ) from None

    def _agreed(self, stop: StopRequest, report: FitReport) -> int | None:
        """The signal after which the training stops here, or None. Several processes stop after the same step."""
        workers = self.runtime.workers
        if workers.size == 1:
            return stop.signal_number
        if isinstance(report, ScoringReport):  # each process scores its own number of batches
            return None
        if not workers.any(stop.signal_number is not None):
            return None
        return stop.signal_number or SIGTERM

    def _begin(self, last: Checkpoint | None) -> TrainState:
        """A fresh state, or the one saved in `last`. Also prints the tables of the data and the model."""
        state, screen = self.start(), self.screen
        if last:
            if last.newer_fault:
                screen.warn(f"{last.newer_fault}; resuming from {last.folder}")
            last.restore(state)
        if self.runtime.workers.leads:
            self.run.keep_records(state.progress.epoch)
        screen.splits(self.stores)
        screen.stages(state.model.stages())
        if description := self.task.describe():
            screen.say(description)
        screen.say(f"run {self.run.path}, seed {state.seed}, on {self.runtime.why}")
        if self.runtime.device.type == "cpu":
            self._warn_of_memory(state)
        return state

    def _fit(self, state: TrainState) -> Iterator[FitReport]:
        """Run `fit`. After its first NotFiniteError, restore the last checkpoint and halve the learning rate."""
        run = self.run
        while True:
            try:
                yield from fit(state, self.task, self.data, self.config, self.runtime)
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
                fresh = self.start()
                state.go_back(fresh.training_tensors(), fresh.training_numbers())
                where = "the beginning"
            self.screen.warn(
                f"{message}; going back to {where} with half the learning rate (only once per training)"
            )
            if not self.runtime.workers.leads:
                continue
            run.write_log(f"warning: {message}; went back to {where}")
            run.keep_records(state.progress.epoch)

    @property
    def _loss(self) -> str:
        """The name of the dev loss."""
        return self.task.loss_metric.name

    @property
    def _whole_model(self) -> str | None:
        """The name of what the dev scores are scores of, or None if it is the network alone."""
        ability = calibrated(self.task)
        return ability.whole_model if ability else None

    def _ending(self, state: TrainState) -> str:
        """Why the training has ended, and which epoch is kept."""
        progress, config = state.progress, self.config
        assert progress.best_epoch is not None
        if progress.epoch < config.epochs:
            why = (
                f"stopped after epoch {progress.epoch} of {config.epochs}, because {progress.epochs_since_best} epochs "
                f"in a row were not better (train.patience)"
            )
        else:
            why = f"all {config.epochs} epochs are done" if config.epochs > 1 else "the only epoch is done"
        chosen = f"dev {config.select_by} {progress.best_score:.4f}"
        if config.select_by != self._loss:
            chosen += f" and dev loss {progress.best_loss:.4f}"
            scores = [record["dev"].get(config.select_by) for record in self.run.records()]
            if (ties := scores.count(progress.best_score)) > 1:
                chosen += f", the lowest of {ties} epochs with this {config.select_by}"
        return f"{why}; epoch {progress.best_epoch + 1} is kept: {chosen}"

    def _warn_of_memory(self, state: TrainState) -> None:
        """Warn if memory may run out. If that happens on a CPU, the system ends the process without a message."""
        needed, available = (
            memory_estimate(state.model, self.data.train, self.config),
            available_memory(),
        )
        if available is not None and needed > available:
            self.screen.warn(
                f"the largest batch needs about {needed / 2**30:.1f} GB of memory and {available / 2**30:.1f} GB are "
                f"free; try a lower train.batch_tokens, train.batch_size or task.max_tokens"
            )

    def _show_epoch(self, bar: TrainingProgress, record: Mapping[str, Any], warnings: Sequence[str]) -> None:
        best = next((r["dev"][self.metric] for r in reversed(self.run.records()) if r["best"]), None)
        bar.epoch(record, best)
        self.run.write_log(
            f"epoch {record['epoch']}: network loss {record['network_loss']['train']:.4f} on train, "
            f"{record['network_loss']['dev']:.4f} on dev; {self._whole_model or 'network'}, on dev: {record['dev']}"
        )
        if record["skipped_steps"]:
            warnings = [
                *warnings,
                f"{record['skipped_steps']} steps were skipped: their loss or gradient was NaN or infinite",
            ]
        for warning in warnings:
            self.screen.warn(warning)
            self.run.write_log(f"warning: {warning}")


def tidy(run: RunFolder) -> None:
    """Delete what a finished training needs no more: replaced checkpoints, and the state of its own pretraining.

    The best model of the pretraining stays: other trainings may start from it.
    """
    for checkpoint in (run.best, run.last):
        delete_older(checkpoint)
    pretraining = RunFolder(run.pretraining)
    if holds_a_run(pretraining.path) and exists(pretraining.best):
        delete(pretraining.last)


@contextmanager
def open_run(
    config: RunConfig, command: str, screen: Screen, workers: Workers, *, resume: bool, overwrite: bool
) -> Iterator[tuple[RunFolder, bool]]:
    """The run's folder, locked inside the block, and whether a training in it is resumed.

    Of several processes the leader opens it, and the others wait for it. Raises LstmclsError if one of them ends.
    Raises ConfigError if the folder is not a run's, if its config differs, or if it holds a run and neither `resume`
    nor `overwrite` is set.
    """
    path = Path(config.run.dir)
    try:
        if workers.leads:
            with ExitStack() as stack:
                try:
                    opened = _opened(path, config, command, screen, resume=resume, overwrite=overwrite)
                    run, can_resume = stack.enter_context(opened)
                except LstmclsError:
                    workers.any(True)
                    raise
                workers.any(False)
                yield run, can_resume
        elif workers.any(False):
            raise ConfigError(f"{path}: refused by process 0")
        else:
            run = RunFolder.open(path)
            yield run, resume and exists(run.last)
    except ProcessLost:
        raise LstmclsError(
            f"another process of this training has ended, so this one ends too; what {path} holds is intact; to "
            f"resume, run the same command with --resume"
        ) from None


@contextmanager
def _opened(
    path: Path, config: RunConfig, command: str, screen: Screen, *, resume: bool, overwrite: bool
) -> Iterator[tuple[RunFolder, bool]]:
    with locked(path):
        if not resume:
            yield RunFolder.create(path, config.to_yaml(), overwrite=overwrite), False
            return
        if holds_a_run(path):
            run = RunFolder.open(path)
            before = refuse_changes(run, config, f"lstmcls {command} {run.path} --resume")
            # `best` alone is also there if the very first save was cut off between the two
            if not exists(run.last) and exists(run.best) and exists(RunFolder(path.parent).last):
                raise ConfigError(
                    f"{path}: this training is finished, and what it would need to be resumed was deleted; "
                    f"its model is in {run.best}; try --overwrite to start again"
                )
            if command == "train":
                for sentence in _more_epochs(run, before.train, config.train):
                    screen.say(sentence)
                    run.write_log(sentence)
        else:
            run = RunFolder.create(path, config.to_yaml(), overwrite=False)
        can_resume = exists(run.last)
        if not can_resume:
            screen.say(f"{path}: no checkpoint was saved yet, so the training starts from the beginning")
        yield run, can_resume


def refuse_changes(run: RunFolder, config: RunConfig, resume: str) -> RunConfig:
    """The run's own config. Raises ConfigError if `config` differs from it in a key that may not change; the message
    contains the difference and `resume`, the command to use.

    Paths may change, because the rows are compared by content (`keep_provenance`); train.epochs and train.patience may
    rise.
    """
    before = load_config(str(run.path), run_dir=config.run.dir)  # the folder may have moved since
    then, now = before.model_dump(mode="json"), config.model_dump(mode="json")
    for path in PATH_KEYS:
        if names_files(at(then, path)) and names_files(at(now, path)):
            put(now, path, at(then, path))
    if config.train.epochs > before.train.epochs:
        now["train"]["epochs"] = before.train.epochs
    if before.train.patience and (not config.train.patience or config.train.patience > before.train.patience):
        now["train"]["patience"] = before.train.patience
    difference = difflib.unified_diff(as_yaml(then).splitlines(), as_yaml(now).splitlines(), n=0)
    changes = [line for line in difference if line[:3] not in ("---", "+++", "@@ ")]
    if changes:
        raise ConfigError(
            f"{run.config}: the config has changed since this run began, so it cannot be resumed:\n"
            + "\n".join(changes)
            + f"\ntry the run's own config ({resume}), or another --run; only train.epochs and train.patience may rise"
        )
    return before


def keep_config(run: RunFolder, config: RunConfig) -> None:
    """Replace the config of a resumed run by one that `refuse_changes` has accepted: it may name other paths."""
    if load_config(str(run.path), run_dir=config.run.dir) != config:
        write_file(run.config, config.to_yaml().encode())


def _more_epochs(run: RunFolder, before: TrainConfig, now: TrainConfig) -> Iterator[str]:
    """What more epochs, or more patience, mean for this run."""
    if now.epochs > before.epochs:
        yield f"train.epochs is raised from {before.epochs} to {now.epochs}"
    records = run.records()
    if not records or (now.epochs, now.patience) == (before.epochs, before.patience):
        return
    done, best = records[-1]["epoch"], max((one["epoch"] for one in records if one.get("best")), default=0)
    if best and now.patience and done - best >= now.patience:
        yield (
            f"the training stays ended: epoch {best} was the best of {done}, and train.patience is {now.patience}; "
            f"to train on, raise train.patience too"
        )
    elif now.schedule == "cosine" and now.epochs > before.epochs:
        rate = learning_rate(now, done / now.epochs, 1.0)
        yield (
            f"the cosine schedule is now that of {now.epochs} epochs: the learning rate goes from "
            f"{records[-1]['learning_rate']:.3g} to {rate:.3g}, as after {done} of {now.epochs} epochs"
        )


def keep_provenance(
    run: RunFolder,
    config: RunConfig,
    inputs: Mapping[str, Rows[Any] | Corpus],
    metadata: Mapping[str, Any],
    workers: Workers,
    *,
    resumed: bool,
) -> None:
    """Write versions, settings and the rows' SHA-256 to the run, and the config if it names other paths now.

    Raises ConfigError if a resumed run's rows differ.
    """
    if not workers.leads:
        return
    # counted first, because reading the rows hashes them too
    counts = {name: len(rows) for name, rows in inputs.items()}
    data = {
        name: {"sha256": rows.digest(), "rows": counts[name], "sources": list(rows.sources)}
        for name, rows in inputs.items()
    }
    if resumed:
        before = run.read_environment().get("data", {})
        changed = [name for name in data if before.get(name, {}).get("sha256") != data[name]["sha256"]]
        if changed:
            raise ConfigError(
                f"{run.environment}: the rows of {', '.join(changed)} have changed since this run began, so it cannot "
                f"be resumed; try the old files, or another --run"
            )
    else:
        run.write_environment({**metadata, "data": data})
    keep_config(run, config)


@dataclass(slots=True)
class SaveClock:
    """Counts steps and time to decide when `train.save_every` makes the next checkpoint due."""

    every: int | str
    num_steps: int = 0
    time: float = field(default_factory=time.monotonic)

    def count_step(self) -> None:
        self.num_steps += 1

    def is_due(self) -> bool:
        if isinstance(self.every, int):
            return self.num_steps >= self.every
        return time.monotonic() - self.time >= int(self.every.removesuffix("s"))

    def start_again(self) -> None:
        self.num_steps, self.time = 0, time.monotonic()
