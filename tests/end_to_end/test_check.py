"""The linter on the command line: what it prints where, how it exits, and a cleaned copy that trains."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.tasks import TASKS
from tests.conftest import small_rows
from tests.running_sum import RunningSumConfig

MENDED = {
    "unreadable",
    "empty-texts",
    "mojibake",
    "control-characters",
    "exact-duplicates",
    "conflicting-labels-exact",
    "exact-leak",
    "label-spellings",
}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def report(*arguments: str, exit_code: int) -> dict[str, Any]:
    result = run("check", *arguments, "--json")
    assert result.exit_code == exit_code, result.stderr
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def codes(of: dict[str, Any]) -> dict[str, int]:
    return {f"{one['code']} {one['split']}": one["count"] for one in of["findings"]}


@pytest.fixture
def spoilt_yaml(small_yaml: str, tmp_path: Path) -> str:
    """The small data with every fault that `--fix` mends planted in train."""
    (test_row,) = small_rows(1, 2)
    planted = [
        (" ", "positive"),
        ("the cafÃ© was fine", "positive"),
        ("that\x92s fine<br />really", "Positive"),
        ("word for word", "positive"),
        ("word for word", "positive"),
        ("hard to say", "positive"),
        ("hard to say", "negative"),
        test_row,
        ("no label at all", ""),
    ]
    with (tmp_path / "train.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(planted)
    return small_yaml


def test_sound_data_is_reported_with_its_numbers_and_exit_0(small_yaml: str) -> None:
    found = report(small_yaml, exit_code=0)
    assert found["findings"] == [] or all(one["severity"] != "error" for one in found["findings"])
    train = found["splits"]["train"]
    assert (train["rows"], train["classes"]) == (120, {"negative": 60, "positive": 60})
    assert 1 <= train["words"]["median"] <= train["words"]["p95"] <= train["words"]["max"]
    assert 0 < train["truncated_share"] < 1
    assert train["unknown_share"] == 0


def test_every_fault_is_reported_at_once_and_the_cleaned_copy_has_none_and_trains(
    spoilt_yaml: str, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.glob("*.csv")}
    found = report(spoilt_yaml, exit_code=3)
    assert {one["code"] for one in found["findings"]} >= MENDED
    named = next(one for one in found["findings"] if one["code"] == "exact-leak")
    assert named["split"] == "train → test"
    assert named["examples"] == [
        {"where": f"{tmp_path}/test.csv:2", "detail": f"as {tmp_path}/train.csv:129"}
    ]
    assert named["advice"]
    out = tmp_path / "clean.csv"
    fixed = run("check", spoilt_yaml, "--fix", str(out))
    assert fixed.exit_code == 3  # the data of the config are still what they were
    assert f"--set data.train={out}" in fixed.stderr
    clean = report(spoilt_yaml, "--set", f"data.train={out}", exit_code=0)
    assert not {one["code"] for one in clean["findings"]} & MENDED
    assert clean["splits"]["train"]["rows"] == 120 + 3
    assert {path: path.read_bytes() for path in before} == before
    trained = run(
        "train",
        spoilt_yaml,
        "--set",
        f"data.train={out}",
        "--set",
        "train.epochs=1",
        "--no-baselines",
        "--quiet",
    )
    assert trained.exit_code == 0, trained.stderr


def test_errors_are_one_message_and_the_rest_is_lines_or_nothing(spoilt_yaml: str) -> None:
    result = run("check", spoilt_yaml)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("error: train: rows or files that cannot be read: 1\n")
    assert result.stderr.count("error: ") == 2
    assert "error: rows that cannot be read: see the first message\n" in result.stderr
    assert (
        "warning: train: rows that repeat the text of an earlier row, letter by letter: 2 (" in result.stderr
    )
    quiet = run("check", spoilt_yaml, "--quiet")
    assert quiet.stderr.startswith("error: ")
    assert "warning" not in quiet.stderr


def test_faults_of_every_file_are_told_at_once(small_yaml: str, tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("text,label\nfine,postive\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("txt,label\nfine,positive\n", encoding="utf-8")
    found = codes(report(small_yaml, exit_code=3))
    assert found["unknown-labels dev"] == 1
    assert found["unreadable test"] == 1


def test_dev_rows_cut_from_train_are_counted_with_the_file_they_stand_in(
    spoilt_yaml: str, tmp_path: Path
) -> None:
    found = report(spoilt_yaml, "--set", "data.dev=0.2", "--set", "data.test=null", exit_code=3)
    assert found["splits"]["train"]["rows"] + found["splits"]["dev"]["rows"] == 129
    assert codes(found)["exact-duplicates train"] == 2
    assert "exact-leak train → dev" not in codes(found)  # copies stay on one side


@pytest.mark.parametrize("test", ["0.2", "fold:2/5"])
@pytest.mark.parametrize("dev", ["0.2", "{}/dev.csv"])
def test_test_rows_cut_from_train_are_counted_and_leave_it(
    spoilt_yaml: str, tmp_path: Path, test: str, dev: str
) -> None:
    keys = ("--set", f"data.test={test}", "--set", f"data.dev={dev.format(tmp_path)}")
    found = report(spoilt_yaml, *keys, exit_code=3)
    rows = {name: split["rows"] for name, split in found["splits"].items()}
    assert rows["train"] + rows["test"] + (rows["dev"] if dev == "0.2" else 0) == 129
    assert 20 <= rows["test"] <= 30
    assert codes(found)["exact-duplicates train"] == 2
    assert "exact-leak train → test" not in codes(found)  # copies stay on one side
    out = tmp_path / "clean.csv"
    run("check", spoilt_yaml, *keys, "--fix", str(out))
    assert len(out.read_text("utf-8").splitlines()) > 100


def test_suspects_are_ranked_with_their_line(small_yaml: str, tmp_path: Path) -> None:
    rows = small_rows(300, 0)
    rows[7] = (rows[7][0], "negative")  # was positive
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    suspects = report(small_yaml, "--suspects", exit_code=0)["suspects"]["ranked"]
    assert {
        "where": f"{tmp_path}/train.csv:9",
        "given": "negative",
        "suggested": "positive",
    }.items() <= suspects[0].items()
    assert "suspects" not in report(small_yaml, exit_code=0)
    assert "suspicious labels" in run("check", small_yaml, "--suspects").stderr


def test_a_file_that_breaks_off_hides_nothing_that_was_read_before(small_yaml: str, tmp_path: Path) -> None:
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as file:
        file.write('never closed,"positive\n')
    found = report(small_yaml, "--suspects", "--fix", str(tmp_path / "out.csv"), exit_code=3)
    assert codes(found)["unreadable train"] == 1
    assert found["splits"]["train"]["rows"] == 120
    assert not (tmp_path / "out.csv").exists()


def test_a_name_for_the_copy_that_cannot_be_used_is_exit_2_before_anything_is_read(
    small_yaml: str, tmp_path: Path
) -> None:
    for name in ("train.csv", "clean.parquet"):
        result = run("check", small_yaml, "--fix", str(tmp_path / name), "--set", "data.dev=missing.csv")
        assert result.exit_code == 2
        assert "--fix" in result.stderr


@pytest.fixture
def vectors_yaml(tmp_path: Path) -> Iterator[str]:
    """A config of a task whose rows hold vectors, and 20 rows each for train and dev."""
    for name, first in (("train", 0), ("dev", 20)):
        rows = [{"text": [[i, 1], [-1, -i]], "label": [1, 0]} for i in range(first, first + 20)]
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
    config = tmp_path / "vectors.yaml"
    config.write_text(
        f"data: {{train: {tmp_path}/train.jsonl, dev: {tmp_path}/dev.jsonl}}\ntask: {{kind: running-sum}}\n",
        encoding="utf-8",
    )
    TASKS.append(RunningSumConfig)
    yield str(config)
    TASKS.remove(RunningSumConfig)


def test_rows_of_vectors_are_checked_without_a_word_about_texts(vectors_yaml: str, tmp_path: Path) -> None:
    sound = report(vectors_yaml, exit_code=0)
    assert [finding["code"] for finding in sound["findings"]] == ["no-test"]
    assert sound["splits"]["train"]["size"] == {"median": 16, "p95": 16, "max": 16}
    assert sound["splits"]["train"]["truncated_share"] == 0
    train = (tmp_path / "train.jsonl").read_text("utf-8")
    dev = (tmp_path / "dev.jsonl").read_text("utf-8").splitlines()
    broken = '{"text": "no vector", "label": []}\n'
    (tmp_path / "train.jsonl").write_text(
        f"{train}{train.splitlines()[0]}\n{broken}{dev[0]}\n", encoding="utf-8"
    )
    found = report(vectors_yaml, exit_code=3)
    assert codes(found) == {
        "unreadable train": 1,
        "exact-duplicates train": 1,
        "exact-leak train → dev": 1,
        "no-test dev": 20,
    }
    assert found["splits"]["train"]["truncated_share"] is None
    assert "text" not in " ".join(one["what"] + one["advice"] for one in found["findings"])


@pytest.mark.parametrize("option", ["--fix", "--suspects"])
def test_options_that_need_texts_are_refused_for_rows_of_vectors(
    option: str, vectors_yaml: str, tmp_path: Path
) -> None:
    out = [str(tmp_path / "out.csv")] if option == "--fix" else []
    result = run("check", vectors_yaml, option, *out, "--set", "data.dev=missing.csv")
    assert result.exit_code == 2
    assert (
        f"{option}: works on texts only, got a task whose rows hold Vectors; leave {option} out"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\n", "no rows. Is this the right file?"),
        ("review,label\ngood,x\n", 'no column "text" (have: review, label)'),
        (
            "text,label\n" + "".join(f"text {n},{n / 7}\n" for n in range(30)),
            "has a label of its own, such as",
        ),
        ("text,label,label\ngood,x,y\n", 'column 2 ("label") and column 3 ("label") can both be meant'),
        ('text,label\n"good,x\n', "is not closed"),
    ],
)
def test_data_that_cannot_be_read_is_the_first_thing_shown_and_without_empty_tables(
    small_yaml: str, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    data = ("data.train=bad.csv", "data.dev=0.1", "data.test=null")
    result = run("check", small_yaml, *(f"--set={one.replace('bad', str(tmp_path / 'bad'))}" for one in data))
    assert result.exit_code == 3
    assert said in result.stderr
    assert "Raise the fraction" not in result.stderr
    if "label of its own" not in said:
        assert result.stderr.startswith("error: train: ")
        assert "median" not in result.stderr


def test_rows_that_cannot_be_read_come_before_the_numbers_without_them(spoilt_yaml: str) -> None:
    said = run("check", spoilt_yaml).stderr
    assert (
        said.index("train.csv:130: the label") < said.index("median words") < said.index("are also in train")
    )
