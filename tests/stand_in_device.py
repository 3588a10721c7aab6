"""A device that no machine has: its tensors say `meta`, their values lie on the CPU, and what is float64 is noted.

The modes see every operation of their thread, so the package itself runs on it, unchanged and with the right numbers.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")


class OnDevice(torch.Tensor):
    """A tensor that says it lies on the device; `held` are its values."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise AssertionError(f"{func} outside of `standing_in`")


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes on the CPU what is on the device, and keeps which lines of the package made float64 there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, OnDevice)]
        asked = kwargs.get("device")
        there = bool(inputs) if asked is None else torch.device(asked) == DEVICE
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        before = {id(tensor.held): tensor for tensor in inputs}  # an operation in place gives its input back

        def come(made: Any) -> Any:
            if not isinstance(made, torch.Tensor):
                return made
            if made.dtype == torch.float64:
                self.found.add(_line_of_the_package())
            return before[id(made)] if id(made) in before else OnDevice(made)

        # what is made in inference mode could not be sliced as a subclass
        with torch.inference_mode(False), torch.no_grad():
            made = func(*tree_map(_held, args), **tree_map(_held, kwargs))
            if func is torch.ops.aten.copy_.default:
                return args[0]
            if func is torch.ops.aten._pack_padded_sequence.default:
                return come(made[0]), made[1]  # the sizes of its batches stay on the CPU, as on every device
            return tree_map(come, made) if there else made


class _Functions(TorchFunctionMode):
    """The two functions that never become an operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is torch.Tensor.tolist:
            return func(_held(args[0]))
        return func(*args, **kwargs)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


def _line_of_the_package() -> str:
    frame = [frame for frame in traceback.extract_stack() if "/lstm_cli/" in frame.filename][-1]
    return f"{frame.filename.rpartition('/lstm_cli/')[2]}: {frame.line}"


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Inside, torch computes on `DEVICE` too; the lines of the package that made float64 there."""
    adamw = torch.optim.AdamW
    with monkeypatch.context() as patch:
        # the device is in none of torch's lists: no autocast, and no fused optimizer, as on an Apple GPU
        patch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        patch.setattr(torch, "is_autocast_enabled", lambda *_: False)
        patch.setattr(torch.optim, "AdamW", lambda groups, **_: adamw(groups, fused=False))
        with _Operations() as operations, _Functions():
            yield operations.found
