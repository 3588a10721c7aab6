"""Text classification with one label per text: config, vocabulary and labels, model, loss, scores and predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from torch import Tensor, nn

from lstm_cli.arrays import Float64, Int32
from lstm_cli.batch import Batch
from lstm_cli.data.cache import cache_key, cached, cached_bytes
from lstm_cli.data.encoding import Truncation, encode_texts
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.text import Text, text_row
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig, WordConfig
from lstm_cli.features.ngrams import FORMAT as NGRAMS_FORMAT
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.features.tfidf import majority, tfidf_logreg
from lstm_cli.metrics.calibration import softmax
from lstm_cli.nn import reference
from lstm_cli.nn.adversarial import adversarial_loss
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.tasks.base import (
    Baseline,
    Evaluation,
    Loss,
    Outputs,
    Scores,
    TokenizerSource,
)
from lstm_cli.tasks.classes import FEATURE_LOGITS, Classes, ClassesConfig, class_numbers, feature_logits
from lstm_cli.tasks.classify_explained import ClassifyExplainer, opened
from lstm_cli.tasks.classify_report import classification_report
from lstm_cli.tasks.report import Report
from lstm_cli.tasks.text import EncoderConfig, chunks, learn_tokenizer

_NGRAMS_FILE = "ngrams.safetensors"
_STORE_FORMAT = 3
"""Increased whenever the same rows and settings would be encoded in another way, so that no old cache is read."""
_SYNTHETIC_TEXTS, _SYNTHETIC_WORDS = 24, 60


class ClassifyConfig(ClassesConfig):
    """The `task:` section of a classifier."""

    content: ClassVar[type[Text]] = Text

    kind: Literal["classify"] = Field("classify", description="kind of task; classify: one label per text")
    tokenizer: TokenizerConfig = Field(WordConfig(kind="word"), description="how a text becomes tokens")
    max_tokens: int = Field(400, ge=1, description="longer texts are cut to this number of tokens")
    truncation: Truncation = Field(
        "head+tail", description="which part of a long text is kept; head+tail: half from each end"
    )
    encoder: EncoderConfig = Field(EncoderConfig(), description="embedding and recurrent layers")
    pooling: PoolingKind = Field(
        "final",
        description="how states become one vector: final, final-all-layers, mean, max, mean+max or attention",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout rate before the output layer")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare class counts as much in the loss as a common one"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="fraction of the target probability that is spread over all classes"
    )
    adversarial: float = Field(
        0.0,
        ge=0,
        description="adversarial training: train on each text also with its embedding moved in the direction that "
        "raises the loss most, by this many times its root mean square (5 is usual); 0: off; doubles the time",
    )
    features: Literal["none", "ngrams"] = Field(
        "none",
        description="features that are combined with the network; ngrams: word 1-3-grams and, if the training text is "
        "short, character 2-5-grams, with Naive-Bayes weights; the dev loss decides how much they count",
    )

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _words_unless_said(cls, value: object) -> object:
        return {"kind": "word", **value} if isinstance(value, dict) else value

    def fit(self, rows: Rows[Text], origin: TokenizerSource | None = None) -> Classify:
        """Learn labels, vocabulary and n-grams from the training rows, and from nothing else.

        If `origin` has a tokenizer, it is used instead of a new one. Raises DataError if there are fewer than two
        labels.
        """
        labels = Labels.learn(rows)
        tokenizer = (origin.tokenizer if origin else None) or learn_tokenizer(self.tokenizer, rows)
        if self.features == "none":
            return Classify(self, tokenizer, labels)

        def learn() -> bytes:
            return Ngrams.learn(_Texts(rows), np.array([labels.index(row) for row in rows])).to_bytes()

        learned = cached_bytes(cache_key([NGRAMS_FORMAT, rows.digest(), labels.names]), learn)
        return Classify(self, tokenizer, labels, Ngrams.from_bytes(learned, len(labels.names)))

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Classify:
        content = json.loads(files["config.json"])
        config = cls.model_validate(content["task"])
        labels = Labels.from_json(files["labels.json"], content["label_counts"])
        tokenizer = TextTokenizer.from_json(files["tokenizer.json"], config.tokenizer)
        if config.features == "none":
            return Classify(config, tokenizer, labels)
        ngrams = Ngrams.from_bytes(files[_NGRAMS_FILE], len(labels.names))
        return Classify(config, tokenizer, labels, ngrams)

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.encoder.dropout and self.encoder.num_layers == 1:
            yield (
                ("encoder", "dropout"),
                f"is dropout between layers and there is only one layer, got {self.encoder.dropout}; "
                f"try task.encoder.num_layers: 2, or task.dropout",
            )
        if self.pooling == "final-all-layers" and self.encoder.num_layers == 1:
            yield (
                ("pooling",),
                "final-all-layers needs more than one layer; try final, or task.encoder.num_layers: 2",
            )

    def quick(self) -> ClassifyConfig:
        """The config without n-grams."""
        return self.model_copy(update={"features": "none"})

    def text_reader(self) -> ClassifyConfig:
        return self

    @property
    def init_from(self) -> str | None:
        return self.encoder.init_from


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of rows, which can be iterated over more than once."""

    rows: Rows[Text]

    def __iter__(self) -> Iterator[str]:
        return (row.content.text for row in self.rows)


@dataclass(frozen=True, slots=True)
class Classify(Classes):
    """A fitted classification task: it has learned its vocabulary, labels and n-grams."""

    config: ClassifyConfig
    tokenizer: TextTokenizer
    labels: Labels
    ngrams: Ngrams | None = None

    def build_model(self) -> TextClassifier:
        encoder = self.config.encoder.build(self.tokenizer.vocab_size)
        pooling = build_pooling(self.config.pooling, encoder.output_size, self.config.encoder.num_layers)
        return TextClassifier(encoder, pooling, len(self.labels.names), self.config.dropout)

    def describe(self) -> str | None:
        """A sentence about the n-grams, or None if there are none."""
        return f"{len(self.ngrams.keys):,} n-grams are combined with the network" if self.ngrams else None

    def encode(self, rows: Rows[Text], scored: bool = True) -> Store:
        # training does not use the n-grams, and computing them takes as long as the tokens
        if not scored:
            return replace(self, ngrams=None).encode(rows)
        inputs = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "tokenizer": hashlib.sha256(self.tokenizer.to_json()).hexdigest(),
            "labels": self.labels.names,
            "max_tokens": self.config.max_tokens,
            "truncation": self.config.truncation,
            "ngrams": self.ngrams and hashlib.sha256(self.ngrams.to_bytes()).hexdigest(),
        }
        below = {"inputs": self.tokenizer.vocab_size, "targets": len(self.labels.names)}
        return cached(cache_key(inputs), lambda: self._encode_chunks(rows), below)

    def _encode_chunks(self, rows: Rows[Text]) -> Iterator[Store]:
        for chunk in chunks(rows):
            targets = np.array([self.labels.index(row) for row in chunk], np.int32)
            yield replace(self.encode_window(chunk), targets=targets)

    def row_fault(self, row: Row[Text]) -> None:
        """Every text can be encoded."""

    def encode_window(self, rows: Sequence[Row[Text]]) -> Store:
        texts = [row.content.text for row in rows]
        store = encode_texts(texts, self.tokenizer, self.config.max_tokens, self.config.truncation)
        return replace(store, extras={FEATURE_LOGITS: self.ngrams.logits(texts)}) if self.ngrams else store

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, TextClassifier)
        targets = batch.known_targets

        def loss_of(embedded: Tensor) -> Tensor:
            logits = model.read(embedded, batch.lengths)
            return self.cross_entropy(logits, targets, self.config.class_weights, self.config.label_smoothing)

        embedded = model.encoder.embed(batch.inputs)
        if not self.config.adversarial:
            return Loss(loss_of(embedded), batch.num_rows)
        return Loss(
            adversarial_loss(model, loss_of, embedded, batch.lengths, self.config.adversarial), batch.num_rows
        )

    @property
    def whole_model(self) -> str:
        return "network + n-grams" if self.ngrams else "calibrated"

    def components(self, outputs: Outputs, store: Store) -> dict[str, Scores]:
        scores: dict[str, Scores] = {"network alone, uncalibrated": self.score(outputs, store)}
        if (ngram_logits := feature_logits(store)).shape[1]:
            scores["n-grams alone, uncalibrated"] = self.score(softmax(ngram_logits), store)
        return scores

    def baselines(self, train: Rows[Text], rows: Rows[Text]) -> list[Baseline]:
        """The majority class, and TF-IDF with logistic regression."""
        targets = np.array([self.labels.index(row) for row in train])
        num_classes = len(self.labels.names)
        texts = [row.content.text for row in rows]
        train_texts = [row.content.text for row in train]
        fitted = {
            "majority": majority(targets, len(texts), num_classes),
            "tfidf_logreg": tfidf_logreg(train_texts, targets, texts, num_classes, seed=0),
        }
        return [Baseline(name, one.predicted, one.note) for name, one in fitted.items()]

    def report(self, evaluation: Evaluation) -> Report:
        return classification_report(evaluation, class_numbers(evaluation.store), self.labels.names)

    def explainer(self, model: nn.Module) -> ClassifyExplainer:
        """The trained model, to be looked into."""
        return opened(self, model)

    def files(self) -> dict[str, bytes]:
        content = {
            "kind": "classify",
            "task": self.config.model_dump(mode="json"),
            "label_counts": self.labels.counts,
        }
        files = {
            "config.json": json.dumps(content, indent=2).encode(),
            "labels.json": self.labels.to_json(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
        return files | ({_NGRAMS_FILE: self.ngrams.to_bytes()} if self.ngrams else {})

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Text]]:
        """The empty text, and texts of random words from the vocabulary."""
        words = np.array(sorted(self.tokenizer.tokenizer.get_vocab()))
        texts = [
            " ".join(rng.choice(words, rng.integers(1, _SYNTHETIC_WORDS + 1)))
            for _ in range(_SYNTHETIC_TEXTS)
        ]
        return [text_row(text) for text in ["", *texts]]

    def random_inputs(self, rng: np.random.Generator, length: int) -> Int32:
        return rng.integers(1, self.tokenizer.vocab_size, length, np.int32)

    def reference(self, model: nn.Module, store: Store) -> Float64:
        """(N, C) probabilities, computed from the weights in float64."""
        weights = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
        cell, pooling = self.config.encoder.cell, self.config.pooling
        logits = np.stack(
            [reference.classify(cell, pooling, weights, ids.astype(np.int64)) for ids in store.inputs]
        )
        network_scale, ngram_scale = weights["scales"]
        total = network_scale * logits
        if (ngram_logits := feature_logits(store)).shape[1]:
            total = total + ngram_scale * ngram_logits
        uniform = weights["uniform"]
        probs: Float64 = (1 - uniform) * reference.softmax(total) + uniform / total.shape[1]
        return probs
