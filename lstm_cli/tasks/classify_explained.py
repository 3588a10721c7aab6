"""A classifier that can be looked into: what `lstmcls explain` asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from lstm_cli.arrays import Float64
from lstm_cli.batch import UNK_ID, Batch
from lstm_cli.data.encoding import cut
from lstm_cli.data.store import Store
from lstm_cli.data.text import text_row
from lstm_cli.features.named import NamedNgram, class_weights, named_ngrams, strongest_ngrams
from lstm_cli.metrics.calibration import softmax
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.pooling import AttentionPooling
from lstm_cli.tasks.explainable import ReadText

if TYPE_CHECKING:
    from lstm_cli.tasks.classify import Classify


@dataclass(frozen=True, slots=True)
class ClassifyExplainer:
    """An `Explainer` of a classifier in eval mode."""

    task: Classify
    model: TextClassifier

    blank_id = UNK_ID

    @property
    def names(self) -> Sequence[str]:
        return self.task.labels.names

    def read(self, text: str) -> ReadText:
        task, config = self.task, self.task.config
        (ids,) = task.tokenizer.encode([text])
        spans = task.tokenizer.spans(text)
        assert len(spans) == len(ids)
        kept = cut(np.arange(len(ids), dtype=np.int32), config.max_tokens, config.truncation)
        scale = self.model.scales[1].item()
        ngrams: list[NamedNgram] = []
        bias = np.zeros(len(self.names))
        if task.ngrams:
            ngrams = named_ngrams(task.ngrams, text, scale)
            bias = scale * class_weights(task.ngrams, task.ngrams.bias.astype(np.float64))
        return ReadText(ids[kept], [spans[at] for at in kept], ngrams, bias, len(kept) < len(ids))

    def strongest_ngrams(self, texts: Sequence[str], number: int) -> list[list[tuple[str, float]]]:
        scale = self.model.scales[1].item()
        if self.task.ngrams is None or scale <= 0:
            return [[] for _ in self.names]
        return strongest_ngrams(self.task.ngrams, texts, number, scale)

    def embed(self, ids: Tensor) -> Tensor:
        return self.model.encoder.embed(ids)

    def network_logits(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.model.scales[0] * self.model.read(embedded, lengths)
        return logits

    def attention(self, embedded: Tensor, lengths: Tensor) -> Tensor | None:
        pooling = self.model.pooling
        if not isinstance(pooling, AttentionPooling):
            return None
        return pooling.weights(self.model.encoder.read(embedded, lengths), lengths)

    def encode(self, texts: Sequence[str]) -> Store:
        return self.task.encode_window([text_row(text) for text in texts])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, TextClassifier)
        network_scale, ngram_scale = model.scales.cpu().double()
        total: Tensor = network_scale * model(batch.inputs, batch.lengths).cpu().double()
        for extra in batch.extras.values():
            total = total + ngram_scale * extra.cpu().double()
        return total

    def probs(self, logits: Float64) -> Float64:
        uniform = self.model.uniform.item()
        probs: Float64 = (1 - uniform) * softmax(logits) + uniform / logits.shape[1]
        return probs


def opened(task: Classify, model: nn.Module) -> ClassifyExplainer:
    """The explainer of a trained classifier."""
    assert isinstance(model, TextClassifier)
    return ClassifyExplainer(task, model.eval())
