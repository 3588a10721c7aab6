"""Classification of sequences of numbers: sessions, sensors, speech features; one label for each sequence.

As the classifier of texts, with a linear layer over each step, or over frames of several steps, for a vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import Float32, Float64
from lstm_cli.batch import Batch
from lstm_cli.data.cache import cache_key, cached
from lstm_cli.data.dense import Dense
from lstm_cli.data.labels import Labels
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.errors import DataError
from lstm_cli.features.statistics import statistics_logreg
from lstm_cli.features.tfidf import majority
from lstm_cli.nn import reference
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.tasks.base import Baseline, Evaluation, Loss
from lstm_cli.tasks.classes import Classes, ClassesConfig, class_numbers
from lstm_cli.tasks.classify_report import classification_report
from lstm_cli.tasks.dense_encoder import SequenceEncoderConfig
from lstm_cli.tasks.report import Report
from lstm_cli.tasks.sequence_channels import Channels, Frames, Scaling, encode_sequences, row_chunks

_STORE_FORMAT = 1
"""Increased whenever the same rows and settings would be encoded in another way, so that no old cache is read."""
_SYNTHETIC_ROWS, _SYNTHETIC_STEPS = 24, 60


class SequenceConfig(ClassesConfig):
    """The `task:` section of a classifier of sequences of numbers."""

    content: ClassVar[type[Dense]] = Dense

    kind: Literal["sequence"] = Field(
        "sequence", description="kind of task; sequence: one label per sequence of numbers"
    )
    max_steps: int = Field(
        2_000, ge=1, le=100_000, description="longer sequences are cut to their first steps"
    )
    scaling: Scaling = Field(
        "channel",
        description="channel: numbers are standardised by mean and deviation of their channel in train; sequence: then "
        "also by those of their own sequence, which the network is told, for sequences of very different amplitude",
    )
    frame_size: int = Field(
        1,
        ge=1,
        le=10_000,
        description="steps of the sequence that the network reads at once, as one step; 1: each for itself",
    )
    frame_step: int = Field(
        1,
        ge=1,
        le=10_000,
        description="steps from the begin of one frame to the next; long sequences need more than 1",
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="normal noise that is added to every number in training, in standard deviations of its channel",
    )
    encoder: SequenceEncoderConfig = Field(
        SequenceEncoderConfig(), description="layers that read the sequence"
    )
    pooling: PoolingKind = Field(
        "mean+max",
        description="how states become one vector: final, final-all-layers, mean, max, mean+max or attention",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout rate before the output layer")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare class counts as much in the loss as a common one"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="fraction of the target probability that is spread over all classes"
    )

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.encoder.dropout and self.encoder.num_layers == 1:
            yield (
                ("encoder", "dropout"),
                f"is dropout between layers and there is only one layer, got {self.encoder.dropout}; "
                f"try task.encoder.num_layers: 2, or task.dropout",
            )
        if self.pooling == "final-all-layers" and self.encoder.num_layers == 1:
            yield (
                ("pooling",),
                "final-all-layers needs more than one layer; try final, or task.encoder.num_layers: 2",
            )
        if (self.encoder.kernel_size or 1) > self.frame_size:
            yield (
                ("encoder", "kernel_size"),
                f"must not be longer than a frame, got {self.encoder.kernel_size} with frames of {self.frame_size}; "
                f"try a larger task.frame_size",
            )
        if self.frame_step > self.frame_size:
            yield (
                ("frame_step",),
                f"steps between two frames would be read by none, got {self.frame_step} with frames of "
                f"{self.frame_size}; try at most task.frame_size",
            )

    def fit(self, rows: Rows[Dense], origin: Any = None) -> SequenceTask:  # noqa: ARG002
        """Learn labels and scales from the training rows. Raises DataError if there are fewer than two labels."""
        return SequenceTask(self, Labels.learn(rows), Channels.learn(rows))

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> SequenceTask:
        content = json.loads(files["config.json"])
        labels = Labels.from_json(files["labels.json"], content["label_counts"])
        return SequenceTask(
            cls.model_validate(content["task"]), labels, Channels.from_json(files["channels.json"])
        )


@dataclass(frozen=True, slots=True)
class SequenceTask(Classes):
    """A fitted classifier of sequences: it has learned the labels, and mean and spread of each channel."""

    config: SequenceConfig
    labels: Labels
    channels: Channels

    @property
    def _frames(self) -> Frames:
        return Frames(self.config.frame_size, self.config.frame_step)

    @property
    def num_inputs(self) -> int:
        """Numbers in each step that the network reads."""
        return self.channels.num_inputs(self.config.scaling) * self.config.frame_size

    def describe(self) -> str | None:
        """The channels, in a sentence."""
        missing = "; where numbers are missing, the network sees it" if self.channels.masked else ""
        count = len(self.channels.mean)
        return (
            f"{count:,} {'channel' if count == 1 else 'channels'}, standardised by the training rows{missing}"
        )

    def build_model(self) -> TextClassifier:
        num_features = self.num_inputs // self.config.frame_size
        encoder = self.config.encoder.build_frames(num_features, self.config.frame_size)
        pooling = build_pooling(self.config.pooling, encoder.output_size, self.config.encoder.num_layers)
        return TextClassifier(encoder, pooling, len(self.labels.names), self.config.dropout)

    def prediction(self, row: Row[Dense], output: Float64, options: PredictOptions) -> dict[str, Any]:
        """The keys of `Classes.prediction`, after the id of a sequence that has one."""
        found = super(SequenceTask, self).prediction(row, output, options)
        return {"id": row.content.name, **found} if row.content.name else found

    def encode(self, rows: Rows[Dense], scored: bool = True) -> Store:  # noqa: ARG002
        inputs = {
            "format": _STORE_FORMAT,
            "rows": rows.digest(),
            "labels": self.labels.names,
            "channels": self.channels.to_json().decode(),
            "scaling": self.config.scaling,
            "steps": [self.config.max_steps, self.config.frame_size, self.config.frame_step],
        }
        below = {"targets": len(self.labels.names)}
        return cached(cache_key(inputs), lambda: self._encode_chunks(rows), below)

    def _encode_chunks(self, rows: Rows[Dense]) -> Iterator[Store]:
        for chunk in row_chunks(rows):
            for row in chunk:
                if fault := self.row_fault(row):
                    raise DataError(f"{row.where()}: {fault}")
            targets = np.array([self.labels.index(row) for row in chunk], np.int32)
            yield replace(self.encode_window(chunk), targets=targets)

    def row_fault(self, row: Row[Dense]) -> str | None:
        found, needed = row.content.values.shape[1], len(self.channels.mean)
        if found == needed:
            return None
        return f"{found} {'channel' if found == 1 else 'channels'} where the model was trained with {needed}"

    def encode_window(self, rows: Sequence[Row[Dense]]) -> Store:
        sequences = [row.content for row in rows]
        return encode_sequences(
            sequences, self.channels, self.config.scaling, self._frames, self.config.max_steps
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        inputs = batch.inputs
        if self.config.noise and model.training:
            inputs = inputs + self.config.noise * inputs.new_empty(inputs.shape).normal_()
        logits = model(inputs, batch.lengths)
        config = self.config
        total = self.cross_entropy(logits, batch.known_targets, config.class_weights, config.label_smoothing)
        return Loss(total, batch.num_rows)

    def baselines(self, train: Rows[Dense], rows: Rows[Dense]) -> list[Baseline]:
        """The majority class, and logistic regression on summary statistics."""
        targets = np.array([self.labels.index(row) for row in train])
        num_classes = len(self.labels.names)
        asked, known = (
            [self.channels.scaled(row.content.values[: self.config.max_steps]) for row in one]
            for one in (rows, train)
        )
        fitted = {
            "majority": majority(targets, len(asked), num_classes),
            "statistics_logreg": statistics_logreg(known, targets, asked),
        }
        return [Baseline(name, one.predicted, one.note) for name, one in fitted.items()]

    def report(self, evaluation: Evaluation) -> Report:
        return classification_report(
            evaluation,
            class_numbers(evaluation.store),
            self.labels.names,
            limit="task.max_steps",
            row="sequence",
            step="step",
        )

    def files(self) -> dict[str, bytes]:
        content = {
            "kind": "sequence",
            "task": self.config.model_dump(mode="json"),
            "label_counts": self.labels.counts,
        }
        return {
            "config.json": json.dumps(content, indent=2).encode(),
            "labels.json": self.labels.to_json(),
            "channels.json": self.channels.to_json(),
        }

    def synthetic_rows(self, rng: np.random.Generator) -> list[Row[Dense]]:
        """A sequence of one step, and random ones in the units of the training rows."""
        lengths = [1, *rng.integers(1, _SYNTHETIC_STEPS + 1, _SYNTHETIC_ROWS)]
        width = len(self.channels.mean)
        return [
            Row(
                Dense(self.channels.mean + self.channels.spread * rng.standard_normal((length, width))),
                "random",
                1,
            )
            for length in lengths
        ]

    def random_inputs(self, rng: np.random.Generator, length: int) -> Float32:
        return rng.standard_normal((length, self.num_inputs), np.float32)

    def reference(self, model: nn.Module, store: Store) -> Float64:
        """(N, C) probabilities, computed from the weights in float64."""
        weights = {name: value.cpu().double().numpy() for name, value in model.state_dict().items()}
        cell, pooling = self.config.encoder.cell, self.config.pooling
        logits = [
            reference.classify(cell, pooling, weights, inputs.astype(np.float64)) for inputs in store.inputs
        ]
        total = weights["scales"][0] * np.stack(logits)
        uniform = weights["uniform"]
        probs: Float64 = (1 - uniform) * reference.softmax(total) + uniform / total.shape[1]
        return probs
