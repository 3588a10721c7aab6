"""What turns logits into probabilities that mean something, fitted on the dev rows.

Of a network alone it is temperature scaling (Guo et al. 2017, section 4.2); of a network with features beside it, how
much each of the two counts as well.
"""

from __future__ import annotations

import numpy as np

from lstm_cli.arrays import Float64, Int64

_PRIOR = 1.0
"""Weight of keeping both scales at 1, in rows: a few dev rows that are all right must not make every answer certain."""


_LEAST = 1e-3
"""What says nothing counts so little, and can still be told from the sum."""


def fit_scales(logits: Float64, side_logits: Float64, targets: Int64) -> Float64:
    """(N, C), (N, C) or (N, 0), (N,) -> (2,): the two factors, above 0, that make the log loss of the rows least.

    Logits may be off by a constant a row, which changes no probability.
    """
    from scipy.optimize import minimize

    parts = np.stack([part for part in (logits, side_logits) if part.shape[1]])  # (P, N, C), P is 1 or 2
    right = parts[:, np.arange(len(targets)), targets]  # (P, N)

    def loss(scales: Float64) -> tuple[float, Float64]:
        scaled = np.tensordot(scales, parts, 1)
        scaled -= scaled.max(axis=1, keepdims=True)
        exps = np.exp(scaled)
        sums = exps.sum(axis=1)
        expected = np.einsum("pnc,nc->pn", parts, exps / sums[:, None])
        log_loss = np.log(sums).sum() - scaled[np.arange(len(targets)), targets].sum()
        away = scales - 1
        gradient: Float64 = (expected - right).sum(axis=1) + _PRIOR * away
        return float(log_loss + _PRIOR / 2 * (away @ away)) / len(targets), gradient / len(targets)

    found = minimize(
        loss, np.ones(len(parts)), jac=True, method="L-BFGS-B", bounds=[(_LEAST, None)] * len(parts)
    )
    scales = np.ones(2)
    scales[: len(parts)] = found.x
    return scales


def scaled_probs(scales: Float64, logits: Float64, side_logits: Float64) -> Float64:
    """(2,), (N, C), (N, C) or (N, 0) -> (N, C) probabilities."""
    total = scales[0] * logits
    if side_logits.shape[1]:
        total = total + scales[1] * side_logits
    return softmax(total)


def softmax(logits: Float64) -> Float64:
    """(N, C) -> (N, C) probabilities"""
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: Float64 = exps / exps.sum(axis=1, keepdims=True)
    return probs
