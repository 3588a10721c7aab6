"""The state of a training: everything that is needed to resume it."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lstm_cli.nn.model import Model
from lstm_cli.runtime import Runtime
from lstm_cli.tasks.base import Trainable
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.optimizer import adamw


@dataclass(slots=True)
class Progress:
    """The counters of a training. All of them are saved in a checkpoint.

    `num_batches` is the number of finished batches of the current epoch.
    """

    epoch: int = 0
    num_batches: int = 0
    step: int = 0
    rate_scale: float = 1.0
    best_score: float | None = None
    best_epoch: int | None = None
    epochs_since_best: int = 0
    epochs_since_cut: int = 0
    bad_in_a_row: int = 0
    went_back: bool = False
    # in the current epoch
    skipped_steps: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    num_tokens: int = 0
    num_padded_tokens: int = 0
    seconds: float = 0.0
    # (mean loss of the epoch, dev loss of the whole model) of every finished epoch
    losses: list[list[float]] = field(default_factory=list)
    # (train, dev) of the network alone; version 0.1 did not measure them
    network_losses: list[list[float]] = field(default_factory=list)

    @property
    def mean_loss(self) -> float:
        """The mean training loss of the epoch so far; NaN before its first step."""
        return self.loss_total / self.loss_count if self.loss_count else math.nan

    def end_epoch(self) -> None:
        """Move to the start of the next epoch."""
        self.epoch += 1
        self.num_batches = self.skipped_steps = self.loss_count = 0
        self.num_tokens = self.num_padded_tokens = 0
        self.loss_total = self.seconds = 0.0

    @property
    def best_loss(self) -> float | None:
        """The dev loss of the whole model in the best epoch so far."""
        return None if self.best_epoch is None else self.losses[self.best_epoch][1]


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A step whose result the host has not read yet.

    `result` (2,) is on the device: the loss, summed over `count`, and the norm of the gradient.
    """

    result: Tensor
    count: int


@dataclass(slots=True)
class TrainState:
    """The mutable state of a training. `averaged` holds the averaged weights of `train.ema`.

    `pending` are finished steps that are not yet counted in `progress`; on a CPU there are none. `num_microbatches` is
    the number of parts in which a batch is computed: more than one after memory ran out. It is not saved, so a resumed
    training starts with one.
    """

    model: Model
    averaged: Model | None
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    seed: int
    progress: Progress
    pending: list[PendingStep] = field(default_factory=list)
    num_microbatches: int = 1

    @classmethod
    def start(
        cls,
        task: Trainable,
        config: TrainConfig,
        runtime: Runtime,
        seed: int,
        weights: Mapping[str, Tensor] | None = None,
        pretrained: Collection[str] = (),
    ) -> TrainState:
        """A new model on its device with a new optimizer. The seed decides every weight that is not in `weights`.

        The parameters named in `pretrained` have their own learning rate (`train.pretrained_rate`).
        """
        torch.manual_seed(seed)
        model = task.build_model()
        model.load_state_dict({**model.state_dict(), **(weights or {})})
        model.to(runtime.device)
        optimizer = adamw(model, config.weight_decay, pretrained)
        scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        averaged = copy.deepcopy(model) if config.ema else None
        return cls(model, averaged, optimizer, scaler, seed, Progress())

    @property
    def scored_model(self) -> Model:
        """The model to score and save: the averaged one if there is one."""
        return self.averaged or self.model

    @property
    def is_good(self) -> bool:
        """Whether the state may be saved: the last step and all saved tensors are finite."""
        self.count_pending()
        return not self.progress.bad_in_a_row and all(
            bool(value.isfinite().all()) for value in self.training_tensors().values()
        )

    def go_back(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """`restore` after steps with NaN or infinite values, and halve the learning rate from here on."""
        self.pending.clear()
        self.restore(tensors, numbers)
        self.progress.rate_scale *= 0.5
        self.progress.bad_in_a_row = 0
        self.progress.went_back = True

    def training_tensors(self) -> dict[str, Tensor]:
        """All tensors that are needed to resume, by name."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for parameter, slots in self.optimizer.state.items():
            tensors |= {f"optimizer.{names[id(parameter)]}.{slot}": value for slot, value in slots.items()}
        return tensors

    def training_numbers(self) -> dict[str, Any]:
        """All numbers that are needed to resume."""
        self.count_pending()
        return {
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
            "scaler": self.scaler.state_dict(),
        }

    def count_pending(self) -> None:
        """Count the pending steps in `progress`. Waits for the device once."""
        if not self.pending:
            return
        progress = self.progress
        results = torch.stack([step.result for step in self.pending]).tolist()
        for step, (loss, norm) in zip(self.pending, results, strict=True):
            if math.isfinite(loss) and math.isfinite(norm):
                progress.loss_total += loss
                progress.loss_count += step.count
                progress.bad_in_a_row = 0
            else:
                progress.skipped_steps += 1
                progress.bad_in_a_row += 1
        self.pending.clear()

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Restore `training_tensors` and `training_numbers`. Raises KeyError, RuntimeError, TypeError or ValueError if
        they belong to another model."""
        self.model.load_state_dict(_under("model.", tensors))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged.", tensors))
        self.optimizer.state.clear()
        for name, parameter in self.model.named_parameters():
            slots = _under(f"optimizer.{name}.", tensors)
            if slots:  # none before the first step
                if {slot: value.shape for slot, value in slots.items()} != _slot_shapes(parameter):
                    raise ValueError(f"optimizer.{name} belongs to another parameter")
                self.optimizer.state[parameter] = {
                    slot: value.to(value.device if slot == "step" else parameter.device)
                    for slot, value in slots.items()
                }
        self.scaler.load_state_dict(dict(numbers["scaler"]))
        self.progress = Progress(**numbers["progress"])


def _slot_shapes(parameter: Tensor) -> dict[str, torch.Size]:
    """The shapes of AdamW's state of a parameter."""
    return {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
