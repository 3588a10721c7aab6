"""The network of a classifier as an ONNX graph, written node by node from its weights.

It is not traced, so batch and time stay dynamic and padding never counts: the recurrent operators get the lengths of
the rows, and the poolings mask the padding. Inputs and outputs:

    tokens (B, T) int64, lengths (B,) int32  ->  logits (B, C)

A network that reads forward only also takes and returns its state, so that a text can be read in pieces:
`initial_h` and, for an LSTM, `initial_c` (L, B, H) -> `final_h` and `final_c` (L, B, H).

ONNX orders the gates of an LSTM input, output, forget, cell (torch: input, forget, cell, output), and those of a GRU
update, reset, new (torch: reset, update, new). `linear_before_reset=1`: as in torch, the reset gate multiplies the
product of weights and state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstm_cli.arrays import AnyArray, Float32
from lstm_cli.export.quantise import quantised
from lstm_cli.nn.pooling import PoolingKind
from lstm_cli.nn.recurrent import Cell

OPSET, IR_VERSION = 17, 8
"""onnxruntime reads both since 1.12. Newer operator sets have nothing that the graph needs."""
_MICROSOFT = "com.microsoft"
_OPERATORS: dict[Cell, str] = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_GATES: dict[Cell, tuple[int, ...]] = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""For each gate of ONNX, its place in torch."""
_BITS_OF_PRODUCTS = 7
"""CPUs without VNNI add pairs of products in 16 bits. With 7 bits no sum overflows, so all x86 CPUs agree."""
_MAX_BYTES = 1_900_000_000
"""A protocol buffer holds at most 2 GB."""


class TooLarge(ValueError):  # noqa: N818 - the command names the run
    """The weights do not fit into one ONNX file."""


@dataclass(slots=True)
class _Graph:
    """Nodes and constants in the order of computation. Every value is named after what it is."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: AnyArray) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **options: Any) -> str:
        """Add a node with one output and return the output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, domain=domain, **options))
        return output


def classifier_graph(
    cell: Cell, pooling: PoolingKind, weights: Mapping[str, Float32], *, int8: bool = False
) -> bytes:
    """The ONNX file of the `TextClassifier` with this state dict. Dropout is left out: it acts in training only.

    With `int8` the embedding and the recurrent weights are stored as whole numbers with a scale per row. An LSTM also
    multiplies them as such, with states that are rounded to 8 bits. onnxruntime has no such operator for GRU and RNN;
    their weights become fp32 when the file is loaded.

    Raises:
        TooLarge: the weights do not fit into one file.
    """
    if sum(value.nbytes for value in weights.values()) > _MAX_BYTES * (4 if int8 else 1):
        raise TooLarge
    graph = _Graph()
    recurrent = _below(weights, "encoder.recurrent.")
    suffixes = ("", "_reverse") if "weight_ih_l0_reverse" in recurrent else ("",)
    num_layers = len(recurrent) // (4 * len(suffixes))
    state_names = ("h", "c") if cell == "lstm" else ("h",)
    streams = len(suffixes) == 1
    graph.add("Transpose", ["tokens"], "steps", perm=[1, 0])  # (T, B): the operators read time first
    x = _embedding(graph, weights["encoder.embedding.weight"], int8)
    finals: list[dict[str, str]] = []
    for layer in range(num_layers):
        parameters = [
            [recurrent[f"{kind}_l{layer}{suffix}"] for suffix in suffixes]
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        x, final = _layer(graph, cell, layer, x, parameters, state_names if streams else (), int8=int8)
        finals.append(final)
    outputs = []
    if streams:
        for name in state_names:
            states = [final[name] for final in finals]
            outputs.append(graph.add("Concat", states, f"final_{name}", axis=0))  # (L, B, H)
    pooled = _pool(graph, pooling, x, [final["h"] for final in finals], weights)
    head = [graph.constant(name, weights[name]) for name in ("head.weight", "head.bias")]
    graph.add("Gemm", [pooled, *head], "logits", transB=1)
    hidden_size = recurrent["weight_hh_l0"].shape[1]
    state_shape = [num_layers, "B", hidden_size]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "T"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
    ]
    if streams:
        inputs += [
            helper.make_tensor_value_info(f"initial_{name}", TensorProto.FLOAT, state_shape)
            for name in state_names
        ]
    results = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", len(weights["head.bias"])]),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, state_shape) for name in outputs),
    ]
    return _file(graph, inputs, results, int8=int8 and cell == "lstm")


def _file(graph: _Graph, inputs: Sequence[Any], outputs: Sequence[Any], *, int8: bool) -> bytes:
    domains = [helper.make_opsetid("", OPSET)]
    domains += [helper.make_opsetid(_MICROSOFT, 1)] if int8 else []
    model = helper.make_model(
        helper.make_graph(graph.nodes, "classifier", inputs, outputs, graph.constants),
        opset_imports=domains,
        ir_version=IR_VERSION,
        producer_name="lstmcls",
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    if len(content) > _MAX_BYTES:
        raise TooLarge
    return content


def _embedding(graph: _Graph, weight: Float32, int8: bool) -> str:
    """The vectors of the steps: (T, B) -> (T, B, E)."""
    if not int8:
        return graph.add("Gather", [graph.constant("embedding", weight), "steps"], "embedded")
    rows, scales = quantised(weight, axes=(1,))
    graph.add("Gather", [graph.constant("embedding", rows), "steps"], "embedded.int8")
    graph.add("Cast", ["embedded.int8"], "embedded.whole", to=TensorProto.FLOAT)
    graph.add("Gather", [graph.constant("embedding.scale", scales), "steps"], "embedded.scale")  # (T, B, 1)
    return graph.add("Mul", ["embedded.whole", "embedded.scale"], "embedded")


def _layer(
    graph: _Graph,
    cell: Cell,
    layer: int,
    x: str,
    parameters: Sequence[Sequence[Float32]],
    state_names: Sequence[str],
    *,
    int8: bool,
) -> tuple[str, dict[str, str]]:
    """One recurrent layer: (T, B, I) -> the states (T, B, D*H), and by name the final ones (D, B, H).

    `parameters` are torch's four kinds, each for D directions. `state_names`: the layer starts from its part of the
    inputs `initial_…`; without any it starts from zero.
    """
    name = f"layer{layer}"
    w_ih, w_hh, b_ih, b_hh = (
        np.stack([_by_onnx(cell, parameter) for parameter in directions]) for directions in parameters
    )
    bias = graph.constant(f"{name}.bias", np.concatenate([b_ih, b_hh], axis=1))  # (D, 2*G*H)
    initial = []
    for state in state_names:
        place = graph.constant(f"{name}.at.{state}", np.array([layer], np.int64))
        initial.append(graph.add("Gather", [f"initial_{state}", place], f"{name}.initial_{state}", axis=0))
    options: dict[str, Any] = {
        "hidden_size": w_hh.shape[2],
        "direction": "bidirectional" if len(w_hh) == 2 else "forward",
    }
    outputs = [f"{name}.states", f"{name}.final_h"]
    final = {"h": f"{name}.final_h"}
    if cell == "lstm":
        outputs.append(f"{name}.final_c")
        final["c"] = f"{name}.final_c"
    if cell == "gru":
        options["linear_before_reset"] = 1
    if int8 and cell == "lstm":
        operator, domain = "DynamicQuantizeLSTM", _MICROSOFT
        w, *w_scale = _transposed_int8(graph, f"{name}.w_ih", w_ih)
        r, *r_scale = _transposed_int8(graph, f"{name}.w_hh", w_hh)
        inputs = [x, w, r, bias, "lengths", *(initial or ("", "")), "", *w_scale, *r_scale]
    else:
        operator, domain = _OPERATORS[cell], ""
        w, r = (
            _dequantised(graph, f"{name}.{kind}", value) if int8 else graph.constant(f"{name}.{kind}", value)
            for kind, value in (("w_ih", w_ih), ("w_hh", w_hh))
        )
        inputs = [x, w, r, bias, "lengths", *initial]
    graph.nodes.append(helper.make_node(operator, inputs, outputs, name, domain=domain, **options))
    swapped = graph.add("Transpose", [outputs[0]], f"{name}.by_row", perm=[0, 2, 1, 3])  # (T, B, D, H)
    shape = graph.constant(f"{name}.shape", np.array([0, 0, -1], np.int64))
    return graph.add("Reshape", [swapped, shape], f"{name}.output"), final


def _by_onnx(cell: Cell, parameter: Float32) -> Float32:
    """(G*H, …) with the gates in the order of ONNX."""
    gates = np.split(parameter, len(_GATES[cell]))
    ordered: Float32 = np.concatenate([gates[i] for i in _GATES[cell]])
    return ordered


def _transposed_int8(graph: _Graph, name: str, weight: Float32) -> tuple[str, str, str]:
    """The weights (D, G*H, I) as DynamicQuantizeLSTM reads them: (D, I, G*H), scales and zero points (D, G*H)."""
    whole, scale = quantised(weight.transpose(0, 2, 1), axes=(1,), bits=_BITS_OF_PRODUCTS)
    return (
        graph.constant(name, whole),
        graph.constant(f"{name}.scale", scale[:, 0]),
        graph.constant(f"{name}.zero", np.zeros(scale[:, 0].shape, np.int8)),
    )


def _dequantised(graph: _Graph, name: str, weight: Float32) -> str:
    """The weights (D, G*H, I), stored as int8 with a scale per unit of a gate."""
    whole, scale = quantised(weight.reshape(-1, weight.shape[2]), axes=(1,))
    stored = [graph.constant(f"{name}.int8", whole), graph.constant(f"{name}.scale", scale[:, 0])]
    flat = graph.add("DequantizeLinear", stored, f"{name}.flat", axis=0)
    shape = graph.constant(f"{name}.shape", np.array(weight.shape, np.int64))
    return graph.add("Reshape", [flat, shape], name)


def _pool(
    graph: _Graph, kind: PoolingKind, states: str, final: Sequence[str], weights: Mapping[str, Float32]
) -> str:
    """One vector for each row: states (T, B, D*H), the layers' final states (D, B, H) -> (B, P)."""
    match kind:
        case "final":
            return _joined_directions(graph, final[-1], "pooled")
        case "final-all-layers":
            joined = [_joined_directions(graph, one, f"{one}.by_row") for one in final]
            return graph.add("Concat", joined, "pooled", axis=1)
        case "mean":
            return _mean(graph, states, "pooled")
        case "max":
            return _max(graph, states, "pooled")
        case "mean+max":
            halves = [_mean(graph, states, "pooled.mean"), _max(graph, states, "pooled.max")]
            return graph.add("Concat", halves, "pooled", axis=1)
        case "attention":
            query = graph.constant("pooling.query", weights["pooling.query"][:, None])
            scores = graph.add("MatMul", [states, query], "attention.all_scores")  # (T, B, 1)
            real = graph.add("Where", [_mask(graph), scores, _minus_infinity(graph)], "attention.scores")
            softmax = graph.add("Softmax", [real], "attention.weights", axis=0)
            return _sum_over_time(graph, graph.add("Mul", [states, softmax], "attention.weighted"), "pooled")
        case _:
            assert_never(kind)


def _joined_directions(graph: _Graph, final: str, output: str) -> str:
    """(D, B, H) -> (B, D*H)."""
    swapped = graph.add("Transpose", [final], f"{output}.swapped", perm=[1, 0, 2])
    shape = graph.constant(f"{output}.shape", np.array([0, -1], np.int64))
    return graph.add("Reshape", [swapped, shape], output)


def _mean(graph: _Graph, states: str, output: str) -> str:
    zero = graph.constant("mean.zero", np.zeros((), np.float32))
    real = graph.add("Where", [_mask(graph), states, zero], "mean.states")
    total = _sum_over_time(graph, real, "mean.total")
    lengths = graph.add("Cast", ["lengths"], "mean.lengths", to=TensorProto.FLOAT)
    last = graph.constant("mean.last", np.array([1], np.int64))
    return graph.add("Div", [total, graph.add("Unsqueeze", [lengths, last], "mean.count")], output)


def _max(graph: _Graph, states: str, output: str) -> str:
    real = graph.add("Where", [_mask(graph), states, _minus_infinity(graph)], "max.states")
    return graph.add("ReduceMax", [real], output, axes=[0], keepdims=0)


def _sum_over_time(graph: _Graph, states: str, output: str) -> str:
    axis = graph.constant(f"{output}.axis", np.array([0], np.int64))
    return graph.add("ReduceSum", [states, axis], output, keepdims=0)


def _minus_infinity(graph: _Graph) -> str:
    if not any(one.name == "minus_infinity" for one in graph.constants):
        graph.constant("minus_infinity", np.array(-np.inf, np.float32))
    return "minus_infinity"


def _mask(graph: _Graph) -> str:
    """(T, B, 1), True where a step is real."""
    if any(node.output[0] == "real" for node in graph.nodes):
        return "real"
    shape = graph.add("Shape", ["tokens"], "shape")
    at = graph.constant("shape.time", np.array(1, np.int64))
    num_steps = graph.add("Gather", [shape, at], "num_steps")
    bounds = [
        graph.constant(f"time.{name}", np.array(i, np.int64)) for i, name in enumerate(("from", "step"))
    ]
    steps = graph.add("Range", [bounds[0], num_steps, bounds[1]], "time")
    lengths = graph.add("Cast", ["lengths"], "lengths.int64", to=TensorProto.INT64)
    axes = [
        graph.constant("time.axes", np.array([1, 2], np.int64)),
        graph.constant("lengths.axes", np.array([0, 2], np.int64)),
    ]
    times = graph.add("Unsqueeze", [steps, axes[0]], "times")  # (T, 1, 1)
    ends = graph.add("Unsqueeze", [lengths, axes[1]], "ends")  # (1, B, 1)
    return graph.add("Less", [times, ends], "real")


def _below(weights: Mapping[str, Float32], prefix: str) -> dict[str, Float32]:
    """The entries whose names begin with `prefix`, named by what follows it."""
    return {
        name.removeprefix(prefix): np.asarray(value, np.float32)
        for name, value in weights.items()
        if name.startswith(prefix)
    }
