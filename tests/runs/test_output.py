"""A file appears when it is complete; one that was interrupted is resumed, or refused."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lstm_cli.data.text import text_row
from lstm_cli.errors import ConfigError, DataError, Interrupted, LstmclsError, StorageError
from lstm_cli.runs.output import PartialOutput, partial_output

WINDOWS = ['a\n"b\nc"\n', "d\n", 'ééé\n"\n\n"\n', "", "e\n"]
WHOLE = "".join(WINDOWS).encode()
INPUTS = {"input": "one", "top_k": 1}


def write_on(output: Path, inputs: dict[str, Any] | None = INPUTS, *, resume: bool = True) -> int:
    """Write what is missing of `WINDOWS`, one row each; the number of windows that were kept."""
    with partial_output(output, inputs, resume=resume) as target:
        kept = target.done.rows
        for window in WINDOWS[kept:]:
            target.stream.write(window)
            target.done.count(text_row(window, None, "in", target.done.rows + 1))
            target.keep()
    return kept


class Killed(BaseException):
    """The process is gone: what it would have cleaned up stays."""


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """The files beside OUT at every moment of a writing: before and after everything that reaches the disk."""
    seen: list[dict[str, bytes]] = []

    def watched(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            seen.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
            result = function(*arguments, **options)
            seen.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched(os.fsync))
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, watched(getattr(Path, name)))
        write_on(tmp_path / "out")
    return seen


def test_a_crash_at_any_moment_and_byte_costs_no_row_and_repeats_none(
    moments: list[dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # half of the time, and nothing is cut here
    output, part = tmp_path / "out", ".out.part"
    kept = []
    for files in moments:
        lengths = range(len(files[part]) + 1) if part in files else [0]
        recorded = json.loads(files[f"{part}.json"])["done"]["bytes"] if f"{part}.json" in files else 0
        for length in lengths:
            if length < recorded:  # what a record speaks of was on the disk before it
                continue
            for path in tmp_path.iterdir():
                path.unlink()
            for name, content in files.items():
                (tmp_path / name).write_bytes(content[:length] if name == part else content)
            finished = output.exists()
            kept.append(write_on(output))
            assert not (finished and kept[-1])
            assert output.read_bytes() == WHOLE
            assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert set(kept) == set(range(len(WINDOWS) + 1))


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """OUT after two windows, with half of a third."""

    def be_killed(target: PartialOutput) -> None:
        for window in WINDOWS[:2]:
            target.stream.write(window)
            target.done.count(text_row(window, None, "in", 1, error="broken" if window == "d\n" else None))
            target.keep()
        target.stream.write(WINDOWS[2][:3])
        raise Killed

    with pytest.raises(Killed), partial_output(tmp_path / "out", INPUTS, resume=False) as target:
        be_killed(target)
    return tmp_path / "out"


def test_without_resume_it_is_begun_anew(stopped: Path) -> None:
    assert write_on(stopped, resume=False) == 0
    assert stopped.read_bytes() == WHOLE


def test_a_record_never_speaks_of_a_part_that_was_begun_anew(stopped: Path) -> None:
    with partial_output(stopped, {"input": "another"}, resume=False) as target:
        target.stream.write("x" * 100)
        target.stream.flush()  # killed here, the old record would make 2 rows of it
        assert not stopped.with_name(".out.part.json").exists()


def test_rows_that_could_not_be_read_are_counted_over_all_starts(stopped: Path) -> None:
    with partial_output(stopped, INPUTS, resume=True) as target:
        target.done.count(text_row("", None, "in", 9, error="broken too"))
        assert (target.done.rows, target.done.num_errors) == (3, 2)
        assert target.done.first_error == "in:1: broken"


def test_what_was_computed_from_other_inputs_is_refused_with_the_difference_and_stays(stopped: Path) -> None:
    with pytest.raises(ConfigError, match=r"top_k: was 1, is 3\nnew: was None, is x\n") as fault:
        write_on(stopped, {"input": "one", "top_k": 3, "new": "x"})
    assert "input:" not in str(fault.value)
    assert write_on(stopped) == 2
    assert stopped.read_bytes() == WHOLE


@pytest.mark.parametrize(
    "record", [b"", b"{", b"[]", b'{"made_from": {}, "done": {"rows": 1, "lines": 2}}', None]
)
def test_a_record_that_says_nothing_is_begun_anew_after(stopped: Path, record: bytes | None) -> None:
    path = stopped.with_name(".out.part.json")
    path.unlink() if record is None else path.write_bytes(record)
    assert write_on(stopped) == 0
    assert stopped.read_bytes() == WHOLE


def test_a_part_shorter_than_its_record_says_is_begun_anew(stopped: Path) -> None:
    os.truncate(stopped.with_name(".out.part"), 3)
    assert write_on(stopped) == 0
    assert stopped.read_bytes() == WHOLE


def test_two_writers_of_one_file_are_never_mixed(stopped: Path) -> None:
    with partial_output(stopped, INPUTS, resume=True) as target:
        for resume in (True, False):
            with pytest.raises(LstmclsError, match="another process is writing it"):
                write_on(stopped, resume=resume)
        for window in WINDOWS[2:]:
            target.stream.write(window)
    assert stopped.read_bytes() == WHOLE


def test_a_lock_whose_file_is_gone_by_then_guards_nothing_and_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl: Any = pytest.importorskip("fcntl", reason="Windows deletes no open file")
    output, lock, flock = tmp_path / "out", tmp_path / ".out.part.lock", fcntl.flock
    guarded: list[bool] = []

    def finish_first(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()  # by the process that held it, between the second's opening and its locking
        output.write_bytes(b"the first's")
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with suppress(LstmclsError), partial_output(output, INPUTS, resume=False):
        guarded.append(lock.exists())
    assert all(guarded)
    assert fcntl.flock is flock


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    elsewhere, output = tmp_path / "thesis.tex", tmp_path / "folder" / "out"
    elsewhere.write_bytes(b"years of work")
    output.parent.mkdir()
    output.with_name(".out.part.lock").symlink_to(elsewhere)
    with pytest.raises(StorageError, match=r"\.out\.part\.lock: cannot be written"):
        write_on(output)
    assert elsewhere.read_bytes() == b"years of work"


def test_a_link_in_the_place_of_the_part_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    (tmp_path / ".out.part").symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="a link in the place of the part"):
        write_on(tmp_path / "out")
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", ".out.part"}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_on(tmp_path / "typo" / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "inputs", "stays"),
    [
        (DataError("in:3: broken"), INPUTS, False),
        (Interrupted(15, "stopped"), INPUTS, True),
        (KeyboardInterrupt(), INPUTS, True),
        (OSError(28, "No space left on device"), INPUTS, True),
        (Interrupted(15, "stopped"), None, False),
        (OSError(28, "No space left on device"), None, False),
    ],
)
def test_a_part_stays_only_where_it_can_be_gone_on_with(
    tmp_path: Path, fault: BaseException, inputs: dict[str, Any] | None, stays: bool
) -> None:
    def stop(target: PartialOutput) -> None:
        target.stream.write(WINDOWS[0])
        target.keep()
        raise fault

    with pytest.raises(type(fault)), partial_output(tmp_path / "out", inputs, resume=False) as target:
        stop(target)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({".out.part", ".out.part.json"} if stays else set())  # and no lock's file
