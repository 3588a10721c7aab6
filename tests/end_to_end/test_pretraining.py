"""Pretraining through the command line: its files, its resumption, what starts from it, and what goes wrong with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.errors import Interrupted
from lstm_cli.runs.folder import RunFolder
from lstm_cli.tasks.base import Trainable
from lstm_cli.tasks.classify import Classify
from lstm_cli.training.fit import FitReport, fit
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows
from tests.end_to_end.test_a_run import lines, run

QUICK = ["--set", "pretrain.epochs=2", "--set", "pretrain.batch_size=16", "--set", "train.epochs=2"]
ALONE = ["--set", "task.encoder.init_from=null"]
FIRST = ["--set", "task.encoder.init_from=pretrain", "--no-baselines", "--set", "train.save_every=1"]


def failed(code: int, *arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def files(folder: Path, *, but: set[str]) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in but
    }


@pytest.fixture
def pretrained(small_yaml: str, tmp_path: Path) -> Path:
    """A pretraining of all but a fifth of the training rows, and of raw text that holds some of the latter."""
    texts = [text for text, _ in small_rows(60, seed=4)] + [text for text, _ in small_rows(120)]
    (tmp_path / "raw.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    with Path(small_yaml).open("a", encoding="utf-8") as file:
        file.write("pretrain: {epochs: 2, batch_size: 16}\n")
    path = Path(small_yaml)
    path.write_text(
        path.read_text("utf-8")
        .replace(f"dev: {tmp_path}/dev.csv", f"dev: 0.2, unlabelled: {tmp_path}/raw.txt")
        .replace("epochs: 3", "epochs: 2"),
        encoding="utf-8",
    )
    result = run("pretrain", small_yaml)
    assert "24 rows of data.unlabelled are left out" in result.stderr
    assert f"init_from={tmp_path}/run-pretrain" in result.stderr
    return tmp_path / "run-pretrain"


def test_what_is_pretrained_is_fine_tuned_and_then_needed_no_more(
    pretrained: Path, small_yaml: str, tmp_path: Path
) -> None:
    records = lines((pretrained / "metrics.jsonl").read_text("utf-8"))
    assert [record["epoch"] for record in records] == [1, 2]
    assert {"log_loss", "perplexity", "forward_perplexity", "backward_perplexity"} == set(records[0]["dev"])  # type: ignore[call-overload]
    known = json.loads((pretrained / "environment.json").read_text("utf-8"))["data"]

    init = ["--set", f"task.encoder.init_from={pretrained}", "--set", "run.seed=5"]
    trained = run("train", small_yaml, "--no-baselines", *init)
    assert "may have read dev or test rows" not in trained.stderr
    environment = json.loads((tmp_path / "run" / "environment.json").read_text("utf-8"))
    assert (environment["seed"], environment["dev_seed"]) == (5, 0)
    for split in (
        "train",
        "dev",
    ):  # another seed trains, and still dev is what the language model has not read
        assert environment["data"][split] == known[split]
    best = "checkpoints/best/tokenizer.json"
    assert (tmp_path / "run" / best).read_bytes() == (pretrained / best).read_bytes()

    pretrained.rename(tmp_path / "gone")
    scores = json.loads(run("eval", str(tmp_path / "run"), "--split", "dev", "--json").stdout)
    epochs = lines((tmp_path / "run" / "metrics.jsonl").read_text("utf-8"))
    best_epoch = [epoch for epoch in epochs if epoch["best"]][-1]
    assert scores["log_loss"] == pytest.approx(best_epoch["dev"]["log_loss"], rel=1e-9)  # type: ignore[index]
    assert len(lines(run("predict", str(tmp_path / "run"), "-", stdin="so good\n").stdout)) == 1
    assert "stored answers of dev" not in run("verify", str(tmp_path / "run")).stderr.partition("skipped:")[2]


def test_a_pretraining_stopped_in_its_middle_and_resumed_ends_with_the_same_bytes(
    pretrained: Path, small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(tmp_path / "other")

    def stopped(*arguments: object) -> object:
        for step, report in enumerate(fit(*arguments)):  # type: ignore[arg-type]
            yield report
            if step == 11:  # in the second epoch
                raise KeyboardInterrupt

    monkeypatch.setattr("lstm_cli.commands.training_loop.fit", stopped)
    save_often = ["--set", "train.save_every=1"]
    failed(130, "pretrain", small_yaml, "--run", other, *save_often)
    monkeypatch.undo()
    result = run("pretrain", small_yaml, "--run", other, "--resume", *save_often)
    assert "from the beginning" not in result.stderr
    clocks = {"training.json", "manifest.json"}
    for name in ("best", "last"):
        straight, resumed = (Path(place) / "checkpoints" / name for place in (pretrained, other))
        assert files(straight, but=clocks) == files(resumed, but=clocks)


def test_a_pretraining_is_refused_where_a_classifier_is_wanted(pretrained: Path, small_yaml: str) -> None:
    for command in (["eval"], ["verify"], ["predict"]):
        said = failed(5, *command, str(pretrained)).stderr
        assert "init_from" in said
    assert "cannot be evaluated or predict" in failed(5, "train", str(pretrained), "--resume").stderr
    run("train", small_yaml, "--no-baselines", "--set", "train.epochs=1", *ALONE)
    trained = str(pretrained.with_name("run"))
    assert "lstmcls pretrain" in failed(5, "pretrain", trained, "--resume").stderr
    assert (
        "lstmcls pretrain"
        in failed(5, "train", small_yaml, "--set", f"task.encoder.init_from={trained}").stderr
    )
    nowhere = failed(5, "train", small_yaml, "--set", "task.encoder.init_from=runs/nowhere")
    assert "runs/nowhere: no run here" in nowhere.stderr
    assert "init_from=pretrain, train makes its own" in " ".join(nowhere.stderr.split())


def test_a_pretraining_of_another_model_is_refused_with_every_difference(
    pretrained: Path, small_yaml: str, tmp_path: Path
) -> None:
    init = ["--set", f"task.encoder.init_from={pretrained}", "--run", str(tmp_path / "new")]
    said = failed(
        2,
        "train",
        small_yaml,
        *init,
        *("--set", "task.encoder.hidden_size=9", "--set", "task.encoder.cell=gru"),
        *("--set", "task.tokenizer.lowercase=false", "--set", "task.encoder.bidirectional=false"),
    ).stderr
    for key in (
        "encoder.hidden_size is 8, here it is 9",
        "encoder.cell",
        "tokenizer.lowercase",
        "bidirectional",
    ):
        assert key in said
    assert not (tmp_path / "new").exists()
    run(
        "train", small_yaml, *init, "--no-baselines", "--set", "task.encoder.num_layers=2"
    )  # its first is taken


def test_other_training_rows_are_warned_of_and_a_run_of_another_pretraining_is_not_resumed(
    pretrained: Path, small_yaml: str, tmp_path: Path
) -> None:
    init = ["--set", f"task.encoder.init_from={pretrained}", "--no-baselines"]
    said = run("train", small_yaml, *init, "--set", "data.dev=0.3").stderr
    assert "may have read dev or test rows" in said
    run("train", small_yaml, *init, "--overwrite")
    run("train", small_yaml, *init, "--resume")
    shutil.rmtree(pretrained)
    run("pretrain", small_yaml, "--set", "pretrain.learning_rate=0.02")
    assert "not the one that this run began with" in failed(2, "train", small_yaml, *init, "--resume").stderr


def test_much_text_is_read_as_often_as_the_budget_allows(pretrained: Path, small_yaml: str) -> None:
    said = run("pretrain", small_yaml, "--overwrite", "--set", "pretrain.budget=1").stderr
    assert "tokens: 1 instead of 2 epochs" in said
    num_tokens = int(said.partition(" tokens: 1 instead")[0].split()[-1].replace(",", ""))
    assert len(lines((pretrained / "metrics.jsonl").read_text("utf-8"))) == 1
    for budget, epochs in ((2 * num_tokens - 1, 1), (2 * num_tokens, 2)):
        run("pretrain", small_yaml, "--overwrite", "--set", f"pretrain.budget={budget}")
        assert len(lines((pretrained / "metrics.jsonl").read_text("utf-8"))) == epochs


def test_rates_of_what_was_taken_over_need_something_taken_over(small_yaml: str) -> None:
    said = failed(
        2, "train", small_yaml, "--set", "train.frozen_epochs=1", "--set", "train.pretrained_rate=0.1"
    )
    assert "train.frozen_epochs: applies to pretrained weights" in said.stderr
    assert "train.pretrained_rate: applies to pretrained weights" in said.stderr


@pytest.mark.usefixtures("pretrained")
def test_check_shows_the_vocabulary_of_all_text_where_train_will_read_it_first(
    small_yaml: str, tmp_path: Path
) -> None:
    with (tmp_path / "raw.txt").open("a", encoding="utf-8") as file:
        file.write("zygote zygote zygote\n" * 3)
    parameters = re.compile(r"embedding +\(B, T, 8\) +([0-9,]+)")
    alone, first, trained = (
        parameters.findall(run(*command).stderr)[-1]
        for command in (
            ("check", small_yaml, *ALONE),
            ("check", small_yaml, *FIRST[:2]),
            ("train", small_yaml, *FIRST),
        )
    )
    assert first == trained != alone


def test_text_that_is_not_there_is_named(small_yaml: str, tmp_path: Path) -> None:
    first = ["--set", "task.encoder.init_from=pretrain"]
    for command in (["pretrain"], ["check", *first], ["train", *first]):
        said = failed(
            3, command[0], small_yaml, "--set", f"data.unlabelled={tmp_path}/trian.csv", *command[1:]
        ).stderr
        assert said.count("data.unlabelled: ") == 1
        assert 'Did you mean "train.csv"?' in said


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_text_named_right_at_last_is_read(small_yaml: str, tmp_path: Path, options: list[str]) -> None:
    failed(3, "train", small_yaml, *FIRST, "--set", f"data.unlabelled={tmp_path}/nowhere.txt")
    assert (tmp_path / "run" / "pretrain" / "config.yaml").exists()
    run("train", small_yaml, *FIRST, *options)


def test_one_command_pretrains_and_trains_as_two_do(
    pretrained: Path, small_yaml: str, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    said = run("train", small_yaml, "--run", str(first), *FIRST).stderr
    assert "24 rows of data.unlabelled are left out" in said
    run("train", small_yaml, "--no-baselines", "--set", f"task.encoder.init_from={pretrained}")
    for path, one in ((pretrained, first / "pretrain"), (tmp_path / "run", first)):
        weights = "checkpoints/best/model.safetensors"
        assert (path / weights).read_bytes() == (one / weights).read_bytes()
    assert len(lines(run("predict", str(first), "-", stdin="so good\n").stdout)) == 1

    records = [file.read_text("utf-8") for file in first.rglob("metrics.jsonl")]
    epochs = [json.loads(line) for text in records for line in text.splitlines()]
    took = sum(epoch["seconds"] + epoch["dev_seconds"] for epoch in epochs)
    assert RunFolder(first).seconds() == pytest.approx(took)

    shutil.rmtree(first / "pretrain")  # all that was taken over is in the run
    before = files(first / "checkpoints", but=set())
    run("train", small_yaml, "--run", str(first), *FIRST, "--resume")
    run("eval", str(first), "--split", "dev", "--no-baselines")
    assert files(first / "checkpoints", but=set()) == before
    assert not (first / "pretrain").exists()


@pytest.mark.usefixtures("pretrained")  # the raw text, and its keys in the config
@pytest.mark.parametrize("place", ["the pretraining", "the training"])
def test_one_command_stopped_and_resumed_ends_with_the_same_bytes(
    small_yaml: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run("train", small_yaml, "--run", str(straight), *FIRST)
    begun = iter(["the pretraining", "the training"])

    def stops(*arguments: object) -> object:
        here = next(begun)
        for step, report in enumerate(fit(*arguments)):  # type: ignore[arg-type]
            yield report
            if here == place and step == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr("lstm_cli.commands.training_loop.fit", stops)
    failed(130, "train", small_yaml, "--run", str(stopped), *FIRST)
    monkeypatch.undo()
    assert (stopped / "checkpoints").exists() == (place == "the training")
    run("train", small_yaml, "--run", str(stopped), *FIRST, "--resume")
    for folder in ("pretrain/checkpoints", "checkpoints"):
        clocks = {"training.json", "manifest.json"}
        assert files(straight / folder, but=clocks) == files(stopped / folder, but=clocks)


@pytest.mark.parametrize("begun_from", ["its own pretraining", "a named one"])
@pytest.mark.parametrize(
    "stop_after", [3, 11]
)  # in the first epoch, all pretrained weights frozen, and after it
def test_a_resumed_training_keeps_the_rate_of_what_is_pretrained(
    pretrained: Path,
    small_yaml: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun_from: str,
    stop_after: int,
) -> None:
    rates = ["--set", "train.pretrained_rate=0.3", "--set", "train.frozen_epochs=1"]
    named = ["--set", f"task.encoder.init_from={pretrained}"] if begun_from == "a named one" else []
    options = [*FIRST, *named, *rates]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run("train", small_yaml, "--run", str(straight), *options)

    def asked_to_stop(state: TrainState, trained: Trainable, *others: Any) -> Iterator[FitReport]:
        for number, report in enumerate(fit(state, trained, *others), start=1):
            if isinstance(trained, Classify) and number == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
            yield report

    with monkeypatch.context() as patch:
        patch.setattr("lstm_cli.commands.training_loop.fit", asked_to_stop)
        failed(143, "train", small_yaml, "--run", str(stopped), *options)
    run("train", small_yaml, "--run", str(stopped), *options, "--resume")
    clocks = {"training.json", "manifest.json"}
    for name in ("best", "last"):  # what lies before them depends on how long the machine took
        kept = [files(run_ / "checkpoints" / name, but=clocks) for run_ in (straight, stopped)]
        assert kept[0] == kept[1], name


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (5, ["task.encoder.init_from=runs/nowhere"]),
        (5, ["task.encoder.init_from={run}"]),
        (2, ["task.encoder.init_from={pretrained}", "task.encoder.hidden_size=9"]),
    ],
    ids=["no run", "no pretraining", "another model"],
)
def test_a_wrong_pretraining_costs_no_old_run(
    pretrained: Path, small_yaml: str, tmp_path: Path, code: int, wrong: list[str]
) -> None:
    old = tmp_path / "run"
    run("train", small_yaml, "--no-baselines", "--set", "train.epochs=1", *ALONE)
    before = files(old, but=set())
    sets = [part.format(run=old, pretrained=pretrained) for part in wrong]
    overrides = [part for override in sets for part in ("--set", override)]
    said = failed(code, "train", small_yaml, "--no-baselines", "--overwrite", *overrides).stderr
    assert "task.encoder.init_from: " in said
    assert files(old, but=set()) == before


@pytest.mark.usefixtures("pretrained")
def test_a_stop_while_it_pretrains_says_how_to_resume_the_training(
    small_yaml: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked_to_stop(*arguments: object) -> object:
        for report in fit(*arguments):  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGTERM)
            yield report

    monkeypatch.setattr("lstm_cli.commands.training_loop.fit", asked_to_stop)
    said = failed(143, "train", small_yaml, *FIRST).stderr
    assert f"to resume: lstmcls train {tmp_path}/run --resume" in said
    assert "lstmcls pretrain" not in said


@pytest.mark.usefixtures("pretrained")
def test_a_stop_between_the_two_says_it_too(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **keys: object) -> object:
        raise Interrupted(signal.SIGTERM, "stopped before there was anything to save")

    monkeypatch.setattr("lstm_cli.tasks.classify.ClassifyConfig.fit", interrupted)
    said = failed(143, "train", small_yaml, *FIRST).stderr
    assert f"to resume: lstmcls train {tmp_path}/run --resume" in said
    monkeypatch.undo()
    run("train", small_yaml, *FIRST, "--resume")


@pytest.mark.usefixtures("pretrained")
def test_an_unknown_label_is_found_before_the_text_is_read(small_yaml: str, tmp_path: Path) -> None:
    with (tmp_path / "test.csv").open("a", encoding="utf-8") as file:
        file.write("so good,positiv\n")
    said = failed(3, "train", small_yaml, *FIRST).stderr
    assert 'label "positiv" is not in the training data' in said
    assert not (tmp_path / "run" / "pretrain").exists()


@pytest.mark.usefixtures("pretrained")
def test_each_fold_pretrains_on_its_own_rows(small_yaml: str, tmp_path: Path) -> None:
    run("train", small_yaml, *FIRST, "--folds", "2", "--set", "data.test=null")
    known = [
        json.loads((tmp_path / "run" / f"fold-{i}" / place / "environment.json").read_text("utf-8"))["data"]
        for i in (1, 2)
        for place in ("", "pretrain")
    ]
    for fold, pretraining in (known[:2], known[2:]):
        assert all(pretraining[split] == fold[split] for split in fold)
    assert known[0]["test"] != known[2]["test"]
