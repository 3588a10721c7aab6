"""A signal ends the process in seconds, whatever it is doing; a second one at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

PREAMBLE = """
import hashlib, sys, time
from lstm_cli.runs import signals as interrupts
from lstm_cli.errors import Interrupted
from lstm_cli.runs.signals import stop_requests, stoppable

def library(seconds):  # computes without ever coming back to Python, as a tokenizer's trainer does
    began = time.monotonic(); hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
    each = time.monotonic() - began
    print("started", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(100_000 * seconds / each))

def wait(seconds):
    print("started", flush=True); time.sleep(seconds)

interrupts._GRACE_SECONDS = 0.3
"""
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


def ended(script: str, *numbers: int, gap: float = 0.0) -> tuple[int, float]:
    """Its exit code, and the seconds that it took to end once it was asked."""
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(gap)
        code = process.wait(timeout=30)
        return code, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_where_there_is_nothing_to_save_a_signal_ends_the_work(number: int, code: int) -> None:
    assert ended(RAISES.format(work="wait(20)"), number)[0] == code


def test_a_library_that_does_not_come_back_is_left_all_the_same() -> None:
    code, seconds = ended(RAISES.format(work="library(20)"), signal.SIGTERM)
    assert code == 143
    assert seconds < 10


def test_work_that_is_to_be_saved_is_finished_first_however_long_it_takes() -> None:
    code, _ = ended(NOTES.format(work="library(1.5)"), signal.SIGTERM)
    assert code == 100 + signal.SIGTERM


def test_who_asks_twice_does_not_wait() -> None:
    code, seconds = ended(NOTES.format(work="library(20)"), signal.SIGINT, signal.SIGTERM, gap=0.2)
    assert code == 143
    assert seconds < 10


def test_a_terminal_that_closes_may_say_so_twice() -> None:
    code, _ = ended(NOTES.format(work="library(1.5)"), signal.SIGTERM, signal.SIGHUP, signal.SIGHUP, gap=0.1)
    assert code in {100 + signal.SIGTERM, 100 + signal.SIGHUP}  # which one is noted first is Python's choice


def test_nohup_is_honoured() -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    assert ended(ignoring + NOTES.format(work="library(1)"), signal.SIGHUP)[0] == 100
    assert ended(ignoring + RAISES.format(work="library(1)"), signal.SIGHUP)[0] == 0


def test_a_signal_that_nobody_looked_for_before_the_work_was_done_is_not_lost() -> None:
    nobody_looks = """
try:
    with stoppable(), stop_requests(lambda: None):
        library(1)
except Interrupted as fault:
    sys.exit(fault.exit_code)
"""
    assert ended(nobody_looks, signal.SIGTERM)[0] == 143
