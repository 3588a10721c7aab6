"""What the tasks with one class for each row have in common, whatever a row is: scores, calibration, predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lstm_cli.answers import CLASS_KEYS, PredictOptions, class_prediction
from lstm_cli.arrays import Float64, Int64, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.metrics.calibration import Calibration
from lstm_cli.metrics.classification import (
    ACCURACY,
    LOG_LOSS,
    MACRO_F1,
    METRICS,
    Classification,
    accuracy_and_macro_f1,
    classification,
    paired_verdict,
    to_json,
)
from lstm_cli.metrics.metric import Metric
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.recurrent import Recurrent
from lstm_cli.tasks.base import Answer, Baseline, Comparison, Outputs, Scores, TaskConfig

FEATURE_LOGITS = "ngram_logits"
"""The entry of a store's extras with the (N, C) logits of what is combined with the network."""


class ClassesConfig(TaskConfig):
    """The keys of a task with one class for each row."""

    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    select_by: ClassVar[str] = MACRO_F1.name

    def check_targets(self, train: Rows[Any], scored: Iterable[Row[Any]]) -> None:
        labels = Labels.learn(train)
        for row in scored:
            labels.index(row)

    def score_folds(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The scores of the rows of all folds together, under the keys of metrics.json."""
        names: list[str] = []
        targets, probs = [], []
        for answer in answers:
            names = names or list(answer["probs"])
            targets.append(names.index(answer["target"]))
            probs.append([answer["probs"][name] for name in names])
        return to_json(classification(np.array(targets), np.array(probs), names))


class Classes:
    """One class for each row. A subclass has the `labels`, and the rows' encoding."""

    __slots__ = ()

    labels: Labels

    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    loss_metric: ClassVar[Metric] = LOG_LOSS
    compared_by: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1)
    prediction_keys: ClassVar[tuple[str, ...]] = CLASS_KEYS

    def cross_entropy(
        self, logits: Tensor, targets: Tensor, class_weights: Literal["none", "balanced"], smoothing: float
    ) -> Tensor:
        """The loss of a batch, summed over its rows: (B, C), (B,) -> ()."""
        return F.cross_entropy(
            logits.float(),
            targets,
            weight=self._weights(targets.device) if class_weights == "balanced" else None,
            label_smoothing=smoothing,
            reduction="sum",
        )

    def _weights(self, device: torch.device) -> Tensor:
        """(C,) inversely proportional to the training counts; their mean over the training rows is 1."""
        counts = torch.tensor(self.labels.counts, dtype=torch.float32, device=device)
        return counts.sum() / (len(counts) * counts)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities."""
        assert isinstance(model, TextClassifier)
        logits = model(batch.inputs, batch.lengths)
        return model.probs(logits, batch.extras.get(FEATURE_LOGITS, logits.new_zeros(len(logits), 0)))

    @property
    def whole_model(self) -> str:
        return "calibrated"

    def uncalibrated(self, model: nn.Module, batch: Batch) -> Tensor:
        """(B, C) probabilities of the network alone."""
        probs: Tensor = model(batch.inputs, batch.lengths).cpu().double().softmax(dim=1)
        return probs

    def calibrate(self, model: nn.Module, outputs: Outputs, dev: Store) -> Float64:
        assert isinstance(model, TextClassifier)
        fitted = Calibration.fit(_logits(outputs), feature_logits(dev), class_numbers(dev))
        model.scales.copy_(torch.tensor(fitted.scales))
        model.uniform.fill_(fitted.uniform)
        return self.calibrated(model, outputs, dev)

    def calibrated(self, model: nn.Module, outputs: Outputs, store: Store) -> Float64:
        assert isinstance(model, TextClassifier)
        network_scale, ngram_scale = model.scales.tolist()
        held = Calibration((network_scale, ngram_scale), model.uniform.item())
        return held.probs(_logits(outputs), feature_logits(store))

    def components(self, outputs: Outputs, store: Store) -> dict[str, Scores]:
        return {"network alone, uncalibrated": self.score(outputs, store)}

    def score(self, outputs: Outputs, store: Store) -> Classification:
        return classification(class_numbers(store), _probs(outputs), self.labels.names)

    def warnings(self, scores: Scores) -> list[str]:
        assert isinstance(scores, Classification)
        predicted = scores.confusion.sum(axis=0)
        never = [
            name
            for name, count in zip(self.labels.names, predicted, strict=True)
            if count == 0 and scores.per_class[name].support > 0
        ]
        if not never:
            return []
        return [
            f"never predicted on dev: {', '.join(never)}; if this persists, try task.class_weights: balanced, "
            f"a lower train.learning_rate or more epochs"
        ]

    def accept(self, options: PredictOptions) -> None:
        """This task supports all options."""

    def prediction(self, row: Row[Any], output: Float64, options: PredictOptions) -> dict[str, Any]:  # noqa: ARG002
        return class_prediction(self.labels.names, output, options)

    def answer(self, output: Float64, target: Any) -> Answer:
        names = self.labels.names
        best = int(output.argmax())
        score = float(output[best])
        line = {
            "label": names[best],
            "score": score,
            "probs": dict(zip(names, map(float, output), strict=True)),
            "target": names[target],
        }
        return Answer(line, None if best == target else score)

    def compare(self, outputs: Outputs, baseline: Baseline, store: Store) -> Comparison:
        targets, predicted, num_classes = class_numbers(store), baseline.predicted, len(self.labels.names)
        if isinstance(predicted, Ragged) or predicted.shape != targets.shape or predicted.dtype.kind != "i":
            raise ValueError(f"{baseline.name}: must have one class number for each of {len(targets)} rows")
        if len(predicted) and not 0 <= predicted.min() <= predicted.max() < num_classes:
            raise ValueError(f"{baseline.name}: class numbers outside 0..{num_classes - 1}")
        accuracy, macro_f1 = accuracy_and_macro_f1(targets, predicted, num_classes)
        verdict, p = paired_verdict(targets, _probs(outputs).argmax(axis=1), predicted)
        return Comparison(
            {ACCURACY.name: accuracy, MACRO_F1.name: macro_f1},
            verdict,
            p,
            "McNemar's exact test on the same rows",
        )

    def output_names(self) -> Sequence[str]:
        """The labels, in the order of the probabilities."""
        return self.labels.names

    def layers(self, model: nn.Module) -> Recurrent:
        assert isinstance(model, TextClassifier)
        return model.encoder.recurrent

    def stored_outputs(self, lines: Sequence[Mapping[str, Any]]) -> Float64:
        stored = np.array([list(line["probs"].values()) for line in lines], np.float64)
        if stored.shape != (len(lines), len(self.labels.names)):
            raise ValueError(f"must have {len(self.labels.names)} probabilities per row")
        return stored


def class_numbers(store: Store) -> Int64:
    """(N,) class numbers."""
    targets = store.known_targets
    assert not isinstance(targets, Ragged)
    return np.asarray(targets, np.int64)


def feature_logits(store: Store) -> Float64:
    """(N, C) logits of the features, or (N, 0) if there are none."""
    return np.asarray(store.extras.get(FEATURE_LOGITS, np.zeros((len(store), 0))), np.float64)


def _probs(outputs: Outputs) -> Float64:
    assert not isinstance(outputs, Ragged)
    return outputs


def _logits(probs: Outputs) -> Float64:
    """(N, C) probabilities -> (N, C) logits whose softmax they are."""
    logits: Float64 = np.log(np.maximum(_probs(probs), np.finfo(np.float64).tiny))
    return logits
