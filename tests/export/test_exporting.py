"""`lstmcls export` writes a whole folder or nothing, and measures what rounding costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_cli
from lstm_cli.commands import export
from lstm_cli.export.measure import Loss
from lstm_cli.exported.model import ExportedModel
from tests.export.conftest import lstmcls

GOLDEN = Path(__file__).parents[1] / "golden"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_int8_and_fewer_ngrams_are_measured_on_dev(run: Path, tmp_path: Path) -> None:
    result = lstmcls("export", run, "-o", tmp_path / "small", "--int8", "--max-ngrams", "10", "--force")
    assert result.exit_code == 0, result.stderr
    assert "on 40 dev rows accuracy was" in result.stderr
    card = (tmp_path / "small" / "README.md").read_text("utf-8")
    assert "the weights are 8-bit numbers and 10 n-grams are kept" in card
    assert "| 40 dev rows | accuracy | log loss |" in card
    manifest = json.loads((tmp_path / "small" / "manifest.json").read_text("utf-8"))
    assert (manifest["weights"], manifest["exact"]) == ("int8", False)
    assert lstmcls("verify", tmp_path / "small").exit_code == 0
    texts = ["good", "word1 bad " * 20, "x"]
    model = lstm_cli.load(tmp_path / "small")
    assert model.predict_proba(texts).tolist() == [model.predict_proba([text])[0].tolist() for text in texts]


def test_the_ngrams_of_the_largest_weights_stay(run: Path, tmp_path: Path) -> None:
    for count in (0, 10, 10**6):
        result = lstmcls("export", run, "-o", tmp_path / str(count), "--max-ngrams", str(count), "--force")
        assert result.exit_code == 0, result.stderr
    manifests = [
        json.loads((tmp_path / count / "manifest.json").read_text("utf-8")) for count in ("10", "1000000")
    ]
    assert [manifest["exact"] for manifest in manifests] == [False, True]


def test_an_export_that_loses_more_than_half_a_point_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "measure", lambda *_: Loss(40, (0.9, 0.89), (0.3, 0.4)))
    result = lstmcls("export", run, "-o", tmp_path / "out", "--int8")
    assert result.exit_code == 4
    assert "falls from 0.9000 to 0.8900" in result.stderr
    assert left(tmp_path) == ["cache"] * (tmp_path / "cache").exists()
    assert lstmcls("export", run, "-o", tmp_path / "out", "--int8", "--force").exit_code == 0


def test_what_cannot_be_measured_is_said(run: Path, tmp_path: Path) -> None:
    missing = f"data.dev={tmp_path}/gone.csv"
    result = lstmcls("export", run, "-o", tmp_path / "out", "--int8", "--set", missing)
    assert result.exit_code == 0, result.stderr
    assert "warning: what this export loses was not measured: the dev rows cannot be read" in result.stderr
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "The loss was not measured: the dev rows cannot be read." in card
    assert str(tmp_path) not in card
    result = lstmcls("export", GOLDEN / "lstm", "-o", tmp_path / "golden", "--int8")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_every_golden_run_can_be_exported(name: str, tmp_path: Path) -> None:
    result = lstmcls("export", GOLDEN / name, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert lstmcls("verify", tmp_path / "out").exit_code == 0


def test_a_wrong_export_is_never_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = ExportedModel.logits
    off = np.array([0.1, 0.0])
    monkeypatch.setattr(ExportedModel, "logits", lambda self, tokens: logits(self, tokens) + off)
    result = lstmcls("export", run, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "does not predict as the run does" in result.stderr
    assert left(tmp_path) == ["cache"] * (tmp_path / "cache").exists()


def test_a_folder_that_is_not_empty_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", "utf-8")
    (tmp_path / "file").write_text("mine", "utf-8")
    (tmp_path / "empty").mkdir()
    for name, said in {"full": "not empty", "file": "not a folder", "full/..": "name a new folder"}.items():
        result = lstmcls("export", run, "-o", f"{tmp_path}/{name}")
        assert result.exit_code == 2
        assert said in result.stderr
    assert left(tmp_path / "full") == ["mine.txt"]
    assert lstmcls("export", run, "-o", tmp_path / "empty").exit_code == 0


def test_what_cannot_be_exported_is_named(run: Path, exported: Path, tmp_path: Path) -> None:
    wrong: dict[str, tuple[list[Any], int]] = {
        "exported folder already": ([exported], 2),
        "no such run, config or preset": ([tmp_path / "nothing"], 2),
        "has no n-grams": ([GOLDEN / "lstm", "--max-ngrams", "3"], 2),
    }
    for said, (arguments, code) in wrong.items():
        result = lstmcls("export", *arguments, "-o", tmp_path / "out")
        assert result.exit_code == code, result.stderr
        assert said in result.stderr
        assert not (tmp_path / "out").exists()


def test_other_commands_say_what_an_exported_folder_is_for(exported: Path) -> None:
    for command in ("train", "eval"):
        result = lstmcls(command, exported)
        assert result.exit_code == 2
        assert "an exported folder, which only predict and verify take" in result.stderr


def test_without_onnx_the_extra_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [
        name for name in sys.modules if name.startswith(("lstm_cli.export.", "lstm_cli.commands.export"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = lstmcls("export", run, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "needs onnx, which is not installed; try pip install 'lstmcls[export]'" in result.stderr
