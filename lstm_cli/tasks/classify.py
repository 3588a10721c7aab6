"""Text classification with one label per text: config, vocabulary and labels, model, loss, scores and predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, field_validator
from torch import Tensor, nn

from lstm_cli.answers import CLASS_KEYS, PredictOptions, class_prediction
from lstm_cli.arrays import Float64, Int32, Int64, Ragged
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
from lstm_cli.metrics.calibration import Calibration, softmax
from lstm_cli.metrics.classification import (
    ACCURACY,
    LOG_LOSS,
    MACRO_F1,
    METRICS,
    Classification,
    accuracy_and_macro_f1,
    classification,
    paired_verdict,
    to_json,
)
from lstm_cli.metrics.metric import Metric
from lstm_cli.nn import reference
from lstm_cli.nn.adversarial import adversarial_loss
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.nn.recurrent import Recurrent
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
from lstm_cli.tasks.classify_explained import ClassifyExplainer, opened
from lstm_cli.tasks.classify_report import classification_report
from lstm_cli.tasks.report import Report
from lstm_cli.tasks.text import EncoderConfig, chunks, learn_tokenizer

_NGRAMS_FILE = "ngrams.safetensors"
_NGRAM_LOGITS = "ngram_logits"
_STORE_FORMAT = 3
"""Increased whenever the same rows and settings would be encoded in another way, so that no old cache is read."""
_SYNTHETIC_TEXTS, _SYNTHETIC_WORDS = 24, 60


class ClassifyConfig(TaskConfig):
    """The `task:` section of a classifier."""

    content: ClassVar[type[Text]] = Text
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    select_by: ClassVar[str] = MACRO_F1.name

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

    def check_targets(self, train: Rows[Text], scored: Iterable[Row[Text]]) -> None:
        labels = Labels.learn(train)
        for row in scored:
            labels.index(row)

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

    def score_folds(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The scores of the rows of all folds together, under the keys of metrics.json."""
        names: list[str] = []
        targets, probs = [], []
        for answer in answers:
            names = names or list(answer["probs"])
            targets.append(names.index(answer["target"]))
            probs.append([answer["probs"][name] for name in names])
        return to_json(classification(np.array(targets), np.array(probs), names))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of rows, which can be iterated over more than once."""

    rows: Rows[Text]

    def __iter__(self) -> Iterator[str]:
        return (row.content.text for row in self.rows)


@dataclass(frozen=True, slots=True)
class Classify:
    """A fitted classification task: it has learned its vocabulary, labels and n-grams."""

    config: ClassifyConfig
    tokenizer: TextTokenizer
    labels: Labels
    ngrams: Ngrams | None = None

    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    loss_metric: ClassVar[Metric] = LOG_LOSS
    compared_by: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1)
    prediction_keys: ClassVar[tuple[str, ...]] = CLASS_KEYS

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
        return replace(store, extras={_NGRAM_LOGITS: self.ngrams.logits(texts)}) if self.ngrams else store

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, TextClassifier)
        targets = batch.known_targets
        weights = self._class_weights(targets.device)

        def loss_of(embedded: Tensor) -> Tensor:
            return F.cross_entropy(
                model.read(embedded, batch.lengths).float(),
                targets,
                weight=weights,
                label_smoothing=self.config.label_smoothing,
                reduction="sum",
            )

        embedded = model.encoder.embed(batch.inputs)
        if not self.config.adversarial:
            return Loss(loss_of(embedded), batch.num_rows)
        return Loss(
            adversarial_loss(model, loss_of, embedded, batch.lengths, self.config.adversarial), batch.num_rows
        )

    def _class_weights(self, device: torch.device) -> Tensor | None:
        """(C,) inversely proportional to the training counts; their mean over the training rows is 1."""
        if self.config.class_weights == "none":
            return None
        counts = torch.tensor(self.labels.counts, dtype=torch.float32, device=device)
        return counts.sum() / (len(counts) * counts)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities."""
        assert isinstance(model, TextClassifier)
        logits = model(batch.inputs, batch.lengths)
        return model.probs(logits, batch.extras.get(_NGRAM_LOGITS, logits.new_zeros(len(logits), 0)))

    @property
    def whole_model(self) -> str:
        return "network + n-grams" if self.ngrams else "calibrated"

    def uncalibrated(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities of the network alone."""
        probs: Tensor = model(batch.inputs, batch.lengths).cpu().double().softmax(dim=1)
        return probs

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Float64:
        assert isinstance(model, TextClassifier)
        fitted = Calibration.fit(_logits(outputs), _ngram_logits(dev), _targets(dev))
        model.scales.copy_(torch.tensor(fitted.scales))
        model.uniform.fill_(fitted.uniform)
        return self.calibrated(model, outputs, dev)

    def calibrated(self, model: nn.Module, outputs: Outputs, store: Store) -> Float64:
        assert isinstance(model, TextClassifier)
        network_scale, ngram_scale = model.scales.tolist()
        held = Calibration((network_scale, ngram_scale), model.uniform.item())
        return held.probs(_logits(outputs), _ngram_logits(store))

    def components(self, outputs: Outputs, store: Store) -> dict[str, Scores]:
        scores: dict[str, Scores] = {"network alone, uncalibrated": self.score(outputs, store)}
        if (ngram_logits := _ngram_logits(store)).shape[1]:
            scores["n-grams alone, uncalibrated"] = self.score(softmax(ngram_logits), store)
        return scores

    def score(self, outputs: Outputs, store: Store) -> Classification:
        return classification(_targets(store), _probs(outputs), self.labels.names)

    def warnings(self, scores: Scores) -> list[str]:
        assert isinstance(scores, Classification)
        predicted = scores.confusion.sum(axis=0)
        never = [
            name
            for name, count in zip(self.labels.names, predicted, strict=True)
            if count == 0 and scores.per_class[name].support > 0
        ]
        if not never:
            return []
        return [
            f"never predicted on dev: {', '.join(never)}; if this persists, try task.class_weights: balanced, "
            f"a lower train.learning_rate or more epochs"
        ]

    def accept(self, options: PredictOptions) -> None:
        """This task supports all options."""

    def prediction(self, row: Row[Text], output: Float64, options: PredictOptions) -> dict[str, Any]:  # noqa: ARG002
        return class_prediction(self.labels.names, output, options)

    def answer(self, output: Float64, target: Any) -> Answer:
        names = self.labels.names
        best = int(output.argmax())
        score = float(output[best])
        line = {
            "label": names[best],
            "score": score,
            "probs": dict(zip(names, map(float, output), strict=True)),
            "target": names[target],
        }
        return Answer(line, None if best == target else score)

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

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        targets, predicted, num_classes = _targets(store), baseline.predicted, len(self.labels.names)
        if isinstance(predicted, Ragged) or predicted.shape != targets.shape or predicted.dtype.kind != "i":
            raise ValueError(f"{baseline.name}: must have one class number for each of {len(targets)} rows")
        if len(predicted) and not 0 <= predicted.min() <= predicted.max() < num_classes:
            raise ValueError(f"{baseline.name}: class numbers outside 0..{num_classes - 1}")
        accuracy, macro_f1 = accuracy_and_macro_f1(targets, predicted, num_classes)
        verdict, p = paired_verdict(targets, _probs(outputs).argmax(axis=1), predicted)
        return Comparison(
            {ACCURACY.name: accuracy, MACRO_F1.name: macro_f1},
            verdict,
            p,
            "McNemar's exact test on the same rows",
        )

    def report(self, evaluation: Evaluation) -> Report:
        return classification_report(evaluation, _targets(evaluation.store), self.labels.names)

    def explainer(self, model: nn.Module) -> ClassifyExplainer:
        """The trained model, to be looked into."""
        return opened(self, model)

    def output_names(self) -> Sequence[str]:
        """The labels, in the order of the probabilities."""
        return self.labels.names

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

    def layers(self, model: nn.Module) -> Recurrent:
        assert isinstance(model, TextClassifier)
        return model.encoder.recurrent

    def reference(self, model: nn.Module, store: Store) -> Float64:
        """(N, C) probabilities, computed from the weights in float64."""
        weights = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
        cell, pooling = self.config.encoder.cell, self.config.pooling
        logits = np.stack(
            [reference.classify(cell, pooling, weights, ids.astype(np.int64)) for ids in store.inputs]
        )
        network_scale, ngram_scale = weights["scales"]
        total = network_scale * logits
        if (ngram_logits := _ngram_logits(store)).shape[1]:
            total = total + ngram_scale * ngram_logits
        uniform = weights["uniform"]
        probs: Float64 = (1 - uniform) * reference.softmax(total) + uniform / total.shape[1]
        return probs

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Float64:
        stored = np.array([list(line["probs"].values()) for line in lines], np.float64)
        if stored.shape != (len(lines), len(self.labels.names)):
            raise ValueError(f"must have {len(self.labels.names)} probabilities per row")
        return stored


def _targets(store: Store) -> Int64:
    """(N,) class numbers."""
    targets = store.known_targets
    assert not isinstance(targets, Ragged)
    return np.asarray(targets, np.int64)


def _ngram_logits(store: Store) -> Float64:
    """(N, C) logits of the n-grams, or (N, 0) if there are none."""
    return np.asarray(store.extras.get(_NGRAM_LOGITS, np.zeros((len(store), 0))), np.float64)


def _probs(outputs: Outputs) -> Float64:
    assert not isinstance(outputs, Ragged)
    return outputs


def _logits(probs: Outputs) -> Float64:
    """(N, C) probabilities -> (N, C) logits whose softmax they are."""
    logits: Float64 = np.log(np.maximum(_probs(probs), np.finfo(np.float64).tiny))
    return logits
