"""Data without a config: what is guessed is right, is said, and can be typed again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.config.guess import Given, guess
from lstm_cli.config.load import load_config
from lstm_cli.errors import ConfigError, DataError
from tests.config.tables import ROWS, label, mode, table, text


def test_what_is_given_is_not_guessed(tmp_path: Path) -> None:
    columns = {"review": text, "comment": text, "class": label, "topic": mode}
    source = table(tmp_path / "rows.csv", columns)
    data = guess(source, Given("comment", "topic", "documents")).content
    assert (data["data"]["text_column"], data["data"]["label_column"]) == ("comment", "topic")
    assert data["task"]["pooling"] == "max"
    with pytest.raises(ConfigError, match=r'--text coment: no such column .* Did you mean "comment"'):
        guess(source, Given(text="coment"))
    with pytest.raises(ConfigError, match=r'no such preset .* Did you mean "documents"'):
        guess(source, Given("comment", "topic", "document"))


def test_formats_that_say_themselves_what_is_what_need_no_columns(tmp_path: Path) -> None:
    for one in ("good", "bad"):
        (tmp_path / "folder" / one).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "folder" / one / f"{i}.txt").write_text(f"{one} text {i}", "utf-8")
    lines = "".join(f"__label__{label} {text}\n" for text, label in ROWS)
    (tmp_path / "fast.txt").write_text(lines, "utf-8")
    for source in (tmp_path / "folder", tmp_path / "fast.txt", "builtin:reviews"):
        data = guess(str(source), Given()).content["data"]
        assert "text_column" not in data
        with pytest.raises(ConfigError, match="has no columns"):
            guess(str(source), Given(text="text"))


@pytest.mark.parametrize(
    ("texts", "preset"),
    [
        ([f"很好的电影，我喜欢第{i}部，非常好看" for i in range(60)], "multilingual"),
        (["the film was good and the plot was fine"] * 60, "sentences"),
        (["the film was good and the plot was fine " * 20] * 60, "documents"),
        ([f"lang{i} wort{i * 7} neu{i * 3} immer" for i in range(60)], "multilingual"),
    ],
)
def test_the_preset_follows_from_script_length_and_unknown_words(
    tmp_path: Path, texts: list[str], preset: str
) -> None:
    rows = [{"text": f"{text}", "label": "ab"[i % 2]} for i, text in enumerate(texts)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8")
    assert any(
        one.startswith(f"preset {preset}: ") for one in guess(str(tmp_path / "rows.json"), Given()).said
    )


@pytest.mark.parametrize(("count", "test"), [(999, None), (1000, 0.1)])
def test_rows_are_held_out_for_a_final_score_where_there_are_enough(
    tmp_path: Path, count: int, test: float | None
) -> None:
    lines = [f"text number {i % 50} of many,{'ab'[i % 2]}" for i in range(count)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), "utf-8")
    guessed = guess(str(tmp_path / "rows.csv"), Given())
    assert guessed.content["data"]["test"] == test
    assert ("--folds" in guessed.said[-1]) == (test is None)


@pytest.mark.parametrize(
    ("count", "preset", "batch_size"),
    [(200, "sentences", 8), (1_499, "multilingual", 8), (1_500, "sentences", 32), (200, "documents", 64)],
)
def test_few_short_texts_are_read_in_small_batches(
    tmp_path: Path, count: int, preset: str, batch_size: int
) -> None:
    lines = [f"text number {i % 50} of many,{'ab'[i % 2]}" for i in range(count)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), "utf-8")
    guessed = guess(str(tmp_path / "rows.csv"), Given(preset=preset))
    assert guessed.content["train"]["batch_size"] == batch_size
    assert any("make more steps" in one for one in guessed.said) == (batch_size == 8)
    assert len(guessed.said) <= 6
    kept = load_config(preset).pretrain.epochs
    assert load_config(guessed.content).pretrain.epochs == kept


def test_too_few_rows_and_another_encoding_are_named_as_the_cause(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\ngood film,a\nbad film,b\n", "utf-8")
    with pytest.raises(DataError, match="2 rows that can be read are too few"):
        guess(str(path), Given())
    path.write_text("text,label\n" + "très bon,a\npas bon à voir,b\n" * 20, "latin-1")
    assert guess(str(path), Given(), ["data.encoding=latin-1"])
    path.write_text("text,label\n" + "très bon,a\n" * 20, "latin-1")
    with pytest.raises(DataError, match=r"not valid UTF-8.* --set data\.encoding=latin-1"):
        guess(str(path), Given())


def invoke(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


SMALL = ["task.encoder.init_from=null", "task.encoder.embedding_size=8", "task.encoder.hidden_size=8"]


def test_two_commands_lead_from_a_file_to_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "reviews.csv", {"Review": text, "Sentiment": label})
    small = [part for key in SMALL for part in ("--set", key)]
    trained = invoke("train", "reviews.csv", "--epochs", "1", "--threads", "1", "--seed", "3", *small)
    assert trained.exit_code == 0, trained.output
    assert (
        "the text is column Review (by its name), the label column Sentiment (by its name)" in trained.stderr
    )
    predicted = invoke("predict", "runs/reviews", "--text", "good", "--quiet")
    assert json.loads(predicted.stdout)["label"] in ("negative", "positive")
    config = load_config("runs/reviews")
    assert (config.train.epochs, config.run.threads, config.run.seed) == (1, 1, 3)


def test_a_dry_run_prints_the_config_that_does_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = table(tmp_path / "reviews.csv", {"text": text, "label": label})
    dry = invoke(
        "train", source, "--dry-run", "--lr", "0.01", "--batch-size", "7", "--set", "train.batch_size=9"
    )
    assert dry.exit_code == 0
    assert not (tmp_path / "runs").exists()
    printed = yaml.safe_load(dry.stdout)
    assert (printed["train"]["learning_rate"], printed["train"]["batch_size"]) == (0.01, 9)
    (tmp_path / "same.yaml").write_text(dry.stdout, "utf-8")
    again = invoke("train", "same.yaml", "--dry-run", "--run", "runs/reviews")
    assert yaml.safe_load(again.stdout) == printed
    for command in (
        ["train", "same.yaml", "--text", "text"],
        ["check", "same.yaml", "--preset", "sentences"],
    ):
        refused = invoke(*command)
        assert refused.exit_code == 2
        assert "for data without a config" in refused.stderr
    preset = invoke("train", "sentences", "--set", "data.train=reviews.csv", "--dry-run")
    assert yaml.safe_load(preset.stdout)["task"]["pooling"] == "attention"
    assert invoke("check", "reviews.csv").exit_code == 0


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_words_and_tags_make_a_tagger(tmp_path: Path, kind: str) -> None:
    rows = [{"words": ["the", f"dog{i}"], "tags": ["O", "B-PET"]} for i in range(20)]
    source = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), source)
    content = guess(str(source), Given()).content
    assert content["task"]["kind"] == "tag"
    assert content["train"]["select_by"] == "span_f1"
    with pytest.raises(ConfigError, match="name it with --label"):
        guess(str(source), Given(text="words"))
