"""The scores of tags: of every word, of words that train does not have, of whole sentences, and of spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_cli.arrays import Float64, Int64, Mask, Ragged
from lstm_cli.metrics.metric import Metric
from lstm_cli.metrics.spans import OUTSIDE, SpanScore, scheme_of, span_scores, spans_of

ACCURACY = Metric("accuracy", "accuracy", higher_is_better=True, format=".2%")
UNSEEN_ACCURACY = Metric("unseen_accuracy", "accuracy on unseen words", higher_is_better=True, format=".2%")
SENTENCE_ACCURACY = Metric("sentence_accuracy", "whole sentences right", higher_is_better=True, format=".2%")
SPAN_F1 = Metric("span_f1", "span F1", higher_is_better=True)
SPAN_PRECISION = Metric("span_precision", "span precision", higher_is_better=True, in_summary=False)
SPAN_RECALL = Metric("span_recall", "span recall", higher_is_better=True, in_summary=False)
LOSS = Metric("log_loss", "log loss", higher_is_better=False)
METRICS = (ACCURACY, UNSEEN_ACCURACY, SENTENCE_ACCURACY, SPAN_F1, SPAN_PRECISION, SPAN_RECALL, LOSS)

_ROUNDS, _AT_ONCE = 10_000, 500
_FEWEST_SPANS = 50
_OUTSIDE_WEIGHTS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03)


@dataclass(frozen=True, slots=True, eq=False)
class Tagging:
    """All scores of M words in N sentences over K tags. `confusion` (K, K) has the true tags in rows.

    A true tag that train does not have is wrong; the last row of `confusion` counts those words, if there are any.
    `spans` has the score of each type of span, and of all as "", if the tags mark spans.
    """

    accuracy: float
    unseen_accuracy: float | None
    sentence_accuracy: float
    log_loss: float
    num_words: int
    num_unseen: int
    confusion: Int64
    spans: dict[str, SpanScore] = field(default_factory=dict)

    def scalars(self) -> dict[str, float]:
        """Scores that are single numbers, by the name of the metric; without those that these rows do not define."""
        values: dict[str, float | None] = {
            ACCURACY.name: self.accuracy,
            UNSEEN_ACCURACY.name: self.unseen_accuracy,
            SENTENCE_ACCURACY.name: self.sentence_accuracy,
            LOSS.name: self.log_loss,
        }
        if self.spans:
            every = self.spans[""]
            values |= {
                SPAN_F1.name: every.f1,
                SPAN_PRECISION.name: every.precision,
                SPAN_RECALL.name: every.recall,
            }
        return {name: value for name, value in values.items() if value is not None}


def tagging(
    targets: Ragged, predicted: Ragged, probs: Ragged, unseen: Mask, names: Sequence[str], *, has_spans: bool
) -> Tagging:
    """The scores of N sentences: true and predicted tags (sum T,) int, probabilities (sum T, K), (sum T,) bool.

    A target of K is a tag that train does not have. Such words are wrong, and the log loss leaves them out.
    """
    true, ours, num_tags = (
        np.asarray(targets.values, np.int64),
        np.asarray(predicted.values, np.int64),
        len(names),
    )
    right = true == ours
    known = true < num_tags
    given = probs.values[np.flatnonzero(known), true[known]]
    confusion = np.zeros((num_tags + int((~known).any()), num_tags), np.int64)
    np.add.at(confusion, (true, ours), 1)
    spans = {}
    if has_spans:
        spans = span_scores(
            (spans_of([names[tag] for tag in row]) for row in predicted),
            (spans_of([names[tag] if tag < num_tags else "O" for tag in row]) for row in targets),
        )
    return Tagging(
        accuracy=float(right.mean()) if len(right) else 0.0,
        unseen_accuracy=float(right[unseen].mean()) if unseen.any() else None,
        sentence_accuracy=float(sentences_right(right, targets.offsets).mean()) if len(targets) else 0.0,
        log_loss=float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean()) if len(given) else 0.0,
        num_words=len(true),
        num_unseen=int(unseen.sum()),
        confusion=confusion,
        spans=spans,
    )


def scores_of_names(
    tags: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> dict[str, float | int]:
    """The scores that need no probabilities, of predicted and true tags by name."""
    pairs = [list(zip(ours, true, strict=True)) for ours, true in zip(tags, targets, strict=True)]
    right = [[ours == true for ours, true in sentence] for sentence in pairs]
    scores: dict[str, float | int] = {
        "n": len(pairs),
        ACCURACY.name: float(np.mean([one for sentence in right for one in sentence])),
        SENTENCE_ACCURACY.name: float(np.mean([all(sentence) for sentence in right])),
    }
    if scheme_of(targets) is not None:
        scores[SPAN_F1.name] = span_scores(map(spans_of, tags), map(spans_of, targets))[""].f1
    return scores


def sentences_right(right: Mask, offsets: Int64) -> Mask:
    """(sum T,) bool, (N + 1,) -> (N,) whether every word of a sentence is right. No sentence is empty."""
    return np.logical_and.reduceat(right, offsets[:-1]) if len(offsets) > 1 else np.zeros(0, np.bool_)


def best_path(probs: Float64, legal: Mask) -> Int64:
    """The tags with the highest product of probabilities, of all that may follow each other: (T, K) -> (T,).

    `legal` (K + 1, K + 1) is as in `nn.crf.Crf`. Where everything is legal, it is the most probable tag of each word.
    """
    inner, first, last = legal[:-1, :-1], legal[-1, :-1], legal[:-1, -1]
    if inner.all() and first.all() and last.all():
        best: Int64 = probs.argmax(axis=1)
        return best
    logs = np.log(np.maximum(probs, np.finfo(np.float64).tiny))
    allowed = np.where(inner, 0.0, -np.inf)
    score = np.where(first, logs[0], -np.inf)
    back = np.zeros(probs.shape, np.int64)
    for step in range(1, len(probs)):
        reached = score[:, None] + allowed
        back[step] = reached.argmax(axis=0)
        score = reached.max(axis=0) + logs[step]
    path = np.zeros(len(probs), np.int64)
    path[-1] = np.where(last, score, -np.inf).argmax()
    for step in range(len(probs) - 1, 0, -1):
        path[step - 1] = back[step, path[step]]
    return path


def outside_weight(probs: Ragged, targets: Ragged, legal: Mask, names: Sequence[str]) -> float:
    """The factor on the probability of O that gives the best span F1 on these sentences, between 1 and 0.03.

    The most probable tag of a word that may belong to a span is often O, also where all tags of spans together are more
    probable: on new names in tweets, F1 was 0.24 without a factor and 0.38 with 0.08. With fewer than 50 true spans it
    is 1: they say too little.
    """
    true = [spans_of([names[tag] if tag < len(names) else OUTSIDE for tag in row]) for row in targets]
    if sum(map(len, true)) < _FEWEST_SPANS:
        return 1.0
    best, best_f1 = 1.0, -1.0
    for weight in _OUTSIDE_WEIGHTS:
        found = (
            spans_of([names[tag] for tag in best_path(row, legal)]) for row in weighted(probs, names, weight)
        )
        if (f1 := span_scores(found, true)[""].f1) > best_f1:
            best, best_f1 = weight, f1
    return best


def weighted(probs: Ragged, names: Sequence[str], weight: float) -> Ragged:
    """The probabilities (sum T, K) with that of O multiplied by `weight`; the others stay as they are."""
    values = np.array(probs.values)
    if OUTSIDE in names:
        values[:, list(names).index(OUTSIDE)] *= weight
    return Ragged(values, probs.offsets)


def permutation_test(ours: Float64, theirs: Float64, score: Callable[[Float64], Float64]) -> float:
    """The two-sided p-value of a paired permutation test over sentences (Yeh 2000).

    `ours` and `theirs` (N, S) are counts of each sentence, and `score` makes (R, S) sums of them to (R,) scores. Under
    the null hypothesis the two predictions of a sentence could be swapped.
    """
    total = ours + theirs
    changed = (ours != theirs).any(axis=1)
    difference = (ours - theirs)[changed]
    observed = abs(score(ours.sum(axis=0)[None]) - score(theirs.sum(axis=0)[None]))[0]
    rng = np.random.default_rng(0)
    extreme = 0
    for start in range(0, _ROUNDS, _AT_ONCE):
        signs = rng.integers(0, 2, (min(_AT_ONCE, _ROUNDS - start), len(difference))) * 2 - 1
        swapped = signs @ difference
        ours_then, theirs_then = (total.sum(axis=0) + swapped) / 2, (total.sum(axis=0) - swapped) / 2
        extreme += int((np.abs(score(ours_then) - score(theirs_then)) >= observed - 1e-12).sum())
    return (extreme + 1) / (_ROUNDS + 1)


def to_json(scores: Tagging, names: Sequence[str]) -> dict[str, Any]:
    """The scores under the keys of metrics.json."""
    per_tag = {}
    predicted, true = scores.confusion.sum(axis=0), scores.confusion.sum(axis=1)
    for at, name in enumerate(names):
        one = SpanScore(int(scores.confusion[at, at]), int(predicted[at]), int(true[at]))
        per_tag[name] = _as_json(one)
    content: dict[str, Any] = {
        **scores.scalars(),
        "num_words": scores.num_words,
        "num_unseen": scores.num_unseen,
        "per_tag": per_tag,
        "confusion": scores.confusion.tolist(),
    }
    if scores.spans:
        content["per_type"] = {name: _as_json(one) for name, one in scores.spans.items() if name}
    return content


def _as_json(score: SpanScore) -> dict[str, Any]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "support": score.num_true,
        "predicted": score.num_predicted,
    }
