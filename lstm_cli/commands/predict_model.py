"""The model that `lstmcls predict` uses: that of a run, of a group of runs, or of an exported folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lstm_cli.answers import PredictOptions
from lstm_cli.data.config import DataConfig
from lstm_cli.data.rows import Content
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError
from lstm_cli.exported.folder import ExportedFolder, is_exported, open_folder
from lstm_cli.schema import Config
from lstm_cli.scoring.windows import Predictor


@dataclass(frozen=True, slots=True)
class PredictModel:
    """A model in memory, and how its rows are read.

    `runtime` is passed on to the `predictor`. `metadata` holds everything besides the row that decides an output.
    """

    predictor: Predictor
    runtime: Any
    data: DataConfig
    content: type[Content]
    metadata: Mapping[str, Any]
    threads: int


def open_model(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    checkpoint: Literal["best", "last"],
    options: PredictOptions,
) -> PredictModel:
    """Load the model that `source` names, a config, a run or an exported folder.

    Raises ConfigError for an option that does not fit it, CheckpointError if there is no usable model.
    """
    if is_exported(source):
        return _of_exported(open_folder(source), overrides, run_dir, checkpoint)
    return _of_run(source, overrides, run_dir, checkpoint, options)


def _of_run(
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    checkpoint: Literal["best", "last"],
    options: PredictOptions,
) -> PredictModel:
    import torch  # here, because an exported folder needs none of these

    from lstm_cli.config.load import load_config
    from lstm_cli.runs.models import open_models
    from lstm_cli.runtime import start

    config = load_config(source, overrides, run_dir)
    runtime = start(config.run, trains=False)
    models = open_models(Path(config.run.dir), checkpoint, runtime.device)
    models.ensemble.task.accept(options)
    running = runtime.metadata()
    metadata = {
        "checkpoint": f"{models.name} ({models.digest[:12]})",
        "torch": torch.__version__,  # threads and versions change the order of sums
        **{name: running[name] for name in ("device", "threads", "deterministic")},
    }
    return PredictModel(
        models.ensemble, runtime, config.data, config.task.content, metadata, config.run.threads
    )


class _Threads(Config):
    threads: int = Field(0, ge=0, le=4096)


class _Settings(Config):
    """The keys that `--set` may change for an exported folder."""

    data: DataConfig
    run: _Threads = _Threads()


def _of_exported(
    folder: ExportedFolder, overrides: Sequence[str], run_dir: str | None, checkpoint: str
) -> PredictModel:
    for option, is_set in (("--run", run_dir is not None), ("--checkpoint last", checkpoint == "last")):
        if is_set:
            raise ConfigError(
                f"{option}: {folder.path} is an exported folder, which has one model; leave it out"
            )
    settings = _settings(folder, overrides)
    from lstm_cli.exported.model import ExportedModel

    model = ExportedModel(folder, settings.run.threads)
    import onnxruntime  # it is installed, or there would be no model

    metadata = {
        "checkpoint": f"{folder.name} ({folder.digest[:12]})",
        "onnxruntime": onnxruntime.__version__,
    }
    return PredictModel(model, None, settings.data, Text, metadata, settings.run.threads)


def _settings(folder: ExportedFolder, overrides: Sequence[str]) -> _Settings:
    """How the run read its rows, with the overrides. Raises ConfigError with all faults."""
    raw: dict[str, Any] = {"data": {"train": "none", **folder.manifest.data.model_dump(mode="json")}}
    if not overrides:
        return _Settings.model_validate(raw)
    from lstm_cli.config.faults import KeyPath, describe  # here: YAML takes 12 ms
    from lstm_cli.config.overrides import apply_override

    origins: dict[KeyPath, tuple[str, str]] = {}
    faults: list[str] = []
    for override in overrides:
        apply_override(raw, override, origins, faults)
    try:
        settings = _Settings.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for path, message in describe(_Settings, details, raw):
            where = origins[path][0] if path in origins else str(folder.path)
            faults.append(f"{where}: {'.'.join(path)}: {message}")
    if faults:
        raise ConfigError(faults)
    return settings
