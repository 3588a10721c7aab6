"""Calibration: fitted on the dev rows, it turns the logits of the network and of the n-grams into probabilities.

For a network alone this is temperature scaling (Guo et al. 2017, section 4.2). For a network that is combined with
n-gram features, the two factors are also the weights of the blend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstm_cli.arrays import Float64, Int64

_PRIOR_ROWS = 5.0
"""Weight, in rows, of the prior on the scales: the n-grams alone, or a network alone, as it is.

Measured with scripts/bench_blend.py (docs/benchmarks.md): with one row towards (1, 1), models of 200 rows of SST-2 lost
4.3 points of macro F1 to their n-grams, and the log loss of 200 and 500 hotel reviews was above that of the n-grams by
0.019 and 0.008; with 5 rows they lose 0.1 points, and the log loss is below. 3 rows and 10 score alike; with 10 more is
lost where the network is better on rows unlike dev. No rule was better on such rows: not a mixture of probabilities,
nor a network that counts less where it does not know the words, nor dev rows with unknown words that count more.
"""
_MIN_SCALE = 1e-3
"""The scale of logits without information."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities.

    `scales` multiply the logits of the network and of the features. The fraction `uniform` of each probability comes
    from the uniform distribution.
    """

    scales: tuple[float, float]
    uniform: float

    @classmethod
    def fit(cls, logits: Float64, feature_logits: Float64, targets: Int64) -> Calibration:
        """(N, C), (N, C) or (N, 0), (N,) -> the calibration for these dev rows.

        The scales have the lowest log loss on the rows and the prior. A constant that is added to all logits of a row
        changes nothing.
        """
        if feature_logits.shape[1]:
            first, second = _fit_scales(np.stack([logits, feature_logits]), targets, np.array([0.0, 1.0]))
        else:
            (first,), second = _fit_scales(logits[None], targets, np.ones(1)), 1.0
        return cls((float(first), float(second)), _uniform(*logits.shape))

    def probs(self, logits: Float64, feature_logits: Float64) -> Float64:
        """(N, C), (N, C) or (N, 0) -> (N, C)."""
        total = self.scales[0] * logits
        if feature_logits.shape[1]:
            total = total + self.scales[1] * feature_logits
        probs: Float64 = (1 - self.uniform) * softmax(total) + self.uniform / total.shape[1]
        return probs


def _uniform(num_rows: int, num_classes: int) -> float:
    """The fraction with which no probability is above (N + 1/2) / (N + 1).

    That is the estimated accuracy after N rows that are all right (Krichevsky and Trofimov 1981). It costs 0.0007 of
    log loss on questions (491 dev rows, 0.2761); Laplace's (N + 1) / (N + 2) costs twice as much.
    """
    return min(1.0, num_classes / (num_classes - 1) / (2 * (num_rows + 1)))


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
