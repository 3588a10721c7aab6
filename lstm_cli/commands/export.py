"""`lstmcls export`: write the best model of a run as a folder that predicts without torch."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data.durable import write_file
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.errors import ConfigError, DataError, GateMissed, LstmclsError
from lstm_cli.export.card import Facts, card
from lstm_cli.export.measure import MAX_LOST_POINTS, Loss, measure
from lstm_cli.export.parts import ExportOptions, Parts, classifier_of, parts_of
from lstm_cli.exported.check import Sample, probabilities
from lstm_cli.exported.folder import CARD, CHECK, MANIFEST, Manifest, digest_of, is_exported
from lstm_cli.exported.model import ExportedModel, load_exported
from lstm_cli.runs.models import Models, open_models
from lstm_cli.runs.swap import read_together, replaced_folder
from lstm_cli.runtime import Runtime, RuntimeConfig, start
from lstm_cli.scoring.comparison import compare
from lstm_cli.tasks.classify import Classify

_MAX_METRICS_BYTES = 2**28  # a confusion matrix of 5,000 classes takes 100 MB


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The arguments of `lstmcls export`."""

    source: str
    output: Path
    overrides: tuple[str, ...] = ()
    options: ExportOptions = field(default_factory=ExportOptions)
    force: bool = False


def export(request: ExportRequest, screen: Screen) -> None:
    """Write the exported folder, which appears as a whole or not at all.

    Raises ConfigError if the run or an option cannot be exported, GateMissed if rounding costs more than half a point
    of accuracy, CheckpointError if there is no usable model.
    """
    if is_exported(request.source):
        raise ConfigError(f"{request.source}: is an exported folder already; give the run's folder")
    config = load_config(request.source, request.overrides)
    output = _new_folder(request.output)
    work = _open(config, request.options)
    with replaced_folder(output, screen.say) as new:
        _new_folder(output)  # another process may have written it meanwhile
        _write(new, work.parts, work.parts.files)
        exported = load_exported(new, config.run.threads)
        sample = _sample(work, exported)
        loss, why_not = (None, None) if work.parts.exact else _loss(work, exported, screen)
        if loss and loss.lost_points > MAX_LOST_POINTS and not request.force:
            raise GateMissed(
                f"{output}: not written: accuracy on {loss.num_rows:,} dev rows falls from {loss.accuracy[0]:.4f} to "
                f"{loss.accuracy[1]:.4f}, by more than {MAX_LOST_POINTS} points; try a larger --max-ngrams, "
                f"without --int8, or --force"
            )
        files = {**work.parts.files, CHECK: sample.to_bytes()}
        files[CARD] = _card(work, files, loss, why_not).encode()
        _write(new, work.parts, files)
    total = sum(map(len, files.values())) / 1e6
    weights = work.parts.about["weights"]
    screen.say(f"{output}: {work.models.name}, {weights}, {total:.1f} MB in {len(files) + 1} files")
    if loss:
        screen.say(
            f"on {loss.num_rows:,} dev rows accuracy was {loss.accuracy[0]:.4f} and is {loss.accuracy[1]:.4f}, "
            f"log loss was {loss.log_loss[0]:.4f} and is {loss.log_loss[1]:.4f}"
        )
    screen.say(f"next: lstmcls predict {shlex.quote(str(output))} --text 'some text'")


@dataclass(frozen=True, slots=True)
class _Work:
    """What is exported: the run's model and task, and the parts of the folder that are made of them."""

    config: RunConfig
    runtime: Runtime
    models: Models
    task: Classify
    parts: Parts


def _open(config: RunConfig, options: ExportOptions) -> _Work:
    runtime = start(RuntimeConfig(device="cpu", threads=config.run.threads), trains=False)
    models = open_models(Path(config.run.dir), "best", runtime.device)
    if models.group:
        raise ConfigError(
            f"{config.run.dir}: a group of runs, and one model can be exported; name one run: {models.group.choices()}"
        )
    task = classifier_of(config.run.dir, models.ensemble.task)
    ((name, load),) = models.ensemble.members.items()
    parts = parts_of(name, task, load().model, config.data, models.name, options)
    return _Work(config, runtime, models, task, parts)


def _new_folder(output: Path) -> Path:
    """The folder to write. Raises ConfigError if it is there and not empty."""
    if not output.name or output.name == "..":
        raise ConfigError(f"-o {output}: name a new folder, such as -o exported/model")
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise ConfigError(f"-o {output}: is not a folder; name a new one")
    if output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"-o {output}: the folder is not empty; name a new one, or empty it first")
    return output


def _write(folder: Path, parts: Parts, files: Mapping[str, bytes]) -> None:
    """Write the files, then the manifest that lists them."""
    for name, content in files.items():
        write_file(folder / name, content)
    records = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    manifest = Manifest.model_validate({**parts.about, "exact": parts.exact, "files": records})
    listed = json.loads(manifest.model_dump_json())
    listed["sha256"] = digest_of(listed)
    write_file(folder / MANIFEST, json.dumps(listed, indent=2, ensure_ascii=False).encode())


def _sample(work: _Work, exported: ExportedModel) -> Sample:
    """Texts of random words with the probabilities of both models.

    Raises LstmclsError if the export should give those of the run and does not.
    """
    rows: list[Row[Any]] = work.task.synthetic_rows(np.random.default_rng(0))
    texts = [row.content.text for row in rows]
    ensemble = work.models.ensemble
    run = np.asarray(ensemble.outputs(ensemble.encode(rows), work.runtime)[0])
    own = probabilities(exported, texts)
    if work.parts.exact:
        check = compare("export", f"{len(texts)} texts", [run], [own])
        if check.result != "ok":
            raise LstmclsError(
                f"not written: the exported model does not predict as the run does ({check.note}); this is a fault "
                f"of lstmcls, or of the run: `lstmcls verify` tells"
            )
    return Sample(texts, run, own)


def _loss(work: _Work, exported: ExportedModel, screen: Screen) -> tuple[Loss | None, str | None]:
    """What rounding costs on the dev rows, or why that was not measured."""
    config, models = work.config, work.models
    try:
        rows = models.splits(config.data, config.run.seed, config.task.content).get("dev")
        why_not = _unusable(models, rows)
        if rows is not None and why_not is None:
            screen.say("scoring the dev rows of the run with both models …")
            return measure(work.task, models.ensemble, exported, rows, work.runtime), None
        said = why_not
    except DataError as fault:
        why_not, said = "the dev rows cannot be read", f"the dev rows cannot be read ({fault})"
    screen.warn(f"what this export loses was not measured: {said}")
    return None, why_not  # without the names of files, which the card must not hold


def _unusable(models: Models, rows: Rows[Any] | None) -> str | None:
    if rows is None:
        return "the run has no dev rows"
    match models.run.read_environment():
        case {"data": {"dev": {"sha256": str(known)}}} if known == rows.digest():
            return None
    return "the dev rows have changed since the training"


def _card(work: _Work, files: Mapping[str, bytes], loss: Loss | None, why_not: str | None) -> str:
    labels = work.task.labels
    counts = dict(zip(labels.names, labels.counts, strict=True))
    sizes = {name: len(content) for name, content in files.items()}
    name = Path(work.config.run.dir).resolve().name
    return card(work.parts, Facts(name, counts, _stored_scores(work.models), sizes, loss, why_not))


def _stored_scores(models: Models) -> dict[str, dict[str, Any]]:
    """The scores that the run holds of this checkpoint: of dev from its record, of test from its evaluation."""
    scores: dict[str, dict[str, Any]] = {}
    environment = models.run.read_environment()
    for record in models.run.records():
        if models.name.startswith(f"best, epoch {record['epoch']},"):
            match environment:
                case {"data": {"dev": {"rows": int(count)}}}:
                    scores["dev"] = {**record["dev"], "n": count}
    try:
        (content,) = read_together(models.run.evaluation("test"), {"metrics.json": _MAX_METRICS_BYTES})
        metrics = json.loads(content)
        if metrics["checkpoint"] == models.name and type(metrics["n"]) is int:
            scores["test"] = metrics
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # it was never scored, or not by this version
    return scores
