"""A million rows on a local Ray with two workers, one of which is killed half way: rows in, rows out, seconds.

    .venv/bin/python scripts/bench_ray.py                      1,000,000 rows, by the command and by Ray Data
    .venv/bin/python scripts/bench_ray.py --rows 100000 --no-kill

Every row has a number. The outputs must have each number once, in order. It needs Linux and the extra `ray`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from lstm_cli.arrays import Int64  # noqa: E402
from scripts.bench_parquet import write_rows  # noqa: E402

_PAUSE_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default=str(ROOT / "tests" / "golden" / "lstm"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--no-kill", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        write_rows(source, options.rows)
        for name, way in (("lstmcls predict --ray local", by_command), ("predict_dataset", by_dataset)):
            began = time.monotonic()
            ids, killed = way(options.run, source, options.rows, kills=not options.no_kill)
            say(name, ids, options.rows, killed, time.monotonic() - began)


def say(name: str, ids: Int64, count: int, killed: int | None, seconds: float) -> None:
    """Print the figures of one way. Ends the process if a row is missing, twice or out of order."""
    found = np.bincount(ids, minlength=count)
    missing, twice = int((found == 0).sum()), int((found > 1).sum())
    what = "no worker killed" if killed is None else f"worker {killed} killed half way"
    in_order = np.array_equal(ids, np.arange(count))
    print(
        f"{name}: {count:,} rows in, {len(ids):,} out, {missing} missing, {twice} twice, "
        f"{'in order' if in_order else 'NOT IN ORDER'}, {what}, {seconds:.0f} s",
        flush=True,
    )
    if not in_order:
        sys.exit(1)


def by_command(run: str, source: Path, count: int, *, kills: bool) -> tuple[Int64, int | None]:
    """(the numbers of the rows in the output, the process that was killed)."""
    output, killed = source.with_name("out.jsonl"), None
    command = [sys.executable, "-m", "lstm_cli", "predict", run, str(source), "-o", str(output)]
    process = subprocess.Popen([*command, "--ray", "local", "--quiet"], cwd=ROOT)
    own = 0
    while process.poll() is None:
        own = max(own, cpu_seconds(process.pid))
        if kills and killed is None and rows_done(output) >= count // 2:
            killed = kill_worker(process.pid, "_Worker")
        time.sleep(_PAUSE_SECONDS)
    if process.returncode or (kills and killed is None):
        sys.exit(f"predict ended with status {process.returncode}, killed: {killed}")
    print(f"the command itself took {own} s of a CPU: {count / max(own, 1):,.0f} rows/s at most", flush=True)
    with output.open(encoding="utf-8") as lines:
        return np.array([int(json.loads(line)["id"]) for line in lines]), killed


def cpu_seconds(process: int) -> int:
    """Seconds of CPU that a process has used, without its children."""
    listed = subprocess.run(
        ["ps", "-o", "cputimes=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return int(listed.stdout.strip() or 0)


def rows_done(output: Path) -> int:
    """How many rows the record of an unfinished output has."""
    with suppress(OSError, ValueError):
        return int(json.loads(output.with_name(f".{output.name}.part.json").read_text())["done"]["rows"])
    return 0


def by_dataset(run: str, source: Path, count: int, *, kills: bool) -> tuple[Int64, int | None]:
    """(the numbers of the rows that Ray Data returns, the process that was killed)."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    from lstm_cli.integrations.ray import predict_dataset

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)  # two to read
    ray.data.DataContext.get_current().enable_progress_bars = False
    found, killed, done = [], None, 0
    for batch in predict_dataset(ray.data.read_parquet(str(source)), run, workers=2).iter_batches():
        assert len(batch["label"]) == len(batch["id"])
        found.append(batch["id"])
        done += len(batch["id"])
        if kills and killed is None and done >= count // 2:
            killed = kill_worker(os.getpid(), "MapWorker")
    ray.shutdown()
    if kills and killed is None:
        sys.exit("no worker was killed")
    return np.concatenate(found), killed


def kill_worker(ancestor: int, name: str) -> int | None:
    """Kill, with SIGKILL, one process that descends from `ancestor` and is an actor of the class `name`."""
    for process, title in descendants(ancestor):
        if title.startswith("ray::") and name in title:
            os.kill(process, signal.SIGKILL)
            return process
    return None


def descendants(ancestor: int) -> Iterator[tuple[int, str]]:
    """(process, title) of everything below a process."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    below = {ancestor}
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    for _ in range(3):  # ps does not list parents first
        below |= {int(row[0]) for row in rows if int(row[1]) in below}
    for row in rows:
        if int(row[0]) in below and len(row) == 3:
            yield int(row[0]), row[2]


if __name__ == "__main__":
    main()
