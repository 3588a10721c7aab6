"""The five addresses of the service, as a Starlette application."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lstm_cli.answers import CLASS_KEYS, class_prediction
from lstm_cli.data.columns import output_names
from lstm_cli.serve.batching import Answers, Batcher
from lstm_cli.serve.limits import Limits
from lstm_cli.serve.metrics import Metrics
from lstm_cli.serve.question import Question, read_question
from lstm_cli.serve.refusal import Refusal, error_body

_JSON = "application/json"
_PAGE = (Path(__file__).parent / "page.html").read_bytes()
_METHODS = {"/": "GET", "/predict": "POST", "/health": "GET", "/model": "GET", "/metrics": "GET"}
_OPEN = ("/", "/health")
"""Addresses that need no token. The page holds nothing of the model; it asks with a token that is typed in."""
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def _sha256_of(tag: str) -> str:
    """The source in a Content-Security-Policy that allows the page's only <style> or <script>, and no other."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>".encode(), _PAGE, re.DOTALL)
    assert found is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"


_PAGE_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src {_sha256_of('style')}; script-src "
    f"{_sha256_of('script')}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Service:
    """Answers requests with one model. `log` gets a line for each, if there is one; `token`: who may ask."""

    batcher: Batcher
    limits: Limits
    metrics: Metrics
    token: str | None = None
    log: Callable[[str], None] | None = None
    digest_of_token: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest_of_token", _digest((self.token or "").encode()))

    def app(self) -> ASGIApp:
        """The application."""
        routes = [
            Route("/", self._page, methods=["GET"]),
            Route("/predict", self._predict, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/model", self._model, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        handlers: Mapping[Any, Any] = {
            Refusal: _refused,
            HTTPException: _not_found,
            ClientDisconnect: _gone,
            Exception: _failed,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return _Outside(self, app)

    def check_token(self, header: bytes | None) -> None:
        """Raise Refusal if the header Authorization does not hold the token. Takes equally long for any wrong one."""
        if self.token is None:
            return
        scheme, _, given = (header or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(
            _digest(given.strip()), self.digest_of_token
        ):
            got = "another one" if header else "none"
            raise Refusal(
                401,
                f"header Authorization: must hold the server's token, got {got}; try Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    async def _page(self, request: Request) -> Response:  # noqa: ARG002 - the signature of an endpoint
        return Response(_PAGE, media_type="text/html", headers=_PAGE_HEADERS)

    async def _health(self, request: Request) -> Response:  # noqa: ARG002
        return Response(b'{"status": "ok"}', media_type=_JSON)

    async def _model(self, request: Request) -> Response:  # noqa: ARG002
        return _json(self.batcher.served.about)

    async def _metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self.metrics.text(self.batcher.num_queued), media_type="text/plain; version=0.0.4")

    async def _predict(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise Refusal(
                415,
                f"header Content-Type: must be {_JSON}, got {kind[:60] or 'none'}; try Content-Type: {_JSON}",
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "header Content-Encoding: no encoding is read; send the body as it is")
        body = await self._body(request)
        served = self.batcher.served
        question = read_question(body, served.reading, self.limits)
        if question.explain and not served.explains:
            raise Refusal(
                400, "body.explain: this model cannot explain its predictions, got true; leave it out"
            )
        answers = await self.batcher.answers(question.texts, explain=question.explain)
        lines = prediction_lines(question, answers)
        return _json(lines[0] if question.single else {"predictions": lines})

    async def _body(self, request: Request) -> bytes:
        """The whole body. Raises Refusal if it is too large or takes too long."""
        limit = self.limits.body_bytes
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limit:
            raise _too_large(limit, f"{int(length[:20]):,}")
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit, "more")
        except TimeoutError:
            raise Refusal(
                408,
                f"body: not complete after {self.limits.body_seconds:g} s, got {len(body):,} bytes; try again",
                {"Connection": "close"},
            ) from None
        return bytes(body)


def prediction_lines(question: Question, answers: Answers) -> list[dict[str, Any]]:
    """One object per row, with the keys that `lstmcls predict --no-text` writes for the same rows."""
    names = answers.served.labels
    outputs, explanations = iter(answers.probs), iter(answers.explanations)
    lines = []
    for number, row in enumerate(question.rows):
        line: dict[str, Any] = {"row": number}
        if row.error is not None:
            line["error"] = row.error
        else:
            line |= class_prediction(names, next(outputs), question.options)
            if question.explain:
                line["explanation"] = next(explanations)
        fields = row.fields or {}
        line |= dict(zip(output_names(tuple(fields), CLASS_KEYS), fields.values(), strict=True))
        lines.append(line)
    return lines


@dataclass(frozen=True, slots=True)
class _Outside:
    """Around the application: the token, and a count and a log line for every request."""

    service: Service
    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        path = scope["path"]
        try:
            if path not in _OPEN:
                try:
                    self.service.check_token(_authorization(scope))
                except Refusal as refusal:
                    await _answer(refusal)(scope, receive, note)
                    return
            await self.app(scope, receive, note)
        finally:
            seconds = time.perf_counter() - began
            self.service.metrics.request(path if path in _METHODS else "other", status, seconds)
            if self.service.log:
                # never more of an unknown path: it may hold a text
                shown = path if path in _METHODS else "other"
                self.service.log(f"{scope['method'][:10]} {shown} {status or '-'} {1000 * seconds:.1f} ms")


def _authorization(scope: Scope) -> bytes | None:
    found: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0] if len(found) == 1 else None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _too_large(limit: int, got: str) -> Refusal:
    message = f"body: at most {limit:,} bytes, got {got}; try several requests"
    return Refusal(413, message, {"Connection": "close"})


def _json(value: Any) -> Response:
    """In the digits and with the escapes of `lstmcls predict`."""
    text = json.dumps(value, ensure_ascii=False).translate(_LINE_ENDS)
    return Response(text.encode("utf-8", "backslashreplace"), media_type=_JSON)


def _answer(refusal: Refusal) -> Response:
    return Response(error_body(str(refusal)), refusal.status, refusal.headers, _JSON)


async def _refused(request: Request, refusal: Refusal) -> Response:  # noqa: ARG001
    return _answer(refusal)


async def _not_found(request: Request, fault: HTTPException) -> Response:
    if fault.status_code == 405:
        allowed = _METHODS.get(request.url.path, "GET")
        message = f"{request.url.path}: answers {allowed} only, got {request.method[:10]}; try {allowed}"
        return _answer(Refusal(405, message, {"Allow": "GET, HEAD" if allowed == "GET" else allowed}))
    if fault.status_code == 404:
        return _answer(
            Refusal(404, f"no such address, got {request.method[:10]}; try one of {', '.join(_METHODS)}")
        )
    return _answer(Refusal(fault.status_code, f"the request cannot be read ({fault.detail})"))


async def _gone(request: Request, fault: Exception) -> Response:  # noqa: ARG001
    """The client has closed the connection: nobody reads this."""
    return _answer(Refusal(400, "the body ended early; try again"))


async def _failed(request: Request, fault: Exception) -> Response:  # noqa: ARG001
    return _answer(Refusal(500, "the server failed at this request; its log says why"))
