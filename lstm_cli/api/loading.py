"""`lstm_cli.load`: a trained model from its folder. An exported folder needs no torch."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.exported.folder import is_exported

if TYPE_CHECKING:
    from lstm_cli.api.exported import ExportedPredictor
    from lstm_cli.api.predictor import Device, Predictor


def load(
    path: str | PathLike[str],
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: Device = "auto",
    threads: int = 0,
) -> Predictor | ExportedPredictor:
    """Load a trained model for predictions.

    Args:
        path: a run's folder, the folder of `--seeds` or `--folds` (its models are averaged), a checkpoint's folder, or
            a folder that `lstmcls export` has written.
        checkpoint: which checkpoint of a run. `best` has the best dev score.
        device: where to compute. auto: the first available of cuda, mps, cpu. An exported folder runs on the CPU.
        threads: CPU threads. 0: one per core, or OMP_NUM_THREADS.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ConfigError: an argument is wrong, the model is not a classifier, or a package is not installed.
    """
    folder = Path(path).expanduser()
    if is_exported(folder):
        from lstm_cli.api.exported import ExportedPredictor

        return ExportedPredictor(folder, checkpoint, device, threads)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; give the folder of a run, a checkpoint or an export"
        )
    try:
        from lstm_cli.api.predictor import load_trained
    except ModuleNotFoundError as fault:
        raise ConfigError(
            f"{folder}: a run needs {fault.name}, which is not installed; try pip install lstmcls, or load a folder "
            f"of `lstmcls export`"
        ) from None
    return load_trained(folder, checkpoint=checkpoint, device=device, threads=threads)
