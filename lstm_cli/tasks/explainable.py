"""What an explanation needs to know of a task: its tokens, its embedding, its logits and its n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from lstm_cli.arrays import Float64, Int32
from lstm_cli.batch import Batch
from lstm_cli.data.store import Store
from lstm_cli.features.named import NamedNgram, Span


@dataclass(frozen=True, slots=True)
class ReadText:
    """One text as the model reads it: the ids (T,) of its tokens and where each stands in the text, its n-grams, the
    logits (C,) of a text without n-grams, and whether the text was cut."""

    ids: Int32
    spans: list[Span]
    ngrams: list[NamedNgram]
    ngram_bias: Float64
    truncated: bool


class Explainer(Protocol):
    """A model of single texts that can be looked into. All logits are scaled as the calibration does."""

    @property
    def model(self) -> nn.Module:
        """The trained model."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The C classes."""
        ...

    @property
    def blank_id(self) -> int:
        """The id of the token that says nothing: the unknown one."""
        ...

    def read(self, text: str) -> ReadText:
        """The tokens and n-grams of a text."""
        ...

    def strongest_ngrams(self, texts: Sequence[str], number: int) -> list[list[tuple[str, float]]]:
        """For each class, up to `number` word n-grams of these texts that add most to its logit, and how much."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, E)."""
        ...

    def network_logits(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, E), (B,) int64 on the CPU -> (B, C) logits of the network. They have a gradient."""
        ...

    def attention(self, embedded: Tensor, lengths: Tensor) -> Tensor | None:
        """(B, T, E), (B,) -> (B, T) how much the pooling takes of each token, or None if it has no such weights."""
        ...

    def encode(self, texts: Sequence[str]) -> Store:
        """N texts as a store, for `logits`."""
        ...

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) logits of the whole model, n-grams too, in float64 on the CPU."""
        ...

    def probs(self, logits: Float64) -> Float64:
        """(N, C) logits of the whole model -> (N, C) probabilities."""
        ...


@runtime_checkable
class Explainable(Protocol):
    """A task whose predictions can be explained."""

    def explainer(self, model: nn.Module) -> Explainer:
        """The trained model, to be looked into."""
        ...
