"""The baselines of text classification: the majority class, and logistic regression on TF-IDF.

A network that does not beat them is not worth its training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Int64, Mask
from lstm_cli.features.linear import (
    MAX_ITERATIONS,
    Linear,
    choose_inverse_regularization,
    num_problems,
    sample,
)

_TOKEN = r"\w+|[^\w\s]"
_C_CANDIDATES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Values of the inverse regularisation C that are tried on the held-out tenth."""
_MAX_FEATURES = 500_000
_MAX_CHARS = 40_000_000
_MAX_FIT = 1_000_000_000
_MAX_CHOICE = 200_000_000
"""Limits on the text: characters in total, characters times binary problems for the final fit, and the same for each
value of C. Measured on two busy cores: 30 M characters of two classes took 27 s and 2.5 GB, 40 M took 46 s and 3.2 GB,
20 M of twenty classes took 77 s and 1.3 GB."""
_ROWS_AT_ONCE = 5_000
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class PredictedClasses:
    """Class numbers `predicted` (N,); `note` says how the method was fitted."""

    predicted: Int64
    note: str


def majority(train_targets: Int64, num_rows: int, num_classes: int) -> PredictedClasses:
    """The most frequent training class for every row; of equally frequent classes, the first."""
    most = int(np.bincount(train_targets, minlength=num_classes).argmax())
    return PredictedClasses(np.full(num_rows, most, np.int64), "always the most frequent training class")


def tfidf_logreg(
    train_texts: Sequence[str], train_targets: Int64, texts: Sequence[str], num_classes: int, seed: int
) -> PredictedClasses:
    """Logistic regression on TF-IDF, fitted on `train_texts` with `train_targets` (N,), and its classes for `texts`.

    The terms are word 1–2-grams (punctuation marks count as words) and character 2–5-grams within words. More than two
    classes are fitted one against the rest. C is chosen by accuracy on a stratified tenth held out of the training
    rows; then all training rows are fitted. If that would take many minutes or gigabytes, a seeded stratified sample is
    fitted instead, and `note` says so. `texts` do not influence the fit.
    """
    rng = np.random.default_rng(seed)
    sizes = np.fromiter(map(len, train_texts), np.int64, len(train_texts))
    problems = num_problems(train_targets)
    rows = np.flatnonzero(sample(train_targets, sizes, min(_MAX_CHARS, _MAX_FIT // problems), rng))
    targets, sizes = train_targets[rows], sizes[rows]
    vectorizers = _fitted_vectorizers([train_texts[i] for i in rows.tolist()])
    if not vectorizers or len(np.unique(targets)) < 2:
        why = "one class" if vectorizers else "no text"
        predicted = majority(train_targets, len(texts), num_classes).predicted
        return PredictedClasses(predicted, f"{why} to learn from: the majority class")
    train = _joined([matrix for _, matrix in vectorizers])
    inverse_regularization, chosen = _choose(
        train, targets, sample(targets, sizes, _MAX_CHOICE // problems, rng), rng, seed
    )
    model = Linear.fit(train, targets, inverse_regularization, seed)
    del train
    decided = [
        model.predict(_joined([one.transform(texts[i : i + _ROWS_AT_ONCE]) for one, _ in vectorizers]))
        for i in range(0, len(texts), _ROWS_AT_ONCE)
    ]
    note = f"C = {inverse_regularization:g}, {chosen}"
    if len(rows) < len(train_texts):
        note += f"; fitted on a sample of {len(rows):,} of {len(train_texts):,} training rows"
    if not model.converged:
        note += f"; not converged after {MAX_ITERATIONS:,} iterations"
    return PredictedClasses(np.concatenate([np.empty(0, np.int64), *decided]), note)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfSample:
    """Class probabilities from models fitted on other texts: `probs` (M, C) for the row indices `rows` (M,)."""

    rows: Int64
    probs: npt.NDArray[np.float64]
    note: str


def out_of_sample(texts: Sequence[str], targets: Int64, num_classes: int, seed: int) -> OutOfSample | None:
    """The model of `tfidf_logreg` in five-fold cross-validation: each fold is predicted by a model of the other four.

    Copies of a text are in one fold. Vocabulary and document frequencies, which depend on no label, come from all rows.
    None if there is no text, or only one class, to learn from.
    """
    rng = np.random.default_rng(seed)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    problems = num_problems(targets)
    rows = np.flatnonzero(sample(targets, sizes, min(_MAX_CHARS, _MAX_FIT // problems) // 2, rng))
    chosen = [texts[i] for i in rows.tolist()]
    vectorizers = _fitted_vectorizers(chosen)
    folds = np.array([crc32(text.encode("utf-8", "surrogatepass")) % _FOLDS for text in chosen])
    targets = targets[rows]
    if not vectorizers or any(len(np.unique(targets[folds != fold])) < 2 for fold in range(_FOLDS)):
        return None
    matrix = _joined([matrix for _, matrix in vectorizers])
    inverse_regularization, how = _choose(
        matrix, targets, sample(targets, sizes[rows], _MAX_CHOICE // problems, rng), rng, seed
    )
    probs = np.zeros((len(rows), num_classes))
    for fold in np.unique(folds):
        inside = folds == fold
        model = Linear.fit(matrix[~inside], targets[~inside], inverse_regularization, seed)
        probs[inside] = model.probs(matrix[inside], num_classes)
    note = f"{_FOLDS} folds, C = {inverse_regularization:g}, {how}"
    if len(rows) < len(texts):
        note += f"; a sample of {len(rows):,} of {len(texts):,} rows"
    return OutOfSample(rows, probs, note)


def _fitted_vectorizers(texts: Sequence[str]) -> list[tuple[Any, Any]]:
    """Each TF-IDF vectorizer with its matrix (N, F) of `texts`.

    A term must occur in two texts. If no term does, all terms count. A vectorizer that finds no term is left out.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    kinds: tuple[dict[str, Any], ...] = (
        {"token_pattern": _TOKEN, "ngram_range": (1, 2)},
        {"analyzer": "char_wb", "ngram_range": (2, 5)},
    )
    fitted = []
    for kind in kinds:
        for min_df in (2, 1):
            vectorizer = TfidfVectorizer(
                sublinear_tf=True, min_df=min_df, max_features=_MAX_FEATURES, dtype=np.float32, **kind
            )
            try:
                fitted.append((vectorizer, vectorizer.fit_transform(texts)))
                break
            except ValueError:  # scikit-learn raises it for an empty vocabulary
                continue
    return fitted


def _joined(matrices: Sequence[Any]) -> Any:
    """(N, F1), (N, F2) -> (N, F1 + F2) in float64, which the solver needs."""
    from scipy.sparse import hstack

    return hstack(matrices, format="csr", dtype=np.float64)


def _choose(
    train: Any, targets: Int64, allowed: Mask, rng: np.random.Generator, seed: int
) -> tuple[float, str]:
    fit = partial(Linear.fit, seed=seed)
    return choose_inverse_regularization(_C_CANDIDATES, fit, train, targets, allowed, rng)
