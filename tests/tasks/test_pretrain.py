"""Pretraining: a language is learned, from no text that is scored, and the classifier starts with what was learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_cli.config.load import load_config
from lstm_cli.data.batching import collate
from lstm_cli.data.corpus import CorpusSplits, load_corpus
from lstm_cli.data.sources import Splits, load_splits
from lstm_cli.data.text import Text, text_row
from lstm_cli.errors import CheckpointError, DataError
from lstm_cli.runtime import start
from lstm_cli.tasks import load_task
from lstm_cli.tasks.classify import ClassifyConfig
from lstm_cli.tasks.pretrain import Perplexities, Pretrain
from lstm_cli.training.fit import EncodedSplits, EpochReport, FitReport, fit, train_epoch
from lstm_cli.training.state import TrainState
from tests.conftest import small_rows
from tests.training.test_fit import assert_equal


class Setting:
    """Everything that pretraining with a config takes."""

    def __init__(self, small_yaml: str, overrides: Sequence[str] = ()) -> None:
        config = load_config(small_yaml, ["pretrain.epochs=2", "pretrain.batch_size=16", *overrides])
        self.runtime = start(config.run)
        self.splits: Splits[Text] = load_splits(config.data, config.run.seed, content=Text)
        self.corpus: CorpusSplits = load_corpus(config.data, self.splits, config.run.seed)
        assert isinstance(config.task, ClassifyConfig)
        self.task = Pretrain.learn(config.task, self.corpus, config.pretrain.sampled_tokens)
        self.data = EncodedSplits(self.task.encode(self.corpus.train), self.task.encode(self.corpus.held_out))
        self.config = config
        self.settings = config.pretrain.settings(config.train, self.data.train.num_steps)

    def state(self) -> TrainState:
        return TrainState.start(self.task, self.settings, self.runtime, self.config.run.seed)

    def fit(self, state: TrainState) -> Iterator[FitReport]:
        return fit(state, self.task, self.data, self.settings, self.runtime)


def words(setting: Setting) -> set[str]:
    return set(setting.task.tokenizer.tokenizer.get_vocab())


def test_text_that_goes_in_circles_is_predicted_in_both_directions(small_yaml: str, tmp_path: Path) -> None:
    circle = "one two three four five six seven"
    rows = [" ".join((circle.split() * 3)[i % 7 : i % 7 + 8 + i % 5]) for i in range(80)]
    (tmp_path / "circle.csv").write_text(
        "text,label\n" + "".join(f"{row},{'ab'[i % 2]}\n" for i, row in enumerate(rows)), "utf-8"
    )
    setting = Setting(
        small_yaml,
        [
            f"data.train={tmp_path}/circle.csv",
            "task.tokenizer.min_count=50",
            "task.encoder.word_dropout=0",
            "task.encoder.embedding_dropout=0",
            "pretrain.epochs=16",
            "pretrain.learning_rate=0.05",
            "pretrain.sampled_tokens=5",
            "train.warmup=0",
        ],
    )
    *_, last = setting.fit(setting.state())
    assert isinstance(last, EpochReport)
    assert isinstance(last.dev, Perplexities)
    assert 1 <= last.dev.forward < 1.1
    assert last.dev.backward is not None
    assert 1 <= last.dev.backward < 1.1


def test_perplexity_of_a_model_that_knows_nothing_is_that_of_the_frequencies(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.learning_rate=1e-9", "pretrain.learning_rate=1e-9"])
    *_, last = setting.fit(setting.state())
    assert isinstance(last, EpochReport)
    frequencies = setting.task.frequencies[1:].numpy()
    assert last.dev.scalars()["perplexity"] == pytest.approx(
        np.exp(-(frequencies * np.log(frequencies)).sum()), rel=0.5
    )


def test_the_loss_counts_each_predicted_token_and_no_padding(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    store = setting.data.train
    shortest, longest = int(np.argmin(store.lengths)), int(np.argmax(store.lengths))
    assert store.lengths[shortest] < store.lengths[longest]
    model = setting.task.build_model().eval()

    def loss(*rows: int) -> tuple[float, int]:
        torch.manual_seed(0)  # the same negative samples
        found = setting.task.loss(model, collate(store, np.array(rows)))
        return found.total.item(), found.count

    alone, together = (loss(shortest), loss(longest)), loss(shortest, longest)
    assert together[1] == sum(count for _, count in alone)
    assert together[1] == 2 * (store.lengths[[shortest, longest]] - 1).sum()
    assert together[0] == pytest.approx(sum(total for total, _ in alone), rel=1e-5)


@pytest.mark.parametrize("dev", ["0.2", "{}/dev.csv"])
def test_no_text_of_dev_or_test_reaches_vocabulary_or_language_model(
    dev: str, small_yaml: str, tmp_path: Path
) -> None:
    rows = [(f"{text} only{label}{i}", label) for i, (text, label) in enumerate(small_rows(100))]
    table = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    (tmp_path / "train.csv").write_text(table, "utf-8")
    scored = "text,label\n" + "".join(f"{kind} row number{i},positive\n" for kind in "ab" for i in range(9))
    (tmp_path / "dev.csv").write_text(scored.replace("row", "devword"), "utf-8")
    (tmp_path / "test.csv").write_text(scored.replace("row", "testword"), "utf-8")
    # what a person would do: all text there is, the scored rows' among it
    every = [text.upper() for text, _ in rows]
    every += [f"a  devword number{i}" for i in range(9)] + [f"b testword number{i}" for i in range(9)]
    (tmp_path / "every.txt").write_text("\n".join([*every, "a text of its own"]) + "\n", "utf-8")
    setting = Setting(
        small_yaml, [f"data.dev={dev.format(tmp_path)}", f"data.unlabelled={tmp_path}/every.txt"]
    )

    known = words(setting)
    texts = {row.content.text for row in setting.corpus.whole}
    assert {"own", "its"} <= known
    for row in itertools.chain(setting.splits.dev, setting.splits.test or ()):
        assert row.content.text not in texts
        assert row.content.text.upper() not in texts
        assert not [word for word in row.content.text.split() if word.startswith("only") and word in known]
    assert not {"testword", "only"} & known
    assert "devword" not in known or "0" in dev[:1]
    in_dev = 20 if dev == "0.2" else 9
    assert setting.corpus.num_left_out == in_dev + 9
    assert len(setting.corpus.train) + len(setting.corpus.held_out) == len(setting.corpus.whole)
    held_out = {row.content.text.casefold() for row in setting.corpus.held_out}
    assert held_out
    assert not held_out & {row.content.text.casefold() for row in setting.corpus.train}


def test_a_long_text_is_cut_into_pieces_and_nothing_of_it_is_thrown_away(small_yaml: str) -> None:
    task = Setting(small_yaml, ["task.max_tokens=4"]).task
    text = " ".join(f"word{i % 30}" for i in range(14))
    window = task.encode_window(
        [text_row(text, None, "x", 1), text_row("word1", None, "x", 2), text_row("", None, "x", 3)]
    )
    assert [len(piece) for piece in window.inputs] == [4, 4, 4, 2]
    assert np.array_equal(window.inputs.values, task.tokenizer.encode([text])[0])


def test_text_of_single_words_is_no_language(small_yaml: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"word{i},{'ab'[i % 2]}\n" for i in range(40)), "utf-8"
    )
    with pytest.raises(DataError, match="two or more tokens"):
        Setting(small_yaml, ["task.tokenizer.min_count=1"])


@pytest.mark.parametrize("stop_after", [1, 9, 14])
def test_stopping_anywhere_and_resuming_equals_going_straight_through(
    small_yaml: str, stop_after: int
) -> None:
    setting = Setting(small_yaml, ["train.ema=0.9", "pretrain.sampled_tokens=20"])
    straight = setting.state()
    assert len(list(setting.fit(straight))) > 15
    stopped = setting.state()
    for _ in itertools.islice(setting.fit(stopped), stop_after):
        pass
    tensors = {name: value.clone() for name, value in stopped.training_tensors().items()}
    saved = stopped.training_numbers()
    torch.manual_seed(12345)
    resumed = setting.state()
    resumed.restore(tensors, saved)
    for _ in setting.fit(resumed):
        torch.rand(3)
    assert_equal(resumed.training_tensors(), straight.training_tensors())


@pytest.mark.parametrize(
    ("layers", "taken_over"),
    [
        ([], 9),
        (["task.encoder.num_layers=2"], 9),
        (["task.encoder.num_layers=2", "task.encoder.bidirectional=false"], 9),
        (["task.encoder.cell=gru"], 9),
    ],
)
def test_a_classifier_starts_with_what_the_language_model_has_learned(
    small_yaml: str, layers: list[str], taken_over: int
) -> None:
    setting = Setting(small_yaml, layers)
    learned = setting.state()
    for _ in setting.fit(learned):
        pass
    weights = {k: v for k, v in learned.model.state_dict().items() if k.startswith("encoder.")}
    assert len(weights) == taken_over
    config = setting.config
    task = config.task.fit(setting.splits.train, setting.task)
    begun = TrainState.start(task, config.train, setting.runtime, 0, weights)
    fresh = TrainState.start(task, config.train, setting.runtime, 0)
    for name, value in begun.model.state_dict().items():
        assert torch.equal(value, weights.get(name, fresh.model.state_dict()[name])), name
        assert name not in weights or not torch.equal(value, fresh.model.state_dict()[name]) or "bias" in name


@pytest.mark.parametrize(("factor", "frozen"), [(1.0, 0.0), (0.1, 0.0), (0.5, 0.5)])
def test_what_was_taken_over_is_held_still_and_then_moves_at_its_own_rate(
    small_yaml: str, factor: float, frozen: float
) -> None:
    setting = Setting(small_yaml, ["train.schedule=constant", "train.warmup=0", "train.weight_decay=0"])
    config = setting.config.train.model_copy(update={"pretrained_rate": factor, "frozen_epochs": frozen})
    weights = {k: v for k, v in setting.state().model.state_dict().items() if k.startswith("encoder.")}
    task = setting.config.task.fit(setting.splits.train, setting.task)
    data = EncodedSplits(task.encode(setting.splits.train), task.encode(setting.splits.dev))
    state = TrainState.start(task, config, setting.runtime, 0, weights, pretrained=weights)
    before = {name: value.detach().clone() for name, value in state.model.named_parameters()}
    for done, report in enumerate(train_epoch(state, task, data.train, config, setting.runtime)):
        for name, value in state.model.named_parameters():
            moved = (value - before[name]).abs().max().item()
            if name not in weights:
                assert moved > 0, name
            elif done / report.num_batches < frozen:
                assert moved == 0, name
            elif done == 0:  # AdamW's first step is the rate itself, up or down
                assert moved == pytest.approx(factor * config.learning_rate, rel=0.01), name
            else:
                assert moved > 0, name
            before[name] = value.detach().clone()
    assert done > 4


def test_a_pretraining_is_no_classifier(small_yaml: str) -> None:
    files = Setting(small_yaml).task.files()
    with pytest.raises(CheckpointError, match="init_from=THIS_RUN"):
        load_task(files)
    assert Pretrain.load(files).files() == files
