"""The page, in a real browser: what is typed is predicted, hostile labels are text, it fits small and large windows."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import Client, Known, Start

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or sys.platform == "win32",
    reason="no chromium here; scripts/check installs it where it can (apt-get install chromium)",
)
HOSTILE = '<img src=x onerror="window.hacked = 1">'
AT_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Runs a command with its two pipes where chromium expects them."""


class Browser:
    """Chromium without a window, steered through two pipes in its DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
        switches += " disable-component-update disable-sync disable-dev-shm-usage remote-debugging-pipe"
        command = [CHROMIUM, *(f"--{one}" for one in switches.split()), f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_3_AND_4, str(read), str(write), *command],
            pass_fds=(read, write),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def open(self, url: str, width: int) -> None:
        """Open `url` in a new tab with this width in pixels."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.events.clear()
        size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol. What happens meanwhile is kept in `events`."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            while b"\0" not in self._received:
                ready, *_ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
                assert ready, f"{method}: no answer"
                chunk = os.read(self._read, 2**20)
                assert chunk, "the browser has ended"
                self._received += chunk
            message, _, self._received = self._received.partition(b"\0")
            answer = json.loads(message)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str) -> None:
        deadline = time.monotonic() + 30
        while not self.value(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def type(self, name: str, text: str) -> None:
        self.value(f"document.getElementById('{name}').focus()")
        self.call("Input.insertText", text=text)

    def shown(self) -> str:
        """All text on the page."""
        return str(self.value("document.body.innerText"))

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def complaints(self) -> list[dict[str, Any]]:
        """Exceptions, console errors, and what the Content-Security-Policy has blocked."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    def addresses(self) -> set[str]:
        """What was asked of the network."""
        asked = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return {event["params"]["request"]["url"] for event in asked}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


def page_of(client: Client) -> str:
    return f"http://127.0.0.1:{client.port}/"


def predict(browser: Browser, text: str) -> None:
    browser.type("text", text)
    browser.value("document.querySelector('button').click()")


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_what_is_typed_is_predicted_and_fits(start: Start, browser: Browser, width: int) -> None:
    long = "a_label_without_a_space_" * 8
    client = start(Known(), labels=(HOSTILE, long))
    browser.open(page_of(client), width)
    browser.wait("document.getElementById('name').textContent === 'known'")
    predict(browser, "a fine film")
    browser.wait("document.querySelectorAll('#labels li').length === 2")
    assert HOSTILE in browser.shown()
    bars = "[...document.querySelectorAll('.bar')].map((bar) => bar.style.width)"
    widths: Sequence[str] = browser.value(bars)
    assert sum(float(one.removesuffix("%")) for one in widths) == pytest.approx(100)
    assert float(widths[0][:-1]) > float(widths[1][:-1])
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("window.hacked") is None
    assert browser.complaints() == []
    assert browser.addresses() == {page_of(client) + path for path in ("", "model", "predict")}


@needs_browser
def test_no_script_but_the_pages_own_runs(start: Start, browser: Browser) -> None:
    browser.open(page_of(start(Known())), 1280)
    browser.value(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))"
    )
    assert browser.value("window.hacked") is None
    assert len(browser.complaints()) == 1


@needs_browser
def test_the_page_asks_for_the_token_and_shows_errors(start: Start, browser: Browser) -> None:
    browser.open(page_of(start(Known(), token="s3cret")), 1280)
    browser.wait("!document.getElementById('guard').hidden")
    assert "Authorization: must hold the server's token" in browser.shown()
    browser.type("token", "s3cret")
    predict(browser, "a fine film")
    browser.wait("document.querySelectorAll('#labels li').length === 2")
    assert "must hold" not in browser.shown()
    browser.value("document.getElementById('text').value = 'a'.repeat(100001)")
    browser.value("document.querySelector('button').click()")
    browser.wait("!document.getElementById('error').hidden")
    assert "has 100,001 characters" in browser.shown()
    assert browser.value("document.querySelectorAll('#labels li').length") == 0


def test_the_page_may_load_nothing_from_elsewhere(client: Client) -> None:
    answer = client.ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert b"http" not in answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
