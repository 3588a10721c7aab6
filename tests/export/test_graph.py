"""The ONNX graph of a classifier gives the logits of torch, for every cell, pooling, depth and direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_cli.arrays import Float32
from lstm_cli.export import graph
from lstm_cli.export.graph import TooLarge, classifier_graph
from lstm_cli.export.quantise import quantised
from lstm_cli.nn import TextClassifier, TokenEncoder, build_pooling
from lstm_cli.nn.pooling import PoolingKind
from lstm_cli.nn.recurrent import Cell

VOCAB, EMBEDDING, HIDDEN, CLASSES = 40, 5, 6, 3
CELLS: list[Cell] = ["rnn", "gru", "lstm"]
POOLINGS: list[PoolingKind] = ["final", "final-all-layers", "mean", "max", "mean+max", "attention"]


def model(
    cell: Cell = "lstm", layers: int = 1, both: bool = True, pooling: PoolingKind = "final", seed: int = 0
) -> TextClassifier:
    """A classifier whose weights, all of them, are far from zero."""
    torch.manual_seed(seed)
    encoder = TokenEncoder(VOCAB, EMBEDDING, cell, HIDDEN, layers, both, word_dropout=0.5, dropout=0.5)
    made = TextClassifier(encoder, build_pooling(pooling, encoder.output_size, layers), CLASSES, dropout=0.5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return made.eval()


def session(made: TextClassifier, pooling: PoolingKind, *, int8: bool = False) -> Any:
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    content = classifier_graph(made.encoder.recurrent.cell, pooling, weights, int8=int8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(
    found: Any, tokens: Any, lengths: list[int], state: dict[str, Float32] | None = None
) -> list[Float32]:
    inputs = {"tokens": np.array(tokens, np.int64), "lengths": np.array(lengths, np.int32)}
    shapes = {one.name: one.shape for one in found.get_inputs() if one.name.startswith("initial")}
    zero = {name: np.zeros((shape[0], len(lengths), shape[2]), np.float32) for name, shape in shapes.items()}
    outputs: list[Float32] = found.run(None, inputs | zero | (state or {}))
    return outputs


def by_torch(made: TextClassifier, tokens: Any, lengths: list[int]) -> Float32:
    with torch.inference_mode():
        logits: Float32 = made(torch.tensor(np.array(tokens)), torch.tensor(lengths)).numpy()
    return logits


@settings(max_examples=60)
@given(
    st.sampled_from(CELLS),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(POOLINGS),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(0, 2**16),
)
@example("lstm", 1, True, "attention", [1], 0)
@example("gru", 2, False, "final-all-layers", [1, 9], 0)
def test_onnxruntime_gives_the_logits_of_torch(
    cell: Cell, layers: int, both: bool, pooling: PoolingKind, lengths: list[int], seed: int
) -> None:
    made = model(cell, layers, both, pooling, seed)
    tokens = np.random.default_rng(seed).integers(1, VOCAB, (len(lengths), max(lengths)))
    logits = run(session(made, pooling), tokens, lengths)[0]
    np.testing.assert_allclose(logits, by_torch(made, tokens, lengths), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_padding_changes_nothing(cell: Cell, pooling: PoolingKind) -> None:
    found = session(model(cell, 2, True, pooling), pooling)
    alone = run(found, [[3, 4]], [2])[0]
    for padding in (0, 7, 39):
        logits = run(found, [[3, 4, *[padding] * 5], [5, 6, 7, 8, 9, 10, 11]], [2, 7])[0]
        np.testing.assert_allclose(logits[0], alone[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_in_pieces_ends_in_the_state_of_the_whole_text(cell: Cell) -> None:
    found = session(model(cell, 2, both=False), "final")
    tokens = np.random.default_rng(0).integers(1, VOCAB, (2, 11))
    names = ["initial_h", "initial_c"] if cell == "lstm" else ["initial_h"]
    logits, *end = run(found, tokens, [11, 11])
    state: dict[str, Float32] = {}
    for piece in (tokens[:, :1], tokens[:, 1:5], tokens[:, 5:]):
        logits_of_piece, *after = run(found, piece, [piece.shape[1]] * 2, state)
        state = dict(zip(names, after, strict=True))
    np.testing.assert_allclose(logits_of_piece, logits, rtol=0, atol=1e-5)
    for one, other in zip(state.values(), end, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_int8_is_near_and_small(cell: Cell, both: bool) -> None:
    made = model(cell, 2, both, "attention")
    tokens = np.random.default_rng(0).integers(1, VOCAB, (4, 9))
    logits = run(session(made, "attention", int8=True), tokens, [9, 1, 4, 7])[0]
    expected = by_torch(made, tokens, [9, 1, 4, 7])
    assert np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    big = {**weights, "encoder.embedding.weight": np.zeros((9_000, EMBEDDING), np.float32)}
    small = classifier_graph(cell, "attention", big, int8=True)
    assert len(small) < 9_000 * (EMBEDDING + 4) + 16_000  # a byte for each weight, and a scale for each row


def test_no_whole_number_is_off_by_more_than_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    weight[2] = 0
    for bits in (7, 8):
        whole, scale = quantised(weight, axes=(1,), bits=bits)
        assert np.abs(whole * scale - weight).max() <= 0.5001 * scale.max()
        assert np.abs(whole).max() == 2 ** (bits - 1) - 1
    assert not whole[2].any()


def test_weights_that_do_not_fit_into_a_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_MAX_BYTES", 1_000)
    with pytest.raises(TooLarge):
        session(model(), "final")
