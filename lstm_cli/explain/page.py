"""Explanations of many texts as one HTML page, which loads nothing from elsewhere."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape

from lstm_cli.data.escaping import visible
from lstm_cli.explain.explanation import Explanation, Word

_MAX_ROWS = 30

_STYLE = """
:root { color-scheme: light dark; --for: 22, 140, 80; --against: 205, 60, 50; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem; position: sticky; top: 0; background: Canvas; padding: .5rem 0; }
input, select { font: inherit; padding: .3rem; min-width: 0; flex: 1 1 12rem; }
article { border-top: 1px solid var(--line); padding: .8rem 0; }
h2 { font-size: 1rem; margin: 0; }
.text { white-space: pre-wrap; margin: .3rem 0; }
mark { color: inherit; background: none; border-radius: .2rem; }
details { font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .1rem .6rem .1rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: start; white-space: normal; }
svg { display: block; width: 100%; max-width: 30rem; height: 4rem; }
.note { color: GrayText; font-size: .9rem; }
"""

_STYLE += "".join(
    f"mark.{side}{step} {{ background: rgba(var(--{side}), {0.12 * step:.2f}); }}\n"
    for side in ("for", "against")
    for step in range(1, 6)
)

_SCRIPT = """
const words = document.getElementById("words"), label = document.getElementById("label");
const count = document.getElementById("count"), articles = [...document.querySelectorAll("article")];
function filter() {
  let shown = 0;
  for (const article of articles) {
    const fits = article.textContent.toLowerCase().includes(words.value.toLowerCase())
      && (!label.value || article.dataset.label === label.value);
    article.hidden = !fits;
    shown += fits;
  }
  count.textContent = shown + " of " + articles.length;
}
words.addEventListener("input", filter);
label.addEventListener("change", filter);
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
filter();
"""


def page(name: str, explained: Sequence[tuple[str, Explanation | str]]) -> str:
    """The page for a model `name`: (number, explanation or the reason why the row could not be read) of each text."""
    labels = sorted({one.label for _, one in explained if isinstance(one, Explanation)})
    options = "".join(f'<option value="{_text(label)}">{_text(label)}</option>' for label in labels)
    articles = "".join(
        _article(number, one) if isinstance(one, Explanation) else _unreadable(number, one)
        for number, one in explained
    )
    policy = f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'; img-src data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{_text(name)}: explanations</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(name)}: why each text has its label</h1>
<p class="note">Green words speak for the label, red ones against it. The number of a word is what it adds to the
difference of two logits: that of the label, and that of the most probable other label.</p>
<form>
<input id="words" type="search" placeholder="Filter by words" aria-label="Filter by words">
<select id="label" aria-label="Label"><option value="">All labels</option>{options}</select>
<output id="count"></output>
</form>
<main>{articles}</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(content: str) -> str:
    """The source of a content security policy that allows this script or style and no other."""
    return f"sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _unreadable(number: str, reason: str) -> str:
    return (
        f'<article data-label=""><h2>{_text(number)}: could not be read</h2><p>{_text(reason)}</p></article>'
    )


def _article(number: str, one: Explanation) -> str:
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in one.notes)
    return f"""
<article data-label="{_text(one.label)}">
<h2>{_text(number)}: {_text(one.label)} {one.score:.3f}, not {_text(one.against)} {one.probs[one.against]:.3f}</h2>
<p class="text" dir="auto">{_marked(one)}</p>
{notes}<details><summary>Word by word</summary>
<p>The probability of {_text(one.label)} after each word, if the text ended there:</p>
{_curve(one.words)}
<div class="wide"><table>
<tr><th>word</th><th>adds</th><th>network</th><th>n-grams</th><th>if left out</th><th>attention</th></tr>
{_table(one)}
</table></div>
<p>{_ngrams(one)}</p>
</details>
</article>"""


def _marked(one: Explanation) -> str:
    """The text, with a background that shows what each word adds."""
    most = max((abs(word.contribution) for word in one.words), default=0.0)
    parts, end = [], 0
    for word in one.words:
        parts.append(_text(one.text[end : word.begin]))
        strength = abs(word.contribution) / most if most else 0.0
        side = "for" if word.contribution > 0 else "against"
        title = f"{word.contribution:+.2f}"
        parts.append(f'<mark class="{side}{round(5 * strength)}" title="{title}">{_text(word.word)}</mark>')
        end = word.end
    return "".join([*parts, _text(one.text[end:])])


def _curve(words: Sequence[Word]) -> str:
    """The score over the words, as a line from 0 to 1."""
    scores = [(at, word.score) for at, word in enumerate(words) if word.score is not None]
    last = max(len(words) - 1, 1)
    points = " ".join(f"{100 * at / last:.1f},{40 - 40 * score:.1f}" for at, score in scores)
    return (
        '<svg viewBox="-1 -1 102 42" preserveAspectRatio="none" role="img" aria-label="score over the words">'
        '<path d="M0 0H100M0 20H100M0 40H100" stroke="currentColor" stroke-opacity=".2" stroke-width=".3"/>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width=".8"/></svg>'
    )


def _table(one: Explanation) -> str:
    largest = sorted(one.words, key=lambda word: -abs(word.contribution))[:_MAX_ROWS]
    rows = [
        [
            _text(word.word),
            f"{word.contribution:+.3f}",
            f"{word.network:+.3f}",
            f"{word.ngrams:+.3f}",
            "" if word.without is None else f"{-word.without:+.3f}",
            "" if word.attention is None else f"{word.attention:.3f}",
        ]
        for word in largest
    ]
    rows.append(["(any text)", f"{one.base:+.3f}", "", "", "", ""])
    rows.append(["(all together)", f"{one.difference:+.3f}", "", "", "", ""])
    return "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)


def _ngrams(one: Explanation) -> str:
    listed = "; ".join(
        f"{_text(ngram.ngram)} {ngram.contribution:+.3f}" for ngram in one.ngrams if ngram.of == "words"
    )
    return f"N-grams of words that count most: {listed}" if listed else ""


def _text(text: str) -> str:
    return escape(visible(text))
