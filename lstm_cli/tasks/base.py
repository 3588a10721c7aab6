"""What training, scoring, reports and commands ask of a task. A task is one file beside this one.

`Trainable` is all that the training loop needs; a `Task` can also be evaluated and predict. What only some tasks can do
(`Calibrated`, `Verifiable`) is a protocol of its own, which `scoring.abilities` asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from torch import Tensor, nn

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
"""What a model says of each of N rows: (N, …), or ragged where a row's output has a length of its own."""

BatchOutputs = Tensor | list[Tensor]
"""The same of B rows, in float64 on the CPU: (B, …), or a list of B tensors of their own length."""


@dataclass(frozen=True, slots=True)
class Loss:
    """`total` is summed over what the batch is scored on, `count` says how much that is: total / count is the mean.

    A batch may count rows, steps, or nothing at all.
    """

    total: Tensor
    count: int


class Scores(Protocol):
    """The frozen result of scoring a split."""

    def scalars(self) -> dict[str, float]:
        """Every single-number score by the name of its metric; one that these rows do not allow is left out."""
        ...


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What `lstmcls predict` was asked to write of each row: the `top_k` best answers, the probability of every one."""

    top_k: int = 1
    probs: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A simple method's predictions of the same rows, (N, …) or ragged; `note` says how it was fitted."""

    name: str
    predicted: AnyArray | Ragged
    note: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline's `scores`, and how the model compares with it: "beats", "ties" or "loses to", with the p-value of
    a paired `test` on the same rows."""

    scores: dict[str, float]
    verdict: str
    p: float
    test: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A scored row as a line of predictions.jsonl; `mistake` is the confidence of a wrong answer, else None."""

    line: dict[str, Any]
    mistake: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A scored split: its rows, encoded and as they were read, the model's outputs, and what they are compared with.

    `components` are the scores of what the model is made of, each by itself and before it was calibrated on dev.
    """

    split: str
    checkpoint: str
    rows: Iterable[Row[Any]]
    store: Store
    outputs: Outputs
    scores: Scores
    baselines: Sequence[Baseline] = ()
    components: Mapping[str, Scores] = field(default_factory=dict)


class Origin(Protocol):
    """What a training starts from: a vocabulary that was learned before is kept."""

    @property
    def tokenizer(self) -> TextTokenizer | None: ...


class TextReader(Protocol):
    """The keys of a task's section that a language model of its text needs."""

    @property
    def tokenizer(self) -> TokenizerConfig: ...
    @property
    def encoder(self) -> EncoderConfig: ...
    @property
    def max_tokens(self) -> int: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class TaskConfig(Config):
    """The `task:` section of one kind of task. A kind derives its own, with the three class variables set."""

    content: ClassVar[type[Content]]
    """The class of the contents that it reads."""
    metrics: ClassVar[tuple[Metric, ...]]
    """What `train.select_by` and `--fail-under` may name."""
    select_by: ClassVar[str]
    """The metric that chooses the best epoch where `train.select_by` is not given."""

    kind: str

    def fit(self, rows: Rows[Any], origin: Origin | None = None) -> Task:
        """Learn the task from the training rows, and from nothing else. Raises DataError."""
        raise NotImplementedError

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Task:
        """The task whose `files` these are. Raises KeyError, ValueError or TypeError where they are not."""
        raise NotImplementedError

    def check_targets(self, train: Rows[Any], scored: Iterable[Row[Any]]) -> None:
        """Raise DataError where a target of the `scored` rows cannot be learned from `train`: before hours of work."""

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(key below `task`, message) for keys that are each right and contradict each other."""
        return iter(())

    def quick(self) -> Self:
        """The same, without what takes long to learn and refuses no rows: for `lstmcls check`."""
        return self

    def text(self) -> TextReader | None:
        """What a language model of its text needs, or None where it reads no text."""
        return None

    @property
    def init_from(self) -> str | None:
        """What the weights start from, if not from chance."""
        return None

    def out_of_fold(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """A line of predictions.jsonl as one of out-of-fold.jsonl."""
        return {name: value for name, value in answer.items() if name != "row"}

    def pool(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        """The scores of lines of predictions.jsonl, those of all folds together; {} where the lines do not tell."""
        return {}


class Trainable(Protocol):
    """Something that a model can be trained for. `describe` and `warnings` have defaults for a class that derives."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric that `score` may give."""
        ...

    @property
    def loss_metric(self) -> Metric:
        """The dev loss, which is compared with the training loss."""
        ...

    def describe(self) -> str | None:
        """A sentence about what was learned beyond the model that the table of stages shows, if anything."""
        return None

    def build_model(self) -> Model:
        """A freshly initialised model. It draws from torch's global generator."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The training loss of a batch. The loop never learns a forward signature."""
        ...

    def outputs(self, model: nn.Module, batch: Batch) -> BatchOutputs:
        """What the model says of each row of the batch."""
        ...

    def score(self, outputs: Outputs, store: Store) -> Scores:
        """Outputs of every row against the store's targets."""
        ...

    def warnings(self, scores: Scores) -> list[str]:  # noqa: ARG002
        """What a person should know about these dev scores, in whole sentences."""
        return []

    def files(self) -> dict[str, bytes]:
        """All that is needed to load this task again, as files of a checkpoint."""
        ...


class Task(Trainable, Protocol):
    """A learned task: what it knows, such as vocabulary and labels, is learned from the training rows only."""

    @property
    def compared_by(self) -> tuple[Metric, ...]:
        """The metrics in the table of the model and its baselines; the first one ranks the baselines."""
        ...

    def encode(self, rows: Rows[Any], scored: bool = True) -> Store:
        """All rows with their targets, cached on disk by all that decides them; not `scored`, without what only
        scoring needs. Raises DataError."""
        ...

    def encode_window(self, rows: Sequence[Row[Any]]) -> Store:
        """A few rows, without their targets."""
        ...

    def accept(self, options: PredictOptions) -> None:
        """Raise ConfigError where an option means nothing to this task."""
        ...

    def prediction(self, row: Row[Any], output: Any, options: PredictOptions) -> Mapping[str, Any]:
        """One row's output as the keys of a prediction."""
        ...

    def answer(self, output: Any, target: Any) -> Answer:
        """One row's output beside its target."""
        ...

    def baselines(self, train: Rows[Any], rows: Rows[Any]) -> list[Baseline]:
        """What simple methods, fitted on `train`, predict for `rows`."""
        ...

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        """The model against a baseline. Raises ValueError where `baseline` holds no predictions of these rows."""
        ...

    def report(self, evaluation: Evaluation) -> Report:
        """What report.md, metrics.json and the plots say of this evaluation."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A task that adjusts its outputs on the dev rows."""

    def uncalibrated(self, model: nn.Module, batch: Batch) -> BatchOutputs:
        """`outputs` as they are before `calibrate`."""
        ...

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Outputs:
        """Fit the calibration on the uncalibrated outputs of the dev rows, keep it in the model, and return the
        calibrated outputs."""
        ...

    def components(self, model: nn.Module, outputs: Outputs, store: Store) -> dict[str, Scores]:
        """Scores of what the model is made of, each by itself and before it was calibrated."""
        ...


@runtime_checkable
class Verifiable(Protocol):
    """A task whose answers `lstmcls verify` can compute in another way."""

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Any]]:
        """Rows of what the task knows, for a run whose own rows cannot be read; one of them is as short as can be."""
        ...

    def random_inputs(self, rng: np.random.Generator, length: int) -> AnyArray:
        """Inputs of `length` steps with any values that a model may meet."""
        ...

    def layers(self, model: nn.Module) -> Recurrent:
        """The model's recurrent layers, whose `path` may be set."""
        ...

    def reference(self, model: nn.Module, store: Store) -> Float64:
        """The outputs (N, …) again, in NumPy, one step at a time."""
        ...

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Outputs:
        """The outputs in lines of predictions.jsonl. Raises ValueError, KeyError or TypeError for other lines."""
        ...
