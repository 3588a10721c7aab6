"""`predict`, `eval` and `verify` on the folder of `--seeds` or `--folds`: the mean of the runs' probabilities."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.errors import Interrupted
from lstm_cli.features.tfidf import tfidf_logreg
from lstm_cli.runs import models
from lstm_cli.runs.output import PartialOutput
from lstm_cli.scoring import windows
from tests.conftest import small_rows

NAMES = ("negative", "positive")


def run(*arguments: str, exit_code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == exit_code, result.output
    return result


def said(*arguments: str, exit_code: int) -> str:
    return " ".join(run(*arguments, exit_code=exit_code).stderr.split())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def probs(path: Path) -> np.ndarray:
    return np.array([[line["probs"][name] for name in NAMES] for line in lines(path)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, `seeds` (two runs with a test file) and `folds` (three runs)."""
    folder = tmp_path_factory.mktemp("trained")
    for name, count, seed in (("train", 120, 0), ("dev", 40, 1), ("test", 40, 2)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *small_rows(count, seed)])
    (folder / "small.yaml").write_text(
        f"""
data: {{train: {folder}/train.csv, dev: {folder}/dev.csv, test: {folder}/test.csv}}
task: {{tokenizer: {{kind: word, min_count: 1}}, encoder: {{embedding_size: 8, hidden_size: 8}}}}
train: {{epochs: 1, batch_size: 16, learning_rate: 0.01}}
run: {{threads: 1}}
""",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        train = ("train", f"{folder}/small.yaml", "--no-baselines", "--run")
        run(*train, f"{folder}/seeds", "--seeds", "2")
        cut = ("--set", "data.test=null", "--set", "data.dev=0.2")
        run(*train, f"{folder}/folds", *cut, "--folds", "3")
    return folder


@pytest.fixture
def mine(trained: Path, tmp_path: Path) -> Path:
    """A copy of `seeds` that a test may change."""
    return Path(shutil.copytree(trained / "seeds", tmp_path / "mine"))


def test_a_group_predicts_the_mean_of_its_runs_and_each_reads_with_its_own_vocabulary(
    trained: Path, tmp_path: Path
) -> None:
    folders = [trained / "folds" / f"fold-{i}" for i in (1, 2, 3)]
    vocabularies = {(folder / "checkpoints/best/tokenizer.json").read_bytes() for folder in folders}
    assert len(vocabularies) == 3
    for folder in (trained / "folds", *folders):
        out = tmp_path / f"{folder.name}.jsonl"
        run("predict", str(folder), f"{trained}/test.csv", "-o", str(out), "--probs")
    given = lines(tmp_path / "folds.jsonl")
    first, second, third = (probs(tmp_path / f"{folder.name}.jsonl") for folder in folders)
    mean = (first + second + third) / 3
    np.testing.assert_array_equal(probs(tmp_path / "folds.jsonl"), mean)
    assert [line["row"] for line in given] == list(range(40))
    assert [line["label"] for line in given] == [NAMES[i] for i in mean.argmax(axis=1)]
    assert [line["score"] for line in given] == mean.max(axis=1).tolist()
    assert list(given[0]) == list(lines(tmp_path / "fold-1.jsonl")[0])
    typed = run("predict", str(trained / "folds"), "-", stdin="good\nbad\n").stdout.splitlines()
    assert [json.loads(line)["row"] for line in typed] == [0, 1]


def test_models_that_do_not_fit_into_memory_are_read_for_every_window_and_give_the_same_bytes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_FIRST_WINDOW_ROWS", 8)
    arguments = ("predict", str(trained / "seeds"), f"{trained}/test.csv", "--probs", "-o")
    run(*arguments, str(tmp_path / "kept.jsonl"))
    num_loaded = 0
    load = models._loaded

    def count(*given: Any) -> Any:
        nonlocal num_loaded
        num_loaded += 1
        return load(*given)

    monkeypatch.setattr(models, "_loaded", count)
    monkeypatch.setattr(models, "_KEPT_BYTES", 0)
    run(*arguments, str(tmp_path / "read.jsonl"))
    assert num_loaded == 2 + 2 * 3  # 40 rows are windows of 8, 16 and 16
    assert (tmp_path / "read.jsonl").read_bytes() == (tmp_path / "kept.jsonl").read_bytes()


def test_a_model_that_is_replaced_while_it_is_used_is_refused(
    mine: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_KEPT_BYTES", 0)
    refuse = models._refuse_different

    def replace_it(*given: Any) -> None:
        refuse(*given)
        shutil.rmtree(mine / "seed-0/checkpoints/best")
        shutil.copytree(mine / "seed-1/checkpoints/best", mine / "seed-0/checkpoints/best")

    monkeypatch.setattr(models, "_refuse_different", replace_it)
    message = said("predict", str(mine), f"{trained}/test.csv", exit_code=5)
    assert f"{mine}/seed-0/checkpoints/best: has changed while it was used" in message


def test_a_prediction_is_resumed_to_the_same_bytes_but_not_with_another_model_in_the_group(
    mine: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_FIRST_WINDOW_ROWS", 8)
    arguments = ("predict", str(mine), f"{trained}/test.csv", "--resume", "-o")
    run(*arguments, str(tmp_path / "whole.jsonl"))
    keep = PartialOutput.keep

    def keep_and_stop(self: PartialOutput) -> None:
        keep(self)
        raise Interrupted(15, "now")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(PartialOutput, "keep", keep_and_stop)
            run(*arguments, str(tmp_path / "out.jsonl"), exit_code=143)
    kept = tmp_path / "kept"
    shutil.move(mine / "seed-1/checkpoints/best", kept)
    shutil.copytree(mine / "seed-0/checkpoints/best", mine / "seed-1/checkpoints/best")
    message = said(*arguments, str(tmp_path / "out.jsonl"), exit_code=2)
    assert "checkpoint: was the average of the best models of 2 runs, sha256" in message
    shutil.rmtree(mine / "seed-1/checkpoints/best")
    shutil.move(kept, mine / "seed-1/checkpoints/best")
    assert "resuming after row 24" in run(*arguments, str(tmp_path / "out.jsonl")).stderr
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_row_that_cannot_be_read_is_an_error_in_its_place(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "good"}\n{"text": \n{"text": "bad"}\n', encoding="utf-8")
    answers = run("predict", str(trained / "seeds"), str(path)).stdout.splitlines()
    assert ["error" in json.loads(line) for line in answers] == [False, True, False]


def test_the_average_of_seeds_is_scored_on_the_test_rows_they_have_in_common(
    mine: Path, trained: Path
) -> None:
    from sklearn.metrics import accuracy_score, log_loss

    run("eval", str(mine))
    scored, folder = mine / "eval" / "test", mine
    shown = (scored / "report.html").read_text("utf-8")
    assert "<article" in shown
    assert "<details>" not in shown  # its runs have different reasons
    metrics, stored = read(scored / "metrics.json"), lines(scored / "predictions.jsonl")
    runs = [folder / f"seed-{n}" / "eval" / "test" for n in (0, 1)]
    mean = (probs(runs[0] / "predictions.jsonl") + probs(runs[1] / "predictions.jsonl")) / 2
    targets = [NAMES.index(line["target"]) for line in stored]
    np.testing.assert_array_equal(probs(scored / "predictions.jsonl"), mean)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(targets, mean.argmax(axis=1)), abs=1e-12)
    assert metrics["log_loss"] == pytest.approx(log_loss(targets, mean), abs=1e-12)
    assert metrics["checkpoint"].startswith("the average of the best models of 2 runs, sha256 ")
    assert [one["accuracy"] for one in metrics["parts"].values()] == [
        read(one / "metrics.json")["accuracy"] for one in runs
    ]
    assert metrics["verdict"] in ("beats", "ties", "loses to")
    assert run("eval", str(mine), "--split", "dev", "--no-baselines", "--json").stdout
    gate = ("--data", f"{trained}/test.csv", "--no-baselines", "--fail-under", "accuracy=1.01")
    run("eval", str(mine), *gate, exit_code=4)
    checked = json.loads(run("verify", str(mine), "--json").stdout)
    assert checked["ok"]
    assert [Path(one["run"]).name for one in checked["runs"]] == ["seed-0", "seed-1", "mine"]
    average = checked["runs"][-1]["checks"]
    assert [(one["name"], one["result"]) for one in average] == [
        ("stored answers of test", "ok"),
        ("stored answers of dev", "ok"),
    ]


def test_folds_have_no_test_rows_in_common_and_other_rows_are_scored_with_all_of_train_as_their_rival(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Path(shutil.copytree(trained / "folds", tmp_path / "mine"))
    for option in ((), ("--split", "test")):
        message = said("eval", str(group), *option, exit_code=2)
        assert "the runs of --folds 3 have no test rows in common: each run was tested on rows" in message
        assert f"{group}/summary.md" in message
    assert "each run cut its own dev rows" in said("eval", str(group), "--split", "dev", exit_code=2)
    numbers = []

    def fitted(texts: Any, *rest: Any, **more: Any) -> Any:
        numbers.append(len(texts))
        return tfidf_logreg(texts, *rest, **more)

    monkeypatch.setattr("lstm_cli.tasks.classify.tfidf_logreg", fitted)
    run("eval", str(group), "--data", f"{trained}/test.csv")
    assert numbers == [120]


@pytest.mark.parametrize("cut", [("data.test=0.2", "test"), ("data.dev=0.2", "dev")])
def test_seeds_that_each_cut_their_own_rows_have_none_in_common(
    trained: Path, tmp_path: Path, cut: tuple[str, str]
) -> None:
    group = str(tmp_path / "cut")
    setting, split = cut
    run("train", f"{trained}/small.yaml", "--seeds", "2", "--run", group, "--no-baselines", "--set", setting)
    message = said("eval", group, "--split", split, exit_code=2)
    assert (
        f"the runs of --seeds 2 have no {split} rows in common: each run cut its own {split} rows" in message
    )
    if split == "test":
        assert "no test rows in common" in said("eval", group, exit_code=2)
    else:
        run("eval", group, "--no-baselines")


def test_a_group_that_is_not_finished_names_the_run_and_the_command_that_resumes(mine: Path) -> None:
    (mine / "summary.json").unlink()
    shutil.rmtree(mine / "seed-1" / "eval")
    resume = f"to resume: lstmcls train {mine} --seeds 2 --resume"
    for command in (("predict", str(mine), "-"), ("eval", str(mine))):
        message = said(*command, exit_code=5)
        assert message.startswith(f"error: {mine}/seed-1: the training is not finished")
        assert resume in message
    shutil.rmtree(mine / "seed-0" / "checkpoints")
    assert f"{mine}/seed-0: the training is not finished" in said("predict", str(mine), "-", exit_code=5)
    message = said("verify", str(mine), exit_code=1)
    assert f"FAILED: {mine}/seed-0: files of best: " in message


def test_runs_with_other_labels_are_not_averaged(mine: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("text,label\ngood,yes\nbad,no\n" * 9, encoding="utf-8")
    sets = [f"data.{split}={tmp_path}/other.csv" for split in ("train", "dev", "test")]
    arguments = [part for one in sets for part in ("--set", one)]
    run("train", f"{trained}/small.yaml", "--run", str(tmp_path / "other"), "--no-baselines", *arguments)
    shutil.rmtree(mine / "seed-1")
    shutil.copytree(tmp_path / "other", mine / "seed-1")
    message = said("predict", str(mine), "-", exit_code=2)
    assert "seed-1: its outputs cannot be averaged" in message
    assert "there for negative, positive; name one run" in message


def test_verify_says_which_run_of_a_group_is_damaged(mine: Path) -> None:
    weights = mine / "seed-1/checkpoints/best/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = run("verify", str(mine), "--json", exit_code=1)
    checked = json.loads(result.stdout)
    assert [one["ok"] for one in checked["runs"]] == [True, False]
    assert f"FAILED: {mine}/seed-1: files of best" in " ".join(result.stderr.split())
    assert f"{mine}: 1 of 2 runs are as they were" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["../seeds", "/tmp", "", 7])
def test_a_name_in_members_json_does_not_lead_out_of_the_group(mine: Path, name: Any) -> None:
    content = {"by": "seeds", "members": ["seed-0", name]}
    (mine / "members.json").write_text(json.dumps(content), encoding="utf-8")
    run("predict", str(mine), "-", exit_code=5)


def test_a_link_in_a_group_is_refused(mine: Path, trained: Path) -> None:
    (mine / "baselines").symlink_to(trained)
    assert f"{mine}/baselines: a link in a run's folder" in said("predict", str(mine), "-", exit_code=5)
