"""`lstmcls serve`: one model as a small HTTP service, with a page to try it."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lstm_cli
from lstm_cli.console import Screen
from lstm_cli.data.config import DataConfig
from lstm_cli.data.durable import read_file
from lstm_cli.data.rows import Reading
from lstm_cli.data.text import Text
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.exported.folder import CARD, is_exported, open_folder
from lstm_cli.runs.signals import stop_requests
from lstm_cli.serve.app import Service
from lstm_cli.serve.batching import Batcher
from lstm_cli.serve.limits import Limits
from lstm_cli.serve.metrics import Metrics
from lstm_cli.serve.model import ServedModel
from lstm_cli.serve.server import ServiceServer, bound_socket, listen

TOKEN = "LSTMCLS_TOKEN"
_MAX_TOKEN_BYTES = 4096
_MAX_SCORES_BYTES = 2**24
_SCORES = ("n", "accuracy", "macro_f1", "log_loss", "ece", "verdict", "verdict_against")


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """The arguments of `lstmcls serve`."""

    path: str
    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    quiet: bool = False
    limits: Limits = field(default_factory=Limits)


def serve(request: ServeRequest, screen: Screen) -> None:
    """Answer requests until a signal comes; then finish those that run. Raises Interrupted."""
    token, limits = _token(request.token_file), request.limits
    bound = bound_socket(request.host, request.port)
    with bound:
        metrics = Metrics()
        batcher = Batcher(_load(request.path), limits, metrics)

        def reload() -> None:
            try:
                batcher.served = _load(request.path)
            except Exception as fault:  # noqa: BLE001 - whatever it is, the old model goes on
                metrics.reload("failed")
                kept = " ".join(str(fault).split())[:500]
                screen.warn(f"not reloaded, the model loaded before goes on: {kept}")
            else:
                metrics.reload("ok")
                screen.say(f"reloaded {request.path} ({batcher.served.about['digest'][:12]})")

        service = Service(batcher, limits, metrics, token, None if request.quiet else _log)
        server = ServiceServer(service.app(), limits, reload)

        def end() -> None:
            server.should_exit = True

        def load_again() -> None:
            server.reload_wanted = True

        listen(bound, request.host, request.port)
        batcher.start()
        try:
            with stop_requests(end, on_hangup=load_again, message="the requests in progress were answered"):
                _announce(request, bound.getsockname()[1], token, screen)
                server.run([bound])
        finally:
            batcher.stop()


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _announce(request: ServeRequest, port: int, token: str | None, screen: Screen) -> None:
    host = f"[{request.host}]" if ":" in request.host else request.host
    if token is None and not _is_loopback(request.host):
        screen.warn(
            f"--host {request.host}: whoever reaches this machine can use the model; set {TOKEN} or --token-file, or "
            f"leave --host out"
        )
    screen.say(f"serving {request.path} on http://{host}:{port} (Ctrl-C stops it)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str | None:
    """The token that clients must send, from the file or the environment. Raises ConfigError if it is unusable."""
    if file is None:
        if (token := os.environ.get(TOKEN)) is None:
            return None
        where = TOKEN
    else:
        where = f"--token-file {file}"
        try:
            token = read_file(file, _MAX_TOKEN_BYTES).decode("ascii")
        except (OSError, ValueError) as fault:
            reason = (
                getattr(fault, "strerror", None) or "a token is one line of at most 4,096 ASCII characters"
            )
            raise ConfigError(f"{where}: cannot be read ({reason})") from None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where}: must be one line of ASCII characters without spaces; try a long random word"
        )
    return token


def _load(path: str) -> ServedModel:
    """The model, how its rows are read, and what is known about it. Raises what `lstm_cli.load` raises."""
    model = lstm_cli.load(path)
    model.predict_proba(["a text"])  # the first prediction takes up to 70 ms longer than the next
    labels = tuple(map(str, model.classes_))
    data, facts = _facts(Path(path).expanduser())
    about = {
        "name": Path(path).expanduser().resolve().name,
        "labels": labels,
        "lstmcls": lstm_cli.__version__,
        "text_column": data.text_column,
        "explain": callable(getattr(model, "explain", None)),
        **facts,
    }
    return ServedModel(model, labels, about, Reading(data, Text, labelled=False, keep_fields=True))


def _facts(folder: Path) -> tuple[DataConfig, dict[str, Any]]:
    """How the rows were read, and checkpoint, digest, scores and card of a run, a group, a checkpoint or an export."""
    if is_exported(folder):
        exported = open_folder(folder)
        data = DataConfig.model_validate({"train": "none", **exported.manifest.data.model_dump(mode="json")})
        card = exported.read(CARD).decode("utf-8", "replace") if CARD in exported.manifest.files else None
        return data, {
            "checkpoint": exported.manifest.checkpoint,
            "digest": exported.digest,
            "scores": {},
            "card": card,
        }
    from lstm_cli.config.load import load_config  # here: these need torch, and an export does not
    from lstm_cli.runs.checkpoint import MANIFEST, load_checkpoint
    from lstm_cli.runs.folder import RunFolder
    from lstm_cli.runs.group import RunGroup

    if (folder / MANIFEST).is_file():
        saved = load_checkpoint(folder)
        return DataConfig(train="none"), {
            "checkpoint": saved.name,
            "digest": saved.digest,
            "scores": {},
            "card": None,
        }
    config = load_config(str(folder))
    group = RunGroup.read(folder)
    saved_ones = [
        load_checkpoint(RunFolder.open(path).checkpoint("best"))
        for path in (group.paths if group else (folder,))
    ]
    digest = saved_ones[0].digest
    name = saved_ones[0].name
    if group:
        digest = hashlib.sha256("".join(saved.digest for saved in saved_ones).encode()).hexdigest()
        name = f"best of {len(saved_ones)} runs"
    return config.data, {"checkpoint": name, "digest": digest, "scores": _scores(folder), "card": None}


def _scores(folder: Path) -> dict[str, Any]:
    """The main scores of each split that was evaluated."""
    import json

    found: dict[str, Any] = {}
    for split in ("test", "dev"):
        try:
            metrics = json.loads(read_file(folder / "eval" / split / "metrics.json", _MAX_SCORES_BYTES))
        except (OSError, ValueError, RecursionError, LstmclsError):
            continue
        if isinstance(metrics, dict):
            found[split] = {name: metrics[name] for name in _SCORES if name in metrics}
    return found
