"""What each word of a text adds to a prediction.

The network: integrated gradients (Sundararajan et al. 2017, equation 1) along the line from a text of unknown words to
the text. Their sum is the difference of the logits at both ends (completeness, their proposition 1). The n-grams are a
linear model, so the contribution of each is its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lstm_cli.arrays import Float64
from lstm_cli.errors import ConfigError, did_you_mean
from lstm_cli.explain.explanation import Explanation, Ngram, Word
from lstm_cli.explain.gradients import integrated_gradients
from lstm_cli.explain.words import shared_out, words_of
from lstm_cli.features.named import Span
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.prediction import predict_store
from lstm_cli.tasks.explainable import Explainer, ReadText

_POINTS = 16, 4_096
"""Points on the line: the first number, and the maximum. They are doubled until the sum is exact enough."""
_FEW_POINTS = 4
"""For many texts in little time. On 50 wrongly predicted sentences a token was wrong by 1 % of the largest token of its
sentence in the median, and by more than 2.6 % in one sentence of ten. Gauss-Legendre points were worse."""
_TOLERANCE = 0.01, 1e-3
"""The allowed error of the sum, as a fraction of what the contributions add up to, and in logits; the larger counts."""
_NUM_WORDS, _MAX_CHARS = (10, 200), 4_000_000
"""Minimum and maximum number of words that are left out one at a time, and of beginnings of the text that are scored:
each is a text to predict. In between, as many as have so many characters together."""
_MAX_NGRAMS = 20


def explain(explainer: Explainer, text: str, runtime: Runtime, target: str | None = None) -> Explanation:
    """Explain why the model gives `text` the label `target`; by default the most probable one.

    Raises ConfigError if there is no such label.
    """
    read = explainer.read(text)
    words = words_of(text)
    names = list(explainer.names)
    logits = _logits(explainer, [text], runtime)[0]
    label, against = _classes(names, logits, target)
    probs = explainer.probs(logits[None])[0]
    ngram_values = [float(one.weights[label] - one.weights[against]) for one in read.ngrams]
    network = _network(explainer, read, label, against, runtime, sum(ngram_values))
    of_network = shared_out(network.tokens, [[span] for span in read.spans], words)
    of_ngrams = shared_out(ngram_values, [one.spans for one in read.ngrams], words)
    base = network.base + float(read.ngram_bias[label] - read.ngram_bias[against])
    difference = float(logits[label] - logits[against])
    fewest, most = _NUM_WORDS
    number = min(len(words), most, max(fewest, _MAX_CHARS // max(len(text), 1)))
    chosen = _most(np.abs(of_network + of_ngrams), number)
    without = _without(explainer, text, words, chosen, runtime)
    ends = np.unique(np.linspace(0, len(words) - 1, number).astype(int))
    beginnings = _logits(explainer, [text[: words[at][1]] for at in ends], runtime)
    scores = dict(zip(ends.tolist(), explainer.probs(beginnings)[:, label].tolist(), strict=True))
    changes = {
        at: difference - float(row[label] - row[against])
        for at, row in zip(chosen.tolist(), without, strict=True)
    }
    attention = _attention(explainer, read, words, runtime)
    error = difference - base - float(of_network.sum() + of_ngrams.sum())
    notes = list(_notes(read, len(words), number, explainer.blank_id))
    if abs(error) > max(2 * _TOLERANCE[0] * abs(difference - base), 2 * _TOLERANCE[1]):
        notes.append(
            f"the contributions add up to {difference - base - error:.3f}, not {difference - base:.3f}"
        )
    return Explanation(
        text=text,
        label=names[label],
        against=names[against],
        predicted=names[int(logits.argmax())],
        score=float(probs[label]),
        probs=dict(zip(names, probs.tolist(), strict=True)),
        difference=difference,
        base=base,
        error=error,
        words=tuple(
            Word(
                word=text[begin:end],
                begin=begin,
                end=end,
                contribution=float(of_network[at] + of_ngrams[at]),
                network=float(of_network[at]),
                ngrams=float(of_ngrams[at]),
                without=changes.get(at),
                attention=None if attention is None else float(attention[at]),
                score=scores.get(at),
            )
            for at, (begin, end) in enumerate(words)
        ),
        ngrams=tuple(
            Ngram(read.ngrams[at].name, read.ngrams[at].of, ngram_values[at])
            for at in _most(np.abs(ngram_values), _MAX_NGRAMS, in_order=False)
        ),
        notes=tuple(notes),
    )


def contributions(
    explainer: Explainer, asked: Sequence[tuple[str, str, str]], runtime: Runtime
) -> list[list[tuple[str, float]]]:
    """Each text in pieces, each with what its word adds to the logit of a first label minus that of a second.

    `asked` is each text with its two labels. As `explain` finds it, but with few points on the line and all texts at
    once, so that it is quick: the sum is exact to a few percent only.
    """
    names = list(explainer.names)
    reads = [explainer.read(text) for text, *_ in asked]
    classes = [(names.index(label), names.index(against)) for _, label, against in asked]
    tokens = integrated_gradients(
        explainer, [read.ids for read in reads], classes, _FEW_POINTS, runtime.device
    )
    return [
        _pieces(text, read, of_text, *both)
        for (text, *_), read, of_text, both in zip(asked, reads, tokens, classes, strict=True)
    ]


def _pieces(text: str, read: ReadText, tokens: Float64, label: int, against: int) -> list[tuple[str, float]]:
    words = words_of(text)
    values = [float(one.weights[label] - one.weights[against]) for one in read.ngrams]
    total = shared_out(tokens, [[span] for span in read.spans], words)
    total += shared_out(values, [one.spans for one in read.ngrams], words)
    ends = [*(begin for begin, _ in words[1:]), len(text)]
    begins = [0, *ends[:-1]]
    return [(text[begin:end], value) for begin, end, value in zip(begins, ends, total.tolist(), strict=True)]


def _classes(names: list[str], logits: Float64, target: str | None) -> tuple[int, int]:
    """The class to explain and the most probable other one."""
    if target is not None and target not in names:
        raise ConfigError(f"--target: the model has no label {target!r}{did_you_mean(target, names)}")
    label = int(logits.argmax()) if target is None else names.index(target)
    others = logits.copy()
    others[label] = -np.inf
    return label, int(others.argmax())


def _notes(read: ReadText, num_words: int, number: int, blank_id: int) -> list[str]:
    notes = []
    if read.truncated:
        notes.append("the text is longer than the network reads, so the network sees only a part of it")
    if (read.ids == blank_id).all() and not read.ngrams:
        notes.append("nothing of the text is known: the label is that of any such text")
    if number < num_words:
        notes.append(
            f"of {num_words:,} words, the {number} with the largest contributions are left out one at a time, and "
            f"{number} beginnings of the text are scored"
        )
    return notes


def _most(sizes: Float64, number: int, in_order: bool = True) -> np.ndarray:
    """The positions of the largest `number` sizes: in the order of the positions, or the largest first."""
    largest = np.argsort(-np.asarray(sizes, np.float64), kind="stable")[:number]
    return np.sort(largest) if in_order else largest


@dataclass(frozen=True, slots=True)
class _Network:
    """What each token (T,) adds to the network's logit difference, and the difference of a text of unknown tokens."""

    tokens: Float64
    base: float


def _network(
    explainer: Explainer, read: ReadText, label: int, against: int, runtime: Runtime, of_ngrams: float
) -> _Network:
    """Integrated gradients with as many points as completeness needs.

    `of_ngrams` is what the n-grams add to the same difference.
    """
    device, length = runtime.device, len(read.ids)
    with torch.no_grad():
        ids = torch.from_numpy(read.ids.astype(np.int64)).to(device)
        ends = explainer.embed(torch.stack([torch.full_like(ids, explainer.blank_id), ids]))  # (2, T, E)
        both = explainer.network_logits(ends, torch.full((2,), length)).cpu().double()
        base, whole = (both[:, label] - both[:, against]).tolist()
    smaller = min(abs(whole - base), abs(whole - base + of_ngrams))
    allowed = max(_TOLERANCE[0] * smaller, _TOLERANCE[1])
    num_points, most = _POINTS
    while True:
        (tokens,) = integrated_gradients(explainer, [read.ids], [(label, against)], num_points, device)
        if abs(whole - base - tokens.sum()) <= allowed or num_points >= most:
            return _Network(tokens, base)
        num_points *= 2


def _attention(
    explainer: Explainer, read: ReadText, words: Sequence[Span], runtime: Runtime
) -> Float64 | None:
    """(W,) the attention weight of each word; they sum to 1."""
    with torch.no_grad():
        ids = torch.from_numpy(read.ids.astype(np.int64)).to(runtime.device)[None]
        weights = explainer.attention(explainer.embed(ids), torch.tensor([len(read.ids)]))
    if weights is None:
        return None
    return shared_out(weights[0].cpu().double().numpy(), [[span] for span in read.spans], words)


def _without(
    explainer: Explainer, text: str, words: Sequence[Span], chosen: np.ndarray, runtime: Runtime
) -> Float64:
    """(K, C) logits of the text without each of the K chosen words."""
    return _logits(
        explainer, [text[: words[at][0]] + text[words[at][1] :] for at in chosen.tolist()], runtime
    )


def _logits(explainer: Explainer, texts: Sequence[str], runtime: Runtime) -> Float64:
    """(N, C) logits of the whole model."""
    logits = predict_store(explainer.model, explainer.logits, explainer.encode(texts), runtime)
    assert isinstance(logits, np.ndarray)
    return logits
