"""report.html: what report.md says, drawn, with nothing from elsewhere and no markup of the data."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from lstm_cli.features.ngrams import Ngrams
from lstm_cli.reports import html
from lstm_cli.reports.evaluation import write_evaluation
from lstm_cli.tasks.report import Bars, Curves
from tests.reports.test_evaluation import evaluation, scored, task_of

HOSTILE = '<img src=x onerror=alert(1)>"\x1b[2J\u202e</script>'


def written(folder: Path, n: int = 60, names: tuple[str, ...] = ("bad", "fine | so-so", "很好")) -> str:
    write_evaluation(folder, task_of(names), evaluation(n, names))
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


def test_the_page_of_many_long_mistakes_stays_small(tmp_path: Path) -> None:
    targets = np.zeros(2_000, np.int64)
    probs = np.tile([0.2, 0.8], (2_000, 1))
    given = scored(targets, probs, ("bad", "good"))
    rows = given.rows
    for row in rows:
        object.__setattr__(row.content, "text", "很长的文本" * 1_000)
    write_evaluation(tmp_path, task_of(("bad", "good")), given)
    path = tmp_path / "report.html"
    assert path.stat().st_size < 3_000_000
    page = path.read_text("utf-8")
    assert page.count("<article") == html._MOST_MISTAKES
    assert "The 500 of 2,000 mistakes with the highest confidence" in page


def test_the_first_mistakes_say_why(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str]] = []

    def explain(text: str, label: str, target: str) -> list[tuple[str, float]]:
        asked.append((text, label, target))
        return [("text ", 2.0), ("<b>", -1.0), (" and", 0.01)]

    write_evaluation(tmp_path, task_of(("bad", "good")), evaluation(400, ("bad", "good")), explain=explain)
    mistakes = [json.loads(line) for line in (tmp_path / "mistakes.jsonl").read_text("utf-8").splitlines()]
    assert asked == [(one["text"], one["label"], one["target"]) for one in mistakes[:20]]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<details>") == len(asked) == 20 < len(mistakes)
    assert "The first 20 say why" in page
    why = '<span class="part10" title="+2.00">text </span><span class="against5" title="-1.00">&lt;b&gt;</span> and'
    assert why in page
    assert ".against5 {" in page


def test_long_texts_are_explained_up_to_a_limit(tmp_path: Path) -> None:
    given = evaluation(60, ("bad", "good"))
    for row in given.rows:
        object.__setattr__(row.content, "text", "word " * 1_500)
    write_evaluation(
        tmp_path, task_of(("bad", "good")), given, explain=lambda text, label, target: [(text, 1.0)]
    )
    assert (tmp_path / "report.html").read_text("utf-8").count("<details>") == 2


def test_a_page_without_explanations_does_not_mention_them(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "<details>" not in page
    assert "say why" not in page


def test_the_ngrams_that_speak_for_a_class_are_shown_by_name(tmp_path: Path) -> None:
    given = evaluation(60, ("bad", "good"))
    for row in given.rows:
        object.__setattr__(
            row.content, "text", f"plainly {'awful' if row.content.label == 'bad' else 'lovely'}"
        )
    texts = [row.content.text for row in given.rows]
    ngrams = Ngrams.learn(texts, np.array([text.endswith("lovely") for text in texts], np.int64))
    write_evaluation(tmp_path, dataclasses.replace(task_of(("bad", "good")), ngrams=ngrams), given)
    page = (tmp_path / "report.html").read_text("utf-8")
    bad, good = re.findall(r"N-grams of these rows that speak for \w+</h2>(.*?)</section>", page)
    assert "<span>plainly awful</span>" in bad
    assert "<span>awful</span>" in bad
    assert "lovely" not in bad
    assert "<span>plainly lovely</span>" in good


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
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    place = (tmp_path / "report.html").as_uri()
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", place]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    count = page.count("<article")
    assert f'<output id="count">{count} of {count}</output>' in shown
