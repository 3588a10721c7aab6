"""Several processes that train one model: each computes its own batches, and they add up their gradients.

`torchrun` starts the processes and tells each its rank. They talk with NCCL on GPUs and with gloo on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_PATIENCE = timedelta(hours=12)
"""How long a process waits for another one, which may learn a vocabulary or read data meanwhile. A process that ends
closes its connections, which the others notice at once."""


class ProcessLost(RuntimeError):  # noqa: N818 - what happened, not a mistake
    """Another process of the same training has ended."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes of a training, numbered 0 to `size` - 1; `rank` is this one's number. Number 0 is the leader, which
    alone writes and draws. A single process needs no setting up, and for it every method is the identity.

    Every process must call the same methods in the same order. They raise ProcessLost if another process has ended.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes. All have one dtype and device."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _noticing_losses():
            dist.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, summed in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def sum_gradients(self, parameters: Sequence[Tensor], numbers: Tensor) -> None:
        """Sum the gradients and `numbers` (K,), float32 on the parameters' device, over all processes.

        A parameter without a gradient in any process stays without one.
        """
        if self.size == 1:
            return
        have = torch.tensor([float(p.grad is not None) for p in parameters], device=numbers.device)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.sum_([*(p.grad for p in parameters if p.grad is not None), numbers, have])
        for parameter, count in zip(parameters, have.tolist(), strict=True):
            if not count:
                parameter.grad = None

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in one of the processes."""
        if self.size == 1:
            return flag
        total = torch.tensor([float(flag)], device=self.device)
        self.sum_([total])
        return bool(total.item())

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.any(False)


def join(device_type: str) -> Workers:
    """Connect the processes that `torchrun` has started. On GPUs, each process of a machine takes its own."""
    on_gpu = device_type == "cuda"
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    return Workers(dist.get_rank(), dist.get_world_size(), device)


def num_processes() -> int:
    """The number of processes that `torchrun` has started for this training; 1 without torchrun."""
    names = (
        "RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    )  # a cluster may set one of them for another purpose
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in names) else 1


@contextmanager
def _noticing_losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as fault:
        raise ProcessLost(str(fault)) from None
