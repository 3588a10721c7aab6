"""Functions of one text: its marks of damage, and its repair."""

from __future__ import annotations

import re
from enum import IntFlag

from lstm_cli.data.rows import Content
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_ENTITY = re.compile(r"&[a-zA-Z]{2,8};|&?#[0-9]{2,6};|&#x[0-9a-fA-F]{2,5};")
_LINE_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)

# For each character that cp1252 or latin-1 has at 0x80 to 0xFF, its byte. 0x80 to 0xBF continue a UTF-8 character.
_BYTE_OF = {chr(byte): byte for byte in range(0x80, 0x100)}
_BYTE_OF |= {
    bytes([byte]).decode("cp1252"): byte
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_TAIL = f"[{re.escape(''.join(char for char, byte in _BYTE_OF.items() if byte < 0xC0))}]"
_PAIR, _TRIPLE, _QUADRUPLE = f"[\xc2-\xdf]{_TAIL}", f"[\xe0-\xef]{_TAIL}{{2}}", f"[\xf0-\xf4]{_TAIL}{{3}}"
# A single pair counts as mojibake if it encodes a Latin-1 letter or sign (Â and Ã), a single triple if it encodes
# punctuation (â€). Characters of other scripts come in runs, and a lone `Ü“` is the end of a German quotation.
_MOJIBAKE = re.compile(
    rf"(?:{_PAIR}|{_TRIPLE}|{_QUADRUPLE}){{2,}}|[\xc2\xc3]{_TAIL}|\xe2{_TAIL}{{2}}|{_QUADRUPLE}"
)


class Mark(IntFlag):
    """What is wrong with a row, as bits, because a row can have several faults."""

    UNREADABLE = 1
    EMPTY = 2
    ONE_WORD = 4
    MOJIBAKE = 8
    LOST = 16
    CONTROL = 32
    TAG = 64
    ENTITY = 128
    QUOTED = 256
    NUMBER = 512
    HEADER = 1024


def check_is_text(content: type[Content], option: str) -> None:
    """Raise ConfigError if an option needs rows of text and the task reads another content."""
    if not issubclass(content, Text):
        raise ConfigError(
            f"{option}: works on texts only, got a task whose rows hold {content.__name__}; leave {option} out"
        )


def marks(text: str, num_words: int) -> Mark:
    """The marks that follow from the text alone; `num_words` is the number of its `words`."""
    found = Mark(0)
    if num_words <= 1:
        found |= Mark.ONE_WORD if text.strip() else Mark.EMPTY
    if num_words <= 2 and text.replace(".", "", 1).strip().isdecimal():
        found |= Mark.NUMBER
    if not text.isascii():
        if "\ufffd" in text:
            found |= Mark.LOST
        if _unscrambled(text) != text:
            found |= Mark.MOJIBAKE
    if not text.isprintable() and _CONTROL.search(text):
        found |= Mark.CONTROL
    if "<" in text and _TAG.search(text):
        found |= Mark.TAG
    if ";" in text and _ENTITY.search(text):
        found |= Mark.ENTITY
    if len(text) > 2 and text[0] == text[-1] == '"':
        found |= Mark.QUOTED
    return found


def repaired(text: str) -> tuple[str, list[str]]:
    """The text without mojibake, control characters and `<br />`, and the names of the repairs that were made.

    The steps are repeated until none changes anything, so repairing a repaired text changes nothing.
    """
    done: dict[str, None] = {}
    while True:
        before = text
        for name, step in _STEPS.items():
            changed = step(text)
            if changed != text:
                done[name] = None
            text = changed
        if text == before:
            return text, list(done)


def _unscrambled(text: str) -> str:
    """Undo the decoding of UTF-8 as cp1252 or latin-1. Text that is not valid UTF-8 stays."""
    while not text.isascii():  # once for each time that it was decoded wrongly
        before, text = text, _MOJIBAKE.sub(_decoded, text)
        if text == before:
            break
    return text


def _decoded(found: re.Match[str]) -> str:
    try:
        return bytes(map(_BYTE_OF.__getitem__, found[0])).decode("utf-8")
    except UnicodeDecodeError:
        return found[0]


def _without_control(text: str) -> str:
    return text if text.isprintable() else _CONTROL.sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    """A space or nothing below 0x80; from 0x80 on, the character that cp1252 has at this byte, such as ’ for U+0092."""
    if found[0] < "\x80":
        return " " if found[0].isspace() else ""
    return found[0].encode("latin-1", "ignore").decode("cp1252", "ignore")


def _without_line_breaks(text: str) -> str:
    return _LINE_BREAK.sub(" ", text) if "<" in text else text


_STEPS = {
    "mojibake": _unscrambled,
    "control characters": _without_control,
    "<br />": _without_line_breaks,
}
