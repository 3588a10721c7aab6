"""Forecasts: nothing looks ahead, every key changes something, the quickstart beats the ridge, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.config.load import load_config
from lstm_cli.data.builtin_demand import FLOOR, demand, expected
from lstm_cli.data.rows import Row
from lstm_cli.data.series import Window
from lstm_cli.data.series_config import SeriesConfig
from lstm_cli.data.sources import load_splits
from lstm_cli.errors import LstmclsError
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.tasks.dense_encoder import PastEncoderConfig
from lstm_cli.tasks.forecast import Forecast, ForecastConfig
from lstm_cli.tasks.forecast_scales import find_season
from lstm_cli.training.fit import EncodedSplits, fit
from lstm_cli.training.state import TrainState

CPU = start(RuntimeConfig(device="cpu", precision="fp32", threads=1))
HOURS = 120


def write(path: Path, after: int = HOURS, plant: float = 0.0) -> Path:
    """Two series of hours with a season of a day; from the hour `after` on, every value is `plant` higher."""
    rng = np.random.default_rng(5)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(("unique_id", "ds", "y", "plan", "load"))
        for name, level in (("north", 10.0), ("south", 300.0)):
            for hour in range(HOURS):
                time = np.datetime64("2024-01-01T00") + hour
                value = level * (1 + 0.3 * np.sin(2 * np.pi * hour / 24)) + rng.normal(0, 0.02 * level)
                higher = plant if hour >= after else 0.0
                plan, load = float(hour % 24 > 8), rng.normal()
                out.writerow((name, time, round(value + higher, 4), plan + higher, round(load + higher, 4)))
    return path


def config(path: Path, **task: Any) -> dict[str, Any]:
    series = {"id_column": "unique_id", "known_columns": ["plan"], "past_columns": ["load"]}
    return {
        "data": {
            "train": str(path),
            "dev": "from:2024-01-04",
            "series": {**series, "window": 30, "horizon": 4},
        },
        "task": {
            "kind": "forecast",
            "encoder": {"hidden_size": 8, "embedding_size": 8},
            "max_steps": 6,
            **task,
        },
        "train": {"epochs": 1, "batch_size": 32, "learning_rate": 0.01},
        "run": {"threads": 1, "precision": "fp32", "dir": str(path.parent / "run")},
    }


def fitted(raw: dict[str, Any]) -> tuple[Forecast, list[Row[Window]], list[Row[Window]]]:
    read = load_config(raw)
    splits = load_splits(read.data, 0, content=Window)
    task = read.task.fit(splits.train)
    assert isinstance(task, Forecast)
    return task, list(splits.train), list(splits.dev)


@pytest.mark.parametrize("features", ["lags", "none"])
@pytest.mark.parametrize("scaling", ["series", "window"])
def test_nothing_that_is_learned_or_encoded_looks_ahead(tmp_path: Path, features: str, scaling: str) -> None:
    """A future planted in the values, the scale and the covariates changes neither the task nor an earlier window."""
    cut = 72  # the first hour of dev
    settings = {"features": features, "scaling": scaling, "calendar": ["hour"]}
    plain, train, dev = fitted(config(write(tmp_path / "plain.csv"), **settings))
    planted, train_again, dev_again = fitted(config(write(tmp_path / "planted.csv", cut, 1e6), **settings))
    assert plain.files() == planted.files()
    for rows, again, ahead in ((train, train_again, 0), (dev, dev_again, cut + 1)):
        if ahead:  # the dev windows at the first origin, whose past ends before the cut
            rows, again = (
                [row for row in some if row.content.span()[0] == _hour(cut)] for some in (rows, again)
            )
        one, other = (task.encode_window(some) for task, some in ((plain, rows), (planted, again)))
        np.testing.assert_array_equal(one.inputs.values, other.inputs.values)
        for name in one.extras:
            some, others = np.asarray(one.extras[name]), np.asarray(other.extras[name])
            if name == "known" and ahead:  # all but the covariate whose future is known
                assert np.flatnonzero((some != others).any(axis=(0, 1))).tolist() == [0]
            else:
                np.testing.assert_array_equal(some, others)


def _hour(hour: int) -> int:
    return int((np.datetime64("2024-01-01T00") + hour).astype("datetime64[s]").astype(int))


def test_a_series_that_train_lacks_is_forecast_in_its_own_units(tmp_path: Path) -> None:
    task, _, dev = fitted(config(write(tmp_path / "a.csv")))
    row = next(row for row in dev if row.content.series == "south")
    other = Window(**{**{name: getattr(row.content, name) for name in Window.__slots__}, "series": "west"})
    [output] = predict_rows(task.build_model(), task, [Row(other, "x", 1)], CPU)
    assert output.output is not None
    assert 150 < output.output[:, 1].mean() < 450
    assert (np.diff(output.output, axis=1) >= 0).all()


def test_the_season_is_found_if_there_is_one() -> None:
    rng = np.random.default_rng(0)
    hours = np.arange(24 * 7 * 6)
    day = np.sin(2 * np.pi * hours / 24)
    assert find_season([day + rng.normal(0, 0.1, len(hours))], 24) == 24
    assert find_season([day * (hours // 24 % 7 < 5) + rng.normal(0, 0.1, len(hours))], 24) == 168
    assert find_season([np.cumsum(rng.normal(size=1000))], 24) == 1
    assert find_season([np.ones(3)], 24) == 1


KEYS: dict[str, Any] = {
    "data.series.time_column": "time",
    "data.series.target_column": "load",
    "data.series.id_column": None,
    "data.series.known_columns": [],
    "data.series.past_columns": [],
    "data.series.window": 12,
    "data.series.horizon": 3,
    "data.series.step": 2,
    "task.calendar": ["hour"],
    "task.season": 12,
    "task.features": "none",
    "task.residual": [{"features": "none"}, "season"],
    "task.scaling": "series",
    "task.quantiles": [0.2, 0.5],
    "task.max_steps": 7,
    "task.head_size": 16,
    "task.dropout": 0.5,
    "task.encoder.embedding_size": 9,
    "task.encoder.cell": "gru",
    "task.encoder.hidden_size": 9,
    "task.encoder.num_layers": 2,
    "task.encoder.bidirectional": True,
    "task.encoder.dropout": [{"num_layers": 2}, 0.4],
    "task.encoder.path": "packed",
}


def test_every_key_is_tried() -> None:
    names = {f"data.series.{name}" for name in SeriesConfig.model_fields}
    names |= {f"task.{name}" for name in ForecastConfig.model_fields if name not in ("kind", "encoder")}
    assert set(KEYS) == names | {f"task.encoder.{name}" for name in PastEncoderConfig.model_fields}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_changes_something(key: str, tmp_path: Path) -> None:
    raw, value = config(write(tmp_path / "a.csv")), KEYS[key]
    section = raw
    *above, last = key.split(".")
    for part in above:
        section = section[part]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        section.update(value[0])
        value = value[1]
    before = _digest(raw)
    section[last] = value
    assert _digest(raw) != before


def _digest(raw: dict[str, Any]) -> str:
    """Everything that a training makes of a config, or the fault that a user would see."""
    try:
        read = load_config(raw)
        splits = load_splits(read.data, 0, content=Window)
        task = read.task.fit(splits.train)
        data = EncodedSplits(task.encode(splits.train), task.encode(splits.dev))
        state = TrainState.start(task, read.train, CPU, 0)
        for _ in fit(state, task, data, read.train, CPU):
            pass
        model: Any = state.model
        files = {name: content.hex() for name, content in task.files().items() if name != "config.json"}
        seen = [
            files,
            model.encoder.recurrent.path,
            sorted((n, v.tolist()) for n, v in model.state_dict().items()),
        ]
    except LstmclsError as fault:
        seen = [str(fault)]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def test_the_simulated_demand_has_the_season_and_noise_that_it_says() -> None:
    values = np.array([value for _, value in demand()])
    noise = values - [expected(hour) for hour in range(len(values))]
    assert np.abs(noise).mean() == pytest.approx(FLOOR, abs=0.1)
    assert np.abs(np.diff(values)).mean() == pytest.approx(6.2, abs=0.2)


def run(*arguments: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast") / "run"
    run("train", "forecast", "--run", str(folder), "--set", "train.epochs=2")
    return folder


def answers(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def test_the_quickstart_is_near_the_noise_and_reports_by_step(quickstart: Path) -> None:
    folder = quickstart / "eval" / "test"
    metrics = json.loads((folder / "metrics.json").read_bytes())
    assert FLOOR - 0.2 < metrics["mae"] < 4.31
    assert 0.65 < metrics["coverage"] < 0.9
    assert set(metrics["baselines"]) == {"naive", "seasonal_naive", "ridge"}
    assert metrics["mae"] < metrics["baselines"]["seasonal_naive"]["mae"] - 1
    assert len(metrics["by_step"]["mae"]) == 24
    assert {one.name for one in (folder / "plots").iterdir()} == {"steps.png", "forecasts.png"}
    assert len((folder / "steps.csv").read_text("utf-8").splitlines()) == 25
    first = next(answers(folder / "predictions.jsonl"))
    assert len(first["forecast"]) == len(first["q0.1"]) == len(first["target"]) == 24
    assert "Diebold-Mariano" in (folder / "report.md").read_text("utf-8")


def test_a_parquet_history_becomes_a_parquet_file_of_the_next_steps(quickstart: Path, tmp_path: Path) -> None:
    history, out = tmp_path / "history.parquet", tmp_path / "out.parquet"
    times = np.datetime64("2024-01-01T00") + np.arange(60)
    pq.write_table(pa.table({"ds": times.astype("datetime64[s]"), "y": np.arange(60.0)}), history)
    run("predict", str(quickstart), str(history), "-o", str(out))
    assert pq.read_table(out).num_rows == len(
        run("predict", str(quickstart), str(history)).stdout.splitlines()
    )


def test_predict_writes_the_next_steps_with_their_times(quickstart: Path, tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text(
        "ds,y\n" + "".join(f"{time},{value}\n" for time, value in list(demand())[:400]), "utf-8"
    )
    [line] = map(json.loads, run("predict", str(quickstart), str(history)).stdout.splitlines())
    assert line["ds"][:2] == ["2024-01-17T16:00:00", "2024-01-17T17:00:00"]
    truth = [expected(hour) for hour in range(400, 424)]
    assert np.abs(np.array(line["forecast"]) - truth).mean() < 4
    assert all(
        low <= mid <= high
        for low, mid, high in zip(line["q0.1"], line["forecast"], line["q0.9"], strict=True)
    )
    out = tmp_path / "out.csv"
    run("predict", str(quickstart), str(history), "-o", str(out))
    [row] = csv.DictReader(out.read_text("utf-8").splitlines())
    assert json.loads(row["forecast"])[0] == pytest.approx(line["forecast"][0])


def test_back_testing_scores_other_rows(quickstart: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.csv"
    lines = [f"{time},{value + 50}\n" for time, value in list(demand())[-500:]]
    later.write_text("ds,y\n" + "".join(lines), "utf-8")
    metrics = json.loads(run("eval", str(quickstart), "--data", str(later), "--json").stdout)
    assert metrics["n"] == 500 - 24 - 24 + 1
    assert metrics["mae"] < 5  # the level does not matter


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["explain", "RUN", "--text", "fine"], 2, "explain"),
        (["export", "RUN", "-o", "OUT"], 2, "export"),
        (["pretrain", "forecast"], 2, "pretrain"),
        (["serve", "RUN", "--port", "0"], 2, "not a classifier of texts"),
        (["predict", "RUN", "HISTORY", "--top-k", "2"], 2, "--top-k: a forecast has no classes"),
        (["predict", "RUN", "HISTORY", "--probs"], 2, "--probs: a forecast has no classes"),
        (
            ["train", "quickstart", "--set", "data.series.window=3"],
            2,
            "data.series: is read by task.kind: forecast",
        ),
        (
            ["train", "forecast", "--set", "data.text_column=y"],
            2,
            "data.text_column: nothing in this training reads it",
        ),
        (
            ["train", "forecast", "--set", "task.quantiles=[0.9,0.1]"],
            2,
            "different numbers between 0 and 1, in order",
        ),
        (
            ["train", "forecast", "--set", "task.residual=season"],
            2,
            "task.residual: is read without lags only",
        ),
        (["train", "forecast", "--set", "task.calendar=[year]"], 2, "task.calendar"),
        (
            ["train", "forecast", "--set", "data.group_column=unique_id"],
            2,
            "data.group_column: task.kind: forecast cuts train by time alone, got unique_id",
        ),
        (["train", "forecast", "--set", "data.train=builtin:reviews"], 3, "builtin:reviews"),
        (["train", "quickstart", "--set", "data.train=builtin:demand"], 3, 'no column "text"'),
    ],
)
def test_what_does_not_fit_a_forecast_is_refused_in_a_sentence(
    quickstart: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    history = tmp_path / "history.csv"
    history.write_text("ds,y\n2024-01-01,1\n2024-01-02,2\n", "utf-8")
    names = {"RUN": str(quickstart), "OUT": str(tmp_path / "out"), "HISTORY": str(history)}
    more = ["--run", str(tmp_path / "other")] if arguments[0] == "train" else []
    said = run(*(names.get(one, one) for one in arguments), *more, exit_code=code).stderr
    assert message in " ".join(said.split())
    assert "Traceback" not in said


def test_windows_that_were_cut_otherwise_are_an_error_of_their_row(quickstart: Path, tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("ds,y\n2024-01-01,1\n2024-01-02,2\n", "utf-8")
    [line] = map(
        json.loads,
        run("predict", str(quickstart), str(history), "--set", "data.series.horizon=3").stdout.splitlines(),
    )
    assert (
        line["error"]
        == "cut by another data.series than the model was trained with; leave out --set data.series"
    )


def test_a_calendar_needs_dates(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ds,y\n" + "".join(f"{n},{n % 7}\n" for n in range(200)), "utf-8")
    series = {"window": 20, "horizon": 5}
    raw = {"data": {"train": str(path), "series": series}, "task": {"kind": "forecast", "calendar": ["hour"]}}
    config_path = tmp_path / "c.yaml"
    config_path.write_text(yaml.safe_dump(raw), "utf-8")
    said = run("train", str(config_path), "--run", str(tmp_path / "run"), exit_code=3).stderr
    assert "the times are numbers and have no calendar" in " ".join(said.split())
