"""What report.html shows of the strongest n-grams, and of the mistakes and why they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_cli.reports.html_text import CELL_CHARS, bar, label_text, plain, shortened

Pieces = Sequence[tuple[str, float]]
"""A text in pieces, each with what it adds to the logit of the given label minus that of the true one."""
Strongest = Mapping[str, Sequence[tuple[str, float]]]
"""The n-grams that add most to the logit of each class, and how much each adds."""

_MOST_MISTAKES = 500
_MOST_CHARS, _NGRAM_CHARS = 1_500, 60
"""Characters shown of a mistake's text, and of an n-gram."""
_MOST_BYTES = 2_600_000
"""Of all mistakes together. The rest of a page of 60 classes took 0.3 MB."""
_CLASSES_WITH_BARS, _CLASSES_SHOWN = 6, 100
"""Classes up to which each n-gram has a bar, and classes whose n-grams are shown."""
_SUMMED_UP = 5
"""Words of a mistake whose numbers are written below its text."""


def ngrams_section(strongest: Strongest) -> str:
    """A bar for each n-gram; if there are many classes, a paragraph for each class, shown on a click."""
    if not strongest:
        return ""
    shown = list(strongest.items())[:_CLASSES_SHOWN]
    most = max(weight for _, ngrams in shown for _, weight in ngrams) or 1.0
    parts = []
    for name, ngrams in shown:
        listed = [(shortened(ngram, _NGRAM_CHARS), weight) for ngram, weight in ngrams]
        if len(shown) <= _CLASSES_WITH_BARS:
            bars = "".join(bar(ngram, weight / most, f"{weight:+.2f}") for ngram, weight in listed)
            parts.append(f"<section><h3>{label_text(name)}</h3>{bars}</section>")
        else:
            line = " · ".join(f"<bdi>{ngram}</bdi>&nbsp;{weight:+.2f}" for ngram, weight in listed)
            parts.append(f"<p><b>{label_text(name)}</b>: {line}</p>")
    content = f'<div class="charts">{"".join(parts)}</div>'
    if len(shown) > _CLASSES_WITH_BARS:
        number = (
            f"{len(shown):,}"
            if len(shown) == len(strongest)
            else f"the first {len(shown):,} of {len(strongest):,}"
        )
        content = f"<details><summary>{number} classes</summary>{content}</details>"
    return f"""<h2>N-grams with the largest weights</h2>
<p class="note">Of the n-grams of words that occur in these rows. The weight is what one adds to the logit of its
class. The model stores no names of n-grams, so others cannot be named.</p>
{content}"""


def mistakes_section(
    mistakes: Sequence[Mapping[str, Any]], num_mistakes: int, explained: Mapping[int, Pieces]
) -> str:
    shown, articles, size = [], [], 0
    for line in mistakes[:_MOST_MISTAKES]:
        article = _mistake(line, explained.get(line["row"]))
        size += len(article.encode(errors="backslashreplace"))
        if size > _MOST_BYTES:
            break
        shown.append(line)
        articles.append(article)
    if not shown:
        return "<h2>Mistakes</h2><p>None.</p>"
    options = [
        "".join(
            f"<option>{label_text(name)}</option>"
            for name in sorted({str(one.get(key, "")) for one in shown})
        )
        for key in ("target", "label")
    ]
    num_explained = sum(line["row"] in explained for line in shown)
    note = (
        f" The first {num_explained:,} say why: blue words speak for the predicted class, orange ones for the true "
        f"one, and each has a number, which is what it adds to the difference of the two logits."
        if num_explained
        else ""
    )
    return f"""<h2>Mistakes</h2>
<p class="note">The {len(shown):,} of {num_mistakes:,} mistakes with the highest confidence.{note}</p>
<form>
<input id="words" type="search" placeholder="Filter by words" aria-label="Filter by words">
<select id="target" aria-label="True class"><option value="">any true class</option>{options[0]}</select>
<select id="label" aria-label="Predicted class"><option value="">any predicted class</option>{options[1]}</select>
<output id="count"></output>
</form>
{"".join(articles)}"""


def _mistake(line: Mapping[str, Any], pieces: Pieces | None) -> str:
    known = ("row", "where", "label", "score", "target")
    content = " ".join(str(value) for key, value in line.items() if key not in known)
    target, given = label_text(str(line.get("target", ""))), label_text(str(line.get("label", "")))
    score = f" {line['score']:.3f}" if isinstance(line.get("score"), float) else ""
    where = shortened(str(line.get("where", "")), CELL_CHARS)
    return (
        f'<article data-target="{target}" data-label="{given}"><span class="note">{where}</span> '
        f'<b>{target}</b>, predicted <b>{given}</b>{score}<p dir="auto">{shortened(content, _MOST_CHARS)}</p>'
        f"{_why(pieces) if pieces else ''}</article>"
    )


def _why(pieces: Pieces) -> str:
    """The text with the words coloured by what they add; the strongest colour is the largest of the text."""
    most = max(abs(value) for _, value in pieces) or 1.0
    shown = []
    for piece, value in pieces:
        part = round(10 * abs(value) / most)
        side = "part" if value > 0 else "against"
        word = piece.strip()
        before, _, after = piece.partition(word) if word else (piece, "", "")
        text = (
            f'<span class="{side}{part}" title="{value:+.2f}">{plain(word)}</span>' if part else plain(word)
        )
        shown.append(plain(before) + text + plain(after))
    largest = sorted(pieces, key=lambda one: -abs(one[1]))[:_SUMMED_UP]
    listed = " · ".join(
        f"<bdi>{shortened(piece.strip(), _NGRAM_CHARS)}</bdi>&nbsp;{value:+.2f}" for piece, value in largest
    )
    return f'<details><summary>why</summary><p dir="auto">{"".join(shown)}</p><p class="note">{listed}</p></details>'
