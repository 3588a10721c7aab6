"""Summary statistics of sequences, and logistic regression on them: the baseline of `task.kind: sequence`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from lstm_cli.arrays import Float64, Int64
from lstm_cli.features.tfidf import PredictedClasses

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_BANDS = 8
_C_CANDIDATES = (0.001, 0.01, 0.1, 1.0, 10.0)
_FOLDS, _MAX_ITERATIONS = 5, 2_000
_MAX_ROWS = 50_000


def statistics(values: Float64) -> Float64:
    """(T, F) without missing numbers -> (P,): length, and of each channel mean, standard deviation, quantiles, mean
    and standard deviation of the differences, first, last, and the log energy of each of 8 bands of its spectrum."""
    changes = np.diff(values, axis=0) if len(values) > 1 else np.zeros((1, values.shape[1]))
    energy = np.abs(np.fft.rfft(values - values.mean(axis=0), n=max(len(values), 2 * _BANDS), axis=0)) ** 2
    bands = [band.mean(axis=0) / len(values) for band in np.array_split(energy[1:], _BANDS)]
    found = [
        values.mean(axis=0),
        values.std(axis=0),
        *np.quantile(values, _QUANTILES, axis=0),
        np.abs(changes).mean(axis=0),
        changes.std(axis=0),
        values[0],
        values[-1],
        *(np.log(band + 1e-6) for band in bands),
    ]
    return np.concatenate([[np.log(len(values))], *found])


def statistics_logreg(train: Sequence[Float64], targets: Int64, rows: Sequence[Float64]) -> PredictedClasses:
    """Logistic regression on the `statistics` of sequences (T, F), fitted on `train` with `targets` (N,).

    C is chosen by the log loss of five folds of the training rows. Of more than 50,000 training rows, every k-th one is
    fitted. `rows` do not influence the fit.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    every = -(-len(train) // _MAX_ROWS)
    features, known = np.stack([statistics(one) for one in train[::every]]), targets[::every]
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = 1.0
    features = (features - mean) / spread

    def model(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)

    rarest = int(np.bincount(known)[np.unique(known)].min())
    best = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if rarest >= 2:
            parts = StratifiedKFold(min(_FOLDS, rarest), shuffle=True, random_state=0)
            loss = [
                cross_val_score(model(c), features, known, cv=parts, scoring="neg_log_loss").mean()
                for c in _C_CANDIDATES
            ]
            best = _C_CANDIDATES[int(np.argmax(loss))]
        fitted = model(best).fit(features, known)
    predicted: Int64 = np.zeros(0, np.int64)
    if rows:
        asked = (np.stack([statistics(one) for one in rows]) - mean) / spread
        predicted = np.asarray(fitted.predict(asked), np.int64)
    note = f"logistic regression on {features.shape[1]:,} summary statistics, C = {best:g}"
    return PredictedClasses(predicted, note + (f", every {every}th training row" if every > 1 else ""))
