"""`lstmcls verify` passes a good run, names what is wrong with a bad one, and touches neither."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run whose rows can be read."""
    monkeypatch.chdir(ROOT)  # the config names its files from there
    return Path(shutil.copytree(ROOT / "tests" / "golden" / "lstm", tmp_path / "run"))


def verify(run: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", str(run), "--json", *arguments])


def results(result: Result) -> dict[str, Any]:
    return {check["name"]: check["result"] for check in json.loads(result.stdout)["checks"]}


def files(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def hash_anew(folder: Path) -> None:
    """Make the manifest of a checkpoint fit its files, whatever they are."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest.pop("sha256")
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def flip_bit(run: Path, bit: int, *, hashed_anew: bool) -> None:
    """Flip a bit of the last weight of `best`, and with `hashed_anew` hide it from the manifest."""
    folder = run / "checkpoints" / "best"
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-4 + bit // 8] ^= 1 << bit % 8
    (folder / "model.safetensors").write_bytes(weights)
    if hashed_anew:
        hash_anew(folder)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_good_run_passes_and_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(ROOT)
    golden = Path("tests/golden") / name
    before = files(golden)
    result = verify(golden)
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["ok"] is True
    assert said["checkpoint"].startswith("best, epoch ")
    skipped = {"stored answers of dev"} | ({"files of last"} if name == "gru" else set())
    assert {check["name"] for check in said["checks"] if check["result"] != "ok"} == skipped
    assert len(said["checks"]) == 11
    compared = [check["difference"] for check in said["checks"] if check["difference"] is not None]
    assert len(compared) == 8
    assert max(compared) < 1e-6
    assert "no output may differ by more than 1e-05" in result.stderr
    assert "skipped: stored answers of dev: this split was never scored" in result.stderr
    assert files(golden) == before
    assert CliRunner().invoke(app, ["verify", str(golden), "--quiet"]).output == ""


@pytest.mark.parametrize("bit", [26, 0], ids=["that changes answers", "that changes none by much"])
def test_a_flipped_bit_that_the_manifest_does_not_show_is_found_by_the_stored_answers(
    run: Path, bit: int
) -> None:
    flip_bit(run, bit, hashed_anew=True)
    result = verify(run)
    assert result.exit_code == 1
    assert {name for name, said in results(result).items() if said == "FAILED"} == {"stored answers of test"}
    assert ("differs by" if bit else "this one is best, epoch 6") in result.stderr


def test_a_flipped_bit_in_the_only_model_leaves_none_to_use(run: Path) -> None:
    flip_bit(run, 0, hashed_anew=False)
    result = CliRunner().invoke(app, ["verify", str(run)])
    assert result.exit_code == 5
    assert "model.safetensors: damaged" in result.stderr
    assert CliRunner().invoke(app, ["verify", str(run / "eval")]).exit_code == 2


def test_a_flipped_bit_is_found_also_where_an_older_model_can_be_used(run: Path) -> None:
    shutil.copytree(run / "checkpoints" / "best", run / "checkpoints" / "best.previous")
    flip_bit(run, 0, hashed_anew=False)
    result = verify(run)
    assert result.exit_code == 1
    assert results(result)["files of best"] == "FAILED"
    assert results(result)["stored answers of test"] == "skipped"  # they are not that model's
    assert "model.safetensors: damaged" in result.stderr


def test_a_damaged_last_checkpoint_is_found(run: Path) -> None:
    (run / "checkpoints" / "last" / "training.safetensors").unlink()
    result = verify(run)
    assert result.exit_code == 1
    assert {name for name, said in results(result).items() if said == "FAILED"} == {"files of last"}
    assert "training.safetensors: cannot be read" in result.stderr


def test_a_last_checkpoint_of_another_model_is_found(run: Path) -> None:
    theirs = ROOT / "tests" / "golden" / "gru" / "checkpoints" / "best" / "model.safetensors"
    shutil.copy(theirs, run / "checkpoints" / "last")
    hash_anew(run / "checkpoints" / "last")
    result = verify(run)
    assert result.exit_code == 1
    assert {name for name, said in results(result).items() if said == "FAILED"} == {"files of last"}
    assert "does not match its own config" in result.stderr


def changed(line: str) -> str:
    row = json.loads(line)
    row["probs"] = {name: value + 1e-4 for name, value in row["probs"].items()}
    return json.dumps(row) + "\n"


@pytest.mark.parametrize("damage", ["a row's answer", "a row too few", "no JSON", "no evaluation"])
def test_stored_answers_that_were_changed_are_found(run: Path, damage: str) -> None:
    path = run / "eval" / "test" / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    match damage:
        case "a row's answer":
            lines[0] = changed(lines[0])
        case "a row too few":
            lines = lines[:30] + lines[31:]
        case "no JSON":
            lines[0] = "{\n"
        case "no evaluation":
            (run / "eval" / "test" / "metrics.json").unlink()
    path.write_text("".join(lines), encoding="utf-8")
    result = verify(run)
    assert result.exit_code == 1
    assert {name for name, said in results(result).items() if said == "FAILED"} == {"stored answers of test"}


def test_stored_answers_are_left_alone_where_they_say_nothing_of_this_model(
    run: Path, tmp_path: Path
) -> None:
    other = ["--set", "data.test=tests/golden/rows/dev.csv"]
    result = verify(run, *other)
    assert (result.exit_code, results(result)["stored answers of test"]) == (0, "skipped")
    assert "its rows have changed since the run began" in result.stderr
    path = run / "eval" / "test" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**metrics, "checkpoint": "last, epoch 12, sha256 0"}), encoding="utf-8")
    result = verify(run)
    assert (result.exit_code, results(result)["stored answers of test"]) == (0, "skipped")
    assert "another checkpoint (last, epoch 12" in result.stderr


def test_a_run_whose_rows_are_gone_is_verified_on_texts_of_its_vocabulary(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = verify(run)
    assert result.exit_code == 0, result.stderr
    assert "synthetic rows are used" in result.stderr
    assert results(result)["neighbours"] == "ok"
    assert results(result)["stored answers of test"] == "skipped"
