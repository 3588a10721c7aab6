"""The forecaster: an encoder of the past, and a head for each future step that sees what is known of that step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_cli.nn.dropout import dropout
from lstm_cli.nn.encoders import DenseEncoder
from lstm_cli.nn.model import Model, Stage, num_parameters

_HEAD_RANGE = 0.01
"""The head starts near zero, so that a new model forecasts what it is added to."""


class Forecaster(Model):
    """Encoder -> two hidden layers for each of H future steps -> Q quantiles of each.

    The first hidden layer of step h is the relu of a sum of three parts: the encoder's final state, the vector of what
    is known of step h, and a learned vector of the step itself.
    """

    def __init__(
        self,
        encoder: DenseEncoder,
        num_known: int,
        horizon: int,
        num_quantiles: int,
        head_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.state = nn.Linear(encoder.output_size, head_size)
        self.known = nn.Linear(num_known, head_size, bias=False)
        self.step = nn.Parameter(torch.zeros(horizon, head_size))
        self.mixed = nn.Linear(head_size, head_size)
        self.head = nn.Linear(head_size, num_quantiles)
        self.dropout = dropout
        nn.init.normal_(self.step, std=0.1)
        nn.init.normal_(self.head.weight, std=_HEAD_RANGE)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor, lengths: Tensor, known: Tensor) -> Tensor:
        """(B, T, F) float32, (B,) int64 on the CPU, (B, H, K) float32 -> (B, H, Q)."""
        state = dropout(self.encoder(inputs, lengths).final[:, -1], self.dropout, self.training)
        hidden = torch.relu(self.state(state).unsqueeze(1) + self.known(known) + self.step)
        hidden = torch.relu(self.mixed(dropout(hidden, self.dropout, self.training)))
        quantiles: Tensor = self.head(dropout(hidden, self.dropout, self.training)).float()
        return quantiles

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        """The encoder, then the hidden layer of the future steps and the head."""
        horizon, size = self.step.shape
        hidden = sum(map(num_parameters, (self.state, self.known, self.mixed))) + self.step.numel()
        return [
            *self.encoder.stages(batch, time),
            Stage("future steps", f"({batch}, {horizon}, {size})", hidden),
            Stage("quantiles", f"({batch}, {horizon}, {self.head.out_features})", num_parameters(self.head)),
        ]
