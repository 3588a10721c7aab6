"""The honest rivals of a tagger: the most frequent tag of each word, and a CRF with features of the words alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from lstm_cli.arrays import Float64, Int32, Ragged
from lstm_cli.data.batching import collate, epoch_batches, length_batches
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.tagged import Words
from lstm_cli.features.spelling import Lexicon
from lstm_cli.metrics.spans import spans_of
from lstm_cli.metrics.tagging import (
    ACCURACY,
    SPAN_F1,
    best_path,
    outside_weight,
    permutation_test,
    weighted,
)
from lstm_cli.nn.crf import Crf
from lstm_cli.nn.tagger import SparseFeatures, Tagger
from lstm_cli.tasks.base import Baseline, Comparison

if TYPE_CHECKING:
    from lstm_cli.tasks.tag import Tag

_EPOCHS, _BATCH_SIZE, _RATE, _DECAY = 8, 8, 1.0, 1e-5
"""Plain SGD on the loss of a sentence, as Bottou 2010 trains a CRF. AdamW overfits the rare features: F1 of new names
16.1 instead of 20.2, accuracy of parts of speech 94.4 % instead of 94.6 %."""
_SIGNIFICANCE = 0.05


def most_frequent_tag(task: Tag, train: Rows[Words], rows: Rows[Words]) -> Baseline:
    """The tag that each word has most often in train; for a word that train does not have, that of all words."""
    counts: dict[str, Counter[int]] = {}
    every = Counter[int]()
    for row, targets in zip(train, _known(task.encode(train)), strict=True):
        every.update(targets.tolist())
        for word, tag in zip(row.content.words, targets.tolist(), strict=True):
            counts.setdefault(word, Counter()).update([tag])
    usual = every.most_common(1)[0][0]
    best = {word: min((-number, tag) for tag, number in count.items())[1] for word, count in counts.items()}
    predicted: list[Int32] = [
        np.array([best.get(word, usual) for word in row.content.words], np.int32) for row in rows
    ]
    return Baseline(
        "most_frequent_tag", Ragged.pack(predicted), "the tag that the word has most often in train"
    )


def linear_crf(task: Tag, train: Rows[Words], rows: Rows[Words]) -> Baseline:
    """A linear-chain CRF with all features of `features.spelling` and the neighbouring words, without a network."""
    lexicon = Lexicon.learn((row.content.words for row in train), 1, all_features=True)
    ours, theirs = (_encoded(lexicon, one) for one in (train, rows))
    store = Store(ours, np.zeros(len(ours), np.bool_), task.encode(train).targets)
    num_tags = len(task.names)
    model = Tagger(
        None,
        SparseFeatures(lexicon.num_features, lexicon.num_frequent, num_tags),
        Crf(torch.from_numpy(task.legal)),
        lexicon.features_per_word,
        num_tags,
    )
    weight = 1.0
    if (
        task.scheme is not None
    ):  # as for the model, but on a tenth of train, which the CRF then does not learn from
        held_out = np.arange(len(store)) % 10 == 0
        tenth = store.select(np.flatnonzero(held_out))
        store = store.select(np.flatnonzero(~held_out))
    _fit(model, store)
    if task.scheme is not None:
        weight = outside_weight(_probs(model, tenth), _known(tenth), task.legal, task.names)
    probs = weighted(_probs(model, Store(theirs, np.zeros(len(theirs), np.bool_))), task.names, weight)
    paths = [best_path(row, task.legal).astype(np.int32) for row in probs]
    note = f"words, shapes, affixes and neighbours in a linear CRF; {_EPOCHS} epochs"
    return Baseline("linear_crf", Ragged.pack(paths), note)


@torch.inference_mode()
def _probs(model: Tagger, store: Store) -> Ragged:
    """(sum T, K) the probabilities of the tags of all rows."""
    rows: list[Float64] = [np.zeros((0, model.num_tags))] * len(store)
    for picked in length_batches(store.lengths, 32, 2**14):
        batch = collate(store, picked)
        found = model.marginals(batch.inputs, batch.lengths).double().numpy()
        for row, length, at in zip(found, batch.lengths.tolist(), picked.tolist(), strict=True):
            rows[at] = row[:length]
    return Ragged.pack(rows)


def _encoded(lexicon: Lexicon, rows: Rows[Words]) -> Ragged:
    return Ragged.pack([lexicon.encode(row.content.words) for row in rows])


def _fit(model: Tagger, store: Store) -> None:
    """SGD with a learning rate that falls to 0, in the same order of batches every time."""
    optimizer = torch.optim.SGD(model.parameters(), _RATE, weight_decay=_DECAY)
    first = epoch_batches(store.lengths, _BATCH_SIZE, 2**16, 0, 0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, _EPOCHS * len(first) + 1)
    for epoch in range(_EPOCHS):
        for rows in epoch_batches(store.lengths, _BATCH_SIZE, 2**16, 0, epoch):
            batch = collate(store, rows)
            loss = model.loss(batch.inputs, batch.known_targets, batch.lengths)
            (loss / batch.num_rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()


def verdict(task: Tag, ours: Ragged, baseline: Baseline, targets: Ragged) -> Comparison:
    """Compare two predictions by span F1 if the tags mark spans, else by accuracy. Raises ValueError for other rows."""
    theirs = baseline.predicted
    if not isinstance(theirs, Ragged) or theirs.values.shape != targets.values.shape:
        raise ValueError(f"{baseline.name}: must have one tag for each of {len(targets.values)} words")
    if len(theirs.values) and not 0 <= theirs.values.min() <= theirs.values.max() < len(task.names):
        raise ValueError(f"{baseline.name}: tags outside 0..{len(task.names) - 1}")
    scores = {ACCURACY.name: float((theirs.values == targets.values).mean())}
    if task.scheme is None:
        num_words = len(targets.values)
        counts = [_right_words(one, targets) for one in (ours, theirs)]

        def score(sums: Float64) -> Float64:
            return sums[:, 0] / num_words

    else:
        true = [set(spans_of(_names(task, row))) for row in targets]
        num_true = sum(map(len, true))
        counts = [_right_spans(task, one, true) for one in (ours, theirs)]

        def score(sums: Float64) -> Float64:
            total: Float64 = 2 * sums[:, 0] / np.maximum(sums[:, 1] + num_true, 1)
            return total

        scores = {SPAN_F1.name: float(score(counts[1].sum(axis=0)[None])[0]), **scores}
    p = permutation_test(counts[0], counts[1], score)
    better = score(counts[0].sum(axis=0)[None])[0] > score(counts[1].sum(axis=0)[None])[0]
    outcome = "ties" if p >= _SIGNIFICANCE else "beats" if better else "loses to"
    return Comparison(scores, outcome, p, "paired permutation test over sentences")


def _right_words(predicted: Ragged, targets: Ragged) -> Float64:
    """(N, 1) the number of right words of each sentence."""
    right = (predicted.values == targets.values).astype(np.float64)
    return np.add.reduceat(right, targets.offsets[:-1])[:, None] if len(targets) else np.zeros((0, 1))


def _right_spans(task: Tag, predicted: Ragged, true: list[set[tuple[int, int, str]]]) -> Float64:
    """(N, 2) the number of right spans and of predicted spans of each sentence."""
    found = [set(spans_of(_names(task, row))) for row in predicted]
    return np.array(
        [[len(ours & theirs), len(ours)] for ours, theirs in zip(found, true, strict=True)], np.float64
    ).reshape(len(true), 2)


def _names(task: Tag, tags: Int32) -> list[str]:
    """The names; O for a tag that train does not have."""
    return [task.names[tag] if tag < len(task.names) else "O" for tag in tags.tolist()]


def _known(store: Store) -> Ragged:
    targets = store.known_targets
    assert isinstance(targets, Ragged)
    return targets
