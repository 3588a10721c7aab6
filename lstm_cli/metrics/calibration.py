"""Calibration: scale factors, fitted on the dev rows, that turn logits into calibrated probabilities.

For a network alone this is temperature scaling (Guo et al. 2017, section 4.2). For a network that is combined with
n-gram features, the two factors are also the weights of the blend.
"""

from __future__ import annotations

import numpy as np

from lstm_cli.arrays import Float64, Int64

_PRIOR = 1.0
"""Weight, in rows, of the prior that pulls both scales towards 1. Without it, the probabilities would all become 1 if a
few dev rows are all predicted correctly."""
_MIN_SCALE = 1e-3
"""The scale of logits without information. It is above 0, so that these logits can be recovered from the sum."""


def fit_scales(logits: Float64, feature_logits: Float64, targets: Int64) -> Float64:
    """(N, C), (N, C) or (N, 0), (N,) -> (2,): the positive factors of both logits with the lowest log loss.

    The log loss is that of `scaled_probs`. Without `feature_logits` (N, 0) the second factor is 1. A constant that is
    added to all logits of a row changes nothing.
    """
    from scipy.optimize import minimize

    stacked = np.stack([one for one in (logits, feature_logits) if one.shape[1]])  # (S, N, C), S is 1 or 2
    of_target = stacked[:, np.arange(len(targets)), targets]  # (S, N)

    def loss(scales: Float64) -> tuple[float, Float64]:
        scaled = np.tensordot(scales, stacked, 1)
        scaled -= scaled.max(axis=1, keepdims=True)
        exps = np.exp(scaled)
        sums = exps.sum(axis=1)
        expected = np.einsum("snc,nc->sn", stacked, exps / sums[:, None])
        log_loss = np.log(sums).sum() - scaled[np.arange(len(targets)), targets].sum()
        away = scales - 1
        gradient: Float64 = (expected - of_target).sum(axis=1) + _PRIOR * away
        return float(log_loss + _PRIOR / 2 * (away @ away)) / len(targets), gradient / len(targets)

    found = minimize(
        loss, np.ones(len(stacked)), jac=True, method="L-BFGS-B", bounds=[(_MIN_SCALE, None)] * len(stacked)
    )
    scales = np.ones(2)
    scales[: len(stacked)] = found.x
    return scales


def scaled_probs(scales: Float64, logits: Float64, feature_logits: Float64) -> Float64:
    """(2,), (N, C), (N, C) or (N, 0) -> (N, C): softmax of the sum of both logits, each times its scale."""
    total = scales[0] * logits
    if feature_logits.shape[1]:
        total = total + scales[1] * feature_logits
    return softmax(total)


def softmax(logits: Float64) -> Float64:
    """(N, C) -> (N, C): probabilities."""
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: Float64 = exps / exps.sum(axis=1, keepdims=True)
    return probs
