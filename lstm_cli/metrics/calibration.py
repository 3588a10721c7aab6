"""Calibration: fitted on the dev rows, it turns the logits of the network and of the n-grams into probabilities.

For a network alone this is temperature scaling (Guo et al. 2017, section 4.2). For a network that is combined with
n-gram features, the two factors are also the weights of the blend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstm_cli.arrays import Float64, Int64

_PRIOR_ROWS = 10.0
"""Weight, in rows, of the prior on the scales: the n-grams alone, or a network alone, as it is."""
_KNOWN_POWER = 2.0
_MIN_SCALE = 1e-3
"""The scale of logits without information."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities.

    `scales` multiply the logits of the network and of the features. The network's are also multiplied by the fraction
    of known tokens to the power of `known_power`. The fraction `uniform` of each probability comes from the uniform
    distribution.
    """

    scales: tuple[float, float] = (1.0, 1.0)
    known_power: float = 0.0
    uniform: float = 0.0

    @classmethod
    def fit(cls, logits: Float64, feature_logits: Float64, known: Float64, targets: Int64) -> Calibration:
        """(N, C), (N, C) or (N, 0), (N,), (N,) -> the calibration for these dev rows.

        The scales have the lowest log loss on the rows and the prior. A constant that is added to all logits of a row
        changes nothing.
        """
        num_rows, num_classes = logits.shape
        if not feature_logits.shape[1]:
            scales = _fit_scales(logits[None], targets, np.ones(1))
            known_power = 0.0
            both = (float(scales[0]), 1.0)
        else:
            known_power = _KNOWN_POWER
            weighted = logits * known[:, None] ** known_power
            scales = _fit_scales(np.stack([weighted, feature_logits]), targets, np.array([0.0, 1.0]))
            both = (float(scales[0]), float(scales[1]))
        return cls(both, known_power, num_classes / (num_classes - 1) / (num_rows + 2))

    def probs(self, logits: Float64, feature_logits: Float64, known: Float64) -> Float64:
        """(N, C), (N, C) or (N, 0), (N,) -> (N, C)."""
        total = self.scales[0] * logits * known[:, None] ** self.known_power
        if feature_logits.shape[1]:
            total = total + self.scales[1] * feature_logits
        probs: Float64 = (1 - self.uniform) * softmax(total) + self.uniform / total.shape[1]
        return probs


def _fit_scales(stacked: Float64, targets: Int64, prior: Float64) -> Float64:
    """(S, N, C), (N,), (S,) -> (S,): the positive factors with the lowest log loss of the sum, near `prior`."""
    from scipy.optimize import minimize

    num_rows = len(targets)
    of_target = stacked[:, np.arange(num_rows), targets]  # (S, N)

    def loss(scales: Float64) -> tuple[float, Float64]:
        scaled = np.tensordot(scales, stacked, 1)
        scaled -= scaled.max(axis=1, keepdims=True)
        exps = np.exp(scaled)
        sums = exps.sum(axis=1)
        expected = np.einsum("snc,nc->sn", stacked, exps / sums[:, None])
        log_loss = np.log(sums).sum() - scaled[np.arange(num_rows), targets].sum()
        away = scales - prior
        gradient: Float64 = (expected - of_target).sum(axis=1) + _PRIOR_ROWS * away
        return float(log_loss + _PRIOR_ROWS / 2 * (away @ away)) / num_rows, gradient / num_rows

    bounds = [(_MIN_SCALE, None)] * len(stacked)
    found: Float64 = minimize(loss, np.ones(len(stacked)), jac=True, method="L-BFGS-B", bounds=bounds).x
    return found


def softmax(logits: Float64) -> Float64:
    """(N, C) -> (N, C): probabilities."""
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: Float64 = exps / exps.sum(axis=1, keepdims=True)
    return probs
