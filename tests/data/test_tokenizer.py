"""Vocabularies: learned, closed against typed special tokens, the same in every process, safe to read."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import unicodedata
from dataclasses import replace
from itertools import product
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_cli.batch import PAD_ID, UNK_ID
from lstm_cli.data import tokenizer as tokenizer_module
from lstm_cli.data.tokenizer import (
    BpeConfig,
    CharConfig,
    TextTokenizer,
    TokenizerConfig,
    UnigramConfig,
    WordConfig,
)
from lstm_cli.errors import CheckpointError, DataError

TEXTS = [
    "Great film, great cast!",
    "A dull film. It's dull, don't bother.",
    "Ein großer Film — nie langweilig.",
    "很 好 的 电影,很好",
    "great dull film cast [PAD] [UNK]",
] * 3
KINDS: list[TokenizerConfig] = [
    WordConfig(kind="word", min_count=1),
    BpeConfig(kind="bpe", vocab_size=200),
    UnigramConfig(kind="unigram", vocab_size=120),
    CharConfig(kind="char", min_count=1),
]
LEARNED = [TextTokenizer.learn(config, TEXTS) for config in KINDS]


@pytest.fixture(params=LEARNED, ids=[config.kind for config in KINDS])
def tokenizer(request: pytest.FixtureRequest) -> TextTokenizer:
    learned: TextTokenizer = request.param
    return learned


def words(config: WordConfig, text: str) -> list[str]:
    learned = TextTokenizer.learn(config, [text])
    return [str(learned.tokenizer.id_to_token(int(i))) for i in learned.encode([text])[0]]


def test_words_keep_their_apostrophes_and_punctuation_stands_alone() -> None:
    config = WordConfig(kind="word", min_count=1)
    assert words(config, "Don't STOP, it’s great!!") == ["don't", "stop", ",", "it’s", "great", "!", "!"]
    assert words(config.model_copy(update={"lowercase": False}), "Don't STOP") == ["Don't", "STOP"]


def test_words_hold_combining_marks_together() -> None:
    assert words(WordConfig(kind="word", min_count=1), "हिन्दी में") == ["हिन्दी", "में"]


def test_markup_is_read_as_a_space_only_when_asked() -> None:
    text = "good.<br /><br />bad <i>ugly</i> 3 < 4 > 2"
    stripped = WordConfig(kind="word", min_count=1, strip_markup=True)
    assert words(stripped, text) == ["good", ".", "bad", "ugly", "3", "<", "4", ">", "2"]
    assert words(stripped.model_copy(update={"strip_markup": False}), text).count("br") == 2


def test_rare_words_are_unknown_and_the_vocabulary_has_its_limit() -> None:
    texts = ["a a a b b c"]
    learned = TextTokenizer.learn(WordConfig(kind="word", min_count=2), texts)
    assert learned.encode(["a b c"])[0].tolist() == [2, 3, UNK_ID]
    assert TextTokenizer.learn(WordConfig(kind="word", min_count=1, vocab_size=3), texts).vocab_size == 3


def test_an_empty_text_reads_as_one_unknown_token(tokenizer: TextTokenizer) -> None:
    assert [ids.tolist() for ids in tokenizer.encode(["", "   ", "\n\t"])] == [[UNK_ID]] * 3


def test_typed_special_tokens_are_never_padding(tokenizer: TextTokenizer) -> None:
    for ids in tokenizer.encode(["[PAD]", "a [PAD] b[PAD]", "[UNK][PAD]"]):
        assert PAD_ID not in ids.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=5))
def test_any_text_gives_at_least_one_id_of_the_vocabulary(texts: list[str]) -> None:
    for learned in LEARNED:
        for ids in learned.encode(texts):
            assert len(ids) >= 1
            assert ids.min() > PAD_ID
            assert ids.max() < learned.vocab_size


WORDS = [
    TextTokenizer.learn(
        WordConfig(kind="word", min_count=1, lowercase=lowercase, strip_markup=strip_markup),
        [
            *TEXTS,
            "STOP <b>it</b>, don't 3 <4 b_2 br / > < ' \x00 \x1c \x7f İ ﬁ ① ²",
            *map(chr, range(33, 127)),
        ],
    )
    for lowercase, strip_markup in product((True, False), repeat=2)
]
TYPED = st.text(alphabet=st.sampled_from("aBc_1'’<>/ \t\n\v\x1c\x1f\x85\xa0.,-ßİﬁ①²́é"), max_size=40)


def assert_read_as_the_library_reads(texts: list[str]) -> None:
    for learned in WORDS:
        assert learned._ascii_words is not None
        library = replace(learned, _ascii_words=None)
        assert [ids.tolist() for ids in learned.encode(texts)] == [
            ids.tolist() for ids in library.encode(texts)
        ]


def test_every_ascii_character_and_pair_has_the_librarys_ids() -> None:
    characters = [chr(code) for code in range(128)]
    pairs = ["".join(pair) for pair in product(characters, repeat=2)]
    assert_read_as_the_library_reads(["", *characters, *pairs, *(f"a{pair}b" for pair in pairs)])


def test_markup_of_any_length_has_the_librarys_ids() -> None:
    tags = [f"{opened}{'x' * count}>" for opened in ("<b", "</b", "<b<") for count in range(195, 206)]
    assert_read_as_the_library_reads(
        [*tags, "<b<i>>", "<b\n>a", "<>", "</>", "< b>", "a<b>c", "a<br/>don't<p>"]
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            TYPED,
            st.text(alphabet=st.characters(max_codepoint=127), max_size=60),
            st.text(alphabet=st.characters(codec="utf-8"), max_size=60),
        ),
        max_size=6,
    )
)
def test_any_text_has_the_librarys_ids_in_any_company(texts: list[str]) -> None:
    assert_read_as_the_library_reads(texts)


@pytest.mark.parametrize(
    "changed",
    [
        {"pre_tokenizer": {"type": "WhitespaceSplit"}},
        {"normalizer": None},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "aa"}},
        {"truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
        {"model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2}, "unk_token": "a"}},
    ],
)
def test_only_the_vocabulary_is_taken_from_the_file(changed: dict[str, object]) -> None:
    saved = json.loads(LEARNED[0].to_json())
    with pytest.raises(CheckpointError, match=f"{next(iter(changed))} is not what lstmcls writes"):
        TextTokenizer.from_json(json.dumps({**saved, **changed}).encode(), KINDS[0])
    with pytest.raises(CheckpointError, match="normalizer"):
        TextTokenizer.from_json(LEARNED[0].to_json(), WordConfig(kind="word", lowercase=False))


def test_a_text_of_200_000_words_and_control_characters_are_texts_like_any_other(
    tokenizer: TextTokenizer,
) -> None:
    long, control = tokenizer.encode(["great " * 200_000, "gr\x00eat\x07 \u0085 \u2028 🎬"])
    assert len(long) >= 200_000
    assert len(control) >= 1


@pytest.mark.parametrize(("tokenizer", "config"), list(zip(LEARNED, KINDS, strict=True)))
def test_reading_back_what_was_written_gives_the_same_ids(
    tokenizer: TextTokenizer, config: TokenizerConfig
) -> None:
    again = TextTokenizer.from_json(tokenizer.to_json(), config)
    assert again.vocab_size == tokenizer.vocab_size
    texts = [*TEXTS, "unseen wörds 🎬"]
    assert [ids.tolist() for ids in again.encode(texts)] == [ids.tolist() for ids in tokenizer.encode(texts)]


@pytest.mark.parametrize("config", KINDS, ids=lambda config: str(config.kind))
def test_another_process_learns_the_same_bytes(config: TokenizerConfig) -> None:
    program = (
        "import json, sys; from pydantic import TypeAdapter; "
        "from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig; given = json.load(sys.stdin); "
        "config = TypeAdapter(TokenizerConfig).validate_python(given['config']); "
        "sys.stdout.buffer.write(TextTokenizer.learn(config, given['texts']).to_json())"
    )
    texts = [f"{text} {i % 7} item{i}" for i, text in enumerate(TEXTS * 5)]
    given = json.dumps({"config": config.model_dump(), "texts": texts})
    there = subprocess.run(
        [sys.executable, "-c", program], input=given.encode(), capture_output=True, check=True
    )
    assert there.stdout == TextTokenizer.learn(config, texts).to_json()


@pytest.mark.parametrize("config", KINDS, ids=lambda config: str(config.kind))
def test_texts_without_a_token_are_an_error_of_the_data(config: TokenizerConfig) -> None:
    with pytest.raises(DataError, match=r"data\.text_column"):
        TextTokenizer.learn(config, ["", " "])


@pytest.mark.parametrize("config", KINDS, ids=lambda config: str(config.kind))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"{}",
        b"\xff\xfe",
        b'{"model": {"type": "BPE"}}',
        b'{"model": {"type": "Script"}}',
        b'{"model": {"type": "WordLevel", "vocab": {"a": 5}, "unk_token": "x"}}',
        b'{"version":"1.0","added_tokens":[],"model":{"type":"Unigram","unk_id":9,"vocab":[["[PAD]",0.0]]}}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused_and_never_a_panic(
    content: bytes, config: TokenizerConfig
) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        TextTokenizer.from_json(content, config)


@pytest.mark.parametrize("merge", [["[PAD]", "a"], ["a", "nowhere"], "ab", [], ["a"], [1, 2], [[], []], None])
def test_merges_that_are_not_in_the_vocabulary_are_refused_before_the_library_panics(
    merge: object, capfd: pytest.CaptureFixture[str]
) -> None:
    saved = json.loads(LEARNED[1].to_json())
    saved["model"]["merges"].append(merge)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        TextTokenizer.from_json(json.dumps(saved).encode(), KINDS[1])
    assert "panicked" not in capfd.readouterr().err


def test_a_panic_of_the_library_is_a_checkpoint_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    content = LEARNED[1].to_json()
    library = cast(Any, tokenizer_module)
    real = library.Tokenizer

    class Panicking:
        fault: BaseException = PanicException("index out of range")

        def __new__(cls, model: object) -> Any:  # what is made anew is made by the library
            return real(model)

        @classmethod
        def from_str(cls, content: str) -> None:
            raise cls.fault

    monkeypatch.setattr(library, "Tokenizer", Panicking)
    with pytest.raises(CheckpointError, match="cannot be read"):
        TextTokenizer.from_json(content, KINDS[1])
    Panicking.fault = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        TextTokenizer.from_json(content, KINDS[1])


@pytest.mark.parametrize("content", [b"," * 2_100_001, b" " * (2**27 + 1)])
def test_a_file_larger_than_any_vocabulary_is_refused_before_it_is_parsed(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="more than any vocabulary needs"):
        TextTokenizer.from_json(content, KINDS[0])


def test_long_texts_are_learned_and_read_within_bounds_and_as_short_ones_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = ["ein großer Film " * 50, "kurz", "", "很 好 " * 80]
    config = WordConfig(kind="word", min_count=1)
    whole = TextTokenizer.learn(config, texts)
    expected = [ids.tolist() for ids in whole.encode(texts)]
    monkeypatch.setattr("lstm_cli.data.tokenizer._LEARN_CHARS", 16)
    monkeypatch.setattr("lstm_cli.data.tokenizer._ENCODE_CHARS", 20)
    in_pieces = TextTokenizer.learn(config, texts)
    assert in_pieces.to_json() == whole.to_json()  # the pieces end between words here
    assert [ids.tolist() for ids in in_pieces.encode(texts)] == expected


@pytest.mark.parametrize("tokenizer", LEARNED)
def test_a_character_that_becomes_many_is_passed_to_the_library_in_pieces(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[list[str]] = []

    class Noting:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            passed.append(texts)
            return tokenizer.tokenizer.encode_batch_fast(texts, **options)

    monkeypatch.setattr("lstm_cli.data.tokenizer._ENCODE_CHARS", 1_000)
    texts = ["\ufdfa" * 400, "great", "\ufdfa great " * 30]
    alone = [len(ids) for ids in tokenizer.encode(texts)]
    noting = dataclasses.replace(tokenizer, tokenizer=Noting(), _ascii_words=None)  # type: ignore[arg-type]
    assert [len(ids) for ids in noting.encode(texts)] == alone
    assert len(passed) > 8
    normalised = [sum(len(unicodedata.normalize("NFKC", text)) for text in batch) for batch in passed]
    assert max(normalised) <= 1_000


def test_a_unigram_piece_that_would_crash_the_process_is_refused() -> None:
    saved = json.loads(LEARNED[2].to_json())
    saved["model"]["vocab"].append(["9" * 800_000, -1.0])
    with pytest.raises(CheckpointError, match="an entry of more than 1000 characters"):
        TextTokenizer.from_json(json.dumps(saved).encode(), KINDS[2])
