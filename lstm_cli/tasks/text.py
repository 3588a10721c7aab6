"""Shared by all tasks that read text: the encoder's config, the cached vocabulary, and chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import tokenizers
from pydantic import Field

from lstm_cli.data.cache import cache_key, cached_bytes
from lstm_cli.data.corpus import Corpus
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig
from lstm_cli.nn.encoders import TokenEncoder
from lstm_cli.schema import Config

_ROWS_AT_ONCE, _CHARS_AT_ONCE = 2_000, 2**24
_TOKENIZER_FORMAT = 1
"""Increased whenever the same rows and settings give another vocabulary, so that no old cache is read."""


class EncoderConfig(Config):
    """The `task.encoder:` section: embedding and recurrent layers."""

    embedding_size: int = Field(128, ge=1, le=2**16, description="size of the vector of a token")
    embedding_dropout: float = Field(
        0.0, ge=0, lt=1, description="fraction of the embedded values set to zero in training"
    )
    word_dropout: float = Field(
        0.0, ge=0, lt=1, description="fraction of the tokens replaced by the unknown token in training"
    )
    cell: Literal["rnn", "gru", "lstm"] = Field(
        "lstm", description="type of the recurrent layers: rnn, gru or lstm"
    )
    hidden_size: int = Field(128, ge=1, le=2**16, description="units per layer and direction")
    num_layers: int = Field(1, ge=1, le=100, description="number of stacked recurrent layers")
    bidirectional: bool = Field(True, description="read each text in both directions")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate between recurrent layers")
    path: Literal["auto", "packed", "split"] = Field(
        "auto",
        description="implementation of the layers, packed or split; both give the same results, auto takes the faster",
    )
    init_from: str | None = Field(
        None,
        min_length=1,
        description="folder of a run of `lstmcls pretrain`: start from its vocabulary, embedding and layers; "
        "`pretrain`: train pretrains first, on its own rows and data.unlabelled; null: random weights",
    )

    @property
    def num_pretrained_layers(self) -> int:
        """The number of layers, from the first on, that can be pretrained.

        In a bidirectional encoder, a second layer would see the token that it has to predict.
        """
        return 1 if self.bidirectional else self.num_layers

    def build(self, vocab_size: int, num_layers: int | None = None) -> TokenEncoder:
        """A new encoder; with `num_layers`, it has only that many layers."""
        return TokenEncoder(
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


def learn_tokenizer(config: TokenizerConfig, rows: Rows[Text] | Corpus) -> TextTokenizer:
    """The tokenizer learned from the texts of the rows, cached on disk by rows and settings."""
    inputs = [_TOKENIZER_FORMAT, tokenizers.__version__, rows.digest(), config.model_dump(mode="json")]
    learned = cached_bytes(
        cache_key(inputs),
        lambda: TextTokenizer.learn(config, (row.content.text for row in rows)).to_json(),
    )
    return TextTokenizer.from_json(learned, config)


def chunks(rows: Iterable[Row[Text]]) -> Iterator[list[Row[Text]]]:
    """The rows in chunks. Limits on the rows and characters of a chunk bound the memory."""
    chunk, chars = [], 0
    for row in rows:
        chunk.append(row)
        chars += len(row.content.text)
        if len(chunk) == _ROWS_AT_ONCE or chars >= _CHARS_AT_ONCE:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk
