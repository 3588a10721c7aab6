"""`lstm_cli.train` is `lstmcls train`: the same bytes, the same errors, and Ctrl-C that loses nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

import lstm_cli
from lstm_cli.cli import app
from lstm_cli.commands import training_loop
from tests.api.test_predictor import settings

BEST = Path("checkpoints", "best", "model.safetensors")


def test_a_training_gives_the_bytes_of_the_command_and_changes_no_setting(
    config: str, run: lstm_cli.Run, tmp_path: Path
) -> None:
    torch.set_flush_denormal(False)
    try:
        before = settings()
        content = yaml.safe_load(Path(config).read_text("utf-8"))
        mine = lstm_cli.train(content, run=tmp_path / "mine", baselines=False, quiet=True)
        assert settings() == before
    finally:
        torch.set_flush_denormal(True)
    theirs = ["train", config, "--run", str(tmp_path / "theirs"), "--no-baselines", "--quiet"]
    assert CliRunner().invoke(app, theirs).exit_code == 0
    weights = (tmp_path / "theirs" / BEST).read_bytes()
    assert (mine.path / BEST).read_bytes() == weights == (run.path / BEST).read_bytes()
    assert mine.metrics["accuracy"] == run.metrics["accuracy"]
    assert mine.metrics["split"] == "dev"
    assert mine.predictor(threads=1).predict(["fine"]) == run.predictor(threads=1).predict(["fine"])


def test_keys_are_given_with_two_underscores_and_checked(config: str, tmp_path: Path) -> None:
    longer = lstm_cli.train(config, run=tmp_path, baselines=False, quiet=True, train__epochs=2, run__seed=7)
    assert len((longer.path / "metrics.jsonl").read_text("utf-8").splitlines()) == 2
    with pytest.raises(lstm_cli.ConfigError, match=r'train\.epoch: unknown key.* Did you mean "epochs"'):
        lstm_cli.train(config, train__epoch=2)
    with pytest.raises(lstm_cli.ConfigError, match="is not empty"):
        lstm_cli.train(config, run=tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": {"train": object()}}, "must hold text, numbers, lists and mappings only"),
        ({"train": {"epochs": 1}}, "data"),
        ("nothing.yaml", "no such config"),
    ],
)
def test_a_wrong_config_is_said(given: Any, said: str) -> None:
    with pytest.raises(lstm_cli.ConfigError, match=said):
        lstm_cli.train(given)


def test_ctrl_c_is_a_keyboard_interrupt_that_can_be_resumed(
    config: str, run: lstm_cli.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_step = training_loop.SaveClock.count_step

    def interrupted(clock: training_loop.SaveClock) -> None:
        count_step(clock)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(training_loop.SaveClock, "count_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="saved; to resume"):
            lstm_cli.train(config, run=tmp_path / "mine", baselines=False, quiet=True)
    again = lstm_cli.train(config, run=tmp_path / "mine", baselines=False, quiet=True, resume=True)
    assert (again.path / BEST).read_bytes() == (run.path / BEST).read_bytes()
