"""One step of the weights: clipped, averaged, and left out where it is not finite."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from lstm_cli.training.optimizer import adamw, average, take_step


def stepped(loss_times: float = 1.0, fused: bool = True) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A model after one good step and one whose loss is multiplied; its weights in between; the step's figures."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = adamw(model, weight_decay=0.1)
    if not fused:
        optimizer = torch.optim.AdamW(model.parameters(), fused=False)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for factor in (1.0, loss_times):
        before = model.weight.detach().clone()
        loss = model(torch.ones(4, 3)).square().sum() * factor
        loss.backward()
        figures = take_step(optimizer, scaler, loss, 0.01, 1.0)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(value.isfinite().all() for slots in optimizer.state.values() for value in slots.values())
    return model, before, figures


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_step_that_is_not_finite_leaves_weights_and_moments_and_says_so(fused: bool, factor: float) -> None:
    model, before, figures = stepped(factor, fused)
    assert torch.equal(model.weight, before)
    assert not figures.isfinite().all()


@pytest.mark.parametrize("fused", [True, False])
def test_a_finite_step_moves_the_weights_and_tells_loss_and_norm(fused: bool) -> None:
    model, before, figures = stepped(fused=fused)
    assert not torch.equal(model.weight, before)
    assert figures.isfinite().all()


def test_a_step_is_counted_only_if_it_is_taken() -> None:
    model = nn.Linear(2, 1)
    optimizer = adamw(model, 0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for factor in (1.0, math.nan, 1.0):
        loss = model(torch.ones(1, 2)).sum() * factor
        loss.backward()
        take_step(optimizer, scaler, loss, 0.1, 1.0)
    assert [slots["step"].item() for slots in optimizer.state.values()] == [2.0, 2.0]


def test_the_average_follows_fast_at_first_and_slowly_later() -> None:
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    for step, moved in ((0, 0.9), (10**6, 0.01)):
        nn.init.zeros_(one.weight)
        nn.init.ones_(other.weight)
        average(one, other, decay=0.99, step=step)
        assert one.weight.item() == pytest.approx(moved)


def test_network_batches_and_step_need_nothing_but_torch_and_numpy() -> None:
    """So that they run on a bare machine with a GPU."""
    others = "pydantic yaml datasets pyarrow tokenizers sklearn safetensors rich typer matplotlib"
    code = f"import sys; sys.modules |= dict.fromkeys({others.split()!r})\n" + (
        "import lstm_cli.nn, lstm_cli.nn.cpu, lstm_cli.training.optimizer, lstm_cli.data.batching, lstm_cli.data.store"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
