"""Only the operators of an export are run, and no file besides it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lstm_cli.export.graph import classifier_graph
from lstm_cli.exported.operators import fault_of
from tests.export.test_graph import CELLS, POOLINGS, model


def exported(cell: Any = "lstm", pooling: Any = "max", *, both: bool = True, int8: bool = False) -> bytes:
    made = model(cell, 2, both, pooling)
    return classifier_graph(
        cell, pooling, {name: v.numpy() for name, v in made.state_dict().items()}, int8=int8
    )


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_export_is_accepted(cell: Any, pooling: Any, int8: bool) -> None:
    for both in (True, False):
        assert fault_of(exported(cell, pooling, both=both, int8=int8)) is None


EXPORTED = exported()


def other_operator(network: Any) -> None:
    network.graph.node.append(helper.make_node("Loop", ["a"], ["b"]))


def graph_in_a_node(network: Any) -> None:
    inner = helper.make_graph([], "inner", [], [])
    network.graph.node.append(helper.make_node("Cast", ["a"], ["b"], body=inner))


def weights_elsewhere(network: Any) -> None:
    tensor = network.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def function(network: Any) -> None:
    network.functions.add(name="Gather")


def sparse(network: Any) -> None:
    network.graph.sparse_initializer.add()


@pytest.mark.parametrize("change", [other_operator, graph_in_a_node, weights_elsewhere, function, sparse])
def test_another_graph_is_refused(change: Callable[[Any], None]) -> None:
    network = onnx.load_model_from_string(EXPORTED)
    change(network)
    assert fault_of(network.SerializeToString()) is not None


@given(st.binary(max_size=60))
def test_no_bytes_end_in_an_exception(content: bytes) -> None:
    fault_of(content)
    fault_of(EXPORTED[: len(EXPORTED) // 2] + content)
