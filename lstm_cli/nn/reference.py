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
    cell: Cell, kind: PoolingKind, parameters: Mapping[str, Array], inputs: NDArray[np.int64] | Array
) -> Array:
    """Logits of one row without padding and without dropout: token ids (T,) or numbers (T, F) -> (C,).

    `parameters` is the state dict of an `lstm_cli.nn.TextClassifier` as NumPy arrays.
    """
    weight = parameters["encoder.embedding.weight"]
    embedded = (
        weight[inputs]
        if inputs.ndim == 1
        else _of_numbers(weight, parameters["encoder.embedding.bias"], np.asarray(inputs, np.float64))
    )
    states, final, _ = run_layers(cell, embedded, _below(parameters, "encoder.recurrent."))
    pooled = pool(kind, states, final, parameters.get("pooling.query"))
    logits: Array = parameters["head.weight"] @ pooled + parameters["head.bias"]
    return logits


def _of_numbers(weight: Array, bias: Array, inputs: Array) -> Array:
    """The vectors of steps or frames (T, S * F): by a linear layer (E, S * F), or by a convolution (E, F, K)."""
    if weight.ndim == 2:
        linear: Array = inputs @ weight.T + bias
        return linear
    num_features, kernel_size = weight.shape[1:]
    frames = inputs.reshape(len(inputs), -1, num_features)
    places = [
        np.tensordot(frames[:, at : at + kernel_size], weight, axes=([1, 2], [2, 1])) + bias
        for at in range(frames.shape[1] - kernel_size + 1)
    ]
    found: Array = np.maximum(np.max(places, axis=0), 0.0)
    return found


def forecast(cell: Cell, parameters: Mapping[str, Array], inputs: Array, known: Array) -> Array:
    """The output of an `lstm_cli.nn.forecaster.Forecaster` without dropout: (T, F), (H, K) -> (H, Q).

    `parameters` is its state dict as NumPy arrays.
    """
    embedded = inputs @ parameters["encoder.embedding.weight"].T + parameters["encoder.embedding.bias"]
    _, final, _ = run_layers(cell, embedded, _below(parameters, "encoder.recurrent."))
    state = parameters["state.weight"] @ final[-1] + parameters["state.bias"]
    hidden = np.maximum(state + known @ parameters["known.weight"].T + parameters["step"], 0.0)
    hidden = np.maximum(hidden @ parameters["mixed.weight"].T + parameters["mixed.bias"], 0.0)
    quantiles: Array = hidden @ parameters["head.weight"].T + parameters["head.bias"]
    return quantiles


def _weights(parameters: Mapping[str, Array], suffix: str) -> Weights:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return Weights(*(np.asarray(parameters[f"{kind}_{suffix}"], dtype=np.float64) for kind in kinds))


def _below(parameters: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The entries whose names begin with `prefix`, named by what follows it."""
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}


def tag(
    cell: Cell | None,
    parameters: Mapping[str, Array],
    legal: NDArray[np.bool_] | None,
    row: NDArray[np.int64],
    num_features: int,
) -> Array:
    """Probabilities of the tags of one sentence, without padding and without dropout: (T, 1 + A + W) int -> (T, K).

    `parameters` is the state dict of an `lstm_cli.nn.tagger.Tagger` as NumPy arrays, `cell` that of its layers, and
    `legal` (K + 1, K + 1) what its CRF allows, if it has one.
    """
    words, features, spelled = row[:, 0], row[:, 1 : 1 + num_features], row[:, 1 + num_features :]
    scores: Array | None = None
    if cell is not None:
        embedded = parameters["encoder.embedding.weight"][words]  # (T, E)
        if spelling := _below(parameters, "encoder.characters."):
            vectors = [_spelled(spelling, word[word != 0]) for word in spelled]
            embedded = np.concatenate([embedded, np.stack(vectors)], axis=1)
        states, *_ = run_layers(cell, embedded, _below(parameters, "encoder.recurrent."))
        scores = states @ parameters["head.weight"].T + parameters["head.bias"]
    if weights := _below(parameters, "features."):
        own = weights["own.weight"][features].sum(axis=1)
        scores = own if scores is None else scores + own
        for at, distance in enumerate((-2, -1, 1, 2)):
            beside = weights[f"beside.{at}.weight"]
            for step in range(len(words)):
                if 0 <= step + distance < len(words):
                    of_neighbour = features[step + distance, :2]
                    scores[step] += beside[of_neighbour[of_neighbour < len(beside)]].sum(axis=0)
    assert scores is not None, "a tagger has an encoder or features"
    return softmax(scores) if legal is None else _marginals(_below(parameters, "crf."), legal, scores)


def _spelled(parameters: Mapping[str, Array], characters: NDArray[np.int64]) -> Array:
    """The vector of one word: (W,) int ids without padding -> (C,)."""
    kernel, bias = parameters["convolution.weight"], parameters["convolution.bias"]  # (C, E, 3), (C,)
    if not len(characters):
        return np.zeros(len(bias))
    embedded = np.pad(parameters["embedding.weight"][characters], ((1, 1), (0, 0)))
    windows = np.stack([embedded[at : at + 3].T for at in range(len(characters))])  # (W, E, 3)
    vector: Array = (np.tensordot(windows, kernel, axes=([1, 2], [1, 2])) + bias).max(axis=0)
    return vector


def _marginals(parameters: Mapping[str, Array], legal: NDArray[np.bool_], scores: Array) -> Array:
    """The probability of each tag at each step under a CRF, by the products of forward and backward sums: -> (T, K)."""
    forbidden = np.where(legal, 0.0, -np.inf)
    start = parameters["start"] + forbidden[-1, :-1]
    between = parameters["transitions"] + forbidden[:-1, :-1]
    forward = [start + scores[0]]
    for emitted in scores[1:]:
        forward.append(np.logaddexp.reduce(forward[-1][:, None] + between, axis=0) + emitted)
    backward = [parameters["end"] + forbidden[:-1, -1]]
    for emitted in scores[:0:-1]:
        backward.append(np.logaddexp.reduce(between + emitted + backward[-1], axis=1))
    return softmax(np.stack(forward) + np.stack(backward[::-1]))
