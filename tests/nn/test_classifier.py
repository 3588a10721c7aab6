from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.encoders import TokenEncoder
from lstm_cli.nn.masks import reverse_index
from lstm_cli.nn.pooling import PoolingKind, build_pooling
from lstm_cli.nn.recurrent import Cell, LayerPath

CELLS: tuple[Cell, ...] = get_args(Cell)
KINDS: tuple[PoolingKind, ...] = get_args(PoolingKind)
PATHS: tuple[LayerPath, ...] = ("packed", "split")
VOCAB, CLASSES = 20, 3
LENGTHS = torch.tensor([6, 1, 4, 6])
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
EVERY_CELL_AND_KIND = pytest.mark.parametrize(("cell", "kind"), list(product(CELLS, KINDS)))
EVERY_PATH = pytest.mark.parametrize("path", PATHS)


def make(
    cell: Cell = "lstm", kind: PoolingKind = "final", head_dropout: float = 0.0, **options: Any
) -> TextClassifier:
    torch.manual_seed(0)
    options = {"num_layers": 2, "bidirectional": True, **options}
    encoder = TokenEncoder(VOCAB, 6, cell, 5, **options)
    pooling = build_pooling(kind, encoder.output_size, options["num_layers"])
    model = TextClassifier(encoder, pooling, CLASSES, head_dropout).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # so that no query and no bias is zero
            if name != "encoder.embedding.weight":
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def texts() -> Tensor:
    """(4, 8) ids with two steps of padding beyond the longest row."""
    inputs = torch.randint(2, VOCAB, (4, 8), generator=torch.Generator().manual_seed(3))
    return inputs.masked_fill(torch.arange(8) >= LENGTHS.unsqueeze(1), 0)


@EVERY_PATH
@EVERY_CELL_AND_KIND
def test_a_text_has_the_same_logits_alone_and_in_any_batch(
    cell: Cell, kind: PoolingKind, path: LayerPath
) -> None:
    model, inputs = make(cell, kind, path=path), texts()
    together = model(inputs, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(inputs[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-12, rtol=0.0)


@EVERY_PATH
@EVERY_KIND
def test_the_order_of_a_batch_does_not_matter(kind: PoolingKind, path: LayerPath) -> None:
    model, inputs = make("lstm", kind, path=path), texts()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = model(inputs[order], LENGTHS[order])
    torch.testing.assert_close(shuffled, model(inputs, LENGTHS)[order], atol=1e-12, rtol=0.0)


@EVERY_PATH
@EVERY_KIND
def test_ids_in_the_padding_change_no_logits(kind: PoolingKind, path: LayerPath) -> None:
    model, inputs = make("lstm", kind, path=path), texts()
    garbage = inputs.masked_fill(torch.arange(8) >= LENGTHS.unsqueeze(1), VOCAB - 1)
    assert torch.equal(model(inputs, LENGTHS), model(garbage, LENGTHS))


@EVERY_PATH
@EVERY_CELL_AND_KIND
def test_every_parameter_gets_a_gradient(cell: Cell, kind: PoolingKind, path: LayerPath) -> None:
    model = make(cell, kind, path=path)
    loss = functional.cross_entropy(model(texts(), LENGTHS), torch.tensor([0, 1, 2, 1]))
    torch.autograd.backward(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        if not name.startswith("encoder.embedding"):
            assert parameter.grad.reshape(len(parameter), -1).any(dim=1).all(), name  # every gate of it


@EVERY_KIND
def test_the_logits_depend_on_the_order_of_the_words(kind: PoolingKind) -> None:
    model, inputs = make("lstm", kind), texts()
    index = reverse_index(LENGTHS, 8, inputs.device)
    changed = (model(inputs, LENGTHS) - model(inputs.gather(1, index), LENGTHS)).abs().amax(dim=1)
    assert (changed[LENGTHS > 1] > 1e-4).all()
    assert changed[1] < 1e-12  # the text of one word


def test_each_direction_reads_from_its_own_end() -> None:
    """With both directions' weights alike a reversed text only swaps the halves of its final state."""
    model = make(num_layers=1, path="split")
    recurrent, state = model.encoder.recurrent, model.encoder.recurrent.state_dict()
    recurrent.load_state_dict({name: state[name.removesuffix("_reverse")] for name in state})
    inputs = texts()
    index = reverse_index(LENGTHS, 8, inputs.device)
    forward, backward = model.encoder(inputs, LENGTHS).final[:, 0].chunk(2, dim=-1)
    swapped = torch.cat([backward, forward], dim=-1)
    reversed_final = model.encoder(inputs.gather(1, index), LENGTHS).final[:, 0]
    torch.testing.assert_close(reversed_final, swapped, atol=1e-12, rtol=0.0)
    assert ((forward - backward).abs().amax(dim=-1)[LENGTHS > 1] > 1e-3).all()


@EVERY_PATH
@pytest.mark.parametrize("noise", ["head_dropout", "dropout", "embedding_dropout", "word_dropout"])
def test_train_turns_dropout_on_and_eval_turns_it_off(noise: str, path: LayerPath) -> None:
    options: dict[str, Any] = {noise: 0.5, "path": path}
    model, inputs = make(**options), texts()
    assert not torch.equal(model.train()(inputs, LENGTHS), model(inputs, LENGTHS))
    evaluated = model.eval()(inputs, LENGTHS)
    assert torch.equal(evaluated, model(inputs, LENGTHS))
    assert torch.equal(evaluated, make(path=path)(inputs, LENGTHS))


@EVERY_PATH
@pytest.mark.parametrize("noise", ["head_dropout", "dropout", "embedding_dropout", "word_dropout"])
def test_the_state_of_the_generator_decides_what_is_dropped(noise: str, path: LayerPath) -> None:
    options: dict[str, Any] = {noise: 0.5, "path": path}
    model, inputs = make(**options).train(), texts()

    def logits(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return [model(inputs, LENGTHS), model(inputs, LENGTHS)]

    first, second = logits(1)
    assert all(torch.equal(one, other) for one, other in zip(logits(1), (first, second), strict=True))
    assert not torch.equal(first, second)
    assert not any(torch.equal(one, other) for one in logits(2) for other in (first, second))


@EVERY_CELL_AND_KIND
def test_ten_texts_are_learned_exactly(cell: Cell, kind: PoolingKind) -> None:
    torch.manual_seed(1)
    lengths = torch.randint(3, 8, (10,))
    inputs = torch.randint(2, VOCAB, (10, 8)).masked_fill(torch.arange(8) >= lengths.unsqueeze(1), 0)
    targets = torch.arange(10) % CLASSES
    encoder = TokenEncoder(VOCAB, 8, cell, 8)
    model = TextClassifier(encoder, build_pooling(kind, encoder.output_size, 1), CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs, lengths), targets)
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < 0.05
    assert torch.equal(model(inputs, lengths).argmax(dim=-1), targets)


def test_probabilities_are_float64_on_the_cpu_and_every_value_of_the_calibration_counts() -> None:
    model, logits, features = make().float(), torch.randn(4, CLASSES), torch.randn(4, CLASSES)
    model.scales.copy_(torch.tensor([0.5, 2.0]))
    first, second = 0.5 * logits.double(), 2.0 * features.double()
    assert torch.equal(model.probs(logits, features), (first + second).softmax(dim=1))
    alone = model.probs(logits, features[:, :0])
    assert torch.equal(alone, first.softmax(dim=1))
    assert (alone.dtype, alone.device.type) == (torch.float64, "cpu")
    model.uniform.fill_(0.25)
    expected = (first + second).softmax(dim=1) * 0.75 + 0.25 / CLASSES
    assert torch.allclose(model.probs(logits, features), expected, atol=1e-15)


def test_the_state_of_an_older_model_without_a_value_means_what_it_did() -> None:
    model, logits, features = make().float(), torch.randn(4, CLASSES), torch.randn(4, CLASSES)
    older = {name: value for name, value in model.state_dict().items() if name != "uniform"}
    older["scales"] = torch.tensor([0.5, 2.0])
    model.uniform.fill_(0.25)
    model.load_state_dict(older)
    expected = (0.5 * logits.double() + 2.0 * features.double()).softmax(dim=1)
    assert torch.equal(model.probs(logits, features), expected)


@EVERY_CELL_AND_KIND
def test_the_stages_parameters_sum_to_the_models(cell: Cell, kind: PoolingKind) -> None:
    model = make(cell, kind)
    assert sum(stage.parameters for stage in model.stages()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_the_stages_gates_are_the_rows_of_the_recurrent_weights(
    cell: Cell, bidirectional: bool, num_layers: int
) -> None:
    model = make(cell, num_layers=num_layers, bidirectional=bidirectional)
    rows = sum(len(value) for name, value in model.named_parameters() if "weight_hh" in name)
    assert sum(stage.gates for stage in model.stages()) == rows


def test_the_stages_shapes_are_those_of_the_models_tensors() -> None:
    model, inputs = make("gru", "mean+max"), texts()
    shapes = [stage.shape for stage in model.stages("4", "8")]
    encoded = model.encoder(inputs, LENGTHS)
    made = [model.encoder.embedding(inputs), encoded.states, encoded.states]
    made += [model.pooling(encoded, LENGTHS), model(inputs, LENGTHS)]
    assert shapes == [str(tuple(tensor.shape)) for tensor in made]
    names = [
        "embedding",
        "bidirectional gru layer 1",
        "bidirectional gru layer 2",
        "mean+max pooling",
        "head",
    ]
    assert [stage.name for stage in model.stages()] == names


def test_pooling_and_head_stay_in_full_precision_where_the_layers_do_not() -> None:
    model = TextClassifier(TokenEncoder(20, 8, "gru", 8), build_pooling("mean", 16, 1), num_classes=3)
    seen: list[torch.dtype] = []
    # bf16 by hand: a CPU whose oneDNN has none runs no layer in it, and torch's own loops leave its outputs in fp32
    model.encoder.recurrent.register_forward_hook(
        lambda _module, _given, made: replace(
            made, states=made.states.bfloat16(), final=made.final.bfloat16()
        )
    )
    model.pooling.register_forward_hook(lambda _module, given, _made: seen.append(given[0].states.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randint(1, 20, (2, 5)), torch.tensor([5, 3]))
    assert [*seen, logits.dtype] == [torch.float32] * 2
