"""Functions of tensors in parallel threads: the values and gradients of calling them one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lstm_cli.nn.cpu import get_num_threads, set_num_threads
from lstm_cli.nn.parallel import in_parallel
from lstm_cli.nn.recurrent import Cell, Recurrent


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def product(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return x @ weight, (x * x).sum()


def test_values_and_gradients_are_those_of_one_after_the_other() -> None:
    generator = torch.Generator().manual_seed(0)
    x, left, right = (torch.randn(3, 3, generator=generator, requires_grad=True) for _ in range(3))
    apart = [product(x, left), product(x, right)]
    together = in_parallel((product, product), ([x, left], [x, right]))
    for one, other in zip(apart, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    def gradients(results: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        (first, square), (second, _) = results  # the last output is not used at all
        return torch.autograd.grad((first * second).sum() + square, [x, left, right])

    for a, b in zip(gradients(apart), gradients(together), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(a, b)


def test_what_needs_no_gradient_gets_none() -> None:
    x, weight = torch.ones(2, 2), torch.ones(2, 2, requires_grad=True)
    (first, _), (second, _) = in_parallel((product, product), ([x, weight], [x, x]))
    assert first.requires_grad
    (first.sum() + second.sum()).backward()  # type: ignore[no-untyped-call]
    assert x.grad is None
    assert torch.equal(weight.grad, torch.full((2, 2), 2.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("inference", [False, True])
def test_no_graph_is_kept_where_none_is_asked_for(inference: bool) -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    with torch.inference_mode() if inference else torch.no_grad():
        (first, _), _ = in_parallel((product, product), ([weight, weight], [weight, weight]))
    assert not first.requires_grad
    assert first.is_inference() == inference


def test_each_runs_in_a_thread_of_its_own_with_its_share_of_the_cpu_and_of_what_is_set() -> None:
    seen: dict[str, tuple[int, float]] = {}
    both = threading.Barrier(2, timeout=300)

    def look(x: Tensor) -> tuple[Tensor]:
        both.wait()  # neither gets past this alone
        seen[threading.current_thread().name] = (
            torch.get_num_threads(),
            float(torch.tensor(1e-30) * torch.tensor(1e-10)),
        )
        return (x @ x,)

    set_num_threads(4)
    torch.set_flush_denormal(True)
    with torch.autocast("cpu", torch.bfloat16):
        (first,), (second,) = in_parallel((look, look), ([torch.ones(2, 2)], [torch.ones(2, 2)]))
    assert first.dtype == second.dtype == torch.bfloat16
    assert list(seen.values()) == [(2, 0.0), (2, 0.0)]
    assert (get_num_threads(), torch.get_num_threads()) == (4, 2)


def test_a_fault_in_one_of_them_is_raised() -> None:
    def fail(x: Tensor) -> tuple[Tensor, Tensor]:
        raise ValueError("no such luck")

    with pytest.raises(ValueError, match="no such luck"):
        in_parallel((product, fail), ([torch.ones(2, 2), torch.ones(2, 2)], [torch.ones(2, 2)]))


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_layer_reads_the_same_on_one_thread_and_on_two(cell: Cell, with_state: bool) -> None:
    torch.manual_seed(0)
    network = Recurrent(cell, 5, 4, 2, path="split")
    lengths = torch.tensor([6, 6, 6] if with_state else [6, 2, 5])
    x = torch.randn(3, 6, 5, requires_grad=True)
    initial = (
        [torch.randn_like(part).requires_grad_() for part in network.zero_state(3)] if with_state else []
    )

    def run(num_threads: int) -> list[Tensor]:
        set_num_threads(num_threads)
        encoded = network(x, lengths, tuple(initial) or None)
        outputs = [encoded.states, encoded.final, *(encoded.state or ())]
        loss = sum(output.square().sum() for output in outputs)
        return [*outputs, *torch.autograd.grad(loss, [x, *initial, *network.parameters()])]

    for one, two in zip(run(1), run(2), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_in_bfloat16_are_the_same_in_every_run(cell: Cell) -> None:
    """Autocast's cache of rounded weights is shared by the threads: one must not clear it under another."""
    if cell == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU's oneDNN knows no bf16")
    set_num_threads(2)
    torch.manual_seed(0)
    network = Recurrent(cell, 8, 16, path="split")
    x, lengths = torch.randn(6, 12, 8), torch.tensor([12, 3, 5, 9, 1, 12])

    def gradients() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(x, lengths).states.float().square().sum()
        return torch.autograd.grad(loss, list(network.parameters()))

    first = gradients()
    for _ in range(150):
        assert all(torch.equal(one, other) for one, other in zip(gradients(), first, strict=True))
