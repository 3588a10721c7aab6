"""The words of a text in a form for comparison."""

from __future__ import annotations

import re
import unicodedata

from lstm_cli.data.files import MAX_TEXT_CHARS

_ALONE = (  # scripts without spaces between words: each character counts as a word
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_NO_WORD = (  # space and punctuation; all else belongs to words, emoji and combining marks too
    r"\s\x00-/:-@\[-`{-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u060c\u061b\u061f\u0964\u0965\u2000-\u203f"
    r"\u2041-\u206f\u3000-\u3004\u3008-\u3020\u30fb\ufe00-\ufe0f\ufeff\ufffd"
)
_WORD = re.compile(rf"[{_ALONE}]|[^{_NO_WORD}{_ALONE}]+")
_APOSTROPHES = str.maketrans("", "", "'’")
_ASCII_FOLD = bytes(ord(chr(c).lower()) if chr(c).isalnum() and c < 128 else 32 for c in range(256))


def words(text: str) -> list[bytes]:
    """The words in lower case, without punctuation and apostrophes; in scripts without spaces, the characters.

    Normalisation can make 18 characters of one; no more of them are read than a text may have.
    """
    if text.isascii():
        return text.encode().translate(_ASCII_FOLD, b"'").split()
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))[:MAX_TEXT_CHARS].casefold()
    return [word.encode("utf-8", "surrogatepass") for word in _WORD.findall(folded)]
