"""The loop: it learns, it repeats itself to the byte, it resumes where it stopped, it steps over what is not finite."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from lstm_cli.arrays import Float64, Ragged
from lstm_cli.batch import Batch
from lstm_cli.config.load import load_config
from lstm_cli.data.batching import collate
from lstm_cli.data.sources import load_splits
from lstm_cli.data.store import Store
from lstm_cli.data.text import Text
from lstm_cli.errors import LstmclsError, NotFiniteError
from lstm_cli.metrics.metric import NamedScores
from lstm_cli.runtime import Runtime, start
from lstm_cli.tasks.base import Loss, Outputs, Scores
from lstm_cli.tasks.classify import Classify, ClassifyConfig
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.fit import (
    EncodedSplits,
    EpochReport,
    FitReport,
    StepReport,
    _gradients,
    _overfitting,
    _step,
    _train_sample,
    fit,
    learning_rate,
    memory_estimate,
)
from lstm_cli.training.state import Progress, TrainState

Tensors = dict[str, torch.Tensor]


class Setting:
    """Everything that `fit` takes, and shorthands for running it."""

    def __init__(self, small_yaml: str, overrides: Sequence[str] = ()) -> None:
        config = load_config(small_yaml, overrides)
        self.runtime: Runtime = start(config.run)
        splits = load_splits(config.data, config.run.seed, content=Text)
        assert isinstance(config.task, ClassifyConfig)
        self.task = config.task.fit(splits.train)
        self.data = EncodedSplits(self.task.encode(splits.train), self.task.encode(splits.dev))
        self.train: TrainConfig = config.train
        self.seed = config.run.seed

    def state(self) -> TrainState:
        return TrainState.start(self.task, self.train, self.runtime, self.seed)

    def fit(self, state: TrainState) -> Iterator[FitReport]:
        return fit(state, self.task, self.data, self.train, self.runtime)

    def trained(self) -> TrainState:
        state = self.state()
        for _ in self.fit(state):
            pass
        return state


def epochs(reports: Iterator[FitReport]) -> list[EpochReport]:
    return [one for one in reports if isinstance(one, EpochReport)]


def assert_equal(ours: Tensors, theirs: Tensors) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def numbers(state: TrainState) -> dict[str, object]:
    """All numbers but the clock's."""
    assert not state.pending
    return {k: v for k, v in dataclasses.asdict(state.progress).items() if k != "seconds"}


def test_a_small_task_is_learned(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.epochs=20", "train.patience=0", "train.learning_rate=0.02"])
    reports = epochs(setting.fit(setting.state()))
    assert reports[-1].train_loss < 0.5 * reports[0].train_loss
    assert max(report.dev.scalars()["accuracy"] for report in reports) > 0.9  # 8 seeds: 0.98 at least


def test_one_seed_gives_the_same_bytes_and_another_seed_others(small_yaml: str) -> None:
    first, second = Setting(small_yaml).trained(), Setting(small_yaml).trained()
    assert_equal(first.training_tensors(), second.training_tensors())
    other = Setting(small_yaml, ["run.seed=1"]).trained()
    assert not torch.equal(first.model.head.weight, other.model.head.weight)  # type: ignore[union-attr, arg-type]


class Dropping(Classify):
    """A task that keeps what dropout would make of the same values at every step."""

    __slots__ = ()
    dropped: ClassVar[list[tuple[float, ...]]] = []

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        state = torch.get_rng_state()
        type(self).dropped.append(tuple(nn.functional.dropout(torch.ones(64), 0.5).tolist()))
        torch.set_rng_state(state)
        return Classify.loss(self, model, batch)


def test_no_two_steps_of_a_training_have_the_same_dropout_masks(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    setting.task = Dropping(setting.task.config, setting.task.tokenizer, setting.task.labels)
    Dropping.dropped.clear()
    state = setting.trained()
    assert len(Dropping.dropped) == state.progress.step == 24  # of three epochs
    assert len(set(Dropping.dropped)) == 24


@pytest.mark.parametrize(
    ("overrides", "num_microbatches"), [(["train.accumulate=4"], 1), ([], 2)], ids=["accumulated", "halved"]
)
def test_no_two_batches_of_a_step_have_the_same_dropout_masks(
    small_yaml: str, overrides: list[str], num_microbatches: int
) -> None:
    setting = Setting(small_yaml, ["train.epochs=1", *overrides])
    setting.task = Dropping(setting.task.config, setting.task.tokenizer, setting.task.labels)
    Dropping.dropped.clear()
    state = setting.state()
    state.num_microbatches = num_microbatches
    for _ in setting.fit(state):
        pass
    assert len(Dropping.dropped) > state.progress.step
    assert len(set(Dropping.dropped)) == len(Dropping.dropped)


class Reading(Classify):
    """A task that keeps the tokens of each batch that it trains on."""

    __slots__ = ()
    seen: ClassVar[list[str]] = []

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        type(self).seen.append(str(batch.inputs.tolist()))
        return Classify.loss(self, model, batch)


def test_every_epoch_has_its_own_batches_in_its_own_order(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.patience=0"])
    setting.task = Reading(setting.task.config, setting.task.tokenizer, setting.task.labels)
    Reading.seen.clear()
    setting.trained()
    first, second, third = (Reading.seen[at : at + 8] for at in (0, 8, 16))
    assert len(third) == 8
    assert len({str(sorted(epoch)) for epoch in (first, second, third)}) == 3


@pytest.mark.parametrize("stop_after", [1, 3, 8, 9, 10, 15, 19])
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.ema=0.9", "train.schedule=plateau", "train.accumulate=2"],
        ["task.features=ngrams", "task.adversarial=2", "train.ema=0.9"],
    ],
)
def test_stopping_anywhere_and_resuming_equals_going_straight_through(
    small_yaml: str, stop_after: int, overrides: list[str]
) -> None:
    setting = Setting(small_yaml, overrides)
    straight = setting.trained()

    stopped = setting.state()
    for _ in itertools.islice(setting.fit(stopped), stop_after):
        pass
    tensors = {name: value.clone() for name, value in stopped.training_tensors().items()}
    saved = stopped.training_numbers()
    torch.manual_seed(12345)  # whatever happens to the global generators in between must not matter
    np.random.seed(12345)
    random.seed(12345)

    resumed = setting.state()
    resumed.restore(tensors, saved)
    for _ in setting.fit(resumed):
        torch.rand(3)
    assert_equal(resumed.training_tensors(), straight.training_tensors())
    assert numbers(resumed) == numbers(straight)


def test_a_state_of_another_model_is_not_restored(small_yaml: str) -> None:
    small, wide = Setting(small_yaml).trained(), Setting(small_yaml, ["task.encoder.hidden_size=9"]).state()
    with pytest.raises(RuntimeError, match="size mismatch"):
        wide.restore(small.training_tensors(), small.training_numbers())


def test_an_optimizer_of_other_shapes_is_not_restored(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    trained = setting.trained()
    name = "optimizer.head.weight.exp_avg"
    for other in (torch.zeros(3), None):
        tensors = trained.training_tensors()
        tensors.pop(name) if other is None else tensors.update({name: other})
        with pytest.raises(ValueError, match=r"optimizer\.head\.weight belongs to another"):
            setting.state().restore(tensors, trained.training_numbers())


@pytest.mark.parametrize("features", ["none", "ngrams"])
def test_the_network_loss_of_the_same_rows_is_the_same_on_train_and_on_dev(
    small_yaml: str, features: str
) -> None:
    """So it has no dropout, no adversarial noise, no n-grams and no calibration on either side."""
    noise = ["task.dropout=0.5", "task.encoder.word_dropout=0.5", "task.adversarial=5", "train.ema=0.5"]
    setting = Setting(small_yaml, [*noise, f"task.features={features}", "train.epochs=2"])
    data = EncodedSplits(replace(setting.data.dev, extras={}), setting.data.dev)
    state = setting.state()
    for report in epochs(fit(state, setting.task, data, setting.train, setting.runtime)):
        assert report.network_loss.train == pytest.approx(report.network_loss.dev, rel=1e-12)
        assert report.network_loss.dev != pytest.approx(report.dev.scalars()["log_loss"], rel=1e-3)
        assert report.network_loss.train != pytest.approx(report.train_loss, rel=1e-3)
    # the weights at the end of the epoch, averaged
    model = state.scored_model.eval()
    batch = collate(setting.data.dev, np.arange(len(setting.data.dev)))
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(batch.inputs, batch.lengths), batch.known_targets)
    assert report.network_loss.dev == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("num_train", "num_dev", "expected"),
    [(100, 20, 100), (500, 20, 128), (500, 300, 300), (9_000, 5_000, 2_000), (50, 700, 50)],
)
def test_as_many_training_rows_are_scored_as_dev_rows_within_limits(
    num_train: int, num_dev: int, expected: int
) -> None:
    def rows(count: int) -> Store:
        return Store(Ragged.pack([np.array([i + 1], np.int32) for i in range(count)]), np.zeros(count, bool))

    data = EncodedSplits(rows(num_train), rows(num_dev))
    sample = _train_sample(data, 3)
    assert len(np.unique(sample.inputs.values)) == len(sample) == expected
    assert np.array_equal(sample.inputs.values, _train_sample(data, 3).inputs.values)
    if expected < num_train:
        assert not np.array_equal(sample.inputs.values, _train_sample(data, 4).inputs.values)


@pytest.mark.parametrize("features", ["none", "ngrams"])
def test_a_network_that_learns_random_labels_by_heart_is_said_to_overfit(
    tmp_path: Path, small_yaml: str, features: str
) -> None:
    rng = random.Random(0)
    for name, count in (("train", 260), ("dev", 60)):
        lines = [
            f"{' '.join(f'word{rng.randrange(60)}' for _ in range(12))},{rng.choice('ab')}\n"
            for _ in range(count)
        ]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(lines), encoding="utf-8")
    settings = [
        "train.epochs=12",
        "train.patience=0",
        "task.encoder.hidden_size=16",
        f"task.features={features}",
    ]
    setting = Setting(small_yaml, settings)
    reports = epochs(setting.fit(setting.state()))
    assert reports[-1].network_loss.train < 0.5 < reports[-1].network_loss.dev
    said = [warning for report in reports for warning in report.warnings if "the network overfits" in warning]
    assert said
    assert len({warning.partition(" and is ")[0] for warning in said}) == len(said)  # each lowest epoch once


def test_an_epoch_of_overfitting_is_named_rightly_also_after_epochs_without_such_losses() -> None:
    losses = [[0.5, 0.6], [0.4, 0.5], [0.3, 0.6], [0.2, 0.7]]
    for first, lowest in ((0, 2), (5, 7)):
        progress = Progress(epoch=first + 3, network_losses=losses)
        (warning,) = _overfitting(progress)
        assert f"lowest in epoch {lowest} (0.500) and is 0.700 now" in warning
    assert _overfitting(Progress(epoch=3, network_losses=[*losses[:3], [0.9, 0.7]])) == []  # train rises too


def test_the_mean_loss_does_not_depend_on_the_batch_size(small_yaml: str) -> None:
    off = ["task.dropout=0", "task.encoder.embedding_dropout=0", "task.encoder.word_dropout=0"]
    frozen = ["train.learning_rate=1e-12", "train.epochs=1", "train.weight_decay=0", "run.precision=fp32"]
    losses = [
        epochs(setting.fit(setting.state()))[0].train_loss
        for size in (1, 7, 120)
        for setting in [Setting(small_yaml, [*off, *frozen, f"train.batch_size={size}"])]
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_accumulated_gradients_are_those_of_the_joined_batch(
    small_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_dropout = ["task.dropout=0", "task.encoder.embedding_dropout=0", "task.encoder.word_dropout=0"]
    setting = Setting(small_yaml, [*no_dropout, "train.clip_norm=1000", "run.precision=fp32"])

    def gradients(groups: list[np.ndarray]) -> Tensors:
        state = setting.state()
        monkeypatch.setattr(state.optimizer, "zero_grad", lambda set_to_none: None)
        batches = [collate(setting.data.train, rows) for rows in groups]
        sums = _gradients(state, setting.task, batches, 30, setting.runtime)
        _step(state, sums, 30, 0.01, setting.train, setting.runtime)
        return {name: value.grad for name, value in state.model.named_parameters() if value.grad is not None}

    rows = np.arange(30)
    joined, cut = gradients([rows]), gradients([rows[:7], rows[7:12], rows[12:]])
    plain = setting.state().model
    loss = setting.task.loss(plain, collate(setting.data.train, rows))
    (loss.total / loss.count).backward()  # type: ignore[no-untyped-call]
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, joined[name], rtol=1e-4, atol=1e-7), name
    for name, value in joined.items():
        assert value.abs().max() > 0
        assert torch.allclose(value, cut[name], rtol=1e-4, atol=1e-7), name


class Poisoned(Classify):
    """A task whose loss is not finite on the steps asked for."""

    __slots__ = ()
    bad_calls: frozenset[int] = frozenset()
    calls = 0
    poison = math.nan

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        loss = Classify.loss(self, model, batch)
        type(self).calls += 1
        if type(self).calls in type(self).bad_calls:
            return Loss(loss.total * type(self).poison, loss.count)
        return loss


def poisoned(setting: Setting, calls: set[int], poison: float = math.nan) -> None:
    Poisoned.bad_calls, Poisoned.calls, Poisoned.poison = frozenset(calls), 0, poison
    setting.task = Poisoned(setting.task.config, setting.task.tokenizer, setting.task.labels)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_skipped_and_counted(small_yaml: str, poison: float) -> None:
    setting = Setting(small_yaml)
    poisoned(setting, {2, 3, 11}, poison)
    state = setting.state()
    reports = epochs(setting.fit(state))
    assert [report.skipped_steps for report in reports] == [2, 1, 0]
    assert all(bool(torch.isfinite(value).all()) for value in state.training_tensors().values())
    assert all(math.isfinite(report.train_loss) for report in reports)


def test_a_skipped_step_changes_no_weight(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    poisoned(setting, {1})
    state = setting.state()
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    next(setting.fit(state))
    assert_equal(before, dict(state.model.state_dict()))


def test_losses_that_are_read_late_change_nothing(small_yaml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(small_yaml, ["train.ema=0.9"])
    poisoned(setting, {3, 11})
    at_once = setting.trained()
    monkeypatch.setattr("lstm_cli.training.fit._PENDING_STEPS", {"cpu": 5})
    poisoned(setting, {3, 11})
    late = setting.state()
    for one in setting.fit(late):
        assert isinstance(one, StepReport) or not late.pending
        if late.progress.step == 12:
            assert len(late.pending) == 4
            late.training_numbers()  # as a save in the middle of an epoch does
            assert not late.pending
    assert_equal(late.training_tensors(), at_once.training_tensors())
    assert numbers(late) == numbers(at_once)


def test_many_bad_steps_in_a_row_stop_the_training_by_name(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.max_bad_steps=4"])
    poisoned(setting, {3, 4, 5, 7, 8, 9, 10})
    with pytest.raises(
        LstmclsError, match=r"epoch 2, step 10: the loss was NaN or infinite 4 steps in a row"
    ):
        list(setting.fit(setting.state()))


def test_bad_steps_that_are_read_late_still_stop_the_training(
    small_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lstm_cli.training.fit._PENDING_STEPS", {"cpu": 1000})  # more than an epoch has
    setting = Setting(small_yaml, ["train.max_bad_steps=4"])
    poisoned(setting, set(range(3, 100)))
    with pytest.raises(LstmclsError, match=r"epoch 1, .*: the loss was NaN or infinite 6 steps in a row"):
        list(setting.fit(setting.state()))


def test_weights_that_are_not_finite_are_never_scored(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.epochs=1"])
    state = setting.state()
    *_, last = itertools.takewhile(lambda report: report.num_done < report.num_batches, setting.fit(state))  # type: ignore[union-attr]
    assert isinstance(last, StepReport)
    torch.nn.init.constant_(state.model.head.weight, math.nan)  # type: ignore[union-attr, arg-type]
    with pytest.raises(LstmclsError, match="outputs are NaN"):
        list(setting.fit(state))


def test_a_training_that_goes_back_starts_there_with_half_the_rate(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    state, straight = setting.state(), setting.state()
    for _ in itertools.islice(setting.fit(straight), 5):
        pass
    tensors = {name: value.clone() for name, value in straight.training_tensors().items()}
    saved = straight.training_numbers()
    poisoned(setting, set(range(7, 100)))
    with pytest.raises(NotFiniteError):
        list(setting.fit(state))
    state.go_back(tensors, saved)
    assert_equal(state.training_tensors(), straight.training_tensors())
    assert (state.progress.step, state.progress.rate_scale, state.progress.went_back) == (5, 0.5, True)
    poisoned(setting, set())
    report = epochs(setting.fit(state))[0]
    highest = learning_rate(setting.train, report.step / (3 * report.step), 1.0)
    assert report.learning_rate < 0.6 * highest
    fresh = setting.state()
    state.go_back(fresh.training_tensors(), fresh.training_numbers())  # nothing of the old optimizer is left
    assert_equal(state.training_tensors(), fresh.training_tensors())


class Cramped(Classify):
    """A task whose device has room for five rows."""

    __slots__ = ()

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        if batch.num_rows > 5:
            raise torch.OutOfMemoryError("out of memory")
        return Classify.loss(self, model, batch)


def test_out_of_memory_computes_the_same_step_in_microbatches(small_yaml: str) -> None:
    off = ["task.dropout=0", "task.encoder.embedding_dropout=0", "task.encoder.word_dropout=0"]
    setting = Setting(small_yaml, [*off, "run.precision=fp32"])
    whole = epochs(setting.fit(setting.state()))
    setting.task = Cramped(setting.task.config, setting.task.tokenizer, setting.task.labels)
    state = setting.state()
    reports = list(setting.fit(state))
    # 16 rows in 4 microbatches
    assert {one.num_microbatches for one in reports if isinstance(one, StepReport)} == {4}
    for ours, theirs in zip(epochs(iter(reports)), whole, strict=True):
        assert ours.step == theirs.step
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
        assert ours.dev.scalars()["log_loss"] == pytest.approx(theirs.dev.scalars()["log_loss"], rel=1e-3)


def test_one_row_that_does_not_fit_ends_the_training_by_name(small_yaml: str) -> None:
    setting = Setting(small_yaml)

    class Full(Cramped):
        def loss(self, model: nn.Module, batch: Batch) -> Loss:
            raise torch.OutOfMemoryError("no room\nmore of it")

    setting.task = Full(setting.task.config, setting.task.tokenizer, setting.task.labels)
    with pytest.raises(LstmclsError, match=r"single row in a batch \(no room\); try a lower"):
        list(setting.fit(setting.state()))


def test_the_memory_of_the_largest_batch_is_estimated_from_its_positions(small_yaml: str) -> None:
    setting = Setting(small_yaml)
    model = setting.state().model
    whole = memory_estimate(model, setting.data.train, setting.train)
    longest = int(setting.data.train.lengths.max())
    assert whole == 50 * 2 * 4 * 8 * 16 * longest  # two directions, four gates of 8 units, 16 rows
    few = setting.train.model_copy(update={"batch_tokens": longest})
    assert memory_estimate(model, setting.data.train, few) == whole // 16


@pytest.mark.parametrize(("metric", "sign"), [("macro_f1", 1), ("log_loss", -1)])
def test_the_best_epoch_is_the_one_with_the_best_chosen_metric(
    small_yaml: str, metric: str, sign: int
) -> None:
    setting = Setting(small_yaml, [f"train.select_by={metric}", "train.epochs=6", "train.patience=0"])
    state = setting.state()
    reports = epochs(setting.fit(state))
    ranks = [(sign * report.dev.scalars()[metric], -report.dev.scalars()["log_loss"]) for report in reports]
    assert state.progress.best_score == sign * max(ranks)[0]
    assert state.progress.best_epoch == ranks.index(max(ranks))
    assert state.progress.best_loss == -max(ranks)[1]
    assert [report.improved for report in reports] == [
        all(rank > before for before in ranks[:i]) for i, rank in enumerate(ranks)
    ]


class Scripted(Classify):
    """A task whose epochs have the scores and dev losses of a script, whatever the model does."""

    __slots__ = ()
    script: ClassVar[list[tuple[float, float]]] = []
    epoch: ClassVar[int] = -1

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Float64:
        type(self).epoch += 1
        assert not isinstance(outputs, Ragged)
        return outputs

    def score(self, outputs: Outputs, store: Store) -> Any:
        score, loss = self.script[max(self.epoch, 0)]
        return NamedScores({"macro_f1": score, "log_loss": loss})

    def warnings(self, scores: Scores) -> list[str]:
        return []


def scripted(setting: Setting, script: list[tuple[float, float]]) -> TrainState:
    Scripted.script, Scripted.epoch = script, -1
    setting.task = Scripted(setting.task.config, setting.task.tokenizer, setting.task.labels)
    return setting.state()


def test_equal_scores_are_settled_by_the_dev_loss_for_the_best_epoch_and_for_patience(
    small_yaml: str,
) -> None:
    setting = Setting(small_yaml, ["train.epochs=9", "train.patience=2"])
    scores = [(0.5, 0.9), (1.0, 0.6), (1.0, 0.2), (1.0, 0.4), (1.0, 0.1), (1.0, 0.1), (0.9, 0.0), (1.0, 0.0)]
    state = scripted(setting, scores)
    assert [report.improved for report in epochs(setting.fit(state))] == [
        *(True, True, True, False, True),
        *(False, False),  # an equal loss, and a lower loss of a worse score: patience is spent
    ]
    assert (state.progress.best_epoch, state.progress.best_loss) == (4, 0.1)


def test_equal_scores_with_a_falling_loss_do_not_cut_the_rate_of_a_plateau(small_yaml: str) -> None:
    plateau = ["train.schedule=plateau", "train.plateau_patience=0", "train.epochs=4", "train.patience=0"]
    for losses, scale in (((0.4, 0.3, 0.2, 0.1), 1.0), ((0.4, 0.4, 0.4, 0.4), 0.125)):
        setting = Setting(small_yaml, plateau)
        state = scripted(setting, [(1.0, loss) for loss in losses])
        epochs(setting.fit(state))
        assert state.progress.rate_scale == scale


def test_a_tie_is_settled_the_same_way_when_the_training_is_resumed(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.epochs=3", "train.patience=0"])
    state = scripted(setting, [(1.0, 0.3), (1.0, 0.2), (1.0, 0.25)])
    reports = setting.fit(state)
    while state.progress.epoch < 2:
        next(reports)
    numbers = json.loads(json.dumps(state.training_numbers()))
    resumed = setting.state()
    resumed.restore(state.training_tensors(), numbers)
    assert [report.improved for report in epochs(setting.fit(resumed))] == [False]
    assert resumed.progress.best_epoch == 1


def test_patience_ends_a_training_that_no_longer_improves_also_when_it_is_resumed(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.learning_rate=1e-12", "train.epochs=9", "train.patience=2"])
    state = setting.state()
    assert len(epochs(setting.fit(state))) == 3
    assert list(setting.fit(state)) == []


def test_a_plateau_cuts_the_rate(small_yaml: str) -> None:
    overrides = ["train.learning_rate=1e-12", "train.epochs=6", "train.patience=0", "train.warmup=0"]
    plateau = ["train.schedule=plateau", "train.plateau_patience=1", "train.plateau_factor=0.5"]
    setting = Setting(small_yaml, overrides + plateau)
    rates = [report.learning_rate for report in epochs(setting.fit(setting.state()))]
    assert rates == [1e-12, 1e-12, 1e-12, 5e-13, 5e-13, 2.5e-13]


def test_the_rate_warms_up_and_falls_along_its_schedule() -> None:
    cosine = TrainConfig(learning_rate=1.0, warmup=0.1, schedule="cosine")
    assert learning_rate(cosine, 0.0, 1.0) == 0.01
    assert learning_rate(cosine, 0.05, 1.0) == pytest.approx(0.5)
    assert learning_rate(cosine, 0.1, 1.0) == pytest.approx(1.0)
    assert learning_rate(cosine, 0.55, 1.0) == pytest.approx(0.5)
    assert learning_rate(cosine, 1.0, 1.0) == pytest.approx(0.0)
    constant = TrainConfig(learning_rate=1.0, warmup=0.0, schedule="constant")
    assert {learning_rate(constant, done, 1.0) for done in (0.0, 0.3, 1.0)} == {1.0}


def test_weight_decay_is_for_matrices_only(small_yaml: str) -> None:
    groups = Setting(small_yaml).state().optimizer.param_groups
    for group in groups:
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(
        list(Setting(small_yaml).state().model.parameters())
    )


def test_averaged_weights_trail_behind_the_trained_ones_and_are_scored(small_yaml: str) -> None:
    state = Setting(small_yaml, ["train.ema=0.99"]).trained()
    assert state.scored_model is state.averaged
    start_weights = Setting(small_yaml).state().model.head.weight  # type: ignore[union-attr]
    trained, averaged = state.model.head.weight, state.averaged.head.weight  # type: ignore[union-attr]
    assert 0 < (averaged - start_weights).norm() < (trained - start_weights).norm()  # type: ignore[operator]


def test_a_rare_class_weighs_as_much_as_a_common_one_when_asked(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["task.class_weights=balanced"])
    task = dataclasses.replace(setting.task, labels=dataclasses.replace(setting.task.labels, counts=(30, 90)))
    weights = task._weights(torch.device("cpu"))
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])


def test_a_metric_that_these_rows_cannot_give_is_named(small_yaml: str) -> None:
    setting = Setting(small_yaml, ["train.select_by=roc_auc"])
    only_one = np.zeros(len(setting.data.dev), np.int32)
    setting.data = EncodedSplits(setting.data.train, dataclasses.replace(setting.data.dev, targets=only_one))
    with pytest.raises(LstmclsError, match=r"train\.select_by: roc_auc cannot be computed"):
        list(setting.fit(setting.state()))
