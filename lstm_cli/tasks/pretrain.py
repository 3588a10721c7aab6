"""Pretraining: language models on text without labels train the embedding and recurrent layers for a classifier."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from lstm_cli.arrays import Int32, Ragged
from lstm_cli.batch import PAD_ID, Batch
from lstm_cli.data.cache import cache_key, cached
from lstm_cli.data.corpus import Corpus, CorpusSplits
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import CheckpointError, DataError
from lstm_cli.metrics.classification import LOG_LOSS
from lstm_cli.metrics.metric import Metric
from lstm_cli.nn.language import LanguageModel, draw
from lstm_cli.tasks.base import Loss, Outputs, TextReader, Trainable
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.tasks.text import chunks, learn_tokenizer

KIND = "pretrain"
_STORE_FORMAT = 2
"""Increased whenever the same text would be split into other pieces, so that no old cache is read."""
_TOKENS_AT_ONCE = 2**22  # counting takes eight bytes per token


PERPLEXITY = Metric("perplexity", "perplexity", higher_is_better=False, format=".1f")


@dataclass(frozen=True, slots=True)
class Perplexities:
    """Perplexity of each direction: exp of the mean negative log-likelihood of a token. `log_loss` is the mean negative
    log-likelihood of both directions, in nats.

    `backward` is None if the model reads in one direction only.
    """

    log_loss: float
    forward: float
    backward: float | None

    def scalars(self) -> dict[str, float]:
        both = {} if self.backward is None else {"backward_perplexity": self.backward}
        perplexity = {LOG_LOSS.name: self.log_loss, PERPLEXITY.name: _exp(self.log_loss)}
        return {**perplexity, "forward_perplexity": self.forward, **both}


def _exp(log_loss: float) -> float:
    return math.exp(min(log_loss, 700.0))  # exp of more overflows a float


@dataclass(frozen=True, slots=True)
class Pretrain(Trainable):
    """A forward and a backward language model with the tokenizer and encoder of the classifier that `config` describes.

    `frequencies` (V,) are the relative frequencies of the tokens in the training text; `num_samples` negative samples
    are drawn from them in each step.
    """

    config: TextReader
    tokenizer: TextTokenizer
    frequencies: Tensor
    num_samples: int

    metrics: ClassVar[tuple[Metric, ...]] = (
        LOG_LOSS,
        PERPLEXITY,
        Metric("forward_perplexity", "forward perplexity", higher_is_better=False, format=".1f"),
        Metric("backward_perplexity", "backward perplexity", higher_is_better=False, format=".1f"),
    )
    loss_metric: ClassVar[Metric] = LOG_LOSS

    @classmethod
    def learn(
        cls,
        config: TextReader,
        corpus: CorpusSplits,
        num_samples: int,
        tokenizer: TextTokenizer | None = None,
    ) -> Pretrain:
        """Learn vocabulary and token frequencies from the corpus and nothing else.

        If `tokenizer` is given, keep its vocabulary.
        """
        tokenizer = tokenizer or learn_tokenizer(config.tokenizer, corpus.whole)
        without_frequencies = cls(config, tokenizer, torch.zeros(tokenizer.vocab_size), num_samples)
        # counts begin at 1, so that a token that is only in the held-out text has a probability too
        counts = np.ones(tokenizer.vocab_size)
        counts[PAD_ID] = 0
        tokens = without_frequencies.encode(corpus.train).inputs.values
        for at in range(0, len(tokens), _TOKENS_AT_ONCE):
            counts += np.bincount(tokens[at : at + _TOKENS_AT_ONCE], minlength=len(counts))
        return cls(config, tokenizer, torch.from_numpy(counts / counts.sum()).float(), num_samples)

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Pretrain:
        """Load the task from `files`, without the frequencies. Raises CheckpointError if they are something else."""
        try:
            content = json.loads(files["config.json"])
            if content["kind"] != KIND:
                raise CheckpointError(
                    f"config.json: task kind {content['kind']!r:.100}, not a run of `lstmcls pretrain`"
                )
            config = ClassifyConfig.model_validate(content["task"])
            tokenizer = TextTokenizer.from_json(files["tokenizer.json"], config.tokenizer)
        except (KeyError, ValueError, TypeError, RecursionError, ValidationError) as fault:
            raise CheckpointError(f"config.json: not a pretraining's ({str(fault)[:500]})") from None
        return cls(config, tokenizer, torch.zeros(tokenizer.vocab_size), 1)

    def build_model(self) -> LanguageModel:
        """A new language model with the layers that can be pretrained."""
        encoder = self.config.encoder
        return LanguageModel(
            encoder.build(self.tokenizer.vocab_size, encoder.num_pretrained_layers), self.frequencies
        )

    def encode(self, rows: Rows[Text] | Corpus) -> Store:
        """Encode the texts in pieces of at most `max_tokens`, one piece per row, cached on disk.

        Raises DataError if no text has two tokens: a single token leaves nothing to predict.
        """
        inputs = {
            "format": _STORE_FORMAT,
            "kind": KIND,
            "rows": rows.digest(),
            "tokenizer": hashlib.sha256(self.tokenizer.to_json()).hexdigest(),
            "max_tokens": self.config.max_tokens,
        }
        store = cached(
            cache_key(inputs),
            lambda: map(self.encode_window, chunks(rows)),
            {"inputs": self.tokenizer.vocab_size},
        )
        if not len(store):
            raise DataError(
                f"{', '.join(rows.sources)}: no text with two or more tokens to pretrain on; "
                f"try data.unlabelled, data.text_column, a higher task.max_tokens, or task.encoder.init_from=null"
            )
        return store

    def encode_window(self, rows: Sequence[Row[Text]]) -> Store:
        """Encode a few texts in pieces; pieces of a single token are left out."""
        texts = self.tokenizer.encode([row.content.text for row in rows])
        pieces = [piece for ids in texts for piece in self._pieces(ids) if len(piece) > 1]
        return Store(Ragged.pack(pieces), np.zeros(len(pieces), np.bool_))

    def _pieces(self, ids: Int32) -> Iterator[Int32]:
        limit = self.config.max_tokens
        return (ids[at : at + limit] for at in range(0, len(ids), limit))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        assert isinstance(model, LanguageModel)
        device = batch.inputs.device
        tokens, weights = draw(self.frequencies, self.num_samples)
        total = model.sampled_loss(batch.inputs, batch.lengths, (tokens.to(device), weights.to(device)))
        return Loss(total, int((batch.lengths - 1).sum()) * len(model.projections))

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, D) negative log-likelihood of each direction, in nats, summed over the row."""
        losses = model(batch.inputs, batch.lengths).cpu().double()  # (D, N)
        row_of = torch.repeat_interleave(batch.lengths - 1)
        return torch.zeros(batch.num_rows, len(losses), dtype=torch.float64).index_add_(0, row_of, losses.T)

    def score(self, outputs: Outputs, store: Store) -> Perplexities:
        assert not isinstance(outputs, Ragged)
        means = outputs.sum(0) / int((store.lengths - 1).sum())
        each = [_exp(float(mean)) for mean in means]
        return Perplexities(float(means.mean()), each[0], each[1] if len(each) > 1 else None)

    def files(self) -> dict[str, bytes]:
        content = {"kind": KIND, "task": self.config.model_dump(mode="json")}
        return {
            "config.json": json.dumps(content, indent=2).encode(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
