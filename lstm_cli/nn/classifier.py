"""A classifier: an encoder, a pooling over its states, a linear head, and the calibration of its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lstm_cli.nn.encoders import Encoder
from lstm_cli.nn.model import Model, Stage, num_parameters
from lstm_cli.nn.pooling import Pooling
from lstm_cli.nn.recurrent import Encoded


class TextClassifier(Model):
    """Encoder -> pooling -> dropout -> linear.

    The calibration is fitted on dev rows, not trained. `scales` (2,) multiply the logits of the network and of the
    features. The fraction `uniform` () of each probability comes from the uniform distribution.
    """

    scales: Tensor
    uniform: Tensor

    def __init__(self, encoder: Encoder, pooling: Pooling, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.pooling.output_size, num_classes)
        for name, value in self._uncalibrated().items():
            self.register_buffer(name, value)

    @staticmethod
    def _uncalibrated() -> dict[str, Tensor]:
        """The calibration that changes nothing. Also what the first checkpoints, which have none of a value, mean."""
        return {"scales": torch.ones(2), "uniform": torch.zeros(())}

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Logits of every class: (B, T) int64 or (B, T, F) float32, (B,) int64 on the CPU -> (B, C).

        The content of the padding does not change the logits.

        Raises:
            ValueError: a length is not in 1..T, or `lengths` is not (B,) on the CPU.
        """
        return self.read(self.encoder.embed(inputs), lengths)

    def read(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """`forward` from embedded inputs: (B, T, E), (B,) int64 on the CPU -> (B, C)."""
        encoded = self.encoder.read(embedded, lengths)
        # in the weights' own precision: in bf16 a mean or a logit keeps only three digits, and it saved no time here
        dtype = self.head.weight.dtype
        with torch.autocast(embedded.device.type, enabled=False):
            pooled = self.pooling(Encoded(encoded.states.to(dtype), encoded.final.to(dtype)), lengths)
            logits: Tensor = self.head(self.dropout(pooled))
        return logits

    def probs(self, logits: Tensor, feature_logits: Tensor) -> Tensor:
        """Calibrated probabilities in float64 on the CPU: (B, C), (B, C) or without features (B, 0) -> (B, C)."""
        network_scale, feature_scale = self.scales.cpu().double()  # not every device has float64
        total = network_scale * logits.cpu().double()
        if feature_logits.shape[1]:
            total = total + feature_scale * feature_logits.cpu().double()
        uniform = self.uniform.cpu().double()
        probs: Tensor = (1 - uniform) * total.softmax(dim=1) + uniform / total.shape[1]
        return probs

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, value in self._uncalibrated().items():
            state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The encoder's stages, the pooling and the head."""
        return [
            *self.encoder.stages(batch, time),
            Stage(
                f"{self.pooling.kind} pooling",
                f"({batch}, {self.pooling.output_size})",
                num_parameters(self.pooling),
            ),
            Stage("head", f"({batch}, {self.head.out_features})", num_parameters(self.head)),
        ]
