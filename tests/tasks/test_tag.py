"""Taggers: what they learn, how they write tags, every key of their config, and their rivals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import Ragged
from lstm_cli.cli import app
from lstm_cli.config.load import load_config
from lstm_cli.data.config import DataConfig
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows, open_rows
from lstm_cli.data.store import Store
from lstm_cli.data.tagged import Words
from lstm_cli.errors import ConfigError, DataError
from lstm_cli.features.spelling import MAX_CHARACTERS, Lexicon, features_of, shape_of
from lstm_cli.metrics.tagging import Tagging, outside_weight, weighted
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.tasks.base import Baseline
from lstm_cli.tasks.tag import Tag, TagConfig
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import EncodedSplits, fit
from lstm_cli.training.state import TrainState

NAMES = """mr O
Ann I-PER
Lee I-PER
sees O
Rome I-LOC

Bob I-PER
Ann B-PER
left O
"""

Fit = Callable[..., tuple[Tag, Rows[Words]]]


@pytest.fixture
def fitted(tmp_path: Path) -> Fit:
    def make(content: str = NAMES, **keys: Any) -> tuple[Tag, Rows[Words]]:
        path = tmp_path / "train.conll"
        path.write_text(content, encoding="utf-8")
        rows = open_rows(str(path), DataConfig(train=str(path)), "train", True, content=Words)
        return TagConfig(**{"min_count": 1, **keys}).fit(rows), rows

    return make


def sure(task: Tag, tags: list[int]) -> Any:
    """Outputs that are almost sure of these tags."""
    probs = np.full((len(tags), len(task.names)), 0.01)
    probs[np.arange(len(tags)), tags] = 0.9
    return probs / probs.sum(axis=1, keepdims=True)


def row(*words: str) -> Row[Words]:
    return Row(Words(words), "", 1)


def test_spans_are_learned_in_one_scheme_and_written_as_they_came(fitted: Fit) -> None:
    task, rows = fitted()
    assert task.scheme == "iob1"
    assert task.names == ("B-LOC", "B-PER", "I-PER", "O")
    targets = task.encode(rows).targets
    assert isinstance(targets, Ragged)
    assert [[task.names[tag] for tag in one] for one in targets] == [
        ["O", "B-PER", "I-PER", "O", "B-LOC"],
        ["B-PER", "B-PER", "O"],
    ]
    found = task.prediction(row("Bob", "Ann", "left"), sure(task, [1, 1, 3]), PredictOptions())
    assert found["tags"] == ["I-PER", "B-PER", "O"]
    assert found["spans"] == [[0, 0, "PER", "Bob"], [1, 1, "PER", "Ann"]]
    line = task.answer(sure(task, [1, 2, 3]), np.array([1, 1, 3])).line
    assert line["target"] == ["I-PER", "B-PER", "O"]
    assert line["tags"] == ["I-PER", "I-PER", "O"]


def test_no_answer_breaks_the_scheme(fitted: Fit) -> None:
    task, _ = fitted()
    probs = np.array(
        [[0.0, 0.1, 0.6, 0.3], [0.05, 0.05, 0.8, 0.1]]
    )  # I-PER, I-PER would be the best of each word
    assert task.prediction(row("Ann", "Lee"), probs, PredictOptions())["tags"] == ["I-PER", "I-PER"]  # iob1
    path = [task.names[tag] for tag in task.paths(Ragged.pack([probs]))[0]]
    assert path == ["B-PER", "I-PER"]


def test_what_train_holds_is_legal_whatever_the_scheme_says(fitted: Fit) -> None:
    broken, _ = fitted("a O\nb B-X\nc I-X\n\nd I-Y\n")
    assert broken.scheme == "bio"
    assert broken.names == ("B-X", "B-Y", "I-X", "O")  # a span that begins with I is a span


def test_a_tag_that_train_does_not_have_is_wrong_and_counted(fitted: Fit, tmp_path: Path) -> None:
    task, _ = fitted("a DET\nb NOUN\n\nc VERB\n")
    (tmp_path / "test.conll").write_text("a DET\nzz SYM\n", encoding="utf-8")
    path = str(tmp_path / "test.conll")
    store = task.encode(open_rows(path, DataConfig(train=path), "test", True, content=Words))
    scores = task.score(Ragged.pack([sure(task, [0, 1])]), store)
    assert scores.accuracy == 0.5
    assert scores.unseen_accuracy == 0.0
    assert scores.num_unseen == 1
    assert scores.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert scores.log_loss == pytest.approx(-np.log(sure(task, [0])[0, 0]))
    assert task.answer(sure(task, [0, 1]), np.array([0, 3])).line["target"] == ["DET", "(not in train)"]


def test_rows_that_cannot_be_tagged_are_refused(fitted: Fit) -> None:
    with pytest.raises(DataError, match="all 2 words have the tag A; at least two tags are needed"):
        fitted("a A\nb A\n")
    task, _ = fitted()
    assert task.row_fault(row()) == "no words"
    for options, said in (
        (PredictOptions(top_k=2), "--top-k"),
        (PredictOptions(min_score=0.5), "--min-score"),
    ):
        with pytest.raises(ConfigError, match=said):
            task.accept(options)


def test_keys_that_mean_nothing_are_refused() -> None:
    def faults(**encoder: Any) -> list[tuple[str, ...]]:
        return [path for path, _ in TagConfig(encoder=encoder).conflicts()]

    assert faults() == []
    assert faults(dropout=0.5) == [("encoder", "dropout")]
    assert faults(init_from="pretrain") == [("encoder", "init_from")]
    with pytest.raises(ConfigError, match=r"nothing in this training reads it; .* set task\.kind to tag"):
        load_config({"data": {"train": "a.csv", "tag_column": "upos"}}, trains=True)
    texts = {"data": {"train": "a.conllu", "text_column": "body"}, "task": {"kind": "tag"}}
    with pytest.raises(ConfigError, match=r"text_column: nothing in this training reads it"):
        load_config(texts, trains=True)


KEYS: dict[str, Any] = {
    "min_count": 2,
    "characters": "none",
    "dropout": 0.1,
    "crf": False,
    "features": "words",
    "encoder": {"embedding_size": 4, "hidden_size": 5},
}


def test_every_key_of_the_section_changes_the_weights(fitted: Fit) -> None:
    encoder = {"embedding_size": 4, "hidden_size": 4}
    assert set(KEYS) == set(TagConfig.model_fields) - {"kind"}
    runtime = start(RuntimeConfig(device="cpu", precision="fp32", threads=1))

    def weights(**keys: Any) -> Any:
        task, rows = fitted(**{"encoder": encoder, **keys})
        data = EncodedSplits(task.encode(rows), task.encode(rows))
        config = TrainConfig(epochs=2, select_by="log_loss")
        state = TrainState.start(task, config, runtime, 0)
        for _ in fit(state, task, data, config, runtime):
            pass
        return {name: value.tolist() for name, value in state.model.state_dict().items()}

    seen = [weights(), *(weights(**{key: value}) for key, value in KEYS.items())]
    assert all(one != other for at, one in enumerate(seen) for other in seen[:at])


def test_the_rivals_know_the_words_and_the_crf_their_neighbours(fitted: Fit) -> None:
    sentences = [
        f"{first} {tag}\nx{i % 7} {second}\n"
        for i in range(60)
        for first, tag, second in [("the", "DET", "NOUN"), ("to", "PART", "VERB")]
    ]
    task, rows = fitted("\n".join(sentences))
    usual, crf = task.baselines(rows, rows)
    targets = task.encode(rows).targets
    assert isinstance(targets, Ragged)
    assert isinstance(usual.predicted, Ragged)
    assert isinstance(crf.predicted, Ragged)
    assert 0.7 < (usual.predicted.values == targets.values).mean() < 0.8  # a word that is both gets one tag
    assert (crf.predicted.values == targets.values).all()
    perfect = Ragged.pack([sure(task, one.tolist()) for one in targets])
    better = task.compare(perfect, usual, task.encode(rows))
    assert (better.verdict, better.scores["accuracy"]) == (
        "beats",
        float((usual.predicted.values == targets.values).mean()),
    )
    assert better.p < 0.001
    assert task.compare(perfect, crf, task.encode(rows)).verdict == "ties"
    worse = Ragged.pack([sure(task, one.tolist()) for one in usual.predicted])
    assert task.compare(worse, crf, task.encode(rows)).verdict == "loses to"
    with pytest.raises(ValueError, match="one tag for each of 240 words"):
        task.compare(perfect, Baseline("short", Ragged.pack([np.zeros(2, np.int32)]), ""), task.encode(rows))


def test_spans_are_compared_by_f1(fitted: Fit) -> None:
    task, rows = fitted(NAMES * 20)
    store = task.encode(rows)
    targets = store.targets
    assert isinstance(targets, Ragged)
    perfect = Ragged.pack([sure(task, one.tolist()) for one in targets])
    outside = Baseline("none", Ragged.pack([np.full(len(one), 3, np.int32) for one in targets]), "")
    result = task.compare(perfect, outside, store)
    assert (result.verdict, result.scores["span_f1"]) == ("beats", 0.0)
    scores = task.score(perfect, store)
    assert isinstance(scores, Tagging)
    assert scores.spans[""].f1 == scores.sentence_accuracy == scores.accuracy == 1.0
    assert scores.spans["PER"].num_true == 60


def test_features_are_those_of_the_spelling() -> None:
    assert shape_of("McDonald's-2") == "XxXx'x-d"
    assert shape_of("ABCdef99") == "Xxd"
    found = features_of("Cat")
    assert found[:3] == ["w:Cat", "l:cat", "s:Xx"]
    assert found[3:] == ["p:c", "p:ca", "p:cat", None, None, "e:t", "e:at", "e:cat", None, None]


def test_a_lexicon_numbers_words_features_and_characters() -> None:
    lexicon = Lexicon.learn([["Cat", "cat", "sat"], ["cat"]], 2, all_features=True)
    row = lexicon.encode(["cat", "SAT", "x" * 60])
    assert row.shape == (3, 1 + lexicon.features_per_word + MAX_CHARACTERS)
    assert row[:, 0].tolist() == [2, 1, 1]  # "sat" is rarer than twice
    assert lexicon.unseen(row).tolist() == [False, True, True]
    assert (row[1, 1:14] != 0).sum() > 5  # the word is unseen, its endings are not
    again = Lexicon.from_json(lexicon.to_json())
    assert (again.encode(["cat", "SAT", "x" * 60]) == row).all()
    for broken in (b"[]", b"{}", b'{"words": [1], "features": [], "characters": [], "all_features": true}'):
        with pytest.raises((TypeError, KeyError)):
            Lexicon.from_json(broken)


def test_a_command_of_another_task_says_so(fitted: Fit, tmp_path: Path) -> None:
    fitted("\n".join(f"a{i} DET\nb{i} NOUN\n" for i in range(20)))
    config = {
        "data": {"train": str(tmp_path / "train.conll"), "dev": 0.2},
        "task": {"kind": "tag", "encoder": {"embedding_size": 4, "hidden_size": 4}},
        "train": {"epochs": 1},
        "run": {"dir": str(tmp_path / "run"), "threads": 1},
    }
    (tmp_path / "a.yaml").write_text(json.dumps(config), encoding="utf-8")
    assert CliRunner().invoke(app, ["train", str(tmp_path / "a.yaml"), "--no-baselines"]).exit_code == 0
    for words in (["explain", "--text", "a"], ["export", "-o", str(tmp_path / "out")]):
        result = CliRunner().invoke(app, [words[0], str(tmp_path / "run"), *words[1:]])
        assert result.exit_code in (2, 5), result.output
        assert "cannot be explained" in result.stderr or "only runs with task.kind: classify" in result.stderr
    said = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), "--text", "a1, b2!"]).stdout
    assert json.loads(said)["tokens"] == ["a1", ",", "b2", "!"]


def test_spans_are_found_where_all_their_tags_together_are_more_probable_than_none(fitted: Fit) -> None:
    task, _ = fitted("Ann B-PER\nsees O\n\nRome B-LOC\nis O\n\nLee B-ORG\nleft O\n")
    assert task.names == ("B-LOC", "B-ORG", "B-PER", "O")
    name, other = [0.15, 0.15, 0.3, 0.4], [0.02, 0.02, 0.02, 0.94]
    raw = Ragged.pack([np.array([name, other])] * 60)
    targets = Ragged.pack([np.array([2, 3], np.int32)] * 60)
    weight = outside_weight(raw, targets, task.legal, task.names)
    assert 0.4 * weight < 0.3
    assert 0.94 * weight > 0.02
    assert task.paths(raw).values.tolist() == [3, 3] * 60
    assert task.paths(weighted(raw, task.names, weight)).values.tolist() == [2, 3] * 60
    assert (
        outside_weight(raw.select(np.arange(49)), targets.select(np.arange(49)), task.legal, task.names)
        == 1.0
    )
    assert outside_weight(raw, Ragged.pack([np.array([3, 3], np.int32)] * 60), task.legal, task.names) == 1.0
    # what is written and scored is the probability itself
    output = weighted(raw, task.names, weight)[0]
    assert task.prediction(row("Ann", "sees"), output, PredictOptions(probs=True))["scores"] == pytest.approx(
        [0.3, 0.94]
    )
    store = Store(Ragged.pack([task.lexicon.encode(["Ann", "sees"])] * 60), np.zeros(60, np.bool_), targets)
    losses = [task.score(one, store).log_loss for one in (raw, weighted(raw, task.names, weight))]
    assert losses == pytest.approx([-(np.log(0.3) + np.log(0.94)) / 2] * 2)
