"""The training loop. `fit` yields reports, and the caller decides what to do with them. To stop, it uses `break`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lstm_cli.arrays import Int64
from lstm_cli.batch import Batch
from lstm_cli.data.batching import batches_from, epoch_batches
from lstm_cli.data.store import Store
from lstm_cli.errors import LstmclsError, NotFiniteError
from lstm_cli.nn.model import Model
from lstm_cli.runtime import Runtime, seed_step
from lstm_cli.scoring.abilities import calibrated
from lstm_cli.scoring.evaluation import refuse_not_finite
from lstm_cli.scoring.prediction import predict_batches
from lstm_cli.tasks.base import Outputs, Scores, Trainable
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.optimizer import average, scale_pretrained_rate, take_step
from lstm_cli.training.state import PendingStep, Progress, TrainState

_PENDING_STEPS = {"cpu": 1, "cuda": 32, "mps": 32}
"""How many steps may pass before the host reads their losses: each read waits for the device."""


@dataclass(frozen=True, slots=True)
class EncodedSplits:
    """The rows that `fit` trains on, and those that it scores after every epoch."""

    train: Store
    dev: Store


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step is done, and with it `num_done` of `num_batches` batches of this epoch. `loss` is the mean so far.

    Each batch was computed in `num_microbatches` parts: more than one after the device ran out of memory.
    """

    epoch: int
    num_done: int
    num_batches: int
    loss: float
    tokens_per_second: float
    num_microbatches: int


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """All steps of the epoch are done, and `num_done` of `num_rows` rows are scored."""

    num_done: int
    num_rows: int


@dataclass(frozen=True, slots=True)
class NetworkLoss:
    """The loss of the network alone on a sample of the training rows and on the dev rows, so that they can be compared.

    Both are of the weights at the end of the epoch (the averaged ones if there are any), without dropout, without
    adversarial noise and before calibration.
    """

    train: float
    dev: float


@dataclass(frozen=True, slots=True)
class EpochReport:
    """An epoch is over; the state is at the start of the next one.

    `train_loss` is the mean loss of the epoch: of weights that changed meanwhile, with dropout and adversarial noise.
    `network_loss` is that of the network alone, measured alike on train and dev. `dev` are the scores of the whole
    model. `padding_fraction` is the fraction of padding in all computed time steps, `seconds` the duration of the
    training and `dev_seconds` that of the scoring.
    """

    epoch: int
    step: int
    train_loss: float
    network_loss: NetworkLoss
    dev: Scores
    learning_rate: float
    tokens_per_second: float
    padding_fraction: float
    skipped_steps: int
    seconds: float
    dev_seconds: float
    improved: bool
    warnings: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """The report as a line of metrics.jsonl, where epochs count from 1."""
        return {
            "epoch": self.epoch + 1,
            "step": self.step,
            "train_loss": self.train_loss,
            "network_loss": {"train": self.network_loss.train, "dev": self.network_loss.dev},
            "dev": self.dev.scalars(),
            "best": self.improved,
            "learning_rate": self.learning_rate,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "padding_share": round(self.padding_fraction, 5),
            "skipped_steps": self.skipped_steps,
            "seconds": round(self.seconds, 3),
            "dev_seconds": round(self.dev_seconds, 3),
        }


FitReport = StepReport | ScoringReport | EpochReport


def fit(
    state: TrainState, task: Trainable, data: EncodedSplits, config: TrainConfig, runtime: Runtime
) -> Iterator[FitReport]:
    """Train from the current state until the last epoch, or until `patience` epochs in a row brought no improvement.

    Yields a report after every step, every batch of scored rows and every epoch. Between two reports the state is
    consistent: it can be saved there, and a training that resumes from it gives exactly the same result. Raises
    NotFiniteError after `max_bad_steps` steps in a row with a NaN or infinite loss or gradient.
    """
    while state.progress.epoch < config.epochs and not is_out_of_patience(state.progress, config):
        yield from train_epoch(state, task, data.train, config, runtime)
        yield from _finish_epoch(state, task, data, config, runtime)


def train_epoch(
    state: TrainState, task: Trainable, store: Store, config: TrainConfig, runtime: Runtime
) -> Iterator[StepReport]:
    """Train the rest of the current epoch, and yield a report after every step.

    A step takes `accumulate` batches for each process, and every process computes its own of them.
    """
    progress = state.progress
    lengths = store.lengths
    batches = epoch_batches(lengths, config.batch_size, config.batch_tokens, state.seed, progress.epoch)
    batch_of = batches_from(store, runtime.device)
    state.model.train()
    while progress.num_batches < len(batches):
        began = time.perf_counter()
        per_step = config.accumulate * runtime.workers.size
        group = batches[progress.num_batches : progress.num_batches + per_step]
        done = (progress.epoch + progress.num_batches / len(batches)) / config.epochs
        rate = learning_rate(config, done, progress.rate_scale)
        frozen = done * config.epochs < config.frozen_epochs
        scale_pretrained_rate(state.optimizer, 0.0 if frozen else config.pretrained_rate)
        while not _try_step(state, task, group, batch_of, rate, config, runtime):
            state.num_microbatches *= 2
        progress.num_batches += len(group)
        progress.step += 1
        progress.num_tokens += sum(int(lengths[rows].sum()) for rows in group)
        progress.num_padded_tokens += sum(len(rows) * int(lengths[rows].max()) for rows in group)
        progress.seconds += time.perf_counter() - began
        yield StepReport(
            epoch=progress.epoch,
            num_done=progress.num_batches,
            num_batches=len(batches),
            loss=progress.mean_loss,
            tokens_per_second=progress.num_tokens / progress.seconds,
            num_microbatches=state.num_microbatches,
        )
    _read_pending(state, config)


def _try_step(
    state: TrainState,
    task: Trainable,
    group: list[Int64],
    batch_of: Callable[[Int64], Batch],
    rate: float,
    config: TrainConfig,
    runtime: Runtime,
) -> bool:
    """Take a step on the batches of `group`, each split into `state.num_microbatches`; False if memory ran out.

    Raises LstmclsError if memory runs out with a single row.
    """
    workers = runtime.workers
    seed_step(state.seed, state.progress.step, workers.rank)
    microbatches = [
        part
        for rows in group[workers.rank :: workers.size]
        for part in np.array_split(rows, min(state.num_microbatches, len(rows)))
    ]
    sums, out_of_memory = None, False
    try:
        sums = _gradients(state, task, map(batch_of, microbatches), sum(map(len, group)), runtime)
    except torch.OutOfMemoryError as fault:
        out_of_memory = True
        if all(len(rows) == 1 for rows in microbatches):
            raise LstmclsError(
                f"out of memory with a single row in a batch ({str(fault).splitlines()[0]}); try a lower "
                f"task.max_tokens or a smaller task.encoder"
            ) from None
    if not workers.any(out_of_memory):
        assert sums is not None
        _step(state, sums, sum(map(len, group)), rate, config, runtime)
        return True
    # not in the handler above: the traceback there keeps every tensor of the step alive
    state.optimizer.zero_grad(set_to_none=True)
    if runtime.device.type == "cuda":
        torch.cuda.empty_cache()
    return False


def _gradients(
    state: TrainState, task: Trainable, batches: Iterable[Batch], num_rows: int, runtime: Runtime
) -> tuple[Tensor, int]:
    """Compute the gradients of the loss of `batches`, divided by `num_rows`. Returns the loss () and its count."""
    total = torch.zeros((), device=runtime.device)
    count = 0
    for batch in batches:
        with runtime.autocast():
            loss = task.loss(state.model, batch)
        state.scaler.scale(loss.total / num_rows).backward()  # type: ignore[no-untyped-call]
        total += loss.total.detach()
        count += loss.count
    return total, count


def _step(
    state: TrainState,
    sums: tuple[Tensor, int],
    num_rows: int,
    rate: float,
    config: TrainConfig,
    runtime: Runtime,
) -> None:
    """One optimizer step with the gradients of all processes, of `num_rows` rows in total. `sums` are this process's
    loss and its count.

    A loss or gradient that is not finite changes no weight.
    """
    total, count = sums
    if runtime.workers.size > 1:
        numbers = torch.stack([total, total.new_tensor(float(count))])
        runtime.workers.sum_gradients(list(state.model.parameters()), numbers)
        total, count = numbers[0], round(numbers[1].item())
    if count != num_rows:  # the mean is over `count`: a task may count time steps, and a batch may count 0
        for parameter in state.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(num_rows / max(count, 1))
    result = take_step(state.optimizer, state.scaler, total, rate, config.clip_norm)
    if state.averaged is not None:
        average(state.averaged, state.model, config.ema, state.progress.step)
    state.pending.append(PendingStep(result, count))
    if len(state.pending) >= _PENDING_STEPS[runtime.device.type]:
        _read_pending(state, config)


def _read_pending(state: TrainState, config: TrainConfig) -> None:
    """Count the pending steps. Raises NotFiniteError if too many in a row were not finite."""
    last = state.pending[-1].result if state.pending else None
    state.count_pending()
    progress = state.progress
    if last is not None and progress.bad_in_a_row >= config.max_bad_steps:
        part = "gradient" if math.isfinite(last[0].item()) else "loss"
        rate = state.optimizer.param_groups[0]["lr"]
        raise NotFiniteError(
            f"training stopped in epoch {progress.epoch + 1}, step {progress.step + 1}: the {part} was NaN or infinite "
            f"{progress.bad_in_a_row} steps in a row, at a learning rate of {rate:.3g}; "
            f"try a lower train.learning_rate, a lower train.clip_norm, or run.precision: fp32"
        )


_BYTES_PER_GATE = 50
"""Bytes of memory on a CPU per padded time step and gate value. From peaks measured at 25,600 time steps, 5.4 GB (two
layers, H=256) and 1.7 GB (one layer, H=128), minus the 0.4 GB of the process itself."""


def memory_estimate(model: Model, store: Store, config: TrainConfig) -> int:
    """Estimated bytes of the forward and backward pass of the largest batch on a CPU, from the widths of the gates."""
    batches = epoch_batches(store.lengths, config.batch_size, config.batch_tokens, 0, 0)
    num_steps = max(len(rows) * int(store.lengths[rows].max()) for rows in batches)
    gates = sum(stage.gates for stage in model.stages())
    return _BYTES_PER_GATE * gates * num_steps


def learning_rate(config: TrainConfig, done: float, scale: float) -> float:
    """The learning rate after the fraction `done` of all epochs: linear warm-up, then the schedule.

    It depends on `done` alone, so that a resumed training has the same rate. `scale` is the factor from the plateau
    schedule and from returning to a checkpoint after NaN.
    """
    highest = config.learning_rate * scale
    if done < config.warmup:
        return highest * max(done / config.warmup, 0.01)  # the very first step is small, but not zero
    match config.schedule:
        case "cosine":
            after_warmup = (done - config.warmup) / (1 - config.warmup)
            return highest * 0.5 * (1 + math.cos(math.pi * after_warmup))
        case "constant" | "plateau":
            return highest


def _finish_epoch(
    state: TrainState, task: Trainable, data: EncodedSplits, config: TrainConfig, runtime: Runtime
) -> Iterator[ScoringReport | EpochReport]:
    """Score the model, compare the epoch with the best one, and move the state to the start of the next."""
    progress, dev = state.progress, data.dev
    began = time.perf_counter()
    ability = calibrated(task)
    outputs_of = ability.uncalibrated if ability else task.outputs
    sample = _train_sample(data, state.seed)
    uncalibrated: list[Outputs] = []
    for store in (dev, sample):
        before = len(dev) if uncalibrated else 0
        for num_done, collected in predict_batches(state.scored_model, outputs_of, store, runtime):  # noqa: B007
            yield ScoringReport(before + num_done, len(dev) + len(sample))
        uncalibrated.append(collected.outputs())
        refuse_not_finite(uncalibrated[-1])
    dev_outputs, sample_outputs = uncalibrated
    network = task.score(dev_outputs, dev)
    loss = task.loss_metric.name
    network_loss = NetworkLoss(task.score(sample_outputs, sample).scalars()[loss], network.scalars()[loss])
    scores = task.score(ability.calibrate(state.scored_model, dev_outputs, dev), dev) if ability else network
    dev_seconds = time.perf_counter() - began
    scalars = scores.scalars()
    improved = _is_improvement(progress, scalars, task, config)
    progress.losses.append([progress.mean_loss, scalars[loss]])
    progress.network_losses.append([network_loss.train, network_loss.dev])
    report = EpochReport(
        epoch=progress.epoch,
        step=progress.step,
        train_loss=progress.mean_loss,
        network_loss=network_loss,
        dev=scores,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        tokens_per_second=progress.num_tokens / max(progress.seconds, 1e-9),
        padding_fraction=1 - progress.num_tokens / max(progress.num_padded_tokens, 1),
        skipped_steps=progress.skipped_steps,
        seconds=progress.seconds,
        dev_seconds=dev_seconds,
        improved=improved,
        warnings=(*task.warnings(scores), *_overfitting(progress)),
    )
    progress.end_epoch()
    yield report


_SAMPLE_ROWS = 128, 2_000
"""Minimum and maximum number of training rows that are scored after every epoch. In between, there are as many as dev
rows: a loss is then about as exact on train as on dev."""


def _train_sample(data: EncodedSplits, seed: int) -> Store:
    """The training rows whose loss is compared with that of dev: for one seed, the same after every epoch."""
    fewest, most = _SAMPLE_ROWS
    size = min(len(data.train), most, max(fewest, len(data.dev)))
    # a generator of its own, so that no draw of the training changes
    return data.train.select(np.sort(np.random.default_rng(seed).permutation(len(data.train))[:size]))


def _is_improvement(
    progress: Progress, scalars: Mapping[str, float], task: Trainable, config: TrainConfig
) -> bool:
    """Whether this epoch is the best so far: by its score, and if that equals the best one, by its dev loss.

    Also cuts the learning rate if the plateau schedule asks for it.
    """
    metric = next((metric for metric in task.metrics if metric.name == config.select_by), None)
    if metric is None or metric.name not in scalars:
        raise LstmclsError(
            f"train.select_by: {config.select_by} cannot be computed on these dev rows "
            f"(have: {', '.join(sorted(scalars))}); try one of these"
        )
    score, loss = scalars[metric.name], scalars[task.loss_metric.name]
    best, best_loss = progress.best_score, progress.best_loss
    if (
        best is None
        or best_loss is None
        or metric.is_better(score, best)
        or (score == best and task.loss_metric.is_better(loss, best_loss))
    ):
        progress.best_score, progress.best_epoch = score, progress.epoch
        progress.epochs_since_best = progress.epochs_since_cut = 0
        return True
    progress.epochs_since_best += 1
    progress.epochs_since_cut += 1
    if config.schedule == "plateau" and progress.epochs_since_cut > config.plateau_patience:
        progress.rate_scale *= config.plateau_factor
        progress.epochs_since_cut = 0
    return False


def _overfitting(progress: Progress) -> list[str]:
    """A warning if the training loss of the network still falls while its dev loss has risen twice in a row.

    It comes once, and again only after an epoch with a lower dev loss than ever.
    """
    losses = progress.network_losses
    lowest = int(np.argmin([dev for _, dev in losses]))

    def rises(end: int) -> bool:
        if end < 3:
            return False
        (train_1, dev_1), (_, dev_2), (train_3, dev_3) = losses[end - 3 : end]
        return dev_1 < dev_2 < dev_3 and train_3 < train_1 and dev_3 > 1.01 * losses[lowest][1]

    if not rises(len(losses)) or any(rises(end) for end in range(lowest + 3, len(losses))):
        return []
    # of a training that version 0.1 began, the first epochs have no such losses
    epoch = progress.epoch + 2 - len(losses) + lowest
    return [
        f"the network overfits: its training loss still falls, its dev loss was lowest in epoch {epoch} "
        f"({losses[lowest][1]:.3f}) and is {losses[-1][1]:.3f} now; try more dropout, fewer epochs or a smaller model"
    ]


def is_out_of_patience(progress: Progress, config: TrainConfig) -> bool:
    """Whether `train.patience` epochs in a row brought no improvement."""
    return bool(config.patience) and progress.epochs_since_best >= config.patience
