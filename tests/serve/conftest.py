"""A service in this process, around a model whose answer to a text is known, and a client that speaks plain HTTP."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lstm_cli.arrays import Float64
from lstm_cli.data.config import DataConfig
from lstm_cli.data.rows import Reading
from lstm_cli.data.text import Text
from lstm_cli.serve.app import Service
from lstm_cli.serve.batching import Batcher
from lstm_cli.serve.limits import Limits
from lstm_cli.serve.metrics import Metrics
from lstm_cli.serve.model import ServedModel
from lstm_cli.serve.server import ServiceServer, bound_socket, listen

LABELS = ("negative", "positive")
READING = Reading(DataConfig(train="none"), Text, labelled=False, keep_fields=True)


def score(text: str) -> float:
    """The probability of "positive" that `Known` gives to a text."""
    return (1 + sum(text.encode()) % 997) / 999


@dataclass(slots=True)
class Known:
    """A model whose probabilities follow from the text. It waits while `held`, and keeps its batches."""

    classes_: Sequence[str] = LABELS
    batches: list[list[str]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    fails_at: str | None = None

    def __post_init__(self) -> None:
        self.free.set()

    def predict_proba(self, texts: Sequence[str]) -> Float64:
        self.batches.append(list(texts))
        assert self.free.wait(30)
        if self.fails_at in texts:
            raise RuntimeError("this text cannot be read")
        return np.array([[1 - score(text), score(text)] for text in texts], np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class Explanation:
    text: str

    def as_json(self) -> dict[str, Any]:
        return {"words": self.text.split()}


class Explaining(Known):
    """`Known`, which also explains."""

    def explain(self, text: str) -> Explanation:
        return Explanation(text)


def served(model: Any, labels: tuple[str, ...] = LABELS, **about: Any) -> ServedModel:
    return ServedModel(model, labels, {"name": "known", "labels": labels, **about}, READING)


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of an error, which holds nothing else."""
        assert list(self.json) == ["error"]
        assert self.headers["content-type"] == "application/json"
        return str(self.json["error"])


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())


@dataclass(slots=True)
class Client:
    port: int
    service: Service
    log: list[str]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return ask(self.port, method, path, body, headers)

    def predict(self, body: Any, **headers: str) -> Answer:
        """POST /predict of bytes as they are, or of a value as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/predict", content, {"Content-Type": "application/json", **headers})


Start = Callable[..., Client]


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def services() -> Iterator[Start]:
    """A function that starts services, which end with the test: `start(model, token=…, labels=…, **limits)`."""
    running: list[tuple[ServiceServer, Batcher, threading.Thread]] = []

    def begin(
        model: Any, token: str | None = None, labels: tuple[str, ...] = LABELS, **limits: Any
    ) -> Client:
        bounds, metrics = Limits(**limits), Metrics()
        log: list[str] = []
        batcher = Batcher(served(model, labels), bounds, metrics)
        service = Service(batcher, bounds, metrics, token, log.append)
        bound = bound_socket("127.0.0.1", 0)
        listen(bound, "127.0.0.1", 0)
        server = ServiceServer(service.app(), bounds, lambda: None)
        batcher.start()
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        running.append((server, batcher, thread))
        return Client(bound.getsockname()[1], service, log)

    yield begin
    for server, batcher, thread in running:
        server.should_exit = True
        thread.join(20)
        batcher.stop()
        assert not thread.is_alive()


@pytest.fixture
def start() -> Iterator[Start]:
    yield from services()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A service of `Known` with the limits that users get. The tests of a module share it."""
    started = services()
    yield next(started)(Known())
    next(started, None)
