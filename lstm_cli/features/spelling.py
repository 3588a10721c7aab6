"""What a tagger knows of a word: its number, features of its spelling, and its characters.

The features are those of a classic CRF tagger (Ratnaparkhi 1996; Lafferty et al. 2001): the word as written and in
lower case, its shape, and its first and last one to five letters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lstm_cli.arrays import AnyArray, Int32
from lstm_cli.batch import PAD_ID, UNK_ID

FORMAT = 2
"""Increased whenever the same words would be numbered in another way, so that no old cache is read."""
MAX_CHARACTERS = 24
"""Of a longer word, the first and the last half of them are read."""
_AFFIXES, _SHAPE = 5, 8
_RARE_CHARACTER = 3
_FREQUENT = 2
NUM_FEATURES = 3 + 2 * _AFFIXES


def features_of(word: str) -> list[str | None]:
    """The features, always as many; None for an affix that is longer than the word."""
    lower = word.lower()
    sizes = range(1, _AFFIXES + 1)
    return [
        f"w:{word}",
        f"l:{lower}",
        f"s:{shape_of(word)}",
        *(f"p:{lower[:size]}" if len(lower) >= size else None for size in sizes),
        *(f"e:{lower[-size:]}" if len(lower) >= size else None for size in sizes),
    ]


def shape_of(word: str) -> str:
    """The kinds of its characters without repetitions, at most eight: McDonald's-2 -> XxXx'x-d."""
    shape = ""
    for char in word:
        kind = "X" if char.isupper() else "x" if char.islower() else "d" if char.isdigit() else char
        if not shape.endswith(kind):
            shape += kind
        if len(shape) == _SHAPE:
            break
    return shape


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """The words in lower case, the features and the characters of the training sentences, each with its number.

    Words and characters are numbered from UNK_ID + 1, features from PAD_ID + 1, by frequency; those below
    `num_frequent` occur at least twice. Without `all_features`, the word as written is the only one: by it, unseen
    words are known.
    """

    words: Sequence[str]
    features: Sequence[str]
    characters: Sequence[str]
    num_frequent: int
    all_features: bool
    _numbers: tuple[dict[str, int], ...] = field(init=False, repr=False)
    _encoded: dict[str, Int32] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        numbers = tuple(
            {name: at for at, name in enumerate(names, first)}
            for names, first in (
                (self.words, UNK_ID + 1),
                (self.features, PAD_ID + 1),
                (self.characters, UNK_ID + 1),
            )
        )
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def learn(cls, sentences: Iterable[Sequence[str]], min_count: int, *, all_features: bool) -> Lexicon:
        """Count the words of the training sentences. A word that is rarer than `min_count` has no number."""
        counts = Counter(word for words in sentences for word in words)
        lower, features, characters = Counter[str](), Counter[str](), Counter[str]()
        for word, count in counts.items():
            lower[word.lower()] += count
            for name in features_of(word) if all_features else [f"w:{word}"]:
                if name is not None:
                    features[name] += count
            for char in word:
                characters[char] += count
        return cls(
            list(_frequent(lower, min_count)),
            list(_frequent(features, 1)),
            list(_frequent(characters, _RARE_CHARACTER)),
            sum(count >= _FREQUENT for count in features.values()) + PAD_ID + 1,
            all_features,
        )

    @property
    def num_words(self) -> int:
        """The numbers of words, padding and the unknown word included."""
        return len(self.words) + UNK_ID + 1

    @property
    def num_features(self) -> int:
        """The numbers of features, padding included."""
        return len(self.features) + PAD_ID + 1

    @property
    def num_characters(self) -> int:
        """The numbers of characters, padding and the unknown character included."""
        return len(self.characters) + UNK_ID + 1

    @property
    def features_per_word(self) -> int:
        """A, the number of features that every word has."""
        return NUM_FEATURES if self.all_features else 1

    def encode(self, words: Sequence[str]) -> Int32:
        """(T,) words -> (T, 1 + A + MAX_CHARACTERS): its number, its features, its characters; at least one row."""
        encoded = self._encoded
        rows = []
        for word in words or [""]:
            if (row := encoded.get(word)) is None:
                row = encoded[word] = self._encode(word)
            rows.append(row)
        if len(encoded) > 200_000:  # a stream of new words must not grow without end
            encoded.clear()
        return np.stack(rows)

    def _encode(self, word: str) -> Int32:
        words, features, characters = self._numbers
        named = features_of(word) if self.all_features else [f"w:{word}"]
        half = MAX_CHARACTERS // 2
        spelled = word if len(word) <= MAX_CHARACTERS else word[:half] + word[-half:]
        row = np.full(1 + len(named) + MAX_CHARACTERS, PAD_ID, np.int32)
        row[0] = words.get(word.lower(), UNK_ID)
        row[1 : 1 + len(named)] = [PAD_ID if name is None else features.get(name, PAD_ID) for name in named]
        start = 1 + len(named)
        row[start : start + len(spelled)] = [characters.get(char, UNK_ID) for char in spelled]
        return row

    def unseen(self, inputs: AnyArray) -> AnyArray:
        """(M, 1 + A + MAX_CHARACTERS) -> (M,) True for the words that train does not have as they are written."""
        return np.asarray(inputs[:, 1] == PAD_ID)

    def to_json(self) -> bytes:
        """For a file of a checkpoint."""
        content = {
            "words": list(self.words),
            "features": list(self.features),
            "characters": list(self.characters),
            "num_frequent": self.num_frequent,
            "all_features": self.all_features,
        }
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def from_json(cls, content: bytes) -> Lexicon:
        """Raises KeyError, ValueError or TypeError for something else."""
        known = json.loads(content.decode("utf-8", "surrogatepass"))
        words, features, characters = (known[name] for name in ("words", "features", "characters"))
        for one in (words, features, characters):
            if not isinstance(one, list) or not all(isinstance(name, str) for name in one):
                raise TypeError("words, features and characters must be lists of texts")
        num_frequent = int(known["num_frequent"])
        if not 1 <= num_frequent <= len(features) + PAD_ID + 1:
            raise ValueError(f"num_frequent: {num_frequent} of {len(features)} features")
        return cls(words, features, characters, num_frequent, bool(known["all_features"]))


def _frequent(counts: Counter[str], least: int) -> Iterator[str]:
    """By frequency, then by name, so that the order of the rows has no influence."""
    return (
        name for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count >= least
    )
