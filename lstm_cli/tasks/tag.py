"""Tagging: one tag for each word of a sentence, such as its part of speech or the name that it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import Float64, Int32, Int64, Mask, Ragged
from lstm_cli.batch import IGNORED, Batch
from lstm_cli.data.cache import cache_key, cached, cached_bytes
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.tagged import Words
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.features.spelling import FORMAT as LEXICON_FORMAT
from lstm_cli.features.spelling import MAX_CHARACTERS, Lexicon
from lstm_cli.metrics import tagging
from lstm_cli.metrics.metric import Metric
from lstm_cli.metrics.spans import OUTSIDE, Scheme, legal_pairs, scheme_of, spans_of, tags_of
from lstm_cli.metrics.tagging import Tagging, best_path
from lstm_cli.nn import reference
from lstm_cli.nn.crf import Crf
from lstm_cli.nn.recurrent import Recurrent
from lstm_cli.nn.tagger import Characters, SparseFeatures, Tagger, WordEncoder
from lstm_cli.tasks.base import (
    Answer,
    Baseline,
    Comparison,
    Evaluation,
    Loss,
    Outputs,
    Scores,
    TaskConfig,
    TokenizerSource,
)
from lstm_cli.tasks.report import Report
from lstm_cli.tasks.tag_baselines import linear_crf, most_frequent_tag, verdict
from lstm_cli.tasks.tag_report import tagging_report
from lstm_cli.tasks.text import EncoderConfig

_STORE_FORMAT = 1
"""Increased whenever the same rows and settings would be encoded in another way, so that no old cache is read."""
_CHARACTER_SIZE, _SPELLING_SIZE = 32, 64
_FEATURE_DROPOUT = 0.3
_DIGITS = 7
"""Of a stored probability; `verify` accepts a difference of 1e-5."""
_SYNTHETIC_SENTENCES, _SYNTHETIC_WORDS = 24, 40
_ROWS_AT_ONCE = 2_000


class TagConfig(TaskConfig):
    """The `task:` section of a tagger."""

    content: ClassVar[type[Words]] = Words
    metrics: ClassVar[tuple[Metric, ...]] = tagging.METRICS
    select_by: ClassVar[str] = tagging.LOSS.name

    kind: Literal["tag"] = Field("tag", description="kind of task; tag: one tag per word")
    min_count: int = Field(
        2,
        ge=1,
        description="a word that train has less often is the unknown word; its characters are still read",
    )
    characters: Literal["cnn", "none"] = Field(
        "cnn",
        description="cnn: a vector of each word from its characters, by a convolution; none: the word alone",
    )
    encoder: EncoderConfig = Field(EncoderConfig(), description="embedding and recurrent layers")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout rate before the output layer")
    crf: bool = Field(
        True, description="a conditional random field: the tags of a sentence are decided together"
    )
    features: Literal["none", "words"] = Field(
        "none",
        description="features that are combined with the network; words: the word, its shape and affixes, and the "
        "words beside it, as in a classic CRF tagger",
    )

    def fit(self, rows: Rows[Words], origin: TokenizerSource | None = None) -> Tag:  # noqa: ARG002
        """Learn tags, words, characters and features from the training rows. Raises DataError for fewer than two tags.

        If the tags mark spans, they are learned in the scheme bio, and written in the scheme of the training rows.
        """
        sentences: list[Sequence[str]] = [_tags(row) for row in rows]
        scheme = scheme_of(sentences)
        if scheme is not None:
            sentences = [tags_of(spans_of(tags), len(tags), "bio") for tags in sentences]
        names = sorted({tag for tags in sentences for tag in tags})
        if len(names) < 2:
            raise DataError(
                f"{', '.join(rows.sources)}: all {sum(map(len, sentences)):,} words have the tag "
                f"{', '.join(names) or 'none'}; at least two tags are needed. Is data.tag_column the right column?"
            )
        seen = {pair for tags in sentences for pair in zip([None, *tags], [*tags, None], strict=True)}

        def learn() -> bytes:
            found = (row.content.words for row in rows)
            return Lexicon.learn(found, self.min_count, all_features=self.features == "words").to_json()

        key = cache_key([LEXICON_FORMAT, rows.digest(), self.min_count, self.features])
        return Tag(
            self,
            tuple(names),
            scheme,
            legal_pairs(names, scheme, seen),
            Lexicon.from_json(cached_bytes(key, learn)),
        )

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Tag:
        content = json.loads(files["config.json"])
        names, scheme = tuple(map(str, content["tags"])), content["scheme"]
        if scheme not in (None, "iob1", "bio", "bioes", "bilou"):
            raise ValueError(f"scheme {scheme!r:.50} is not known")
        legal = np.array(content["legal"], np.bool_)
        if legal.shape != (len(names) + 1, len(names) + 1):
            raise ValueError(f"legal must be {len(names) + 1} lists of as many numbers")
        config = cls.model_validate(content["task"])
        return Tag(config, names, scheme, legal, Lexicon.from_json(files["lexicon.json"]))

    def score_folds(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The scores of the sentences of all folds together, without those that need the probabilities of every tag."""
        lines = [(line["tags"], line["target"]) for line in answers]
        return tagging.scores_of_names(*zip(*lines, strict=True)) if lines else {}

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.encoder.dropout and self.encoder.num_layers == 1:
            yield (
                ("encoder", "dropout"),
                f"is dropout between layers and there is only one layer, got {self.encoder.dropout}; "
                f"try task.encoder.num_layers: 2, or task.dropout",
            )
        if self.encoder.init_from is not None:
            yield ("encoder", "init_from"), "a tagger starts from random weights; leave it out"


def _tags(row: Row[Words]) -> tuple[str, ...]:
    if row.content.tags is None:
        raise DataError(f"{row.where()}: the sentence has no tags")
    return row.content.tags


@dataclass(frozen=True, slots=True)
class Tag:
    """A fitted tagger: it has learned its tags, which of them may follow each other, and its words."""

    config: TagConfig
    names: tuple[str, ...]
    scheme: Scheme | None
    legal: Mask
    lexicon: Lexicon

    metrics: ClassVar[tuple[Metric, ...]] = tagging.METRICS
    loss_metric: ClassVar[Metric] = tagging.LOSS
    prediction_keys: ClassVar[tuple[str, ...]] = ("tokens", "tags")

    @property
    def compared_by(self) -> tuple[Metric, ...]:
        """Span F1 if the tags mark spans, and accuracy."""
        return (tagging.SPAN_F1, tagging.ACCURACY) if self.scheme else (tagging.ACCURACY,)

    def describe(self) -> str | None:
        """What the tags are."""
        if self.scheme is None:
            return f"{len(self.names)} tags"
        kinds = sorted({name[2:] for name in self.names} - {""})
        return f"spans of {len(kinds)} types in the scheme {self.scheme}: {', '.join(kinds[:20])}"

    def build_model(self) -> Tagger:
        config, lexicon = self.config, self.lexicon
        encoder, num_tags = config.encoder, len(self.names)
        spelling = config.characters == "cnn"
        return Tagger(
            WordEncoder(
                nn.Embedding(lexicon.num_words, encoder.embedding_size, padding_idx=0),
                Characters(lexicon.num_characters, _CHARACTER_SIZE, _SPELLING_SIZE) if spelling else None,
                lexicon.features_per_word,
                Recurrent(
                    encoder.cell,
                    encoder.embedding_size + (_SPELLING_SIZE if spelling else 0),
                    encoder.hidden_size,
                    encoder.num_layers,
                    encoder.bidirectional,
                    encoder.dropout,
                    encoder.path,
                ),
                encoder.embedding_dropout,
                encoder.word_dropout,
            ),
            SparseFeatures(lexicon.num_features, lexicon.num_frequent, num_tags, _FEATURE_DROPOUT)
            if config.features == "words"
            else None,
            Crf(torch.from_numpy(self.legal)) if config.crf else None,
            lexicon.features_per_word,
            num_tags,
            config.dropout,
        )

    def encode(self, rows: Rows[Words], scored: bool = True) -> Store:  # noqa: ARG002
        inputs = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "lexicon": hashlib.sha256(self.lexicon.to_json()).hexdigest(),
            "tags": [self.names, self.scheme],
        }
        below = {"targets": len(self.names) + 1}
        return cached(cache_key(inputs), lambda: self._encode_chunks(rows), below)

    def _encode_chunks(self, rows: Rows[Words]) -> Iterator[Store]:
        chunk: list[Row[Words]] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == _ROWS_AT_ONCE:
                yield self._with_targets(chunk)
                chunk = []
        if chunk:
            yield self._with_targets(chunk)

    def _with_targets(self, rows: Sequence[Row[Words]]) -> Store:
        number = {name: at for at, name in enumerate(self.names)}
        unknown = len(self.names)  # a tag that train does not have: nothing can predict it
        targets = []
        for row in rows:
            tags: Sequence[str] = _tags(row)
            if self.scheme is not None:
                tags = tags_of(spans_of(tags), len(tags), "bio")
            targets.append(np.array([number.get(tag, unknown) for tag in tags], np.int32))
        return replace(self.encode_window(rows), targets=Ragged.pack(targets))

    def row_fault(self, row: Row[Words]) -> str | None:
        """A sentence needs a word."""
        return None if row.content.words else "no words"

    def encode_window(self, rows: Sequence[Row[Words]]) -> Store:
        encoded = [self.lexicon.encode(row.content.words) for row in rows]
        return Store(Ragged.pack(encoded), np.zeros(len(rows), np.bool_))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, Tagger)
        targets = batch.known_targets
        total = model.loss(batch.inputs, targets, batch.lengths)
        return Loss(total, int((targets != IGNORED).sum()))

    def outputs(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        """(T, K) probabilities of each row, that of O multiplied by the weight with which spans are found."""
        assert isinstance(model, Tagger)
        probs = self.uncalibrated(model, batch)
        if self.scheme is not None:
            for row in probs:
                row[:, self.names.index(OUTSIDE)] *= model.outside_weight.item()
        return probs

    @property
    def whole_model(self) -> str:
        return "spans weighted" if self.scheme else "whole model"

    def uncalibrated(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        """(T, K) probabilities of each row."""
        assert isinstance(model, Tagger)
        probs = model.marginals(batch.inputs, batch.lengths).cpu().double()
        return [row[:length] for row, length in zip(probs, batch.lengths.tolist(), strict=True)]

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Ragged:
        assert isinstance(model, Tagger)
        weight = 1.0
        if self.scheme is not None:
            weight = tagging.outside_weight(_ragged(outputs), _targets(dev), self.legal, self.names)
        model.outside_weight.fill_(weight)
        return self.calibrated(model, outputs, dev)

    def calibrated(self, model: nn.Module, outputs: Outputs, store: Store) -> Ragged:  # noqa: ARG002
        assert isinstance(model, Tagger)
        return tagging.weighted(_ragged(outputs), self.names, model.outside_weight.item())

    def components(self, outputs: Outputs, store: Store) -> dict[str, Scores]:
        return {"without the weight of O": self.score(outputs, store)} if self.scheme else {}

    def score(self, outputs: Outputs, store: Store) -> Tagging:
        unseen = self.lexicon.unseen(store.inputs.values)
        probs = _ragged(outputs)
        return tagging.tagging(
            _targets(store),
            self.paths(probs),
            Ragged(self._unweighted(probs.values), probs.offsets),
            unseen,
            self.names,
            has_spans=self.scheme is not None,
        )

    def _unweighted(self, probs: Float64) -> Float64:
        """(M, K) the probabilities before that of O was weighted: it is what the others leave."""
        if self.scheme is None:
            return probs
        whole, outside = np.array(probs), self.names.index(OUTSIDE)
        whole[:, outside] = 0.0
        whole[:, outside] = np.maximum(1.0 - whole.sum(axis=1), 0.0)
        return whole

    def _confidence(self, output: Float64, path: Int64) -> Float64:
        """(T,) the probability of each tag of the path."""
        found: Float64 = self._unweighted(output)[np.arange(len(path)), path]
        return found

    def paths(self, probs: Ragged) -> Ragged:
        """The best tags of each row: (sum T, K) -> (sum T,) int64."""
        return Ragged.pack([best_path(row, self.legal) for row in probs])

    def warnings(self, scores: Scores) -> list[str]:
        assert isinstance(scores, Tagging)
        if scores.spans and not scores.spans[""].num_predicted:
            return [
                "no span was predicted on dev; if this persists, try more epochs or a higher learning rate"
            ]
        return []

    def accept(self, options: PredictOptions) -> None:
        if options.top_k > 1:
            raise ConfigError("--top-k: a tagger gives one tag per word; leave it out, or try --probs")
        if options.min_score:
            raise ConfigError("--min-score: a tagger gives every word a tag; leave it out")

    def prediction(self, row: Row[Words], output: Float64, options: PredictOptions) -> dict[str, Any]:
        path = best_path(output, self.legal)
        words, tags = list(row.content.words), self.written(path)
        keys: dict[str, Any] = {"tokens": words, "tags": tags}
        if self.scheme is not None:
            keys["spans"] = [
                [begin, end - 1, kind, " ".join(words[begin:end])] for begin, end, kind in spans_of(tags)
            ]
        if options.probs:
            keys["scores"] = self._confidence(output, path).tolist()
        return keys

    def written(self, path: Int64) -> list[str]:
        """The names of the tags, in the scheme of the training rows. A tag that train does not have is no span."""
        names = [*self.names, "(not in train)" if self.scheme is None else OUTSIDE]
        tags = [names[tag] for tag in path.tolist()]
        return tags if self.scheme in (None, "bio") else tags_of(spans_of(tags), len(tags), self.scheme)

    def answer(self, output: Float64, target: Any) -> Answer:
        path = best_path(output, self.legal)
        scores = self._confidence(output, path)
        line = {
            "tags": self.written(path),
            "target": self.written(target),
            "scores": scores.tolist(),
            "probs": output.round(_DIGITS).tolist(),
        }
        wrong = scores[path != target]
        return Answer(line, float(wrong.max()) if len(wrong) else None)

    def baselines(self, train: Rows[Words], rows: Rows[Words]) -> list[Baseline]:
        """The most frequent tag of each word, and a CRF with the features of the words alone."""
        return [most_frequent_tag(self, train, rows), linear_crf(self, train, rows)]

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        return verdict(self, self.paths(_ragged(outputs)), baseline, _targets(store))

    def report(self, evaluation: Evaluation) -> Report:
        return tagging_report(evaluation, self.names)

    def output_names(self) -> Sequence[str]:
        """The tags, in the order of the probabilities."""
        return self.names

    def files(self) -> dict[str, bytes]:
        content = {
            "kind": "tag",
            "task": self.config.model_dump(mode="json"),
            "tags": self.names,
            "scheme": self.scheme,
            "legal": self.legal.astype(int).tolist(),
        }
        return {
            "config.json": json.dumps(content, ensure_ascii=False).encode(),
            "lexicon.json": self.lexicon.to_json(),
        }

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Words]]:
        """A sentence of one word, and sentences of random words, some of which train does not have."""
        known = np.array([*self.lexicon.words[:1000], "Zyx-1"])
        sentences = [
            tuple(rng.choice(known, rng.integers(1, _SYNTHETIC_WORDS + 1)).tolist())
            for _ in range(_SYNTHETIC_SENTENCES)
        ]
        return [Row(Words(words), "", 1) for words in [("Zyx-1",), *sentences]]

    def random_inputs(self, rng: np.random.Generator, length: int) -> Int32:
        lexicon = self.lexicon
        parts = (
            (lexicon.num_words, 1),
            (lexicon.num_features, lexicon.features_per_word),
            (lexicon.num_characters, MAX_CHARACTERS),
        )
        return np.concatenate(
            [rng.integers(1, top, (length, width), np.int32) for top, width in parts], axis=1
        )

    def layers(self, model: nn.Module) -> Recurrent:
        assert isinstance(model, Tagger)
        assert model.encoder is not None
        return model.encoder.recurrent

    def reference(self, model: nn.Module, store: Store) -> Ragged:
        """(sum T, K) probabilities, computed from the weights in float64."""
        weights = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
        legal = self.legal if self.config.crf else None
        cell, num_features = self.config.encoder.cell, self.lexicon.features_per_word
        rows = (row.astype(np.int64) for row in store.inputs)
        probs = Ragged.pack([reference.tag(cell, weights, legal, row, num_features) for row in rows])
        return tagging.weighted(probs, self.names, float(weights["outside_weight"]))

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Ragged:
        stored = [np.array(line["probs"], np.float64) for line in lines]
        if any(row.ndim != 2 or row.shape[1] != len(self.names) for row in stored):
            raise ValueError(f"must have {len(self.names)} probabilities per word")
        return Ragged.pack(stored)


def _ragged(outputs: Outputs) -> Ragged:
    assert isinstance(outputs, Ragged)
    return outputs


def _targets(store: Store) -> Ragged:
    targets = store.known_targets
    assert isinstance(targets, Ragged)
    return targets
