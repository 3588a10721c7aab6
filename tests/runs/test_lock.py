"""A lock names its holder, ends with it, and is never taken through a link."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_cli.errors import ConfigError, LstmclsError, StorageError
from lstm_cli.runs import lock as lock_module
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.lock import locked, sole_writer

HOLDS_IT = """
import sys, time
from pathlib import Path
from lstm_cli.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def refused(folder: Path) -> str:
    with pytest.raises(LstmclsError) as fault, locked(folder):
        pass
    return str(fault.value)


def test_whoever_comes_second_is_told_the_holders_number_however_often_they_ask(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_IT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        said = [refused(tmp_path) for _ in range(3)]
        process.kill()
    assert set(said) == {
        f"{tmp_path}: another training runs in this folder (process {process.pid}); "
        f"wait for it, stop it, or try --run another-folder"
    }
    with locked(tmp_path):  # a dead process leaves no lock behind, and its number no trace
        assert f"process {os.getpid()})" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"123", b"\0process 12", b"\0process 12a\n", b"\xff" * 60])
def test_a_holder_that_did_not_sign_is_unknown(tmp_path: Path, content: bytes) -> None:
    with locked(tmp_path):
        (tmp_path / ".lock").write_bytes(content)
        assert "(process unknown)" in refused(tmp_path)


def test_a_start_that_failed_on_its_data_leaves_a_folder_that_can_be_started_in(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            RunFolder.create(tmp_path, "train: {}\n", overwrite=False)
    assert {file.name for file in tmp_path.iterdir()} == {".lock", "config.yaml"}


def test_a_pipe_in_the_place_of_the_lock_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / ".lock")
    program = HOLDS_IT.replace("time.sleep(600)", "")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ".lock: a pipe or a device in the run's folder" in done.stderr


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "thesis.tex", tmp_path / "run"
    elsewhere.write_bytes(b"years of work")
    folder.mkdir()
    (folder / "config.yaml").write_bytes(b"train: {}\n")
    (folder / ".lock").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="a link in the run's folder"), locked(folder):
        pass
    assert elsewhere.read_bytes() == b"years of work"


def test_a_link_planted_after_the_folder_was_searched_for_links_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, folder = tmp_path / "thesis.tex", tmp_path / "run"
    elsewhere.write_bytes(b"years of work")
    folder.mkdir()
    (folder / ".lock").symlink_to(elsewhere)
    monkeypatch.setattr(lock_module, "odd_entry", lambda folder: None)
    with pytest.raises(StorageError, match=r"\.lock: cannot be written"), locked(folder):
        pass
    assert elsewhere.read_bytes() == b"years of work"


def test_a_name_with_braces_is_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "{process}"
    with locked(folder):
        assert refused(folder).startswith(f"{folder}: another training")


def test_a_disk_without_room_for_the_holders_number_leaves_no_empty_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for lock in (sole_writer(tmp_path / ".out.csv.part.lock", tmp_path / "out.csv"), locked(tmp_path)):
        with pytest.raises(StorageError, match="No space left"), lock:
            pass
    assert list(tmp_path.iterdir()) == []
