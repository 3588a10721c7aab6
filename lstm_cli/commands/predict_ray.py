"""`lstmcls predict --ray`: the workers of a Ray cluster predict the windows of rows, this process reads and writes.

So every format, `--resume`, `--shard` and `merge` work as without Ray, and the outputs do not depend on the number of
workers. A worker that dies is started again, and its windows are predicted again.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstm_cli.answers import PredictOptions
from lstm_cli.arrays import AnyArray
from lstm_cli.commands.predict_model import PredictModel, open_model
from lstm_cli.data.rows import Content, Row
from lstm_cli.errors import CheckpointError, ConfigError, LstmclsError
from lstm_cli.exported.folder import is_exported
from lstm_cli.process import our_signals
from lstm_cli.scoring.windows import RowOutput, predict_window, windows_after

_AT_A_WORKER = 2
"""Windows at one worker: while it predicts one, the next one arrives."""
_AHEAD = 3
"""Windows in memory for each worker. A window that is late, because its worker died, stops the others after so many."""
_CONNECT_SECONDS = 10.0
_RETRIES = 5
"""How often a window may lose its worker. A row that ends its worker every time must not be tried forever."""


def worker_overrides(source: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides for workers with one CPU each; those that are given come last and win."""
    defaults = ["run.threads=1"] if is_exported(source) else ["run.threads=1", "run.device=cpu"]
    return (*defaults, *overrides)


class _Worker:
    """A process with the model. An error is returned as its message, because Ray would wrap an exception."""

    def __init__(self, folder: str, expected: str, *arguments: Any) -> None:
        with suppress(OSError):  # relative paths are those of the command, where the machine has its folder
            os.chdir(folder)
        self._model: PredictModel | None = None
        self._fault = ""
        try:
            self._model = open_model(*arguments)
            if (found := str(self._model.metadata["checkpoint"])) != expected:
                self._fault = f"has another model ({found} instead of {expected})"
        except LstmclsError as fault:
            self._fault = f"cannot open the model: {fault}"

    def fault(self) -> str:
        """Why it cannot predict, or ""."""
        return self._fault

    def predict(self, contents: Sequence[Content], errors: Sequence[str | None]) -> str | _Answers:
        """The answers for the rows of a window, or why it cannot predict."""
        if self._fault or self._model is None:
            return self._fault
        pairs = zip(contents, errors, strict=True)
        rows = [Row(content, "", line, error=error) for line, (content, error) in enumerate(pairs, 1)]
        results = predict_window(self._model.predictor, rows, self._model.runtime)
        outputs = [one.output for one in results if one.output is not None]
        return _Answers(
            np.array(outputs) if len({one.shape for one in outputs}) == 1 else outputs,
            [one.row.error for one in results],
            [one.truncated for one in results],
            [one.unknown for one in results],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """What a worker sends for N rows, as few objects: it is pickled in a third of the time of N `RowOutput`.

    `outputs`: of the rows without an error, as one array if they have one shape.
    """

    outputs: AnyArray | list[AnyArray]
    errors: list[str | None]
    truncated: list[bool]
    unknown: list[bool]

    def of(self, window: Sequence[Row[Any]]) -> list[RowOutput]:
        """The outputs of these rows."""
        outputs = iter(self.outputs)
        return [
            RowOutput(row, next(outputs), truncated, unknown)
            if error is None
            else RowOutput(replace(row, error=error), None)
            for row, error, truncated, unknown in zip(
                window, self.errors, self.truncated, self.unknown, strict=True
            )
        ]


class RayWorkers:
    """Workers that each have the model in memory."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers
        self._running: dict[Any, Any] = {}

    def windows(self, rows: Iterable[Row[Any] | None], skip: int = 0) -> Iterator[list[RowOutput]]:
        """What `predict_windows` yields, in the order of the rows. Raises LstmclsError if a worker cannot predict."""
        waiting: deque[tuple[list[Row[Any]], Any]] = deque()
        for window in windows_after(rows, skip):
            if not window:
                continue
            while len(waiting) >= _AHEAD * len(self._workers):
                yield self._results(*waiting.popleft())
            worker = self._free_worker()
            # not the fields: only this process writes them
            task = worker.predict.remote([row.content for row in window], [row.error for row in window])
            self._running[task] = worker
            waiting.append((window, task))
            while waiting and waiting[0][1] not in self._running:
                yield self._results(*waiting.popleft())
        while waiting:
            yield self._results(*waiting.popleft())

    def _free_worker(self) -> Any:
        """The worker with the fewest windows; waits until it has fewer than `_AT_A_WORKER`."""
        import ray

        while True:
            if self._running:
                finished, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
                for task in finished:
                    del self._running[task]
            busy = list(self._running.values())
            worker = min(self._workers, key=busy.count)
            if busy.count(worker) < _AT_A_WORKER:
                return worker
            ray.wait(list(self._running), num_returns=1)

    def _results(self, window: list[Row[Any]], task: Any) -> list[RowOutput]:
        answers = _get(task)
        self._running.pop(task, None)
        if isinstance(answers, str):
            raise LstmclsError(f"--ray: a worker {answers}")
        found: list[RowOutput] = answers.of(window)
        return found


@contextmanager
def ray_workers(
    address: str,
    model: PredictModel,
    source: str,
    overrides: Sequence[str],
    run_dir: str | None,
    checkpoint: Literal["best", "last"],
    options: PredictOptions,
    threads: int,
) -> Iterator[RayWorkers]:
    """One worker for every `threads` free CPUs of the cluster at `address`, or of this machine if that is "local".

    Raises ConfigError if no cluster answers, CheckpointError if a worker does not have the `model`.
    """
    _connect(address)
    import ray

    try:
        count = max(1, int(ray.available_resources().get("CPU", 0)) // threads)
        worker = ray.remote(num_cpus=threads, max_restarts=-1, max_task_retries=_RETRIES)(_Worker)
        arguments = (source, tuple(overrides), run_dir, checkpoint, options)
        workers = [
            worker.remote(str(Path.cwd()), str(model.metadata["checkpoint"]), *arguments)
            for _ in range(count)
        ]
        for fault in _get([one.fault.remote() for one in workers]):
            if fault:
                raise CheckpointError(
                    f"--ray: a worker {fault}; every machine needs {source} at the same path"
                )
        yield RayWorkers(workers)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to the makers of Ray
    local: dict[str, Any] = {}
    if address == "local":
        # Ray listens on every interface: without a token, whoever reaches the machine could run code on it.
        # Ray reads these when it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        local = {"include_dashboard": False}
    else:
        _refuse_silent(address)
    import ray

    handlers = {number: signal.getsignal(number) for number in our_signals()}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
    except (ConnectionError, RuntimeError, ValueError) as fault:
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise ConfigError(
            f"--ray {address}: cannot connect: {reason[0]}; try --ray local, or the address that ray start prints"
        ) from None
    finally:
        for number, handler in handlers.items():  # Ray sets its own for SIGTERM
            signal.signal(number, handler)


def _refuse_silent(address: str) -> None:
    """Raise ConfigError if HOST:PORT does not answer; Ray would try for more than five minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():  # auto, or a name that Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as fault:
        raise ConfigError(
            f"--ray {address}: cannot connect: {fault}; try --ray local, or the address that ray start prints"
        ) from None


def _get(tasks: Any) -> Any:
    """The results. Raises LstmclsError if a worker could not be started, or died too often."""
    import ray

    try:
        return ray.get(tasks)
    except ray.exceptions.RayError as fault:
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise LstmclsError(f"--ray: a worker failed: {reason[0]} … {reason[-1].strip()}") from None
