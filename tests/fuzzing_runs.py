"""Run folders and caches as `fuzzing` targets: everything that a command reads of them, with one file broken."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np

from lstm_cli.arrays import Ragged
from lstm_cli.commands.evaluate import EvalRequest, run_eval
from lstm_cli.commands.predict import PredictRequest, predict
from lstm_cli.commands.train import TrainRequest
from lstm_cli.commands.train_several import train_several
from lstm_cli.commands.training_loop import refuse_changes
from lstm_cli.commands.verify import verify
from lstm_cli.config.load import RunConfig, load_config
from lstm_cli.console import Screen
from lstm_cli.data import cache, store
from lstm_cli.data.store import Store
from lstm_cli.data.text import text_row
from lstm_cli.errors import LstmclsError
from lstm_cli.runs.checkpoint import exists
from lstm_cli.runs.folder import RunFolder
from lstm_cli.runs.group import RunGroup
from lstm_cli.runs.models import open_models
from lstm_cli.runs.output import partial_output
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring import baselines
from tests.conftest import small_rows

_QUIET = Screen(quiet=True)
_FOLDER = b"/@/"
"""Stands in the samples for the folder, whose name is random."""
_WHOLE_COMMANDS = 50
"""One case in so many is read by a whole command, which takes a second; the others by what commands read first."""


class Runs:
    """A group of two runs with everything that commands leave in it."""

    def __init__(self) -> None:
        self.runtime = start(RuntimeConfig(threads=1, device="cpu"), trains=False)
        self.folder = Path(tempfile.mkdtemp())
        train, group = self.folder / "train.csv", self.folder / "group"
        with train.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *small_rows(40)])
        config = self.folder / "small.yaml"
        config.write_text(
            f"""
data: {{train: {train}, dev: 0.3}}
task: {{tokenizer: {{min_count: 1}}, encoder: {{embedding_size: 2, hidden_size: 2}}, max_tokens: 9}}
train: {{epochs: 1}}
run: {{dir: {group}, threads: 1, device: cpu}}
""",
            "utf-8",
        )
        with (
            mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache")),
            mock.patch("time.perf_counter", side_effect=itertools.count().__next__),  # always the same bytes
            mock.patch("time.strftime", return_value="now"),
            mock.patch("sys.argv", ["lstmcls"]),
        ):
            train_several(TrainRequest(str(config), by="folds", count=2), _QUIET)
        for name in ("text", "text.part"):
            (group / name).write_text("a text\nanother\n", "utf-8")
        part = group / ".out.jsonl.part"
        part.write_text('{"row": 0}\n', "utf-8")
        record = {"inputs": {"input": "x"}, "done": {"rows": 1, "bytes": 11}}
        part.with_suffix(".part.json").write_text(json.dumps(record), "utf-8")
        self.files = {
            str(file.relative_to(group)): file.read_bytes().replace(str(self.folder).encode(), _FOLDER)
            for file in sorted(group.rglob("*"))
            if file.is_file() and file.suffix not in (".png", ".lock") and file.name != ".lock"
        }
        self.changed: dict[Path, str] = {}

    def samples(self) -> list[bytes]:
        """Each says which file it is. Those of a checkpoint are a target of their own, and are here once."""
        return [
            f"{name}\n".encode() + content
            for name, content in self.files.items()
            for _ in range(1 if "checkpoints" in name else 4)
        ]

    def read(self, case: bytes, folder: Path) -> None:
        """Read the group as commands do. Raises the last LstmclsError, after all have been tried."""
        head, _, content = case.partition(b"\n")
        name = head.decode("latin-1")
        name = name if name in self.files else "members.json"
        group = folder / "group"
        if group not in self.changed:
            shutil.rmtree(group, ignore_errors=True)  # of a child that died
            shutil.copytree(self.folder / "group", group)
        else:
            self._write(group / self.changed[group], self.files[self.changed[group]])
        self._write(group / name, content)
        self.changed[group] = name
        refused: LstmclsError | None = None
        number = zlib.crc32(case)
        whole = number % _WHOLE_COMMANDS == 0
        steps = (
            [self._commands(group, folder)[number // _WHOLE_COMMANDS % 4]] if whole else self._steps(group)
        )
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache")):
            for step in steps:
                try:
                    step()
                except LstmclsError as fault:
                    refused = fault
        if whole:  # they write
            shutil.rmtree(group)
            del self.changed[group]
        if refused:
            raise refused

    def _write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content.replace(_FOLDER, str(self.folder).encode()))

    def _steps(self, group: Path) -> Iterator[Callable[[], object]]:
        run = RunFolder(group / "fold-1")
        yield lambda: open_models(group, "best", self.runtime.device).ensemble.outputs(
            [text_row("a text")], self.runtime
        )
        yield lambda: open_models(run.path, "last", self.runtime.device)
        yield lambda: refuse_changes(run, self._config(run.path), "resume")
        yield lambda: self._config(group)
        yield lambda: [run.seconds(), run.dev_seed(0), run.is_refit, run.baseline("x"), exists(run.best)]
        yield lambda: RunGroup.read(group)
        for file in (group / "baselines").glob("*.json"):
            yield lambda file=file: baselines._read(file, 10_000_000)  # type: ignore[misc]
        yield lambda: self._resume_output(group / "out.jsonl")

    def _commands(self, group: Path, folder: Path) -> list[Callable[[], object]]:
        source, one = str(group), str(group / "fold-1")
        written = PredictRequest(source, (str(group / "text"),), output=folder / "predicted.jsonl")
        return [
            lambda: predict(written, _QUIET),
            lambda: verify(source, (), _QUIET, as_json=False),
            lambda: run_eval(EvalRequest(one, baselines=True), _QUIET),
            lambda: train_several(TrainRequest(source, by="folds", count=2, resume=True), _QUIET),
        ]

    def _config(self, path: Path) -> RunConfig:
        return load_config(str(path), run_dir=str(path))

    def _resume_output(self, output: Path) -> None:
        with partial_output(output, {"input": "x"}, resume=True) as target:
            assert target.done.bytes <= 11
        output.unlink()
        for name in (".out.jsonl.part", ".out.jsonl.part.json"):
            (output.parent / name).write_bytes(self.files[name])


class Caches:
    """A cache with a store and some bytes, and the reading of them through `cached`, which mends what is damaged."""

    limits: ClassVar = {"inputs": 50, "targets": 3}
    data = b"a vocabulary, or n-grams"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        rows = [rng.integers(1, 50, length, np.int32) for length in (1, 7, 3, 20, 2)]
        self.store = Store(
            Ragged.pack(rows),
            np.array([0, 0, 1, 0, 0], np.bool_),
            np.array([0, 1, 2, 1, 0], np.int32),
            {"ngram_logits": rng.normal(size=(5, 3)).astype(np.float32)},
        )
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, XDG_CACHE_HOME=folder):
            self._read_both()
            self.files = {
                str(file.relative_to(folder)): file.read_bytes()
                for file in sorted(Path(folder).rglob("*"))
                if file.is_file()
            }

    def samples(self) -> list[bytes]:
        """Each says which file it is, and whether the checksums shall be made to fit it."""
        return [
            f"{name} {forged}\n".encode() + content
            for name, content in self.files.items()
            for forged in ("forged", "")
        ]

    def read(self, case: bytes, folder: Path) -> None:
        """What is read is what was written, or, if its checksums were forged, at least within its limits."""
        head, _, content = case.partition(b"\n")
        name, _, forged = head.decode("latin-1").partition(" ")
        name = name if name in self.files else next(iter(self.files))
        for file, good in self.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(good)
        (folder / name).write_bytes(content)
        if forged and name.endswith(".bin"):
            self._forge(folder / name, content)
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder)):
            found, data = self._read_both()
        assert data == self.data
        if not forged:
            assert found.inputs.values.tolist() == self.store.inputs.values.tolist()
            assert found.inputs.offsets.tolist() == self.store.inputs.offsets.tolist()
            assert found.known_targets.tolist() == self.store.known_targets.tolist()  # type: ignore[union-attr]
        for row in found.inputs:
            assert len(row)
            assert 0 <= row.min() <= row.max() < self.limits["inputs"]
        assert len(found) == len(found.truncated)
        if found.targets is not None and len(found):
            targets = np.asarray(found.targets)
            assert 0 <= targets.min() <= targets.max() < self.limits["targets"]

    def _read_both(self) -> tuple[Store, bytes]:
        return (
            cache.cached("0" * 64, lambda: [self.store], self.limits),
            cache.cached_bytes("1" * 64, lambda: self.data),
        )

    def _forge(self, file: Path, content: bytes) -> None:
        layout_path = file.parent / store._LAYOUT
        layout, _ = json.loads(layout_path.read_bytes())
        layout[file.stem] |= {"bytes": len(content), "crc32": zlib.crc32(content)}
        layout_path.write_text(json.dumps([layout, zlib.crc32(json.dumps(layout).encode())]), "utf-8")
