"""Runs the service on a socket: timeouts of slow clients, the end after a signal, and a model that is loaded again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator

import h11
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.serve.limits import Limits
from lstm_cli.serve.refusal import error_body

_REST_SECONDS = 1.0
"""How long a client may send what is not read: closed at once, it would not see why it is refused."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket with this address, not yet listening; port 0 is any free one.

    Raises ConfigError if there is no such host, LstmclsError if the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise ConfigError(f"--host {host}: no such address ({reason}); try 127.0.0.1") from None
    bound = socket.socket(family, kind, protocol)
    with _naming(host, port, bound):
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would share the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    return bound


def listen(bound: socket.socket, host: str, port: int) -> None:
    """Let clients connect. Raises LstmclsError if another process was quicker."""
    with _naming(host, port, bound):
        bound.listen(2048)
        bound.setblocking(False)


@contextlib.contextmanager
def _naming(host: str, port: int, bound: socket.socket) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as fault:
        bound.close()
        reason = (getattr(fault, "strerror", None) or str(fault)).lower()
        raise LstmclsError(
            f"{host} port {port}: cannot be used ({reason}); try another --port or --host"
        ) from None


class ServiceServer(Server):
    """Serves until `should_exit` is set. `reload` is called in a thread of its own after `reload_wanted` is set."""

    def __init__(self, app: ASGIApp, limits: Limits, reload: Callable[[], None]) -> None:
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).setLevel(logging.ERROR)  # a broken request is no event of the server

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if len(self.server_state.connections) > limits.connections:
                message = f"busy: {limits.connections:,} connections are open already; try again in a second"
                headers = {"Retry-After": "1", "Connection": "close"}
                await Response(error_body(message), 503, headers, "application/json")(scope, receive, send)
            else:
                await app(scope, receive, send)

        config = Config(
            guarded,
            http=_protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=int(limits.drain_seconds),
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        super().__init__(config)
        self.reload_wanted = False
        self._reload = reload
        self._reloading: threading.Thread | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self.reload_wanted and not (self._reloading and self._reloading.is_alive()):
            self.reload_wanted = False
            self._reloading = threading.Thread(target=self._reload, name="reload", daemon=True)
            self._reloading.start()
        return await super().on_tick(counter)


def _protocol(limits: Limits) -> type[H11Protocol]:
    """HTTP/1.1 in which a request's headers must be complete in time. uvicorn itself waits for them for ever."""

    class TimedProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._await_headers()
            else:
                self._disarm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:  # of a request that is refused nobody reads the rest
                self._unset_keepalive_if_required()
                self.loop.call_later(_REST_SECONDS, self.transport.close)

        def eof_received(self) -> bool | None:  # type: ignore[override]
            """A client that sends nothing more still gets the answer to a complete request."""
            if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
                return None
            self.cycle.keep_alive = False
            return True

        def send_400_response(self, msg: str) -> None:
            """As JSON, like every other error."""
            body = error_body(f"not a request that can be read ({msg.rstrip('.').lower()}); try HTTP/1.1")
            length = str(len(body)).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", length),
                (b"connection", b"close"),
            ]
            events = [h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
            try:
                for event in events:
                    self.transport.write(self.conn.send(event) or b"")
            except h11.LocalProtocolError:
                pass  # an answer was under way
            self.transport.close()

        def _await_headers(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds, self._too_slow)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return TimedProtocol
