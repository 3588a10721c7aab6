"""Poolings: from the states of a row to one vector, over the real steps only.

The states at padding get a weight of 0 or a score of -inf, so that any finite value there changes nothing. A pooling
does not know how many directions the encoder has.
"""

from __future__ import annotations

from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from lstm_cli.nn.masks import valid_mask
from lstm_cli.nn.recurrent import Encoded

PoolingKind = Literal["final", "final-all-layers", "mean", "max", "mean+max", "attention"]


class FinalPooling(nn.Module):
    """The last layer's final state: forward after the last real step, backward after the first."""

    kind: PoolingKind = "final"

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.output_size = state_size

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:  # noqa: ARG002
        """States and final (B, L, D*H), (B,) -> (B, D*H)."""
        return encoded.final[:, -1]


class FinalAllLayersPooling(nn.Module):
    """The final states of all layers, concatenated, first layer first."""

    kind: PoolingKind = "final-all-layers"

    def __init__(self, state_size: int, num_layers: int) -> None:
        super().__init__()
        self.output_size = num_layers * state_size

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:  # noqa: ARG002
        """States and final (B, L, D*H), (B,) -> (B, L*D*H)."""
        return encoded.final.flatten(1)


class MeanPooling(nn.Module):
    """The mean of the real steps' states."""

    kind: PoolingKind = "mean"

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.output_size = state_size

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:
        """States (B, T, D*H), (B,) -> (B, D*H)."""
        return _mean(encoded.states, _valid(encoded, lengths), lengths)


class MaxPooling(nn.Module):
    """The maximum of each feature over the real steps."""

    kind: PoolingKind = "max"

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.output_size = state_size

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:
        """States (B, T, D*H), (B,) -> (B, D*H)."""
        return _max(encoded.states, _valid(encoded, lengths))


class MeanMaxPooling(nn.Module):
    """The mean and the maximum, concatenated."""

    kind: PoolingKind = "mean+max"

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.output_size = 2 * state_size

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:
        """States (B, T, D*H), (B,) -> (B, 2*D*H)."""
        valid = _valid(encoded, lengths)
        return torch.cat([_mean(encoded.states, valid, lengths), _max(encoded.states, valid)], dim=-1)


class AttentionPooling(nn.Module):
    """The mean of the real steps' states, weighted by softmax(state . query) with a learned query.

    The query starts at zero, which gives the plain mean. As in Yang et al. 2016, equations 6 and 7, but without the
    layer before the product.
    """

    kind: PoolingKind = "attention"

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.output_size = state_size
        self.query = nn.Parameter(torch.zeros(state_size))

    def forward(self, encoded: Encoded, lengths: Tensor) -> Tensor:
        """States (B, T, D*H), (B,) -> (B, D*H)."""
        return _weighted_sum(self.weights(encoded, lengths), encoded.states)

    def weights(self, encoded: Encoded, lengths: Tensor) -> Tensor:
        """States (B, T, D*H), (B,) -> (B, T) the weight of each step; 0 at padding."""
        scores = encoded.states @ self.query  # (B, T)
        return scores.masked_fill(~_valid(encoded, lengths), float("-inf")).softmax(dim=-1)


Pooling = FinalPooling | FinalAllLayersPooling | MeanPooling | MaxPooling | MeanMaxPooling | AttentionPooling


def build_pooling(kind: PoolingKind, state_size: int, num_layers: int) -> Pooling:
    """Build the pooling `kind` for states of width `state_size` = D*H from `num_layers` layers."""
    match kind:
        case "final":
            return FinalPooling(state_size)
        case "final-all-layers":
            return FinalAllLayersPooling(state_size, num_layers)
        case "mean":
            return MeanPooling(state_size)
        case "max":
            return MaxPooling(state_size)
        case "mean+max":
            return MeanMaxPooling(state_size)
        case "attention":
            return AttentionPooling(state_size)
        case _:
            assert_never(kind)


def _valid(encoded: Encoded, lengths: Tensor) -> Tensor:
    return valid_mask(lengths, encoded.states.shape[1], encoded.states.device)


def _weighted_sum(weights: Tensor, states: Tensor) -> Tensor:
    """(B, T), (B, T, F) -> (B, F)."""
    return (weights.to(states.dtype).unsqueeze(1) @ states).squeeze(1)


def _mean(states: Tensor, valid: Tensor, lengths: Tensor) -> Tensor:
    return _weighted_sum(valid, states) / lengths.to(states.device).unsqueeze(1)


def _max(states: Tensor, valid: Tensor) -> Tensor:
    return states.masked_fill(~valid.unsqueeze(-1), float("-inf")).max(dim=1).values
