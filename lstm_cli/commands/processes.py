"""`--gpus N`: the command again, in N processes that torchrun's engine starts and watches."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

import torch

from lstm_cli.errors import ConfigError


def refuse_too_many(gpus: int) -> None:
    """Raise ConfigError if this machine has fewer GPUs."""
    found = torch.cuda.device_count()
    if gpus > found:
        raise ConfigError(
            f"--gpus: this machine has {found}, got {gpus}; for processes on the CPU: torchrun --nproc-per-node "
            f"{gpus} -m lstm_cli train …"
        )


def run_in_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `lstmcls` with these arguments in `count` processes of this machine. Returns the exit code.

    If one of them ends with a fault, the others are stopped. A signal is passed on to all.
    """
    # imported here: it needs signals that not every system has
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # its own report of a process that has ended is a traceback
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    try:
        elastic_launch(config, sys.executable)("-m", "lstm_cli", *arguments)
    except ChildFailedError as fault:
        code = fault.get_first_failure()[1].exitcode
        if code > 0:
            return code
        sys.stderr.write(f"error: a process was killed ({signal.Signals(-code).name}), so all are stopped\n")
        return 1
    except SignalException as stopped:
        return 130 if stopped.sigval == signal.SIGINT else 143
    return 0
