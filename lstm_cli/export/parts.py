"""What an exported folder holds of a classifier, the only kind of task that can be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lstm_cli import __version__
from lstm_cli.data.config import DataConfig
from lstm_cli.errors import ConfigError
from lstm_cli.export.graph import TooLarge, classifier_graph
from lstm_cli.exported.folder import LABELS, MODEL, NGRAMS, TOKENIZER, ReadingConfig
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.tasks.base import Task
from lstm_cli.tasks.classify import Classify


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`int8`: store the weights as 8-bit numbers. `max_ngrams`: keep so many n-grams, those of the largest weights."""

    int8: bool = False
    max_ngrams: int | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The files that predict, and the manifest's entries about them; `exact`: they predict as the run does."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]
    exact: bool
    num_ngrams: int


def classifier_of(name: str, task: Task) -> Classify:
    """The task, if it can be exported. Raises ConfigError for any other kind; `name` is the run's folder."""
    if not isinstance(task, Classify):
        raise ConfigError(f"{name}: not a classifier; only runs with task.kind: classify can be exported")
    return task


def parts_of(
    name: str, task: Classify, model: nn.Module, data: DataConfig, checkpoint: str, options: ExportOptions
) -> Parts:
    """The files of the folder that predict. Raises ConfigError if the model or an option does not fit."""
    assert isinstance(model, TextClassifier)
    config, encoder = task.config, task.config.encoder
    weights = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
    try:
        graph = classifier_graph(encoder.cell, config.pooling, weights, int8=options.int8)
    except TooLarge:
        raise ConfigError(f"{name}: its weights do not fit into one ONNX file (2 GB); try --int8") from None
    ngrams = task.ngrams
    if options.max_ngrams is not None:
        if ngrams is None:
            raise ConfigError(f"--max-ngrams: {name} has no n-grams (task.features: none); leave it out")
        ngrams = ngrams.heaviest(options.max_ngrams)
    files = {
        MODEL: graph,
        TOKENIZER: task.tokenizer.to_json(),
        LABELS: task.labels.to_json(),
    }
    if ngrams:
        files[NGRAMS] = ngrams.to_bytes()
    about = {
        "lstmcls": __version__,
        "weights": "int8" if options.int8 else "fp32",
        "checkpoint": checkpoint,
        "cell": encoder.cell,
        "num_layers": encoder.num_layers,
        "hidden_size": encoder.hidden_size,
        "bidirectional": encoder.bidirectional,
        "tokenizer": config.tokenizer.model_dump(mode="json"),
        "max_tokens": config.max_tokens,
        "truncation": config.truncation,
        "scales": model.scales.double().tolist(),
        "uniform": float(model.uniform),
        "data": {key: getattr(data, key) for key in ReadingConfig.model_fields},
    }
    num_ngrams = len(ngrams.keys) if ngrams else 0
    fewer = task.ngrams is not None and num_ngrams < len(task.ngrams.keys)
    return Parts(files, about, exact=not options.int8 and not fewer, num_ngrams=num_ngrams)
