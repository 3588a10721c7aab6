"""What the service refuses: every refusal is one sentence with the right status, and the service goes on."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from lstm_cli.serve.limits import Limits
from tests.serve.conftest import Client, Explaining, Known, Start, wait_until

LIMITS = Limits()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: empty"),
        (b"{", "body: not JSON: Expecting property name"),
        (b'{"text": "a"} x', "body: not JSON: Extra data"),
        (b'{"text": "\xff"}', "body: not valid UTF-8 at byte 10, got 0xFF"),
        ('{"text": "a"}'.encode("utf-16"), "body: not valid UTF-8"),
        (b'{"text": "a", "min_score": NaN}', "body: NaN is not JSON"),
        (b'{"text": "a", "min_score": -Infinity}', "body: -Infinity is not JSON"),
        (b'{"text": "a", "top_k": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"text": "\\ud800"}', r"half a character (the lone surrogate \ud800)"),
        (b'{"texts": ["a", "b\\udfff"]}', "body.texts[1]"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"rows": [{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]}", "nested too deeply"),
        (3, "body: must be a JSON object or a list, got a number"),
        (None, "got null"),
        ("text", "got a text"),
        ({}, "got none of them"),
        ({"text": "a", "texts": []}, "got text and texts"),
        ({"text": 3}, "body.text: must be a text, got a number"),
        ({"texts": ["a", None]}, "body.texts[1]: must be a text, got null"),
        ({"texts": "a"}, 'try [ … ], or "text" for one text'),
        ({"texts": {"a": "b"}}, "must be a list, got an object"),
        ({"rows": [{"txt": "a"}]}, 'no column "text" (have: txt)'),
        ({"rows": ["a"]}, "a JSON str where an object is needed"),
        ({"tekst": "a"}, 'unknown field "tekst". Did you mean "text"?'),
        ({"text": "a", "minscore": 1}, 'Did you mean "min_score"?'),
        ({"text": "a", "\x1b[31m\ud800": 1}, 'unknown field "\\x1b[31m'),
        ({"text": "a", "x" * 500: 1}, 'xxx…". It may have text, texts'),
        ({"text": "a", "top_k": 0}, "body.top_k: must be a whole number from 1, got 0"),
        ({"text": "a", "top_k": True}, "body.top_k"),
        ({"text": "a", "top_k": 1.5}, "got 1.5"),
        ({"text": "a", "top_k": "secret"}, "got a text"),
        ({"text": "a", "min_score": 1.1}, "body.min_score: must be a number from 0 to 1, got 1.1"),
        (b'{"text": "a", "min_score": 1e999}', "body.min_score"),
        ({"text": "a", "probs": 1}, "body.probs: must be true or false, got 1"),
        ({"text": "a", "explain": None}, "body.explain"),
        ({"text": "a" * (LIMITS.text_chars + 1)}, "has 100,001 characters, at most 100,000"),
        (
            {"rows": [{"text": "a" * (LIMITS.text_chars + 1)}]},
            "the text of body.rows[0]: has 100,001 characters",
        ),
    ],
)
def test_a_body_that_cannot_be_used_is_one_sentence(client: Client, body: Any, said: str) -> None:
    answer = client.predict(body)
    assert answer.status == 400
    assert said in answer.error
    assert len(answer.error) < 400
    assert "\n" not in answer.error
    assert client.predict({"text": "fine"}).status == 200


def test_more_texts_than_the_limit_are_refused(client: Client) -> None:
    assert client.predict(["a"] * LIMITS.texts).status == 200
    answer = client.predict(["a"] * (LIMITS.texts + 1))
    assert answer.status == 413
    assert answer.error == "body.texts: at most 1,000 per request, got 1,001; try several requests"


def test_more_explanations_than_the_limit_are_refused(start: Start) -> None:
    client = start(Explaining(), explained_texts=2)
    assert client.predict({"texts": ["a", "b"], "explain": True}).status == 200
    assert client.predict({"text": "a" * LIMITS.explained_chars, "explain": True}).status == 200
    long = client.predict({"text": "a" * (LIMITS.explained_chars + 1), "explain": True})
    assert "at most 2,000 characters is explained, got 2,001" in long.error
    assert "at most 2 texts are explained" in client.predict({"texts": ["a"] * 3, "explain": True}).error


def test_a_body_of_more_bytes_than_the_limit_is_refused(start: Start) -> None:
    client = start(Known(), body_bytes=100)
    body = json.dumps({"text": "a" * 87}).encode()
    assert len(body) == 99
    assert client.predict(body + b" ").status == 200
    answer = client.predict(body + b"  ")
    assert answer.status == 413
    assert answer.error == "body: at most 100 bytes, got 101; try several requests"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body, b"  "))
    said = raw(client, head("Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"got more" in said


def test_another_content_type_is_refused(client: Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
        answer = client.predict({"text": "a"}, **{"Content-Type": kind})
        assert answer.status == 415
        assert "try Content-Type: application/json" in answer.error
    assert client.predict({"text": "a"}, **{"Content-Type": "Application/JSON; charset=utf-8"}).status == 200
    assert client.predict({"text": "a"}, **{"Content-Encoding": "gzip"}).status == 415


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/predict", 405, "POST"),
        ("DELETE", "/predict", 405, "POST"),
        ("POST", "/health", 405, "GET, HEAD"),
        ("PUT", "/", 405, "GET, HEAD"),
        ("OPTIONS", "/predict", 405, "POST"),
        ("GET", "/predict/", 404, None),
        ("GET", "/../../etc/passwd", 404, None),
        ("POST", "/Predict", 404, None),
        ("GET", "/%ff%00", 404, None),
    ],
)
def test_another_method_or_address_is_refused(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = client.ask(method, path)
    assert answer.status == status
    assert answer.headers.get("allow") == allow
    assert "; try " in answer.error


def test_a_full_queue_refuses_and_goes_on(start: Start) -> None:
    model = Known()
    client = start(model, queue_texts=4)
    model.free.clear()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.predict, {"text": "first"})]
        wait_until(lambda: model.batches)
        asked.append(pool.submit(client.predict, {"texts": ["a", "b", "c"]}))
        wait_until(lambda: client.service.batcher.num_queued == 3)
        refused = client.predict({"texts": ["d", "e"]})
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert "3 texts wait already" in refused.error
        asked.append(pool.submit(client.predict, {"text": "fits"}))
        wait_until(lambda: client.service.batcher.num_queued == 4)
        model.free.set()
        assert {one.result().status for one in asked} == {200}


def test_an_answer_that_takes_too_long_is_given_up(start: Start) -> None:
    model = Known()
    client = start(model, answer_seconds=0.2)
    model.free.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.predict, {"text": "first"})
        wait_until(lambda: model.batches)
        answer = client.predict({"text": "waits"})
        assert answer.status == 504
        assert "no answer within 0.2 s" in answer.error
        assert first.result().status == 504
    model.free.set()
    assert client.predict({"text": "after"}).status == 200
    assert model.batches == [["first"], ["after"]]  # nobody waited for the other


def head(*lines: str) -> bytes:
    fixed = ["POST /predict HTTP/1.1", "Host: here", "Content-Type: application/json"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def raw(client: Client, *parts: bytes) -> bytes:
    """Send these bytes, and read until the server closes the connection."""
    with closing(socket.create_connection(("127.0.0.1", client.port), timeout=20)) as connection:
        received = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
            while chunk := connection.recv(65536):
                received += chunk
        return received


def test_a_body_that_does_not_come_is_given_up(start: Start) -> None:
    client = start(Known(), body_seconds=0.2)
    said = raw(client, head("Content-Length: 100"), b'{"text": ')
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"not complete after 0.2 s, got 9 bytes" in said


@pytest.mark.parametrize("begin", [b"", b"POST /pre", head("Content-Length: 10")[:-2]])
def test_headers_that_do_not_come_end_the_connection(start: Start, begin: bytes) -> None:
    assert raw(start(Known(), header_seconds=0.2), begin) == b""


def test_headers_that_come_byte_by_byte_end_the_connection(start: Start) -> None:
    client = start(Known(), header_seconds=0.3)
    with (
        suppress(BrokenPipeError, ConnectionResetError),
        closing(socket.create_connection(("127.0.0.1", client.port), timeout=20)) as connection,
    ):
        for byte in head("X: " + "a" * 2000):
            connection.sendall(bytes([byte]))
            time.sleep(0.01)
        pytest.fail("the connection is still open")


def test_a_second_request_must_come_in_time_too(start: Start) -> None:
    client = start(Known(), header_seconds=0.2, idle_seconds=1)
    body = b'{"text": "a"}'
    said = raw(client, head(f"Content-Length: {len(body)}") + body, b"POST /pre")
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        head("Content-Length: x"),
        head("Content-Length: 5", "Content-Length: 6"),
        head("X: " + "a" * 1_000_000),
        "GET /é HTTP/1.1\r\nHost: here\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    ],
)
def test_what_is_not_http_is_refused(start: Start, sent: bytes) -> None:
    client = start(Known(), header_seconds=1)
    said = raw(client, sent)
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    if said:
        assert list(json.loads(said.partition(b"\r\n\r\n")[2])) == ["error"]
    assert client.predict({"text": "fine"}).status == 200


def test_requests_in_one_go_are_answered_in_order(client: Client) -> None:
    bodies = [json.dumps({"text": f"{i}", "probs": True}).encode() for i in range(5)]
    sent = b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies)
    said = raw(client, sent + b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    expected = [client.predict(body).body for body in bodies]
    places = [said.index(body) for body in expected]
    assert places == sorted(places)
    assert said.count(b"HTTP/1.1 200 OK") == 6


@pytest.mark.parametrize("first", [b"GET /health HTTP/1.1", b"GET /nowhere HTTP/1.1"])
def test_a_body_that_nobody_reads_ends_the_connection(start: Start, first: bytes) -> None:
    client = start(Known())
    with closing(socket.create_connection(("127.0.0.1", client.port), timeout=20)) as connection:
        connection.sendall(first + b"\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(connection)


def drip(connection: socket.socket) -> None:
    for _ in range(500):
        connection.sendall(b"a")
        time.sleep(0.01)


def test_more_connections_than_the_limit_are_refused(start: Start) -> None:
    client = start(Known(), connections=2)
    with ExitStack() as opened:
        for _ in range(2):
            opened.enter_context(closing(socket.create_connection(("127.0.0.1", client.port))))
        wait_until(lambda: client.ask("GET", "/health").status == 503)
        answer = client.ask("GET", "/health")
        assert answer.headers["retry-after"] == "1"
        assert "2 connections are open already" in answer.error
    wait_until(lambda: client.ask("GET", "/health").status == 200)


def test_a_client_that_has_sent_all_still_gets_its_answer(client: Client) -> None:
    with closing(socket.create_connection(("127.0.0.1", client.port), timeout=20)) as connection:
        connection.sendall(head("Content-Length: 13") + b'{"text": "a"}')
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_goes_away_harms_nobody(client: Client) -> None:
    for sent in (head("Content-Length: 100"), head("Content-Length: 13") + b'{"text": "a"}', b"POST"):
        socket.create_connection(("127.0.0.1", client.port)).close()
        connection = socket.create_connection(("127.0.0.1", client.port))
        connection.sendall(sent)
        connection.close()
    assert client.predict({"text": "fine"}).status == 200


def test_the_token_is_needed_for_all_but_health_and_the_page(start: Start) -> None:
    client = start(Known(), token="s3cret")
    for path in ("/model", "/metrics", "/predict", "/nowhere"):
        for given in (
            {},
            *({"Authorization": one} for one in ("Bearer s3cre", "Bearer", "Basic s3cret", "Bearer é")),
        ):
            answer = client.ask("POST" if path == "/predict" else "GET", path, b"{}", given)
            assert answer.status == 401, (path, given)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "s3cre" not in answer.error
    assert client.ask("GET", "/health").status == 200
    assert client.ask("GET", "/").status == 200
    assert client.predict({"text": "a"}, Authorization="Bearer s3cret").status == 200
    assert client.ask("GET", "/model", headers={"Authorization": "bearer s3cret"}).status == 200
