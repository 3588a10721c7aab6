"""`lstmcls explain`: what each word adds to a prediction, in the terminal, as JSON Lines or as one HTML page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lstm_cli.config.load import load_config
from lstm_cli.console import Screen
from lstm_cli.data.durable import write_file
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import DataConfig, open_rows, stream_rows, typed_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError
from lstm_cli.explain.attribution import explain as explain_text
from lstm_cli.explain.page import page
from lstm_cli.exported.folder import is_exported
from lstm_cli.runs.checkpoint import load_checkpoint
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.group import RunGroup
from lstm_cli.runtime import start
from lstm_cli.scoring.abilities import explainable

_MAX_ON_PAGE = 500


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """The arguments of `lstmcls explain`."""

    source: str
    files: tuple[str, ...]
    texts: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    run_dir: str | None = None
    output: Path | None = None
    as_json: bool = False
    target: str | None = None
    checkpoint: Literal["best", "last"] = "best"


def explain(request: ExplainRequest, screen: Screen) -> None:
    """Explain each text: to stdout, or as the HTML page `request.output`.

    Raises ConfigError if the model's predictions cannot be explained, DataError for unreadable files.
    """
    if request.output and request.as_json:
        raise ConfigError("-o and --json: one writes a page, the other JSON Lines to stdout; give only one")
    if request.texts and request.files:
        raise ConfigError(f"--text: cannot be combined with {request.files[0]}; give texts or files")
    if is_exported(request.source):
        raise ConfigError(
            f"{request.source}: an exported folder cannot be explained; name the run that it is from"
        )
    config = load_config(request.source, request.overrides, request.run_dir)
    folder = Path(config.run.dir)
    if RunGroup.read(folder):
        raise ConfigError(f"{folder}: holds several runs; name the folder of one of them")
    runtime = start(config.run, trains=False)
    task, model = load_checkpoint(RunFolder.open(folder).checkpoint(request.checkpoint)).load(runtime.device)
    ability = explainable(task)
    if ability is None:
        raise ConfigError(f"{folder}: the predictions of a task {config.task.kind} cannot be explained")
    explainer = ability.explainer(model)

    def explained(rows: Iterable[Row[Text] | None]) -> Iterator[tuple[str, Row[Text], Any]]:
        for number, row in enumerate(row for row in rows if row is not None):
            found = None if row.error else explain_text(explainer, row.content.text, runtime, request.target)
            yield str(number), row, found

    found = explained(_rows(request, config.data))
    if request.output:
        shown = list(islice(found, _MAX_ON_PAGE))
        more = next(found, None) is not None
        content = page(folder.name, [(where, row.error or one) for where, row, one in shown])
        write_file(request.output, content.encode())
        screen.say(
            f"{request.output}: {len(shown):,} texts"
            + (f", the first {_MAX_ON_PAGE} of them all" if more else "")
        )
        return
    if not request.as_json:
        screen.say(
            "adds: to the difference between the logits of the two labels; left out: how it changes without this word; "
            "so far: the probability if the text ended here"
        )
    for where, row, one in found:
        if request.as_json:
            value = {"row": int(where), **({"error": row.error} if one is None else one.as_json())}
            sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        elif one is None:
            sys.stdout.write(f"{where}: {row.where()}: {row.error}\n\n")
        else:
            screen.explanation(one, where)
        sys.stdout.flush()


def _rows(request: ExplainRequest, data: DataConfig) -> Iterable[Row[Text] | None]:
    if request.texts:
        return typed_rows(request.texts, "--text", data, content=Text, keep_text=False)
    if not any(override.startswith("data.format=") for override in request.overrides):
        data = data.model_copy(update={"format": "auto"})
    if list(request.files) == ["-"]:
        return stream_rows(sys.stdin.buffer, data, content=Text)
    if "-" in request.files:
        raise ConfigError("-: stdin cannot be combined with files; give either - or files")
    return open_rows(list(request.files), data, "predict", labelled=False, on_error="row", content=Text)
