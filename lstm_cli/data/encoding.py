"""From texts to a store of token ids, cut to the longest length that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lstm_cli.arrays import Int32, Ragged
from lstm_cli.data.store import Store
from lstm_cli.data.tokenizer import TextTokenizer

Truncation = Literal["head", "tail", "head+tail"]


def encode_texts(
    texts: Sequence[str], tokenizer: TextTokenizer, max_tokens: int, truncation: Truncation
) -> Store:
    """The token ids of N texts without targets, at most `max_tokens` each."""
    tokens = tokenizer.encode(texts)
    truncated = np.array([len(ids) > max_tokens for ids in tokens], np.bool_)
    return Store(Ragged.pack([cut(ids, max_tokens, truncation) for ids in tokens]), truncated)


def cut(ids: Int32, limit: int, truncation: Truncation) -> Int32:
    """(T,) -> at most `limit` of them."""
    if len(ids) <= limit:
        return ids
    match truncation:
        case "head":
            return ids[:limit]
        case "tail":
            return ids[-limit:]
        case "head+tail":
            tail = limit // 2
            return np.concatenate([ids[: limit - tail], ids[len(ids) - tail :]])
