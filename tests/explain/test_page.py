"""The explanations of many texts on one page: it loads nothing, and nothing in it is markup that is not ours."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.explain.explanation import Explanation, Ngram, Word
from lstm_cli.explain.page import page

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")
HOSTILE = '<img src=x onerror=alert(1)>"\x1b[2J\u202e</script>'


def run(*arguments: str, exit_code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["explain", *arguments], input=stdin)
    assert result.exit_code == exit_code, result.output
    return result


def explanation(text: str, label: str = "positive") -> Explanation:
    word = Word(text, 0, len(text), 1.0, 0.5, 0.5, 0.4, None, 0.9)
    return Explanation(
        text,
        label,
        "other",
        label,
        0.9,
        {label: 0.9, "other": 0.1},
        1.0,
        0.0,
        0.0,
        (word,),
        (Ngram(text, "words", 0.5),),
        (),
    )


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(content: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(content)
    return parser.found


def test_a_hostile_text_label_and_name_are_text_on_the_page() -> None:
    content = page(HOSTILE, [("0", explanation(HOSTILE, HOSTILE)), ("1", HOSTILE)])
    names = {tag for tag, _ in tags(content)}
    assert "img" not in names
    assert not [name for _, attributes in tags(content) for name in attributes if name.startswith("on")]
    assert content.count("<script>") == content.count("</script>") == 1
    assert "\x1b" not in content
    assert "\u202e" not in content


def test_the_page_loads_nothing_and_allows_only_its_own_script_and_style() -> None:
    content = page("run", [("0", explanation("good"))])
    assert not re.search(r"https?://|//[a-z]", content)
    assert not [tag for tag, attributes in tags(content) if "src" in attributes or "href" in attributes]
    (policy,) = [a["content"] for tag, a in tags(content) if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_shows_and_counts_the_texts(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page("run", [(str(i), explanation("good film")) for i in range(3)]), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r'<output id="count">3 of 3</output>', shown)  # the script ran


def test_the_command_writes_a_page_json_lines_or_text(tmp_path: Path) -> None:
    path = tmp_path / "why.html"
    run(RUN, "--text", "a good film", "--text", "bad", "-o", str(path))
    assert path.read_text("utf-8").count("<article") == 2
    lines = run(RUN, "-", "--json", stdin="a good film\nbad\n").stdout.splitlines()
    assert [json.loads(line)["row"] for line in lines] == [0, 1]
    assert [json.loads(line)["text"] for line in lines] == ["a good film", "bad"]
    shown = run(RUN, "--text", "a good film").stdout
    assert all(word in shown for word in ("good", "film", "(any text)", "(sum)", "left out"))
    assert "\x1b" not in shown


def test_what_cannot_be_explained_is_one_sentence(tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        return " ".join(run(*arguments, exit_code=2).stderr.split())

    assert "one writes a page, the other JSON Lines" in refused(RUN, "--text", "a", "--json", "-o", "x.html")
    assert "cannot be combined with new.txt" in refused(RUN, "new.txt", "--text", "a")
    assert "--target: the model has no label" in refused(RUN, "--text", "a", "--target", "nope")
    assert "no such run, config or preset" in refused(str(tmp_path / "none"), "--text", "a")
