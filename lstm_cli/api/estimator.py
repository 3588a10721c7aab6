"""A scikit-learn estimator that classifies texts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from lstm_cli.api.predictor import Device, Predictor, predictor_of, runtime_config
from lstm_cli.api.training import train
from lstm_cli.arrays import Float64
from lstm_cli.config.presets import preset_path
from lstm_cli.data.durable import write_file
from lstm_cli.errors import DataError
from lstm_cli.runs.checkpoint import Checkpoint, load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runtime import borrowed


class LstmClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A recurrent text classifier for scikit-learn: `LstmClassifier().fit(texts, labels).predict(texts)`.

    It works in pipelines, in `cross_val_score` and in a grid search. A fitted estimator keeps its model in memory, and
    can be copied and pickled.

    Args:
        preset: the config to start from, one of those that `lstmcls init` writes.
        config: keys that replace the preset's: `{"train": {"epochs": 3}}`. They may not name rows or a run's folder.
        epochs: `train.epochs`, if not the preset's.
        device: where to compute. auto: the first available of cuda, mps, cpu.
        threads: CPU threads. 0: one per core, or OMP_NUM_THREADS.
        random_state: an int or a RandomState for `run.seed`. None: another seed in every fit.

    Attributes:
        classes_: (C,) the labels, sorted, in the order of the columns of `predict_proba`.
        metrics_: the scores on the dev rows, a tenth of the texts, that chose the best epoch.
    """

    classes_: npt.NDArray[Any]
    metrics_: Mapping[str, Any]
    _saved: Checkpoint
    _predictor: Predictor

    def __init__(
        self,
        *,
        preset: str = "sentences",
        config: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        device: Device = "auto",
        threads: int = 0,
        random_state: Any = None,
    ) -> None:
        self.preset = preset
        self.config = config
        self.epochs = epochs
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Iterable[str], y: Iterable[Any]) -> Self:  # noqa: N803
        """Train on N texts and their labels.

        Raises:
            ValueError: the labels are not classes, there are fewer than two, or their number differs from the texts'.
            TypeError: a text is not a str.
            ConfigError: `preset` or `config` is wrong.
        """
        texts, labels = _checked(X), np.asarray(y if isinstance(y, np.ndarray) else list(y))
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels.ravel()
        if labels.shape != (len(texts),):
            raise ValueError(
                f"y: must have one label for each of the {len(texts)} texts, got shape {labels.shape}"
            )
        check_classification_targets(labels)
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y: must have at least two classes, got {len(classes)} class ({classes.tolist()})"
            )
        seed = int(check_random_state(self.random_state).randint(2**31))
        with tempfile.TemporaryDirectory(prefix="lstmcls-") as folder:
            rows = Path(folder) / "rows.jsonl"
            lines = (
                json.dumps({"text": text, "label": str(number)})
                for text, number in zip(texts, numbers, strict=True)
            )
            write_file(rows, "".join(f"{line}\n" for line in lines).encode())
            try:
                run = train(
                    preset_path(self.preset),
                    run=Path(folder) / "run",
                    baselines=False,
                    quiet=True,
                    **self._overrides(),
                    data__train=str(rows),
                    data__test=None,
                    run__seed=seed,
                    run__device=self.device,
                    run__threads=self.threads,
                )
            except DataError as fault:
                raise ValueError(str(fault)) from fault
            self._saved = load_checkpoint(RunFolder(run.path).best)
        self.classes_, self.metrics_ = classes, run.metrics
        self._predictor = self._load()
        return self

    def _overrides(self) -> dict[str, Any]:
        """The keys of `config` and `epochs` by their path, as `train` takes them."""
        given: dict[str, Any] = {}

        def add(section: Mapping[str, Any], above: str) -> None:
            for name, value in section.items():
                if isinstance(value, Mapping) and value:
                    add(value, f"{above}{name}__")
                else:
                    given[f"{above}{name}"] = value

        add(self.config or {}, "")
        if self.epochs is not None:
            given["train__epochs"] = self.epochs
        return given

    def _load(self) -> Predictor:
        runtime = runtime_config(self.device, self.threads)
        with borrowed(runtime, trains=False) as started:
            return predictor_of(self._saved, runtime, started.device)

    def predict(self, X: Iterable[str]) -> npt.NDArray[Any]:  # noqa: N803
        """(N,) the most probable label of each text."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Iterable[str]) -> Float64:  # noqa: N803
        """(N, C) the probability of each class, in the order of `classes_`."""
        check_is_fitted(self, "classes_")
        probs = self._predictor.predict_proba(_checked(X))
        return probs[:, np.argsort([int(name) for name in self._predictor.classes_])]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_predictor", None)  # it is made again from the files of the checkpoint
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_saved"):
            self._predictor = self._load()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, True, False
        tags.non_deterministic = self.random_state is None
        return tags


def _checked(X: Iterable[str]) -> list[str]:  # noqa: N803
    """The texts of (N,) or (N, 1). Raises ValueError or TypeError if they are something else."""
    if isinstance(X, str | bytes):
        raise ValueError("X: must be a list of texts, got one text; try [text]")
    shape: tuple[int, ...] = getattr(X, "shape", ())
    values: Iterable[Any] = np.asarray(X).ravel() if len(shape) == 2 and shape[1] == 1 else X
    texts = [text.item() if isinstance(text, np.generic) else text for text in values]
    if not texts:
        raise ValueError("X: must have at least one text, got 0 samples")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{i}]: must be a str, got {type(text).__name__} ({text!r:.60})")
    return texts
