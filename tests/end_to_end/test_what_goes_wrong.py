"""A run that something happens to: it is killed, leaves all bounds, finds the disk full, is started twice."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.batch import Batch
from lstm_cli.cli import app
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.tasks.base import Loss
from lstm_cli.tasks.classify import Classify
from scripts import torture

PLAIN = ("--no-baselines", "--set", "train.patience=0")


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", *arguments, *PLAIN])


def test_a_run_that_is_killed_ends_with_the_bytes_of_one_that_ran_through(
    small_yaml: str, tmp_path: Path
) -> None:
    """A few of the kills of scripts/torture.py."""
    text = Path(small_yaml).read_text("utf-8")
    yaml = str(tmp_path / "long.yaml")
    Path(yaml).write_text(
        text.replace("epochs: 3", "epochs: 25, save_every: 3, patience: 0, ema: 0.9"), encoding="utf-8"
    )
    began = time.monotonic()
    subprocess.run(torture.command(yaml, tmp_path / "straight"), check=True)
    seconds = time.monotonic() - began
    # early ones: a machine with less to do than a moment ago would be done before
    got, hit = torture.tortured(yaml, tmp_path, 2, seconds / 2, random.Random(3))
    assert 1 <= sum(hit.values()) <= 2
    assert got == torture.digests(tmp_path / "straight")


def test_a_checkpoint_is_saved_as_often_as_asked(small_yaml: str, tmp_path: Path) -> None:
    saved = []

    def count(best: Path | None, last: Path, *_: object) -> None:
        saved.append(last.name)

    for every, expected in (("5", 6), ("1000s", 3)):  # after steps 5, 8, 13, 16, 21, 24; after 8, 16, 24
        saved.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lstm_cli.commands.training_loop.save", count)
            train(small_yaml, "--set", f"train.save_every={every}", "--run", str(tmp_path / every))
        assert saved == ["last"] * expected


def test_a_signal_in_the_middle_of_an_epoch_saves_the_very_step(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    loss = Classify.loss

    def asked_to_stop(self: Classify, model: object, batch: Batch) -> Loss:
        nonlocal calls
        calls += 1
        if calls == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, model, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Classify, "loss", asked_to_stop)
    result = train(small_yaml)
    assert result.exit_code == 143, result.output
    assert result.stderr.splitlines()[-1].startswith("stopped: saved; to resume: lstmcls train ")
    assert result.stderr.splitlines()[-1].count("stopped") == 1
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last").about["step"] == 5


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Ranges of calls whose loss is NaN."""
    bad: list[range] = []
    calls = 0
    loss = Classify.loss

    def poisoned(self: Classify, model: object, batch: Batch) -> Loss:
        nonlocal calls
        calls += 1
        found = loss(self, model, batch)  # type: ignore[arg-type]
        return Loss(found.total * math.nan, found.count) if any(calls in part for part in bad) else found

    monkeypatch.setattr(Classify, "loss", poisoned)
    return bad


def test_a_training_whose_numbers_leave_all_bounds_goes_back_once(
    small_yaml: str, tmp_path: Path, poison: list[range]
) -> None:
    poison.append(range(11, 15))
    result = train(small_yaml, "--set", "train.max_bad_steps=4", "--set", "train.save_every=5")
    assert result.exit_code == 0, result.output
    assert "going back to the checkpoint of step 8 with half the learning rate (only once" in result.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()) == 3
    assert "went back" in (tmp_path / "run" / "log.txt").read_text("utf-8")


def test_before_the_first_checkpoint_it_goes_back_to_the_beginning_and_the_second_time_it_stops(
    small_yaml: str, tmp_path: Path, poison: list[range]
) -> None:
    poison += [range(3, 7), range(20, 24)]
    result = train(small_yaml, "--set", "train.max_bad_steps=4")
    assert result.exit_code == 1
    assert "going back to the beginning" in result.stderr
    assert "epoch 3, step 17: the loss was NaN or infinite 4 steps in a row" in result.stderr
    assert result.stderr.count("error: ") == 1
    again = train(str(tmp_path / "run"), "--resume")  # from the end of epoch 1, and the poison is drunk
    assert again.exit_code == 0, again.output


def test_a_run_in_use_is_left_alone(small_yaml: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lstm_cli.cli",
        "train",
        small_yaml,
        "--set",
        "train.epochs=5000",
        *PLAIN,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for flag in ([], ["--resume"], ["--overwrite"]):
            result = train(small_yaml, *flag)
            assert result.exit_code == 1
            assert f"another training runs in this folder (process {process.pid})" in result.stderr
        assert (tmp_path / "run" / "metrics.jsonl").exists()
        process.terminate()
        _, said = process.communicate(timeout=300)
    assert process.returncode == 143, said


def test_a_resume_where_no_run_is_starts_one_and_says_so(small_yaml: str, tmp_path: Path) -> None:
    result = train(small_yaml, "--resume")
    assert result.exit_code == 0, result.output
    assert "no checkpoint was saved yet, so the training starts from the beginning" in result.stderr


@pytest.mark.parametrize("left", [("last.new",), ("best",), ("best", "last.new")], ids="+".join)
def test_a_training_whose_first_save_was_cut_off_starts_again(
    small_yaml: str, tmp_path: Path, left: tuple[str, ...]
) -> None:
    train(small_yaml)
    checkpoints = tmp_path / "run" / "checkpoints"
    weights = checkpoints / "last" / "model.safetensors"
    straight = weights.read_bytes()
    (checkpoints / "last" / "manifest.json").unlink()
    (checkpoints / "last").rename(checkpoints / "last.new")
    for name in {"best", "last.new"} - set(left):
        shutil.rmtree(checkpoints / name)
    result = train(small_yaml, "--resume")
    assert result.exit_code == 0, result.output
    assert "no checkpoint was saved yet, so the training starts from the beginning" in result.stderr
    assert weights.read_bytes() == straight


def test_a_pretraining_whose_state_a_finished_training_has_deleted_is_not_resumed(
    small_yaml: str, tmp_path: Path
) -> None:
    train(small_yaml, "--set", "task.encoder.init_from=pretrain")
    result = CliRunner().invoke(app, ["pretrain", str(tmp_path / "run" / "pretrain"), "--resume"])
    assert result.exit_code == 2
    assert "this training is finished" in " ".join(result.stderr.split())


def test_a_model_that_will_not_fit_into_memory_is_announced(
    small_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_cli.commands.training_loop.available_memory", lambda: 1000)
    assert "the largest batch needs about 0.0 GB" in train(small_yaml).stderr


def test_a_full_disk_is_one_line_and_what_was_saved_stays_whole(small_yaml: str, tmp_path: Path) -> None:
    """No file can grow past a limit: what a full disk does, at a size that anyone may set."""
    if sys.platform == "win32":
        pytest.skip("needs a limit to the size of files")
    import resource

    assert train(small_yaml, "--set", "train.epochs=1").exit_code == 0
    run = tmp_path / "run"
    best = (run / "checkpoints" / "best" / "model.safetensors").read_bytes()
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text("utf-8").replace("epochs: 1", "epochs: 3"), encoding="utf-8"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "lstm_cli.cli", "train", str(run), "--resume", "--quiet", *PLAIN],
        capture_output=True,
        text=True,
        env=os.environ,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(best), len(best))),
    )
    assert answer.returncode == 1, answer.stderr
    assert "cannot be written: File too large; what was saved before is intact" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert train(str(run), "--resume").exit_code == 0
