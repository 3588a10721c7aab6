"""One model trained by two processes that torchrun's engine starts."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from lstm_cli.cli import app
from tests.conftest import small_rows

_START = "import sys; from lstm_cli.commands.processes import run_in_processes as run; sys.exit(run(2, sys.argv[1:]))"
_LAST = "checkpoints/last/model.safetensors"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its processes in /proc")


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _START, "train", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("processes") / "config.yaml"
    with path.with_name("train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *small_rows(600, 0)])
    path.write_text(
        f"""
data: {{train: {path.with_name("train.csv")}, dev: 0.1}}
task:
  tokenizer: {{kind: word, min_count: 1}}
  max_tokens: 30
  dropout: 0
  encoder: {{embedding_size: 8, hidden_size: 8, embedding_dropout: 0, word_dropout: 0}}
train: {{epochs: 4, batch_size: 16, ema: 0.9, save_every: 5}}
run: {{threads: 1, precision: fp32}}
""",
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture(scope="module")
def straight(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    code, said = ended(started(config, "--run", str(folder), "--no-baselines"))
    assert code == 0, said
    assert said.count("the model is in") == 1, said  # the second process is silent
    return folder


def test_two_processes_learn_the_weights_of_one_with_batches_of_both(
    config: str, straight: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    options = ("--run", str(alone), "--set", "train.accumulate=2", "--no-baselines")
    assert CliRunner().invoke(app, ["train", config, *options]).exit_code == 0
    ours, theirs = load_file(straight / _LAST), load_file(alone / _LAST)
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-6, err_msg=name)


def test_if_one_process_is_killed_all_end_and_the_resumed_run_ends_with_the_same_bytes(
    config: str, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = started(config, "--run", str(folder), "--no-baselines")
    deadline = time.monotonic() + 60
    while not (folder / _LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(_second_process_of(process.pid), 9)
    code, said = ended(process)
    assert code == 1
    assert "error: a process was killed (SIGKILL), so all are stopped" in said
    assert "Traceback" not in said
    code, said = ended(started(config, "--run", str(folder), "--no-baselines", "--resume"))
    assert code == 0, said
    for name in ("best/model", "last/model", "last/training"):
        path = f"checkpoints/{name}.safetensors"
        assert (folder / path).read_bytes() == (straight / path).read_bytes(), name


def _second_process_of(launcher: int) -> int:
    """The process with RANK=1 that the launcher has started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != launcher:
            try:
                environment = (entry / "environ").read_bytes()
                parent = int((entry / "stat").read_text("ascii").rpartition(") ")[2].split()[1])
            except OSError:
                continue
            if parent == launcher and b"\0RANK=1\0" in environment:
                return int(entry.name)
    raise AssertionError("the second process was not found")
