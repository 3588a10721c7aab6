"""The documentation tells the truth: the references are those of the code, links lead somewhere, blocks run.

Every `console` block of README.md and docs/ is run, page by page, in a folder that holds `reviews.csv`, `test.csv`,
`new.txt`, `unlabelled.txt`, the shipped `configs/` and a run `runs/reviews`. Trainings get `TINY` and the built-in
corpus is cut, so that each takes a moment; what a page shows of the output must be what is printed, numbers aside.
A comment right above a block changes that:

    <!-- takes minutes --> <!-- needs data --> <!-- needs the network --> <!-- needs a GPU -->   it is not run
    <!-- exits with 2 -->   its last command must end with that code
"""

from __future__ import annotations

import contextlib
import csv
import doctest
import itertools
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, cast

import pytest
import typer
import yaml
from matplotlib.figure import Figure
from pydantic import Field
from typer.testing import CliRunner

from lstm_cli import tasks
from lstm_cli.cli import app
from lstm_cli.config import presets as config_presets
from lstm_cli.config.load import load_config
from lstm_cli.config.source import is_data
from lstm_cli.data import builtin
from lstm_cli.metrics.metric import Metric
from lstm_cli.tasks.base import TaskConfig
from scripts import docs
from tests.conftest import small_rows
from tests.running_sum import RunningSumConfig

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = ("takes minutes", "needs data", "needs the network", "needs a GPU")
MOST_NOT_RUN = 6
"""A mark is for what no test can do; a seventh is a reason to think again."""
TINY = [
    "train.epochs=2",
    "task.encoder.embedding_size=8",
    "task.encoder.hidden_size=8",
    "task.tokenizer.vocab_size=300",
    "run.threads=1",
]
ROWS = {"train": 160, "dev": 40, "test": 40}
"""Of the built-in corpus, while a page is run."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its lines, where it begins, and the comment right above it."""

    language: str
    text: str
    where: str
    mark: str


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text("utf-8").splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        above = lines[opened - 1] if opened else ""
        mark = re.fullmatch(r"\s*<!-- (.*?) -->", above)
        yield Block(
            language=lines[opened].strip().removeprefix("```"),
            text="\n".join(lines[opened + 1 : number]),
            where=f"{page.name}:{opened + 1}",
            mark=mark[1] if mark else "",
        )
        opened = None
    assert opened is None, f"{page.name}: the block of line {opened} is never closed"


ALL_BLOCKS = {page: list(blocks(page)) for page in PAGES}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- the references ----------------------------------------------------------------------------------------------


def test_what_is_generated_is_up_to_date() -> None:
    stale = [named(path) for path, text in docs.pages().items() if path.read_text("utf-8") != text]
    assert not stale, "run .venv/bin/python scripts/docs.py"


class SumConfig(RunningSumConfig):
    """The `task:` section of a running sum."""


class SizesConfig(TaskConfig):
    """A task with a key of a type that no other key has."""

    metrics: ClassVar[tuple[Metric, ...]] = ()
    kind: Literal["sizes"] = "sizes"
    sizes: dict[str, int] = Field({}, description="sizes by name")


def test_every_kind_of_task_gets_its_own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", [*tasks.TASKS, SumConfig])
    classify, running_sum = docs.config_reference().split("### `task` with `kind: running-sum`")
    assert "### `task` with `kind: classify`" in classify
    assert "The `task:` section of a running sum." in running_sum
    assert "| `hidden_size` | integer | `8` |" in running_sum


def test_a_config_class_without_a_docstring_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", [*tasks.TASKS, RunningSumConfig])
    with pytest.raises(SystemExit, match=r"the class RunningSumConfig has no .* give it a docstring"):
        docs.config_reference()


def test_a_key_whose_type_has_no_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", [SizesConfig])
    with pytest.raises(
        SystemExit, match=r"the key task\.sizes has a type without words .* add a case to _type"
    ):
        docs.config_reference()


def test_the_picture_is_small() -> None:
    assert docs.PICTURE.stat().st_size <= 100_000


# --- links -------------------------------------------------------------------------------------------------------


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^\s*```.*?^\s*```$", "", text))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page; of equal ones the second ends in -1."""
    found: dict[str, int] = {}
    inside = False
    for line in page.read_text("utf-8").splitlines():
        inside ^= line.lstrip().startswith("```")
        if not inside and (heading := re.match(r"#+ (.*)", line)):
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{i}" if i else slug for slug, last in found.items() for i in range(last + 1)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    paths = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert [path for path in paths if path != "README.md" and f"({path})" not in index] == []


# --- blocks that are read ----------------------------------------------------------------------------------------


def of_language(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=block.where)
        for block in itertools.chain(*ALL_BLOCKS.values())
        if block.language in languages
    ]


@pytest.mark.parametrize("block", of_language("yaml"))
def test_a_config_or_a_part_of_one_loads(block: Block, tmp_path: Path) -> None:
    sections = yaml.safe_load(block.text)
    sections.setdefault("data", {}).setdefault("train", "train.csv")
    (tmp_path / "part.yaml").write_text(yaml.safe_dump(sections), "utf-8")
    load_config(str(tmp_path / "part.yaml"))


@pytest.mark.parametrize("block", of_language("json", "jsonl"))
def test_json_is_json(block: Block) -> None:
    for text in block.text.splitlines() if block.language == "jsonl" else [block.text]:
        json.loads(text)


OF_PYTHON = [  # `tests/export` runs the block that needs a network of its own
    block for block in of_language("python") if not re.search(">>> |onnxruntime", block.values[0].text)
]


@pytest.mark.parametrize("block", OF_PYTHON)
def test_python_runs(block: Block, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_run)
    if "exported/" in block.text:
        (tmp_path / "runs").symlink_to(small_run / "runs")
        monkeypatch.chdir(tmp_path)
        assert lstmcls(["export", "runs/reviews", "-o", "exported/reviews"])[0] == 0
    exec(compile(block.text, block.where, "exec"), {"__name__": "__main__"})


class PlainChecker(doctest.OutputChecker):
    """What is printed must be what a page shows, numbers aside; the pages train models of their own."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(plain_python(want), plain_python(got), optionflags)


def plain_python(text: str) -> str:
    text = re.sub(r"\s+", " ", re.sub(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?\s*", "#", text))
    return re.sub(r"'(negative|positive)'", "'LABEL'", re.sub(r"'(beats|ties|loses to)'", "'COMPARES'", text))


def test_what_the_page_on_python_shows_is_what_is_printed(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_run, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    sentences = Path("configs/sentences.yaml")  # with TINY, as all trainings of these pages
    sizes = {"epochs": 2, "embedding_size": 8, "hidden_size": 8}
    text = sentences.read_text("utf-8")
    for key, size in sizes.items():
        text = re.sub(rf"\b{key}: \d+", f"{key}: {size}", text)
    sentences.write_text(text, "utf-8")
    monkeypatch.setattr(config_presets, "_folder", lambda: Path("configs").absolute())
    page = ROOT / "docs" / "python.md"
    shown = "\n".join(block.text for block in ALL_BLOCKS[page] if ">>> " in block.text)
    test = doctest.DocTestParser().get_doctest(shown + "\n", {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(PlainChecker(), optionflags=doctest.ELLIPSIS)
    printed: list[str] = []
    assert len(test.examples) > 10
    assert runner.run(test, out=printed.append).failed == 0, "".join(printed)


def test_every_block_says_what_it_is() -> None:
    known = {"console", "yaml", "json", "jsonl", "python", "text", "csv"}
    unknown = {block.where: block.language for block in itertools.chain(*ALL_BLOCKS.values())}
    assert {where: language for where, language in unknown.items() if language not in known} == {}


def test_few_blocks_are_not_run() -> None:
    marked = [
        block.where for block in itertools.chain(*ALL_BLOCKS.values()) if block.mark.startswith(NOT_RUN)
    ]
    assert len(marked) <= MOST_NOT_RUN, marked


# --- blocks that are run -----------------------------------------------------------------------------------------

PAGES_THAT_RUN = [
    page for page, found in ALL_BLOCKS.items() if any(block.language == "console" for block in found)
]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def draw_nothing(figure: Figure, file: IO[bytes], **_: object) -> None:
    """Plots are tested elsewhere, and took a third of the time here."""


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages speak of: data, the shipped configs and a finished run."""
    folder = tmp_path_factory.mktemp("docs")
    write_csv(folder / "reviews.csv", small_rows(160))
    right = small_rows(40, seed=1)
    wrong = [(text, "negative" if i % 4 == 1 else label) for i, (text, label) in enumerate(right)]
    write_csv(
        folder / "test.csv", wrong
    )  # a quarter of it, so that no model reaches the gate that a page sets
    (folder / "new.txt").write_text("A fine film, and a moving one.\nDull, slow and far too long.\n", "utf-8")
    lines = [text for text, _ in small_rows(60, seed=2)]
    (folder / "unlabelled.txt").write_text("\n".join(lines) + "\n", "utf-8")
    shutil.copytree(ROOT / "configs", folder / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(Figure, "savefig", draw_nothing)
        given = ["--set", "data.train=reviews.csv", "--set", "data.test=test.csv"]
        said = lstmcls(["train", "configs/sentences.yaml", *given, "--run", "runs/reviews"])
        assert said[0] == 0, said[1]
        yield folder


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=named)
def test_every_command_of_a_page_does_what_is_shown(
    page: Path, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(small_run, folder)
    monkeypatch.chdir(folder)
    for split, count in ROWS.items():
        monkeypatch.setitem(builtin.SIZES, cast(builtin.Split, split), count)
    port = free_port()
    with contextlib.ExitStack() as services:
        run_blocks(page, port, services)


def run_blocks(page: Path, port: int, services: contextlib.ExitStack) -> None:
    """Run the commands of a page. What `lstmcls serve` starts answers on `port`, instead of the port that is shown."""
    for block in ALL_BLOCKS[page]:
        if block.language != "console" or block.mark.startswith(NOT_RUN):
            continue
        commands = list(commands_of(block))
        wanted = [0] * len(commands)
        if expected := re.fullmatch(r"exits with (\d+)", block.mark):
            wanted[-1] = int(expected[1])
        else:
            assert not block.mark, f"{block.where}: no such mark: {block.mark}"
        for (command, shown), code in zip(commands, wanted, strict=True):
            if command.startswith("lstmcls serve "):
                services.close()  # the one before
                got, printed = 0, services.enter_context(service(shlex.split(command)[1:], port))
            else:
                got, printed = run(re.sub(r":80\d\d\b", f":{port}", command))
            assert got == code, f"{block.where}: $ {command}\n{printed}"
            missing = not_printed(shown, printed)
            assert missing is None, (
                f"{block.where}: $ {command}\nshown: {missing}\nand printed was:\n{printed}"
            )


def test_every_command_has_examples_that_the_reference_shows_and_so_runs() -> None:
    shown = {line for block in ALL_BLOCKS[docs.COMMANDS_PAGE] for line in block.text.splitlines()}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        title, *examples = (command.epilog or "").split("\n\n")
        assert title == "EXAMPLES", name
        assert examples, name
        assert {f"$ {example}" for example in examples} <= shown, name


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command, its continued lines joined and its remark cut off, with the lines shown of its output."""
    lines = iter(block.text.splitlines())
    command: str | None = None
    shown: list[str] = []
    for line in lines:
        if not line.startswith("$ "):
            assert command is not None, f"{block.where}: begins with no command"
            shown.append(line)
            continue
        if command is not None:
            yield command, shown
        command, shown = line.removeprefix("$ "), []
        while command.endswith("\\"):
            command = command.removesuffix("\\") + next(lines).strip()
        command = re.sub(r"\s{2,}# .*", "", command)
    assert command is not None, f"{block.where}: empty"
    yield command, shown


def run(command: str) -> tuple[int, str]:
    """Exit code and output. `lstmcls` runs in this process, since each start of its own would load torch again."""
    *before, last = re.split(r"\s\|\s", command)
    stdin = ""
    if before:
        stdin = subprocess.run(
            " | ".join(before), shell=True, capture_output=True, text=True, check=True
        ).stdout
    words = shlex.split(last)
    if words[0] == "lstmcls":
        return lstmcls(words[1:], stdin)
    done = subprocess.run(last, shell=True, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def service(words: list[str], port: int) -> Iterator[str]:
    """Run `lstmcls serve` while the page is read; what it prints until it serves."""
    words = [word for word in words if word != "&"]
    command = [sys.executable, "-m", "lstm_cli", *words, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            printed = ""
            while "serving" not in printed:
                line = process.stderr.readline()
                assert line, printed
                printed += line
            yield printed
        finally:
            process.terminate()
            process.communicate()


def lstmcls(words: list[str], stdin: str = "") -> tuple[int, str]:
    if words[0] in ("train", "pretrain"):
        keys = TINY
        if words[0] == "pretrain" or is_data(words[1]) or load_config(words[1]).task.init_from:
            keys = [*TINY, "pretrain.epochs=1"]
        words = [*words, *itertools.chain(*(("--set", key) for key in keys))]
        if "--resume" not in words and "--overwrite" not in words:
            words.append("--overwrite")
    result = CliRunner().invoke(app, words, input=stdin)
    return result.exit_code, result.output


def not_printed(shown: list[str], printed: str) -> str | None:
    """The first line that is shown and not printed, in this order; `…` stands for any lines."""
    left = [plain(line) for line in printed.splitlines()]
    for line in shown:
        wanted = plain(line)
        if wanted in ("", "…"):
            continue
        if wanted not in left:
            return line
        left = left[left.index(wanted) + 1 :]
    return None


def plain(line: str) -> str:
    """A line without what differs between machines and models: numbers, device, labels, verdict, the best epoch's *."""
    line = re.sub(r", on \w+ \(.*", ", on DEVICE", line)
    line = re.sub(r"/test-[0-9a-f]{8}/", "/test-HASH/", line)  # of a path
    line = re.sub(r"\d[\d.,]*(?:e[+-]?\d+)?k?%?", "#", line)
    line = re.sub(
        r", the lowest of \d+ epochs with this \w+$", "", line
    )  # of rows as few as here, scores are equal
    line = re.sub(r"\"label\": \"\w+\"", '"label": "…"', line)
    line = re.sub(r"\b(beats|ties|loses to)\b", "compares to", line)
    return " ".join(line.replace(" * ", " ").replace("─", "").split())
