"""`lstmcls serve` as a process: one start, signals, a model that is replaced, and errors before it serves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lstm_cli
from lstm_cli.cli import app
from lstm_cli.process import HANGUP
from tests.serve.conftest import Answer, ask, wait_until

GOLDEN = Path(__file__).parent.parent / "golden"
TEXTS = [json.loads(line)["text"] for line in (GOLDEN / "texts.jsonl").read_text("utf-8").splitlines()][:20]


@dataclass(slots=True)
class Process:
    """`lstmcls serve`, and what it has written to stderr."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    port: int = 0

    def read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(line.rstrip())
            if found := re.search(r"http://127\.0\.0\.1:(\d+) ", line):
                self.port = int(found[1])

    def predict(self, body: object) -> Answer:
        return ask(
            self.port, "POST", "/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )


@contextmanager
def serving(run: Path, *options: str) -> Iterator[Process]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("LSTMCLS_TOKEN", None)
    command = [sys.executable, "-m", "lstm_cli", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as popen:
        process = Process(popen)
        reader = threading.Thread(target=process.read)
        reader.start()
        try:
            wait_until(lambda: process.port or popen.poll() is not None)
            assert process.port, process.lines
            yield process
        finally:
            popen.kill()
            popen.wait()
            reader.join()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / "gru", tmp_path / "run")


@pytest.mark.skipif(HANGUP is None, reason="this system has no SIGHUP")
def test_a_process_serves_reloads_and_finishes_what_runs(run: Path) -> None:
    assert HANGUP is not None
    model = lstm_cli.load(run, threads=1)
    other = lstm_cli.load(GOLDEN / "lstm", threads=1)
    with serving(run) as process:
        # the same numbers as from Python
        expected = model.predict_proba([TEXTS[0]])[0].tolist()
        assert list(process.predict({"text": TEXTS[0], "probs": True}).json["probs"].values()) == expected

        # another model takes over under load, and no request is lost
        statuses: list[int] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                statuses.append(process.predict({"texts": TEXTS}).status)

        clients = [threading.Thread(target=load) for _ in range(3)]
        for thread in clients:
            thread.start()
        shutil.rmtree(run / "checkpoints")
        process.popen.send_signal(HANGUP)
        wait_until(lambda: any("not reloaded" in line for line in process.lines))
        assert process.predict({"text": TEXTS[0], "probs": True}).json["probs"].keys() == set(model.classes_)
        shutil.rmtree(run)
        shutil.copytree(GOLDEN / "lstm", run)
        process.popen.send_signal(HANGUP)
        wait_until(lambda: any(line.startswith("reloaded") for line in process.lines))
        expected = other.predict_proba([TEXTS[0]])[0].tolist()
        got = list(process.predict({"text": TEXTS[0], "probs": True}).json["probs"].values())
        assert got == pytest.approx(expected, abs=1e-6)  # other texts may be in its batch
        stop.set()
        for thread in clients:
            thread.join()
        assert set(statuses) == {200}

        # a request whose body is on its way is answered, a new one is not
        body = json.dumps({"texts": TEXTS}).encode()
        with closing(socket.create_connection(("127.0.0.1", process.port), timeout=20)) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body[:10]
            )
            wait_until(lambda: ask(process.port, "GET", "/health").status == 200)
            process.popen.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(process.port))
            connection.sendall(body[10:])
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert len(json.loads(received.partition(b"\r\n\r\n")[2])["predictions"]) == len(TEXTS)
        assert process.popen.wait(20) == 143
    assert process.lines[-1] == "stopped: the requests in progress were answered"
    assert "POST /predict 200" in "\n".join(process.lines)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_ctrl_c_ends_it_with_its_exit_code(run: Path) -> None:
    with serving(run) as process:
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(20) == 130


def said(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["serve", *arguments], env=environment)
    return result.exit_code, result.output


def test_a_port_in_use_is_one_error(run: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        code, output = said(str(run), "--port", str(port))
    assert code == 1
    assert output.startswith(f"error: 127.0.0.1 port {port}: cannot be used (")
    assert "try another --port" in output


def test_a_host_that_does_not_exist_is_one_error(run: Path) -> None:
    code, output = said(str(run), "--host", "no.such.host.invalid", "--port", "0")
    assert code == 2
    assert output.startswith("error: --host no.such.host.invalid: no such address (")


def test_a_missing_or_damaged_model_is_one_error(run: Path, tmp_path: Path) -> None:
    assert said(str(tmp_path / "nothing"), "--port", "0")[0] == 5
    weights = run / "checkpoints" / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, output = said(str(run), "--port", "0")
    assert code == 5
    assert "Traceback" not in output


@pytest.mark.parametrize("token", ["", "two words", "é", "a" * 5000, "a\nb"])
def test_a_token_that_cannot_be_sent_is_one_error(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token, "utf-8")
    code, output = said("run", "--token-file", str(tmp_path / "token"))
    assert code == 2
    assert output.startswith("error: --token-file ")
    assert "secret" not in output
    if token and "\n" not in token:
        assert said("run", environment={"LSTMCLS_TOKEN": token})[0] in (2, 5)


def test_a_token_file_that_is_missing_is_one_error(tmp_path: Path) -> None:
    code, output = said("run", "--token-file", str(tmp_path / "nothing"))
    assert code == 2
    assert "cannot be read (No such file or directory)" in output


def test_a_missing_package_names_the_extra(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("lstm_cli.serve", "lstm_cli.commands.serve", "uvicorn", "starlette")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, output = said(str(run))
    assert code == 2
    assert "try pip install 'lstmcls[serve]'" in output
