"""Every shipped YAML loads and trains a step, every key of the schema changes something, every preset is explained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from lstm_cli.cli import app
from lstm_cli.config.load import keys, load_config, run_config
from lstm_cli.config.presets import presets
from lstm_cli.data.corpus import load_corpus
from lstm_cli.data.sources import load_splits
from lstm_cli.data.tagged import Words
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import BpeConfig, CharConfig, UnigramConfig, WordConfig
from lstm_cli.errors import LstmclsError
from lstm_cli.runs.origin import named_origin
from lstm_cli.runtime import start
from lstm_cli.tasks import TASKS
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.tasks.pretrain import Pretrain
from lstm_cli.training.fit import EncodedSplits, EpochReport, fit
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_trains_a_step_on_tiny_rows(path: Path, small_yaml: str, tmp_path: Path) -> None:
    ending = "conll" if path.stem == "tagger" else "csv"
    for split in ("train", "dev"):
        (tmp_path / f"{split}.conll").write_text(
            "one NUM\ntwo NUM\nwords NOUN\n\n" * 3 + "a DET\nword NOUN\n", encoding="utf-8"
        )
    small = [
        f"data.train={tmp_path}/train.{ending}",
        f"data.dev={tmp_path}/dev.{ending}",
        "data.test=null",
        "run.threads=1",
    ]
    reads_text = load_config(str(path)).task.content in (Text, Words)
    config = load_config(str(path), small if reads_text else small[2:])
    runtime = start(config.run)
    splits = load_splits(config.data, 0, content=config.task.content)
    task = config.task.fit(splits.train)
    data = EncodedSplits(task.encode(splits.train), task.encode(splits.dev))
    state = TrainState.start(task, config.train, runtime, 0)
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    next(fit(state, task, data, config.train, runtime))
    assert all(not torch.equal(value, before[name]) for name, value in state.model.named_parameters())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_says_what_it_needs(path: Path) -> None:
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    assert any("Needs" in line for line in header)
    assert path.stem in presets()


@pytest.mark.parametrize("preset", [path.stem for path in CONFIGS])
def test_init_writes_the_preset_with_every_key_explained(preset: str, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    assert CliRunner().invoke(app, ["init", preset, "-o", str(target)]).exit_code == 0
    original = next(path for path in CONFIGS if path.stem == preset)
    written = load_config(str(target))
    assert written.run.dir == "runs/mine"  # two configs of one preset do not share a folder
    assert written == load_config(str(original), run_dir="runs/mine")
    above = ""
    for line in target.read_text("utf-8").splitlines():
        assert (
            line.lstrip().startswith("#") or line.endswith(":") or "  # " in line or above.startswith("#")
        ), line
        assert len(line) <= 110
        above = line.lstrip()
    again = CliRunner().invoke(app, ["init", preset, "-o", str(target)])
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_init_writes_a_schema_that_editors_can_use() -> None:
    schema = json.loads(CliRunner().invoke(app, ["init", "--schema"]).stdout)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["train"]
    select_by = schema["$defs"]["TrainConfig"]["properties"]["select_by"]
    assert select_by["enum"] == list(dict.fromkeys(one.name for kind in TASKS for one in kind.metrics))
    assert "lstm, rnn" in str(schema) or "lstm" in str(schema["$defs"]["EncoderConfig"]["properties"]["cell"])


# --- every key changes something ---------------------------------------------------------------------------------


def leaves() -> Iterator[str]:
    """Every key of the schema as a dotted path, each kind of tokenizer's own keys included."""
    config = run_config().model_validate({"data": {"train": "x"}})
    for key in keys(config):
        if key.path[:2] != ("task", "tokenizer"):
            yield ".".join(key.path)
    for kind in (WordConfig, BpeConfig, UnigramConfig, CharConfig):
        name = kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        for field in kind.model_fields:
            yield f"task.tokenizer[{name}].{field}"


OTHER: dict[str, Any] = {
    "data.train": "{}/more.csv",
    "data.dev": 0.25,
    "data.test": [{}, 0.25, "fold:1/3", "fold:2/3", "fold:2/4", "{}/more.csv"],
    "data.unlabelled": "{}/more.csv",
    "data.text_column": "title",
    "data.label_column": "other",
    "data.group_column": "title",
    "data.join": [{"text_column": ["text", "title"]}, " and "],
    "data.format": [{"train": "{}/odd.dat", "columns": ["text", "label", "title", "other"]}, "csv", "tsv"],
    "data.delimiter": [{"train": "{}/bars.csv"}, ";", "|"],
    "data.encoding": "cp1250",
    "data.columns": ["label", "x", "text", "y"],
    "data.quoting": [{"train": "{}/quoted.tsv"}, "standard"],
    "data.series": {"window": 3},
    "task.max_tokens": 3,
    "task.truncation": [{"max_tokens": 3}, "tail"],
    "task.encoder.embedding_size": 9,
    "task.encoder.embedding_dropout": 0.4,
    "task.encoder.word_dropout": 0.4,
    "task.encoder.cell": "gru",
    "task.encoder.hidden_size": 9,
    "task.encoder.num_layers": 2,
    "task.encoder.bidirectional": False,
    "task.encoder.dropout": [{"num_layers": 2}, 0.4],
    "task.encoder.path": "packed",
    "task.encoder.init_from": "{}/nowhere",
    "task.pooling": "mean",
    "task.dropout": 0.5,
    "task.class_weights": "balanced",
    "task.label_smoothing": 0.2,
    "task.adversarial": 0.3,
    "task.features": "ngrams",
    "train.epochs": 3,
    "train.batch_size": 5,
    "train.batch_tokens": 20,
    "train.accumulate": 2,
    "train.learning_rate": 0.02,
    "train.schedule": "constant",
    "train.warmup": 0.5,
    "train.plateau_patience": [
        {"schedule": "plateau", "learning_rate": 1e-30, "epochs": 4, "patience": 0},
        0,
    ],
    "train.plateau_factor": [
        {"schedule": "plateau", "learning_rate": 1e-30, "epochs": 4, "patience": 0, "plateau_patience": 0},
        0.1,
    ],
    "train.weight_decay": 0.3,
    "train.clip_norm": 0.001,
    "train.ema": 0.5,
    "train.select_by": "log_loss",
    "train.patience": [{"learning_rate": 1e-30, "epochs": 4}, 1],
    "train.pretrained_rate": 0.5,
    "train.frozen_epochs": 0.5,
    "train.max_bad_steps": [{"learning_rate": 1e30, "clip_norm": 1e30, "batch_size": 2}, 3],
    "train.save_every": 3,
    "pretrain.epochs": 2,
    "pretrain.budget": [{"epochs": 2}, 1],
    "pretrain.batch_size": 5,
    "pretrain.learning_rate": 0.02,
    "pretrain.sampled_tokens": 2,
    "run.device": "cuda",
    "run.precision": "bf16",
    "run.threads": 2,
    "run.deterministic": False,
    "run.dir": "{}/elsewhere",
    "run.seed": 1,
    "run.tensorboard": True,
    "task.tokenizer[word].lowercase": False,
    "task.tokenizer[word].strip_markup": True,
    "task.tokenizer[word].vocab_size": 9,
    "task.tokenizer[word].min_count": 30,
    "task.tokenizer[bpe].lowercase": False,
    "task.tokenizer[bpe].strip_markup": True,
    "task.tokenizer[bpe].vocab_size": 60,
    "task.tokenizer[bpe].min_count": 30,
    "task.tokenizer[unigram].lowercase": False,
    "task.tokenizer[unigram].strip_markup": True,
    "task.tokenizer[unigram].vocab_size": 35,
    "task.tokenizer[char].lowercase": False,
    "task.tokenizer[char].strip_markup": True,
    "task.tokenizer[char].vocab_size": 9,
    "task.tokenizer[char].min_count": 40,
}
FIXED = {"task.kind", *(f"task.tokenizer[{kind}].kind" for kind in ("word", "bpe", "unigram", "char"))}
"""Keys that choose between sections; each tokenizer's `kind` is what its other keys are tried under."""


READ_BY_SEQUENCES = {"data.sequences"}
"""tests/data/test_dense.py reads rows with other values of it."""

READ_BY_TAGGERS = {"data.words_column", "data.tag_column"}
"""tests/data/test_conll.py reads rows with other values of them."""


def test_every_key_of_the_schema_is_tried() -> None:
    assert set(leaves()) == set(OTHER) | FIXED | READ_BY_TAGGERS | READ_BY_SEQUENCES


@pytest.mark.parametrize("key", OTHER)
def test_every_key_changes_something(key: str, tmp_path: Path) -> None:
    _write_rows(tmp_path)
    context, values = {}, OTHER[key]
    if isinstance(values, list) and isinstance(values[0], dict):
        context, *values = values
    else:
        values = [values]
    path = key.replace("[", ".").replace("]", "").split(".")
    raw = _base(tmp_path)
    if path[:2] == ["task", "tokenizer"]:
        raw["task"]["tokenizer"] = {"kind": path.pop(2)}
    section = raw
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section.update(_filled(context, tmp_path))
    fingerprint = _of_pretraining if path[0] == "pretrain" or path[-1] == "unlabelled" else _of_training
    before = fingerprint(raw, tmp_path)
    for value in values:
        section[path[-1]] = _filled(value, tmp_path)
        after = fingerprint(raw, tmp_path)
        assert after != before
        before = after


def _filled(value: Any, folder: Path) -> Any:
    match value:
        case str():
            return value.replace("{}", str(folder))
        case dict():
            return {name: _filled(one, folder) for name, one in value.items()}
        case _:
            return value


def _base(folder: Path) -> dict[str, Any]:
    return {
        "data": {"train": f"{folder}/train.csv", "dev": 0.3},
        "task": {
            "tokenizer": {"kind": "word", "min_count": 1},
            "encoder": {"embedding_size": 4, "hidden_size": 4},
        },
        "train": {"epochs": 2, "batch_size": 16, "learning_rate": 0.01},
        "run": {"dir": f"{folder}/run", "threads": 1},
    }


def _write_rows(folder: Path) -> None:
    """60 rows in which label, other label, title, case, markup and a non-ASCII letter all tell runs apart."""
    rows = [
        f'"{text} Ça <b>Word</b>",{label},title {i % 3},{"ab"[i % 3 == 0]}\n'
        for i, (text, label) in enumerate(small_rows(60))
        if i % 5 or label == "positive"  # so that the classes are not balanced
    ]
    header = "text,label,title,other\n"
    (folder / "train.csv").write_text(header + "".join(rows), encoding="utf-8")
    (folder / "more.csv").write_text(header + "".join(rows[10:]), encoding="utf-8")
    (folder / "bars.csv").write_text(
        "text,label|x;text|label\n"
        + "".join(f"word{i % 9},{'ab'[i % 2]}|u;v|{'xy'[i % 2]}\n" for i in range(40)),
        encoding="utf-8",
    )
    (folder / "quoted.tsv").write_text(
        "text\tlabel\n" + "".join(f'"word{i % 9}"\t{"ab"[i % 2]}\n' for i in range(40)), encoding="utf-8"
    )
    (folder / "odd.dat").write_text(
        "text\tlabel,label\ttext\n"
        + "".join(f'"word{i % 9}"\t{"ab"[i % 2]},{"xy"[i % 2]}\tz,q\n' for i in range(40)),
        encoding="utf-8",
    )


def _of_pretraining(raw: dict[str, Any], folder: Path) -> str:
    """Everything that a pretraining makes of a config, as one digest."""
    path = folder / "key.yaml"
    raw.setdefault("pretrain", {}).setdefault("epochs", 1)
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    config = load_config(str(path))
    corpus = load_corpus(config.data, load_splits(config.data, 0, content=Text), 0)
    assert isinstance(config.task, ClassifyConfig)
    task = Pretrain.learn(config.task, corpus, config.pretrain.sampled_tokens)
    data = EncodedSplits(task.encode(corpus.train), task.encode(corpus.held_out))
    settings = config.pretrain.settings(config.train, data.train.num_steps)
    runtime = start(config.run)
    state = TrainState.start(task, settings, runtime, 0)
    for _ in fit(state, task, data, settings, runtime):
        pass
    seen = {name: value.tolist() for name, value in state.scored_model.state_dict().items()}
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _of_training(raw: dict[str, Any], folder: Path) -> str:
    """Everything that a training makes of a config, as one digest; a fault that a user would see counts as well."""
    path = folder / "key.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    seen: list[Any] = []
    try:
        config = load_config(str(path))
        runtime = start(config.run)
        splits = load_splits(config.data, config.run.seed, content=Text)
        for rows in (splits.train, splits.dev, splits.test):
            seen.append([(row.content.text, row.content.label) for row in rows] if rows is not None else None)
        assert isinstance(config.task, ClassifyConfig)
        origin = named_origin(config.task, config.run.seed)
        task = config.task.fit(splits.train, origin)
        data = EncodedSplits(task.encode(splits.train), task.encode(splits.dev))
        seen += [task.tokenizer.to_json(), data.train.inputs.values.tolist()]
        state = TrainState.start(task, config.train, runtime, config.run.seed)
        seen += [
            runtime.why,
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            config.run.dir,
        ]
        # what only the command reads; that it does is held by end_to_end/
        seen += [config.run.tensorboard, config.train.save_every, task.build_model().encoder.recurrent.path]
        for one in fit(state, task, data, config.train, runtime):
            if isinstance(one, EpochReport):
                seen.append([one.dev.scalars(), one.improved, one.learning_rate, one.skipped_steps])
        seen.append({name: value.tolist() for name, value in state.scored_model.state_dict().items()})
        seen.append(state.progress.best_score)
    except LstmclsError as fault:
        seen.append(str(fault))
    finally:
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)
    return hashlib.sha256(repr(seen).encode()).hexdigest()
