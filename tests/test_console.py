"""The terminal: plain lines in a file, nothing wider than a narrow window, errors shown even when quiet."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lstm_cli.arrays import Ragged
from lstm_cli.console import Screen
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError
from lstm_cli.metrics.classification import METRICS
from lstm_cli.nn.model import Stage
from lstm_cli.training.fit import StepReport

RECORD = {
    "epoch": 3,
    "train_loss": 0.5,
    "network_loss": {"train": 0.35, "dev": 0.45},
    "dev": {"log_loss": 0.4, "weighted_f1": 0.81234},
    "best": True,
    "tokens_per_second": 12_345.6,
    "seconds": 7.0,
}


def show_all(screen: Screen) -> None:
    screen.stages(
        [Stage("embedding", "(B, T, 128)", 1_000), Stage("bidirectional lstm layer 1", "(B, T, 256)", 2_345)]
    )
    with screen.training(10, 2, "weighted_f1", "log_loss", "network + n-grams") as shown:
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
        "           network loss  network + n-grams, on dev\n"
        "epoch    train      dev     loss  weighted_f1    tok/s  time\n"
        "    3   0.3500   0.4500   0.4000       0.8123 *  12.3k   7 s\n"
    ) in written
    assert any(
        line.startswith("warning: a long sentence") and line.count("word") == 20
        for line in written.splitlines()
    )
    assert "3,345" in written
    assert any(
        line.startswith("warning: train: repeated: 96 (data/") and line.count("drop") == 20
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


@pytest.mark.parametrize(
    ("metric", "loss", "dev", "whole_model", "columns", "values"),
    [
        # the dev loss has its own column: the score beside it is another one
        (
            "log_loss",
            "log_loss",
            {"log_loss": 0.4, "accuracy": 0.9},
            "calibrated",
            "loss accuracy",
            "0.4000 0.9000",
        ),
        # the loss is the one that the task names
        ("rmse", "mse", {"mse": 0.25, "rmse": 0.5}, "calibrated", "loss rmse", "0.2500 0.5000"),
        # without calibration, the dev loss is that of the network, which is shown already
        ("rmse", "mse", {"mse": 0.45, "rmse": 0.5}, None, "dev rmse", "0.5000"),
    ],
)
def test_an_epochs_line_shows_each_loss_once_and_names_whose_it_is(
    capsys: pytest.CaptureFixture[str],
    metric: str,
    loss: str,
    dev: dict[str, float],
    whole_model: str | None,
    columns: str,
    values: str,
) -> None:
    with Screen().training(10, 0, metric, loss, whole_model) as shown:
        for epoch in (3, 4):
            shown.epoch({**RECORD, "dev": dev, "epoch": epoch}, 0.4)
    written = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert written == [
        "network loss" + (f" {whole_model}, on dev" if whole_model else ""),
        f"epoch train dev {columns} tok/s time",
        f"3 0.3500 0.4500 {values} * 12.3k 7 s",
        f"4 0.3500 0.4500 {values} * 12.3k 7 s",
    ]


@pytest.mark.parametrize("whole_model", [None, "calibrated", "network + n-grams"])
@pytest.mark.parametrize("metric", [metric.name for metric in METRICS if metric.name != "log_loss"])
def test_an_epochs_line_fits_in_60_columns(
    capsys: pytest.CaptureFixture[str], whole_model: str | None, metric: str
) -> None:
    record = {**RECORD, "dev": {"log_loss": 0.4, metric: 0.9}, "seconds": 12.0, "tokens_per_second": 98_500.0}
    with Screen().training(10, 0, metric, "log_loss", whole_model) as shown:
        shown.epoch(record, 0.4)
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 60


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
