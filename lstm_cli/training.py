"""The training loop: `fit` yields, its caller decides. To stop is `break`, a test is `list(fit(...))`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lstm_cli.batch import Batch
from lstm_cli.data.batching import batches_from, epoch_batches
from lstm_cli.data.store import TokenStore
from lstm_cli.errors import LstmclsError
from lstm_cli.evaluation import evaluate
from lstm_cli.metrics import HIGHER_IS_BETTER
from lstm_cli.optimization import adamw, average, take_step
from lstm_cli.runtime import Runtime, seed_step
from lstm_cli.schema import Config
from lstm_cli.tasks.base import Scores, Task

_STEPS_UNREAD = {"cpu": 1, "cuda": 32, "mps": 32}
"""After how many steps the host looks at their losses: every look waits for all that the device was given."""

SelectBy = Literal["accuracy", "macro_f1", "micro_f1", "weighted_f1", "log_loss", "ece", "roc_auc"]


class TrainConfig(Config):
    """The `train:` section."""

    epochs: int = Field(10, ge=1, description="passes over the training rows, at most")
    batch_size: int = Field(64, ge=1, description="rows in a batch, at most")
    batch_tokens: int = Field(32_768, ge=1, description="tokens in a batch with its padding, at most")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make up one step")
    learning_rate: float = Field(2e-3, gt=0, description="the highest rate of the schedule")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="of the rate after warm-up: constant, cosine to zero, or cut when dev stops improving",
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the training in which the rate rises from zero"
    )
    plateau_patience: int = Field(
        1, ge=0, description="plateau: epochs without improvement before the rate is cut"
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="plateau: what the rate is multiplied with")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, on matrices only")
    clip_norm: float = Field(1.0, gt=0, description="the gradient's norm, at most")
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the averaged weights that are scored and kept; 0: none"
    )
    select_by: SelectBy = Field("macro_f1", description="the dev metric that says which epoch is best")
    patience: int = Field(3, ge=0, description="stop after so many epochs without improvement; 0: never")
    max_bad_steps: int = Field(10, ge=1, description="stop after so many NaN or infinite steps in a row")


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """What `fit` reads."""

    train: TokenStore
    dev: TokenStore


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step was taken: `position` of `num_batches` batches of this epoch are done, `loss` is their mean so far."""

    epoch: int
    position: int
    num_batches: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class EpochReport:
    """An epoch is over and the state stands at the start of the next one.

    `train_loss` is the mean over the epoch's rows, `padding_share` of all computed positions, `seconds` of training
    without the scoring.
    """

    epoch: int
    step: int
    train_loss: float
    dev: Scores
    learning_rate: float
    tokens_per_second: float
    padding_share: float
    skipped_steps: int
    seconds: float
    dev_seconds: float
    improved: bool
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Progress:
    """Everything about a training that is a number: where it stands and what it has seen. All of it is saved."""

    epoch: int = 0
    position: int = 0
    step: int = 0
    rate_scale: float = 1.0
    best_score: float | None = None
    best_epoch: int | None = None
    epochs_since_best: int = 0
    epochs_since_cut: int = 0
    bad_in_a_row: int = 0
    # of the running epoch
    skipped_steps: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    tokens: int = 0
    positions: int = 0
    seconds: float = 0.0
    # (train loss, dev loss) of every epoch that is over
    losses: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Unread:
    """What a step will say once the device has come to it: (2,) loss summed over `count`, and gradient norm."""

    figures: Tensor
    count: int


@dataclass(slots=True)
class TrainState:
    """The one mutable object of a training. `averaged` holds the averaged weights where `train.ema` is set.

    `unread` are steps that are taken but not yet counted in `progress`; there are none on a CPU.
    """

    model: nn.Module
    averaged: nn.Module | None
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    seed: int
    progress: Progress
    unread: list[_Unread] = field(default_factory=list)

    @classmethod
    def start(cls, task: Task, config: TrainConfig, runtime: Runtime, seed: int) -> TrainState:
        """A fresh model on its device with a fresh optimizer; the seed decides every weight."""
        torch.manual_seed(seed)
        model = task.build_model().to(runtime.device)
        optimizer = adamw(model, config.weight_decay)
        scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        averaged = copy.deepcopy(model) if config.ema else None
        return cls(model, averaged, optimizer, scaler, seed, Progress())

    @property
    def scored_model(self) -> nn.Module:
        """The model that is scored, and kept as the best."""
        return self.averaged or self.model

    def training_tensors(self) -> dict[str, Tensor]:
        """All tensors that a resumed training needs, by name."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for parameter, slots in self.optimizer.state.items():
            tensors |= {f"optimizer.{names[id(parameter)]}.{slot}": value for slot, value in slots.items()}
        return tensors

    def training_numbers(self) -> dict[str, Any]:
        """All numbers that a resumed training needs."""
        self.settle()
        return {
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
            "scaler": self.scaler.state_dict(),
        }

    def settle(self) -> None:
        """Count the unread steps in `progress`, waiting for the device once."""
        if not self.unread:
            return
        progress = self.progress
        figures = torch.stack([step.figures for step in self.unread]).tolist()
        for step, (loss, norm) in zip(self.unread, figures, strict=True):
            if math.isfinite(loss) and math.isfinite(norm):
                progress.loss_total += loss
                progress.loss_count += step.count
                progress.bad_in_a_row = 0
            else:
                progress.skipped_steps += 1
                progress.bad_in_a_row += 1
        self.unread.clear()

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Stand where `training_tensors` and `training_numbers` were taken. Raises KeyError, RuntimeError, TypeError
        or ValueError where they are of another model."""
        self.model.load_state_dict(_under("model.", tensors))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged.", tensors))
        for name, parameter in self.model.named_parameters():
            slots = _under(f"optimizer.{name}.", tensors)
            if slots:  # none before the first step
                self.optimizer.state[parameter] = {
                    slot: value.to(value.device if slot == "step" else parameter.device)
                    for slot, value in slots.items()
                }
        self.scaler.load_state_dict(dict(numbers["scaler"]))
        self.progress = Progress(**numbers["progress"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def fit(
    state: TrainState, task: Task, data: EncodedSplits, config: TrainConfig, runtime: Runtime
) -> Iterator[StepReport | EpochReport]:
    """Train from where the state stands until the epochs or the patience are spent, reporting every step and epoch.

    Between two reports the state is whole: it can be saved there, and a state restored from it goes on exactly as
    this one would. Raises LstmclsError after `max_bad_steps` steps in a row without a finite gradient.
    """
    while state.progress.epoch < config.epochs and not _patience_is_spent(state.progress, config):
        yield from train_epoch(state, task, data.train, config, runtime)
        yield _finish_epoch(state, task, data.dev, config, runtime)


def train_epoch(
    state: TrainState, task: Task, store: TokenStore, config: TrainConfig, runtime: Runtime
) -> Iterator[StepReport]:
    """What is left of the current epoch, a step at a time."""
    progress = state.progress
    lengths = store.lengths
    batches = epoch_batches(lengths, config.batch_size, config.batch_tokens, state.seed, progress.epoch)
    batch_of = batches_from(store, runtime.device)
    state.model.train()
    while progress.position < len(batches):
        began = time.perf_counter()
        group = batches[progress.position : progress.position + config.accumulate]
        done = (progress.epoch + progress.position / len(batches)) / config.epochs
        rate = learning_rate(config, done, progress.rate_scale)
        seed_step(state.seed, progress.step)
        _step(state, task, [batch_of(rows) for rows in group], rate, config, runtime)
        progress.position += len(group)
        progress.step += 1
        progress.tokens += sum(int(lengths[rows].sum()) for rows in group)
        progress.positions += sum(len(rows) * int(lengths[rows].max()) for rows in group)
        progress.seconds += time.perf_counter() - began
        yield StepReport(
            epoch=progress.epoch,
            position=progress.position,
            num_batches=len(batches),
            loss=_mean_loss(progress),
            tokens_per_second=progress.tokens / progress.seconds,
        )
    _look(state, config)


def _mean_loss(progress: Progress) -> float:
    return progress.loss_total / progress.loss_count if progress.loss_count else math.nan


def _step(
    state: TrainState,
    task: Task,
    group: list[Batch],
    rate: float,
    config: TrainConfig,
    runtime: Runtime,
) -> None:
    """One step of the optimizer on the batches of `group`; one that is not finite leaves the weights as they are."""
    rows_in_step = sum(batch.num_rows for batch in group)
    total = torch.zeros((), device=runtime.device)
    count = 0
    for batch in group:
        with runtime.autocast():
            loss = task.loss(state.model, batch)
        state.scaler.scale(loss.total / rows_in_step).backward()  # type: ignore[no-untyped-call]
        total += loss.total.detach()
        count += loss.count
    if count != rows_in_step:  # the mean is over what is scored, which need not be rows
        for parameter in state.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(rows_in_step / count)
    figures = take_step(state.optimizer, state.scaler, total, rate, config.clip_norm)
    if state.averaged is not None:
        average(state.averaged, state.model, config.ema, state.progress.step)
    state.unread.append(_Unread(figures, count))
    if len(state.unread) >= _STEPS_UNREAD[runtime.device.type]:
        _look(state, config)


def _look(state: TrainState, config: TrainConfig) -> None:
    """Count what is unread. Raises LstmclsError where the last steps were not finite, too many of them in a row."""
    last = state.unread[-1].figures if state.unread else None
    state.settle()
    progress = state.progress
    if last is not None and progress.bad_in_a_row >= config.max_bad_steps:
        what = "gradient" if math.isfinite(last[0].item()) else "loss"
        rate = state.optimizer.param_groups[0]["lr"]
        raise LstmclsError(
            f"training stopped in epoch {progress.epoch + 1}, step {progress.step + 1}: the {what} was NaN or infinite "
            f"{progress.bad_in_a_row} steps in a row, at a learning rate of {rate:.3g}; "
            f"try a lower train.learning_rate, a lower train.clip_norm, or run.precision: fp32"
        )


def learning_rate(config: TrainConfig, done: float, scale: float) -> float:
    """The rate when the share `done` of all epochs is over: linear warm-up, then the schedule.

    A function of position alone, so that a resumed training has the same one. `scale` is what plateaus have left.
    """
    highest = config.learning_rate * scale
    if done < config.warmup:
        return highest * max(done / config.warmup, 0.01)  # the very first step is small, not none
    match config.schedule:
        case "cosine":
            after_warmup = (done - config.warmup) / (1 - config.warmup)
            return highest * 0.5 * (1 + math.cos(math.pi * after_warmup))
        case "constant" | "plateau":
            return highest


def _finish_epoch(
    state: TrainState, task: Task, dev: TokenStore, config: TrainConfig, runtime: Runtime
) -> EpochReport:
    """Score the dev rows, judge the epoch, and stand at the start of the next."""
    progress = state.progress
    began = time.perf_counter()
    scores = evaluate(state.scored_model, task, dev, runtime).scores
    dev_seconds = time.perf_counter() - began
    scalars = scores.scalars()
    improved = _judge(progress, scalars, config)
    progress.losses.append([_mean_loss(progress), scalars["log_loss"]])
    report = EpochReport(
        epoch=progress.epoch,
        step=progress.step,
        train_loss=_mean_loss(progress),
        dev=scores,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        tokens_per_second=progress.tokens / max(progress.seconds, 1e-9),
        padding_share=1 - progress.tokens / max(progress.positions, 1),
        skipped_steps=progress.skipped_steps,
        seconds=progress.seconds,
        dev_seconds=dev_seconds,
        improved=improved,
        warnings=(*task.warnings(scores), *_parting(progress.losses)),
    )
    progress.epoch += 1
    progress.position = progress.skipped_steps = progress.loss_count = progress.tokens = (
        progress.positions
    ) = 0
    progress.loss_total = progress.seconds = 0.0
    return report


def _judge(progress: Progress, scalars: Mapping[str, float], config: TrainConfig) -> bool:
    """Whether this epoch is the best so far; cut the rate where the plateau schedule says so."""
    if config.select_by not in scalars:
        raise LstmclsError(
            f"train.select_by: {config.select_by} cannot be computed on these dev rows "
            f"(have: {', '.join(sorted(scalars))}); try train.select_by: macro_f1"
        )
    score = scalars[config.select_by]
    sign = 1 if HIGHER_IS_BETTER[config.select_by] else -1
    improved = progress.best_score is None or sign * score > sign * progress.best_score
    if improved:
        progress.best_score, progress.best_epoch = score, progress.epoch
        progress.epochs_since_best = progress.epochs_since_cut = 0
        return True
    progress.epochs_since_best += 1
    progress.epochs_since_cut += 1
    if config.schedule == "plateau" and progress.epochs_since_cut > config.plateau_patience:
        progress.rate_scale *= config.plateau_factor
        progress.epochs_since_cut = 0
    return False


def _parting(losses: list[list[float]]) -> list[str]:
    """A warning where the training loss still falls while the dev loss has risen twice in a row."""
    if len(losses) < 3:
        return []
    (train_1, dev_1), (_, dev_2), (train_3, dev_3) = losses[-3:]
    if not (dev_1 < dev_2 < dev_3 and train_3 < train_1):
        return []
    lowest = int(np.argmin([dev for _, dev in losses]))
    return [
        f"train and dev loss part: dev was lowest in epoch {lowest + 1} ({losses[lowest][1]:.3f}) and is {dev_3:.3f} "
        f"now; the model learns by heart: try more dropout, fewer epochs or a smaller model"
    ]


def _patience_is_spent(progress: Progress, config: TrainConfig) -> bool:
    return bool(config.patience) and progress.epochs_since_best >= config.patience
