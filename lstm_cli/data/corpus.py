"""Text to learn a language from: the training rows and rows without labels, less what dev and test are scored on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lstm_cli.data.config import DataConfig
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows, Splits, open_rows
from lstm_cli.data.split import content_hashes, held_out_mask
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError

_HELD_OUT, _FEWEST_HELD_OUT, _MOST_HELD_OUT = 0.01, 8, 300
"""Share of the texts that the language model is judged by, and how many at least and at most: a softmax over 30,000
words takes as long for one text as twenty of training."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows of several sources, one source after the other; nothing is held in memory."""

    parts: tuple[Rows[Text], ...]

    def __iter__(self) -> Iterator[Row[Text]]:
        return chain.from_iterable(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(source for part in self.parts for source in part.sources)

    def digest(self) -> str:
        """SHA-256 (hex) of all that decides these rows."""
        return hashlib.sha256(json.dumps([part.digest() for part in self.parts]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CorpusSplits:
    """What a language model learns from and what it is judged by; `whole` is both.

    `num_left_out` rows without labels are in neither, because theirs is the text of a dev or test row.
    """

    whole: Corpus
    train: Corpus
    held_out: Corpus
    num_left_out: int


def open_unlabelled(config: DataConfig, paths: str | Sequence[str]) -> Rows[Text]:
    """The rows of `data.unlabelled`; the training files' format says nothing of these. Raises DataError."""
    plain = config.model_copy(update={"format": "auto"})
    return open_rows(paths, plain, "unlabelled", labelled=False, content=Text)


def load_corpus(config: DataConfig, splits: Splits[Text], seed: int) -> CorpusSplits:
    """The training rows, and those of `data.unlabelled`. Copies of one text are held out together.

    Raises DataError.
    """
    parts, num_left_out = [splits.train], 0
    if config.unlabelled is not None:
        unlabelled = open_unlabelled(config, config.unlabelled)
        scored = chain(splits.dev, splits.test or ())
        kept = ~np.isin(content_hashes(unlabelled), np.unique(content_hashes(scored)))
        parts.append(unlabelled.select(kept))
        num_left_out = int((~kept).sum())
    whole = Corpus(tuple(parts))
    wanted = max(min(_FEWEST_HELD_OUT, len(whole) // 2), min(_HELD_OUT * len(whole), _MOST_HELD_OUT))
    held_out = held_out_mask(whole, wanted / max(len(whole), 1), seed, stratified=False)
    if not held_out.any():
        raise DataError(
            f"{', '.join(whole.sources)}: {len(whole)} texts, too few that differ to hold any of them out; "
            f"try data.unlabelled, or task.encoder.init_from=null"
        )
    masks = np.split(held_out, np.cumsum([len(part) for part in parts])[:-1])
    return CorpusSplits(
        whole,
        Corpus(tuple(part.select(~mask) for part, mask in zip(parts, masks, strict=True))),
        Corpus(tuple(part.select(mask) for part, mask in zip(parts, masks, strict=True))),
        num_left_out,
    )
