"""Language models for a classifier to start from: its own embedding and layers, learned on text without labels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lstm_cli.batch import PAD_ID, Batch
from lstm_cli.data.corpus import Corpus, CorpusSplits
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import EncodedRows, TokenStore, cache_key, cached
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import CheckpointError, DataError
from lstm_cli.nn.language import LanguageModel, draw
from lstm_cli.tasks.base import Loss, Outputs, Scores
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.tasks.text import chunks, learn_tokenizer

KIND = "pretrain"
_STORE_FORMAT = 1
"""Counted up whenever the same text would be cut into other pieces, so that no old cache is read."""
_TOKENS_AT_ONCE = 2**22  # counting takes eight bytes a token


@dataclass(frozen=True, slots=True)
class Perplexities:
    """How many tokens a direction wavers between, on average: exp of its mean surprise. `backward` may be missing."""

    log_loss: float
    forward: float
    backward: float | None

    def scalars(self) -> dict[str, float]:
        both = {} if self.backward is None else {"backward_perplexity": self.backward}
        perplexity = {"log_loss": self.log_loss, "perplexity": _exp(self.log_loss)}
        return {**perplexity, "forward_perplexity": self.forward, **both}


def _exp(surprise: float) -> float:
    return math.exp(min(surprise, 700.0))  # beyond it a float ends


@dataclass(frozen=True, slots=True)
class Pretrain:
    """A forward and a backward language model of the classifier that `config` describes.

    `shares` (V,) are those of the tokens in the text that is trained on, `num_samples` what each step is held against.
    """

    config: ClassifyConfig
    tokenizer: TextTokenizer
    shares: Tensor
    num_samples: int

    @classmethod
    def learn(
        cls,
        config: ClassifyConfig,
        corpus: CorpusSplits,
        num_samples: int,
        tokenizer: TextTokenizer | None = None,
    ) -> Pretrain:
        """Learn vocabulary and shares of the corpus, and from nothing else; a given `tokenizer` is kept."""
        tokenizer = tokenizer or learn_tokenizer(config.tokenizer, corpus.whole)
        unlearned = cls(config, tokenizer, torch.zeros(tokenizer.vocab_size), num_samples)
        counts = np.ones(tokenizer.vocab_size)  # a token that the held-out text alone has can be said as well
        counts[PAD_ID] = 0
        tokens = unlearned.encode(corpus.train).tokens
        for at in range(0, len(tokens), _TOKENS_AT_ONCE):
            counts += np.bincount(tokens[at : at + _TOKENS_AT_ONCE], minlength=len(counts))
        return cls(config, tokenizer, torch.from_numpy(counts / counts.sum()).float(), num_samples)

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Pretrain:
        """The task that `files` described, but for the shares. Raises CheckpointError where they do not."""
        try:
            facts = json.loads(files["config.json"])
            if facts["kind"] != KIND:
                raise CheckpointError(
                    f"config.json: task kind {facts['kind']!r:.100}, and not what `lstmcls pretrain` leaves"
                )
            config = ClassifyConfig.model_validate(facts["task"])
            tokenizer = TextTokenizer.from_json(files["tokenizer.json"], config.tokenizer)
        except (KeyError, ValueError, TypeError, RecursionError, ValidationError) as fault:
            raise CheckpointError(f"config.json: not a pretraining's ({str(fault)[:500]})") from None
        return cls(config, tokenizer, torch.zeros(tokenizer.vocab_size), 1)

    def build_model(self) -> LanguageModel:
        """A fresh model of those layers that can be learned so."""
        encoder = self.config.encoder
        return LanguageModel(
            encoder.build(self.tokenizer.vocab_size, encoder.num_pretrained_layers), self.shares
        )

    def encode(self, rows: Rows[Text] | Corpus, scored: bool = True) -> TokenStore:  # noqa: ARG002
        made_from = {
            "format": _STORE_FORMAT,
            "kind": KIND,
            "rows": rows.digest(),
            "tokenizer": hashlib.sha256(self.tokenizer.to_json()).hexdigest(),
            "max_tokens": self.config.max_tokens,
        }
        store = cached(cache_key(made_from), map(self.encode_window, chunks(rows)))
        if not len(store):
            raise DataError(
                f"{', '.join(rows.sources)}: no text of two tokens or more to learn a language from; "
                f"try data.unlabelled, data.text_column, a higher task.max_tokens, or task.encoder.init_from=null"
            )
        return store

    def encode_window(self, rows: Iterable[Row[Text]]) -> EncodedRows:
        """Every text in pieces of at most `max_tokens`, a piece a row; one token alone foretells nothing and is left
        out."""
        texts = self.tokenizer.encode([row.content.text for row in rows])
        pieces = [piece for ids in texts for piece in self._pieces(ids) if len(piece) > 1]
        return EncodedRows(pieces, [-1] * len(pieces), [False] * len(pieces))

    def _pieces(self, ids: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int32]]:
        limit = self.config.max_tokens
        return (ids[at : at + limit] for at in range(0, len(ids), limit))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, LanguageModel)
        device = batch.inputs.device
        tokens, weights = draw(self.shares, self.num_samples)
        total = model.sampled_loss(batch.inputs, batch.lengths, (tokens.to(device), weights.to(device)))
        return Loss(total, int((batch.lengths - 1).sum()) * len(model.projections))

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, D) surprise of each direction, summed over the row."""
        surprise = model(batch.inputs, batch.lengths).double().cpu()  # (D, N)
        row_of = torch.repeat_interleave(batch.lengths - 1)
        return torch.zeros(batch.num_rows, len(surprise), dtype=torch.float64).index_add_(
            0, row_of, surprise.T
        )

    uncalibrated = outputs

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: TokenStore) -> Outputs:  # noqa: ARG002
        """A surprise is no decision: it stays what it is."""
        return outputs

    def score(self, outputs: Outputs, store: TokenStore) -> Perplexities:
        means = outputs.sum(0) / int((store.lengths - 1).sum())
        each = [_exp(float(mean)) for mean in means]
        return Perplexities(float(means.mean()), each[0], each[1] if len(each) > 1 else None)

    def warnings(self, scores: Scores) -> list[str]:  # noqa: ARG002
        return []

    def prediction(
        self,
        output: npt.NDArray[np.float64],
        top_k: int,  # noqa: ARG002
        probs: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        return {"log_loss": float(output.mean())}

    def files(self) -> dict[str, bytes]:
        facts = {"kind": KIND, "task": self.config.model_dump(mode="json")}
        return {
            "config.json": json.dumps(facts, indent=2).encode(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
