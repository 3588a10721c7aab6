"""What an ONNX file computes, read without the `onnx` package: only what `lstmcls export` writes is run.

A file is a protocol buffer: fields of a number, a type and a content, some of which are messages of fields again. The
numbers are those of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator

_LAYERS = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "DequantizeLinear", "Gather", "Gemm"}
_ARITHMETIC = {"MatMul", "Softmax", "Mul", "Div", "ReduceMax", "ReduceSum", "Less", "Where", "Range", "Cast"}
_SHAPES = {"Shape", "Reshape", "Transpose", "Unsqueeze", "Concat"}
OPERATORS = frozenset(_LAYERS | _ARITHMETIC | _SHAPES)
_GRAPH, _OF_THE_MODEL = 7, {1, 2, 3, 4, 5, 6, 7, 8, 14}
_NODE, _CONSTANT, _OF_THE_GRAPH = 1, 5, {1, 2, 5, 10, 11, 12, 13}
_OPERATOR, _ATTRIBUTE = 4, 5
_TENSORS_AND_GRAPHS = {5, 6, 10, 11, 14, 15, 22, 23}
"""Kinds of attributes that hold a tensor or a graph."""
_ELSEWHERE = {13, 14}
"""Fields of a tensor whose values lie in another file."""


def fault_of(content: bytes) -> str | None:
    """Why this ONNX file is not one that `lstmcls export` writes, or None.

    It may have no operator but `OPERATORS`, so no loop and no call, no graph inside a node, and no weight in another
    file.
    """
    try:
        view = memoryview(content)
        for number, value in _fields(view):
            if number not in _OF_THE_MODEL:
                return f"it has the field {number}"
            if number == _GRAPH and (fault := _fault_of_graph(_message(value))):
                return fault
    except (ValueError, IndexError) as fault:
        return f"it is not an ONNX file ({fault})"
    return None


def _fault_of_graph(graph: memoryview) -> str | None:
    for number, value in _fields(graph):
        if number not in _OF_THE_GRAPH:
            return f"its graph has the field {number}"
        if number == _CONSTANT and any(inside in _ELSEWHERE for inside, _ in _fields(_message(value))):
            return "a weight lies in another file"
        if number == _NODE and (fault := _fault_of_node(_message(value))):
            return fault
    return None


def _fault_of_node(node: memoryview) -> str | None:
    for number, value in _fields(node):
        if (
            number == _OPERATOR
            and (name := bytes(_message(value)).decode("utf-8", "replace")) not in OPERATORS
        ):
            return f"the operator {name!r:.100} is none that an export has"
        if number == _ATTRIBUTE and any(
            inside in _TENSORS_AND_GRAPHS for inside, _ in _fields(_message(value))
        ):
            return "an attribute holds a tensor or a graph"
    return None


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The number and the content of each field."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value: memoryview | int
        match key & 7:
            case 0:
                value, at = _varint(message, at)
            case 1 | 5 as kind:
                size = 8 if kind == 1 else 4
                value, at = message[at : at + size], at + size
            case 2:
                size, at = _varint(message, at)
                value, at = message[at : at + size], at + size
            case kind:
                raise ValueError(f"a field of type {kind}")
        if at > len(message):
            raise ValueError("a field is longer than its message")
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits per byte, and where the next field begins."""
    value = 0
    for i in range(10):
        byte = message[at + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise ValueError("a number of more than 10 bytes")
