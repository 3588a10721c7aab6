"""Trained models answer the same however they are asked, and a model or a program that does not is found out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.data.text import Text, text_row
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.nn import recurrent, reference
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.cpu import get_num_threads, set_num_threads
from lstm_cli.nn.parallel import in_parallel
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring import verification
from lstm_cli.scoring.verification import checks
from lstm_cli.tasks.classify import Classify, ClassifyConfig
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import EncodedSplits, EpochReport, fit
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows

CPU = start(RuntimeConfig(device="cpu", threads=1))
ROWS = small_rows(120)
TEXTS = [text for text, _ in ROWS]
MODELS: list[dict[str, Any]] = [
    {"cell": "lstm", "bidirectional": True, "pooling": "final", "tokenizer": "word"},
    {"cell": "lstm", "bidirectional": False, "pooling": "max", "tokenizer": "bpe", "features": True},
    {"cell": "gru", "bidirectional": True, "pooling": "attention", "tokenizer": "word"},
    {"cell": "gru", "bidirectional": False, "pooling": "mean", "tokenizer": "word"},
    {"cell": "rnn", "bidirectional": True, "pooling": "mean+max", "tokenizer": "char"},
    {"cell": "rnn", "bidirectional": False, "pooling": "final-all-layers", "tokenizer": "word"},
]
INVARIANCES = ["batch size", "order", "neighbours", "padding", "threads", "path", "NumPy reference"]


def rows_of(texts: list[str]) -> list[Row[Text]]:
    return [text_row(text) for text in texts]


@cache
def trained(which: int) -> tuple[Classify, TextClassifier]:
    """A model that has learned its 120 rows better than by chance."""
    wanted = MODELS[which]
    encoder = {name: wanted[name] for name in ("cell", "bidirectional")}
    encoder |= {"embedding_size": 12, "hidden_size": 10, "num_layers": 2}
    config = ClassifyConfig.model_validate(
        {
            "encoder": encoder,
            "pooling": wanted["pooling"],
            "tokenizer": {"kind": wanted["tokenizer"], "min_count": 1, "vocab_size": 300},
            "max_tokens": 50,
        }
    )
    labels = Labels(("negative", "positive"), (60, 60))
    targets = [labels.names.index(label) for _, label in ROWS]
    ngrams = Ngrams.learn(TEXTS, np.array(targets)) if "features" in wanted else None
    task = Classify(config, TextTokenizer.learn(config.tokenizer, TEXTS), labels, ngrams)
    encoded = task.encode_window([text_row(text, label, "f", 1) for text, label in ROWS])
    store: Store = replace(encoded, targets=np.array(targets, np.int32))
    how = TrainConfig(epochs=8, batch_size=16, learning_rate=0.02)
    state = TrainState.start(task, how, CPU, 0)
    reports = [
        one for one in fit(state, task, EncodedSplits(store, store), how, CPU) if isinstance(one, EpochReport)
    ]
    assert reports[-1].train_loss < reports[0].train_loss
    assert isinstance(state.model, TextClassifier)
    state.model.scales.copy_(torch.tensor([0.7, 0.4]))  # calibrated on its own rows it would be all too sure
    state.model.uniform.fill_(0.1)
    return task, state.model.eval()


texts = st.lists(
    st.one_of(st.sampled_from(TEXTS), st.text(st.characters(codec="utf-8"), max_size=30)),
    min_size=1,
    max_size=9,
)


@pytest.mark.parametrize("which", range(len(MODELS)), ids=[f"{m['cell']}-{m['pooling']}" for m in MODELS])
def test_a_trained_model_answers_the_same_however_it_is_asked(which: int) -> None:
    task, model = trained(which)

    @settings(max_examples=6, deadline=None)
    @given(texts)
    def holds(texts: list[str]) -> None:
        found = list(checks(task, model, rows_of(texts), CPU))
        assert [check.name for check in found] == INVARIANCES
        assert [check for check in found if check.result != "ok"] == []

    holds()


def failed(task: Classify, model: TextClassifier) -> set[str]:
    return {
        check.name
        for check in checks(task, model, rows_of(["", *TEXTS[:20]]), CPU)
        if check.result == "FAILED"
    }


def test_nothing_fails_where_nothing_is_broken() -> None:
    assert failed(*trained(0)) == set()


COMPANY = {"batch size", "order", "neighbours", "padding"}
OURS = recurrent.Recurrent._forward_packed
OUTPUTS = Classify.outputs


def flipped_with_its_padding(x: Tensor, index: Tensor) -> Tensor:
    return x.flip(1)


def another_direction_first(*arguments: Any) -> Any:
    return in_parallel(*arguments)[::-1]


def packed_in_another_order(self: Any, x: Tensor, *others: Any) -> Any:
    return OURS(self, x.flip(1), *others)


def less_the_batchs_mean(self: Any, model: Any, batch: Any) -> Tensor:
    probs = OUTPUTS(self, model, batch)
    return probs - 0.001 * probs.mean(dim=0, keepdim=True)


@pytest.mark.parametrize(
    ("place", "name", "broken", "expected"),
    [
        (recurrent, "reverse_valid", flipped_with_its_padding, {*COMPANY, "path", "NumPy reference"}),
        (recurrent, "in_parallel", another_direction_first, {"threads"}),
        (recurrent.Recurrent, "_forward_packed", packed_in_another_order, {"path"}),
        (Classify, "outputs", less_the_batchs_mean, {"batch size", "neighbours", "NumPy reference"}),
        (reference, "sigmoid", lambda x: 1 / (1 + 1.001 ** (-1000 * x)), {"NumPy reference"}),
    ],
    ids=["flip", "directions", "packed", "batch-mean", "reference"],
)
def test_a_break_is_found_by_the_checks_that_are_there_for_it(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, broken: Callable[..., Any], expected: set[str]
) -> None:
    set_num_threads(1)  # an earlier test may have left more
    monkeypatch.setattr(place, name, broken)
    found = failed(*trained(0))
    assert expected <= found
    assert "NumPy reference" in expected or "NumPy reference" not in found


def test_a_model_left_in_training_and_one_with_nan_weights_are_found() -> None:
    task, model = trained(0)
    noisy = copy.deepcopy(model).train()
    assert failed(task, noisy) >= {*COMPANY, "threads", "path"}
    with torch.no_grad():
        noisy.head.bias[0] = float("nan")
    found = list(checks(task, noisy.eval(), rows_of(TEXTS[:3]), CPU))
    assert {check.result for check in found} == {"FAILED"}
    assert {check.note for check in found} == {"an output is NaN"}


def test_the_model_and_the_threads_are_left_as_they_were() -> None:
    task, model = trained(0)
    before = get_num_threads(), torch.get_num_threads(), "auto"
    list(checks(task, model, rows_of(TEXTS[:2]), CPU))
    assert (get_num_threads(), torch.get_num_threads(), model.encoder.recurrent.path) == before


def test_a_sample_is_cut_where_it_would_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_MOST_STEPS", 249)
    compared = [
        next(checks(*trained(0), rows_of([text] * 9), CPU)).compared for text in ("good", " ".join(TEXTS))
    ]
    assert compared == ["9 rows by 1, 2 and 7", "4 rows by 1, 2 and 7"]  # of 50 tokens each
    monkeypatch.setattr(verification, "_MOST_STEPS", 3)
    assert next(checks(*trained(0), rows_of(TEXTS), CPU)).compared.startswith("1 rows")
