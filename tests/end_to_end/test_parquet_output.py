"""Predictions as a Parquet file: its columns and types, its groups of rows, its parts."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.reports import parquet

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")
TEXTS = ["a good film", "", "bad", "never good", "unheard of", "bad, bad", None]


def run(*arguments: str | Path, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == exit_code, result.output
    return " ".join(result.stderr.split())


def table(texts: list[str | None]) -> pa.Table:
    """Rows with columns of many types, one of which has the name of a prediction."""
    count = len(texts)
    return pa.table(
        {
            "id": pa.array(range(count), pa.int32()),
            "text": pa.array(texts, pa.string()),
            "label": pa.array([f"old {i}" for i in range(count)]).dictionary_encode(),
            "at": pa.array([datetime.datetime(2020, 1, 1 + i) for i in range(count)], pa.timestamp("us")),
            "tags": pa.array([["a"] * i for i in range(count)], pa.list_(pa.string())),
            "price": pa.array([i / 3 for i in range(count)], pa.float32()),
        }
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    pq.write_table(table(TEXTS), path, row_group_size=3)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_columns_of_a_parquet_file_keep_their_types_beside_the_predictions(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 4)
    monkeypatch.setattr("lstm_cli.data.parquet._BATCH_ROWS", 2)
    out, as_lines = tmp_path / "out.parquet", tmp_path / "out.jsonl"
    run("predict", RUN, source, "-o", out, "--probs")
    run("predict", RUN, source, "-o", as_lines, "--probs")
    written, given = pq.read_table(out), table(TEXTS)
    for name in given.column_names:
        column = written["input.label" if name == "label" else name]
        assert (column.type, column.to_pylist()) == (given[name].type, given[name].to_pylist())
    assert pq.ParquetFile(out).metadata.num_row_groups == 2
    for ours, line in zip(written.to_pylist(), lines(as_lines), strict=True):
        assert (ours["row"], ours["label"], ours["score"]) == (line["row"], line["label"], line["score"])
        assert ours["probs.positive"] == line["probs"]["positive"]
        assert (ours["unknown"], ours["error"]) == (line.get("unknown"), line.get("error"))


def test_the_text_of_a_parquet_file_can_be_left_out(source: Path, tmp_path: Path) -> None:
    run("predict", RUN, source, "-o", tmp_path / "out.parquet", "--no-text")
    names = pq.read_schema(tmp_path / "out.parquet").names
    assert names[-5:] == ["id", "input.label", "at", "tags", "price"]


def test_the_columns_of_another_format_are_written_as_text(tmp_path: Path) -> None:
    rows = tmp_path / "in.csv"
    rows.write_text("id,text\n7,a good film\n8,bad\n9\n", encoding="utf-8")
    run("predict", RUN, rows, "-o", tmp_path / "out.parquet", "--min-score", "1")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written["id"].to_pylist() == ["7", "8", None]
    assert written["label"].to_pylist() == [None] * 3
    assert written.schema.field("label").type == pa.string()
    assert [bool(error) for error in written["error"].to_pylist()] == [False, False, True]
    assert written.schema.field("score").type == pa.float64()


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_a_file_without_a_row_becomes_one_with_all_columns(tmp_path: Path, name: str) -> None:
    if name == "in.csv":
        (tmp_path / name).write_text("id,text\n", encoding="utf-8")
    else:
        pq.write_table(table(TEXTS).select(["id", "text"]).slice(0, 0), tmp_path / name)
    run("predict", RUN, tmp_path / name, "-o", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.num_rows == 0
    assert written.column_names == ["row", "label", "score", "truncated", "unknown", "error", "id", "text"]


def test_merged_parquet_parts_are_the_whole_prediction(source: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"part-{number}.parquet" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        run("predict", RUN, source, "-o", part, "--shard", f"{number}/3")
    run("predict", RUN, source, "-o", tmp_path / "whole.parquet")
    run("merge", *parts, "-o", tmp_path / "merged.parquet")
    merged, whole = pq.read_table(tmp_path / "merged.parquet"), pq.read_table(tmp_path / "whole.parquet")
    assert merged.drop_columns("score").equals(whole.drop_columns("score"))
    assert merged["score"].to_pylist() == pytest.approx(whole["score"].to_pylist(), abs=1e-5)


def test_files_with_other_columns_are_refused_before_anything_is_predicted(
    source: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(table(TEXTS).drop_columns("price"), other)
    said = run("predict", RUN, source, other, "-o", tmp_path / "out.parquet", exit_code=3)
    assert "other.parquet: has other columns or types than" in said
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_parquet_needs_a_file_and_no_option_of_csv(source: Path, tmp_path: Path) -> None:
    assert "name it with -o" in run("predict", RUN, source, "--format", "parquet", exit_code=2)
    said = run("predict", RUN, source, "-o", tmp_path / "out.parquet", "--bom", exit_code=2)
    assert "the output is Parquet" in said
