"""A folder is replaced as a whole, whoever else replaces it and whenever a process is killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from lstm_cli.errors import StorageError
from lstm_cli.runs.swap import read_together, replaced_folder, settled
from scripts.torture_eval import digests, torture

FILES = ["metrics.json", "report.md", "plots/confusion.png"]
WRITER = """
import sys
from pathlib import Path
from lstm_cli.runs.swap import replaced_folder
for _ in range(5):
    with replaced_folder(Path(sys.argv[1]), lambda said: None) as new:
        (new / "plots").mkdir()
        for file in sys.argv[3:]:
            (new / file).write_text(f"{sys.argv[2]} {file}", encoding="utf-8")
"""


def silent(said: str) -> None:
    """Say nothing."""


def replace(folder: Path, name: str) -> None:
    with replaced_folder(folder, silent) as new:
        (new / "plots").mkdir()
        for file in FILES:
            (new / file).write_text(f"{name} {file}", encoding="utf-8")


def content_of(folder: Path) -> str:
    """The name with which `replace` has written every file."""
    (name,) = {(folder / file).read_text(encoding="utf-8").split()[0] for file in FILES}
    return name


def test_the_new_folder_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        replace(tmp_path / "eval" / "test", name)
        assert content_of(tmp_path / "eval" / "test") == name
        assert [path.name for path in (tmp_path / "eval").iterdir()] == ["test"]


def test_after_an_error_the_old_folder_stands(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    replace(folder, "one")

    def fail(new: Path) -> None:
        (new / "metrics.json").write_text("half", encoding="utf-8")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), replaced_folder(folder, silent) as new:
        fail(new)
    assert content_of(folder) == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


class Killed(BaseException):
    """The process is gone: what it would have cleaned up stays."""


def test_a_kill_before_or_after_any_step_leaves_the_old_folder_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def copy() -> None:
        state = tmp_path / f"state-{len(seen)}"
        shutil.copytree(tmp_path / "eval", state)
        seen.append(state)

    rename, fsync = Path.rename, os.fsync

    def watched_rename(self: Path, target: Path) -> Path:
        copy()
        moved = rename(self, target)
        copy()
        return moved

    def watched_fsync(handle: int) -> None:
        fsync(handle)
        copy()

    replace(tmp_path / "eval" / "test", "one")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", watched_rename)
        patch.setattr(os, "fsync", watched_fsync)
        replace(tmp_path / "eval" / "test", "two")
    found: Counter[str] = Counter()
    between = 0
    for state in seen:
        between += not (state / "test").exists()
        writer = tmp_path / "writer"
        shutil.copytree(state, writer)
        for file, expected in zip(
            FILES, read_together(state / "test", dict.fromkeys(FILES, 100)), strict=True
        ):
            assert (settled(state / "test") / file).read_bytes() == expected
        found[content_of(state / "test")] += 1
        replace(writer / "test", "three")
        assert content_of(writer / "test") == "three"
        assert [path.name for path in writer.iterdir()] == ["test"]
        shutil.rmtree(writer)
    assert found.keys() == {"one", "two"}
    assert between > 0


def test_a_second_writer_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    folder, said = tmp_path / "test", []
    waits = threading.Event()

    def second() -> None:
        def say(message: str) -> None:
            said.append(message)
            waits.set()

        with replaced_folder(folder, say) as new:
            (new / "who").write_text("second", encoding="utf-8")

    thread = threading.Thread(target=second)
    with replaced_folder(folder, silent) as new:
        thread.start()
        assert waits.wait(30)
        (new / "who").write_text("first", encoding="utf-8")
    thread.join(30)
    assert said == [f"{folder}: another process is writing it (process {os.getpid()}); waiting for it"]
    assert (folder / "who").read_text(encoding="utf-8") == "second"


def test_a_disk_without_room_leaves_the_old_folder_and_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "test"
    replace(folder, "one")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"test: cannot be written: No space left"):
        replace(folder, "two")
    assert content_of(folder) == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_two_writers_at_once_killed_at_random_leave_one_or_the_other(tmp_path: Path) -> None:
    """`scripts/torture_eval.py` does the same 200 times, with whole evaluations."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("needs SIGKILL")
    folder = tmp_path / "eval" / "test"
    expected = {}
    for name in ("one", "two"):
        replace(folder, name)
        expected[name] = digests(folder)

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name, *FILES])

    starts = [partial(start, name) for name in expected]
    outcome = torture(starts, folder, expected, seconds=0.5, rounds=20, rng=random.Random(0))
    assert outcome.mixed == 0
    assert outcome.killed > 0
    assert sum(outcome.found.values()) == 20
    replace(folder, "one")
    assert [path.name for path in folder.parent.iterdir()] == ["test"]
