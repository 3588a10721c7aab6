"""Device, precision, threads and determinism of a run, and the reason for each choice."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from lstm_cli.errors import ConfigError
from lstm_cli.nn.cpu import get_num_threads, restored, set_up
from lstm_cli.nn.distributed import Workers, join, num_processes
from lstm_cli.schema import Config

_CORES = torch.get_num_threads()  # read before anything changes it: the number of cores, or OMP_NUM_THREADS

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_BORROWED = threading.RLock()


class RuntimeConfig(Config):
    """The keys of `run:` that choose device, precision, threads and determinism."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="device to compute on; auto: the first available of cuda, mps, cpu"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="number format of the matrix products in training; weights and scoring always use fp32; auto: bf16 "
        "if the device has instructions for it, else fp32",
    )
    threads: int = Field(0, ge=0, le=4096, description="CPU threads; 0: one per core, or OMP_NUM_THREADS")
    deterministic: bool = Field(
        True, description="the same seed gives exactly the same result on the same machine"
    )


@dataclass(frozen=True, slots=True)
class Runtime:
    """The chosen device and precision; `why` gives the reasons in words. `workers` are the processes that train."""

    device: torch.device
    precision: Precision
    why: str
    workers: Workers = field(default_factory=Workers)

    def metadata(self) -> dict[str, object]:
        """The runtime's entries in environment.json."""
        return {
            "device": self.device.type,
            "precision": self.precision,
            "chosen": self.why,
            "threads": get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            **({"processes": self.workers.size} if self.workers.size > 1 else {}),
        }

    def autocast(self) -> AbstractContextManager[object]:
        """The context for the forward pass in training."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])


def start(config: RuntimeConfig, *, trains: bool = True) -> Runtime:
    """Choose device and precision, and set up this process. Raises ConfigError if the machine does not have them.

    A process that does not train (`trains=False`) always uses fp32. The config's precision may be one that this machine
    lacks, because the run may come from another machine.
    """
    if config.deterministic:
        os.environ.setdefault(_CUBLAS, ":4096:8")
        torch.backends.cudnn.benchmark = False
        # all memory is written before it is read, so filling it first only costs time
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # torch.use_deterministic_algorithms does the same, but takes 1.2 s to import a compiler that is not used here
    torch.set_deterministic_debug_mode("error" if config.deterministic else "default")
    # by default cuDNN computes fp32 in TF32, whose 10-bit mantissa is too coarse for reproducible scores
    torch.backends.cudnn.allow_tf32 = False
    device, reason = _device(config.device)
    precision, because = (
        _precision(config.precision, device) if trains else ("fp32", "scoring is always fp32")
    )
    set_up(config.threads or _CORES, trains=trains)
    why = f"{device.type} ({reason}), {precision} ({because})"
    if not trains or num_processes() == 1:
        return Runtime(device, precision, why)
    if device.type == "mps":
        raise ConfigError("run.device: mps cannot be used by several processes; try run.device: cpu")
    workers = join(device.type)
    return Runtime(workers.device, precision, f"{why}, {workers.size} processes", workers)


@contextmanager
def borrowed(config: RuntimeConfig, *, trains: bool = True) -> Iterator[Runtime]:
    """`start` in a process that is not ours: after the block all its settings, and torch's seed, are as before.

    Blocks of several threads take turns. What `start` makes glibc do with freed memory (`trains`) cannot be undone.
    """
    with _BORROWED, restored(), torch.random.fork_rng(enabled=trains):
        cublas, debug = os.environ.get(_CUBLAS), torch.get_deterministic_debug_mode()
        benchmark, tf32 = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
        fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        try:
            yield start(config, trains=trains)
        finally:
            torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32
            torch.set_deterministic_debug_mode(debug)
            if cublas is None:
                os.environ.pop(_CUBLAS, None)


def _device(asked: str) -> tuple[torch.device, str]:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        chosen = next(name for name, is_here in here.items() if is_here)
        return torch.device(chosen), "no GPU found" if chosen == "cpu" else "found"
    if not here[asked]:
        have = ", ".join(name for name, is_here in here.items() if is_here)
        raise ConfigError(
            f"run.device: {asked} is not available on this machine (have: {have}); try run.device: auto"
        )
    return torch.device(asked), "asked for"


def _precision(asked: str, device: torch.device) -> tuple[Precision, str]:
    if asked == "fp16" and device.type == "cpu":
        raise ConfigError("run.precision: fp16 needs a GPU, the device is cpu; try bf16 or auto")
    if asked == "bf16" and device.type == "cpu" and not _cpu_can_bf16():
        raise ConfigError(
            "run.precision: bf16 needs a CPU with AVX-512 or AMX, this one has neither; try fp32 or auto"
        )
    if asked == "auto":
        match device.type:
            case "cuda" if torch.cuda.is_bf16_supported():
                return "bf16", "the GPU supports it"
            case "cpu":
                return _cpu_precision()
            case _:
                return "fp32", "the safe choice on this device"
    assert asked in ("fp32", "bf16", "fp16")
    return asked, "asked for"  # type: ignore[return-value]


def _cpu_can_bf16() -> bool:
    """Whether the layers can compute in bf16.

    With oneDNN, which runs them, it must support bf16; without it, torch does.
    """
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not has_onednn or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cpu_precision() -> tuple[Precision, str]:
    """bf16 if the CPU has instructions for it, else fp32: without them bf16 is emulated and slow.

    With AVX512-BF16 alone, a training step is 1.3 times (20 tokens per row) to 2 times (400 tokens) as fast as in fp32.
    """
    for name, test in (("AMX", "_is_amx_tile_supported"), ("AVX512-BF16", "_is_avx512_bf16_supported")):
        # an older torch has no such function: then bool() gives False. Settings can keep oneDNN from using bf16.
        if getattr(torch.cpu, test, bool)() and _cpu_can_bf16():
            return "bf16", f"the CPU has {name}"
    return "fp32", "the CPU has no bf16 arithmetic"


def available_memory() -> int | None:
    """Free memory in bytes, the smaller of that of the system and that below the container's limit; None if unknown."""
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        free = [1024 * int(found[1])] if found else []
    except OSError:
        return None
    with suppress(OSError, ValueError):  # the limit may read "max", which means that there is none
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii"))
            for name in ("max", "current")
        )
        free.append(limit - used)
    return min(free, default=None)


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch with (seed, step) and the number of the process alone, so that a resumed training repeats its dropout
    without saved state."""
    entropy = [seed, step, rank] if rank else [seed, step]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))
