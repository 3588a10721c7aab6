#!/usr/bin/env python3
"""Feed broken and hostile inputs to everything that reads untrusted ones, and report what is not refused in order.

    python scripts/fuzz.py --cases 1000000
    python scripts/fuzz.py --only tokenizer --seconds 60 --seed 7

A case is well if it succeeds or ends in an LstmclsError, within 5 s and 2 GB. Each target runs in a process of its own,
so that a crash of a native library or a hang is reported too; what went wrong is saved, to be read again:

    python scripts/fuzz.py --only tokenizer --case fuzz-findings/tokenizer-0-1234
"""

from __future__ import annotations

import argparse
import mmap
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SHARES = {
    "config": 0.1,
    "set": 0.15,
    "rows": 0.2,
    "tagged": 0.05,
    "tokenizer": 0.1,
    "checkpoint": 0.1,
    "run": 0.1,
    "cache": 0.15,
    "sequences": 0.05,
}
"""Of the cases."""
MOST_SECONDS, MOST_BYTES = 5.0, 2 * 2**30
MOST_FINDINGS = 20
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # files in memory are several times as fast
STATE = struct.Struct("=qqqdd")
"""What a child says: the case at hand, successes, refusals, when the case began, seconds of the slowest so far."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="stop after so many, all together"
    )
    parser.add_argument("--only", choices=SHARES, help="one target")
    parser.add_argument("--seed", type=int, default=0, help="other numbers make other cases")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where failing cases go")
    parser.add_argument("--case", type=Path, help="read this saved case of --only, and nothing else")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.only, options.seed, options.first, options.cases, options.child, options.findings)
        return 0
    if options.case:
        return read_one(options.only, options.case)
    shares = {options.only: 1.0} if options.only else SHARES
    options.findings.mkdir(parents=True, exist_ok=True)
    print("target         cases  success  refused findings  seconds  cases/s  slowest")
    began, total, findings = time.monotonic(), 0, 0
    for done, (name, share) in enumerate(shares.items()):
        seconds = (options.seconds - (time.monotonic() - began)) / (len(shares) - done)
        ran, found = watch(name, round(options.cases * share), seconds, options.seed, options.findings)
        total, findings = total + ran, findings + found
    seconds = time.monotonic() - began
    rate = total / seconds
    print(
        f"{total:,} cases in {seconds:.0f} s, {rate:,.0f} cases/s, {findings} findings (seed {options.seed})"
    )
    return 1 if findings else 0


def watch(name: str, cases: int, seconds: float, seed: int, findings: Path) -> tuple[int, int]:
    """Run one target's cases in children, each beginning after the case at which the one before it ended.

    Returns the cases run and the findings saved.
    """
    first, success, refused, slowest, began = 0, 0, 0, 0.0, time.monotonic()
    pattern = f"{name}-{seed}-*.txt"
    for old in findings.glob(pattern):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        shared = Path(folder) / "state"
        while first < cases and (left := seconds - (time.monotonic() - began)) > 0:
            shared.write_bytes(STATE.pack(first, 0, 0, 0.0, 0.0))
            numbers = ["--seed", str(seed), "--first", str(first), "--cases", str(cases)]
            with (Path(folder) / "stderr").open("wb") as said:
                process = subprocess.Popen(
                    [
                        sys.executable,
                        __file__,
                        "--only",
                        name,
                        "--child",
                        shared,
                        "--findings",
                        findings,
                        *numbers,
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                )
                fault = wait(process, shared, left)
            first, succeeded, refusals, _, longest = STATE.unpack(shared.read_bytes())
            success, refused, slowest = success + succeeded, refused + refusals, max(slowest, longest)
            if fault:
                last_words = (Path(folder) / "stderr").read_text(encoding="utf-8", errors="replace")[-4_000:]
                save(findings, name, seed, first, f"{last_words}\n{fault}")
                first += 1
            if len(list(findings.glob(pattern))) >= MOST_FINDINGS:
                break
    took = time.monotonic() - began
    print(
        f"{name:10} {first:9,} {success:8,} {refused:8,} {len(list(findings.glob(pattern))):8,} {took:8.0f} "
        f"{first / took:8,.0f} {slowest:7.2f}s",
        flush=True,
    )
    for text in sorted(findings.glob(pattern)):
        print(f"  {text.with_suffix('')}: {text.read_text(encoding='utf-8').strip().splitlines()[-1][:200]}")
    return first, len(list(findings.glob(pattern)))


def wait(process: subprocess.Popen[bytes], shared: Path, seconds: float) -> str | None:
    """Wait for a child's end; None where it is in order, else what ended it."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        time.sleep(0.1)
        now = time.monotonic()
        began = STATE.unpack(shared.read_bytes())[3]
        if began and now - began > MOST_SECONDS:
            process.kill()
            process.wait()
            return f"hangs: more than {MOST_SECONDS:.0f} s"
        if now > deadline:
            process.terminate()
            process.wait()
            return None
    if process.returncode < 0:
        return f"killed by {signal.Signals(-process.returncode).name}"
    return f"ended with exit code {process.returncode}" if process.returncode else None


def child(name: str, seed: int, first: int, cases: int, shared: Path, findings: Path) -> None:
    """Read case after case, saying in shared memory which one it is, until the last or SIGTERM."""
    from tests.fuzzing import TARGETS, case_of

    target = TARGETS[name]()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmData"].split()[0]) * 1024 + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    seen: set[str] = set()
    success, refused, slowest = 0, 0, 0.0
    folder = shared.parent / "scratch"  # the parent's, which outlives a crash
    folder.mkdir(exist_ok=True)
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), STATE.size) as state:
        for number in range(first, cases):
            case = case_of(target, name, seed, number)
            began = time.monotonic()
            STATE.pack_into(state, 0, number, success, refused, began, slowest)
            try:
                if target.refuses(case, folder):
                    refused += 1
                else:
                    success += 1
            except BaseException as fault:  # noqa: BLE001 - whatever it is, it is a finding
                where = traceback.extract_tb(fault.__traceback__)[-1]
                if (kind := f"{type(fault).__name__} {where.filename}:{where.lineno}") not in seen:
                    seen.add(kind)  # one case of a kind is enough
                    save(findings, name, seed, number, traceback.format_exc())
            slowest = max(slowest, time.monotonic() - began)
            if (peak := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) > MOST_BYTES:
                raise MemoryError(f"{peak} bytes were taken")
            STATE.pack_into(state, 0, number + 1, success, refused, 0.0, slowest)
            if stop or len(seen) >= MOST_FINDINGS:
                return


def read_one(name: str, path: Path) -> int:
    """Read a saved case; a bug shows its traceback."""
    from tests.fuzzing import TARGETS

    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        refused = TARGETS[name]().refuses(path.read_bytes(), Path(folder))
    print("refused" if refused else "success")
    return 0


def save(findings: Path, name: str, seed: int, number: int, fault: str) -> None:
    """The case, and beside it in .txt what was wrong."""
    from tests.fuzzing import TARGETS, case_of

    path = findings / f"{name}-{seed}-{number}"
    path.write_bytes(case_of(TARGETS[name](), name, seed, number))
    path.with_suffix(".txt").write_text(fault, encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
