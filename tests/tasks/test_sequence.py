"""The classifier of sequences of numbers: what it learns from the training rows, frames, scores and refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lstm_cli.arrays import Ragged
from lstm_cli.cli import app
from lstm_cli.config.guess import NOTHING_GIVEN, guess
from lstm_cli.config.load import load_config
from lstm_cli.data.batching import collate
from lstm_cli.data.dense import Dense
from lstm_cli.data.rows import Row
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.features.statistics import statistics, statistics_logreg
from lstm_cli.nn import FrameEncoder
from lstm_cli.tasks.sequence import SequenceConfig, SequenceTask
from lstm_cli.tasks.sequence_channels import Channels, Frames


def rows_of(*sequences: Any, labels: str = "ab") -> list[Row[Dense]]:
    return [
        Row(Dense(np.array(values, np.float64), labels[at % len(labels)]), "a.ts", at + 1)
        for at, values in enumerate(sequences)
    ]


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result.output


def fitted(rows: Sequence[Row[Dense]], **keys: Any) -> SequenceTask:
    return SequenceConfig(**keys).fit(rows)  # type: ignore[arg-type]


def test_channels_are_standardised_by_the_training_rows_alone() -> None:
    rows = rows_of([[1e6, 3], [1e6 + 2, 3]], [[1e6 + 4, 3]])
    task = fitted(rows)
    values = task.encode_window(rows).inputs.values
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), [1, 0], atol=1e-6)
    planted = task.encode_window(rows_of([[1e6 + 40, 7]]))
    np.testing.assert_allclose(planted.inputs.values, [[38 / np.sqrt(8 / 3), 4]], rtol=1e-6)


def test_a_missing_number_is_the_last_known_one_and_the_network_sees_it() -> None:
    nan = np.nan
    channels = Channels.learn(rows_of([[0.0], [nan], [2.0]], [[4.0], [nan]]))
    assert channels.masked
    found = channels.inputs(np.array([[nan], [2.0], [nan]]), "channel")
    np.testing.assert_allclose(found, [[0, 0], [0, 1], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(
        channels.inputs(np.array([[4.0], [nan]]), "channel")[:, 0], [1.2247, 1.2247], rtol=1e-4
    )
    assert not Channels.learn(rows_of([[1.0]], [[2.0]])).masked


def test_scaling_by_the_sequence_keeps_its_level_in_channels_of_their_own() -> None:
    rows = rows_of([[0.0], [1.0], [0.0]], [[5.0], [6.0], [9.0]])
    channels = Channels.learn(rows)
    small, large = (
        channels.inputs(factor * np.array([[0.0], [1.0], [0.0]]) + 3, "sequence") for factor in (1, 100)
    )
    np.testing.assert_allclose(small[:, 0], large[:, 0], rtol=1e-3)
    assert large[0, 1] > small[0, 1] + 0.3
    assert (small[:, 1:] == small[0, 1:]).all()


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (4, 1), (5, 2), (6, 2), (7, 3)])
def test_frames_cover_every_step(steps: int, expected: int) -> None:
    values = np.arange(1.0, steps + 1)[:, None]
    found = Frames(4, 2).of(values)
    assert found.shape == (expected, 4)
    assert set(np.arange(1, steps + 1)) <= set(found.ravel().astype(int).tolist())
    np.testing.assert_array_equal(found[0], [*range(1, min(steps, 4) + 1), *[0] * (4 - min(steps, 4))])


def test_the_convolution_of_a_frame_is_that_of_its_definition() -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder(2, 3, 5, "gru", 4).double()
    frame = torch.randn(1, 1, 12, dtype=torch.float64)
    weight, bias = encoder.embedding.weight, encoder.embedding.bias
    assert bias is not None
    steps = frame.view(6, 2)
    places = [(weight * steps[at : at + 3].T).sum(dim=(1, 2)) + bias for at in range(4)]
    torch.testing.assert_close(encoder.embed(frame)[0, 0], torch.stack(places).amax(dim=0).relu())
    assert encoder.embed(torch.full((1, 2, 12), torch.nan)).isnan().all()


def test_noise_is_added_in_training_alone() -> None:
    task = fitted(rows_of([[0.0], [1.0]], [[2.0]]), noise=1.0, dropout=0.0)
    model = task.build_model()
    store = task.encode_window(rows_of([[0.5]]))
    batch = collate(store, np.array([0]))
    assert task.outputs(model.eval(), batch).equal(task.outputs(model.eval(), batch))
    batch = collate(type(store)(store.inputs, store.truncated, np.array([0], np.int32)), np.array([0]))
    first, second = (task.loss(model.train(), batch).total.item() for _ in range(2))
    assert first != second


def test_another_number_of_channels_is_refused_with_its_place() -> None:
    with pytest.raises(DataError, match=r"a\.ts:2: 2 channels, and a\.ts:1 has 1"):
        fitted(rows_of([[1.0]], [[1.0, 2.0]]))
    with pytest.raises(DataError, match=r"channel 2 has no number in any training row"):
        fitted(rows_of([[1.0, np.nan]], [[1.0, np.nan]]))
    task = fitted(rows_of([[1.0]], [[2.0]]))
    assert task.row_fault(rows_of([[1.0, 2.0]])[0]) == "2 channels where the model was trained with 1"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"frame_size": 4, "frame_step": 5},
            "task.frame_step: steps between two frames would be read by none",
        ),
        ({"encoder": {"kernel_size": 3}}, "task.encoder.kernel_size: must not be longer than a frame"),
        ({"encoder": {"dropout": 0.5}}, "task.encoder.dropout: is dropout between layers"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"data": {"train": "builtin:sessions"}, "task": {"kind": "sequence", **keys}})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (
            {"sequences": {"id_column": "x"}},
            "sequence",
            "data.sequences.value_columns: a long table needs both",
        ),
        (
            {"sequences": {"value_columns": ["x"]}},
            "sequence",
            "data.sequences.id_column: a long table needs both",
        ),
        ({"sequences": {}}, "classify", "data.sequences: is read by task.kind: sequence"),
        ({"text_column": "body"}, "sequence", "data.text_column: nothing in this training reads it"),
    ],
)
def test_keys_of_the_data_that_do_not_fit_are_refused(data: dict[str, Any], kind: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"data": {"train": "a.csv", **data}, "task": {"kind": kind}}, trains=True)
    assert said in str(caught.value)


def test_statistics_are_those_of_their_definition() -> None:
    values = np.array([[1.0], [4.0], [2.0]])
    found = statistics(values)
    expected = [np.log(3), values.mean(), values.std(), 1, 1.5, 2, 3, 4, 2.5, 2.5, 1, 2]
    np.testing.assert_allclose(found[:12], expected)
    assert len(found) == 20
    assert np.isfinite(statistics(np.array([[1.0]]))).all()


def test_the_baseline_tells_rising_from_falling_sequences() -> None:
    rng = np.random.default_rng(0)
    made = [
        rng.normal(0, 1, (10, 1)) + (2 * (at % 2) - 1) * np.linspace(-2, 2, 10)[:, None] for at in range(80)
    ]
    targets = np.arange(80) % 2
    found = statistics_logreg(made[:60], targets[:60], made[60:])
    assert (found.predicted == targets[60:]).mean() > 0.9
    assert statistics_logreg(made[:3], targets[:3], []).predicted.shape == (0,)


def write_ts(path: Path, count: int) -> str:
    rng = np.random.default_rng(1)
    lines = ["@classLabel true up down", "@data"]
    for at in range(count):
        values = (rng.normal(0, 0.3, 8) + (1 - 2 * (at % 2)) * np.linspace(-1, 1, 8)).round(3)
        lines.append(",".join(map(str, values)) + ":" + ("up", "down")[at % 2])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_a_ts_file_needs_no_config_from_training_to_prediction(tmp_path: Path) -> None:
    name, out, dir = write_ts(tmp_path / "a.ts", 60), tmp_path / "out.jsonl", str(tmp_path / "run")
    said = run("train", name, "--run", dir, "--epochs", "6", "--seed", "1")
    assert "sequences of 8 to 8 steps, 2 labels: up (30), down (30)" in said
    assert "statistics_logreg" in said
    run("predict", dir, name, "-o", str(out), "--probs")
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(lines) == 60
    right = [line["label"] == ("up", "down")[at % 2] for at, line in enumerate(lines)]
    assert np.mean(right) > 0.9
    run("verify", dir)
    table = tmp_path / "b.csv"
    table.write_text("id,x\n" + "".join(f"s{at // 8},{at}\n" for at in range(16)), encoding="utf-8")
    keys = ["--set", "data.sequences.id_column=id", "--set", "data.sequences.value_columns=[x]"]
    run("predict", dir, str(table), "-o", str(tmp_path / "out.csv"), *keys)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == ["s0", "s1"]


def test_a_long_ts_file_is_read_in_frames(tmp_path: Path) -> None:
    lines = [",".join(["1.5"] * 300) + f":{label}" for label in "ab" * 10]
    (tmp_path / "a.ts").write_text("@classLabel true\n@data\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = guess(str(tmp_path / "a.ts"), NOTHING_GIVEN)
    assert found.content["task"]["frame_size"] == 128
    assert load_config(found.content).task.kind == "sequence"


def test_sequences_are_averaged_as_texts_are() -> None:
    task = fitted(rows_of([[1.0]], [[2.0]]))
    assert list(task.output_names()) == ["a", "b"]
    assert isinstance(task.encode_window(rows_of([[1.0]])).inputs, Ragged)
