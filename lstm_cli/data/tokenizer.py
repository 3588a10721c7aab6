"""Text to token ids and back to nothing: vocabularies learned from the training rows, kept as one tokenizer.json.

Four kinds, all of them run by the `tokenizers` library: whole words, byte-pair pieces (Sennrich et al. 2016),
unigram pieces (Kudo 2018) and characters. Id 0 pads, id 1 stands for everything unknown; neither can be typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
from pydantic import Field
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from lstm_cli.batch import UNK_ID
from lstm_cli.errors import CheckpointError, DataError
from lstm_cli.schema import Config

PAD, UNK = "[PAD]", "[UNK]"
_WORD = r"\w+(?:['’]\w+)*|[^\w\s]"
_MARKUP = r"</?[a-zA-Z][^<>]{0,200}>"
_ASCII_WORD, _ASCII_MARKUP = re.compile(_WORD, re.ASCII), re.compile(_MARKUP)
_MAX_JSON_BYTES, _MAX_JSON_COMMAS = 2**27, 2_100_000
"""Two million words take 80 MB, and 1.3 GB of memory to read. A value needs a comma, and may take 72 bytes for 3."""
_MAX_PIECE_CHARS = (
    1_000  # of unigram pieces; those learned have 16. Freeing one of 800,000 ran out of stack: SIGSEGV
)
_LEARN_CHARS, _ENCODE_CHARS = 100_000, 2**20
"""What the library is given at a time: it takes up to 414 bytes a character, and in learning keeps 256 texts ready."""


class _TokenizerConfig(Config):
    kind: str = Field(description="word, bpe, unigram or char")  # first, as it says which keys follow
    lowercase: bool = Field(True, description="fold upper case to lower case")
    strip_markup: bool = Field(False, description="read HTML tags such as <br /> as a space")
    vocab_size: int = Field(30_000, ge=3, description="at most this many entries, the most frequent first")


class WordConfig(_TokenizerConfig):
    """Words and punctuation marks, unicode-aware: `don't` is one token, `great!` is two."""

    kind: Literal["word"] = Field("word", description="word, bpe, unigram or char")
    min_count: int = Field(2, ge=1, description="rarer tokens of the training rows become unknown")


class BpeConfig(_TokenizerConfig):
    """Byte-pair encoding: frequent pieces of words, no word is ever wholly unknown."""

    kind: Literal["bpe"] = Field(description="word, bpe, unigram or char")
    min_count: int = Field(2, ge=1, description="a pair of pieces must be seen this often to become one")


class UnigramConfig(_TokenizerConfig):
    """Unigram language-model pieces; suits scripts without spaces between words."""

    kind: Literal["unigram"] = Field(description="word, bpe, unigram or char")
    vocab_size: int = Field(8_000, ge=3, description="at most this many entries")


class CharConfig(_TokenizerConfig):
    """One token a character; white space counts as one."""

    kind: Literal["char"] = Field(description="word, bpe, unigram or char")
    min_count: int = Field(2, ge=1, description="rarer characters of the training rows become unknown")


TokenizerConfig = Annotated[WordConfig | BpeConfig | UnigramConfig | CharConfig, Field(discriminator="kind")]


def _normalizer(config: _TokenizerConfig, collapse_spaces: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if config.strip_markup:
        steps.append(normalizers.Replace(Regex(_MARKUP), " "))
    steps.append(normalizers.NFKC())
    if config.lowercase:
        steps.append(normalizers.Lowercase())
    if collapse_spaces:
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence(steps)


def _untrained(config: TokenizerConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """The library's tokenizer of this kind, without a vocabulary yet, and what learns one."""
    special = [PAD, UNK]  # in this order: ids 0 and 1
    trainer: trainers.Trainer
    match config:
        case WordConfig() | CharConfig():
            tokenizer = Tokenizer(models.WordLevel({PAD: 0, UNK: 1}, unk_token=UNK))
            if isinstance(config, WordConfig):
                tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
            else:
                tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            trainer = trainers.WordLevelTrainer(
                vocab_size=config.vocab_size,
                min_frequency=config.min_count,
                special_tokens=special,
                show_progress=False,
            )
        case BpeConfig():
            tokenizer = Tokenizer(models.BPE(unk_token=UNK))
            tokenizer.pre_tokenizer = _pieces()
            trainer = trainers.BpeTrainer(
                vocab_size=config.vocab_size,
                min_frequency=config.min_count,
                special_tokens=special,
                show_progress=False,
            )
        case UnigramConfig():
            tokenizer = Tokenizer(models.Unigram([(PAD, 0.0), (UNK, 0.0)], unk_id=UNK_ID))
            tokenizer.pre_tokenizer = _pieces()
            trainer = trainers.UnigramTrainer(
                vocab_size=config.vocab_size, special_tokens=special, unk_token=UNK, show_progress=False
            )
        case _:
            assert_never(config)
    tokenizer.normalizer = _normalizer(config, collapse_spaces=not isinstance(config, WordConfig))
    return tokenizer, trainer


def _pieces() -> pre_tokenizers.PreTokenizer:
    """Pieces start at a space, and never run over a punctuation mark."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated"),
        ]
    )


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Unigram pieces with log-probabilities to two decimals, in one fixed order.

    The library's trainer sums in the order of a hash map, so that order and last digits differ from one run to the
    next; the pieces themselves and their first three decimals did not.
    """
    special, learned = pieces[:2], [(piece, round(score, 2)) for piece, score in pieces[2:]]
    return special + sorted(learned, key=lambda entry: (-entry[1], entry[0]))


@dataclass(frozen=True, slots=True)
class _AsciiWords:
    """What the library makes of ASCII text with a word tokenizer, in 0.4 of its processor time.

    NFKC changes no ASCII, and Python's `re` reads both patterns there as the library's does; what is saved is that
    the library notes for every byte where it came from. On two cores 25,000 film reviews take 3 s so, and 5 s by the
    library, which uses all cores: on four it would be level. The tests compare the two.
    """

    ids: dict[str, int]
    lowercase: bool
    strip_markup: bool

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        if self.strip_markup:
            text = _ASCII_MARKUP.sub(" ", text)
        words = _ASCII_WORD.findall(text.lower() if self.lowercase else text)
        return np.fromiter(map(self.ids.get, words, repeat(UNK_ID)), np.int32, len(words))


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A learned vocabulary. `encode` gives every text at least one id."""

    tokenizer: Tokenizer
    vocab_size: int
    _ascii_words: _AsciiWords | None

    @classmethod
    def learn(cls, config: TokenizerConfig, texts: Iterable[str]) -> TextTokenizer:
        """Learn the vocabulary of `texts`, which must be training texts only.

        Raises DataError where no token is frequent enough to be learned.
        """
        tokenizer, trainer = _untrained(config)
        try:
            tokenizer.train_from_iterator(_pieces_of(texts), trainer)
            learned = tokenizer.get_vocab_size()
        except Exception as fault:
            if type(fault) is not Exception:  # only the library's trainers raise bare Exceptions
                raise
            learned = 0  # what the unigram trainer says of texts that are all empty
        if learned <= 2:
            raise DataError(
                f"the training texts give the {config.kind} tokenizer no vocabulary: they are empty, or no token is "
                f"seen often enough; try data.text_column, or a lower task.tokenizer.min_count"
            )
        saved = json.loads(tokenizer.to_str())
        saved[
            "added_tokens"
        ] = []  # typed text must never reach the special ids: forget that they are special
        if isinstance(config, UnigramConfig):
            saved["model"]["vocab"] = _settled(saved["model"]["vocab"])
        return cls.from_json(json.dumps(saved, ensure_ascii=False).encode(), config)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """The ids of each text, (length,) int32 with length ≥ 1: a text without any token reads as one unknown."""
        words = self._ascii_words
        ids = [words.encode(text) if words and text.isascii() else None for text in texts]
        others = [text for text, done in zip(texts, ids, strict=True) if done is None]
        encoded = self._encoded(others)
        whole = [next(encoded) if row is None else row for row in ids]
        unknown = np.array([UNK_ID], np.int32)
        return [row if len(row) else unknown for row in whole]

    def _encoded(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.int32]]:
        """The library's ids of each text, some texts at a time."""
        begin, chars = 0, 0
        for end, text in enumerate(texts, 1):
            chars += len(text)
            if chars >= _ENCODE_CHARS or end == len(texts):
                for encoding in self.tokenizer.encode_batch_fast(texts[begin:end], add_special_tokens=False):
                    yield np.asarray(encoding.ids, np.int32)
                begin, chars = end, 0

    def to_json(self) -> bytes:
        return str(self.tokenizer.to_str()).encode()

    @classmethod
    def from_json(cls, content: bytes, config: TokenizerConfig) -> TextTokenizer:
        """Read what `to_json` of a tokenizer of this config wrote. Raises CheckpointError for anything else.

        Only the vocabulary is the file's to say. Patterns and replacements could be such as never end, or make
        gigabytes of one word, so they must be those that `config` makes.
        """
        if len(content) > _MAX_JSON_BYTES or content.count(b",") > _MAX_JSON_COMMAS:
            raise CheckpointError(f"tokenizer.json: {len(content)} bytes, more than any vocabulary takes")
        expected = json.loads(_untrained(config)[0].to_str())
        try:
            saved = json.loads(content)
            for part in expected["model"].keys() & {"vocab", "merges"}:
                expected["model"][part] = saved["model"][part]
            vocab_size = _vocab_size(expected["model"]["vocab"])
            _check_merges(expected["model"].get("merges", []), expected["model"]["vocab"])
            differs = sorted(
                key for key in saved.keys() | expected.keys() if saved.get(key) != expected.get(key)
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as fault:
            raise CheckpointError(
                f"tokenizer.json: not a tokenizer ({type(fault).__name__}: {fault})"
            ) from None
        if differs:
            raise CheckpointError(
                f"tokenizer.json: its {', '.join(differs)} is not what lstmcls writes for a {config.kind} tokenizer "
                f"with the options in config.json"
            )
        try:
            tokenizer = Tokenizer.from_str(json.dumps(expected, ensure_ascii=False))
        except BaseException as fault:
            if type(fault).__name__ not in ("Exception", "PanicException", "UnicodeEncodeError"):
                raise
            raise CheckpointError(f"tokenizer.json: cannot be read ({fault})") from None
        words = expected["model"]["vocab"] if isinstance(config, WordConfig) else None
        return cls(tokenizer, vocab_size, words and _AsciiWords(words, config.lowercase, config.strip_markup))


def _pieces_of(texts: Iterable[str]) -> Iterator[str]:
    """Long texts in pieces: a word cut in two every 100,000 characters is nothing to a vocabulary."""
    for text in texts:
        yield text[:_LEARN_CHARS]
        yield from (text[at : at + _LEARN_CHARS] for at in range(_LEARN_CHARS, len(text), _LEARN_CHARS))


def _vocab_size(vocab: Any) -> int:
    """Entries of a `vocab`, {entry: id} or [entry, score] in the order of ids. Raises ValueError for a wrong one."""
    entries = (
        sorted(vocab, key=vocab.__getitem__) if isinstance(vocab, dict) else [entry for entry, _ in vocab]
    )
    if isinstance(vocab, dict) and sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError(f"its ids are not 0 … {len(vocab) - 1}")
    if isinstance(vocab, list) and max(map(len, entries)) > _MAX_PIECE_CHARS:
        raise ValueError(f"an entry of more than {_MAX_PIECE_CHARS} characters")
    if entries[:2] != [PAD, UNK] or not all(entries):
        raise ValueError(f"its entries are not {PAD}, {UNK} and others that are not empty")
    return len(entries)


def _check_merges(merges: Any, vocab: Any) -> None:
    """Raise ValueError unless every merge is [a, b] with a, b and ab in `vocab`: for others the library may panic."""
    for merge in merges:
        if not isinstance(merge, list) or not {merge[0], merge[1], merge[0] + merge[1]} <= vocab.keys():
            raise ValueError("its merges are not of entries of its vocabulary")
