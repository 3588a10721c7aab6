"""report.html: what report.md says, drawn, with nothing from elsewhere and no markup of the data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from lstm_cli.reports import html_mistakes
from lstm_cli.reports.evaluation import Inside, write_evaluation
from lstm_cli.reports.html_mistakes import Pieces, Strongest
from lstm_cli.tasks.report import Bars, Curves
from tests.reports.test_evaluation import evaluation, scored, task_of

HOSTILE = '<img src=x onerror=alert(1)>"\x1b[2J\u202e</script>'


def written(
    folder: Path,
    names: tuple[str, ...] = ("bad", "fine | so-so", "很好"),
    strongest: Strongest | None = None,
    pieces: Pieces = (),
) -> str:
    """The page of 60 rows, with a look inside the model if `strongest` are given."""
    inside = None if strongest is None else Inside(strongest, lambda asked: [pieces] * len(asked))
    write_evaluation(folder, task_of(names), evaluation(60, names), inside=inside)
    return (folder / "report.html").read_text("utf-8")


def test_the_page_has_the_summary_the_counts_and_every_mistake(tmp_path: Path) -> None:
    page = written(tmp_path)
    shown = " ".join(unescape(re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", page)).split())
    summary = (tmp_path / "report.md").read_text("utf-8").splitlines()[2].replace("**", "")
    assert summary.replace(" ", "") in shown.replace(" ", "")
    counts = evaluation().scores.confusion  # type: ignore[attr-defined]
    cells = re.findall(r'class="part\d+">([\d,]+)</td>', page)
    assert [int(cell) for cell in cells] == counts.ravel().tolist()
    assert page.count("<article") == len((tmp_path / "mistakes.jsonl").read_text("utf-8").splitlines())
    for title in ("F1 of each class", "Accuracy by the length of the text", "Confidence and accuracy"):
        assert title in shown


def test_a_hostile_label_and_text_are_text_on_the_page(tmp_path: Path) -> None:
    page = written(tmp_path, names=("good", HOSTILE))
    assert "<img" not in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_page_loads_nothing_and_allows_only_its_own_script_and_style(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert not re.search(r"https?://|\ssrc=|\shref=|\sstyle=", page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("text", ["很长的文本" * 1_000, "'" * 5_000, "\u202e" * 5_000, "'很" * 50])
def test_the_page_of_many_long_mistakes_stays_small(tmp_path: Path, text: str) -> None:
    targets = np.zeros(2_000, np.int64)
    probs = np.tile([0.2, 0.8], (2_000, 1))
    given = scored(targets, probs, ("bad", "good"))
    for row in given.rows:
        object.__setattr__(row.content, "text", text)
    inside = Inside({}, lambda asked: [[(char, -1.0) for char in text] for text, *_ in asked])
    write_evaluation(tmp_path, task_of(("bad", "good")), given, inside=inside)
    path = tmp_path / "report.html"
    assert path.stat().st_size < 3_000_000
    page = path.read_text("utf-8")
    shown = page.count("<article")
    assert 150 < shown <= html_mistakes._MOST_MISTAKES
    assert f"The {shown} of 2,000 mistakes with the highest confidence" in page
    assert (shown < 500) == (len(text) == 5_000)


def test_the_first_mistakes_say_why(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str]] = []

    def explain(mistakes: Sequence[tuple[str, str, str]]) -> list[list[tuple[str, float]]]:
        asked.extend(mistakes)
        return [[("text ", 2.0), ("<b>", -1.0), (" and", 0.01)] for _ in mistakes]

    given = evaluation(400, ("bad", "good"))
    write_evaluation(tmp_path, task_of(("bad", "good")), given, inside=Inside({}, explain))
    mistakes = [json.loads(line) for line in (tmp_path / "mistakes.jsonl").read_text("utf-8").splitlines()]
    assert asked == [(one["text"], one["label"], one["target"]) for one in mistakes[:12]]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<details>") == len(asked) == 12 < len(mistakes)
    assert "The first 12 say why" in page
    why = '<span class="part10" title="+2.00">text</span> <span class="against5" title="-1.00">&lt;b&gt;</span> and'
    assert why in page
    assert "<bdi>text</bdi>&nbsp;+2.00 · <bdi>&lt;b&gt;</bdi>&nbsp;-1.00 · <bdi>and</bdi>&nbsp;+0.01" in page
    assert ".against5 {" in page


def test_long_texts_are_explained_up_to_a_limit(tmp_path: Path) -> None:
    given = evaluation(60, ("bad", "good"))
    for row in given.rows:
        object.__setattr__(row.content, "text", "word " * 1_500)
    inside = Inside({}, lambda asked: [[(text, 1.0)] for text, *_ in asked])
    write_evaluation(tmp_path, task_of(("bad", "good")), given, inside=inside)
    assert (tmp_path / "report.html").read_text("utf-8").count("<details>") == 2


def test_a_page_without_a_look_inside_mentions_neither_ngrams_nor_reasons(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "<details>" not in page
    assert "say why" not in page
    assert "N-grams" not in page


def test_the_strongest_ngrams_of_a_class_are_shown_with_their_weights(tmp_path: Path) -> None:
    page = written(
        tmp_path, strongest={"bad": [("plainly awful", 2.0), ("awful", 0.5)], "很好": [("<i>", 1.0)]}
    )
    (section,) = re.findall(r"<h2>N-grams with the largest weights</h2>.*?<h2>Mistakes", page, re.DOTALL)
    rows = re.findall(r'<bdi>(.*?)</bdi><meter value="(.*?)"></meter><span>(.*?)</span>', section)
    assert rows == [
        ("plainly awful", "1.0000", "+2.00"),
        ("awful", "0.2500", "+0.50"),
        ("&lt;i&gt;", "0.5000", "+1.00"),
    ]
    assert re.findall("<h3>(.*?)</h3>", section) == ["bad", "很好"]


def test_the_ngrams_of_many_classes_stay_small(tmp_path: Path) -> None:
    strongest = {f"class {at}": [("<" * 10_000, 1.0)] * 10 for at in range(150)}
    page = written(tmp_path, strongest=strongest)
    assert page.count("<b>class ") == 100
    assert "<summary>the first 100 of 150 classes</summary>" in page
    assert len(page) < 500_000


def test_hostile_ngrams_words_and_long_labels_are_text(tmp_path: Path) -> None:
    names = ("good", HOSTILE + "x" * 10_000)
    strongest = {name: [(HOSTILE, 1.0)] for name in names}
    page = written(tmp_path, names=names, strongest=strongest, pieces=[(HOSTILE, 1.0), ("x" * 10_000, -1.0)])
    assert "<details>" in page
    assert "<img" not in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert not re.search("[\x1b\u202e]", page)
    assert "x" * 10_000 in page
    assert "x" * 501 not in page.replace("x" * 10_000, "")


def test_the_curves_are_those_of_a_plain_count() -> None:
    given = evaluation(200, ("bad", "good"))
    charts = task_of(("bad", "good")).report(given).charts
    probs = given.outputs
    assert isinstance(probs, np.ndarray)
    targets = np.asarray(given.store.targets)
    right = probs.argmax(axis=1) == targets
    threshold, coverage = (chart for chart in charts if isinstance(chart, Curves))
    for name, (x, y) in threshold.lines.items():
        for at, value in zip(x, y, strict=True):
            chosen = probs[:, 1] >= at
            hits = (chosen & (targets == 1)).sum()
            assert value == pytest.approx(
                hits / (chosen.sum() if name == "precision" else (targets == 1).sum())
            )
    ((x, y),) = coverage.lines.values()
    assert (x[-1], y[-1]) == (1.0, pytest.approx(right.mean()))
    bars = [chart for chart in charts if isinstance(chart, Bars)]
    assert sum(int(shown.split()[-1]) for _, _, shown in bars[1].rows) == 200


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_runs_the_filter(tmp_path: Path) -> None:
    page = written(tmp_path)
    shown = in_browser(tmp_path / "report.html")
    count = page.count("<article")
    assert f'<output id="count">{count} of {count}</output>' in shown


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_finds_words_and_fits_an_explained_word_of_10_000_letters_into_its_window(
    tmp_path: Path,
) -> None:
    pieces = [("w" * 10_000, 1.0), (" <b>", -0.5)]
    page = written(tmp_path, names=("bad", HOSTILE), strongest={"bad": [("مرحبا" * 20, 1.0)]}, pieces=pieces)
    typed = """<script>
      document.querySelectorAll("details").forEach(one => one.open = true);
      const typed = document.getElementById("words"), root = document.documentElement;
      typed.value = "text 1";
      typed.form.dispatchEvent(new Event("input"));
      const why = document.querySelector("article:not([hidden]) details");
      const colours = [...document.querySelectorAll("details span")].slice(0, 2);
      document.title = [root.scrollWidth <= root.clientWidth, why.scrollHeight > 500,
        ...colours.map(one => getComputedStyle(one).backgroundColor)].join("; ");
    </script>"""
    without_policy = re.sub("<meta http-equiv[^>]*>", "", page)
    (tmp_path / "typed.html").write_text(without_policy.replace("</body>", f"{typed}</body>"), "utf-8")
    shown = in_browser(tmp_path / "typed.html")
    mistakes = (tmp_path / "mistakes.jsonl").read_text("utf-8").splitlines()
    fitting = sum("text 1" in json.loads(line)["text"] for line in mistakes)
    assert 0 < fitting < len(mistakes)
    assert f'<output id="count">{fitting} of {len(mistakes)}</output>' in shown
    assert "<title>true; true; rgba(37, 99, 235, 0.6); rgba(217, 119, 6, 0.3)</title>" in shown


def in_browser(page: Path) -> str:
    """The page after its script has run, in a window of 500 pixels."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={page.parent / 'profile'}", "--window-size=500,900", "--dump-dom"]
    command = ["chromium", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
