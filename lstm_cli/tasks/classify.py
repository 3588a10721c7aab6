"""One label for every text: its config, its vocabulary and labels, its model, loss, scores and predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn

from lstm_cli.batch import Batch
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import EncodedRows, TokenStore, cache_key, cached, cached_bytes
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig, WordConfig
from lstm_cli.errors import CheckpointError
from lstm_cli.features.ngrams import FORMAT as NGRAMS_FORMAT
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.metrics.calibration import fit_scales, scaled_probs, softmax
from lstm_cli.metrics.classification import Classification, classification
from lstm_cli.nn.adversarial import adversarial_loss
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.schema import Config
from lstm_cli.tasks.base import Loss, Outputs, Scores
from lstm_cli.tasks.text import EncoderConfig, chunks, learn_tokenizer

_NGRAMS_FILE = "ngrams.safetensors"
_STORE_FORMAT = 2
"""Counted up whenever the same rows and settings would be encoded differently, so that no old cache is read."""


class ClassifyConfig(Config):
    """The `task:` section of a classifier."""

    content: ClassVar[type[Text]] = Text

    kind: Literal["classify"] = Field("classify", description="what is learned; classify: one label a text")
    tokenizer: TokenizerConfig = Field(WordConfig(kind="word"), description="text to tokens")
    max_tokens: int = Field(400, ge=1, description="longer texts are cut to this many tokens")
    truncation: Literal["head", "tail", "head+tail"] = Field(
        "head+tail", description="which end of a long text is kept; head+tail keeps half from each"
    )
    encoder: EncoderConfig = Field(EncoderConfig(), description="tokens to states")
    pooling: PoolingKind = Field(
        "final", description="states to one vector: final, final-all-layers, mean, max, mean+max or attention"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="before the linear layer")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare class weighs as much in the loss as a common one"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    adversarial: float = Field(
        0.0,
        ge=0,
        description="train on every text also as it would mislead most: its embedding moved so far, in root mean "
        "squares of its values (5 is a usual distance); 0: not; takes twice the time",
    )
    features: Literal["none", "ngrams"] = Field(
        "none",
        description="what stands beside the network; ngrams: word 1-3-grams and, where the training text is short, "
        "character 2-5-grams with Naive-Bayes weights, blended with the network by the dev loss",
    )

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _words_unless_said(cls, value: object) -> object:
        return {"kind": "word", **value} if isinstance(value, dict) else value

    def fit(self, rows: Rows[Text], tokenizer: TextTokenizer | None = None) -> Classify:
        """Learn labels and vocabulary from the training rows, and from nothing else; a given `tokenizer` is kept."""
        labels = Labels.learn(rows)
        learned = tokenizer or learn_tokenizer(self.tokenizer, rows)
        return Classify(self, learned, labels, self._learn_features(rows, labels))

    def _learn_features(self, rows: Rows[Text], labels: Labels) -> Ngrams | None:
        if self.features == "none":
            return None

        def learn() -> bytes:
            return Ngrams.learn(_Texts(rows), np.array([labels.index(row) for row in rows])).to_bytes()

        learned = cached_bytes(cache_key([NGRAMS_FORMAT, rows.digest(), labels.names]), learn)
        return Ngrams.from_bytes(learned, len(labels.names))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of rows, to be gone through as often as wanted."""

    rows: Rows[Text]

    def __iter__(self) -> Iterator[str]:
        return (row.content.text for row in self.rows)


def _logits(probs: Outputs) -> Outputs:
    """Such as have these probabilities."""
    logits: Outputs = np.log(np.maximum(probs, np.finfo(np.float64).tiny))
    return logits


@dataclass(frozen=True, slots=True)
class Classify:
    """A classification task whose vocabulary and labels are learned."""

    config: ClassifyConfig
    tokenizer: TextTokenizer
    labels: Labels
    ngrams: Ngrams | None = None

    def build_model(self) -> TextClassifier:
        encoder = self.config.encoder.build(self.tokenizer.vocab_size)
        pooling = build_pooling(self.config.pooling, encoder.output_size, self.config.encoder.num_layers)
        return TextClassifier(encoder, pooling, len(self.labels.names), self.config.dropout)

    def encode(self, rows: Rows[Text], scored: bool = True) -> TokenStore:
        if not scored:  # the network is trained without its features, which take as long as the tokens
            return replace(self, ngrams=None).encode(rows)
        made_from = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "tokenizer": hashlib.sha256(self.tokenizer.to_json()).hexdigest(),
            "labels": self.labels.names,
            "max_tokens": self.config.max_tokens,
            "truncation": self.config.truncation,
            "ngrams": self.ngrams and hashlib.sha256(self.ngrams.to_bytes()).hexdigest(),
        }
        return cached(cache_key(made_from), self._encode_chunks(rows))

    def _encode_chunks(self, rows: Rows[Text]) -> Iterator[EncodedRows]:
        for chunk in chunks(rows):
            window = self.encode_window(chunk)
            yield replace(window, targets=[self.labels.index(row) for row in chunk])

    def encode_window(self, rows: Iterable[Row[Text]]) -> EncodedRows:
        texts = [row.content.text for row in rows]
        tokens = self.tokenizer.encode(texts)
        truncated = [len(ids) > self.config.max_tokens for ids in tokens]
        side_logits = self.ngrams.logits(texts) if self.ngrams else None
        return EncodedRows(
            [self._truncate(ids) for ids in tokens], [-1] * len(tokens), truncated, side_logits
        )

    def _truncate(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        limit = self.config.max_tokens
        if len(ids) <= limit:
            return ids
        match self.config.truncation:
            case "head":
                return ids[:limit]
            case "tail":
                return ids[-limit:]
            case "head+tail":
                tail = limit // 2
                return np.concatenate([ids[: limit - tail], ids[len(ids) - tail :]])

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, TextClassifier)
        weights = self._class_weights(batch.targets.device)

        def loss_of(embedded: Tensor) -> Tensor:
            return F.cross_entropy(
                model.read(embedded, batch.lengths).float(),
                batch.targets,
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
        return model.probs(model(batch.inputs, batch.lengths), batch.side_logits).cpu()

    def uncalibrated(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities by the network alone."""
        probs: Tensor = model(batch.inputs, batch.lengths).double().softmax(dim=1).cpu()
        return probs

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: TokenStore) -> Outputs:
        assert isinstance(model, TextClassifier)
        logits = _logits(outputs)
        side_logits = np.asarray(dev.side_logits, np.float64)
        fitted = fit_scales(logits, side_logits, np.asarray(dev.targets, np.int64)).astype(np.float32)
        model.scales.copy_(torch.from_numpy(fitted))
        return scaled_probs(fitted.astype(np.float64), logits, side_logits)

    def parts(self, model: nn.Module, outputs: Outputs, store: TokenStore) -> dict[str, Classification]:
        """Scores of what stands behind the `outputs`, each by itself and before it was calibrated."""
        assert isinstance(model, TextClassifier)
        network_scale, beside_scale = model.scales.double().tolist()
        side_logits = np.asarray(store.side_logits, np.float64)
        total = _logits(outputs)
        if side_logits.shape[1]:
            total = total - beside_scale * side_logits
        found = {"network alone, uncalibrated": self.score(softmax(total / network_scale), store)}
        if side_logits.shape[1]:
            found["n-grams alone, uncalibrated"] = self.score(softmax(side_logits), store)
        return found

    def score(self, outputs: Outputs, store: TokenStore) -> Classification:
        return classification(np.asarray(store.targets, np.int64), outputs, self.labels.names)

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
            f"never predicted on dev: {', '.join(never)}; if this stays so, try task.class_weights: balanced, "
            f"a lower train.learning_rate or more epochs"
        ]

    def prediction(self, output: npt.NDArray[np.float64], top_k: int, probs: bool) -> dict[str, Any]:
        names = self.labels.names
        best = int(output.argmax())
        keys: dict[str, Any] = {"label": names[best], "score": float(output[best])}
        if top_k > 1:
            order = np.argsort(-output, kind="stable")[:top_k]
            keys["top"] = [{"label": names[i], "score": float(output[i])} for i in order]
        if probs:
            keys["probs"] = dict(zip(names, map(float, output), strict=True))
        return keys

    def files(self) -> dict[str, bytes]:
        facts = {
            "kind": "classify",
            "task": self.config.model_dump(mode="json"),
            "label_counts": self.labels.counts,
        }
        files = {
            "config.json": json.dumps(facts, indent=2).encode(),
            "labels.json": self.labels.to_json(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
        return files | ({_NGRAMS_FILE: self.ngrams.to_bytes()} if self.ngrams else {})

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Classify:
        """The task that `files` described. Raises CheckpointError where they do not."""
        try:
            facts = json.loads(files["config.json"])
            config = ClassifyConfig.model_validate(facts["task"])
            labels = Labels.from_json(files["labels.json"], facts["label_counts"])
            tokenizer = TextTokenizer.from_json(files["tokenizer.json"], config.tokenizer)
            num_classes = len(labels.names)
            ngrams = (
                None if config.features == "none" else Ngrams.from_bytes(files[_NGRAMS_FILE], num_classes)
            )
        except (KeyError, ValueError, TypeError, RecursionError, ValidationError) as fault:
            raise CheckpointError(
                f"config.json or labels.json: not a classifier's ({str(fault)[:500]})"
            ) from None
        return cls(config, tokenizer, labels, ngrams)
