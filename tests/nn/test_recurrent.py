from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstm_cli.nn import recurrent
from lstm_cli.nn.recurrent import Cell, Encoded, LayerPath, Recurrent, State, faster_path

CELLS: list[Cell] = ["rnn", "gru", "lstm"]
PATHS: list[LayerPath] = ["packed", "split"]
TORCH_CLASSES: dict[Cell, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
NUM_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class Case(NamedTuple):
    cell: Cell
    num_layers: int
    bidirectional: bool
    lengths: list[int]
    spare_steps: int
    """Padding beyond the longest row, as rounding T up makes it."""


def cases() -> st.SearchStrategy[Case]:
    lengths = st.one_of(
        st.lists(st.integers(1, 9), min_size=1, max_size=5),
        st.tuples(st.integers(1, 9), st.integers(1, 4)).map(lambda pair: [pair[0]] * pair[1]),
    )
    return st.builds(
        Case, st.sampled_from(CELLS), st.integers(1, 3), st.booleans(), lengths, st.sampled_from([0, 0, 3])
    )


def make(case: Case, dtype: torch.dtype = torch.float64) -> tuple[Recurrent, Tensor, Tensor]:
    """A network, inputs (B, T, 3) and lengths."""
    torch.manual_seed(0)
    network = Recurrent(case.cell, 3, 4, case.num_layers, case.bidirectional).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():  # biases too, and no two alike
            parameter.add_(0.1 * torch.randn_like(parameter))
    lengths = torch.tensor(case.lengths)
    return network, torch.randn(len(lengths), max(case.lengths) + case.spare_steps, 3, dtype=dtype), lengths


def run(network: Recurrent, path: LayerPath, x: Tensor, lengths: Tensor) -> tuple[Encoded, dict[str, Tensor]]:
    """Outputs, and the gradient of a fixed random mix of all of them for the inputs and every parameter."""
    network.path = path
    network.zero_grad()
    x = x.clone().requires_grad_()
    encoded = network(x, lengths)
    draw = torch.Generator().manual_seed(1)
    loss = x.new_zeros(())
    for output in (encoded.states, encoded.final):
        loss = loss + (output * torch.randn(output.shape, generator=draw).to(output)).sum(-1).mean()
    torch.autograd.backward(loss)
    assert x.grad is not None
    gradients = {"x": x.grad}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        gradients[name] = parameter.grad.clone()
    return encoded, gradients


def assert_same(
    ours: tuple[Encoded, dict[str, Tensor]], theirs: tuple[Encoded, dict[str, Tensor]], atol: float
) -> None:
    torch.testing.assert_close(ours[0].states, theirs[0].states, atol=atol, rtol=0.0)
    torch.testing.assert_close(ours[0].final, theirs[0].final, atol=atol, rtol=0.0)
    torch.testing.assert_close(ours[1], theirs[1], atol=atol, rtol=atol)


@settings(deadline=None, max_examples=80)
@given(cases())
def test_packed_and_split_give_the_same_outputs_and_gradients(case: Case) -> None:
    network, x, lengths = make(case)
    assert_same(run(network, "packed", x, lengths), run(network, "split", x, lengths), atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_packed_and_split_agree_in_single_precision(case: Case) -> None:
    network, x, lengths = make(case, torch.float32)
    assert_same(run(network, "packed", x, lengths), run(network, "split", x, lengths), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(cases(), st.sampled_from(PATHS))
def test_both_paths_give_what_torchs_own_module_gives_for_packed_input(case: Case, path: LayerPath) -> None:
    network, x, lengths = make(case)
    network.path = path
    theirs = torch_module(network)
    theirs.load_state_dict(network.state_dict())
    packed, final = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    states, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    final = final[0] if case.cell == "lstm" else final
    final = final.transpose(0, 1).reshape(len(lengths), case.num_layers, -1)
    encoded = network(x, lengths)
    torch.testing.assert_close(encoded.states, states, atol=1e-12, rtol=0.0)
    torch.testing.assert_close(encoded.final, final, atol=1e-12, rtol=0.0)


def torch_module(network: Recurrent) -> nn.RNNBase:
    kind: Any = TORCH_CLASSES[network.cell]
    module: nn.RNNBase = kind(
        3, network.hidden_size, network.num_layers, batch_first=True, bidirectional=network.bidirectional
    )
    return module.double()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_state_dicts_load_from_torchs_own_modules_in_the_same_order(cell: Cell, bidirectional: bool) -> None:
    network, x, lengths = make(Case(cell, 2, bidirectional, [5, 5], 0))
    theirs = torch_module(network)
    network.load_state_dict(theirs.state_dict())
    assert [name for name, _ in network.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    torch.testing.assert_close(network(x, lengths).states, theirs(x)[0], atol=1e-12, rtol=0.0)


@settings(deadline=None, max_examples=60)
@given(cases(), st.sampled_from(PATHS), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30]))
def test_garbage_in_the_padding_changes_no_output_and_no_gradient(
    case: Case, path: LayerPath, garbage: float
) -> None:
    network, x, lengths = make(case)
    padding = torch.arange(x.shape[1]) >= lengths.unsqueeze(1)
    clean = run(network, path, x, lengths)
    dirty = run(network, path, x.masked_fill(padding.unsqueeze(-1), garbage), lengths)
    assert_same(clean, dirty, atol=0.0)
    assert not dirty[1]["x"][padding].any()


@settings(deadline=None, max_examples=60)
@given(cases(), st.sampled_from(PATHS))
def test_a_row_reads_the_same_alone_and_in_any_company(case: Case, path: LayerPath) -> None:
    network, x, lengths = make(case)
    network.path = path
    together = network(x, lengths)
    for row, length in enumerate(case.lengths):
        alone = network(x[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together.states[row, :length], alone.states[0], atol=1e-12, rtol=0.0)
        torch.testing.assert_close(together.final[row], alone.final[0], atol=1e-12, rtol=0.0)


@settings(deadline=None, max_examples=40)
@given(cases(), st.sampled_from(PATHS))
def test_states_are_zero_at_padding_and_the_final_state_is_that_of_the_last_real_step(
    case: Case, path: LayerPath
) -> None:
    network, x, lengths = make(case)
    network.path = path
    encoded = network(x, lengths)
    for row, length in enumerate(case.lengths):
        assert not encoded.states[row, length:].any()
        assert encoded.states[row, :length].all()
        assert torch.equal(encoded.final[row, -1, :4], encoded.states[row, length - 1, :4])
        if case.bidirectional:
            assert torch.equal(encoded.final[row, -1, 4:], encoded.states[row, 0, 4:])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", PATHS)
def test_a_row_with_a_single_step_is_read(cell: Cell, path: LayerPath) -> None:
    network, x, lengths = make(Case(cell, 2, True, [1, 1], 0))
    network.path = path
    encoded = network(x, lengths)
    assert torch.equal(encoded.final[:, -1], encoded.states[:, 0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("path", PATHS)
def test_bfloat16_autocast_trains_and_stays_near_single_precision(cell: Cell, path: LayerPath) -> None:
    if (cell, path) == ("lstm", "split") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU's oneDNN knows no bf16")
    network, x, lengths = make(Case(cell, 2, True, [6, 1, 4], 2), torch.float32)
    exact, _ = run(network, path, x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        rough, gradients = run(network, path, x, lengths)
    torch.testing.assert_close(rough.states.float(), exact.states, atol=0.05, rtol=0.0)
    torch.testing.assert_close(rough.final.float(), exact.final, atol=0.05, rtol=0.0)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("path", PATHS)
def test_gradients_can_be_had_in_eval(path: LayerPath) -> None:
    network, x, lengths = make(Case("lstm", 1, True, [3, 2], 0), torch.float32)
    _, training = run(network.train(), path, x, lengths)
    _, evaluating = run(network.eval(), path, x, lengths)
    torch.testing.assert_close(training, evaluating)


@pytest.mark.parametrize("path", PATHS)
def test_dropout_falls_between_layers_only(path: LayerPath) -> None:
    one, x, lengths = make(Case("gru", 1, True, [5, 3], 0))
    one.path, one.dropout = path, 0.9
    assert torch.equal(one(x, lengths).states, one(x, lengths).states)
    two, x, lengths = make(Case("gru", 2, True, [5, 3], 0))
    two.path, two.dropout = path, 0.9
    first, second = two(x, lengths), two(x, lengths)
    assert torch.equal(first.final[:, 0], second.final[:, 0])  # the lowest layer's, and before the dropout
    assert not torch.equal(first.states, second.states)
    assert first.states[0].all()  # none above the last layer
    two.eval()
    assert torch.equal(two(x, lengths).states, two(x, lengths).states)


@pytest.mark.parametrize("cell", CELLS)
def test_a_new_network_has_orthogonal_and_xavier_gates_and_biases_only_its_forget_gate(cell: Cell) -> None:
    torch.manual_seed(0)
    size, hidden = 100, 64
    gates = NUM_GATES[cell]
    network = Recurrent(cell, size, hidden, num_layers=2)
    for name, parameter in network.named_parameters():
        for gate in parameter.chunk(gates):
            if name.startswith("weight_hh"):
                torch.testing.assert_close(gate @ gate.T, torch.eye(hidden), atol=1e-5, rtol=0.0)
            elif name.startswith("weight_ih"):
                bound = (6.0 / (gate.shape[0] + gate.shape[1])) ** 0.5
                assert bound * 0.98 < gate.abs().max() <= bound
    expected = torch.zeros(gates, hidden)
    if cell == "lstm":
        expected[1] = 1.0
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        bias = network.get_parameter(f"bias_ih_{suffix}") + network.get_parameter(f"bias_hh_{suffix}")
        assert torch.equal(bias.reshape(gates, hidden), expected)


def test_the_forget_gates_bias_is_one_where_torch_reads_it() -> None:
    """With all weights zero the memory of an LSTM fades by sigmoid(1) a step, if the forget gate has it."""
    network = Recurrent("lstm", 1, 1, bidirectional=False).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("weight"):
                parameter.zero_()
        network.get_parameter("weight_ih_l0")[2] = 1.0  # the candidate alone reads the input
    states = network(torch.tensor([[[2.0], [0.0]]], dtype=torch.float64), torch.tensor([2])).states.flatten()
    first, second = torch.atanh(2.0 * states)  # the output gate is sigmoid(0)
    torch.testing.assert_close(second / first, torch.sigmoid(torch.tensor(1.0, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("device_type", "hidden_size", "faster"),
    [
        ("cpu", 128, "split"),
        ("cpu", 2048, "split"),
        ("mps", 2048, "split"),
        ("cuda", 128, "split"),
        ("cuda", 1023, "split"),
        ("cuda", 1024, "packed"),
        ("cuda", 2048, "packed"),
    ],
)
def test_auto_is_packed_for_wide_layers_on_cuda_and_split_elsewhere(
    device_type: str, hidden_size: int, faster: str
) -> None:
    assert faster_path(device_type, hidden_size) == faster


@pytest.mark.parametrize("faster", PATHS)
def test_auto_takes_the_faster_path(monkeypatch: pytest.MonkeyPatch, faster: LayerPath) -> None:
    network, x, lengths = make(Case("lstm", 1, True, [4, 2], 0), torch.float32)
    called = []
    network._forward_split = lambda *_: called.append("split")  # type: ignore[method-assign, assignment]
    network._forward_packed = lambda *_: called.append("packed")  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(recurrent, "faster_path", lambda device, size: faster)
    network.path = "auto"
    network(x, lengths)
    assert called == [faster]


def states_of(network: Recurrent, num_rows: int) -> State:
    """A state that is zero nowhere."""
    draw = torch.Generator().manual_seed(2)
    return tuple(torch.randn(part.shape, generator=draw).to(part) for part in network.zero_state(num_rows))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_reading_a_row_in_two_parts_is_reading_it_in_one_go(
    cell: Cell, num_layers: int, path: LayerPath
) -> None:
    network, x, lengths = make(Case(cell, num_layers, False, [9, 5, 7, 6], 1), torch.float32)
    network.path = path
    whole = network(x, lengths, network.zero_state(4))
    for cuts in ([4, 4, 4, 4], [8, 1, 3, 5]):  # parts of one length, and ragged ones
        cut = torch.tensor(cuts)
        rest = torch.zeros(4, 9, 3)
        for row, (start, length) in enumerate(zip(cuts, lengths.tolist(), strict=True)):
            rest[row, : length - start] = x[row, start:length]
        first = network(x[:, : max(cuts)], cut, network.zero_state(4))
        second = network(rest, lengths - cut, first.state)
        for row, (start, length) in enumerate(zip(cuts, lengths.tolist(), strict=True)):
            states = torch.cat([first.states[row, :start], second.states[row, : length - start]])
            torch.testing.assert_close(states, whole.states[row, :length], atol=1e-6, rtol=0.0)
        torch.testing.assert_close(second.final, whole.final, atol=1e-6, rtol=0.0)
        torch.testing.assert_close(second.state, whole.state, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lengths", [[6, 6, 6], [6, 2, 4]], ids=["even", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_state_of_zeros_is_no_state_and_without_one_none_is_returned(
    cell: Cell, bidirectional: bool, lengths: list[int], path: LayerPath
) -> None:
    network, x, row_lengths = make(Case(cell, 2, bidirectional, lengths, 0))
    network.path = path
    without, zero = network(x, row_lengths), network(x, row_lengths, network.zero_state(3))
    torch.testing.assert_close(zero.states, without.states, atol=1e-12, rtol=0.0)
    torch.testing.assert_close(zero.final, without.final, atol=1e-12, rtol=0.0)
    assert without.state is None
    assert len(zero.state) == (2 if cell == "lstm" else 1)
    assert torch.equal(zero.state[0], zero.final)


@settings(deadline=None, max_examples=60)
@given(cases(), st.sampled_from([float("nan"), 1e30]))
def test_from_a_given_state_the_paths_agree_and_every_part_of_it_gets_a_gradient(
    case: Case, garbage: float
) -> None:
    network, x, lengths = make(case)
    padding = (torch.arange(x.shape[1]) >= lengths.unsqueeze(1)).unsqueeze(-1)
    results = []
    for path in PATHS:
        for given_x in (x, x.masked_fill(padding, garbage)):
            network.path = path
            initial = tuple(part.requires_grad_() for part in states_of(network, len(lengths)))
            encoded = network(given_x, lengths, initial)
            draw = torch.Generator().manual_seed(1)
            loss = x.new_zeros(())
            for output in (encoded.states, encoded.final, *encoded.state):
                loss = loss + (output * torch.randn(output.shape, generator=draw).to(output)).sum()
            gradients = torch.autograd.grad(loss, [*initial, *network.parameters()])
            results.append((encoded.states, encoded.final, *encoded.state, *gradients))
            assert all(gradient.all() for gradient in gradients[: len(initial)])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_each_row_starts_from_its_own_part_of_the_state(cell: Cell, path: LayerPath) -> None:
    network, x, lengths = make(Case(cell, 2, True, [3, 6, 1, 6], 1))
    network.path = path
    initial = states_of(network, 4)
    together = network(x, lengths, initial)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = network(x[one, :length], lengths[one], tuple(part[one] for part in initial))
        torch.testing.assert_close(together.states[row, :length], alone.states[0], atol=1e-12, rtol=0.0)
        torch.testing.assert_close(
            [part[one] for part in together.state], list(alone.state), atol=1e-12, rtol=0.0
        )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_state_is_passed_on_under_bfloat16_autocast(cell: Cell, path: LayerPath) -> None:
    if cell == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU's oneDNN knows no bf16")
    network, x, lengths = make(Case(cell, 2, True, [6, 6], 0), torch.float32)
    network.path = path
    initial = states_of(network, 2)
    exact = network(x, lengths, network(x, lengths, initial).state)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, lengths, network(x, lengths, initial).state)
    torch.testing.assert_close(rough.states.float(), exact.states, atol=0.05, rtol=0.0)


def test_a_state_of_another_shape_is_refused() -> None:
    network, x, lengths = make(Case("lstm", 2, True, [4, 2], 0))
    hidden, cell = network.zero_state(2)
    for wrong in ((hidden,), (hidden, cell[:1]), (hidden[:, :1], cell[:, :1]), (hidden[..., :4], cell)):
        with pytest.raises(ValueError, match=r"\(2, 2, 8\).*try zero_state\(2\)"):
            network(x, lengths, wrong)


@pytest.mark.parametrize("path", PATHS)
def test_a_length_beyond_the_padding_is_refused(path: LayerPath) -> None:
    network, x, _ = make(Case("lstm", 1, True, [4, 2], 0))
    network.path = path
    with pytest.raises(ValueError, match=r"must lie in 1\.\.4"):
        network(x, torch.tensor([4, 5]))
