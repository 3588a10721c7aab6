"""From text to token ids, with a vocabulary that is learned from the training rows and saved as tokenizer.json.

There are four kinds, all run by the `tokenizers` library: whole words, byte-pair encoding (Sennrich et al. 2016),
unigram pieces (Kudo 2018) and characters. Id 0 is padding, id 1 every unknown token. Their names [PAD] and [UNK] have
no special meaning inside a text.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
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
"""Limits on tokenizer.json. Two million words take 80 MB, and 1.3 GB of memory to read. Every value needs a comma, and
3 bytes of JSON can take 72 bytes of memory."""
_MAX_PIECE_CHARS = 1_000
"""Maximum characters in a unigram piece; learned pieces have at most 16. Freeing a piece of 800,000 characters
overflowed the stack (SIGSEGV)."""
_LEARN_CHARS, _ENCODE_CHARS = 100_000, 2**20
"""Characters that are passed to the library at a time. It takes up to 414 bytes per character, and learning buffers 256
texts."""


class _TokenizerConfig(Config):
    kind: str = Field(description="word, bpe, unigram or char")  # first, because the other keys depend on it
    lowercase: bool = Field(True, description="convert the text to lower case")
    strip_markup: bool = Field(False, description="replace HTML tags such as <br /> by a space")
    vocab_size: int = Field(
        30_000, ge=3, description="maximum size of the vocabulary; the most frequent tokens are kept"
    )


class WordConfig(_TokenizerConfig):
    """Words and punctuation marks of any script: `don't` is one token, `great!` is two."""

    kind: Literal["word"] = Field("word", description="word, bpe, unigram or char")
    min_count: int = Field(
        2, ge=1, description="tokens that occur less often in the training rows become unknown"
    )


class BpeConfig(_TokenizerConfig):
    """Byte-pair encoding: frequent pieces of words. A word is unknown only if its characters are."""

    kind: Literal["bpe"] = Field(description="word, bpe, unigram or char")
    min_count: int = Field(
        2, ge=1, description="a pair of pieces must occur this often to be merged into one"
    )


class UnigramConfig(_TokenizerConfig):
    """Pieces of words, chosen by a unigram language model. Suits scripts without spaces between words."""

    kind: Literal["unigram"] = Field(description="word, bpe, unigram or char")
    vocab_size: int = Field(8_000, ge=3, description="maximum size of the vocabulary")


class CharConfig(_TokenizerConfig):
    """One token for each character, white space included; a run of white space is one token."""

    kind: Literal["char"] = Field(description="word, bpe, unigram or char")
    min_count: int = Field(
        2, ge=1, description="characters that occur less often in the training rows become unknown"
    )


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
    """The library's tokenizer of this kind, without a vocabulary, and the trainer that learns one."""
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
    """Splits a text into pieces: a piece starts at each space, and every punctuation mark is a piece of its own."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated"),
        ]
    )


def _reproducible(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Unigram pieces in a fixed order, with log-probabilities rounded to two decimals.

    The library's trainer sums in the order of a hash map, so the order and the last digits differ from run to run. The
    pieces, and the first three decimals of their log-probabilities, were always the same.
    """
    special, learned = pieces[:2], [(piece, round(score, 2)) for piece, score in pieces[2:]]
    return special + sorted(learned, key=lambda entry: (-entry[1], entry[0]))


@dataclass(frozen=True, slots=True)
class _AsciiWords:
    """The word tokenizer for ASCII text: the same ids as from the library, in 0.4 of its CPU time.

    NFKC does not change ASCII, and Python's `re` matches both patterns there as the library does. The library is slower
    because it records the origin of every byte. On two cores 25,000 film reviews take 3 s here and 5 s in the library,
    which uses all cores; on four cores both would take the same time. The tests compare the ids of both.
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
    """A tokenizer with a learned vocabulary. `encode` returns at least one id for every text."""

    tokenizer: Tokenizer
    vocab_size: int
    _ascii_words: _AsciiWords | None

    @classmethod
    def learn(cls, config: TokenizerConfig, texts: Iterable[str]) -> TextTokenizer:
        """Learn a vocabulary from `texts`, which must be training texts only.

        Raises DataError if no token is frequent enough.
        """
        tokenizer, trainer = _untrained(config)
        try:
            tokenizer.train_from_iterator(_pieces_of(texts), trainer)
            learned = tokenizer.get_vocab_size()
        except Exception as fault:
            if type(fault) is not Exception:  # only the library's trainers raise Exception itself
                raise
            learned = 0  # the unigram trainer raises it if all texts are empty
        if learned <= 2:
            raise DataError(
                f"the {config.kind} tokenizer finds no vocabulary in the training texts: they are empty, or no token "
                f"occurs often enough; try data.text_column, or a lower task.tokenizer.min_count"
            )
        saved = json.loads(tokenizer.to_str())
        saved["added_tokens"] = []  # so that text such as [PAD] does not become a special id
        if isinstance(config, UnigramConfig):
            saved["model"]["vocab"] = _reproducible(saved["model"]["vocab"])
        return cls.from_json(json.dumps(saved, ensure_ascii=False).encode(), config)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """N texts -> N arrays (T,) int32 of token ids, T ≥ 1: a text without a token is one unknown token."""
        words = self._ascii_words
        ids = [words.encode(text) if words and text.isascii() else None for text in texts]
        others = [text for text, done in zip(texts, ids, strict=True) if done is None]
        encoded = self._encoded(others)
        whole = [next(encoded) if row is None else row for row in ids]
        unknown = np.array([UNK_ID], np.int32)
        return [row if len(row) else unknown for row in whole]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of `encode` stands in the text: (begin, end) in characters.

        A character that stands for several normalised ones can be in several tokens.
        """
        spans: list[tuple[int, int]] = []
        begin = 0
        for piece, _ in _pieces_to_encode(text):
            found = self.tokenizer.encode(piece, add_special_tokens=False)
            spans += [(begin + first, begin + last) for first, last in found.offsets]
            begin += len(piece)
        return spans or [(0, len(text))]

    def _encoded(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.int32]]:
        """The ids of each text from the library."""
        pieces = [_pieces_to_encode(text) for text in texts]
        ids = self._ids(itertools.chain.from_iterable(pieces))
        for own in pieces:
            parts = list(itertools.islice(ids, len(own)))
            yield parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _ids(self, pieces: Iterable[tuple[str, int]]) -> Iterator[npt.NDArray[np.int32]]:
        """The ids of each (piece, normalised characters), computed for some pieces at a time."""
        waiting: list[str] = []
        chars = 0
        for piece, size in itertools.chain(pieces, [("", _ENCODE_CHARS + 1)]):
            if waiting and chars + size > _ENCODE_CHARS:
                for encoding in self.tokenizer.encode_batch_fast(waiting, add_special_tokens=False):
                    yield np.asarray(encoding.ids, np.int32)
                waiting, chars = [], 0
            waiting.append(piece)
            chars += size

    def to_json(self) -> bytes:
        """The content of tokenizer.json."""
        return str(self.tokenizer.to_str()).encode()

    @classmethod
    def from_json(cls, content: bytes, config: TokenizerConfig) -> TextTokenizer:
        """Read what `to_json` wrote for this config. Raises CheckpointError for anything else.

        Only the vocabulary is taken from the file; everything else must be equal to what `config` gives. A crafted
        pattern or replacement could run forever, or turn one word into gigabytes.
        """
        if len(content) > _MAX_JSON_BYTES or content.count(b",") > _MAX_JSON_COMMAS:
            raise CheckpointError(f"tokenizer.json: {len(content)} bytes, more than any vocabulary needs")
        expected = json.loads(_untrained(config)[0].to_str())
        try:
            saved = json.loads(content)
            for key in expected["model"].keys() & {"vocab", "merges"}:
                expected["model"][key] = saved["model"][key]
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


def _pieces_to_encode(text: str) -> list[tuple[str, int]]:
    """The text in pieces, which end before a space if there is one, each with its number of normalised characters.

    Almost always it is one piece. But a character can become 18, and a text millions.
    """
    size = len(text)
    if not unicodedata.is_normalized("NFKC", text):
        size = len(unicodedata.normalize("NFKC", text))
    if size <= _ENCODE_CHARS:
        return [(text, size)]
    pieces = []
    step = max(1, len(text) * _ENCODE_CHARS // (2 * size))
    begin = 0
    while begin < len(text):
        end = min(begin + step, len(text))
        if end < len(text) and (space := text.rfind(" ", begin + 1, end)) > 0:
            end = space
        pieces.append((text[begin:end], _ENCODE_CHARS // 2))
        begin = end
    return pieces


def _pieces_of(texts: Iterable[str]) -> Iterator[str]:
    """The texts, long ones in pieces of 100,000 characters.

    The few words that are cut in two do not change the vocabulary noticeably.
    """
    for text in texts:
        yield text[:_LEARN_CHARS]
        yield from (text[at : at + _LEARN_CHARS] for at in range(_LEARN_CHARS, len(text), _LEARN_CHARS))


def _vocab_size(vocab: Any) -> int:
    """The size of a `vocab`: {entry: id}, or [entry, score] in the order of ids. Raises ValueError for a wrong one."""
    entries = (
        sorted(vocab, key=vocab.__getitem__) if isinstance(vocab, dict) else [entry for entry, _ in vocab]
    )
    if isinstance(vocab, dict) and sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError(f"its ids are not 0 … {len(vocab) - 1}")
    if isinstance(vocab, list) and max(map(len, entries)) > _MAX_PIECE_CHARS:
        raise ValueError(f"an entry of more than {_MAX_PIECE_CHARS} characters")
    if entries[:2] != [PAD, UNK] or not all(entries):
        raise ValueError(f"its entries do not start with {PAD} and {UNK}, or one is empty")
    return len(entries)


def _check_merges(merges: Any, vocab: Any) -> None:
    """Raise ValueError unless every merge is [a, b] with a, b and ab in `vocab`; others can make the library panic."""
    for merge in merges:
        if not isinstance(merge, list) or not {merge[0], merge[1], merge[0] + merge[1]} <= vocab.keys():
            raise ValueError("a merge has entries that are not in the vocabulary")
