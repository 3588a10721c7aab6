"""The ridge on the lags: scikit-learn's weights, and the penalty that the latest rows choose."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from lstm_cli.features.lags import PENALTIES, Lags


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lags = rng.normal(size=(count, 6))
    return lags, lags @ rng.normal(size=(6, 2)) + rng.normal(0, 0.5, (count, 2)) + 3


def test_the_weights_are_those_of_scikit_learn_whatever_the_chunks() -> None:
    lags, targets = rows(400, 0)
    one = Lags.learn([(lags[:300], targets[:300], False), (lags[300:], targets[300:], True)])
    some = [(lags[at : at + 70], targets[at : at + 70], at >= 300) for at in range(0, 300, 70)]
    some = [
        (part[0][: 300 - at], part[1][: 300 - at], False)
        for at, part in zip(range(0, 300, 70), some, strict=True)
    ]
    other = Lags.learn([*some, (lags[300:], targets[300:], True)])
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-9)
    centred = lags - 0.0
    mean_square = float((centred**2).sum()) / 6
    expected = Ridge(alpha=one.penalty * mean_square).fit(lags, targets)
    np.testing.assert_allclose(one.predict(lags), expected.predict(lags), atol=1e-6)
    assert one.penalty in PENALTIES


def test_noise_gets_a_large_penalty_and_a_clear_rule_a_small_one() -> None:
    rng = np.random.default_rng(1)
    lags, noise = rng.normal(size=(200, 40)), rng.normal(size=(200, 1))
    assert Lags.learn([(lags[:150], noise[:150], False), (lags[150:], noise[150:], True)]).penalty >= 10
    rule = lags @ rng.normal(size=(40, 1))
    assert (
        Lags.learn([(lags[:150], rule[:150], False), (lags[150:], rule[150:], True)]).penalty == PENALTIES[0]
    )


def test_a_row_with_a_missing_target_is_left_out() -> None:
    lags, targets = rows(50, 2)
    with_gap = targets.copy()
    with_gap[7, 1] = np.nan
    kept = np.arange(50) != 7
    np.testing.assert_allclose(
        Lags.learn([(lags, with_gap, False)]).weights,
        Lags.learn([(lags[kept], targets[kept], False)]).weights,
    )


def test_it_comes_back_from_bytes_and_other_bytes_are_refused() -> None:
    lags, targets = rows(50, 3)
    fitted = Lags.learn([(lags, targets, False)])
    np.testing.assert_array_equal(Lags.from_bytes(fitted.to_bytes(), 2).weights, fitted.weights)
    for content, horizon in ((b"nothing", 2), (fitted.to_bytes(), 3)):
        with pytest.raises(ValueError, match="lags: "):
            Lags.from_bytes(content, horizon)
    with pytest.raises(ValueError, match="no rows"):
        Lags.learn([])
