#!/usr/bin/env python
"""Training speed side by side: the matrix product's ceiling, the textbook loop, ours, Keras and fastText
where they are installed.

    python scripts/bench_speed.py                         two tables: documents and sentences, on this CPU
    python scripts/bench_speed.py --data train.csv        lengths of your own rows (counted in words and marks)
    python scripts/bench_speed.py --device cuda           our two paths over sizes, lengths and precisions

Every contestant is a process of its own, started in turn, `--repeats` times: what one sets (threads, denormals) does
not reach another, and a machine that is slow for a while is slow for all. A figure is the median, with the lowest and
the highest beside it. Needs torch and numpy, and of this package what needs no more; for the others
pip install '.[bench]'.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# a bare machine with torch has not installed the package
sys.path.insert(0, str(Path(__file__).parent.parent))

NUM_CLASSES = 2


@dataclass(frozen=True)
class Shape:
    """A model and the rows it is trained on; lengths are drawn as exp(normal(log_mean, log_sd)), cut to max_tokens."""

    name: str
    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    batch_size: int
    num_rows: int
    log_mean: float
    log_sd: float
    max_tokens: int

    def flops_per_token(self) -> int:
        """Of a training step's matrix products: forward, and twice as much backward."""
        total, width = 0, self.embedding_size
        for _ in range(self.num_layers):
            total += 2 * 2 * 4 * self.hidden_size * (width + self.hidden_size)
            width = 2 * self.hidden_size
        return 3 * total


# lengths and vocabularies as of film reviews (25,000) and of sentences from film reviews (6,920)
DOCUMENTS = Shape("documents", 30_000, 128, 256, 2, 64, 25_000, 5.37, 0.65, 400)
SENTENCES = Shape("sentences", 8_000, 128, 128, 1, 64, 6_920, 2.83, 0.52, 64)


def rows_of(shape: Shape, data: str | None) -> tuple[list[np.ndarray], np.ndarray]:
    """Token ids of every row, frequent ones first as in any text, and a label each; the seed is fixed."""
    rng = np.random.default_rng(0)
    if data:
        csv.field_size_limit(2**30)
        with Path(data).open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        counts = [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]
        lengths = np.array([min(max(count, 1), shape.max_tokens) for count in counts])
    else:
        drawn = np.exp(rng.normal(shape.log_mean, shape.log_sd, shape.num_rows))
        lengths = np.clip(drawn, 2, shape.max_tokens).astype(np.int64)
    ranks = np.exp(rng.uniform(0.0, np.log(shape.vocab_size - 2), int(lengths.sum())))  # Zipf's law
    tokens = (1 + ranks).astype(np.int32)
    return np.split(tokens, np.cumsum(lengths)[:-1]), rng.integers(0, NUM_CLASSES, len(lengths))


def textbook(shape: Shape, options: argparse.Namespace) -> Iterator[int]:
    """The loop as tutorials write it: shuffled batches, a DataLoader, packed sequences, final states, AdamW."""
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
    from torch.utils.data import DataLoader

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(shape.vocab_size, shape.embedding_size, padding_idx=0)
            self.lstm = nn.LSTM(
                shape.embedding_size,
                shape.hidden_size,
                shape.num_layers,
                batch_first=True,
                bidirectional=True,
            )
            self.linear = nn.Linear(2 * shape.hidden_size, NUM_CLASSES)

        def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = pack_padded_sequence(
                self.embedding(inputs), lengths, batch_first=True, enforce_sorted=False
            )
            _, (hidden, _) = self.lstm(packed)
            logits: torch.Tensor = self.linear(torch.cat((hidden[-2], hidden[-1]), dim=1))
            return logits

    def collate(rows: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        texts, targets = zip(*rows, strict=True)
        lengths = torch.tensor([len(text) for text in texts])
        return pad_sequence(list(texts), batch_first=True), lengths, torch.tensor(targets)

    torch.manual_seed(0)
    texts, targets = rows_of(shape, options.data)
    rows = [
        (torch.tensor(text, dtype=torch.int64), int(target))
        for text, target in zip(texts, targets, strict=True)
    ]
    model, loss_of = Model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    while True:
        for inputs, lengths, labels in DataLoader(
            rows, batch_size=shape.batch_size, shuffle=True, collate_fn=collate
        ):
            optimizer.zero_grad()
            loss = loss_of(model(inputs, lengths), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            yield int(lengths.sum())


def ours(shape: Shape, options: argparse.Namespace) -> Iterator[int]:
    """The same model on this package's path: its layers, its batches, its step."""
    import torch

    from lstm_cli.arrays import Ragged
    from lstm_cli.data.batching import batches_from, epoch_batches
    from lstm_cli.data.store import Store
    from lstm_cli.nn import TextClassifier, TokenEncoder, build_pooling
    from lstm_cli.nn.cpu import set_up
    from lstm_cli.training.optimizer import adamw, take_step

    set_up(torch.get_num_threads())
    torch.manual_seed(0)
    device = torch.device(options.device)
    texts, targets = rows_of(shape, options.data)
    store = Store(Ragged.pack(texts), np.zeros(len(texts), np.bool_), targets)
    encoder = TokenEncoder(
        shape.vocab_size,
        shape.embedding_size,
        "lstm",
        shape.hidden_size,
        shape.num_layers,
        path=options.path,
    )
    model = TextClassifier(
        encoder, build_pooling("final", encoder.output_size, shape.num_layers), NUM_CLASSES
    )
    model.to(device)
    optimizer = adamw(model, weight_decay=0.01)
    scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "fp16")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]
    batch_of = batches_from(store, device)
    epoch = 0
    while True:
        for rows in epoch_batches(store.lengths, shape.batch_size, 2**20, 0, epoch):
            batch = batch_of(rows)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(batch.inputs, batch.lengths)
            loss = torch.nn.functional.cross_entropy(logits.float(), batch.targets)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            take_step(optimizer, scaler, loss, 1e-3, 1.0)
            yield int(batch.lengths.sum())
        epoch += 1


def keras(shape: Shape, options: argparse.Namespace) -> Iterator[int]:
    """Keras 3 on TensorFlow as its guide writes it: padded batches, `mask_zero`, a compiled training function."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras as k

    layers = [k.layers.Embedding(shape.vocab_size, shape.embedding_size, mask_zero=True)]
    for layer in range(shape.num_layers):
        last = layer == shape.num_layers - 1
        layers.append(k.layers.Bidirectional(k.layers.LSTM(shape.hidden_size, return_sequences=not last)))
    model = k.Sequential([*layers, k.layers.Dense(NUM_CLASSES)])
    model.compile(
        optimizer=k.optimizers.AdamW(1e-3, clipnorm=1.0),
        loss=k.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    texts, targets = rows_of(shape, options.data)
    order = np.random.default_rng(1)
    while True:
        shuffled = order.permutation(len(texts))
        for start in range(0, len(texts) - shape.batch_size + 1, shape.batch_size):
            rows = shuffled[start : start + shape.batch_size]
            inputs = np.zeros((shape.batch_size, max(len(texts[row]) for row in rows)), np.int32)
            for i, row in enumerate(rows):
                inputs[i, : len(texts[row])] = texts[row]
            model.train_on_batch(inputs, targets[rows])
            yield int(sum(len(texts[row]) for row in rows))


def fasttext(shape: Shape, options: argparse.Namespace) -> Iterator[int]:
    """fastText on words and pairs of words: no recurrent network, here to show what speed a bag of words has."""
    import fasttext as ft

    texts, targets = rows_of(shape, options.data)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for text, target in zip(texts, targets, strict=True):
            file.write(f"__label__{target} {' '.join(map(str, text))}\n")
        file.flush()
        while True:
            ft.train_supervised(file.name, epoch=5, wordNgrams=2, thread=os.cpu_count() or 1, verbose=0)
            yield 5 * sum(map(len, texts))


CONTESTANTS: dict[str, Callable[[Shape, argparse.Namespace], Iterator[int]]] = {
    "textbook": textbook,
    "ours": ours,
    "keras": keras,
    "fasttext": fasttext,
}


def contest(options: argparse.Namespace) -> dict[str, float]:
    """What one contestant's process measures: tokens a second over `--seconds`, after batches that do not count."""
    shape = Shape(**json.loads(options.shape))
    steps = CONTESTANTS[options.contestant](shape, options)
    sync: Callable[[], Any] = lambda: None  # noqa: E731
    if options.device == "cuda":
        import torch

        sync = torch.cuda.synchronize
    for _ in range(options.warm_up):
        next(steps)
    sync()
    began = time.perf_counter()
    tokens = num_steps = 0
    while num_steps == 0 or time.perf_counter() - began < options.seconds:
        tokens += next(steps)
        num_steps += 1
        if num_steps % 20 == 0:
            sync()
    sync()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"rate": tokens / seconds, "step_ms": 1e3 * seconds / num_steps, "peak_mb": peak}


def ceiling(options: argparse.Namespace) -> dict[str, float]:
    """The best of twenty 2048³ matrix products (8192³ on a GPU), in FLOP/s.

    On a CPU by the better of the two libraries that torch brings: MKL leaves AVX-512 alone on some machines, oneDNN,
    which runs the recurrent layers, does not.
    """
    import torch
    from torch.utils import mkldnn

    size = 8192 if options.device == "cuda" else 2048
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]
    left, right = (torch.randn(size, size, device=options.device).to(dtype) for _ in range(2))
    products: list[Callable[[], Any]] = [lambda: (left @ right)[0, 0].item()]
    if options.device == "cpu" and torch.backends.mkldnn.is_available():
        linear = mkldnn.to_mkldnn(torch.nn.Linear(size, size, bias=False).eval(), dtype)
        products.append(partial(linear, left.to_mkldnn()))
    times = []
    for product in products:
        for _ in range(20):
            began = time.perf_counter()
            product()
            times.append(time.perf_counter() - began)
    return {"rate": 2 * size**3 / min(times)}


def measured(contestant: str, options: argparse.Namespace, shape: Shape, **given: Any) -> dict[str, float]:
    """One turn of a contestant, in a process of its own."""
    settings = {"device": options.device, "data": options.data, "precision": "fp32", "path": "auto"} | given
    arguments = [
        f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if value is not None
    ]
    environment = dict(os.environ)
    if contestant == "ours":
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it
    answer = subprocess.run(
        [
            sys.executable,
            __file__,
            f"--contestant={contestant}",
            f"--shape={json.dumps(asdict(shape))}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    if answer.returncode:
        raise SystemExit(f"{contestant}: {answer.stderr[-2000:]}")
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):11,.0f}  {min(values):9,.0f} … {max(values):9,.0f}"


def on_cpu(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both shapes, all contestants, in turn."""
    import torch

    precisions = ["fp32"]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        precisions.append("bf16")
    has_keras = all(importlib.util.find_spec(name) for name in ("keras", "tensorflow"))
    has_fasttext = importlib.util.find_spec("fasttext") is not None
    lines = []
    for shape in [s for s in (DOCUMENTS, SENTENCES) if options.only in (None, s.name)]:
        long = shape is DOCUMENTS
        turns: dict[str, Callable[[], dict[str, float]]] = {}
        of_shape = partial(measured, options=options, shape=shape, seconds=options.seconds)
        for p in precisions:
            turns[f"ceiling {p}"] = partial(of_shape, "ceiling", precision=p)
        # one batch of documents takes the textbook loop the better part of a minute
        turns["textbook"] = partial(of_shape, "textbook", **({"seconds": 0} if long else {"warm_up": 3}))
        if has_keras:
            turns["keras"] = partial(of_shape, "keras", warm_up=2)
        if has_fasttext:
            turns["fasttext"] = partial(of_shape, "fasttext")
        for p in precisions:
            turns[f"ours {p}"] = partial(of_shape, "ours", precision=p, warm_up=20)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
        for _ in range(options.repeats):
            for name, turn in turns.items():
                results[name].append(turn())
        lines += _table(shape, results, options)
    return lines


def _table(
    shape: Shape, results: dict[str, list[dict[str, float]]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    rates = {name: [turn["rate"] for turn in turns] for name, turns in results.items()}
    print(
        f"\n{shape.name}: {shape.num_layers}-layer BiLSTM, E={shape.embedding_size} H={shape.hidden_size} "
        f"B={shape.batch_size}, rows of at most {shape.max_tokens} tokens, "
        f"lengths {'of ' + options.data if options.data else 'drawn'}"
    )
    print("                   tokens/s     lowest … highest   × textbook   of ceiling   peak MB")
    lines = []
    for name, values in rates.items():
        median = statistics.median(values)
        line: dict[str, Any] = {"shape": shape.name, "contestant": name, "rates": values, "median": median}
        if name.startswith("ceiling"):
            print(f"{name:14} {median / 1e9:8.0f} GFLOP/s")
        else:
            # ratios are taken within a round, so that a slow minute is slow for both sides
            pairs = [value / base for value, base in zip(values, rates["textbook"], strict=True)]
            best = rates["ceiling bf16" if name.endswith("bf16") else "ceiling fp32"]
            shares = [value * shape.flops_per_token() / top for value, top in zip(values, best, strict=True)]
            peak = statistics.median(turn["peak_mb"] for turn in results[name])
            line |= {
                "ratio": statistics.median(pairs),
                "share": statistics.median(shares),
                "peak_mb": peak,
                "step_ms": statistics.median(turn["step_ms"] for turn in results[name]),
            }
            share = "-" if name == "fasttext" else f"{line['share']:.3f}"  # it multiplies no such matrices
            print(f"{name:14} {spread(values)} {line['ratio']:12.1f} {share:>12} {peak:9.0f}", flush=True)
        lines.append(line)
    return lines


def on_gpu(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both paths over hidden sizes, lengths and precisions; two layers, B=128."""
    lines = []
    ceilings = {
        p: measured("ceiling", options, DOCUMENTS, precision=p)["rate"] for p in ("fp32", "bf16", "fp16")
    }
    for name, rate in ceilings.items():
        print(f"ceiling {name}: {rate / 1e12:.0f} TFLOP/s")
    print("rows       H     precision  path         tokens/s   of ceiling")
    for base in (DOCUMENTS, SENTENCES):
        for hidden_size in (128, 256, 512, 1024):
            shape = Shape(**{**asdict(base), "hidden_size": hidden_size, "num_layers": 2, "batch_size": 128})
            for precision in ("bf16", "fp16"):
                for path in ("packed", "split"):
                    turns = [
                        measured(
                            "ours",
                            options,
                            shape,
                            precision=precision,
                            path=path,
                            warm_up=10,
                            seconds=options.seconds,
                        )
                        for _ in range(options.repeats)
                    ]
                    rate = statistics.median(turn["rate"] for turn in turns)
                    share = rate * shape.flops_per_token() / ceilings[precision]
                    lines.append(
                        {
                            "shape": base.name,
                            "hidden_size": hidden_size,
                            "precision": precision,
                            "path": path,
                            "rate": rate,
                            "share": share,
                        }
                    )
                    print(
                        f"{base.name:10} {hidden_size:4}  {precision:9}  {path:7} {rate:13,.0f} {share:12.3f}",
                        flush=True,
                    )
    return lines


def machine(device: str) -> str:
    import torch

    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*: (.*)", cpuinfo.read_text())
        name = found[1] if found else name
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {capability}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", help="a CSV with a column text: its lengths instead of drawn ones")
    parser.add_argument("--only", choices=[DOCUMENTS.name, SENTENCES.name])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of training in every turn")
    parser.add_argument("--json", help="also write every figure here")
    for inner in ("contestant", "shape", "path", "precision"):  # of the processes that this one starts
        parser.add_argument(f"--{inner}", help=argparse.SUPPRESS)
    parser.add_argument("--warm-up", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        result = ceiling(options) if options.contestant == "ceiling" else contest(options)
        print(json.dumps(result))
        return
    print(machine(options.device))
    lines = on_gpu(options) if options.device == "cuda" else on_cpu(options)
    if options.json:
        report = {"machine": machine(options.device), "lines": lines}
        Path(options.json).write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
