"""The protocols by which training, scoring, reports and commands use a task. Each task is one file in this package.

`Trainable` is all that the training loop needs. A `Task` can also be evaluated and predict. Abilities that only some
tasks have are protocols of their own, `Calibrated`, `Averaged` and `Verifiable`; `scoring.abilities` tests for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from torch import Tensor, nn

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import AnyArray, Float64, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.rows import Content, Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.tokenizer import TextTokenizer, TokenizerConfig
from lstm_cli.metrics.metric import Metric
from lstm_cli.nn.model import Model
from lstm_cli.nn.recurrent import Recurrent
from lstm_cli.schema import Config
from lstm_cli.tasks.report import Report
from lstm_cli.tasks.text import EncoderConfig

Outputs = Float64 | Ragged
"""The outputs of a model for N rows: (N, …), or ragged if each row's output has its own length."""

BatchOutputs = Tensor | list[Tensor]
"""The outputs for the B rows of a batch, in float64 on the CPU: (B, …), or a list of B tensors if ragged."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a batch: `total` is the sum, `count` the number of summed terms, so that total / count is the mean.

    A task may count rows or time steps. A batch may also count 0.
    """

    total: Tensor
    count: int


class Scores(Protocol):
    """All scores of the rows of a split."""

    def scalars(self) -> dict[str, float]:
        """Scores that are single numbers, by the name of the metric.

        A score that these rows do not define is left out.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The predictions of a simple method for the same rows, (N, …) or ragged; `note` says how it was fitted."""

    name: str
    predicted: AnyArray | Ragged
    note: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The model compared with a baseline: the baseline's `scores`, and a paired `test` on the same rows.

    `verdict` is "beats", "ties" or "loses to", from the model's side. `p` is the p-value of the test.
    """

    scores: dict[str, float]
    verdict: str
    p: float
    test: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A scored row as a line of predictions.jsonl.

    If its prediction is wrong, `mistake` is the confidence, else None.
    """

    line: dict[str, Any]
    mistake: float | None


_FEW_SEEN = 0.05
"""A file of new rows may hold some texts of train by chance, such as "thanks!". Up to this fraction they are counted
and no more. Of the dev rows of three public data sets, at most 0.04 % are in train."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many of the scored rows the model has seen, found by their content.

    From rows `in_train` it has learned; rows `in_dev` have chosen its epoch and its calibration. None: not counted.
    """

    in_train: int | None = None
    in_dev: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A scored split: its rows, the encoded rows, the model's outputs and scores, and the baselines.

    `components` are the scores of each component of the model alone, without calibration. `seen` counts the rows that
    the model knows.
    """

    split: str
    checkpoint: str
    rows: Iterable[Row[Any]]
    store: Store
    outputs: Outputs
    scores: Scores
    baselines: Sequence[Baseline] = ()
    components: Mapping[str, Scores] = field(default_factory=dict)
    seen: Seen = Seen()

    @property
    def chosen_on(self) -> bool:
        """Whether these rows have chosen anything: the epoch, the weights of the components or the calibration."""
        return (self.seen.in_dev or 0) > _FEW_SEEN * len(self.store)

    @property
    def too_good(self) -> str | None:
        """Why these scores are better than those of new rows would be, or None.

        They then get no verdict, no interval in words and no calibration error.
        """
        n, in_train, in_dev = len(self.store), self.seen.in_train or 0, self.seen.in_dev or 0
        reasons = []
        if in_train > _FEW_SEEN * n:
            reasons.append(f"{in_train:,} of {n:,} rows are in the training data")
        if in_dev == n:
            reasons.append("the best epoch and the calibration were chosen on these rows")
        elif in_dev > _FEW_SEEN * n:
            reasons.append(
                f"{in_dev:,} of {n:,} rows are dev rows, on which the best epoch and the calibration were chosen"
            )
        return ", and ".join(reasons) or None

    @property
    def title(self) -> str:
        """The split and its rows, and how many of them the model has seen."""
        n, in_train, in_dev = len(self.store), self.seen.in_train, self.seen.in_dev
        rows = f"{self.split}: {n:,} rows"
        if in_dev == n:
            return f"{rows}, on which the best epoch was chosen"
        known = [f"{in_train:,} {'is' if in_train == 1 else 'are'} in the training data"] if in_train else []
        known += ["1 is a dev row" if in_dev == 1 else f"{in_dev:,} are dev rows"] if in_dev else []
        return f"{rows}, of which {' and '.join(known)}" if known else rows


class TokenizerSource(Protocol):
    """The starting point of a training. Its tokenizer, if there is one, is used instead of a new one."""

    @property
    def tokenizer(self) -> TextTokenizer | None: ...


class TextReader(Protocol):
    """The config keys of a task that pretraining needs."""

    @property
    def tokenizer(self) -> TokenizerConfig: ...
    @property
    def encoder(self) -> EncoderConfig: ...
    @property
    def max_tokens(self) -> int: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class TaskConfig(Config):
    """The `task:` section. Each kind of task has its own subclass, which sets the three class variables."""

    content: ClassVar[type[Content]]
    """The class of the content of its rows."""
    metrics: ClassVar[tuple[Metric, ...]]
    """The metrics that `train.select_by` and `--fail-under` may name."""
    select_by: ClassVar[str]
    """The default of `train.select_by`."""

    kind: str

    def fit(self, rows: Rows[Any], origin: TokenizerSource | None = None) -> Task:
        """Fit the task on the training rows, and on nothing else. Raises DataError if they cannot be used."""
        raise NotImplementedError

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Task:
        """Load the task from `Trainable.files`. Raises KeyError, ValueError or TypeError if they are something else."""
        raise NotImplementedError

    def check_targets(self, train: Rows[Any], scored: Iterable[Row[Any]]) -> None:
        """Raise DataError if a target of the `scored` rows is not in `train`. It runs before a long pretraining."""

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(path of the key below `task`, message) for each key that contradicts another key."""
        return iter(())

    def quick(self) -> Self:
        """The config for `lstmcls check`, without the parts that take long to fit and never reject a row."""
        return self

    def text_reader(self) -> TextReader | None:
        """The config keys for pretraining, or None if the task does not read text."""
        return None

    @property
    def init_from(self) -> str | None:
        """The value of `init_from`, or None for random weights."""
        return None

    @property
    def pretrains_first(self) -> bool:
        """Whether the training pretrains first, on its own rows."""
        return self.init_from == "pretrain"

    def score_folds(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        """The scores of the predictions.jsonl of all folds together; {} if the lines do not contain enough."""
        return {}


class Trainable(Protocol):
    """A task that a model can be trained on. `describe` and `warnings` have defaults for subclasses."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics that `score` may compute."""
        ...

    @property
    def loss_metric(self) -> Metric:
        """The metric that serves as the loss of scored rows. Of epochs with equal scores, the lowest is best."""
        ...

    def describe(self) -> str | None:
        """A sentence about the learned parts that the table of the model does not show, or None."""
        return None

    def build_model(self) -> Model:
        """A newly initialised model. Its weights come from torch's global random generator."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The training loss of a batch. The task calls the model, so that the loop need not know its arguments."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> BatchOutputs:
        """The model's outputs for the rows of the batch."""
        ...

    def score(self, outputs: Outputs, store: Store) -> Scores:
        """The scores of the outputs of all rows against the store's targets."""
        ...

    def warnings(self, scores: Scores) -> list[str]:  # noqa: ARG002
        """Warnings about these dev scores, in sentences."""
        return []

    def files(self) -> dict[str, bytes]:
        """Everything that is needed to load this task again, as files of a checkpoint."""
        ...


class Task(Trainable, Protocol):
    """A fitted task. What it has learned, such as vocabulary and labels, comes from the training rows only."""

    @property
    def compared_by(self) -> tuple[Metric, ...]:
        """The metrics that compare the model with its baselines; the first one ranks the baselines."""
        ...

    def encode(self, rows: Rows[Any], scored: bool = True) -> Store:
        """Encode all rows with their targets, and cache the result on disk by `cached(cache_key(…), …)` of data.cache.

        Without `scored`, the store may lack what only calibrated outputs need. Raises DataError if a row cannot be
        used.
        """
        ...

    def row_fault(self, row: Row[Any]) -> str | None:  # noqa: ARG002
        """Why a row that could be read does not fit this task, such as vectors of another width; None if it fits."""
        return None

    def encode_window(self, rows: Sequence[Row[Any]]) -> Store:
        """Encode a few rows without targets. Each has no `row_fault`."""
        ...

    def accept(self, options: PredictOptions) -> None:
        """Raise ConfigError if this task does not support an option."""
        ...

    @property
    def prediction_keys(self) -> tuple[str, ...]:
        """The keys that every `prediction` has. They are the first columns of a table."""
        ...

    def prediction(self, row: Row[Any], output: Any, options: PredictOptions) -> Mapping[str, Any]:
        """The keys of a prediction for one row's output."""
        ...

    def answer(self, output: Any, target: Any) -> Answer:
        """The prediction of one row together with its target, as it is stored."""
        ...

    def baselines(self, train: Rows[Any], rows: Rows[Any]) -> list[Baseline]:
        """Fit simple methods on `train` and predict `rows` with them."""
        ...

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        """Compare the model with a baseline. Raises ValueError if `baseline` has no predictions for these rows."""
        ...

    def report(self, evaluation: Evaluation) -> Report:
        """The report of this evaluation."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A task that calibrates its outputs on the dev rows."""

    @property
    def whole_model(self) -> str:
        """What distinguishes the calibrated outputs from those of the network alone, such as `calibrated`."""
        ...

    def uncalibrated(self, model: nn.Module, batch: Batch) -> BatchOutputs:
        """The outputs of the network alone, before calibration, for the rows of the batch."""
        ...

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Outputs:
        """Fit the calibration on the uncalibrated outputs of the dev rows and store it in the model.

        With --refit the rows are those of all folds, with the tokens of each fold's own vocabulary. Returns the
        calibrated outputs.
        """
        ...

    def calibrated(self, model: nn.Module, outputs: Outputs, store: Store) -> Outputs:
        """The uncalibrated outputs of any rows, calibrated as the model was by `calibrate`: those of `outputs`."""
        ...

    def components(self, outputs: Outputs, store: Store) -> dict[str, Scores]:
        """The scores of each component of the model alone, from the uncalibrated outputs."""
        ...


@runtime_checkable
class Averaged(Protocol):
    """A task whose outputs can be averaged with those of another model of the same kind of task."""

    def output_names(self) -> Sequence[str]:
        """The meaning of the numbers of an output, such as the labels.

        Two tasks with equal names have outputs that can be averaged, and accept the same rows.
        """
        ...


@runtime_checkable
class Verifiable(Protocol):
    """A task whose outputs `lstmcls verify` can compute in a second way."""

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Any]]:
        """Random rows, for a run whose own rows cannot be read. The first one is as short as a row can be."""
        ...

    def random_inputs(self, rng: np.random.Generator, length: int) -> AnyArray:
        """Random valid inputs of `length` steps."""
        ...

    def layers(self, model: nn.Module) -> Recurrent:
        """The model's recurrent layers. The caller may set their `path`."""
        ...

    def reference(self, model: nn.Module, store: Store) -> Outputs:
        """The outputs, computed by an independent implementation in NumPy, one step at a time."""
        ...

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Outputs:
        """The outputs in lines of predictions.jsonl. Raises ValueError, KeyError or TypeError for other lines."""
        ...
