"""Linux, Windows and macOS; CPUs and GPUs: what is missing there is not missed."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lstm_cli
from lstm_cli.cli import app
from tests.stand_in_device import DEVICE, standing_in

ON_WINDOWS = """
import importlib, json, sys, traceback
from tests.foreign_system import become_windows

become_windows()
modules, commands = json.loads(sys.argv[1])
for module in modules:
    importlib.import_module(module)

from typer.testing import CliRunner
from lstm_cli.cli import app

for command in commands:
    result = CliRunner().invoke(app, command)
    if result.exit_code:
        print(command, result.output, file=sys.stderr)
        if result.exc_info:
            traceback.print_exception(*result.exc_info)
        sys.exit(1)
"""
MODULES = [module.name for module in pkgutil.walk_packages(lstm_cli.__path__, "lstm_cli.")]
LOSSES = ["--set", "task.features=ngrams", "--set", "task.adversarial=5", "--set", "train.ema=0.9"]


def on_windows(modules: Sequence[str], commands: Sequence[Sequence[str]]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", ON_WINDOWS, json.dumps([modules, commands])],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing says which files are open")
def test_without_fcntl_and_sighup_and_with_files_that_cannot_be_moved_while_open_every_command_runs(
    small_yaml: str, tmp_path: Path
) -> None:
    run, rows, output = (str(tmp_path / name) for name in ("run", "test.csv", "out.jsonl"))
    train = ["train", small_yaml, "--quiet", "--set", "train.epochs=1"]
    on_windows(
        MODULES,
        [
            [*train, "--set", "task.encoder.init_from=pretrain", "--set", "task.features=ngrams"],
            ["train", run, "--quiet", "--resume"],
            [*train, "--overwrite", "--no-baselines"],
            [*train, "--seeds", "2", "--run", f"{run}s", "--no-baselines"],
            ["eval", run, "--quiet"],
            ["eval", run, "--quiet"],
            ["predict", run, rows, "--quiet", "-o", output],
            ["predict", run, rows, "--quiet", "-o", output],
            ["verify", run, "--quiet"],
            ["check", small_yaml],
        ],
    )
    assert {path.name for path in tmp_path.iterdir()} >= {"run", "runs", "out.jsonl"}
    assert not list(tmp_path.rglob(".*.lock"))
    assert not list(tmp_path.rglob(".lock"))
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("extra", [LOSSES, ["--set", "task.encoder.init_from=pretrain"]])
def test_nothing_is_float64_on_the_device_which_apples_gpus_do_not_know(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    short = ["--quiet", "--set", "train.epochs=1", *extra]
    monkeypatch.setattr("lstm_cli.runtime._device", lambda asked: (DEVICE, "asked for"))
    for module in map(importlib.import_module, MODULES):
        for table in vars(module).values():
            if isinstance(table, dict) and "mps" in table:  # what is chosen by the name of the device
                monkeypatch.setitem(table, DEVICE.type, table["mps"])
    with standing_in(monkeypatch) as found:
        for command in (
            ["train", small_yaml, *short],
            ["predict", str(tmp_path / "run"), str(tmp_path / "test.csv"), "--quiet"],
            ["verify", str(tmp_path / "run"), "--quiet"],
        ):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.output
    assert not found, "float64 on the device: take the tensor to the CPU first\n" + "\n".join(sorted(found))
