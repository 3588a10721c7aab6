"""An exported model: texts in, probabilities out, with onnxruntime and NumPy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_cli.answers import CLASS_KEYS, PredictOptions, class_prediction
from lstm_cli.arrays import Float32, Float64, Int32, Mask
from lstm_cli.data.encoding import encode_texts
from lstm_cli.data.labels import names_from_json
from lstm_cli.data.rows import Row
from lstm_cli.data.store import Store
from lstm_cli.data.text import Text
from lstm_cli.data.tokenizer import TextTokenizer
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.exported.folder import LABELS, MODEL, NGRAMS, TOKENIZER, ExportedFolder, Manifest, open_folder
from lstm_cli.exported.operators import fault_of
from lstm_cli.features.ngrams import Ngrams
from lstm_cli.metrics.calibration import Calibration

_NGRAM_LOGITS = "ngram_logits"
_ROWS_AT_ONCE = 32
"""Rows that a thread computes before it takes others: enough that handing them over costs nothing, and so few that a
signal waits for less than a second."""


@dataclass(frozen=True, slots=True)
class ClassNames:
    """The labels of an exported classifier: what a prediction says."""

    names: Sequence[str]

    prediction_keys = CLASS_KEYS

    def accept(self, options: PredictOptions) -> None:
        """All options are supported."""

    def row_fault(self, row: Row[Text]) -> None:
        """Every text can be encoded."""

    def prediction(self, row: Row[Text], output: Float64, options: PredictOptions) -> dict[str, Any]:  # noqa: ARG002
        """The keys of a prediction from the probabilities (C,)."""
        return class_prediction(self.names, output, options)


class ExportedModel:
    """A loaded exported folder. Several threads may use it.

    Every text is a batch of its own. So its probabilities do not depend on other texts, also where int8 rounds by the
    largest number of a batch, and no padding is computed. With one LSTM layer of 128 units in two directions and 200
    tokens per text this is as fast as batches of 64; threads compute different texts.
    """

    def __init__(self, folder: ExportedFolder, threads: int = 0) -> None:
        """Read and check the files. `threads`: CPU threads, 0 for one per core or OMP_NUM_THREADS.

        Raises:
            CheckpointError: a file is missing, damaged or not what the manifest says.
            ConfigError: onnxruntime is not installed.
        """
        manifest = folder.manifest
        self.folder = folder
        self.task = ClassNames(_labels(folder))
        self.tokenizer = TextTokenizer.from_json(folder.read(TOKENIZER), manifest.tokenizer)
        num_classes = len(self.task.names)
        self.ngrams = Ngrams.from_bytes(folder.read(NGRAMS), num_classes) if folder.has_ngrams else None
        self.calibration = Calibration(manifest.scales, manifest.uniform)
        self._session = _session(folder, num_classes)
        self._state = _zero_state(manifest)
        self._threads = threads or _num_cores()
        self._pool = ThreadPoolExecutor(self._threads, "lstmcls")  # it starts no thread before it needs one

    def encode(self, rows: Sequence[Row[Text]]) -> Store:
        """The token ids of N rows, and the logits of their n-grams."""
        texts = [row.content.text for row in rows]
        manifest = self.folder.manifest
        store = encode_texts(texts, self.tokenizer, manifest.max_tokens, manifest.truncation)
        return replace(store, extras={_NGRAM_LOGITS: self.ngrams.logits(texts)}) if self.ngrams else store

    def outputs(self, encoded: Any, runtime: object = None) -> tuple[Float64, Mask, Mask]:  # noqa: ARG002
        """(N, C) probabilities of N encoded rows; (N,) whether a row was cut, (N,) whether no token of it is known."""
        logits = self.logits(list(encoded.inputs)).astype(np.float64)
        features = np.asarray(encoded.extras.get(_NGRAM_LOGITS, np.zeros((len(encoded), 0))), np.float64)
        return self.calibration.probs(logits, features), encoded.truncated, encoded.all_unknown

    def logits(self, tokens: Sequence[Int32]) -> Float32:
        """The logits of the network alone: N arrays (T,) of token ids -> (N, C)."""
        parts = [tokens[at : at + _ROWS_AT_ONCE] for at in range(0, len(tokens), _ROWS_AT_ONCE)]
        several = self._threads > 1 and len(parts) > 1
        found = list((self._pool.map if several else map)(self._logits_in_turn, parts))
        return np.concatenate(found) if found else np.zeros((0, len(self.task.names)), np.float32)

    def _logits_in_turn(self, tokens: Sequence[Int32]) -> Float32:
        return np.concatenate([self._logits_of(row) for row in tokens])

    def _logits_of(self, tokens: Int32) -> Float32:
        inputs = {"tokens": tokens[None].astype(np.int64), "lengths": np.array([len(tokens)], np.int32)}
        logits: Float32 = self._session.run(["logits"], inputs | self._state)[0]
        return logits


def load_exported(path: str | Path, threads: int = 0) -> ExportedModel:
    """The model of an exported folder. Raises CheckpointError or ConfigError as `ExportedModel` does."""
    return ExportedModel(open_folder(path), threads)


def _num_cores() -> int:
    """OMP_NUM_THREADS if it is a number, else the cores that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said):
        return int(said)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _labels(folder: ExportedFolder) -> tuple[str, ...]:
    try:
        return names_from_json(folder.read(LABELS))
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{folder.path / LABELS}: {str(fault)[:200]}") from None


def _session(folder: ExportedFolder, num_classes: int) -> Any:
    """The network in onnxruntime, on one thread: the texts are what runs in parallel."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ConfigError(
            f"{folder.path}: an exported folder needs onnxruntime, which is not installed; "
            f"try pip install 'lstmcls[export]'"
        ) from None
    path = folder.path / MODEL
    content = folder.read(MODEL)
    if why := fault_of(content):
        raise CheckpointError(f"{path}: not a network that `lstmcls export` writes: {why}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised as well
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as fault:
        if not type(fault).__module__.startswith("onnxruntime") and type(fault) is not RuntimeError:
            raise
        raise CheckpointError(
            f"{path}: onnxruntime cannot load it ({' '.join(str(fault).split())[:300]})"
        ) from None
    expected = ["tokens", "lengths", *_zero_state(folder.manifest)]
    if [one.name for one in session.get_inputs()] != expected:
        raise CheckpointError(f"{path}: its inputs are not {', '.join(expected)}")
    if (first := session.get_outputs()[0]).name != "logits" or first.shape[1:] != [num_classes]:
        raise CheckpointError(f"{path}: its first output is not logits of {num_classes} classes")
    return session


def _zero_state(manifest: Manifest) -> dict[str, Float32]:
    """The state before the first step of one text; {} for a network that reads in both directions."""
    if manifest.bidirectional:
        return {}
    names = ("initial_h", "initial_c") if manifest.cell == "lstm" else ("initial_h",)
    return {name: np.zeros((manifest.num_layers, 1, manifest.hidden_size), np.float32) for name in names}
