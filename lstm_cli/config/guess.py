"""A config for data that has none: which columns hold the text and the label, which preset fits, and why.

In doubt it asks: an error names the option that decides. It looks at the first rows only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.config.presets import preset_path
from lstm_cli.data.config import DataConfig
from lstm_cli.data.find import find_sources, kind_of_name
from lstm_cli.data.hub import BUILTIN, HUB
from lstm_cli.data.rows import Reading, Row
from lstm_cli.data.sources import open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, DataError, did_you_mean

_MOST_ROWS = 5_000
_ROWS_WITH_TEST = 1_000
_MOST_LABELS = 100
_SHOWN_LABELS = 5
_FEWEST_ROWS = 10
_OF_A_RUN = {"config.yaml", "checkpoints", "model.onnx"}
"""A run, what is left of one, or an exported folder."""
_SHEET = "save the sheet as CSV (UTF-8)"
_DOCUMENT = "save its rows as CSV, or its lines as text"
_ARCHIVE = "unpack it, and give the file or folder with the rows"
_DATABASE = "write its rows to a CSV file"
_UNREAD = (
    dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _SHEET)
    | dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pdf", ".pptx"), _DOCUMENT)
    | dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE)
    | dict.fromkeys((".sqlite", ".sqlite3", ".db", ".pkl", ".pickle", ".npy", ".npz", ".h5"), _DATABASE)
    | dict.fromkeys((".feather", ".arrow", ".orc", ".avro", ".xml", ".html"), _DATABASE)
)
"""Endings of files that are neither configs nor rows, and what to do with them."""
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
_WORD = re.compile(r"\w+")
_MANY_UNKNOWN = 0.2
"""Fraction of the words of new rows that no training row has twice, from which byte pairs are the better tokens."""
_LONG_TEXT = 100
_FEW_ROWS = 1_500
_FOR_FEW_ROWS = {"train": {"batch_size": 8, "epochs": 15}, "pretrain": {"batch_size": 8}}
"""Below so many rows of short texts the presets make too few steps: docs/presets.md has what more steps gain."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A config as a mapping, and what was guessed, in sentences."""

    content: dict[str, Any]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cells:
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


@dataclass(frozen=True, slots=True)
class Given:
    """What need not be guessed: the columns of the text and the label, and the preset."""

    text: str | None = None
    label: str | None = None
    preset: str | None = None


NOTHING_GIVEN = Given()


def config_for(
    source: str | Mapping[str, Any],
    given: Given,
    say: Callable[[str], None],
    overrides: Sequence[str] = (),
    run_dir: str | None = None,
    *,
    trains: bool = False,
) -> RunConfig:
    """`load_config` for a config, or for data, for which the config is guessed; `say` gets what and why.

    Raises ConfigError, and DataError if data cannot be read.
    """
    if isinstance(source, str):
        _refuse_unread(source)
    if isinstance(source, str) and is_data(source):
        guessed = guess(source, given, [one for one in overrides if one.startswith("data.")])
        for sentence in guessed.said:
            say(sentence)
        source = guessed.content
    elif options := [f"--{name}" for name, value in asdict(given).items() if value is not None]:
        raise ConfigError(
            f"{', '.join(options)}: for data without a config, but {source} is a config; try --set "
            f"data.text_column=…, data.label_column=…"
        )
    return load_config(source, overrides, run_dir, trains=trains)


def is_data(source: str) -> bool:
    """Whether `source` names rows and not a config: a data set, a file of a data format, or a folder of them."""
    if source.startswith((HUB, BUILTIN)):
        return True
    path = Path(source)
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        return bool(names) and not names & _OF_A_RUN
    return path.is_file() and kind_of_name(source) is not None


def _refuse_unread(source: str) -> None:
    """Raise ConfigError for what is neither a config nor rows, with what to give instead."""
    path = Path(source)
    if source.startswith((HUB, BUILTIN)) or source == "-":
        return
    if path.is_dir():
        _refuse_folder(source, path)
        return
    ending = path.suffix.lower()
    if path.is_file() and ending in _UNREAD:
        raise ConfigError(f"{source}: {ending} files are not read; {_UNREAD[ending]}")
    if not path.exists() and kind_of_name(source) is not None:
        folder = path.parent
        if not folder.is_dir():
            raise ConfigError(f"{source}: no such file, and no folder {folder}")
        near = did_you_mean(path.name, sorted(one.name for one in folder.iterdir()))
        raise ConfigError(f"{source}: no such file.{near}")


def _refuse_folder(source: str, path: Path) -> None:
    entries = sorted(path.iterdir())
    if not entries:
        raise ConfigError(f"{source}: an empty folder; give a file of labelled rows, such as reviews.csv")
    if {one.name for one in entries} & _OF_A_RUN:
        return
    for one in entries:
        inside = sorted(one.iterdir()) if one.is_dir() else []
        if runs := [inner for inner in (one, *inside) if inner.is_dir() and _is_run(inner)]:
            files = [entry.name for entry in entries if entry.is_file() and kind_of_name(entry.name)]
            instead = f"the file of labelled rows, such as {path / files[0]}" if files else "the rows"
            raise ConfigError(f"{source}: holds runs, such as {runs[0]}, and not only rows; give {instead}")


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OF_A_RUN)


def guess(source: str, given: Given, overrides: Sequence[str] = ()) -> Guess:
    """A config that trains on the rows of `source`, which are read as the `overrides` of `data:` say.

    Raises DataError if the rows cannot be read, ConfigError if it is in doubt.
    """
    data: dict[str, Any] = {"train": source}
    reading = load_config({"data": data}, overrides).data
    said = []
    if _has_columns(source):
        found = _columns(source, given, reading)
        data |= {"text_column": found.text, "label_column": found.label}
        said.append(
            f"{source}: the text is column {found.text} ({found.text_why}), the label column {found.label} "
            f"({found.label_why})"
        )
    elif given.text or given.label:
        raise ConfigError(f"--text, --label: {source} has no columns; leave them out")
    columns = {name: value for name, value in data.items() if name != "train"}
    rows = open_rows(
        source, reading.model_copy(update=columns), "train", labelled=True, on_error="row", content=Text
    )
    read = list(islice(rows, _MOST_ROWS))
    sample = [row for row in read if row.error is None]
    if not sample:
        raise DataError(f"{source}: {_first_error(read)}")
    _refuse_labels(source, sample)
    said.append(f"labels: {_shown_labels(sample)}")
    name, why = _preset(sample) if given.preset is None else (given.preset, "as asked")
    said.append(f"preset {name}: {why}")
    content = yaml.safe_load(preset_path(name).read_text("utf-8"))
    num_rows = len(rows)
    if num_rows < _FEW_ROWS and name != "documents":
        for section, keys in _FOR_FEW_ROWS.items():
            content[section] = {**content.get(section, {}), **keys}
        batch, epochs = _FOR_FEW_ROWS["train"].values()
        said.append(f"{num_rows:,} rows are few: batches of {batch} rows and {epochs} epochs make more steps")
    fraction = 0.1 if num_rows >= _ROWS_WITH_TEST else None
    if fraction:
        said.append(f"of {num_rows:,} rows a tenth is held out for the final score (data.test: {fraction})")
    else:
        said.append(
            f"{num_rows:,} rows are too few to hold some out for a final score; --folds 10 scores every row"
        )
    content["data"] = {**data, "dev": 0.1, "test": fraction}
    content.setdefault("run", {})["dir"] = f"runs/{_stem(source)}"
    return Guess(content, tuple(said))


def _has_columns(source: str) -> bool:
    reading = Reading(DataConfig(train=source), _Cells, labelled=True)
    return any(one.kind in _TABLES for one in find_sources(source, "train", reading))


def _first_error(read: Sequence[Row[Any]]) -> str:
    """Why no row could be read; a key of `data:` is written as the flag that sets it, since there is no config."""
    error = next((row.error for row in read if row.error), "no rows")
    return re.sub(r"\b(data\.\w+): ([\w-]+)", r"--set \1=\2", error)


@dataclass(frozen=True, slots=True)
class _Found:
    text: str
    text_why: str
    label: str
    label_why: str


def _columns(source: str, given: Given, reading: DataConfig) -> _Found:
    """The columns of the text and the label. Raises ConfigError if it is in doubt, DataError without rows."""
    rows = open_rows(source, reading, "train", False, keep_fields=True, on_error="row", content=_Cells)
    read: list[Row[_Cells]] = list(islice(rows, _MOST_ROWS))
    fields = [row.fields for row in read if row.error is None and row.fields]
    if not fields:
        raise DataError(f"{source}: {_first_error(read)}")
    names = list(dict.fromkeys(name for one in fields for name in one))
    cells = {name: [one.get(name, "") for one in fields] for name in names}
    for option, asked in (("--text", given.text), ("--label", given.label)):
        if asked is not None and asked not in names and "." not in asked:
            raise ConfigError(
                f"{option} {asked}: no such column (have: {', '.join(names)}).{did_you_mean(asked, names)}"
            )
    if given.label:
        found_label, label_why = given.label, "as asked"
    else:
        found_label, label_why = _one_of(source, "label", "--label", _labels(cells, given.text))
    if given.text:
        found_text, text_why = given.text, "as asked"
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
    return _Found(found_text, text_why, found_label, label_why)


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
    return words >= 3 or (median(map(len, values)) >= 10 and _without_spaces("".join(values[:100])))


def _labels(cells: Mapping[str, Sequence[str]], text: str | None) -> tuple[list[str], str]:
    """The columns that may hold the label, and why: by name, or the short ones with few different values."""
    others = {name: values for name, values in cells.items() if name != text}
    if named := _named(others, _LABEL_NAMES):
        return named, "by its name"
    few = [
        name
        for name, values in others.items()
        if 2 <= len(set(values)) <= min(_MOST_LABELS, max(2, len(values) // 10)) and not _is_prose(values)
    ]
    return few, "few different values"


def _named(cells: Mapping[str, object], names: Sequence[set[str]]) -> list[str]:
    """The columns with a name of the first of these sets that has one."""
    for known in names:
        if found := [name for name in cells if name.strip().casefold() in known]:
            return found
    return []


def _refuse_labels(source: str, sample: Sequence[Row[Text]]) -> None:
    """Raise DataError or ConfigError if the labels are none."""
    labels = [row.content.label or "" for row in sample]
    if len(labels) < _FEWEST_ROWS:
        raise DataError(
            f"{source}: {len(labels)} rows that can be read are too few to learn from; give {_FEWEST_ROWS} or more"
        )
    different = set(labels)
    numbers = [label for label in different if re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", label)]
    if len(numbers) == len(different) > 20:
        raise ConfigError(
            f"{source}: the labels look like numbers that were measured ({len(different)} different ones, such as "
            f"{', '.join(sorted(different)[:3])}), not like classes; name the column of the label with --label"
        )
    if len(different) > max(_MOST_LABELS, len(labels) // 5) or len(different) > len(labels) / 2:
        raise ConfigError(
            f"{source}: {len(different):,} different labels in {len(labels):,} rows, such as "
            f"{min(different, key=len)[:40]!r}: too many for classes; name the column of the label with --label"
        )


def _shown_labels(sample: Sequence[Row[Text]]) -> str:
    counts = Counter(row.content.label for row in sample)
    shown = ", ".join(f"{label} ({count:,})" for label, count in counts.most_common(_SHOWN_LABELS))
    more = f" and {len(counts) - _SHOWN_LABELS} more" if len(counts) > _SHOWN_LABELS else ""
    return f"{shown}{more}" + (f", of the first {len(sample):,} rows" if len(sample) == _MOST_ROWS else "")


def _preset(sample: Sequence[Row[Text]]) -> tuple[str, str]:
    texts = [row.content.text for row in sample]
    if _without_spaces("".join(text[:500] for text in texts[:1_000])):
        return "multilingual", "the script puts no spaces between words"
    words = [_WORD.findall(text.casefold()) for text in texts]
    length = median(map(len, words))
    if length > _LONG_TEXT:
        return "documents", f"long texts, half of them above {length:.0f} words"
    unknown = _unknown(words)
    why = f"half of the texts are above {length:.0f} words, and {unknown:.0%} of the words of new rows are unknown"
    return ("multilingual" if unknown > _MANY_UNKNOWN else "sentences"), why


def _without_spaces(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    return len(_NO_SPACES.findall(text)) > 0.2 * max(letters, 1)


def _unknown(words: Sequence[Sequence[str]]) -> float:
    """The fraction of the words of every tenth text that the other texts do not have twice."""
    counts = Counter(word for i, one in enumerate(words) if i % 10 for word in one)
    new = [word for i, one in enumerate(words) if i % 10 == 0 for word in one]
    return sum(counts[word] < 2 for word in new) / max(len(new), 1)


def _stem(source: str) -> str:
    """The name of the run for this data."""
    name = (
        Path(source.rstrip("/")).name if not source.startswith((HUB, BUILTIN)) else source.rpartition(":")[2]
    )
    return re.sub(r"[^\w-]+", "-", name.partition(".")[0] or "data").strip("-") or "data"
