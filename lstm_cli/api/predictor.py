"""A trained model in Python: load it once, predict often."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float64
from lstm_cli.config.load import load_config
from lstm_cli.data.text import rows_of_texts
from lstm_cli.errors import ConfigError
from lstm_cli.explain.attribution import explain
from lstm_cli.explain.explanation import Explanation
from lstm_cli.runs.checkpoint import MANIFEST, Checkpoint, load_checkpoint
from lstm_cli.runs.models import open_models
from lstm_cli.runtime import RuntimeConfig, borrowed
from lstm_cli.scoring.abilities import averaged, explainable
from lstm_cli.scoring.ensemble import Ensemble
from lstm_cli.scoring.prediction import TrainedModel
from lstm_cli.scoring.windows import predict_windows

Device = Literal["auto", "cpu", "cuda", "mps"]


class Predictor:
    """A trained classifier in memory. `lstm_cli.load` returns it.

    Several threads may use one predictor: their calls take turns. The settings of torch that a call needs (threads,
    determinism, denormal floats) hold only while it runs.

    Attributes:
        classes_: (C,) the labels, in the order of the columns of `predict_proba`.
    """

    classes_: npt.NDArray[np.object_]

    def __init__(self, ensemble: Ensemble, runtime: RuntimeConfig, name: str) -> None:
        """Use `load` instead. Raises ConfigError if the model `name` is not a classifier."""
        ability = averaged(ensemble.task)
        if (
            ability is None or explainable(ensemble.task) is None
        ):  # other tasks average too, but read no texts
            raise ConfigError(
                f"{name}: not a classifier of texts; only those can be loaded in Python and served yet; try "
                f"lstmcls predict"
            )
        self.classes_ = np.array(ability.output_names(), dtype=np.object_)
        self._ensemble, self._runtime, self._name = ensemble, runtime, name

    def predict(self, texts: Iterable[str]) -> list[str]:
        """The most probable label of each of N texts. Raises what `predict_proba` raises."""
        return list(self.classes_[self.predict_proba(texts).argmax(axis=1)])

    def predict_proba(self, texts: Iterable[str]) -> Float64:
        """The probability of each class for each of N texts: (N, C).

        `lstmcls predict --probs` gives the same numbers for a file with the same texts.

        Raises:
            TypeError: `texts` is one text, or one of them is not a str.
            ValueError: a text contains a lone surrogate, which is not a character.
        """
        rows = rows_of_texts(texts)
        with borrowed(self._runtime, trains=False) as runtime:
            windows = predict_windows(self._ensemble, rows, runtime)
            outputs = [result.output for window in windows for result in window]
        return np.array(outputs, np.float64).reshape(len(rows), len(self.classes_))

    def explain(self, text: str, target: str | None = None) -> Explanation:
        """What each word of `text` adds to its most probable label, or to the label `target`.

        Raises:
            TypeError, ValueError: as `predict_proba`, for this text.
            ConfigError: there is no label `target`, or the model is that of several runs.
        """
        (row,) = rows_of_texts([text])
        if len(self._ensemble.members) > 1:
            raise ConfigError(
                f"{self._name}: holds several runs; load one of them to explain its predictions"
            )
        (load,) = self._ensemble.members.values()
        ability = explainable(self._ensemble.task)
        assert ability is not None
        with borrowed(self._runtime, trains=False) as runtime:
            return explain(ability.explainer(load().model), row.content.text, runtime, target)

    def __repr__(self) -> str:
        return f"<Predictor {self._name}: {', '.join(map(str, self.classes_[:5]))}{', …' * (len(self.classes_) > 5)}>"


def load_trained(
    folder: Path, *, checkpoint: Literal["best", "last"], device: Device, threads: int
) -> Predictor:
    """`lstm_cli.load` of a folder that holds a run, several runs or a checkpoint."""
    runtime = runtime_config(device, threads)
    with borrowed(runtime, trains=False) as started:
        if (folder / MANIFEST).is_file():
            return predictor_of(load_checkpoint(folder), runtime, started.device)
        load_config(str(folder))  # so that a folder without a run, or a newer version's, is one clear error
        models = open_models(folder, checkpoint, started.device)
    return Predictor(models.ensemble, runtime, str(folder))


def predictor_of(saved: Checkpoint, runtime: RuntimeConfig, device: Any) -> Predictor:
    """The predictor of one checkpoint, on a torch.device. Raises CheckpointError if it is damaged."""
    model = TrainedModel(*saved.load(device))
    return Predictor(Ensemble(model.task, {saved.folder.name: lambda: model}), runtime, str(saved.folder))


def runtime_config(device: str, threads: int) -> RuntimeConfig:
    """The settings for these arguments. Raises ConfigError if one of them is wrong."""
    if device not in get_args(Device):
        raise ConfigError(f"device: must be one of {', '.join(get_args(Device))}, got {device!r}")
    if not isinstance(threads, int) or not 0 <= threads <= 4096:
        raise ConfigError(f"threads: must be a whole number from 0 to 4096, got {threads!r}")
    return RuntimeConfig(device=device, threads=threads)
