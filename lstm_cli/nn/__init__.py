"""The networks: tensors in, tensors out. Nothing here knows files, labels, tasks or configs."""

from __future__ import annotations

from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.encoders import DenseEncoder, Encoder, FrameEncoder, TokenEncoder
from lstm_cli.nn.model import Model, Stage
from lstm_cli.nn.pooling import Pooling, PoolingKind, build_pooling
from lstm_cli.nn.recurrent import Cell, Encoded, LayerPath, Recurrent, State

__all__ = [
    "Cell",
    "DenseEncoder",
    "Encoded",
    "Encoder",
    "FrameEncoder",
    "LayerPath",
    "Model",
    "Pooling",
    "PoolingKind",
    "Recurrent",
    "Stage",
    "State",
    "TextClassifier",
    "TokenEncoder",
    "build_pooling",
]
