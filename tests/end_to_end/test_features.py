"""A run with n-gram features and adversarial training: what is saved is what was scored, part by part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.config.load import load_config
from lstm_cli.data.sources import load_splits
from lstm_cli.data.text import Text, text_row
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.metrics.calibration import softmax
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring.prediction import predict_store
from lstm_cli.tasks.classify import Classify

BOTH = ("--set", "task.features=ngrams", "--set", "task.adversarial=2")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def trained(small_yaml: str, tmp_path: Path) -> Path:
    run("train", small_yaml, *BOTH, "--no-baselines", "--quiet")
    return tmp_path / "run"


def texts(path: Path) -> list[str]:
    return [line.rpartition(",")[0] for line in path.read_text("utf-8").splitlines()[1:]]


def test_the_parts_are_those_that_are_saved(trained: Path, tmp_path: Path) -> None:
    metrics = json.loads((trained / "eval" / "test" / "metrics.json").read_text("utf-8"))
    rows = lines(trained / "eval" / "test" / "predictions.jsonl")
    targets = np.array([row["target"] == "positive" for row in rows])
    saved = load_checkpoint(trained / "checkpoints" / "best")
    ngrams = Ngrams.from_bytes(saved.files["ngrams.safetensors"], 2)
    beside = ngrams.logits(texts(tmp_path / "test.csv")).astype(np.float64)
    alone = metrics["parts"]["n-grams alone, uncalibrated"]
    assert alone["accuracy"] == (beside.argmax(axis=1) == targets).mean()
    assert alone["log_loss"] == pytest.approx(
        -np.log(softmax(beside)[np.arange(40), targets.astype(int)]).mean()
    )

    runtime = start(RuntimeConfig(device="cpu", threads=1))
    learned, model = saved.load(runtime.device)
    assert isinstance(learned, Classify)
    assert isinstance(model, TextClassifier)
    store = learned.encode_window([text_row(text) for text in texts(tmp_path / "test.csv")])
    network = predict_store(model, learned.uncalibrated, store, runtime)
    assert isinstance(network, np.ndarray)
    probs = np.array([[row["probs"][name] for name in ("negative", "positive")] for row in rows])  # type: ignore[index]
    assert learned.calibrated(model, network, store) == pytest.approx(probs, abs=1e-9)
    assert predict_store(model, learned.outputs, store, runtime) == pytest.approx(probs, abs=1e-9)
    told = metrics["parts"]["network alone, uncalibrated"]
    assert told["log_loss"] == pytest.approx(-np.log(network[np.arange(40), targets.astype(int)]).mean())
    assert told["accuracy"] == (network.argmax(axis=1) == targets).mean()
    page = (trained / "eval" / "test" / "report.md").read_text("utf-8")
    assert f"| n-grams alone, uncalibrated | {alone['accuracy']:.4f} |" in page
    shown = (trained / "eval" / "test" / "report.html").read_text("utf-8")
    assert "N-grams with the largest weights" in shown
    mistakes = (trained / "eval" / "test" / "mistakes.jsonl").read_text("utf-8").splitlines()
    assert shown.count("<summary>why</summary>") == min(len(mistakes), 12)


def test_predictions_and_dev_scores_are_those_of_the_blend(trained: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts(tmp_path / "test.csv")) + "\n", encoding="utf-8")
    predicted = [
        json.loads(line) for line in run("predict", str(trained), str(source), "--probs").stdout.splitlines()
    ]
    for row, told in zip(lines(trained / "eval" / "test" / "predictions.jsonl"), predicted, strict=True):
        assert told["probs"] == pytest.approx(row["probs"], abs=1e-6)
    run("eval", str(trained), "--split", "dev", "--no-baselines", "--quiet")
    dev = json.loads((trained / "eval" / "dev" / "metrics.json").read_text("utf-8"))
    best = next(epoch for epoch in reversed(lines(trained / "metrics.jsonl")) if epoch["best"])
    assert best["dev"].pop("ece") is not None  # type: ignore[attr-defined]
    assert dev["ece"] is None  # dev rows have chosen the calibration
    assert best["dev"] == pytest.approx({name: dev[name] for name in best["dev"]}, abs=1e-6)  # type: ignore[attr-defined]
    run("verify", str(trained), "--quiet")


def test_the_same_bytes_come_out_again(small_yaml: str, trained: Path, tmp_path: Path) -> None:
    def model(folder: Path) -> bytes:
        return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()

    run("train", small_yaml, *BOTH, "--no-baselines", "--quiet", "--run", str(tmp_path / "again"))
    assert model(tmp_path / "again") == model(trained)


def test_a_checkpoint_without_its_features_is_no_checkpoint(trained: Path) -> None:
    shutil.rmtree(trained / "checkpoints" / "best.previous", ignore_errors=True)  # would be used instead
    (trained / "checkpoints" / "best" / "ngrams.safetensors").unlink()
    result = CliRunner().invoke(app, ["eval", str(trained), "--no-baselines"])
    assert result.exit_code == 5
    assert "ngrams.safetensors" in result.stderr


def test_rows_that_are_trained_on_are_not_asked_for_their_features(trained: Path, tmp_path: Path) -> None:
    config = load_config(str(trained))
    task = config.task.fit(load_splits(config.data, 0, content=Text).train)
    rows = load_splits(config.data, 0, content=Text).dev
    assert "ngram_logits" not in task.encode(rows, scored=False).extras
    assert task.encode(rows).extras["ngram_logits"].shape == (40, 2)


def test_a_run_learns_vocabulary_and_ngrams_from_the_training_rows_alone(
    small_yaml: str, tmp_path: Path
) -> None:
    for split in ("dev", "test"):
        source = tmp_path / f"{split}.csv"
        source.write_text(source.read_text("utf-8").replace("word1", "secret"), encoding="utf-8")
    run("train", small_yaml, *BOTH, "--no-baselines", "--quiet")
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "best")
    assert b"secret" not in saved.files["tokenizer.json"]
    rows = list(load_splits(load_config(small_yaml).data, 0, content=Text).train)
    targets = np.array([row.content.label == "positive" for row in rows], np.int64)
    assert (
        saved.files["ngrams.safetensors"]
        == Ngrams.learn([row.content.text for row in rows], targets).to_bytes()
    )
