"""A command ends in order from its first moment to its last, whatever the system refuses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_cli.process import of_the_system
from tests.conftest import small_rows

if sys.platform == "win32":
    pytest.skip("needs a shell, and limits of the system", allow_module_level=True)

LSTMCLS = f"{sys.executable} -m lstm_cli"
CONFIG = """
data: {train: train.csv, dev: 0.2}
task: {tokenizer: {kind: word, min_count: 1}, encoder: {embedding_size: 4, hidden_size: 4}}
train: {epochs: 1}
run: {dir: run, threads: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    lines = [f'"{text}",{label}' for text, label in small_rows(40)]
    (folder / "train.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    (folder / "small.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def ended(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a line of the shell has come to."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--version <&-", 0, ""),
        ("--version 2>&-", 0, ""),
        ("--version >&-", 1, "error: stdin or stdout is closed, and is needed"),
        ("--version > /dev/full", 1, "error: No space left on device"),
        ("init -o a.yaml <&- >&- 2>&-", 0, ""),
        ("check - <&-", 1, "error: stdin or stdout is closed, and is needed"),
    ],
)
def test_a_closed_or_full_stream_is_no_traceback(folder: Path, line: str, code: int, said: str) -> None:
    (folder / "a.yaml").unlink(missing_ok=True)
    done = ended(f"{LSTMCLS} {line}", folder)
    assert (done.returncode, done.stderr.strip()) == (code, said)
    if "-o" in line:
        assert (folder / "a.yaml").read_text("utf-8").startswith("#")


def test_no_file_of_ours_takes_the_number_of_a_closed_stream(folder: Path) -> None:
    program = """
import os
from lstm_cli.process import guarded
guarded(lambda: open("taken", "w").write(str(os.open("small.yaml", os.O_RDONLY))))
"""
    (folder / "program.py").write_text(program, encoding="utf-8")
    assert ended(f"{sys.executable} program.py <&- >&- 2>&-", folder).returncode == 0
    assert int((folder / "taken").read_text("utf-8")) > 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to all of these limits")
@pytest.mark.parametrize("limit", ["-n 8", "-n 16", "-v 40000", "-v 200000", "-v 700000"])
def test_a_limit_of_the_system_is_one_line(folder: Path, limit: str) -> None:
    done = ended(f"ulimit {limit}; {LSTMCLS} train small.yaml -q --overwrite --no-baselines", folder)
    assert done.returncode in (0, 1), done.stderr
    assert len(done.stderr.splitlines()) == (1 if done.returncode else 0), done.stderr


def sent(program: str, number: int, folder: Path, *also: int) -> tuple[int, list[str]]:
    """The exit code of a program that gets a signal once it has started, and the lines that it leaves on stderr."""
    root = str(Path(__file__).resolve().parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{root}:{folder}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        for one in (number, *also):
            process.send_signal(one)
        _, said = process.communicate(timeout=60)
    return process.returncode, said.splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_command_has_begun_is_one_line(folder: Path, number: int, code: int) -> None:
    program = """
import time
from lstm_cli.process import guarded
guarded(lambda: (print("started", flush=True), time.sleep(50)))
"""
    returned, lines = sent(program, number, folder)
    assert (returned, len(lines)) == (code, 1)


def test_a_signal_after_the_work_is_done_is_too_late(folder: Path) -> None:
    program = """
import atexit, time
from lstm_cli.process import guarded
atexit.register(lambda: (print("started", flush=True), time.sleep(0.5)))
guarded(lambda: None)
"""
    assert sent(program, signal.SIGINT, folder, signal.SIGTERM) == (0, [])


def test_a_signal_during_an_import_is_not_taken_for_a_module_that_is_missing(folder: Path) -> None:
    (folder / "optional.py").write_text('import time\nprint("started", flush=True)\ntime.sleep(3)\n', "utf-8")
    program = """
from lstm_cli.runs.signals import stoppable
with stoppable():
    try:
        import optional
    except Exception:
        pass
"""
    returned, lines = sent(program, signal.SIGINT, folder)
    assert (returned, len(lines)) == (130, 1)


def test_a_bug_keeps_its_traceback(folder: Path) -> None:
    program = 'from lstm_cli.process import guarded; guarded(lambda: {}["x"])'
    (folder / "program.py").write_text(program, encoding="utf-8")
    done = ended(f"{sys.executable} program.py", folder)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "KeyError: 'x'")


@pytest.mark.parametrize(
    "module", ["lstm_cli", "lstm_cli.__main__", "lstm_cli.process", "lstm_cli.runs.signals"]
)
def test_an_import_changes_nothing_of_the_process(folder: Path, module: str) -> None:
    program = f"""
import signal, sys
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)], sys.stdin, sys.stdout
import {module}
after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)], sys.stdin, sys.stdout
assert before == after
"""
    (folder / "program.py").write_text(program, encoding="utf-8")
    assert ended(f"{sys.executable} program.py", folder).returncode == 0


def test_an_interpreter_without_memory_for_its_exception_is_out_of_memory() -> None:
    said = of_the_system(SystemError("error return without exception set"))
    assert said is not None
    assert said.startswith("out of memory")
    assert of_the_system(SystemError("bad argument to internal function")) is None
