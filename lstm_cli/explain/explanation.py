"""An explanation as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the text, `text[begin:end]`, and what it adds to the logit difference.

    `contribution` = `network` + `ngrams`. `without` is how much of the difference is lost if the word is left out of
    the text, `attention` the weight that the pooling gives it, and `score` the probability of the label after this
    word, if the text ended there. They are None where they were not computed, or do not exist.
    """

    word: str
    begin: int
    end: int
    contribution: float
    network: float
    ngrams: float
    without: float | None
    attention: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ngram:
    """An n-gram of the text, of `words` or of `characters`, and what it adds to the logit difference."""

    ngram: str
    of: str
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a text has a label, or why not.

    What is explained is the `difference` between the logit of `label` and that of `against`, the most probable other
    class. It is `base`, which a text of unknown words has, plus the contributions of all `words`, up to `error`.

    `predicted` is the most probable class and `probs` has the probability of each class. `ngrams` are the ones that
    count most. `notes` are sentences about what was left out.
    """

    text: str
    label: str
    against: str
    predicted: str
    score: float
    probs: dict[str, float]
    difference: float
    base: float
    error: float
    words: tuple[Word, ...]
    ngrams: tuple[Ngram, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        return asdict(self)
