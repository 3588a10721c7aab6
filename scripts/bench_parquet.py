"""Peak memory and time of `lstmcls predict` from a Parquet file to a Parquet file, by the number of rows.

    .venv/bin/python scripts/bench_parquet.py                            100,000 and 1,000,000 rows
    .venv/bin/python scripts/bench_parquet.py --run RUN --rows 100000

The rows are short sentences of a seeded generator. RUN is a run's folder; by default it is the small LSTM of the tests.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROOT = Path(__file__).parents[1]
_WORDS = "a the film was good bad never not but and plot ending music slow quick fine dull of in with"
_BATCH = 2**20  # pyarrow's own default for a group of rows


def write_rows(path: Path, count: int) -> None:
    """Write `count` rows of 4 to 16 words, with a number and a price."""
    rng, words = random.Random(0), _WORDS.split()
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("price", pa.float32())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, _BATCH):
            ids = range(start, min(start + _BATCH, count))
            texts = [" ".join(rng.choices(words, k=rng.randint(4, 16))) for _ in ids]
            columns = [pa.array(ids), pa.array(texts), pa.array([i / 7 for i in ids], pa.float32())]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def measure(run: str, source: Path, output: Path) -> tuple[float, float, float]:
    """(seconds, seconds of CPU, peak memory in MB) of one prediction."""
    command = [sys.executable, "-m", "lstm_cli", "predict", run, str(source), "-o", str(output), "--quiet"]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--set", "run.threads=1"], cwd=_ROOT)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"predict ended with status {status}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default=str(_ROOT / "tests" / "golden" / "lstm"))
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--format", default="parquet")
    arguments = parser.parse_args()
    for count in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            source, output = Path(folder) / "rows.parquet", Path(folder) / f"out.{arguments.format}"
            write_rows(source, count)
            seconds, cpu, peak = measure(arguments.run, source, output)
            written = pq.ParquetFile(output).metadata.num_rows if arguments.format == "parquet" else count
            print(
                f"{count:>11,} rows in, {written:,} out: {seconds:.0f} s, {cpu:.0f} s of CPU, peak {peak:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
