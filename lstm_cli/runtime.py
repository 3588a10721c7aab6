"""Where and how the numbers are computed: device, precision, threads, determinism, and the reason for each choice."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from lstm_cli.errors import ConfigError
from lstm_cli.nn.cpu import get_num_threads, set_up
from lstm_cli.schema import Config

_CORES = torch.get_num_threads()  # what torch finds, or OMP_NUM_THREADS says, before anybody sets it

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class RuntimeConfig(Config):
    """The part of `run:` that says how the numbers are computed."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto takes cuda, then mps, then cpu"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the matrix products in training; weights and scoring are always fp32"
    )
    threads: int = Field(0, ge=0, le=4096, description="CPU threads; 0 takes one a core")
    deterministic: bool = Field(True, description="the same seed gives the same bytes, on one machine")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The choices made, and why."""

    device: torch.device
    precision: Precision
    why: str

    def metadata(self) -> dict[str, object]:
        """What environment.json says of them."""
        return {
            "device": self.device.type,
            "precision": self.precision,
            "chosen": self.why,
            "threads": get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which training runs the model forward."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])


def start(config: RuntimeConfig, *, trains: bool = True) -> Runtime:
    """Set up the process and choose. Raises ConfigError where the device or precision asked for is not here.

    A process that only scores does so in fp32 whatever the config says: a run may have been trained elsewhere.
    """
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        # filling memory that is about to be written costs time and guards nothing here
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # torch.use_deterministic_algorithms does this and, for a compiler that is not used here, imports for 1.2 s
    torch.set_deterministic_debug_mode("error" if config.deterministic else "default")
    # cuDNN takes TF32 for fp32 unless told not to, and its ten bits are not what scores promise
    torch.backends.cudnn.allow_tf32 = False
    device, reason = _device(config.device)
    precision, because = _precision(config.precision, device) if trains else ("fp32", "as all scores")
    set_up(config.threads or _CORES, trains=trains)
    return Runtime(device, precision, f"{device.type} ({reason}), {precision} ({because})")


def _device(asked: str) -> tuple[torch.device, str]:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        chosen = next(name for name, is_here in here.items() if is_here)
        return torch.device(chosen), "no GPU found" if chosen == "cpu" else "found"
    if not here[asked]:
        have = ", ".join(name for name, is_here in here.items() if is_here)
        raise ConfigError(f"run.device: {asked} is not on this machine (have: {have}); try run.device: auto")
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
                return "bf16", "the GPU has it"
            case "cpu":
                return _cpu_precision()
            case _:
                return "fp32", "the safe choice here"
    assert asked in ("fp32", "bf16", "fp16")
    return asked, "asked for"  # type: ignore[return-value]


def _cpu_can_bf16() -> bool:
    """Whether oneDNN, which runs the layers, knows bf16 here; without it they run in torch's own loops, which do."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not has_onednn or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cpu_precision() -> tuple[Precision, str]:
    """bf16 where the CPU multiplies it: with AVX512-BF16 alone a training step is 1.3 (20 tokens a row) to 2 times
    (400 tokens) as fast as in fp32; without it bf16 is emulated and slow."""
    for name, test in (("AMX", "_is_amx_tile_supported"), ("AVX512-BF16", "_is_avx512_bf16_supported")):
        # bool() is False: an older torch does not know; and oneDNN may be kept from what the CPU has
        if getattr(torch.cpu, test, bool)() and _cpu_can_bf16():
            return "bf16", f"the CPU has {name}"
    return "fp32", "the CPU has no bf16 arithmetic"


def available_memory() -> int | None:
    """Bytes that this process can still take, by the system and by its container's limit; None where nothing says."""
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        free = [1024 * int(found[1])] if found else []
    except OSError:
        return None
    with suppress(OSError, ValueError):  # "max" is no number: there is no limit then
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii"))
            for name in ("max", "current")
        )
        free.append(limit - used)
    return min(free, default=None)


def seed_step(seed: int, step: int) -> None:
    """Put torch's generators where (seed, step) alone say, so that dropout needs nothing saved to be repeated."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1))
