"""Checks that a model's outputs do not depend on the batch or the implementation, and agree with the NumPy reference.

Every check compares outputs that were computed in two ways, in fp32. On one machine they differ by about 1e-7, because
sums are computed in another order. The promised tolerance is 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from lstm_cli.arrays import Int64, Ragged
from lstm_cli.batch import Batch
from lstm_cli.data.batching import collate
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.nn.cpu import get_num_threads, set_num_threads
from lstm_cli.nn.recurrent import LayerPath
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.abilities import verifiable
from lstm_cli.scoring.comparison import Check, compare
from lstm_cli.scoring.prediction import CollectedOutputs, predict_rows
from lstm_cli.tasks.base import Outputs, Task, Verifiable

_MOST_STEPS = 8_000
_REFERENCE_ROWS = 6
_REFERENCE_STEPS = 400
"""With 128 units in two directions all checks take 1.0 s on one core, of which the NumPy reference takes 0.1 s."""
_PATHS: tuple[LayerPath, ...] = ("packed", "split")


Run = Callable[..., Outputs]


def checks(task: Task, model: nn.Module, rows: Sequence[Row[Any]], runtime: Runtime) -> Iterator[Check]:
    """Run every check of a model's outputs on these rows, or on the first of them if there are many.

    The model must be in eval mode. The path of its layers and the number of threads are restored after each check.
    """
    store = _within(task.encode_window(rows), _MOST_STEPS)
    given = predicted(task, model, rows[: len(store)], runtime)
    ability = verifiable(task)
    num = f"{len(store)} rows"

    def run(store: Store, size: int, padding: int = 0) -> Outputs:
        return _outputs(task, model, store, runtime, size, padding, ability)

    yield compare("batch size", f"{num} by 1, 2 and 7", [given] * 3, [run(store, n) for n in (1, 2, 7)])
    order = np.random.default_rng(0).permutation(len(store))
    yield compare("order", f"{num} shuffled, by 7", [_select(given, order)], [run(store.select(order), 7)])
    if ability:
        mixed = _among_random_rows(run, store, ability)
        yield compare("neighbours", f"{num} in batches with random rows", [given], [mixed])
        padded = [run(store, 7, padding) for padding in (1, 40)]
        yield compare("padding", f"{num}, 1 and 40 steps longer", [given] * 2, padded)
    else:
        yield from _skipped("neighbours", "padding")
    yield _threads(lambda: run(store, 7), given, runtime)
    if ability:
        yield _paths(lambda: run(store, 7), given, model, ability)
        yield _reference(model, store, ability, run)
    else:
        yield from _skipped("path", "NumPy reference")


def _skipped(*names: str) -> Iterator[Check]:
    for name in names:
        yield Check(name, "", "skipped", note="this kind of task has no other way to compute its outputs")


def predicted(task: Task, model: nn.Module, rows: Sequence[Row[Any]], runtime: Runtime) -> Outputs:
    """The outputs of these rows, computed as `lstmcls predict` does."""
    outputs = [row.output for row in predict_rows(model, task, rows, runtime) if row.output is not None]
    return np.stack(outputs) if len({output.shape for output in outputs}) == 1 else Ragged.pack(outputs)


def _select(outputs: Outputs, rows: Int64) -> Outputs:
    return outputs.select(rows) if isinstance(outputs, Ragged) else outputs[rows]


def _within(store: Store, max_steps: int) -> Store:
    """The first rows that have at most `max_steps` steps in total, but at least one row."""
    num_rows = int(np.searchsorted(np.cumsum(store.lengths), max_steps, side="right"))
    return store.select(np.arange(max(1, num_rows)))


@torch.inference_mode()
def _outputs(
    task: Task,
    model: nn.Module,
    store: Store,
    runtime: Runtime,
    size: int,
    padding: int,
    ability: Verifiable | None,
) -> Outputs:
    """Outputs in the order of the store, in batches of `size` rows, padded with `padding` steps of random inputs."""
    collected = CollectedOutputs(len(store))
    for start in range(0, len(store), size):
        rows = np.arange(start, min(start + size, len(store)))
        batch = collate(store, rows)
        if padding and ability:
            batch = _padded(batch, padding, ability)
        collected.add(rows, task.outputs(model, batch.to(runtime.device)))
    return collected.outputs()


def _padded(batch: Batch, padding: int, ability: Verifiable) -> Batch:
    num_rows, num_steps = batch.inputs.shape[0], batch.inputs.shape[1] + padding
    fill = ability.random_inputs(np.random.default_rng(2), num_rows * num_steps)
    inputs = torch.from_numpy(fill).to(batch.inputs.dtype).view(num_rows, num_steps, *fill.shape[1:])
    for row, length in enumerate(batch.lengths.tolist()):
        inputs[row, :length] = batch.inputs[row, :length]
    return replace(batch, inputs=inputs)


def _among_random_rows(run: Run, store: Store, ability: Verifiable) -> Outputs:
    """The outputs of the rows in batches of eight, in which a random row of random length follows each row."""
    rng = np.random.default_rng(1)
    longest = int(store.lengths.max())
    twice = store.select(np.repeat(np.arange(len(store)), 2))
    inputs = [
        ability.random_inputs(rng, int(rng.integers(1, longest + 1))) if number % 2 else row
        for number, row in enumerate(twice.inputs)
    ]
    outputs = run(replace(twice, inputs=Ragged.pack(inputs)), 8)
    return _select(outputs, np.arange(0, len(twice), 2))


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
    return compare("threads", f"{len(given)} rows on 1, 2 and 4", [given] * 3, again)


def _paths(run: Callable[[], Outputs], given: Outputs, model: nn.Module, ability: Verifiable) -> Check:
    layers, again = ability.layers(model), []
    before = layers.path
    try:
        for path in _PATHS:
            layers.path = path
            again.append(run())
    finally:
        layers.path = before
    return compare("path", f"{len(given)} rows {' and '.join(_PATHS)}", [given] * 2, again)


def _reference(model: nn.Module, store: Store, ability: Verifiable, run: Run) -> Check:
    """Compare with the NumPy reference, which computes in float64, one step at a time."""
    by_length = np.argsort(store.lengths, kind="stable")
    chosen = np.unique(np.linspace(0, len(by_length) - 1, _REFERENCE_ROWS).astype(int))
    few = store.select(by_length[chosen])
    few = replace(few, inputs=Ragged.pack([row[:_REFERENCE_STEPS] for row in few.inputs]))
    expected = ability.reference(model, few)
    compared = f"{len(few)} rows of up to {_REFERENCE_STEPS} steps"
    return compare("NumPy reference", compared, [expected], [run(few, len(few))])
