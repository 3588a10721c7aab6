"""From the body of a request to texts and options. Whatever is wrong is a Refusal with one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lstm_cli.answers import PredictOptions
from lstm_cli.data.escaping import visible
from lstm_cli.data.files import text_fault
from lstm_cli.data.json_rows import JsonRows
from lstm_cli.data.rows import Reading, Row
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import DataError, did_you_mean
from lstm_cli.serve.limits import Limits
from lstm_cli.serve.refusal import Refusal

_INPUTS = ("text", "texts", "rows")
_FIELDS = (*_INPUTS, "top_k", "probs", "explain", "min_score")
_SHOWN_CHARS = 60
_EXAMPLE = 'try {"text": "some text"}'


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks. `single`: it gave one text and gets one prediction, not a list."""

    rows: Sequence[Row[Text]]
    options: PredictOptions
    explain: bool
    single: bool

    @property
    def texts(self) -> list[str]:
        """The texts of the rows that can be used."""
        return [row.content.text for row in self.rows if row.error is None]


def read_question(body: bytes, reading: Reading, limits: Limits) -> Question:
    """The question in a request's body. `reading` says which columns of rows are the text. Raises Refusal."""
    value = _parsed(body)
    if isinstance(value, list):
        value = {"rows" if value and isinstance(value[0], dict) else "texts": value}
    if not isinstance(value, dict):
        raise Refusal(400, f"body: must be a JSON object or a list, got {_kind(value)}; {_EXAMPLE}")
    for name in value:
        if name not in _FIELDS:
            hint = did_you_mean(name, _FIELDS) or f" It may have {', '.join(_FIELDS)}."
            raise Refusal(400, f'body: unknown field "{_short(name)}".{hint}')
    given = [name for name in _INPUTS if name in value]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise Refusal(400, f"body: must have one of text, texts and rows, got {got}; {_EXAMPLE}")
    options = PredictOptions(_top_k(value), _flag(value, "probs"), _min_score(value))
    explain = _flag(value, "explain")
    rows = _rows(given[0], value[given[0]], reading, limits)
    if explain and len(rows) > limits.explained_texts:
        raise Refusal(
            400,
            f"body.explain: at most {limits.explained_texts} texts are explained per request, got {len(rows):,}; "
            f"try fewer, or leave explain out",
        )
    if (
        explain
        and (longest := max((len(row.content.text) for row in rows), default=0)) > limits.explained_chars
    ):
        raise Refusal(
            400,
            f"body.explain: a text of at most {limits.explained_chars:,} characters is explained, got {longest:,}; "
            f"try a part of it, or leave explain out",
        )
    return Question(rows, options, explain, given[0] == "text")


def _parsed(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Refusal(
            400, f"body: not valid UTF-8 at byte {fault.start:,}, got 0x{body[fault.start]:02X}; try UTF-8"
        ) from None
    if not text.strip():
        raise Refusal(400, f"body: empty; {_EXAMPLE}")
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as fault:
        raise Refusal(
            400, f"body: not JSON: {fault.msg} at line {fault.lineno} column {fault.colno}; {_EXAMPLE}"
        ) from None
    except RecursionError:
        raise Refusal(400, f"body: nested too deeply; {_EXAMPLE}") from None
    except ValueError:  # a whole number of thousands of digits
        raise Refusal(400, f"body: a number has too many digits; {_EXAMPLE}") from None


def _no_number(name: str) -> NoReturn:
    raise Refusal(400, f"body: {name} is not JSON; try null or a number")


def _rows(name: str, value: Any, reading: Reading, limits: Limits) -> list[Row[Text]]:
    if name == "text":
        return [_text_row(value, "body.text", limits)]
    if not isinstance(value, list):
        hint = ', or "text" for one text' if isinstance(value, str) else ""
        raise Refusal(400, f"body.{name}: must be a list, got {_kind(value)}; try [ … ]{hint}")
    if len(value) > limits.texts:
        raise Refusal(
            413,
            f"body.{name}: at most {limits.texts:,} per request, got {len(value):,}; try several requests",
        )
    if name == "texts":
        return [_text_row(one, f"body.texts[{i}]", limits) for i, one in enumerate(value)]
    try:
        return list(_json_rows(value, reading, limits))
    except DataError as fault:
        raise Refusal(400, str(fault)) from None
    except RecursionError:
        raise Refusal(400, "body.rows: a value is nested too deeply; try plain columns") from None


def _text_row(value: Any, where: str, limits: Limits) -> Row[Text]:
    if not isinstance(value, str):
        raise Refusal(400, f'{where}: must be a text, got {_kind(value)}; try "some text"')
    _check_text(value, where, limits)
    return text_row(value)


def _check_text(text: str, where: str, limits: Limits) -> None:
    if len(text) > limits.text_chars:
        raise Refusal(
            400,
            f"{where}: has {len(text):,} characters, at most {limits.text_chars:,} are read; try a part of it",
        )
    if fault := text_fault(text, where, None):
        raise Refusal(400, f"{fault}; try valid Unicode")


def _json_rows(value: list[Any], reading: Reading, limits: Limits) -> Iterator[Row[Text]]:
    """The rows as `lstmcls predict` reads them from a file: one that cannot be used has an error.

    Raises DataError if the first cannot be used.
    """
    reader = JsonRows("body.rows", reading)
    for i, item in enumerate(value):
        for row in reader.row(item, None, i):
            if row.error is None:
                _check_text(row.content.text, f"the text of body.rows[{i}]", limits)
            yield row


def _top_k(value: Mapping[str, Any]) -> int:
    top_k = value.get("top_k", 1)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise Refusal(400, f"body.top_k: must be a whole number from 1, got {_shown(top_k)}; try 3")
    return top_k


def _min_score(value: Mapping[str, Any]) -> float:
    score = value.get("min_score", 0.0)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise Refusal(400, f"body.min_score: must be a number from 0 to 1, got {_shown(score)}; try 0.8")
    return float(score)


def _flag(value: Mapping[str, Any], name: str) -> bool:
    flag = value.get(name, False)
    if not isinstance(flag, bool):
        raise Refusal(400, f"body.{name}: must be true or false, got {_shown(flag)}; try true")
    return flag


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"


def _shown(value: Any) -> str:
    """A number as it is; of anything else only what it is, for it may be the client's text."""
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**15):
        return _kind(value) if isinstance(value, bool) else repr(value)
    return _kind(value)


def _short(name: str) -> str:
    return visible(name[:_SHOWN_CHARS]) + "…" * (len(name) > _SHOWN_CHARS)
