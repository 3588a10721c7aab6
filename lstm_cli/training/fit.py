"""The training loop: `fit` yields, its caller decides. To stop is `break`, a test is `list(fit(...))`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lstm_cli.arrays import Int64
from lstm_cli.batch import Batch
from lstm_cli.data.batching import batches_from, epoch_batches
from lstm_cli.data.store import TokenStore
from lstm_cli.errors import LstmclsError, NotFiniteError
from lstm_cli.metrics.classification import HIGHER_IS_BETTER
from lstm_cli.runtime import Runtime, seed_step
from lstm_cli.scoring.evaluation import refuse_not_finite
from lstm_cli.scoring.prediction import predict_batches
from lstm_cli.tasks.base import Scores, Task
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.optimizer import average, slow_down, take_step
from lstm_cli.training.state import Progress, TrainState, Unread

_STEPS_UNREAD = {"cpu": 1, "cuda": 32, "mps": 32}
"""After how many steps the host looks at their losses: every look waits for all that the device was given."""


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """What `fit` reads."""

    train: TokenStore
    dev: TokenStore


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step was taken: `position` of `num_batches` batches of this epoch are done, `loss` is their mean so far.

    Each batch was computed in `parts`, more than one where the device ran out of memory.
    """

    epoch: int
    position: int
    num_batches: int
    loss: float
    tokens_per_second: float
    parts: int


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """All steps of the epoch are done, and `num_done` of `num_rows` dev rows have been scored."""

    num_done: int
    num_rows: int


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


Report = StepReport | ScoringReport | EpochReport


def fit(
    state: TrainState, task: Task, data: EncodedSplits, config: TrainConfig, runtime: Runtime
) -> Iterator[Report]:
    """Train from where the state stands until the epochs or the patience are spent, reporting every step, batch of dev
    rows and epoch.

    Between two reports the state is whole: it can be saved there, and a state restored from it goes on exactly as
    this one would. Raises NotFiniteError after `max_bad_steps` steps in a row without a finite gradient.
    """
    while state.progress.epoch < config.epochs and not _patience_is_spent(state.progress, config):
        yield from train_epoch(state, task, data.train, config, runtime)
        yield from _finish_epoch(state, task, data.dev, config, runtime)


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
        frozen = done * config.epochs < config.frozen_epochs
        slow_down(state.optimizer, 0.0 if frozen else config.pretrained_rate)
        while not _fits(state, task, group, batch_of, rate, config, runtime):
            state.parts *= 2
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
            parts=state.parts,
        )
    _look(state, config)


def _fits(
    state: TrainState,
    task: Task,
    group: list[Int64],
    batch_of: Callable[[Int64], Batch],
    rate: float,
    config: TrainConfig,
    runtime: Runtime,
) -> bool:
    """Take a step on the batches of `group`, each in `state.parts`; False where there was not memory enough.

    Raises LstmclsError where parts cannot get smaller.
    """
    seed_step(state.seed, state.progress.step)
    parts = [part for rows in group for part in np.array_split(rows, min(state.parts, len(rows)))]
    try:
        num_rows = sum(map(len, parts))
        _step(state, task, map(batch_of, parts), num_rows, rate, config, runtime)
    except torch.OutOfMemoryError as fault:
        if all(len(part) == 1 for part in parts):
            raise LstmclsError(
                f"out of memory with a single row in a batch ({str(fault).splitlines()[0]}); try a lower "
                f"task.max_tokens or a smaller task.encoder"
            ) from None
    else:
        return True
    # outside of the handler, whose traceback holds every tensor of the step
    state.optimizer.zero_grad(set_to_none=True)
    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()
    return False


def _mean_loss(progress: Progress) -> float:
    return progress.loss_total / progress.loss_count if progress.loss_count else math.nan


def _step(
    state: TrainState,
    task: Task,
    batches: Iterable[Batch],
    num_rows: int,
    rate: float,
    config: TrainConfig,
    runtime: Runtime,
) -> None:
    """One step of the optimizer on `batches` of `num_rows` rows together; one that is not finite leaves the weights as
    they are."""
    total = torch.zeros((), device=runtime.device)
    count = 0
    for batch in batches:
        with runtime.autocast():
            loss = task.loss(state.model, batch)
        state.scaler.scale(loss.total / num_rows).backward()  # type: ignore[no-untyped-call]
        total += loss.total.detach()
        count += loss.count
    if count != num_rows:  # the mean is over what is scored, which need not be rows
        for parameter in state.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(num_rows / count)
    figures = take_step(state.optimizer, state.scaler, total, rate, config.clip_norm)
    if state.averaged is not None:
        average(state.averaged, state.model, config.ema, state.progress.step)
    state.unread.append(Unread(figures, count))
    if len(state.unread) >= _STEPS_UNREAD[runtime.device.type]:
        _look(state, config)


def _look(state: TrainState, config: TrainConfig) -> None:
    """Count what is unread. Raises NotFiniteError where the last steps were not finite, too many of them in a row."""
    last = state.unread[-1].figures if state.unread else None
    state.settle()
    progress = state.progress
    if last is not None and progress.bad_in_a_row >= config.max_bad_steps:
        what = "gradient" if math.isfinite(last[0].item()) else "loss"
        rate = state.optimizer.param_groups[0]["lr"]
        raise NotFiniteError(
            f"training stopped in epoch {progress.epoch + 1}, step {progress.step + 1}: the {what} was NaN or infinite "
            f"{progress.bad_in_a_row} steps in a row, at a learning rate of {rate:.3g}; "
            f"try a lower train.learning_rate, a lower train.clip_norm, or run.precision: fp32"
        )


_BYTES_PER_GATE = 50
"""Of a CPU's memory, per padded position and unit of a gate: peaks of 5.4 GB (two layers, H=256) and 1.7 GB (one layer,
H=128) at 25,600 positions, less 0.4 GB of the process itself."""


def memory_estimate(model: nn.Module, store: TokenStore, config: TrainConfig) -> int:
    """Bytes that the forward and backward pass of the largest batch take on a CPU, by the widths of the gates."""
    batches = epoch_batches(store.lengths, config.batch_size, config.batch_tokens, 0, 0)
    positions = max(len(rows) * int(store.lengths[rows].max()) for rows in batches)
    gates = sum(len(value) for name, value in model.named_parameters() if "weight_hh" in name)
    return _BYTES_PER_GATE * gates * positions


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
) -> Iterator[ScoringReport | EpochReport]:
    """Score the dev rows, judge the epoch, and stand at the start of the next."""
    progress = state.progress
    began = time.perf_counter()
    for num_done, outputs in predict_batches(state.scored_model, task.uncalibrated, dev, runtime):  # noqa: B007
        yield ScoringReport(num_done, len(dev))
    refuse_not_finite(outputs)
    scores = task.score(task.calibrate(state.scored_model, outputs, dev), dev)
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
    yield report


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
    lowest = int(np.argmin([dev for _, dev in losses]))
    if not (dev_1 < dev_2 < dev_3 and train_3 < train_1 and dev_3 > 1.01 * losses[lowest][1]):
        return []
    return [
        f"train and dev loss part: dev was lowest in epoch {lowest + 1} ({losses[lowest][1]:.3f}) and is {dev_3:.3f} "
        f"now; the model learns by heart: try more dropout, fewer epochs or a smaller model"
    ]


def _patience_is_spent(progress: Progress, config: TrainConfig) -> bool:
    return bool(config.patience) and progress.epochs_since_best >= config.patience
