"""Whether a trained model answers as it must: the same in any company and on any path, and as the reference does.

Every check holds probabilities that were had in two ways beside each other, in fp32. On one machine the two differ by
some 1e-7, which is rounding: sums are made in another order. 1e-5 is what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from lstm_cli.batch import Batch
from lstm_cli.data.batching import collate
from lstm_cli.data.store import EncodedRows, pack
from lstm_cli.data.text import text_row
from lstm_cli.nn import reference
from lstm_cli.nn.classifier import TextClassifier
from lstm_cli.nn.cpu import get_num_threads, set_num_threads
from lstm_cli.nn.recurrent import LayerPath
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.tasks import Classify, Outputs

TOLERANCE = 1e-5
_MOST_TOKENS = 8_000
_REFERENCE_TEXTS = 6
_REFERENCE_TOKENS = 400
"""With 128 units in two directions all of it takes 1.0 s on one core, of which the reference, in NumPy, 0.1 s."""
_PATHS: tuple[LayerPath, ...] = ("packed", "split")


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared, and how it came out. `difference` is the largest of any probability, where there is one."""

    name: str
    compared: str
    result: Literal["ok", "FAILED", "skipped"]
    difference: float | None = None
    note: str = ""


def checks(task: Classify, model: TextClassifier, texts: Sequence[str], runtime: Runtime) -> Iterator[Check]:
    """Every promise about a model's answers, held on these texts, of which some may be left out to save time.

    The model must be in eval mode; it and the number of threads are left as they were.
    """
    rows = _within(task.encode_window([text_row(text) for text in texts]), _MOST_TOKENS)
    texts = texts[: len(rows.tokens)]
    given = predicted(task, model, texts, runtime)
    num = f"{len(texts)} texts"

    def run(rows: EncodedRows, size: int, padding: int = 0) -> Outputs:
        return _outputs(task, model, rows, runtime, size, padding)

    yield compare("batch size", f"{num} by 1, 2 and 7", [given] * 3, [run(rows, n) for n in (1, 2, 7)])
    order = np.random.default_rng(0).permutation(len(texts))
    yield compare("order", f"{num} shuffled, by 7", [given[order]], [run(rows.select(order), 7)])
    yield compare("neighbours", f"{num} beside strangers", [given], [_among_strangers(run, rows, task)])
    yield compare("padding", f"{num}, 1 and 40 steps more", [given] * 2, [run(rows, 7, n) for n in (1, 40)])
    yield _threads(lambda: run(rows, 7), given, runtime)
    yield _paths(lambda: run(rows, 7), given, model)
    yield _reference(task, model, rows, lambda few: run(few, len(few.tokens)))


def predicted(task: Classify, model: TextClassifier, texts: Sequence[str], runtime: Runtime) -> Outputs:
    """(N, C) probabilities, as `lstmcls predict` computes them."""
    rows = [text_row(text) for text in texts]
    return np.stack(
        [row.output for row in predict_rows(model, task, rows, runtime) if row.output is not None]
    )


def compare(
    name: str, compared: str, given: Sequence[Outputs], again: Sequence[Outputs], tolerance: float = TOLERANCE
) -> Check:
    """ok where no probability differs by more than `tolerance` and all are finite."""
    difference = float(np.max([np.abs(one - other).max() for one, other in zip(given, again, strict=True)]))
    if difference <= tolerance:
        return Check(name, compared, "ok", difference)
    if np.isnan(difference):
        return Check(name, compared, "FAILED", None, "a probability is NaN")
    return Check(
        name, compared, "FAILED", difference, f"differs by {difference:.1e}, allowed is {tolerance:.0e}"
    )


def _within(rows: EncodedRows, most: int) -> EncodedRows:
    """The first of these rows, as many as have `most` tokens together, but at least one."""
    num_rows = int(np.searchsorted(np.cumsum([len(row) for row in rows.tokens]), most, side="right"))
    return rows.select(np.arange(max(1, num_rows)))


@torch.inference_mode()
def _outputs(
    task: Classify,
    model: TextClassifier,
    rows: EncodedRows,
    runtime: Runtime,
    size: int,
    padding: int = 0,
) -> Outputs:
    """(N, C) in batches of `size`, in this order; in `padding` more steps than are needed every id is the last one."""
    store = pack(rows)
    parts = []
    for start in range(0, len(store), size):
        batch = collate(store, np.arange(start, min(start + size, len(store))))
        if padding:
            batch = _padded(batch, padding, task.tokenizer.vocab_size - 1)
        parts.append(task.outputs(model, batch.to(runtime.device)).numpy())
    return np.concatenate(parts)


def _padded(batch: Batch, padding: int, fill: int) -> Batch:
    inputs = torch.nn.functional.pad(batch.inputs, (0, padding))
    inputs = inputs.masked_fill(torch.arange(inputs.shape[1]) >= batch.lengths.unsqueeze(1), fill)
    return replace(batch, inputs=inputs)


def _among_strangers(
    run: Callable[[EncodedRows, int], Outputs], rows: EncodedRows, task: Classify
) -> Outputs:
    """Each row beside one of random ids and of random length, eight in a batch."""
    rng = np.random.default_rng(1)
    longest = max(len(row) for row in rows.tokens)
    twice = rows.select(np.repeat(np.arange(len(rows.tokens)), 2))
    for stranger in range(1, len(twice.tokens), 2):
        length = int(rng.integers(1, longest + 1))
        twice.tokens[stranger] = rng.integers(1, task.tokenizer.vocab_size, length, np.int32)
    return run(twice, 8)[::2]


def _threads(run: Callable[[], Outputs], given: Outputs, runtime: Runtime) -> Check:
    if runtime.device.type != "cpu":
        return Check("threads", "", "skipped", note=f"the model runs on {runtime.device.type}")
    before, again = get_num_threads(), []
    try:
        for number in (1, 2, 4):
            set_num_threads(number)
            again.append(run())
    finally:
        set_num_threads(before)
    return compare("threads", f"{len(given)} texts on 1, 2 and 4", [given] * 3, again)


def _paths(run: Callable[[], Outputs], given: Outputs, model: TextClassifier) -> Check:
    recurrent, again = model.encoder.recurrent, []
    before = recurrent.path
    try:
        for path in _PATHS:
            recurrent.path = path
            again.append(run())
    finally:
        recurrent.path = before
    return compare("path", f"{len(given)} texts {' and '.join(_PATHS)}", [given] * 2, again)


def _reference(
    task: Classify, model: TextClassifier, rows: EncodedRows, run: Callable[[EncodedRows], Outputs]
) -> Check:
    """The weights as they are, in NumPy and float64, a step at a time."""
    by_length = np.argsort([len(row) for row in rows.tokens], kind="stable")
    chosen = np.unique(np.linspace(0, len(by_length) - 1, _REFERENCE_TEXTS).astype(int))
    few = rows.select(by_length[chosen])
    few = replace(few, tokens=[row[:_REFERENCE_TOKENS] for row in few.tokens])
    weights = {name: value.double().cpu().numpy() for name, value in model.state_dict().items()}
    cell, pooling = task.config.encoder.cell, task.config.pooling
    logits = np.stack(
        [reference.classify(cell, pooling, weights, row.astype(np.int64)) for row in few.tokens]
    )
    beside = few.side_logits if few.side_logits is not None else np.zeros_like(logits)
    network_scale, beside_scale = weights["scales"]
    expected = reference.softmax(network_scale * logits + beside_scale * beside)
    compared = f"{len(logits)} texts of up to {_REFERENCE_TOKENS} tokens"
    return compare("NumPy reference", compared, [expected], [run(few)])
