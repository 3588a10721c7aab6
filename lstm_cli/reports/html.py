"""report.html: an evaluation as one page with charts and mistakes to search, which loads nothing from elsewhere."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import numpy as np

from lstm_cli.reports.html_mistakes import Pieces, Strongest, mistakes_section, ngrams_section
from lstm_cli.reports.html_text import CELL_CHARS, bar, label_text, plain, shortened
from lstm_cli.tasks.report import Bars, Chart, ConfusionPlot, Curves, Plot, ReliabilityPlot, Section, Table

_MOST_CLASSES = 60
_COLOURS = ("#2563eb", "#d97706")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #2563eb; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; } .charts p { margin: .3rem 0; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; }
th, td { padding: .15rem .7rem .15rem 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { font-weight: 600; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: start; }
.confusion td { text-align: center; padding: .25rem .5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem; }
svg { display: block; width: 100%; max-width: 30rem; height: auto; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; }
svg .line0 { fill: #2563eb; } svg .line1 { fill: #d97706; }
.bar { display: grid; grid-template-columns: minmax(5rem, 1fr) 2fr auto; gap: .5rem; align-items: center; }
.bar bdi { justify-self: start; } meter { width: 100%; }
.note, summary { color: light-dark(#595959, #a8a8a8); font-size: .9rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem; position: sticky; top: 0; background: Canvas; padding: .5rem 0; }
input, select { font: inherit; padding: .3rem; min-width: 0; flex: 1 1 10rem; }
article { border-top: 1px solid var(--line); padding: .5rem 0; }
article p { margin: 0; white-space: pre-wrap; }
details { margin: .3rem 0; } summary { cursor: pointer; }
"""
# the content security policy forbids a style in a tag
_STYLE += "".join(
    f".part{part} {{ background: rgba(37, 99, 235, {0.06 * part:.2f}); }}\n"
    f".against{part} {{ background: rgba(217, 119, 6, {0.06 * part:.2f}); }}\n"
    for part in range(1, 11)
)

_SCRIPT = """
const form = document.querySelector("form");
if (form) {
  const [words, target, label] = ["words", "target", "label"].map(id => document.getElementById(id));
  const count = document.getElementById("count"), articles = [...document.querySelectorAll("article")];
  const filter = () => {
    let shown = 0;
    for (const article of articles) {
      const fits = article.textContent.toLowerCase().includes(words.value.toLowerCase())
        && (!target.value || article.dataset.target === target.value)
        && (!label.value || article.dataset.label === label.value);
      article.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown + " of " + articles.length;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  filter();
}
"""


def html_page(
    title: str,
    sentences: Sequence[str],
    tables: Sequence[Section],
    plots: Mapping[str, Plot],
    charts: Sequence[Chart],
    mistakes: Sequence[Mapping[str, Any]],
    num_mistakes: int,
    strongest: Strongest,
    explained: Mapping[int, Pieces],
) -> str:
    """The page. `sentences` are the summary, in Markdown's emphasis; `mistakes` are lines of mistakes.jsonl, some of
    which are `explained`, by the number of their row."""
    drawn = "".join(
        f"<section><h2>{shortened(chart.title, CELL_CHARS)}</h2>{_chart(chart)}</section>" for chart in charts
    )
    reliability = [plot for plot in plots.values() if isinstance(plot, ReliabilityPlot)]
    drawn += "".join(
        f"<section><h2>Confidence and accuracy</h2>{_reliability(plot)}</section>" for plot in reliability
    )
    confusion = "".join(_confusion(plot) for plot in plots.values() if isinstance(plot, ConfusionPlot))
    policy = f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{plain(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{plain(title)}</h1>
{"".join(f"<p>{_sentence(one)}</p>" for one in sentences)}
{"".join(_section(one) for one in tables)}
<div class="charts">{drawn}</div>
{confusion}
{ngrams_section(strongest)}
{mistakes_section(mistakes, num_mistakes, explained)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(content: str) -> str:
    """The source of a content security policy that allows this script or style and no other."""
    return f"sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _sentence(text: str) -> str:
    """Text with `**` around what is bold."""
    parts = plain(text).split("**")
    return "".join(f"<b>{part}</b>" if at % 2 else part for at, part in enumerate(parts))


def _section(section: Section) -> str:
    text = f"<p>{plain(section.text)}</p>" if section.text else ""
    return text + (_table(section.table) if section.table else "")


def _table(table: Table) -> str:
    head = "".join(f"<th>{shortened(cell, CELL_CHARS)}</th>" for cell in table.columns)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{shortened(cell, CELL_CHARS)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _chart(chart: Chart) -> str:
    match chart:
        case Bars():
            return "".join(bar(label_text(name), value, plain(shown)) for name, value, shown in chart.rows)
        case Curves():
            return _axes(
                chart.x,
                "".join(
                    _line(list(zip(x.tolist(), y.tolist(), strict=True)), colour)
                    + f'<text x="{60 + 90 * at}" y="12" class="line{at}">{plain(name)}</text>'
                    for at, ((name, (x, y)), colour) in enumerate(
                        zip(chart.lines.items(), _COLOURS, strict=False)
                    )
                ),
            )
        case _:
            assert_never(chart)


def _reliability(plot: ReliabilityPlot) -> str:
    some = plot.count > 0
    points = list(zip(plot.confidence[some].tolist(), plot.accuracy[some].tolist(), strict=True))
    dots = "".join(
        f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3" fill="{_COLOURS[0]}"/>' for x, y in points
    )
    diagonal = f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="currentColor" stroke-opacity=".4"/>'
    note = f'<p class="note">expected calibration error {plot.error:.1%}; on the line, confidence is accuracy</p>'
    return _axes("confidence", diagonal + _line(points, _COLOURS[0]) + dots) + note


def _x(value: float) -> float:
    return 40 + 250 * value


def _y(value: float) -> float:
    return 170 - 150 * value


def _axes(x: str, inside: str) -> str:
    """A square from 0 to 1 in both directions."""
    ticks = (0, 0.25, 0.5, 0.75, 1)
    lines = "".join(f"M{_x(0)} {_y(tick)}H{_x(1)}M{_x(tick)} {_y(0)}V{_y(1)}" for tick in ticks)
    numbers = "".join(
        f'<text x="8" y="{_y(tick) + 4}">{tick:g}</text><text x="{_x(tick) - 6}" y="184">{tick:g}</text>'
        for tick in ticks
    )
    return (
        f'<svg viewBox="0 0 310 204" role="img" aria-label="{plain(x)}"><path d="{lines}" stroke="currentColor" '
        f'stroke-opacity=".15"/>{numbers}<text x="{_x(0.5)}" y="200" text-anchor="middle">{plain(x)}</text>'
        f"{inside}</svg>"
    )


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    listed = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline points="{listed}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _confusion(plot: ConfusionPlot) -> str:
    """True classes down, predicted across; the colour is the fraction of the true class."""
    head = "<h2>Confusion: true classes down, predicted across</h2>"
    if len(plot.names) > _MOST_CLASSES:
        return (
            f'{head}<p class="note">{len(plot.names):,} classes are too many to show; see confusion.csv</p>'
        )
    fractions = plot.counts / np.maximum(plot.counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for name, counts, row in zip(plot.names, plot.counts.tolist(), fractions.tolist(), strict=True):
        cells = "".join(
            f'<td title="{fraction:.1%}" class="part{round(10 * fraction)}">{count:,}</td>'
            for count, fraction in zip(counts, row, strict=True)
        )
        rows.append(f"<tr><th>{label_text(name)}</th>{cells}</tr>")
    columns = "".join(f"<th>{label_text(name)}</th>" for name in plot.names)
    return f'{head}<div class="wide"><table class="confusion"><tr><th></th>{columns}</tr>{"".join(rows)}</table></div>'
