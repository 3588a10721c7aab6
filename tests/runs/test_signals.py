"""A signal ends the process in seconds, whatever it is doing; a second one at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

HANGUP: int | None = getattr(signal, "SIGHUP", None)
WHERE_TERMINALS_HANG_UP = pytest.mark.skipif(HANGUP is None, reason="this system has no SIGHUP")
PREAMBLE = """
import hashlib, signal, sys, time
from lstm_cli.runs import signals as interrupts
from lstm_cli.errors import Interrupted
from lstm_cli.runs.signals import stop_requests, stoppable

def library(seconds):  # computes without ever coming back to Python, as a tokenizer's trainer does
    began = time.monotonic(); hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
    each = time.monotonic() - began
    print("started", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", min(2**31 - 1, int(100_000 * seconds / each)))

def wait(seconds):
    print("started", flush=True); time.sleep(seconds)

interrupts._GRACE_SECONDS = 0.3
if hasattr(signal, "SIGHUP"):  # a caller under nohup ignores it, and hands that on
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
FOREVER = "library(10_000)"
RAISES = """
try:
    with stoppable():
        {work}
except Interrupted as fault:
    sys.exit(fault.exit_code)
"""
NOTES = """
with stoppable(), stop_requests(lambda: print("noted", flush=True)) as stop:
    {work}
    sys.exit(100 + (stop.signal_number or 0))
"""


def ended(script: str, *numbers: int, gap: float = 0.0) -> int:
    """The exit code of a process that gets these signals once it works."""
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        for number in numbers:
            process.send_signal(number)
            time.sleep(gap)
        try:
            return process.wait(timeout=300)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(HANGUP, 143, marks=WHERE_TERMINALS_HANG_UP)],
)
def test_where_there_is_nothing_to_save_a_signal_ends_the_work(number: int, code: int) -> None:
    assert ended(RAISES.format(work="wait(20)"), number) == code


def test_a_library_that_does_not_come_back_is_left_all_the_same() -> None:
    assert ended(RAISES.format(work=FOREVER), signal.SIGTERM) == 143


def test_work_that_is_to_be_saved_is_finished_first_however_long_it_takes() -> None:
    assert ended(NOTES.format(work="library(1.5)"), signal.SIGTERM) == 100 + signal.SIGTERM


def test_who_asks_twice_does_not_wait() -> None:
    assert ended(NOTES.format(work=FOREVER), signal.SIGINT, signal.SIGTERM, gap=0.2) == 143


@WHERE_TERMINALS_HANG_UP
def test_a_terminal_that_closes_may_say_so_twice() -> None:
    assert HANGUP is not None
    code = ended(NOTES.format(work="library(1.5)"), signal.SIGTERM, HANGUP, HANGUP, gap=0.1)
    assert code in {100 + signal.SIGTERM, 100 + HANGUP}  # which one is noted first is Python's choice


@WHERE_TERMINALS_HANG_UP
def test_nohup_is_honoured() -> None:
    assert HANGUP is not None
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    assert ended(ignoring + NOTES.format(work="library(1)"), HANGUP) == 100
    assert ended(ignoring + RAISES.format(work="library(1)"), HANGUP) == 0


def test_a_signal_that_nobody_looked_for_before_the_work_was_done_is_not_lost() -> None:
    nobody_looks = """
try:
    with stoppable(), stop_requests(lambda: None):
        library(1)
except Interrupted as fault:
    sys.exit(fault.exit_code)
"""
    assert ended(nobody_looks, signal.SIGTERM) == 143
