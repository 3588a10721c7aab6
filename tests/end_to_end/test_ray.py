"""Predictions by the workers of Ray: the same as without it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lstm_cli.answers import PredictOptions
from lstm_cli.cli import app
from lstm_cli.commands.predict_ray import _Worker

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")
ON_CPU = ("--set", "run.threads=1", "--set", "run.device=cpu")
NUM_ROWS = 2_000


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command sets for Ray ends with the test."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "0")


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of programs that find a Ray cluster with two CPUs, at RAY_ADDRESS."""
    token = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    code = (
        "import ray, sys\n"
        "ray.init(address='local', num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')\n"
        "print(ray.get_runtime_context().gcs_address, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    env = {**os.environ, **token}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield {**env, "RAY_ADDRESS": process.stdout.readline().strip()}
        process.stdin.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    texts = [f"a good film {'bad ' * (i % 7)}{i}" for i in range(NUM_ROWS - 2)]
    path = tmp_path / "in.parquet"
    columns = {"id": range(NUM_ROWS), "label": ["old"] * NUM_ROWS, "text": [*texts, "", None]}
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    return path


def in_a_process(env: dict[str, str], *arguments: str | Path) -> str:
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@needs_ray
def test_the_command_writes_the_same_bytes_with_and_without_ray(
    cluster: dict[str, str], source: Path, tmp_path: Path
) -> None:
    plain, ours = tmp_path / "plain.jsonl", tmp_path / "ours.jsonl"
    assert CliRunner().invoke(app, ["predict", RUN, str(source), "-o", str(plain), *ON_CPU]).exit_code == 0
    predict = ("-m", "lstm_cli", "predict", RUN, source, "-o", ours)
    in_a_process(cluster, *predict, "--ray", cluster["RAY_ADDRESS"])
    assert ours.read_bytes() == plain.read_bytes()


@needs_ray
def test_a_data_set_gets_the_predictions_of_its_rows_in_their_order(
    cluster: dict[str, str], source: Path, tmp_path: Path
) -> None:
    plain, ours = tmp_path / "plain.parquet", tmp_path / "ours.parquet"
    CliRunner().invoke(app, ["predict", RUN, str(source), "-o", str(plain), "--probs", *ON_CPU])
    code = (
        "import sys, ray, pyarrow as pa, pyarrow.parquet as pq\n"
        "from lstm_cli.integrations.ray import predict_dataset\n"
        "ray.init(log_to_driver=False, logging_level='ERROR')\n"
        "run, source, target = sys.argv[1:]\n"
        "rows = ray.data.from_arrow(pq.read_table(source)).repartition(5)\n"
        "found = predict_dataset(rows, run, probs=True, workers=1, batch_rows=300)\n"
        "pq.write_table(pa.concat_tables(found.iter_batches(batch_format='pyarrow')), target)\n"
    )
    in_a_process(cluster, "-c", code, RUN, source, ours)
    expected, found = pq.read_table(plain), pq.read_table(ours)
    assert set(found.column_names) == set(expected.column_names) - {"row"}
    assert found["id"].to_pylist() == list(range(NUM_ROWS))
    for name in ("input.label", "label", "unknown", "error", "text"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    for name in ("score", "probs.positive"):  # other rows are in the batches
        assert found[name].to_pylist() == pytest.approx(expected[name].to_pylist(), abs=1e-5)


@pytest.mark.parametrize("arguments", [["-"], ["--text", "a good film"], ["in.csv"]])
def test_ray_needs_files_to_read_and_a_file_to_write(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["predict", RUN, *arguments, "--ray", "local"], input="a good film\n")
    assert (result.exit_code, "--ray: needs files" in result.stderr) == (2, True)


def test_without_ray_the_error_names_the_extra(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    out = str(tmp_path / "out.jsonl")
    result = CliRunner().invoke(app, ["predict", RUN, str(source), "-o", out, "--ray", "local"])
    assert result.exit_code == 2
    assert "lstmcls[ray]" in "".join(result.stderr.split())


@needs_ray
def test_an_address_where_nothing_answers_is_an_error_at_once(source: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        out = str(tmp_path / "out.jsonl")
        result = CliRunner().invoke(app, ["predict", RUN, str(source), "-o", out, "--ray", address])
    assert (result.exit_code, "cannot connect" in result.stderr) == (2, True)


def test_a_worker_with_another_model_or_none_says_so_and_predicts_nothing(tmp_path: Path) -> None:
    arguments = (ON_CPU[1::2], None, "best", PredictOptions())
    for run, said in ((RUN, "has another model"), (str(tmp_path), "cannot open the model")):
        worker = _Worker(str(Path.cwd()), "another", run, *arguments)
        assert said in worker.fault()
        assert worker.predict([], []) == worker.fault()
