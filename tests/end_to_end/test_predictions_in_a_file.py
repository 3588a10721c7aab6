"""Predictions to a file: resumed after a stop, byte for byte; and a gate for rows that cannot be read."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.errors import Interrupted
from lstm_cli.runs.output import PartialOutput
from lstm_cli.scoring import windows
from scripts.torture_predict import sha256, torture, write_rows

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")


def predict(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["predict", RUN, *arguments], input=stdin)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of 100 rows, two of them unreadable, in five windows."""
    monkeypatch.setattr(windows, "_FIRST_WINDOW_ROWS", 8)
    monkeypatch.setattr(windows, "_WINDOW_ROWS", 32)
    write_rows(tmp_path / "in.csv", 100, seed=0)
    return str(tmp_path / "in.csv")


def stop_after(num_windows: int, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    """Make the next prediction end so, once it has kept so many windows and written on."""
    keep = PartialOutput.keep

    def keep_or_stop(self: PartialOutput) -> None:
        nonlocal num_windows
        if num_windows == 0:
            monkeypatch.setattr(PartialOutput, "keep", keep)
            self.stream.write("half a row, and then")
            raise fault
        num_windows -= 1
        keep(self)

    monkeypatch.setattr(PartialOutput, "keep", keep_or_stop)


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "parquet"])
def test_a_prediction_that_was_stopped_over_and_over_has_the_bytes_of_one_that_ran_through(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    whole, output = tmp_path / f"whole.{format}", tmp_path / f"out.{format}"
    options = [rows, "--probs", "--top-k", "2"]
    assert predict(*options, "-o", str(whole)).exit_code == 0
    for after, first_row in ((1, "no saved rows"), (2, "after row 8"), (0, "after row 56")):
        stop_after(after, monkeypatch, OSError(28, "No space left on device"))
        result = predict(*options, "-o", str(output), "--resume")
        assert result.exit_code == 1, result.output
        assert first_row in result.stderr
        assert "No space left" in result.stderr
        assert not output.exists()
    assert "44 rows in" in predict(*options, "-o", str(output), "--resume").stderr
    assert output.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir() if "out" in path.name} == {output.name}


def test_what_version_0_1_has_begun_is_not_resumed_because_its_lines_lack_the_text(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.csv"
    stop_after(1, monkeypatch, Interrupted(signal.SIGINT, "stopped"))
    assert predict(rows, "-o", str(output)).exit_code == 130
    record = tmp_path / ".out.csv.part.json"
    kept = json.loads(record.read_text(encoding="utf-8"))
    kept["made_from"]["lstmcls"] = "0.1.0"
    record.write_text(json.dumps(kept), encoding="utf-8")
    result = predict(rows, "-o", str(output), "--resume")
    assert (result.exit_code, "lstmcls: was 0.1.0, is 0.2.0" in result.stderr) == (2, True), result.stderr


def test_other_options_model_or_rows_are_not_resumed_with(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = ["-o", str(tmp_path / "out.csv"), "--resume"]
    stop_after(1, monkeypatch, Interrupted(signal.SIGINT, "stopped"))
    result = predict(rows, *output)
    assert result.exit_code == 130
    assert "add --resume" in result.stderr
    for changed, said in (
        (["--top-k", "2"], "top_k: was 1, is 2"),
        (["--probs"], "probs: was False, is True"),
        (["--format", "tsv"], "format: was csv, is tsv"),
        (["--no-text"], "text: was True, is False"),
        (["--bom"], "bom: was False, is True"),
        (["--checkpoint", "last"], "checkpoint: was best, epoch 6"),
        (["--set", "run.threads=2"], "threads: was 1, is 2"),
        (["--set", "data.quoting=none"], "input: was"),
    ):
        result = predict(rows, *output, *changed)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
        assert result.stderr.count(": was ") == 1
    with Path(rows).open("a", encoding="utf-8") as file:
        file.write("one more,yes,\n")
    result = predict(rows, *output)
    assert result.exit_code == 2
    assert "input: was" in result.stderr


def test_what_cannot_be_resumed_is_said_before_anything_is_read(rows: str, tmp_path: Path) -> None:
    for arguments, said in (
        (["-", "-o", str(tmp_path / "o.csv")], "stdin cannot be read again"),
        ([rows], "-o OUT"),
    ):
        result = predict(*arguments, "--resume", stdin="fine\n")
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_what_is_no_regular_file_is_not_replaced(rows: str, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe.csv")
    for place in (tmp_path, tmp_path / "pipe.csv"):
        result = predict(rows, "-o", str(place), "--format", "csv")
        assert (result.exit_code, "not a regular file" in result.stderr) == (2, True), result.stderr
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_file_that_is_read_is_not_replaced(rows: str, tmp_path: Path, resume: tuple[str, ...]) -> None:
    before = Path(rows).read_bytes()
    folder = tmp_path / "texts"
    (folder / "of").mkdir(parents=True)
    text = folder / "of" / "one.txt"
    text.write_text("fine", encoding="utf-8")
    for source, output in (
        (rows, rows),
        (str(tmp_path / "*.csv"), str(folder / ".." / "in.csv")),
        (str(folder), str(text)),
    ):
        result = predict(source, "-o", output, "--format", "csv", *resume)
        assert (result.exit_code, "the rows are read from it" in result.stderr) == (2, True), result.stderr
    assert Path(rows).read_bytes() == before
    assert text.read_text(encoding="utf-8") == "fine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "texts"]
    result = predict("builtin:reviews", "-o", str(text), "--format", "csv")  # not an input: replaced
    assert result.exit_code == 0, result.stderr


def test_strict_writes_everything_and_then_says_how_many_rows_could_not_be_read(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax, strict = tmp_path / "lax.jsonl", tmp_path / "strict.jsonl"
    assert predict(rows, "-o", str(lax)).exit_code == 0
    for after in (3, -1):  # stopped after the first unreadable row, and resumed
        stop_after(after, monkeypatch, Interrupted(signal.SIGINT, "stopped"))
        result = predict(rows, "-o", str(strict), "--strict", "--resume")
    assert result.exit_code == 3
    assert "2 of 100 rows could not be read" in result.stderr
    assert f"{rows}:" in result.stderr
    assert "4 fields where the header has 3" in result.stderr
    assert strict.read_bytes() == lax.read_bytes()
    assert sum("error" in json.loads(line) for line in strict.read_text(encoding="utf-8").splitlines()) == 2
    assert predict("--strict", stdin="fine\n").exit_code == 0
    result = predict("--strict", "--format", "csv", rows)
    assert result.exit_code == 3
    assert result.stdout.count("\n") > 100


def test_predicting_with_an_older_model_than_was_asked_for_is_said(tmp_path: Path) -> None:
    best = shutil.copytree(RUN, tmp_path / "run") / "checkpoints" / "best"
    shutil.copytree(best, best.with_name("best.previous"))
    (best / "labels.json").write_bytes(b"[]")
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "run")], input="fine\n")
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "labels.json: damaged" in result.stderr
    assert "; using " in result.stderr


def test_a_second_process_does_not_write_the_same_file(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, keep = tmp_path / "out.jsonl", PartialOutput.keep
    seconds: list[Any] = []

    def another_at_the_same_time(self: PartialOutput) -> None:
        monkeypatch.setattr(PartialOutput, "keep", keep)
        seconds.append(predict(rows, "-o", str(output)))
        keep(self)

    monkeypatch.setattr(PartialOutput, "keep", another_at_the_same_time)
    assert predict(rows, "-o", str(output)).exit_code == 0
    assert seconds[0].exit_code == 1
    assert "another process is writing it" in seconds[0].stderr
    assert len(output.read_text(encoding="utf-8").splitlines()) == 100


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    """One real kill while rows are written; `scripts/torture_predict.py` makes more of them."""
    write_rows(tmp_path / "in.csv", 10_000, seed=0)
    command = [sys.executable, "-m", "lstm_cli.cli", "predict", RUN, str(tmp_path / "in.csv"), "--quiet"]
    whole, output = tmp_path / "whole.csv", tmp_path / "out.csv"
    assert predict(str(tmp_path / "in.csv"), "-o", str(whole)).exit_code == 0
    process = subprocess.Popen([*command, "-o", str(output)])
    record = tmp_path / ".out.csv.part.json"
    while not record.exists() and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -getattr(signal, "SIGKILL", -1)
    outcome = torture(command, output, sha256(whole), seconds=0.0, kills=0, rng=random.Random(0))
    assert (outcome.finished, outcome.different) == (1, 0)
