"""What training, scoring and prediction ask of a task. A task is one file beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from lstm_cli.batch import Batch
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import EncodedRows, TokenStore

Outputs = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """`total` is summed over what the batch is scored on, `count` says how much that is: total / count is the mean."""

    total: Tensor
    count: int


class Scores(Protocol):
    """The frozen result of scoring a split."""

    def scalars(self) -> dict[str, float]:
        """Every single-number metric by name, for `train.select_by` and metrics.jsonl; the dev loss is `log_loss`."""
        ...


class Task(Protocol):
    """A learned task: it knows its vocabulary and its labels, both taken from the training rows only."""

    def build_model(self) -> nn.Module:
        """A freshly initialised model. What it draws comes from torch's global generator."""
        ...

    def encode(self, rows: Rows[Any], scored: bool = True) -> TokenStore:
        """All rows as token ids and targets, cached on disk by what they were made from; not `scored`, without what
        scoring alone needs."""
        ...

    def encode_window(self, rows: Iterable[Row[Any]]) -> EncodedRows:
        """A few rows, without their targets."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The training loss of a batch. The loop never learns a forward signature."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, …) what the model says of each row of the batch, in float64 on the CPU."""
        ...

    def uncalibrated(self, model: nn.Module, batch: Batch) -> Tensor:
        """`outputs` as they are before `calibrate`."""
        ...

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: TokenStore) -> Outputs:
        """Fit what turns the uncalibrated outputs of the dev rows into such as mean what they say, keep it in the
        model, and return those."""
        ...

    def score(self, outputs: Outputs, store: TokenStore) -> Scores:
        """Outputs of every row against the store's targets."""
        ...

    def warnings(self, scores: Scores) -> list[str]:
        """What a person should know about these development scores, in whole sentences."""
        ...

    def prediction(self, output: npt.NDArray[np.float64], top_k: int, probs: bool) -> Mapping[str, Any]:
        """One row's output as the keys of a prediction."""
        ...

    def files(self) -> dict[str, bytes]:
        """All that is needed to make this task again, as files of a checkpoint."""
        ...
