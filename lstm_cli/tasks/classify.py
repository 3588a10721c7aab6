"""One label for every text: its config, its vocabulary and labels, its model, loss, scores and predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn

from lstm_cli.batch import Batch
from lstm_cli.data.corpus import Corpus
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import EncodedRows, TokenStore, cache_key, cached, cached_bytes
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig, WordConfig
from lstm_cli.errors import CheckpointError
from lstm_cli.metrics import Classification, classification
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.encoders import RecurrentEncoder
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.schema import Config
from lstm_cli.tasks.base import Loss, Outputs, Scores

_ROWS_AT_ONCE, _CHARS_AT_ONCE = 2_000, 2**24
_STORE_FORMAT = 1
_TOKENIZER_FORMAT = 1
"""Counted up whenever the same rows and settings would be encoded, or a vocabulary learned from them, differently, so
that no old cache is read."""


class EncoderConfig(Config):
    """Embedding and recurrent layers."""

    embedding_size: int = Field(128, ge=1, le=2**16, description="width of a token's vector")
    embedding_dropout: float = Field(0.0, ge=0, lt=1, description="share of the embedded values set to zero")
    word_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the tokens read as unknown while training"
    )
    cell: Literal["rnn", "gru", "lstm"] = Field("lstm", description="rnn, gru or lstm")
    hidden_size: int = Field(128, ge=1, le=2**16, description="units of one layer in one direction")
    num_layers: int = Field(1, ge=1, le=100, description="recurrent layers on top of each other")
    bidirectional: bool = Field(True, description="read from both ends")
    dropout: float = Field(0.0, ge=0, lt=1, description="between recurrent layers")
    path: Literal["auto", "packed", "split"] = Field(
        "auto", description="how the layers are run; both give the same numbers, auto takes the faster"
    )
    init_from: str | None = Field(
        None,
        min_length=1,
        description="folder of a run of `lstmcls pretrain`, whose vocabulary, embedding and layers to start from",
    )

    @property
    def num_pretrained_layers(self) -> int:
        """How many layers, from the first on, a language model can learn: a second one that reads both ways would
        read what it has to foretell."""
        return 1 if self.bidirectional else self.num_layers

    def build(self, vocab_size: int, num_layers: int | None = None) -> RecurrentEncoder:
        """A fresh encoder; with `num_layers`, only that many of its layers."""
        return RecurrentEncoder(
            vocab_size=vocab_size,
            embedding_size=self.embedding_size,
            cell=self.cell,
            hidden_size=self.hidden_size,
            num_layers=num_layers or self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
            word_dropout=self.word_dropout,
            path=self.path,
        )


class ClassifyConfig(Config):
    """The `task:` section of a classifier."""

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

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _words_unless_said(cls, value: object) -> object:
        return {"kind": "word", **value} if isinstance(value, dict) else value

    def fit(self, rows: Rows, tokenizer: TextTokenizer | None = None) -> Classify:
        """Learn labels and vocabulary from the training rows, and from nothing else; a given `tokenizer` is kept."""
        labels = Labels.learn(rows)
        return Classify(self, tokenizer or learn_tokenizer(self.tokenizer, rows), labels)


def learn_tokenizer(config: TokenizerConfig, rows: Rows | Corpus) -> TextTokenizer:
    """The vocabulary of the rows' texts, kept on disk by what it was learned from."""
    made_from = [_TOKENIZER_FORMAT, tokenizers.__version__, rows.digest(), config.model_dump(mode="json")]
    learned = cached_bytes(
        cache_key(made_from), lambda: TextTokenizer.learn(config, (row.text for row in rows)).to_json()
    )
    return TextTokenizer.from_json(learned, config)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows some at a time, so that neither many nor long ones are held together."""
    chunk, chars = [], 0
    for row in rows:
        chunk.append(row)
        chars += len(row.text)
        if len(chunk) == _ROWS_AT_ONCE or chars >= _CHARS_AT_ONCE:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


@dataclass(frozen=True, slots=True)
class Classify:
    """A classification task whose vocabulary and labels are learned."""

    config: ClassifyConfig
    tokenizer: TextTokenizer
    labels: Labels

    def build_model(self) -> TextClassifier:
        encoder = self.config.encoder.build(self.tokenizer.vocab_size)
        pooling = build_pooling(self.config.pooling, encoder.output_size, self.config.encoder.num_layers)
        return TextClassifier(encoder, pooling, len(self.labels.names), self.config.dropout)

    def encode(self, rows: Rows) -> TokenStore:
        made_from = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "tokenizer": hashlib.sha256(self.tokenizer.to_json()).hexdigest(),
            "labels": self.labels.names,
            "max_tokens": self.config.max_tokens,
            "truncation": self.config.truncation,
        }
        return cached(cache_key(made_from), self._encode_chunks(rows))

    def _encode_chunks(self, rows: Rows) -> Iterator[EncodedRows]:
        for chunk in chunks(rows):
            window = self.encode_window(chunk)
            yield EncodedRows(window.tokens, [self.labels.index(row) for row in chunk], window.truncated)

    def encode_window(self, rows: Iterable[Row]) -> EncodedRows:
        tokens = self.tokenizer.encode([row.text for row in rows])
        truncated = [len(ids) > self.config.max_tokens for ids in tokens]
        return EncodedRows([self._truncate(ids) for ids in tokens], [-1] * len(tokens), truncated)

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
        logits = model(batch.inputs, batch.lengths)
        total = F.cross_entropy(
            logits.float(),
            batch.targets,
            weight=self._class_weights(logits.device),
            label_smoothing=self.config.label_smoothing,
            reduction="sum",
        )
        return Loss(total, batch.num_rows)

    def _class_weights(self, device: torch.device) -> Tensor | None:
        """(C,) inversely proportional to the training counts; their mean over the training rows is 1."""
        if self.config.class_weights == "none":
            return None
        counts = torch.tensor(self.labels.counts, dtype=torch.float32, device=device)
        return counts.sum() / (len(counts) * counts)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities."""
        probs: Tensor = model(batch.inputs, batch.lengths).double().softmax(dim=1).cpu()
        return probs

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
        return {
            "config.json": json.dumps(facts, indent=2).encode(),
            "labels.json": self.labels.to_json(),
            "tokenizer.json": self.tokenizer.to_json(),
        }

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Classify:
        """The task that `files` described. Raises CheckpointError where they do not."""
        try:
            facts = json.loads(files["config.json"])
            config = ClassifyConfig.model_validate(facts["task"])
            labels = Labels.from_json(files["labels.json"], facts["label_counts"])
            tokenizer = TextTokenizer.from_json(files["tokenizer.json"], config.tokenizer)
        except (KeyError, ValueError, TypeError, RecursionError, ValidationError) as fault:
            raise CheckpointError(
                f"config.json or labels.json: not a classifier's ({str(fault)[:500]})"
            ) from None
        return cls(config, tokenizer, labels)
