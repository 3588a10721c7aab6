"""A model in Python gives the numbers of the command, in every thread, and leaves the process as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lstm_cli
from lstm_cli import runtime
from lstm_cli.cli import app
from lstm_cli.nn.cpu import get_num_threads
from tests.conftest import small_rows

TEXTS = [text for text, _ in small_rows(300, seed=3)] + ["", "xyzzy", "fine 🙂", "好"]


def settings() -> tuple[Any, ...]:
    """Everything of the process that a training or a prediction sets."""
    return (
        torch.get_num_threads(),
        get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        bool(np.float64(2.3e-308) / 4 == 0),
        torch.get_rng_state().tolist(),
    )


def test_the_probabilities_are_those_of_the_command_to_the_last_bit(
    run: lstm_cli.Run, tmp_path: Path
) -> None:
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), "utf-8")
    result = CliRunner().invoke(app, ["predict", str(run.path), str(tmp_path / "texts.jsonl"), "--probs"])
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    model = lstm_cli.load(run.path, threads=1)
    probs = model.predict_proba(TEXTS)
    assert probs.tolist() == [[row["probs"][name] for name in model.classes_] for row in rows]
    assert model.predict(TEXTS) == [row["label"] for row in rows]


def test_a_checkpoint_and_the_run_of_it_are_one_model(run: lstm_cli.Run) -> None:
    expected = run.predictor(threads=1).predict_proba(TEXTS)
    assert (
        lstm_cli.load(run.path / "checkpoints" / "best", threads=1).predict_proba(TEXTS) == expected
    ).all()
    assert lstm_cli.load(run.path, checkpoint="last").predict(["fine"])


def test_the_models_of_a_group_are_averaged(config: str, tmp_path: Path) -> None:
    arguments = ["train", config, "--seeds", "2", "--run", str(tmp_path / "two"), "--no-baselines", "--quiet"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    each = [lstm_cli.load(tmp_path / "two" / f"seed-{seed}").predict_proba(TEXTS) for seed in (0, 1)]
    assert np.allclose(
        lstm_cli.load(tmp_path / "two").predict_proba(TEXTS), (each[0] + each[1]) / 2, atol=1e-12
    )


def test_no_text_gives_no_row(run: lstm_cli.Run) -> None:
    assert run.predictor().predict_proba([]).shape == (0, 2)
    assert run.predictor().predict(iter(())) == []


@pytest.mark.parametrize(
    ("texts", "fault", "said"),
    [
        ("one text", TypeError, r"texts: must be a list of texts, got one str; try \[text\]"),
        (b"bytes", TypeError, "got one bytes"),
        (["fine", None], TypeError, r"texts\[1\]: must be a str, got NoneType"),
        (["fine", float("nan")], TypeError, r"texts\[1\]: must be a str, got float \(nan\)"),
        (["a \ud800"], ValueError, r"half a character .* character 3 of texts\[0\]"),
    ],
)
def test_what_is_no_text_is_named(run: lstm_cli.Run, texts: Any, fault: type[Exception], said: str) -> None:
    with pytest.raises(fault, match=said):
        run.predictor().predict(texts)


def test_what_cannot_be_loaded_is_said(tmp_path: Path, run: lstm_cli.Run) -> None:
    with pytest.raises(lstm_cli.CheckpointError, match="no such folder"):
        lstm_cli.load(tmp_path / "nothing")
    with pytest.raises(lstm_cli.ConfigError, match=r"without config\.yaml"):
        lstm_cli.load(tmp_path)
    with pytest.raises(lstm_cli.ConfigError, match="device: must be one of auto, cpu, cuda, mps, got 'gpu'"):
        lstm_cli.load(run.path, device="gpu")  # type: ignore[arg-type]
    with pytest.raises(lstm_cli.ConfigError, match="threads: must be a whole number from 0 to 4096, got -1"):
        lstm_cli.load(run.path, threads=-1)


def test_neither_import_nor_load_nor_prediction_changes_a_setting_of_the_process(run: lstm_cli.Run) -> None:
    torch.set_flush_denormal(False)
    try:
        before = settings()
        model = lstm_cli.load(run.path, threads=4)
        assert settings() == before
        model.predict(TEXTS)
        assert settings() == before
        with pytest.raises(TypeError):
            model.predict([1])  # type: ignore[list-item]
        assert settings() == before
    finally:
        torch.set_flush_denormal(True)


def test_inside_a_call_the_settings_are_those_of_the_command() -> None:
    with runtime.borrowed(runtime.RuntimeConfig(threads=2), trains=False):
        assert torch.are_deterministic_algorithms_enabled()
        assert get_num_threads() == 2
        assert np.float64(2.3e-308) / 4 == 0


def test_threads_that_share_a_model_get_the_same_numbers(run: lstm_cli.Run) -> None:
    model = run.predictor(threads=2)
    parts = [TEXTS[i : i + 40] for i in range(0, len(TEXTS), 40)]
    alone = [model.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.predict_proba, parts * 3))
    assert all((a == b).all() for a, b in zip(alone * 3, together, strict=True))


def test_the_import_needs_no_torch_and_names_what_it_promises() -> None:
    code = (
        "import sys, lstm_cli; assert 'torch' not in sys.modules and 'sklearn' not in sys.modules; "
        "assert set(lstm_cli.__all__) <= set(dir(lstm_cli)); lstm_cli.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "AttributeError: module 'lstm_cli' has no attribute 'nothing'"
    for name in lstm_cli.__all__:
        assert getattr(lstm_cli, name).__doc__
