"""A second task, of the tests alone: is the sum of a row's vectors up to each step positive? Rows are JSON lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lstm_cli.arrays import AnyArray, Ragged
from lstm_cli.batch import IGNORED, Batch
from lstm_cli.data.cache import cache_key, cached
from lstm_cli.data.rows import Content, RowError
from lstm_cli.data.store import Store
from lstm_cli.errors import ConfigError
from lstm_cli.metrics.classification import paired_verdict
from lstm_cli.metrics.metric import Metric, NamedScores
from lstm_cli.nn import DenseEncoder, Stage
from lstm_cli.nn.model import Model, num_parameters
from lstm_cli.tasks.base import Answer, Baseline, Comparison, Loss, Task, TaskConfig
from lstm_cli.tasks.report import Report

ACCURACY, LOSS = Metric("accuracy", "accuracy", True, ".1%"), Metric("loss", "loss", False)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors(Content):
    """`values` (T, F) and, where they are known, `positive` (T,): whether the sum so far is."""

    values: AnyArray
    positive: AnyArray | None = None

    @classmethod
    def columns(cls, reading: Any) -> list[tuple[str, str]]:
        names = [("text_column", reading.config.text_column), ("label_column", reading.config.label_column)]
        return names if reading.labelled else names[:1]

    @classmethod
    def from_values(cls, values: Any, reading: Any, encoding: str | None) -> Vectors:
        try:
            vectors, *targets = (np.array(one, kind) for one, kind in zip(values, ("f4", "i4"), strict=False))
        except (ValueError, TypeError, OverflowError) as fault:
            raise RowError(f"not lists of numbers: {fault}") from None
        if vectors.ndim != 2 or any(target.shape != vectors.shape[:1] for target in targets):
            raise RowError("not a list of vectors and a number for each of them")
        if not np.isfinite(vectors).all():
            raise RowError("a number is NaN or infinite")
        return cls(vectors, *targets)

    @classmethod
    def empty(cls) -> Vectors:
        return cls(np.zeros((0, 1), np.float32))

    def key(self) -> bytes:
        return self.values.tobytes()

    def as_json(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}


class SumModel(Model):
    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.encoder = DenseEncoder(num_features, hidden_size, "lstm", hidden_size, bidirectional=False)
        self.head = nn.Linear(hidden_size, 2)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Any:
        return self.head(self.encoder(inputs, lengths).states.float())

    def stages(self, batch: str = "B", time: str = "T") -> list[Stage]:
        return [*self.encoder.stages(batch, time), Stage("head", "(B, T, 2)", num_parameters(self.head))]


@dataclass(frozen=True, slots=True)
class RunningSum(Task):
    config: RunningSumConfig
    num_features: int
    metrics, loss_metric, compared_by, prediction_keys = (ACCURACY, LOSS), LOSS, (ACCURACY,), ("positive",)

    def build_model(self) -> SumModel:
        return SumModel(self.num_features, self.config.hidden_size)

    def encode(self, rows: Any, scored: bool = True) -> Store:
        return cached(
            cache_key(["running-sum", rows.digest()]), lambda: [self.encode_window(list(rows), True)]
        )

    def encode_window(self, rows: Any, known: bool = False) -> Store:
        targets = Ragged.pack([row.content.positive for row in rows]) if known else None
        return Store(
            Ragged.pack([row.content.values for row in rows]), np.zeros(len(rows), np.bool_), targets
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        targets, logits = batch.known_targets, model(batch.inputs, batch.lengths)
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        return Loss(total, int((targets != IGNORED).sum()))

    def outputs(self, model: nn.Module, batch: Batch) -> list[Tensor]:
        probs = model(batch.inputs, batch.lengths).cpu().double().softmax(2)[..., 1]
        return [row[:length] for row, length in zip(probs, batch.lengths.tolist(), strict=True)]

    def score(self, outputs: Any, store: Any) -> NamedScores:
        right = np.where(store.targets.values == 1, outputs.values, 1 - outputs.values)
        loss = -np.log(np.maximum(right, 1e-12)).mean()
        return NamedScores({"accuracy": float((right > 0.5).mean()), "loss": float(loss)})

    def accept(self, options: Any) -> None:
        if options.top_k > 1:
            raise ConfigError("--top-k: a step has two answers; leave it out")

    def prediction(self, row: Any, output: Any, options: Any) -> dict[str, Any]:
        return {"positive": (output > 0.5).tolist()} | ({"probs": output.tolist()} if options.probs else {})

    def answer(self, output: Any, target: Any) -> Answer:
        wrong = np.abs(output - target)[(output > 0.5) != target]
        line = {"positive": output.tolist(), "target": target.tolist()}
        return Answer(line, float(wrong.max()) if len(wrong) else None)

    def baselines(self, train: Any, rows: Any) -> list[Baseline]:
        signs = Ragged.pack([(row.content.values.sum(1) > 0).astype(np.int32) for row in rows])
        return [Baseline("sign_of_the_step", signs, "whether the step's own sum is positive")]

    def compare(self, outputs: Any, baseline: Any, store: Any) -> Comparison:
        theirs, targets = baseline.predicted.values, store.targets.values
        if theirs.shape != targets.shape:
            raise ValueError(f"{baseline.name}: not a prediction for each step")
        verdict, p = paired_verdict(targets, outputs.values > 0.5, theirs)
        return Comparison({"accuracy": float((theirs == targets).mean())}, verdict, p, "McNemar over steps")

    def report(self, evaluation: Any) -> Report:
        scalars = evaluation.scores.scalars()
        return Report(f"Accuracy **{scalars['accuracy']:.1%}**.", {"n": len(evaluation.store), **scalars})

    def output_names(self) -> list[str]:
        return [f"positive, of {self.num_features} features"]

    def files(self) -> dict[str, bytes]:
        content = {"kind": self.config.kind, "task": self.config.model_dump(), "features": self.num_features}
        return {"config.json": json.dumps(content).encode()}


class RunningSumConfig(TaskConfig):
    content, metrics, select_by = Vectors, RunningSum.metrics, "accuracy"
    kind: Literal["running-sum"] = "running-sum"
    hidden_size: int = 8

    def fit(self, rows: Any, origin: Any = None) -> RunningSum:
        return RunningSum(self, next(iter(rows)).content.values.shape[1])

    @classmethod
    def load(cls, files: Any) -> RunningSum:
        content = json.loads(files["config.json"])
        return RunningSum(cls.model_validate(content["task"]), int(content["features"]))
