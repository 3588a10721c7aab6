"""What the tasks that read text share: the encoder's config, a vocabulary that is learned once, rows some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import tokenizers
from pydantic import Field

from lstm_cli.data.corpus import Corpus
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import cache_key, cached_bytes
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig
from lstm_cli.nn.encoders import RecurrentEncoder
from lstm_cli.schema import Config

_ROWS_AT_ONCE, _CHARS_AT_ONCE = 2_000, 2**24
_TOKENIZER_FORMAT = 1
"""Counted up whenever another vocabulary would be learned from the same rows and settings, so that no old cache is
read."""


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
        description="folder of a run of `lstmcls pretrain`, whose vocabulary, embedding and layers to start from; or "
        "`pretrain`: train makes one first, of its own rows and data.unlabelled",
    )

    @property
    def pretrains_first(self) -> bool:
        """Whether a training makes the pretraining that it starts from."""
        return self.init_from == "pretrain"

    @property
    def pretrained_in(self) -> str | None:
        """The folder of the pretraining to start from, where it is there already."""
        return None if self.pretrains_first else self.init_from

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


def learn_tokenizer(config: TokenizerConfig, rows: Rows[Text] | Corpus) -> TextTokenizer:
    """The vocabulary of the rows' texts, kept on disk by what it was learned from."""
    made_from = [_TOKENIZER_FORMAT, tokenizers.__version__, rows.digest(), config.model_dump(mode="json")]
    learned = cached_bytes(
        cache_key(made_from),
        lambda: TextTokenizer.learn(config, (row.content.text for row in rows)).to_json(),
    )
    return TextTokenizer.from_json(learned, config)


def chunks(rows: Iterable[Row[Text]]) -> Iterator[list[Row[Text]]]:
    """The rows some at a time, so that neither many nor long ones are held together."""
    chunk, chars = [], 0
    for row in rows:
        chunk.append(row)
        chars += len(row.content.text)
        if len(chunk) == _ROWS_AT_ONCE or chars >= _CHARS_AT_ONCE:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk
