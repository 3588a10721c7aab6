"""What one text tells: its words, folded for comparison, the marks of damage on it, and its repair."""

from __future__ import annotations

import re
import unicodedata
from enum import IntFlag

_ALONE = (  # scripts that put no space between words: there, one character counts as a word
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_NO_WORD = (  # space and punctuation; what is left, emoji and combining marks too, makes words
    r"\s\x00-/:-@\[-`{-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u060c\u061b\u061f\u0964\u0965\u2000-\u203f"
    r"\u2041-\u206f\u3000-\u3004\u3008-\u3020\u30fb\ufe00-\ufe0f\ufeff\ufffd"
)
_WORD = re.compile(rf"[{_ALONE}]|[^{_NO_WORD}{_ALONE}]+")
_APOSTROPHES = str.maketrans("", "", "'’")
_ASCII_FOLD = bytes(ord(chr(c).lower()) if chr(c).isalnum() and c < 128 else 32 for c in range(256))

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_ENTITY = re.compile(r"&[a-zA-Z]{2,8};|&?#[0-9]{2,6};|&#x[0-9a-fA-F]{2,5};")
_LINE_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)

# Bytes 0x80 to 0xBF, which continue a character in UTF-8, as cp1252 and latin-1 show them.
_BYTE_OF = {chr(byte): byte for byte in range(0x80, 0x100)}
_BYTE_OF |= {
    bytes([byte]).decode("cp1252"): byte
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_TAIL = f"[{re.escape(''.join(char for char, byte in _BYTE_OF.items() if byte < 0xC0))}]"
_PAIR, _TRIPLE, _QUADRUPLE = f"[\xc2-\xdf]{_TAIL}", f"[\xe0-\xef]{_TAIL}{{2}}", f"[\xf0-\xf4]{_TAIL}{{3}}"
# A single pair is believed where it spells a Latin-1 letter or sign (Â and Ã), a triple where it spells
# punctuation (â€); other scripts come in runs, and a lone `Ü“` is the end of a German quotation.
_MOJIBAKE = re.compile(
    rf"(?:{_PAIR}|{_TRIPLE}|{_QUADRUPLE}){{2,}}|[\xc2\xc3]{_TAIL}|\xe2{_TAIL}{{2}}|{_QUADRUPLE}"
)


class Mark(IntFlag):
    """What is to be said of a row. A row has any number of them."""

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


def words(text: str) -> list[bytes]:
    """The words without case, punctuation and apostrophes; in scripts without spaces, the characters."""
    if text.isascii():
        return text.encode().translate(_ASCII_FOLD, b"'").split()
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    return [word.encode("utf-8", "surrogatepass") for word in _WORD.findall(folded)]


def marks(text: str, num_words: int) -> Mark:
    """The marks that the text alone decides."""
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
    """The text without mojibake, control characters and `<br />`, and the names of what was repaired.

    Repairing what is repaired changes nothing: the steps are gone through until none finds anything.
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
    """UTF-8 that was read as cp1252 or latin-1, read as UTF-8; where that gives no text, as it was."""
    while not text.isascii():  # as often as it was done
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
    return text if text.isprintable() else _CONTROL.sub(_meant, text)


def _meant(found: re.Match[str]) -> str:
    """Under 0x80 a space or nothing; from there on the sign that cp1252 has, such as ’ for U+0092."""
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
