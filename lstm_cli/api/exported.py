"""An exported model in Python: load it once, predict often, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float64
from lstm_cli.data.text import rows_of_texts
from lstm_cli.errors import ConfigError
from lstm_cli.exported.folder import open_folder
from lstm_cli.exported.model import ExportedModel
from lstm_cli.scoring.windows import predict_windows


class ExportedPredictor:
    """An exported classifier in memory. `lstm_cli.load` returns it for a folder of `lstmcls export`.

    Several threads may use one predictor, at the same time.

    Attributes:
        classes_: (C,) the labels, in the order of the columns of `predict_proba`.
    """

    classes_: npt.NDArray[np.object_]

    def __init__(self, folder: Path, checkpoint: str, device: str, threads: int) -> None:
        """Use `load` instead."""
        if checkpoint != "best":
            raise ConfigError(
                f"checkpoint: {folder} is an exported folder, which has one model; leave it out"
            )
        if device not in ("auto", "cpu"):
            raise ConfigError(f"device: an exported folder runs on the CPU, got {device!r}; try auto")
        if not isinstance(threads, int) or not 0 <= threads <= 4096:
            raise ConfigError(f"threads: must be a whole number from 0 to 4096, got {threads!r}")
        self._model = ExportedModel(open_folder(folder), threads)
        self.classes_ = np.array(self._model.task.names, dtype=np.object_)

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
        windows = predict_windows(self._model, rows, None)
        outputs = [result.output for window in windows for result in window]
        return np.array(outputs, np.float64).reshape(len(rows), len(self.classes_))

    def __repr__(self) -> str:
        name, more = self._model.folder.path, ", …" * (len(self.classes_) > 5)
        return f"<ExportedPredictor {name}: {', '.join(map(str, self.classes_[:5]))}{more}>"
