"""The columns of the text and of the label in a table that nobody described: by their names, else by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

from lstm_cli.data.config import DataConfig
from lstm_cli.data.find import find_sources
from lstm_cli.data.rows import Content, Reading, Row
from lstm_cli.data.sources import open_rows
from lstm_cli.errors import ConfigError, DataError, did_you_mean

MOST_ROWS = 5_000
"""The first rows, which are looked at."""
MOST_LABELS = 100
_TABLES = {"csv", "tsv", "jsonl", "parquet", "hub"}
"""The formats whose rows have columns. All others say themselves what is text and what is label."""


# fmt: off
_TEXT_NAMES = [
    {"text", "texts"},
    {
        *("review", "reviews", "comment", "comments", "sentence", "sentences", "tweet", "message", "document"),
        *("content", "body", "title", "question", "post", "feedback", "description", "utterance", "headline", "query"),
        *("email",),
        *("texto", "textos", "comentario", "mensaje", "frase", "reseña", "opinión", "texte", "commentaire", "phrase"),
        *("avis", "testo", "commento", "recensione", "kommentar", "satz", "nachricht", "bewertung", "rezension"),
        *("beschreibung", "tekst", "opmerking", "zin", "wiadomość", "opinia", "текст", "отзыв", "сообщение"),
        *("комментарий", "文本", "评论", "内容", "句子", "テキスト", "文章", "レビュー"),
        *("본문", "리뷰", "텍스트", "문장", "نص", "تعليق", "पाठ", "metin", "yorum"),
    },
]
_LABEL_NAMES = [
    {"label", "labels"},
    {
        *("class", "classes", "category", "categories", "sentiment", "target", "topic", "intent", "tag", "rating"),
        *("stars", "polarity", "emotion", "y", "etiqueta", "categoría", "clase", "sentimiento", "étiquette", "classe"),
        *("catégorie", "etichetta", "categoria", "etikett", "kategorie", "klasse", "stimmung", "gefühl", "etiket"),
        *("klass", "etykieta", "kategoria", "метка", "класс", "категория", "тональность", "标签", "类别"),
        *("情感", "分类", "ラベル", "カテゴリ"),
        *("레이블", "라벨", "분류", "감정", "تصنيف", "وسم", "लेबल", "sınıf", "duygu"),
    },
]
"""Names of columns in lower case; those of the first set come first."""
# fmt: on

_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Characters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True, slots=True)
class _Cells(Content):
    """The content of a row of which every column stays a field."""

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:  # noqa: ARG003
        return []

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> _Cells:  # noqa: ARG003
        return cls()

    @classmethod
    def from_text(cls, text: str, label: str | None) -> _Cells:  # noqa: ARG003
        return cls()

    @classmethod
    def empty(cls) -> _Cells:
        return cls()

    def key(self) -> bytes:
        return b""

    def stratum(self) -> str | None:
        return None

    def size(self) -> int:
        return 0

    def as_json(self) -> dict[str, Any]:
        return {}


def has_columns(source: str) -> bool:
    reading = Reading(DataConfig(train=source), _Cells, labelled=True)
    return any(one.kind in _TABLES for one in find_sources(source, "train", reading))


@dataclass(frozen=True, slots=True)
class Found:
    text: str
    text_why: str
    label: str
    label_why: str


def find_columns(source: str, text: str | None, label: str | None, reading: DataConfig) -> Found:
    """The columns of the text and the label. Raises ConfigError if it is in doubt, DataError without rows."""
    rows = open_rows(source, reading, "train", False, keep_fields=True, on_error="row", content=_Cells)
    read: list[Row[_Cells]] = list(islice(rows, MOST_ROWS))
    fields = [row.fields for row in read if row.error is None and row.fields]
    if not fields:
        raise DataError(first_error(source, read))
    names = list(dict.fromkeys(name for one in fields for name in one))
    cells = {name: [one.get(name, "") for one in fields] for name in names}
    for option, asked in (("--text", text), ("--label", label)):
        if asked is not None and asked not in names and "." not in asked:
            raise ConfigError(
                f"{option} {asked}: no such column (have: {', '.join(names)}).{did_you_mean(asked, names)}"
            )
    if label:
        found_label, label_why = label, "as asked"
    else:
        found_label, label_why = _one_of(source, "label", "--label", _labels(cells, text))
    if text:
        found_text, text_why = text, "as asked"
    else:
        found_text, text_why = _one_of(source, "text", "--text", _texts(cells, found_label))
    if found_label in cells.get(found_label, ()):
        raise ConfigError(
            f"{source}: the first row looks like data and not like the names of the columns: {', '.join(names)[:200]}; "
            f"name them with --set data.columns=[…]"
        )
    if found_text == found_label:
        raise ConfigError(
            f"{source}: column {found_text} cannot be the text and the label; name them with --text and --label"
        )
    return Found(found_text, text_why, found_label, label_why)


def _one_of(source: str, what: str, option: str, candidates: tuple[Sequence[str], str]) -> tuple[str, str]:
    names, why = candidates
    if len(names) == 1:
        return names[0], why
    if names:
        raise ConfigError(
            f"{source}: more than one column can be the {what}: {', '.join(names)}; name it with {option}"
        )
    raise ConfigError(f"{source}: no column looks like a {what}; name it with {option}")


def _texts(cells: Mapping[str, Sequence[str]], label: str) -> tuple[list[str], str]:
    """The columns that may hold the text, and why: by name, or the long ones with many different values."""
    others = {name: values for name, values in cells.items() if name != label}
    if named := _named(others, _TEXT_NAMES):
        return named, "by its name"
    long = [
        name for name, values in others.items() if len(set(values)) > len(values) / 2 and _is_prose(values)
    ]
    return long, "long and different texts"


def _is_prose(values: Sequence[str]) -> bool:
    """Whether the values are texts: three words or more, or, without spaces between words, ten characters."""
    words = median(len(value.split()) for value in values)
    return words >= 3 or (median(map(len, values)) >= 10 and without_spaces("".join(values[:100])))


def _labels(cells: Mapping[str, Sequence[str]], text: str | None) -> tuple[list[str], str]:
    """The columns that may hold the label, and why: by name, or the short ones with few different values."""
    others = {name: values for name, values in cells.items() if name != text}
    if named := _named(others, _LABEL_NAMES):
        return named, "by its name"
    few = [
        name
        for name, values in others.items()
        if 2 <= len(set(values)) <= min(MOST_LABELS, max(2, len(values) // 10)) and not _is_prose(values)
    ]
    return few, "few different values"


def _named(cells: Mapping[str, object], names: Sequence[set[str]]) -> list[str]:
    """The columns with a name of the first of these sets that has one."""
    for known in names:
        if found := [name for name in cells if name.strip().casefold() in known]:
            return found
    return []


def first_error(source: str, read: Sequence[Row[Any]]) -> str:
    """Why no row could be read; a key of `data:` is written as the flag that sets it, since there is no config."""
    error = next((f"{row.where()}: {row.error}" for row in read if row.error), f"{source}: no rows")
    return re.sub(r"\b(data\.\w+): ([\w-]+)", r"--set \1=\2", error)


def without_spaces(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    return len(_NO_SPACES.findall(text)) > 0.2 * max(letters, 1)
