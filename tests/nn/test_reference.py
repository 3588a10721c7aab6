from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from lstm_cli.nn import (
    Cell,
    LayerPath,
    PoolingKind,
    TextClassifier,
    TokenEncoder,
    build_pooling,
    reference,
)
from lstm_cli.nn.reference import Array, Weights

CELLS: tuple[Cell, ...] = get_args(Cell)
KINDS: tuple[PoolingKind, ...] = get_args(PoolingKind)
PATHS: tuple[LayerPath, ...] = ("packed", "split")
LENGTHS = torch.tensor([5, 1, 7, 3])

# The walk-through's numbers: what was set by hand, and what was printed, to its last digit.
WORDS = {"this": 2, "movie": 3, "is": 4, "great": 5}
EMBEDDING = [[0.0, 0.0], [0.0, 0.0], [0.1, 0.2], [0.4, 0.3], [0.2, 0.1], [0.9, 0.7]]
W_X = [[0.5, 0.3], [0.1, -0.2], [0.4, 0.6], [0.2, 0.1], [0.7, 0.5], [0.3, 0.4], [0.2, -0.1], [0.0, 0.3]]
HEAD = [[-1.0, 1.2], [1.1, -0.9]]
STATES = [
    [0.04429177, 0.02776099],
    [0.14162958, 0.07524993],
    [0.12512796, 0.06269048],
    [0.30824225, 0.16784395],
]
CELL_STATE = [0.66908272, 0.31380604]
LOGITS = [-0.1068295, 0.18800691]
PROBABILITIES = [0.42682025, 0.57317975]
LAST_DIGIT = 0.5e-8 + 1e-12


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in tests/nn: these networks are so small that a second thread costs more than it does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def walk_through() -> TextClassifier:
    encoder = TokenEncoder(6, 2, "lstm", 2, bidirectional=False)
    model = TextClassifier(encoder, build_pooling("final", 2, 1), 2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        encoder.embedding.weight.copy_(torch.tensor(EMBEDDING, dtype=torch.float64))
        encoder.recurrent.get_parameter("weight_ih_l0").copy_(torch.tensor(W_X, dtype=torch.float64))
        model.head.weight.copy_(torch.tensor(HEAD, dtype=torch.float64))
    return model


def make(cell: Cell, kind: PoolingKind, num_layers: int = 2, bidirectional: bool = True) -> TextClassifier:
    torch.manual_seed(0)
    encoder = TokenEncoder(20, 4, cell, 3, num_layers, bidirectional)
    pooling = build_pooling(kind, encoder.output_size, num_layers)
    model = TextClassifier(encoder, pooling, 3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def numpy_state(model: nn.Module) -> dict[str, Array]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def texts() -> torch.Tensor:
    inputs = torch.randint(1, 20, (4, 8), generator=torch.Generator().manual_seed(2))
    return inputs.masked_fill(torch.arange(8) >= LENGTHS.unsqueeze(1), 0)


def test_the_reference_walks_through_this_movie_is_great_to_the_last_printed_digit() -> None:
    state = numpy_state(walk_through())
    tokens = np.array(list(WORDS.values()))
    weights = Weights(np.array(W_X), np.zeros((8, 2)), np.zeros(8), np.zeros(8))
    states, _, cell_state = reference.run_direction("lstm", np.array(EMBEDDING)[tokens], weights)
    logits = reference.classify("lstm", "final", state, tokens)
    np.testing.assert_allclose(states, STATES, atol=LAST_DIGIT, rtol=0)
    np.testing.assert_allclose(cell_state, CELL_STATE, atol=LAST_DIGIT, rtol=0)
    np.testing.assert_allclose(logits, LOGITS, atol=LAST_DIGIT, rtol=0)
    np.testing.assert_allclose(reference.softmax(logits), PROBABILITIES, atol=LAST_DIGIT, rtol=0)
    assert logits.argmax() == 1


@pytest.mark.parametrize("path", PATHS)
def test_both_paths_walk_through_this_movie_is_great_to_the_last_printed_digit(path: LayerPath) -> None:
    model = walk_through()
    model.encoder.recurrent.path = path
    inputs = torch.tensor([[5, 0, 0, 0, 0, 0], [*WORDS.values(), 0, 0], [5, 4, 3, 2, 3, 4]])
    lengths = torch.tensor([1, 4, 6])
    states = model.encoder(inputs, lengths).states[1, :4].detach().numpy()
    logits = model(inputs, lengths)[1].detach()
    np.testing.assert_allclose(states, STATES, atol=LAST_DIGIT, rtol=0)
    np.testing.assert_allclose(logits.numpy(), LOGITS, atol=LAST_DIGIT, rtol=0)
    np.testing.assert_allclose(logits.softmax(0).numpy(), PROBABILITIES, atol=LAST_DIGIT, rtol=0)
    assert int(logits.argmax()) == 1


def test_each_step_is_that_of_torchs_own_cell() -> None:
    torch.manual_seed(0)
    x, h, c = (torch.randn(4, dtype=torch.float64) for _ in range(3))

    def weights(cell: nn.RNNCellBase) -> Weights:
        return Weights(*(parameter.detach().numpy() for parameter in cell.parameters()))

    rnn, gru, lstm = nn.RNNCell(4, 4).double(), nn.GRUCell(4, 4).double(), nn.LSTMCell(4, 4).double()
    ours_h, ours_c = reference.lstm_step(x.numpy(), h.numpy(), c.numpy(), weights(lstm))
    theirs_h, theirs_c = lstm(x, (h, c))
    pairs = [
        (reference.rnn_step(x.numpy(), h.numpy(), weights(rnn)), rnn(x, h)),
        (reference.gru_step(x.numpy(), h.numpy(), weights(gru)), gru(x, h)),
        (ours_h, theirs_h),
        (ours_c, theirs_c),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-14, rtol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("cell", "num_layers", "bidirectional"), list(product(CELLS, (1, 2, 3), (False, True)))
)
def test_both_paths_make_the_references_states(
    cell: Cell, num_layers: int, bidirectional: bool, path: LayerPath
) -> None:
    model = make(cell, "final", num_layers, bidirectional)
    model.encoder.recurrent.path = path
    inputs, state = texts(), numpy_state(model.encoder.recurrent)
    encoded = model.encoder(inputs, LENGTHS)
    embedded = model.encoder.embedding(inputs).detach().numpy()
    for row, length in enumerate(LENGTHS.tolist()):
        states, final, _ = reference.run_layers(cell, embedded[row, :length], state)
        np.testing.assert_allclose(encoded.states[row, :length].detach().numpy(), states, atol=1e-12, rtol=0)
        np.testing.assert_allclose(encoded.final[row].detach().numpy(), final, atol=1e-12, rtol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("cell", "num_layers", "bidirectional"), list(product(CELLS, (1, 2), (False, True))))
def test_both_paths_go_from_a_given_state_to_the_references_state(
    cell: Cell, num_layers: int, bidirectional: bool, path: LayerPath
) -> None:
    network = make(cell, "final", num_layers, bidirectional).encoder.recurrent
    network.path = path
    x = torch.randn(4, 8, 4, dtype=torch.float64)
    initial = tuple(torch.randn_like(part) for part in network.zero_state(4))
    encoded = network(x, LENGTHS, initial)
    for row, length in enumerate(LENGTHS.tolist()):
        states, *state = reference.run_layers(
            cell, x[row, :length].numpy(), numpy_state(network), *(part[row].numpy() for part in initial)
        )
        np.testing.assert_allclose(encoded.states[row, :length].detach().numpy(), states, atol=1e-12, rtol=0)
        for ours, expected in zip(encoded.state, state, strict=False):
            np.testing.assert_allclose(ours[row].detach().numpy(), expected, atol=1e-12, rtol=0)
    assert len(encoded.state) == (2 if cell == "lstm" else 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("cell", "kind"), list(product(CELLS, KINDS)))
def test_both_paths_answer_as_the_reference_does(cell: Cell, kind: PoolingKind, path: LayerPath) -> None:
    model = make(cell, kind)
    model.encoder.recurrent.path = path
    inputs, state = texts(), numpy_state(model)
    logits = model(inputs, LENGTHS).detach().numpy()
    for row, length in enumerate(LENGTHS.tolist()):
        alone = reference.classify(cell, kind, state, inputs[row, :length].numpy())
        np.testing.assert_allclose(logits[row], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("cell", "kind"), list(product(CELLS, KINDS)))
def test_a_batchs_gradient_is_the_sum_of_its_rows_run_one_at_a_time(
    cell: Cell, kind: PoolingKind, path: LayerPath
) -> None:
    model, inputs = make(cell, kind), texts()
    targets = torch.tensor([0, 2, 1, 2])
    model.encoder.recurrent.path = path
    loss = nn.CrossEntropyLoss(reduction="sum")
    together = torch.autograd.grad(loss(model(inputs, LENGTHS), targets), list(model.parameters()))
    one_at_a_time = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for row, length in enumerate(LENGTHS.tolist()):
        here = slice(row, row + 1)
        logits = model(inputs[here, :length], LENGTHS[here])
        for total, part in zip(
            one_at_a_time,
            torch.autograd.grad(loss(logits, targets[here]), list(model.parameters())),
            strict=True,
        ):
            total.add_(part)
    torch.testing.assert_close(together, tuple(one_at_a_time), atol=1e-12, rtol=0.0)


def test_the_sigmoid_neither_overflows_nor_warns() -> None:
    np.testing.assert_allclose(reference.sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])


def test_attention_without_its_query_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its query"):
        reference.pool("attention", np.zeros((2, 3)), np.zeros((1, 3)))
