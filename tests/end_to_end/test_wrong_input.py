"""Whatever a user gets wrong: the right exit code, one message that says what to try, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app

Break = Callable[[Path], list[str]]


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def assert_one_message(result: Result, exit_code: int, *said: str) -> None:
    assert result.exit_code == exit_code, result.stderr
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.output
    for part in said:
        assert part in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


WRONG: dict[str, tuple[dict[str, str | bytes], list[str], int, list[str]]] = {
    # name: (files to write over the good ones, --set overrides, exit code, what must be said)
    "a key that does not exist": ({}, ["train.epoch=3"], 2, ["train.epoch", "unknown key", '"epochs"']),
    "a number that is text": ({}, ["train.epochs=many"], 2, ["train.epochs", "valid integer", "'many'"]),
    "YAML that is none": ({"small.yaml": "data: {train: a\n"}, [], 2, ["small.yaml:2", "not YAML"]),
    "a training file that is not there": ({}, ["data.train=trian.csv"], 3, ["trian.csv"]),
    "a column that is not there": (
        {},
        ["data.text_column=txt"],
        3,
        ["txt", "text, label", "data.text_column"],
    ),
    "a label that train lacks": (
        {"dev.csv": "text,label\nfine,positive\nfine,postive\n"},
        [],
        3,
        ["dev.csv:3", '"postive"', "have: negative, positive", 'Did you mean "positive"?'],
    ),
    "a label that only test has": (
        {"test.csv": "text,label\nfine,Positive\n"},
        [],
        3,
        ["test.csv:2", '"Positive"', 'Did you mean "positive"?'],
    ),
    "one label only": ({"train.csv": "text,label\na,x\nb,x\n"}, [], 3, ["label"]),
    "latin-1 read as UTF-8": (
        {"train.csv": "text,label\ncafé,positive\nbad,negative\n".encode("latin-1")},
        [],
        3,
        ["train.csv:2", "UTF-8", "data.encoding"],
    ),
    "a row with too many fields": (
        {"train.csv": "text,label\nfine, really,positive\nbad,negative\n"},
        [],
        3,
        ["train.csv:2"],
    ),
    "a quote that never closes": (
        {"train.csv": 'text,label\nfine,positive\n"bad,negative\nfine,positive\n'},
        [],
        3,
        ["train.csv:3", "data.quoting"],
    ),
    "an empty training file": ({"train.csv": ""}, [], 3, ["train.csv"]),
    "training rows that are none": ({"train.csv": "text,label\n"}, [], 3, ["train.csv: no rows"]),
    "dev rows that are none": ({"dev.csv": "text,label\n"}, [], 3, ["dev.csv: no rows"]),
    "test rows that are none": ({"test.csv": "text,label\n"}, [], 3, ["test.csv: no rows"]),
    "rows without any text": (
        {"train.csv": "text,label\n,positive\n,negative\n", "dev.csv": "text,label\n,positive\n,negative\n"},
        [],
        3,
        ["vocabulary", "data.text_column"],
    ),
    "a file of no known format": (
        {"train.xyz": "?"},
        ["data.train={}/train.xyz"],
        3,
        ["train.xyz", "data.format"],
    ),
    "a device that is not here": ({}, ["run.device=cuda"], 2, ["run.device", "auto"]),
    "dropout between one layer": (
        {},
        ["task.encoder.dropout=0.5"],
        2,
        ["task.encoder.dropout", "num_layers"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_or_file_is_one_message_and_its_exit_code(
    name: str, small_yaml: str, tmp_path: Path
) -> None:
    files, overrides, exit_code, said = WRONG[name]
    for file, content in files.items():
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = [part for override in overrides for part in ("--set", override.format(tmp_path))]
    result = run("train", small_yaml, *arguments)
    if name == "a device that is not here" and result.exit_code == 0:
        pytest.fail("this machine has a GPU")
    assert_one_message(result, exit_code, *said)
    assert not (tmp_path / "run" / "checkpoints").exists()  # nothing was trained before it was found
    checked = run("check", small_yaml, *arguments)
    first, *rest = checked.stderr.split("\nerror: rows that cannot be read: see the first message\n")
    if rest:  # the tables stand between what cannot be read and the rest
        assert first.startswith("error: train: rows or files that cannot be read: ")
        assert first.count("error: ") == 1
        assert checked.exit_code == exit_code
        assert [part for part in said if part not in first] == []
    else:
        assert_one_message(checked, exit_code, *said)


def test_after_a_start_that_failed_on_its_data_the_run_can_simply_be_started_again(
    small_yaml: str, tmp_path: Path
) -> None:
    assert run("train", small_yaml, "--set", "data.text_column=txt").exit_code == 3
    assert run("train", small_yaml, "--set", "train.epochs=1", "--no-baselines").exit_code == 0
    assert (tmp_path / "run" / "checkpoints" / "best" / "manifest.json").exists()


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(small_yaml: str, tmp_path: Path) -> None:
    precious = tmp_path / "run" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")
    for flag in ([], ["--resume"], ["--overwrite"]):
        assert_one_message(run("train", small_yaml, *flag), 2, "not a run's folder")
    assert [file.name for file in precious.parent.iterdir()] == ["precious.txt"]
    (precious.parent / "config.yaml").write_text("", encoding="utf-8")
    assert_one_message(run("train", small_yaml), 2, "--resume", "--overwrite")
    assert precious.read_text(encoding="utf-8") == "mine"
    assert_one_message(run("train", small_yaml, "--resume", "--overwrite"), 2, "give only one")


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_without_a_trained_model_there_is_nothing_to_use(small_yaml: str, command: str) -> None:
    assert_one_message(run(command, small_yaml, stdin="text\n"), 5, "no run here")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "small.yaml", "--fail-under", "macrof1=0.5"], 'Did you mean "macro_f1"?'),
        (["eval", "small.yaml", "--fail-under", "macro_f1"], "METRIC=NUMBER"),
        (["eval", "small.yaml", "--split", "dev", "--data", "x.csv"], "give only one"),
        (["predict", "small.yaml", "-", "a.txt"], "stdin cannot be combined with files"),
        (["predict", "small.yaml", "a.txt", "-o", "out.docx"], "--format"),
        (["init", "sentence"], 'Did you mean "sentences"?'),
        (["train", "no.yaml"], "no such config"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] in ("eval", "predict"):
        assert run("train", small_yaml, "--set", "train.epochs=1", "--no-baselines", "--quiet").exit_code == 0
        (tmp_path / "a.txt").write_text("text\n", encoding="utf-8")
    assert_one_message(run(*arguments), 2, said)


def test_a_damaged_model_is_exit_code_5(small_yaml: str, tmp_path: Path) -> None:
    assert run("train", small_yaml, "--set", "train.epochs=1", "--no-baselines").exit_code == 0
    for folder in (tmp_path / "run" / "checkpoints").iterdir():
        (folder / "model.safetensors").write_bytes(b"\x80\x04cposix\nsystem\n")
    assert_one_message(run("predict", small_yaml, stdin="text\n"), 5, "model.safetensors", "damaged")
    assert_one_message(
        run("train", small_yaml, "--set", "train.epochs=1", "--resume"), 5, "model.safetensors"
    )


def test_a_gate_that_is_missed_is_exit_code_4_after_the_report_is_written(
    small_yaml: str, tmp_path: Path
) -> None:
    assert run("train", small_yaml, "--set", "train.epochs=1", "--no-baselines").exit_code == 0
    result = run(
        "eval", small_yaml, "--no-baselines", "--json", "--fail-under", "log_loss=0", "--fail-under", "n_f1=0"
    )
    assert_one_message(result, 2, "n_f1")
    result = run("eval", small_yaml, "--no-baselines", "--json", "--fail-under", "log_loss=0", "--quiet")
    assert_one_message(result, 4, "log_loss", "worse than 0")
    assert json.loads(result.stdout) == json.loads(
        (tmp_path / "run/eval/test/metrics.json").read_text("utf-8")
    )
    assert run("eval", small_yaml, "--no-baselines", "--fail-under", "accuracy=0").exit_code == 0
