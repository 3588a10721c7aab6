"""The recurrent cells and the classifier in NumPy float64, written out gate by gate: the reference for tests and
`verify`.

It reads one text and one step at a time, so that there is no padding, no mask and no batch to get wrong. The weights
are those of a torch state dict as NumPy arrays, in torch's layout: gates stacked along the first axis, two biases per
gate. Conventions as in torch.nn.RNN, GRU and LSTM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # what computes here is NumPy alone
    from lstm_cli.nn.pooling import PoolingKind
    from lstm_cli.nn.recurrent import Cell

Array = NDArray[np.float64]


class Weights(NamedTuple):
    """One direction of one layer with G gates: `w_ih` (G*H, I), `w_hh` (G*H, H), biases (G*H,)."""

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), computed with tanh, which does not overflow."""
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def softmax(x: Array) -> Array:
    """exp(x) over its sum along the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def rnn_step(x: Array, h: Array, weights: Weights) -> Array:
    """One step of the Elman network (Elman 1990): (I,), (H,) -> the new state (H,)."""
    from_input = weights.w_ih @ x + weights.b_ih
    from_state = weights.w_hh @ h + weights.b_hh
    new_h: Array = np.tanh(from_input + from_state)
    return new_h


def gru_step(x: Array, h: Array, weights: Weights) -> Array:
    """One step of the gated recurrent unit (Cho et al. 2014): (I,), (H,) -> the new state (H,).

    As in cuDNN, the reset gate multiplies the product of weights and state, not the state itself.
    """
    reset_x, update_x, new_x = np.split(weights.w_ih @ x + weights.b_ih, 3)
    reset_h, update_h, new_h = np.split(weights.w_hh @ h + weights.b_hh, 3)
    reset_gate = sigmoid(reset_x + reset_h)
    update_gate = sigmoid(update_x + update_h)
    candidate = np.tanh(new_x + reset_gate * new_h)
    state: Array = (1.0 - update_gate) * candidate + update_gate * h
    return state


def lstm_step(x: Array, h: Array, c: Array, weights: Weights) -> tuple[Array, Array]:
    """One step of the LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    (I,), state (H,), cell (H,) -> the new state (H,) and cell (H,).
    """
    from_input = weights.w_ih @ x + weights.b_ih
    from_state = weights.w_hh @ h + weights.b_hh
    input_part, forget_part, candidate_part, output_part = np.split(from_input + from_state, 4)
    input_gate = sigmoid(input_part)
    forget_gate = sigmoid(forget_part)
    candidate = np.tanh(candidate_part)
    output_gate = sigmoid(output_part)
    new_c: Array = forget_gate * c + input_gate * candidate
    new_h: Array = output_gate * np.tanh(new_c)
    return new_h, new_c


def run_direction(
    cell: Cell, x: Array, weights: Weights, h: Array | None = None, c: Array | None = None
) -> tuple[Array, Array, Array]:
    """Read a sequence from its first step: (T, I) -> states (T, H), and after the last step h (H,) and c (H,).

    It starts from the state `h` and the cell state `c`, or from zero. Only the LSTM changes `c`.
    """
    hidden_size = weights.w_hh.shape[1]
    h = np.zeros(hidden_size) if h is None else h
    c = np.zeros(hidden_size) if c is None else c
    states = np.empty((len(x), hidden_size))
    for step, vector in enumerate(x):
        match cell:
            case "rnn":
                h = rnn_step(vector, h, weights)
            case "gru":
                h = gru_step(vector, h, weights)
            case "lstm":
                h, c = lstm_step(vector, h, c, weights)
            case _:
                assert_never(cell)
        states[step] = h
    return states, h, c


def run_layers(
    cell: Cell, x: Array, parameters: Mapping[str, Array], h: Array | None = None, c: Array | None = None
) -> tuple[Array, Array, Array]:
    """All layers and directions: (T, I) -> the last layer's states (T, D*H), every layer's h and c at the end (L, D*H).

    `parameters` is the state dict of a torch.nn.RNN, GRU or LSTM; its names give the number of layers and directions.
    The layers start from `h` and `c` (L, D*H), or from zero. The backward direction reads the text from its end; its
    states are returned in reading order.
    """
    last_h: list[Array] = []
    last_c: list[Array] = []
    while f"weight_ih_l{len(last_h)}" in parameters:
        layer = len(last_h)
        suffixes = [suffix for suffix in ("", "_reverse") if f"weight_ih_l{layer}{suffix}" in parameters]
        ends = []
        for direction, suffix in enumerate(suffixes):
            weights = _weights(parameters, f"l{layer}{suffix}")
            start = [None if s is None else np.split(s[layer], len(suffixes))[direction] for s in (h, c)]
            states, *state = run_direction(cell, x[::-1] if suffix else x, weights, *start)
            ends.append((states[::-1] if suffix else states, *state))
        x, layer_h, layer_c = (np.concatenate(halves, axis=-1) for halves in zip(*ends, strict=True))
        last_h.append(layer_h)
        last_c.append(layer_c)
    return x, np.stack(last_h), np.stack(last_c)


def pool(kind: PoolingKind, states: Array, final: Array, query: Array | None = None) -> Array:
    """One vector for a text: states (T, D*H), final (L, D*H), for attention the query (D*H,) -> the pooled vector."""
    match kind:
        case "final":
            pooled: Array = final[-1]
        case "final-all-layers":
            pooled = final.reshape(-1)
        case "mean":
            pooled = states.mean(axis=0)
        case "max":
            pooled = states.max(axis=0)
        case "mean+max":
            pooled = np.concatenate([states.mean(axis=0), states.max(axis=0)])
        case "attention":
            if query is None:
                raise ValueError("attention pooling needs its query")
            pooled = softmax(states @ query) @ states
        case _:
            assert_never(kind)
    return pooled


def classify(
    cell: Cell, kind: PoolingKind, parameters: Mapping[str, Array], tokens: NDArray[np.int64]
) -> Array:
    """Logits of one text without padding and without dropout: token ids (T,) -> (C,).

    `parameters` is the state dict of an `lstm_cli.nn.TextClassifier` as NumPy arrays.
    """
    embedded = parameters["encoder.embedding.weight"][tokens]  # (T, E)
    states, final, _ = run_layers(cell, embedded, _below(parameters, "encoder.recurrent."))
    pooled = pool(kind, states, final, parameters.get("pooling.query"))
    logits: Array = parameters["head.weight"] @ pooled + parameters["head.bias"]
    return logits


def _weights(parameters: Mapping[str, Array], suffix: str) -> Weights:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return Weights(*(np.asarray(parameters[f"{kind}_{suffix}"], dtype=np.float64) for kind in kinds))


def _below(parameters: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The entries whose names begin with `prefix`, named by what follows it."""
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
