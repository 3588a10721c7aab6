"""Training on all rows for a number of epochs that is known: there are no dev rows, so nothing is scored or chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lstm_cli.data.store import Store
from lstm_cli.runtime import Runtime
from lstm_cli.tasks.base import Trainable
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import StepReport, train_epoch
from lstm_cli.training.state import TrainState


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch without dev rows is over; the state is at the start of the next one. See EpochReport for the fields."""

    epoch: int
    step: int
    train_loss: float
    learning_rate: float
    tokens_per_second: float
    skipped_steps: int
    seconds: float

    def as_record(self) -> dict[str, Any]:
        """The report as a line of metrics.jsonl, where epochs count from 1."""
        return {
            "epoch": self.epoch + 1,
            "step": self.step,
            "train_loss": self.train_loss,
            "dev": {},
            "learning_rate": self.learning_rate,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "skipped_steps": self.skipped_steps,
            "seconds": round(self.seconds, 3),
        }


def fit_without_dev(
    state: TrainState, task: Trainable, store: Store, config: TrainConfig, num_epochs: int, runtime: Runtime
) -> Iterator[StepReport | EpochEnd]:
    """Train from the current state until `num_epochs` epochs are done, with the learning rates of `config.epochs`.

    Between two reports the state can be saved, as in `fit`. Raises NotFiniteError as `fit` does.
    """
    progress = state.progress
    while progress.epoch < num_epochs:
        yield from train_epoch(state, task, store, config, runtime)
        report = EpochEnd(
            epoch=progress.epoch,
            step=progress.step,
            train_loss=progress.mean_loss,
            learning_rate=state.optimizer.param_groups[0]["lr"],
            tokens_per_second=progress.num_tokens / max(progress.seconds, 1e-9),
            skipped_steps=progress.skipped_steps,
            seconds=progress.seconds,
        )
        progress.end_epoch()
        yield report
