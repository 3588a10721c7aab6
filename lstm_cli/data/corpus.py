"""The text for a language model: the training rows and unlabelled rows, without near copies of dev and test texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lstm_cli.data.config import DataConfig
from lstm_cli.data.near_copies import NearCopies
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows, Splits, open_rows
from lstm_cli.data.split import held_out_mask
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError

_HELD_OUT, _FEWEST_HELD_OUT, _MOST_HELD_OUT = 0.01, 8, 300
"""The fraction of the texts that the language model is scored on, and the minimum and maximum number of them. Scoring
one text with a softmax over 30,000 words takes as long as training on twenty texts."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows of several sources, one source after the other; nothing is held in memory."""

    members: tuple[Rows[Text], ...]

    def __iter__(self) -> Iterator[Row[Text]]:
        return chain.from_iterable(self.members)

    def __len__(self) -> int:
        return sum(map(len, self.members))

    @property
    def sources(self) -> tuple[str, ...]:
        """The files, folders and data sets of all members."""
        return tuple(source for rows in self.members for source in rows.sources)

    def digest(self) -> str:
        """SHA-256 (hex) of everything that determines these rows."""
        return hashlib.sha256(json.dumps([rows.digest() for rows in self.members]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CorpusSplits:
    """The texts that a language model is trained on and those that it is scored on; `whole` is both.

    `num_left_out` unlabelled rows are in neither, because their text is a copy or a near copy of a dev or test row.
    """

    whole: Corpus
    train: Corpus
    held_out: Corpus
    num_left_out: int


def open_unlabelled(config: DataConfig, paths: str | Sequence[str]) -> Rows[Text]:
    """The rows of `data.unlabelled`, whose format can differ from that of the training files. Raises DataError."""
    plain = config.model_copy(update={"format": "auto"})
    return open_rows(paths, plain, "unlabelled", labelled=False, content=Text)


def load_corpus(config: DataConfig, splits: Splits[Text], seed: int) -> CorpusSplits:
    """The training rows and those of `data.unlabelled`. All copies of a text go to the same split.

    Raises DataError for rows that cannot be read, and if there are too few different texts to hold any out.
    """
    members, num_left_out = [splits.train], 0
    if config.unlabelled is not None:
        unlabelled = open_unlabelled(config, config.unlabelled)
        scored = chain(splits.dev, splits.test or ())
        left_out = NearCopies.of(scored).mask(unlabelled)
        members.append(unlabelled.select(~left_out))
        num_left_out = int(left_out.sum())
    whole = Corpus(tuple(members))
    wanted = max(min(_FEWEST_HELD_OUT, len(whole) // 2), min(_HELD_OUT * len(whole), _MOST_HELD_OUT))
    held_out = held_out_mask(whole, wanted / max(len(whole), 1), seed, stratified=False)
    if not held_out.any():
        raise DataError(
            f"{', '.join(whole.sources)}: {len(whole)} texts, too few different ones to hold any out; "
            f"try data.unlabelled, or task.encoder.init_from=null"
        )
    masks = np.split(held_out, np.cumsum([len(rows) for rows in members])[:-1])
    return CorpusSplits(
        whole,
        Corpus(tuple(rows.select(~mask) for rows, mask in zip(members, masks, strict=True))),
        Corpus(tuple(rows.select(mask) for rows, mask in zip(members, masks, strict=True))),
        num_left_out,
    )
