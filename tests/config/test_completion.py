"""The tabulator key offers what the command would take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lstm_cli.config.completion import configs_from, gates_from, presets_from, settings_from
from lstm_cli.config.load import load_config
from lstm_cli.config.presets import presets
from lstm_cli.errors import ConfigError
from lstm_cli.tasks import TASKS, kind_of


def completed(*typed: str) -> list[str]:
    """What Bash offers for the last of these words."""
    code = (
        "import sys; from lstm_cli.__main__ import main; sys.argv = ['lstmcls']\n"
        "try: main()\n"
        "finally: assert not {'torch', 'numpy', 'datasets'} & {*sys.modules}"
    )
    environment = {
        "COMP_WORDS": " ".join(("lstmcls", *typed)),
        "COMP_CWORD": str(len(typed)),
        "_LSTMCLS_COMPLETE": "complete_bash",
    }
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return answer.stdout.split("\n")[:-1]


def test_the_shell_is_answered_without_torch() -> None:
    assert completed("init", "") == presets()
    assert completed("train", "rows.csv", "--preset", "m") == ["multilingual"]
    assert completed("train", "rows.csv", "--set", "train.ep") == ["train.epochs="]
    assert completed("eval", "runs/reviews", "--fail-under", "mac") == ["macro_f1="]


def test_a_config_is_written_without_torch() -> None:
    code = (
        "import sys; from lstm_cli.__main__ import main; sys.argv = ['lstmcls', 'init', 'sentences']\n"
        "try: main()\n"
        "finally: assert not {'torch', 'numpy', 'datasets', 'sklearn'} & {*sys.modules}"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert load_config(yaml.safe_load(answer.stdout)) == load_config("sentences")


def test_every_offered_key_is_known_and_every_offered_value_is_allowed() -> None:
    offered = settings_from("")
    assert {"data.train=", "task.encoder.cell=", "task.tokenizer.kind=", "run.seed="} <= {*offered}
    assert len(offered) == len(set(offered)) > 50
    for key in offered:
        for setting in settings_from(key):
            faults = []
            for kind in map(kind_of, TASKS):  # a key of the task is one of some kind
                try:
                    load_config({"data": {"train": "rows.csv"}, "task": {"kind": kind}}, [setting])
                    faults.append("")
                except ConfigError as found:  # it needs another key beside it
                    faults.append(str(found))
            unknown = ("unknown key", "must be one of", "a key of kind")
            assert not all(any(words in fault for words in unknown) for fault in faults), setting


def test_values_are_offered_after_the_sign() -> None:
    assert settings_from("task.encoder.cell=") == [
        f"task.encoder.cell={cell}" for cell in ("rnn", "gru", "lstm")
    ]
    assert settings_from("run.deterministic=f") == ["run.deterministic=false"]
    assert settings_from("train.epochs=") == []
    assert settings_from("nothing.like.it=") == []


def test_presets_and_metrics_are_offered_by_their_beginning() -> None:
    assert presets_from("sen") == ["sentences"]
    assert gates_from("macro") == ["macro_f1="]


def test_a_config_may_be_a_preset_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "senses").mkdir(parents=True)
    for name in ("sent.csv", ".hidden.csv", "other.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert configs_from("sen") == ["sentences", "sent.csv"]
    assert configs_from("r") == ["runs/"]
    assert configs_from("runs/") == ["runs/senses/"]
    assert configs_from("runs/senses/x") == configs_from("no/such/folder/") == []
    assert ".hidden.csv" not in configs_from("")
    assert configs_from(".h") == [".hidden.csv"]
