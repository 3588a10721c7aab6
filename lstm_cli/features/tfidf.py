"""What a network must beat to be worth its training: the majority class, and an honest bag of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Int64, Mask
from lstm_cli.features.linear import MAX_ITERATIONS, Linear, choose_strength, num_problems, sample

_TOKEN = r"\w+|[^\w\s]"
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse regularisation strengths C that are tried on the held-out tenth."""
_MAX_FEATURES = 500_000
_MAX_CHARS = 40_000_000
_MAX_FIT = 1_000_000_000
_MAX_CHOICE = 200_000_000
"""Characters times classes to fit on, and to fit each strength on. Measured on two busy cores: 30 M characters of two
classes 27 s and 2.5 GB, 40 M 46 s and 3.2 GB, 20 M of twenty classes 77 s and 1.3 GB."""
_ROWS_AT_ONCE = 5_000
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """`predicted` (N,) class numbers; `note` says how it was fitted."""

    name: str
    predicted: Int64
    note: str


def majority(train_targets: Int64, num_rows: int, num_classes: int) -> Baseline:
    """The most frequent training class for every row; the first one where several are."""
    most = int(np.bincount(train_targets, minlength=num_classes).argmax())
    return Baseline("majority", np.full(num_rows, most, np.int64), "always the most frequent training class")


def tfidf_logreg(
    train_texts: Sequence[str], train_targets: Int64, texts: Sequence[str], num_classes: int, seed: int
) -> Baseline:
    """TF-IDF of word 1–2-grams (punctuation marks are words) and of character 2–5-grams within words, logistic
    regression on top, one class against the rest where there are more than two.

    C is chosen by accuracy on a stratified tenth held out of the training rows, then all training rows are fitted.
    Where that would take many minutes or gigabytes it is a seeded stratified sample of them, which `note` says.
    """
    rng = np.random.default_rng(seed)
    sizes = np.fromiter(map(len, train_texts), np.int64, len(train_texts))
    problems = num_problems(train_targets)
    rows = np.flatnonzero(sample(train_targets, sizes, min(_MAX_CHARS, _MAX_FIT // problems), rng))
    targets, sizes = train_targets[rows], sizes[rows]
    bags = _fitted_bags([train_texts[i] for i in rows.tolist()])
    if not bags or len(np.unique(targets)) < 2:
        why = "one class" if bags else "no text"
        predicted = majority(train_targets, len(texts), num_classes).predicted
        return Baseline("tfidf_logreg", predicted, f"{why} to learn from: the majority class")
    train = _side_by_side([counted for _, counted in bags])
    strength, chosen = _choose(
        train, targets, sample(targets, sizes, _MAX_CHOICE // problems, rng), rng, seed
    )
    model = Linear.fit(train, targets, strength, seed)
    del train
    decided = [
        model.predict(_side_by_side([bag.transform(texts[i : i + _ROWS_AT_ONCE]) for bag, _ in bags]))
        for i in range(0, len(texts), _ROWS_AT_ONCE)
    ]
    note = f"C = {strength:g}, {chosen}"
    if len(rows) < len(train_texts):
        note += f"; fitted on a sample of {len(rows):,} of {len(train_texts):,} training rows"
    if not model.converged:
        note += f"; not converged after {MAX_ITERATIONS:,} iterations"
    return Baseline("tfidf_logreg", np.concatenate([np.empty(0, np.int64), *decided]), note)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfSample:
    """(M,) numbers of the `rows` that were examined, (M, C) `probs` by models that learned from other texts."""

    rows: Int64
    probs: npt.NDArray[np.float64]
    note: str


def out_of_sample(texts: Sequence[str], targets: Int64, num_classes: int, seed: int) -> OutOfSample | None:
    """The same bag of words, fitted once for each fold on the rows outside of it; None where there is no text to learn.

    Copies of a text are in one fold. Vocabulary and document frequencies, which know no labels, come from all rows.
    """
    rng = np.random.default_rng(seed)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    problems = num_problems(targets)
    rows = np.flatnonzero(sample(targets, sizes, min(_MAX_CHARS, _MAX_FIT // problems) // 2, rng))
    chosen = [texts[i] for i in rows.tolist()]
    bags = _fitted_bags(chosen)
    folds = np.array([crc32(text.encode("utf-8", "surrogatepass")) % _FOLDS for text in chosen])
    targets = targets[rows]
    if not bags or any(len(np.unique(targets[folds != fold])) < 2 for fold in range(_FOLDS)):
        return None
    matrix = _side_by_side([counted for _, counted in bags])
    strength, how = _choose(
        matrix, targets, sample(targets, sizes[rows], _MAX_CHOICE // problems, rng), rng, seed
    )
    probs = np.zeros((len(rows), num_classes))
    for fold in np.unique(folds):
        inside = folds == fold
        model = Linear.fit(matrix[~inside], targets[~inside], strength, seed)
        probs[inside] = model.probs(matrix[inside], num_classes)
    note = f"{_FOLDS} folds, C = {strength:g}, {how}"
    if len(rows) < len(texts):
        note += f"; a sample of {len(rows):,} of {len(texts):,} rows"
    return OutOfSample(rows, probs, note)


def _fitted_bags(texts: Sequence[str]) -> list[tuple[Any, Any]]:
    """Each bag with its (N, F) counts of `texts`; a term counts from its second text on, where any term has two."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    kinds: tuple[dict[str, Any], ...] = (
        {"token_pattern": _TOKEN, "ngram_range": (1, 2)},
        {"analyzer": "char_wb", "ngram_range": (2, 5)},
    )
    bags = []
    for kind in kinds:
        for min_df in (2, 1):
            bag = TfidfVectorizer(
                sublinear_tf=True, min_df=min_df, max_features=_MAX_FEATURES, dtype=np.float32, **kind
            )
            try:
                bags.append((bag, bag.fit_transform(texts)))
                break
            except ValueError:  # scikit-learn's word for a vocabulary without a term
                continue
    return bags


def _side_by_side(bags: Sequence[Any]) -> Any:
    """(N, F1), (N, F2) -> (N, F1 + F2) float64, which the solver wants."""
    from scipy.sparse import hstack

    return hstack(bags, format="csr", dtype=np.float64)


def _choose(
    train: Any, targets: Int64, allowed: Mask, rng: np.random.Generator, seed: int
) -> tuple[float, str]:
    return choose_strength(_STRENGTHS, partial(Linear.fit, seed=seed), train, targets, allowed, rng)
