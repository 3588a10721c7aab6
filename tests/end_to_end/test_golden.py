"""What a release left behind loads and predicts the same in every later one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lstm_cli.config.load import load_config
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runtime import start
from lstm_cli.training.state import TrainState

GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = ("lstm", "gru")
PROGRAM = """
import sys
from lstm_cli.cli import app
golden, out = sys.argv[1:]
for run in ("lstm", "gru"):
    files = [f"{golden}/texts.jsonl", "-o", f"{out}/{run}.jsonl"]
    app(["predict", f"{golden}/{run}", *files, "--probs"], standalone_mode=False)
"""


def test_golden_runs_predict_in_a_fresh_process_what_they_did_when_they_were_made(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(GOLDEN), str(tmp_path)], check=True, capture_output=True
    )
    for run in RUNS:
        then, now = (
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in (GOLDEN / f"{run}.predictions.jsonl", tmp_path / f"{run}.jsonl")
        )
        assert len(then) == len(now) == 31
        for before, after in zip(then, now, strict=True):
            for name in ("text", "unknown"):  # which 0.1 did not write
                after.pop(name, None)
            assert after["probs"] == pytest.approx(before["probs"], abs=1e-5)
            assert after["score"] == pytest.approx(before["score"], abs=1e-5)
            assert {**after, "probs": 0, "score": 0} == {**before, "probs": 0, "score": 0}


def test_the_golden_last_checkpoint_holds_a_training_that_can_go_on() -> None:
    config = load_config(str(GOLDEN / "lstm"))
    runtime = start(config.run)
    last = load_checkpoint(GOLDEN / "lstm" / "checkpoints" / "last")
    task, model = last.load(runtime.device)
    state = TrainState.start(task, config.train, runtime, config.run.seed)
    last.restore(state)
    assert state.progress.epoch == 12
    for name, value in state.scored_model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
