"""The curves of a training for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_cli.errors import LstmclsError


class TensorBoard:
    """Writes the scores of one training, epoch by epoch."""

    def __init__(self, folder: Path) -> None:
        """Raises LstmclsError if TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise LstmclsError(
                "run.tensorboard: TensorBoard is not installed; try pip install 'lstmcls[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line of metrics.jsonl."""
        flat = {"train/loss": record["train_loss"], "train/learning_rate": record["learning_rate"]}
        flat |= {f"network_loss/{name}": value for name, value in record["network_loss"].items()}
        flat |= {f"dev/{name}": value for name, value in record["dev"].items()}
        for name, value in flat.items():
            self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()
