"""One small trained run with n-grams and a calibration, and its exports, for all tests of this folder."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from tests.conftest import small_rows


def lstmcls(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for name, count, seed in (("train", 120, 0), ("dev", 40, 1), ("test", 40, 2)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("review", "label"), *small_rows(count, seed)])
    (folder / "config.yaml").write_text(
        f"""
data: {{train: {folder}/train.csv, dev: {folder}/dev.csv, test: {folder}/test.csv, text_column: review}}
task:
  tokenizer: {{kind: word, min_count: 1}}
  max_tokens: 20
  encoder: {{embedding_size: 8, hidden_size: 8, num_layers: 2, dropout: 0.1}}
  pooling: attention
  features: ngrams
train: {{epochs: 2, batch_size: 16, learning_rate: 0.01}}
run: {{dir: {folder}/run, threads: 1}}
""",
        encoding="utf-8",
    )
    result = lstmcls("train", folder / "config.yaml", "--no-baselines", "-q")
    patch.undo()
    assert result.exit_code == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def exported(run: Path) -> Path:
    result = lstmcls("export", run, "-o", run.parent / "fp32", "-q")
    assert result.exit_code == 0, result.stderr
    return run.parent / "fp32"


@pytest.fixture(scope="session")
def forward(run: Path) -> Path:
    """The folder of an exported network that reads forward only."""
    folder = run.parent / "forward"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(run.parent / "cache"))
        keys = [
            "task.encoder.bidirectional=false",
            "task.pooling=final",
            "task.features=none",
            "train.epochs=1",
        ]
        options = [word for key in keys for word in ("--set", key)]
        result = lstmcls(
            "train", run.parent / "config.yaml", *options, "--run", folder / "run", "--no-baselines"
        )
        assert result.exit_code == 0, result.stderr
    result = lstmcls("export", folder / "run", "-o", folder / "exported" / "forward")
    assert result.exit_code == 0, result.stderr
    return folder
