"""A run's folder: claimed once, never emptied by accident, its record whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_cli.errors import CheckpointError, ConfigError, LstmclsError
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.lock import locked


def test_a_new_run_has_its_config_first(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "run"):
        run = RunFolder.create(tmp_path / "a" / "run", "train: {}\n", overwrite=False)
    assert run.config.read_text("utf-8") == "train: {}\n"
    assert RunFolder.open(run.path) == run


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "notes.txt"])
def test_a_folder_with_anything_of_value_is_refused(tmp_path: Path, name: str) -> None:
    run = RunFolder.create(tmp_path, "a", overwrite=False)
    (run.path / name).mkdir()
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder.create(run.path, "b", overwrite=False)
    assert run.config.read_text("utf-8") == "a"
    RunFolder.create(run.path, "b", overwrite=True)
    assert not (run.path / name).exists()
    assert run.config.read_text("utf-8") == "b"


def test_what_is_no_run_is_never_deleted_and_nothing_is_put_into_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a run's folder"), locked(tmp_path):
        pass
    with (
        pytest.raises(ConfigError, match="is a file, and the run needs a folder"),
        locked(tmp_path / "thesis.tex"),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(CheckpointError, match="no run here"):
        RunFolder.open(tmp_path)


def test_what_a_killed_start_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.tmp").write_text("da", encoding="utf-8")
    with locked(tmp_path):
        assert RunFolder.create(tmp_path, "a", overwrite=False).config.read_text("utf-8") == "a"


def test_one_process_trains_in_a_folder_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from lstm_cli.runs.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(LstmclsError, match=f"another training runs .*process {process.pid}"),
            locked(tmp_path),
        ):
            pass
        process.kill()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text("ascii") == f"\0process {os.getpid()}\n"


def epoch(number: int) -> dict[str, object]:
    return {
        "epoch": number,
        "train_loss": 0.5,
        "dev": {"log_loss": 0.5},
        "best": True,
        "seconds": 3,
        "dev_seconds": 0.5,
    }


def test_epochs_after_the_checkpoint_are_forgotten_and_a_half_line_too(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a", overwrite=False)
    assert run.records() == []
    for number in (1, 2, 3):
        run.record(epoch(number))
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "tr')
    assert run.records() == [epoch(1), epoch(2), epoch(3)]
    run.keep_records(2)
    assert run.metrics.read_text("utf-8") == f"{json.dumps(epoch(1))}\n{json.dumps(epoch(2))}\n"
    run.keep_records(0)
    assert run.records() == []


@pytest.mark.parametrize(
    "line",
    [
        "7",
        "[]",
        '{"epoch": 2}',
        '{"epoch": "2", "train_loss": 1, "dev": {"log_loss": 1}}',
        '{"epoch": 2, "train_loss": 1, "dev": {"log_loss": "x"}}',
        '{"epoch": 2, "train_loss": 1, "dev": {"log_loss": 1}, "seconds": "long"}',
        "[" * 100_000,
    ],
)
def test_what_no_epoch_has_written_is_not_read(tmp_path: Path, line: str) -> None:
    run = RunFolder.create(tmp_path, "a", overwrite=False)
    run.record(epoch(1))
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert run.records() == [epoch(1)]
    assert run.seconds() == 3.5


def test_the_environment_says_versions_machine_and_what_it_is_told(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a", overwrite=False)
    assert run.read_environment() == {}
    run.write_environment({"seed": 7})
    content = json.loads(run.environment.read_text("utf-8"))
    assert content["seed"] == 7
    assert content["versions"]["torch"] != "not installed"
    assert run.read_environment() == content
