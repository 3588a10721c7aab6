"""The classifier: its vocabulary and labels come from train alone, its files read back, long texts keep their ends."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_cli.batch import UNK_ID
from lstm_cli.config.load import run_config
from lstm_cli.data.cache import cache_folder
from lstm_cli.data.config import DataConfig
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import load_splits, open_rows
from lstm_cli.data.text import Text, text_row
from lstm_cli.data.tokenizer import TextTokenizer, WordConfig
from lstm_cli.errors import CheckpointError
from lstm_cli.runs.checkpoint import load_checkpoint, save
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring import prediction, windows
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.tasks import load_task
from lstm_cli.tasks.base import Task
from lstm_cli.tasks.classify import Classify, ClassifyConfig
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import EncodedSplits, fit
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows

CPU = start(RuntimeConfig(device="cpu", threads=1))
TEXTS = [text for text, _ in small_rows(60)]


def task_of(config: dict[str, object]) -> Classify:
    """A task learned from sixty rows, without a file."""
    settings_ = ClassifyConfig.model_validate(config)
    tokenizer = TextTokenizer.learn(settings_.tokenizer, TEXTS)
    return Classify(settings_, tokenizer, Labels(("negative", "neutral", "positive"), (20, 20, 20)))


SMALL = {"encoder": {"embedding_size": 6, "hidden_size": 5, "num_layers": 2}, "max_tokens": 30}
TASKS = [
    task_of({**SMALL, "tokenizer": {"kind": kind, "vocab_size": 200}, "pooling": pooling})
    for kind, pooling in [
        ("word", "final"),
        ("char", "max"),
        ("bpe", "mean+max"),
        ("unigram", "attention"),
        ("word", "mean"),
        ("word", "final-all-layers"),
    ]
]
torch.manual_seed(0)
MODELS = [task.build_model() for task in TASKS]
BOTH = list(zip(TASKS, MODELS, strict=True))


def outputs(task: Task, model: torch.nn.Module, texts: list[str]) -> np.ndarray:
    rows = [text_row(text, None, "test", i + 1) for i, text in enumerate(texts)]
    results = list(predict_rows(model, task, rows, CPU))
    assert [result.row for result in results] == rows
    return np.stack([result.output for result in results if result.output is not None])


texts = st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(texts, st.sampled_from(range(len(BOTH))), st.integers(1, 5))
def test_a_row_reads_the_same_alone_and_in_any_company(texts: list[str], which: int, window: int) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    task, model = BOTH[which]
    together = outputs(task, model, texts)
    alone = np.concatenate([outputs(task, model, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_WINDOW_ROWS", window)
        patch.setattr(prediction, "_BATCH_ROWS", 2)
        np.testing.assert_allclose(outputs(task, model, texts), together, atol=1e-5)


@pytest.mark.parametrize("which", range(len(BOTH)))
def test_outputs_are_probabilities(which: int) -> None:
    probs = outputs(*BOTH[which], [*TEXTS, ""])
    assert probs.shape == (61, 3)
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)


def test_rows_that_could_not_be_read_keep_their_place() -> None:
    rows = [
        text_row("a", None, "f", 1),
        text_row("", None, "f", 2, error="broken"),
        text_row("b", None, "f", 3),
    ]
    results = list(predict_rows(MODELS[0], TASKS[0], rows, CPU))
    assert [result.output is None for result in results] == [False, True, False]
    assert [result.row.line for result in results] == [1, 2, 3]
    only_broken = list(predict_rows(MODELS[0], TASKS[0], rows[1:2], CPU))
    assert [result.output for result in only_broken] == [None]


def test_predicting_reads_no_further_ahead_than_two_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_WINDOW_ROWS", 10)
    read = 0

    def endless() -> Iterator[Row[Text]]:
        nonlocal read
        while True:
            read += 1
            yield text_row(f"text {read}", None, "stream", read)

    stream = predict_rows(MODELS[0], TASKS[0], endless(), CPU)
    for _ in range(15):
        next(stream)
    assert read == 30
    monkeypatch.setattr(windows, "_WINDOW_SIZE", 25)
    stream, read = predict_rows(MODELS[0], TASKS[0], endless(), CPU), 0
    next(stream)
    assert read <= 5


def test_the_first_outputs_wait_for_a_few_rows_and_no_window_outgrows_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "_FIRST_WINDOW_ROWS", 3)
    monkeypatch.setattr(windows, "_WINDOW_ROWS", 10)
    taken: list[int] = []

    def rows() -> Iterator[Row[Text]]:
        for i in range(40):
            taken.append(i)
            yield text_row(f"text {i}", None, "stream", i + 1)

    read = [(result.row.line, len(taken)) for result in predict_rows(MODELS[0], TASKS[0], rows(), CPU)]
    assert [line for line, _ in read] == list(range(1, 41))
    assert sorted({so_far for _, so_far in read}) == [3, 19, 29, 39, 40]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.config.tokenizer.kind + task.config.pooling)
def test_a_task_reads_back_from_its_files(task: Classify) -> None:
    again = load_task(task.files())
    assert again.files() == task.files()
    assert [row.tolist() for row in again.encode_window([text_row("word1 good", None, "f", 1)]).inputs] == [
        row.tolist() for row in task.encode_window([text_row("word1 good", None, "f", 1)]).inputs
    ]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{}"),
        ("config.json", b'{"kind": "classify"}'),
        ("config.json", b'{"kind": "run this"}'),
        ("config.json", b'{"kind": "classify", "task": {"pooling": "x"}, "label_counts": [1, 1, 1]}'),
        ("labels.json", b'{"a": 1}'),
        ("labels.json", b"not json"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_files_that_make_no_task_are_refused(file: str, content: bytes) -> None:
    with pytest.raises(CheckpointError, match="json"):
        load_task({**TASKS[0].files(), file: content})


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_long_rows_keep_the_ends_that_were_asked_for(truncation: str) -> None:
    task = task_of(
        {**SMALL, "max_tokens": 5, "truncation": truncation, "tokenizer": {"kind": "word", "min_count": 1}}
    )
    ids = task.tokenizer.encode([" ".join(f"word{i}" for i in range(12))])[0].tolist()
    window = task.encode_window(
        [text_row(" ".join(f"word{i}" for i in range(12)), None, "f", 1), text_row("good", None, "f", 2)]
    )
    expected = {"head": ids[:5], "tail": ids[-5:], "head+tail": ids[:3] + ids[-2:]}
    assert window.inputs[0].tolist() == expected[truncation]
    assert window.truncated.tolist() == [True, False]


def test_nothing_of_dev_or_test_reaches_vocabulary_or_labels(small_yaml: str, tmp_path: Path) -> None:
    """Dev and test are poisoned with words of their own: the task must not know them, nor change for them."""
    config = DataConfig(train=f"{tmp_path}/train.csv", dev=f"{tmp_path}/dev.csv", test=f"{tmp_path}/test.csv")
    clean = ClassifyConfig().fit(load_splits(config, 0, content=Text).train)
    for name in ("dev", "test"):
        with (tmp_path / f"{name}.csv").open("a", encoding="utf-8") as file:
            file.write("poison poison poison,positive\n" * 50)
    shutil.rmtree(cache_folder())  # or the vocabulary would only be read back
    poisoned = ClassifyConfig().fit(load_splits(config, 0, content=Text).train)
    assert poisoned.files() == clean.files()
    assert set(poisoned.tokenizer.encode(["poison"])[0].tolist()) == {UNK_ID}


def test_a_kept_vocabulary_is_that_of_the_same_rows_and_settings_only(
    small_yaml: str, tmp_path: Path
) -> None:
    train = DataConfig(train=f"{tmp_path}/train.csv", dev=f"{tmp_path}/dev.csv")
    other = DataConfig(train=f"{tmp_path}/dev.csv", dev=f"{tmp_path}/train.csv")
    rare = ClassifyConfig(tokenizer=WordConfig(kind="word", min_count=20))
    cases = [(ClassifyConfig(), train), (ClassifyConfig(), other), (rare, train)]

    def vocabularies() -> list[bytes]:
        return [
            config.fit(load_splits(data, 0, content=Text).train).files()["tokenizer.json"]
            for config, data in cases
        ]

    learned = vocabularies()
    assert len(set(learned)) == 3
    assert vocabularies() == learned
    shutil.rmtree(cache_folder())
    assert vocabularies() == learned


def test_nothing_of_a_cut_off_dev_share_reaches_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rng = random.Random(0)
    words = [f"only{i}" for i in range(200)]
    path.write_text(
        "text,label\n" + "".join(f"{word} {word} common,{rng.choice('ab')}\n" for word in words),
        encoding="utf-8",
    )
    splits = load_splits(DataConfig(train=str(path), dev=0.2), 0, content=Text)
    task = ClassifyConfig().fit(splits.train)
    held_out = [row.content.text.split()[0] for row in splits.dev]
    assert 30 <= len(held_out) <= 50
    assert all(task.tokenizer.encode([word])[0].tolist() == [UNK_ID] for word in held_out)


def test_the_cache_knows_rows_tokenizer_and_truncation_apart(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nword1 good bad,negative\nword2,positive\n", encoding="utf-8")
    rows = open_rows(str(path), DataConfig(train=str(path)), "train", labelled=True, content=Text)
    other = TASKS[0].config.model_copy(update={"max_tokens": 1})
    stores = [
        task.encode(rows).inputs.values.tolist()
        for task in (TASKS[0], TASKS[1], Classify(other, TASKS[0].tokenizer, TASKS[0].labels), TASKS[0])
    ]
    assert stores[0] == stores[3]
    assert stores[0] != stores[1]
    assert len(stores[2]) == 2
    path.write_text("text,label\nword1 good,negative\n", encoding="utf-8")
    changed = open_rows(str(path), DataConfig(train=str(path)), "train", labelled=True, content=Text)
    assert len(TASKS[0].encode(changed)) == 1


def test_a_fresh_process_predicts_the_same_from_a_saved_model(small_yaml: str, tmp_path: Path) -> None:
    splits = load_splits(
        DataConfig(train=f"{tmp_path}/train.csv", dev=f"{tmp_path}/dev.csv"), 0, content=Text
    )
    config = run_config().model_validate(
        {"data": {"train": "x"}, "task": {"kind": "classify", **SMALL}, "train": {"epochs": 1}}
    )
    task = config.task.fit(splits.train)
    data = EncodedSplits(task.encode(splits.train), task.encode(splits.dev))
    state = TrainState.start(task, TrainConfig(epochs=1), CPU, 0)
    for _ in fit(state, task, data, TrainConfig(epochs=1), CPU):
        pass
    save(tmp_path / "best", tmp_path / "last", task, state)
    here = outputs(task, load_checkpoint(tmp_path / "best").load(CPU.device)[1], TEXTS)
    np.testing.assert_array_equal(here, outputs(task, state.model, TEXTS))
    program = (
        "import json, sys; from pathlib import Path; from lstm_cli.runs.checkpoint import load_checkpoint; "
        "from lstm_cli.scoring.prediction import predict_rows; from lstm_cli.data.text import text_row; "
        "from lstm_cli.runtime import RuntimeConfig, start; runtime = start(RuntimeConfig(device='cpu', threads=1)); "
        f"task, model = load_checkpoint(Path({str(tmp_path / 'best')!r})).load(runtime.device); "
        "rows = [text_row(text, None, 'f', 1) for text in json.load(sys.stdin)]; "
        "print(json.dumps([result.output.tolist() for result in predict_rows(model, task, rows, runtime)]))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(TEXTS), capture_output=True, text=True, check=True
    )
    np.testing.assert_array_equal(np.array(json.loads(there.stdout)), here)


def test_a_baseline_learns_neither_from_the_texts_nor_from_the_labels_that_it_is_scored_on(
    tmp_path: Path,
) -> None:
    def rows_of(name: str, rows: list[tuple[str, str]]) -> Any:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows), "utf-8")
        return open_rows(str(path), DataConfig(train="x"), "test", labelled=True, content=Text)

    rng = random.Random(0)
    # random labels: most texts are near the threshold, where any row more in the fit changes a prediction
    noise = [
        (" ".join(rng.choices("abcdefgh", k=4)), rng.choice(["negative", "positive"])) for _ in range(80)
    ]
    new = [
        (" ".join(rng.choices("abcdefghk", k=4)), rng.choice(["negative", "positive"])) for _ in range(200)
    ]
    flipped = [(text, "negative" if label == "positive" else "positive") for text, label in new]
    train = rows_of("train.jsonl", noise)
    alone, others, company = (
        [one.predicted[:200].tolist() for one in TASKS[0].baselines(train, rows_of(name, scored))]
        for name, scored in (("a.jsonl", new), ("b.jsonl", flipped), ("c.jsonl", [*new, *new, *flipped]))
    )
    assert alone == others == company
