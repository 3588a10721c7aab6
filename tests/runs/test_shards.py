"""Predictions in parts, for several machines, and their merge."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.errors import ConfigError
from lstm_cli.runs.shards import Shard, record_path

RUN = str(Path(__file__).parents[1] / "golden" / "lstm")
NUM_ROWS = 11


def run(*arguments: str | Path, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == exit_code, result.output
    return " ".join(result.stderr.split())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"a good film, number {i}\n{'bad ' * i}", i) for i in range(NUM_ROWS)]
        csv.writer(file).writerows([("text", "id"), *rows])
    return path


def parts(source: Path, count: int, ending: str = "jsonl", *options: str) -> list[Path]:
    outputs = [source.with_name(f"part-{number}.{ending}") for number in range(1, count + 1)]
    for number, output in enumerate(outputs, 1):
        run("predict", RUN, source, "-o", output, "--shard", f"{number}/{count}", *options)
    return outputs


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_every_row_is_in_exactly_one_part_and_the_parts_are_of_one_size(total: int, count: int) -> None:
    ranges = [Shard(number, count).rows(total) for number in range(1, count + 1)]
    assert [row for one in ranges for row in one] == list(range(total))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.0/4", "٣/٤"])
def test_another_form_of_a_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard: must be i/N"):
        Shard.parse(text)


def test_merged_parts_are_the_whole_prediction_whatever_their_order(source: Path) -> None:
    whole, merged = source.with_name("whole.jsonl"), source.with_name("merged.jsonl")
    run("predict", RUN, source, "-o", whole)
    outputs = parts(source, 3)
    assert "11 rows of 3 shards" in run("merge", *reversed(outputs), "-o", merged)
    assert [line["row"] for line in lines(merged)] == list(range(NUM_ROWS))
    for ours, expected in zip(lines(merged), lines(whole), strict=True):
        assert ours.pop("score") == pytest.approx(expected.pop("score"), abs=1e-5)
        assert ours == expected


@pytest.mark.parametrize("options", [(), ("--bom",)])
def test_merged_tables_have_one_header_and_an_empty_part_is_no_gap(
    source: Path, options: tuple[str, ...]
) -> None:
    merged = source.with_name("merged.csv")
    run("merge", *parts(source, 13, "csv", *options), "-o", merged)
    content = merged.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") == bool(options)
    assert content.count(b"\xef\xbb\xbf") == len(options)
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines(keepends=True)))
    assert [row["row"] for row in rows] == [row["id"] for row in rows] == [str(i) for i in range(NUM_ROWS)]


def test_a_part_leaves_a_record_of_its_rows_and_needs_files_to_read_and_to_write(source: Path) -> None:
    output = source.with_name("part.jsonl")
    run("predict", RUN, source, "-o", output, "--shard", "2/3")
    record = json.loads(record_path(output).read_bytes())
    assert (record["first"], record["num_rows"], record["total"]) == (3, 4, NUM_ROWS)
    assert "needs files to read and a file to write" in run(
        "predict", RUN, source, "--shard", "1/2", exit_code=2
    )


def test_what_is_no_whole_prediction_is_not_merged(source: Path) -> None:
    first, second, third = parts(source, 3)
    merged = source.with_name("merged.jsonl")

    def refused(*outputs: Path) -> str:
        said = run("merge", *outputs, "-o", merged, exit_code=3)
        assert not merged.exists()
        return said

    assert "shards are missing: 2/3" in refused(first, third)
    assert "shards are given twice: 1/3" in refused(first, second, first, third)
    assert "has no record whole.jsonl.shard.json" in refused(first, second, third.with_name("whole.jsonl"))
    with third.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    assert f"{third}: is not the file that its record describes" in refused(first, second, third)
    run("predict", RUN, source, "-o", third, "--shard", "3/3", "--probs")
    assert "differs in: probs" in refused(first, second, third)
    record_path(third).write_text("[]", encoding="utf-8")
    assert "not a record of a shard" in refused(first, second, third)
    assert "is one of the shards" in run("merge", first, second, "-o", first, exit_code=2)
