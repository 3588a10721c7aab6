"""What holds for every task, by its rows and by the commands; the second one is defined in these tests alone."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from lstm_cli import tasks
from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import Ragged
from lstm_cli.cli import app
from lstm_cli.commands import training_loop
from lstm_cli.config.load import load_config
from lstm_cli.data.batching import collate
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Splits, load_splits
from lstm_cli.errors import CheckpointError, ConfigError, Interrupted
from lstm_cli.runs.checkpoint import load_checkpoint, save
from lstm_cli.runs.models import open_models
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring import prediction, windows
from lstm_cli.scoring.evaluation import evaluate
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.scoring.windows import predict_windows
from lstm_cli.tasks.base import Baseline, Outputs, Task
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import EncodedSplits, EpochReport, FitReport, StepReport, fit
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows
from tests.running_sum import RunningSum, RunningSumConfig

CPU = start(RuntimeConfig(device="cpu", precision="fp32", threads=1))


def write_texts(path: Path, count: int, seed: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *small_rows(count, seed)])


def write_sums(path: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        vectors = [[rng.uniform(-1, 1), rng.uniform(-1, 1)] for _ in range(rng.randrange(1, 12))]
        sums = np.array(vectors).sum(axis=1).cumsum()
        lines.append(json.dumps({"text": vectors, "label": (sums > 0).astype(int).tolist()}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tags(path: Path, count: int, seed: int) -> None:
    """Sentences in which "the" comes before every noun and "to" before every verb; the other words are both."""
    rng = random.Random(seed)
    blocks = []
    for _ in range(count):
        pairs = [("the", "DET", "NOUN"), ("to", "PART", "VERB")]
        found = [rng.choice(pairs) for _ in range(rng.randrange(1, 6))]
        lines = [
            f"{word}\t{tag}"
            for first, tag, next_tag in found
            for word, tag in ((first, tag), (f"x{rng.randrange(99_999)}", next_tag))
        ]
        blocks.append("\n".join(lines) + "\n")
    path.write_text("\n".join(blocks), encoding="utf-8")


def write_names(path: Path, count: int, seed: int) -> None:
    """Sentences with names of people after "mr", and of places after "in"."""
    rng = random.Random(seed)
    blocks = []
    for _ in range(count):
        lines = []
        for _ in range(rng.randrange(1, 6)):
            first, kind = rng.choice([("mr", "PER"), ("in", "LOC")])
            lines += [f"{first} O", f"n{rng.randrange(99_999)} I-{kind}"]
            lines += [f"n{rng.randrange(99_999)} I-{kind}"] * rng.randrange(2)
        blocks.append("\n".join(lines) + "\n")
    path.write_text("\n".join(blocks), encoding="utf-8")


def write_series(path: Path, count: int, seed: int) -> None:
    """One row for each of `count` series, of which each has one origin with a step so long."""
    rng = np.random.default_rng([seed, 7])
    start = np.datetime64("2024-01-01T00")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("unique_id", "ds", "y", "load"))
        for number in range(count):
            length = int(rng.integers(6, 14))
            values = 5 + np.sin(np.arange(length) + number) + rng.normal(0, 0.1, length)
            rows = zip(
                start + np.arange(length), values.round(4), rng.normal(size=length).round(3), strict=True
            )
            table.writerows((f"{seed}-{number}", *row) for row in rows)


def write_sequences(path: Path, count: int, seed: int) -> None:
    """Sequences of two numbers a step, of which the first rises or falls; some are missing."""
    rng = np.random.default_rng([seed, 8])
    lines = []
    for _ in range(count):
        label = int(rng.integers(2))
        values = rng.normal(0, 1, (int(rng.integers(2, 12)), 2)).round(4)
        values[:, 0] = (3 * (2 * label - 1) + values[:, 0]).round(4)
        steps: list[list[float | None]] = values.tolist()
        steps[-1][1] = None
        lines.append(json.dumps({"values": steps, "label": ["down", "up"][label]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Kind:
    """A kind of task: its section of the config, the ending of its files, what writes rows into one, and the best value
    of the first metric that models are compared by, with a tolerance. `data` is added to the data section; `header` is
    that of a file without rows."""

    section: dict[str, Any]
    ending: str
    write: Callable[[Path, int, int], None]
    perfect: float = 1.0
    tolerance: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)
    header: str = "text,label"


ENCODER = {"embedding_size": 8, "hidden_size": 8, "num_layers": 2}
KINDS = {
    "classify": Kind(
        {"kind": "classify", "encoder": ENCODER, "tokenizer": {"min_count": 1}, "max_tokens": 50},
        "csv",
        write_texts,
    ),
    "classify with n-grams": Kind(
        {
            "kind": "classify",
            "encoder": {**ENCODER, "cell": "gru"},
            "features": "ngrams",
            "pooling": "attention",
        },
        "csv",
        write_texts,
    ),
    "tag": Kind({"kind": "tag", "encoder": ENCODER, "crf": False}, "conll", write_tags),
    "tag with a CRF and features": Kind(
        {"kind": "tag", "encoder": {**ENCODER, "cell": "rnn"}, "features": "words"}, "conll", write_names
    ),
    "running-sum": Kind({"kind": "running-sum"}, "jsonl", write_sums),
    "sequence": Kind({"kind": "sequence", "encoder": ENCODER, "pooling": "final"}, "jsonl", write_sequences),
    "sequence of frames": Kind(
        {
            "kind": "sequence",
            "encoder": {**ENCODER, "cell": "gru", "kernel_size": 2},
            "frame_size": 4,
            "frame_step": 2,
            "scaling": "sequence",
            "noise": 0.1,
        },
        "jsonl",
        write_sequences,
    ),
    "forecast": Kind(
        {
            "kind": "forecast",
            "encoder": {"hidden_size": 8},
            "max_steps": 8,
            "calendar": ["hour"],
            "dropout": 0.0,
        },
        "csv",
        write_series,
        perfect=0.0,
        tolerance=0.05,
        data={
            "series": {
                "id_column": "unique_id",
                "past_columns": ["load"],
                "window": 8,
                "horizon": 3,
                "step": 99,
            }
        },
        header="unique_id,ds,y,load",
    ),
}


@pytest.fixture(autouse=True)
def _second_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", [*tasks.TASKS, RunningSumConfig])


@dataclass(frozen=True)
class Setting:
    """A task learned from rows in files, and the config that names them."""

    config_path: str
    splits: Splits[Any]
    task: Task
    data: EncodedSplits
    rows: list[Row[Any]]
    kind: Kind

    def start(self, config: TrainConfig) -> TrainState:
        return TrainState.start(self.task, config, CPU, seed=0)


@pytest.fixture(params=KINDS)
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Setting:
    kind = KINDS[request.param]
    files = {name: str(tmp_path / f"{name}.{kind.ending}") for name in ("train", "dev", "test")}
    for seed, (path, count) in enumerate(zip(files.values(), (60, 30, 30), strict=True)):
        kind.write(Path(path), count, seed)
    content = {
        "data": {**files, **kind.data},
        "task": kind.section,
        "train": {"epochs": 2, "batch_size": 8, "learning_rate": 0.02},
        "run": {"dir": str(tmp_path / "run"), "threads": 1, "precision": "fp32"},
    }
    config_path = tmp_path / "config.yaml"
    config_path.write_text(yaml.safe_dump(content), encoding="utf-8")
    config = load_config(str(config_path))
    splits = load_splits(config.data, 0, content=config.task.content)
    task = config.task.fit(splits.train)
    data = EncodedSplits(task.encode(splits.train, scored=False), task.encode(splits.dev))
    return Setting(str(config_path), splits, task, data, list(splits.dev), kind)


def flat(outputs: Outputs) -> np.ndarray:
    return outputs.values if isinstance(outputs, Ragged) else outputs


def predicted(task: Task, model: torch.nn.Module, rows: list[Row[Any]]) -> list[np.ndarray]:
    results = list(predict_rows(model, task, rows, CPU))
    assert [result.row for result in results] == rows
    return [result.output for result in results if result.output is not None]


def assert_alike(some: list[np.ndarray], others: list[np.ndarray], tolerance: float = 1e-5) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_a_row_reads_the_same_alone_and_in_any_company(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model = setting.task, setting.task.build_model()
    together = predicted(task, model, setting.rows)
    assert_alike(together, [predicted(task, model, [row])[0] for row in setting.rows])
    order = np.random.default_rng(0).permutation(len(setting.rows))
    shuffled = predicted(task, model, [setting.rows[i] for i in order])
    assert_alike([together[i] for i in order], shuffled)
    monkeypatch.setattr(windows, "_WINDOW_ROWS", 3)
    monkeypatch.setattr(prediction, "_BATCH_ROWS", 2)
    assert_alike(together, predicted(task, model, setting.rows))


def test_nothing_in_the_padding_reaches_an_output_or_a_gradient(setting: Setting) -> None:
    task, model = setting.task, setting.task.build_model().eval()
    batch = collate(setting.data.train, np.arange(8))
    dirty_inputs = batch.inputs.clone()
    padding = torch.arange(batch.inputs.shape[1]) >= batch.lengths[:, None]
    assert padding.any()
    dirty_inputs[padding] = 1
    found = []
    for inputs in (batch.inputs, dirty_inputs):
        model.zero_grad()
        loss = task.loss(model, replace(batch, inputs=inputs))
        loss.total.backward()  # type: ignore[no-untyped-call]
        found.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (clean, gradients), (dirty, others) = found
    torch.testing.assert_close(clean.total, dirty.total)
    assert clean.count == dirty.count > 0
    torch.testing.assert_close(gradients, others)


def test_every_parameter_gets_a_gradient(setting: Setting) -> None:
    model = setting.task.build_model()
    loss = setting.task.loss(model, collate(setting.data.train, np.arange(16)))
    loss.total.backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert sum(stage.parameters for stage in model.stages()) == sum(p.numel() for p in model.parameters())


def test_a_few_rows_are_learned_exactly(setting: Setting) -> None:
    few = setting.data.train.select(np.arange(10))
    config = TrainConfig(
        epochs=60, batch_size=10, learning_rate=0.03, patience=0, select_by=setting.task.loss_metric.name
    )
    state = setting.start(config)
    reports = list(fit(state, setting.task, EncodedSplits(few, few), config, CPU))
    last = [one for one in reports if isinstance(one, EpochReport)][-1]
    score = last.dev.scalars()[setting.task.compared_by[0].name]
    assert score == pytest.approx(setting.kind.perfect, abs=setting.kind.tolerance)
    assert last.train_loss < 0.3


def test_stopped_and_resumed_ends_where_an_unbroken_training_does(setting: Setting, tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, batch_size=8, select_by=setting.task.loss_metric.name)
    whole, task = setting.start(config), setting.task
    list(fit(whole, task, setting.data, config, CPU))
    stopped = setting.start(config)
    for number, one in enumerate(fit(stopped, task, setting.data, config, CPU)):
        if number == 12:  # in the middle of an epoch
            assert isinstance(one, StepReport)
            break
    save(None, tmp_path / "last", task, stopped)
    resumed = setting.start(config)
    load_checkpoint(tmp_path / "last").restore(resumed)
    list(fit(resumed, task, setting.data, config, CPU))
    for name, value in whole.training_tensors().items():
        assert torch.equal(value, resumed.training_tensors()[name]), name


def test_a_saved_model_predicts_the_same_in_a_fresh_process(setting: Setting, tmp_path: Path) -> None:
    state = setting.start(TrainConfig())
    save(tmp_path / "best", tmp_path / "last", setting.task, state)
    task, model = load_checkpoint(tmp_path / "best").load(CPU.device)
    here = predicted(task, model, setting.rows)
    assert task.files() == setting.task.files()
    program = (
        "import json, sys; from pathlib import Path; from lstm_cli import tasks; "
        "from tests.running_sum import RunningSumConfig; tasks.TASKS.append(RunningSumConfig); "
        "from lstm_cli.config.load import load_config; from lstm_cli.data.sources import open_rows; "
        "from lstm_cli.runs.checkpoint import load_checkpoint; from lstm_cli.runtime import RuntimeConfig, start; "
        "from lstm_cli.scoring.prediction import predict_rows; "
        "config, folder = load_config(sys.argv[1]), Path(sys.argv[2]); "
        "runtime = start(RuntimeConfig(device='cpu', threads=1)); "
        "task, model = load_checkpoint(folder).load(runtime.device); "
        "rows = open_rows(config.data.dev, config.data, 'dev', True, content=config.task.content); "
        "print(json.dumps([one.output.tolist() for one in predict_rows(model, task, rows, runtime)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, setting.config_path, str(tmp_path / "best")],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[1],
        text=True,
    )
    assert_alike(here, [np.array(one) for one in json.loads(done.stdout)], tolerance=1e-7)


def test_files_that_make_no_task_are_refused(setting: Setting) -> None:
    files = setting.task.files()
    for content in (
        b"{}",
        b"not json",
        b'{"kind": "%s"}' % json.loads(files["config.json"])["kind"].encode(),
    ):
        with pytest.raises(CheckpointError, match=r"config\.json"):
            tasks.load_task({**files, "config.json": content})


def test_rows_that_could_not_be_read_keep_their_place(setting: Setting) -> None:
    broken = replace(setting.rows[1], content=type(setting.rows[1].content).empty(), error="broken")
    rows = [setting.rows[0], broken, setting.rows[2]]
    results = list(predict_rows(setting.task.build_model(), setting.task, rows, CPU))
    assert [result.output is None for result in results] == [False, True, False]
    assert [result.row for result in results] == rows


def test_a_row_that_does_not_fit_the_task_is_an_error_and_the_others_are_predicted(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model, odd = setting.task, setting.task.build_model(), setting.rows[1]
    alone = predicted(task, model, [setting.rows[0], setting.rows[2]])
    monkeypatch.setattr(type(task), "row_fault", lambda self, row: "of another width" if row == odd else None)
    results = list(predict_rows(model, task, setting.rows[:3], CPU))
    assert [result.row.error for result in results] == [None, "of another width", None]
    assert_alike(alone, [result.output for result in results if result.output is not None])


def test_a_baseline_of_other_rows_is_refused(setting: Setting) -> None:
    task, model = setting.task, setting.task.build_model()
    evaluation = evaluate(model, task, setting.splits.dev, "dev", "a checkpoint", CPU)
    for baseline in task.baselines(setting.splits.train, setting.splits.dev):
        compared = task.compare(evaluation.outputs, baseline, evaluation.store)
        assert compared.verdict in ("beats", "ties", "loses to")
        assert set(compared.scores) == {metric.name for metric in task.compared_by}
    other = task.baselines(setting.splits.train, setting.splits.train)[0]
    with pytest.raises(ValueError, match=other.name):
        task.compare(evaluation.outputs, Baseline(other.name, other.predicted, ""), evaluation.store)


def test_scores_have_the_metrics_that_the_task_names(setting: Setting) -> None:
    task = setting.task
    evaluation = evaluate(task.build_model(), task, setting.splits.dev, "dev", "a checkpoint", CPU)
    names = {metric.name for metric in task.metrics}
    assert set(evaluation.scores.scalars()) <= names
    assert {task.loss_metric.name, *(metric.name for metric in task.compared_by)} <= names


def run(*arguments: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


def answers(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def test_rows_that_are_none_are_named_by_every_command(setting: Setting, tmp_path: Path) -> None:
    ending = next(tmp_path.glob("test.*")).suffix
    none = tmp_path / f"none{ending}"
    none.write_text(f"{setting.kind.header}\n" if ending == ".csv" else "", encoding="utf-8")
    for split in ("train", "dev", "test"):
        for command in ("train", "check"):
            said = run(command, setting.config_path, "--set", f"data.{split}={none}", exit_code=3).stderr
            assert f"{none.name}: no rows" in said.replace("\n", "")
    run("train", setting.config_path, "--no-baselines")
    assert (
        f"{none.name}: no rows" in run("eval", str(tmp_path / "run"), "--data", str(none), exit_code=3).stderr
    )


def test_values_that_are_no_numbers_are_named_by_their_row(setting: Setting, tmp_path: Path) -> None:
    if not isinstance(setting.task, RunningSum):
        pytest.skip("this task reads no numbers")
    rows = (tmp_path / "train.jsonl").read_text("utf-8")
    (tmp_path / "train.jsonl").write_text(rows + '{"text": [[NaN, 1.0]], "label": [1]}\n', encoding="utf-8")
    assert "train.jsonl:61: a number is NaN" in run("train", setting.config_path, exit_code=3).stderr


def test_plain_text_is_refused_by_a_task_that_reads_columns(setting: Setting, tmp_path: Path) -> None:
    run("train", setting.config_path, "--no-baselines")
    for words in (["-"], ["--text", "fine"]):
        result = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), *words], input="fine\n")
        if not hasattr(setting.task, "tokenizer") and not hasattr(setting.task, "lexicon"):
            assert result.exit_code == 2
            assert f"{words[0]}: plain text, and this task reads columns" in result.stderr
        else:
            assert json.loads(result.stdout)[setting.task.prediction_keys[-1]]


def test_the_commands_train_score_predict_and_check(setting: Setting, tmp_path: Path) -> None:
    folder, test = tmp_path / "run", next(tmp_path.glob("test.*"))
    run("train", setting.config_path)
    metrics = json.loads((folder / "eval" / "test" / "metrics.json").read_bytes())
    assert metrics["verdict"] in ("beats", "ties", "loses to")
    assert metrics["n"] == 30
    page = (folder / "eval" / "test" / "report.md").read_text(encoding="utf-8")
    settings = json.loads(setting.task.files()["config.json"])["task"]
    assert ("task.max_tokens" in page) == ("max_tokens" in settings)
    assert all(name in page for name in metrics["baselines"])
    scored = list(answers(folder / "eval" / "test" / "predictions.jsonl"))
    assert [line["row"] for line in scored] == list(range(30))
    assert all("target" in line for line in scored)

    out = tmp_path / "out.jsonl"
    options = ["--probs"] if setting.kind.section["kind"] != "forecast" else []
    run("predict", str(folder), str(test), "-o", str(out), *options)
    assert [line["row"] for line in answers(out)] == list(range(30))
    metric = setting.task.compared_by[0]
    out_of_reach = "1e9" if metric.higher_is_better else "-1e9"
    run("eval", str(folder), "--split", "dev", "--fail-under", f"{metric.name}={out_of_reach}", exit_code=4)
    run("eval", str(folder), "--fail-under", f"x{metric.name}=0.1", exit_code=2)
    run("verify", str(folder))
    run("check", setting.config_path)
    run("train", setting.config_path, "--set", "train.select_by=nonsense", exit_code=2)


def test_the_same_seed_gives_the_same_bytes_and_a_run_resumes(setting: Setting, tmp_path: Path) -> None:
    once, again = str(tmp_path / "once"), str(tmp_path / "again")
    run("train", setting.config_path, "--run", once)
    run("train", setting.config_path, "--run", again)
    for name in ("checkpoints/best/model.safetensors", "eval/test/predictions.jsonl"):
        assert (Path(once) / name).read_bytes() == (Path(again) / name).read_bytes()
    before = (Path(once) / "metrics.jsonl").read_bytes()
    run("train", setting.config_path, "--run", once, "--resume")
    assert (Path(once) / "metrics.jsonl").read_bytes() == before


def test_a_training_that_was_stopped_resumes_to_the_same_bytes(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run("train", setting.config_path, "--run", str(straight))

    def asked_to_stop(*arguments: Any) -> Iterator[FitReport]:
        for number, report in enumerate(fit(*arguments), start=1):
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield report

    with monkeypatch.context() as patch:
        patch.setattr("lstm_cli.commands.training_loop.fit", asked_to_stop)
        run("train", setting.config_path, "--run", str(stopped), exit_code=143)
    assert not (stopped / "eval").exists()
    run("train", setting.config_path, "--run", str(stopped), "--resume")
    for name in ("best/model", "last/model", "last/training"):
        path = f"checkpoints/{name}.safetensors"
        assert (straight / path).read_bytes() == (stopped / path).read_bytes(), name
    path = "eval/test/predictions.jsonl"
    assert (straight / path).read_bytes() == (stopped / path).read_bytes()


def test_seeds_are_summed_up_and_their_models_are_averaged(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "several"
    run("train", setting.config_path, "--seeds", "2", "--run", str(group))
    summary = json.loads((group / "summary.json").read_bytes())
    assert sum(summary["verdicts"].values()) == 2
    assert setting.task.compared_by[0].name in summary["scores"]

    runs, rows = [group / "seed-0", group / "seed-1"], setting.rows
    loaded = [load_checkpoint(folder / "checkpoints" / "best").load(CPU.device) for folder in runs]
    each = [predicted(task, model, rows) for task, model in loaded]
    models = open_models(group, "best", CPU.device)
    windows = predict_windows(models.ensemble, rows, CPU)
    together = [one.output for window in windows for one in window if one.output is not None]
    for given, *apart in zip(together, *each, strict=True):
        np.testing.assert_array_equal(given, (apart[0] + apart[1]) / 2)
    run("eval", str(group))
    metrics = json.loads((group / "eval" / "test" / "metrics.json").read_bytes())
    assert set(metrics["parts"]) == {"seed-0 alone", "seed-1 alone"}
    run("verify", str(group))

    monkeypatch.setattr("lstm_cli.runs.models.averaged", lambda task: None)
    said = run("predict", str(group), "-", exit_code=2).stderr
    assert "the outputs of this kind of task cannot be averaged; name one run" in " ".join(said.split())


def test_a_model_is_trained_on_the_rows_of_all_folds(setting: Setting, tmp_path: Path) -> None:
    options = ("--set", "data.test=null", "--set", "train.epochs=1", "--no-baselines")
    group, test = tmp_path / "folds", next(tmp_path.glob("test.*"))
    if setting.rows[0].content.span() is not None:
        said = run("train", setting.config_path, "--folds", "2", "--run", str(group), *options, exit_code=3)
        assert "folds would mix past and future" in " ".join(said.stderr.split())
        return
    run("train", setting.config_path, "--folds", "2", "--refit", "--run", str(group), *options)
    data = json.loads((group / "refit" / "environment.json").read_bytes())["data"]
    assert data["train"]["rows"] == 60
    run("predict", str(group / "refit"), str(test), "-o", str(tmp_path / "out.jsonl"))
    assert len(list(answers(tmp_path / "out.jsonl"))) == 30
    run("verify", str(group))


def test_a_signal_while_the_curves_are_drawn_says_that_the_training_is_saved(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Interrupted(2, "stopped before there was anything to save")

    arguments = ("train", setting.config_path, "--set", "train.epochs=1", "--no-baselines")
    with monkeypatch.context() as patch:
        patch.setattr(training_loop, "learning_curves", stopped)
        result = run(*arguments, exit_code=130)
    assert "the training is complete and saved; to resume: lstmcls train" in " ".join(result.stderr.split())
    run(*arguments, "--resume")


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_an_input_column_replaces_no_key_of_a_prediction(
    setting: Setting, tmp_path: Path, format: str
) -> None:
    if setting.rows[0].content.span() is not None:
        pytest.skip("a row is made of several lines, whose other columns belong to none")
    run("train", setting.config_path, "--set", "train.epochs=1", "--no-baselines")
    given, out, keys = tmp_path / "given.jsonl", tmp_path / f"out.{format}", setting.task.prediction_keys
    texts = [row.content.as_json() for row in setting.rows[:5]]
    column = {"tag": "words", "sequence": "values"}.get(setting.kind.section["kind"], "text")
    lines = [{column: next(iter(one.values())), **dict.fromkeys(keys, "mine")} for one in texts]
    given.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run("predict", str(tmp_path / "run"), str(given), "-o", str(out))
    with out.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file)) if format == "csv" else list(map(json.loads, file))
    assert len(read) == len(lines)
    for line in read:
        assert list(line)[: 1 + len(keys)] == ["row", *keys]
        assert not {line[key] for key in keys if isinstance(line[key], str)} & {"mine", ""}
        assert {line[f"input.{key}"] for key in keys} == {"mine"}


def test_a_prediction_can_be_written_as_json(setting: Setting) -> None:
    task, rows = setting.task, setting.rows[:3]
    for row, output in zip(rows, predicted(task, task.build_model(), rows), strict=True):
        for options in (PredictOptions(), PredictOptions(probs=True)):
            assert json.loads(json.dumps(task.prediction(row, output, options)))


def test_an_option_that_means_nothing_to_a_task_is_refused() -> None:
    task = RunningSum(RunningSumConfig(), num_features=2)
    with pytest.raises(ConfigError, match="--top-k"):
        task.accept(PredictOptions(top_k=2))
