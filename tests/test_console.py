"""The terminal: plain lines in a file, nothing wider than a narrow window, errors shown even when quiet."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lstm_cli.arrays import Ragged
from lstm_cli.console import Screen
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError
from lstm_cli.nn.model import Stage
from lstm_cli.training.fit import StepReport

RECORD = {
    "epoch": 3,
    "train_loss": 0.5,
    "dev": {"log_loss": 0.4, "macro_f1": 0.81234},
    "best": True,
    "tokens_per_second": 12_345.6,
    "seconds": 7.0,
}


def show_all(screen: Screen) -> None:
    screen.stages(
        [Stage("embedding", "(B, T, 128)", 1_000), Stage("bidirectional lstm layer 1", "(B, T, 256)", 2_345)]
    )
    with screen.training(10, 2, "macro_f1", "log_loss") as shown:
        shown.step(StepReport(2, 5, 10, 0.61, 12_345.6, 1))
        shown.epoch(RECORD, 0.81234)
    with screen.counting("predicting") as counter:
        counter.one_more()
    screen.findings(
        [("warning", "train: repeated: 96", [f"{'data/' * 20}train.csv:17: as line 4", "→ " + "drop " * 20])]
    )
    screen.warn("a long sentence that a narrow terminal wraps and a file keeps whole: " + "word " * 20)


def test_a_file_gets_plain_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(Screen())
    screen, written = capsys.readouterr()
    assert screen == ""
    assert "\x1b" not in written
    assert (
        "epoch  3  train loss 0.5000  dev loss 0.4000  dev macro_f1 0.8123 *  12.3k tokens/s  7 s" in written
    )
    assert any(
        line.startswith("warning: a long sentence") and line.count("word") == 20
        for line in written.splitlines()
    )
    assert "3,345" in written
    assert any(
        line.startswith("warning: train: repeated: 96: data/") and line.count("drop") == 20
        for line in written.splitlines()
    )


def test_a_terminal_of_60_columns_is_never_overrun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")
    show_all(Screen())
    Screen().error(
        ConfigError(["my.yaml:3: train.epoch: unknown key; known here: " + "epochs, " * 20, "second"])
    )
    written = capsys.readouterr().err
    import re

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
    for line in plain.replace("\r", "\n").splitlines():
        assert len(line) <= 60, line
    assert "error" in plain
    assert "second" in plain


def test_quiet_says_nothing_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    show_all(screen)
    assert capsys.readouterr().err == ""
    screen.error(ConfigError("broken"))
    assert capsys.readouterr().err == "error: broken\n"


def test_brackets_in_a_message_are_text_and_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("[bold]x[/bold] [/nonsense]")
    assert capsys.readouterr().err == "[bold]x[/bold] [/nonsense]\n"


def test_what_a_file_holds_sends_no_commands_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().findings([("warning", "a\x1b[2Jb", ["c\x1b]0;title\x07d"])])
    written = capsys.readouterr().err
    assert "\x1b" not in written
    assert "\x07" not in written
    assert all(letter in written for letter in "abcd")


def test_the_dev_loss_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    dev = {"log_loss": 0.4, "accuracy": 0.9}
    with Screen().training(10, 0, "log_loss", "log_loss") as shown:
        shown.epoch({**RECORD, "dev": dev}, 0.4)
    assert "dev loss 0.4000  dev accuracy 0.9000 *" in capsys.readouterr().err


def test_the_dev_loss_is_the_one_that_the_task_names(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen().training(10, 0, "rmse", "mse") as shown:
        shown.epoch({**RECORD, "dev": {"mse": 0.25, "rmse": 0.5}}, 0.5)
    assert "dev loss 0.2500  dev rmse 0.5000 *" in capsys.readouterr().err


def test_only_token_ids_have_a_fraction_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    flags = np.array([False, True])
    words = Store(Ragged.pack([np.array([1, 2, 3], np.int32), np.array([2], np.int32)]), flags)
    vectors = Store(Ragged.pack([np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32)]), flags)
    Screen().splits({"train": words, "dev": vectors})
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["train", "2", "4", "2", "1", "25.00%"] in lines
    assert ["dev", "2", "4", "2", "1", "–"] in lines


def test_what_a_lower_room_logs_is_printed_once_and_only_while_a_command_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("lstm_cli.data.some_reader")
    with Screen().notes():
        for _ in range(2):
            logger.info("a.csv: %d rows are skipped", 3)
            logger.warning("a.csv: strange")
    logger.info("after the command")
    with Screen(quiet=True).notes():
        logger.info("hidden")
    assert capsys.readouterr().err.splitlines() == ["a.csv: 3 rows are skipped", "warning: a.csv: strange"]
