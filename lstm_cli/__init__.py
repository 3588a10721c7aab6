"""Recurrent text classifiers trained on your own labelled text, from one YAML file.

    import lstm_cli

    model = lstm_cli.load("runs/reviews")
    model.predict(["great", "awful"])

Only the names in `__all__` are promised. They are imported when they are first used: they need torch, except for a
folder of `lstmcls export`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lstm_cli.errors import CheckpointError, ConfigError, DataError, LstmclsError, StorageError

if TYPE_CHECKING:
    from lstm_cli.api.estimator import LstmClassifier
    from lstm_cli.api.exported import ExportedPredictor
    from lstm_cli.api.loading import load
    from lstm_cli.api.predictor import Predictor
    from lstm_cli.api.training import Run, train

__version__ = "0.2.0"
__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ExportedPredictor",
    "LstmClassifier",
    "LstmclsError",
    "Predictor",
    "Run",
    "StorageError",
    "load",
    "train",
]
_FILES = {
    "ExportedPredictor": "exported",
    "LstmClassifier": "estimator",
    "Predictor": "predictor",
    "load": "loading",
    "Run": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'lstm_cli' has no attribute {name!r}")
    try:
        return getattr(import_module(f"lstm_cli.api.{_FILES[name]}"), name)
    except ModuleNotFoundError as fault:
        raise ConfigError(
            f"lstm_cli.{name}: needs {fault.name}, which is not installed; try pip install lstmcls"
        ) from None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
