"""What reads untrusted bytes, and good samples of them for `mutations` to break.

The tests and `scripts/fuzz.py` share this. A case is bytes that (target, random numbers) alone decide; a target reads
it in this process and says whether it was refused. Anything but success or an LstmclsError is a bug.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lstm_cli.answers import PredictOptions
from lstm_cli.config.load import load_config
from lstm_cli.data.config import DataConfig
from lstm_cli.data.dense import Dense
from lstm_cli.data.labels import Labels
from lstm_cli.data.sources import open_rows
from lstm_cli.data.tagged import Words
from lstm_cli.data.text import Text, text_row
from lstm_cli.data.tokenizer import (
    BpeConfig,
    CharConfig,
    TextTokenizer,
    TokenizerConfig,
    UnigramConfig,
    WordConfig,
)
from lstm_cli.errors import LstmclsError
from lstm_cli.metrics.spans import spans_of
from lstm_cli.reports.predictions import write_conll
from lstm_cli.runs import checkpoint
from lstm_cli.runs.checkpoint import MANIFEST, load_checkpoint, save
from lstm_cli.runtime import RuntimeConfig, start
from lstm_cli.scoring.prediction import predict_rows
from lstm_cli.tasks.classify import Classify, ClassifyConfig
from lstm_cli.tasks.sequence import SequenceConfig
from lstm_cli.tasks.tag import TagConfig
from lstm_cli.training.config import TrainConfig
from lstm_cli.training.state import TrainState
from tests.fuzzing_runs import Caches, Runs
from tests.mutations import mutated


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads untrusted bytes. `read` raises LstmclsError for what it refuses.

    Where it is `headed`, the first line of a case says how to read the rest, and stays as it is.
    """

    samples: Sequence[bytes]
    read: Callable[[bytes, Path], None]
    headed: bool = False

    def case(self, rng: random.Random) -> bytes:
        sample, other = rng.choice(self.samples), rng.choice(self.samples)
        if not self.headed:
            return mutated(sample, other, rng)
        head, _, content = sample.partition(b"\n")
        return head + b"\n" + mutated(content, other.partition(b"\n")[2], rng)

    def refuses(self, case: bytes, folder: Path) -> bool:
        """Whether the case ended in an LstmclsError; `folder` is scratch. Everything else is raised."""
        try:
            self.read(case, folder)
        except LstmclsError as fault:
            str(fault).encode("utf-8", "backslashreplace")
            return True
        return False


CONFIGS = [
    b"data:\n  train: rows.csv\ntask:\n  tokenizer:\n    kind: bpe\n  pooling: max\ntrain:\n  epochs: 3\n",
    b"data: {train: [a.csv, 'b*.tsv'], dev: 0.2, test: null, text_column: [title, body], columns: [a, b]}\n",
    b"data: {train: &t [a, b], test: *t}\ntask: {encoder: {<<: &a {cell: gru, num_layers: 2}, dropout: 0.5}}\n",
    b"# a comment\ndata:\n  train: >-\n    a.csv\n  quoting: none\n  encoding: latin-1\nrun: {threads: 2}\n",
]
OVERRIDES = [
    b"train.epochs=3\ndata.text_column=[title, body]\nrun.dir=2024\ntask.tokenizer.kind=char",
    b"data.dev=0.5\ntask.encoder={cell: gru}\ntrain.learning_rate=1e-3\nrun.seed=0x10",
]
TABLES = {
    "csv": b'text,label,id\nfine film,pos,1\n"two\nlines, ""quoted""",neg,2\n\n,pos,3\n=1+1,neg,4\n',
    "tsv": 'text\tlabel\r\nein "großer" Film\tpos\r\nnot so\tneg\r\n'.encode(),
    "jsonl": b'{"text": "fine", "label": "pos", "x": [1, {"a": null}]}\n{"text": "bad \\ud83c\\udfac", "label": 3}\n',
    "fasttext": "__label__pos a fine film\n__label__neg schlecht\u2028 \n__label__a __label__b two\n".encode(),
    "text": "a line\n\n另一行\x85still\r\n".encode(),
}
READINGS: list[Mapping[str, Any]] = [
    {},
    {"encoding": "latin-1"},
    {"encoding": "utf-16"},
    {"quoting": "standard"},
    {"quoting": "none"},
    {"columns": ["text", "label"]},
    {"text_column": ["text", "id"], "join": "\0"},
    {"encoding": "gb18030"},
]


def read_config(case: bytes, folder: Path) -> None:
    path = folder / "case.yaml"
    path.write_bytes(case)
    load_config(str(path)).to_yaml()


def read_overrides(case: bytes, folder: Path) -> None:
    path = folder / "plain.yaml"
    if not path.exists():
        path.write_bytes(b"data: {train: rows.csv}\n")
    load_config(str(path), case.decode("utf-8", "surrogateescape").split("\n"))


def _packed_tables() -> list[bytes]:
    """Each begins with the kind of file that it is and how it shall be read."""
    parquet = io.BytesIO()
    pq.write_table(pa.table({"text": ["fine", "bad"], "label": ["pos", "neg"], "x": [1, None]}), parquet)
    samples = [b"parquet 0\n" + parquet.getvalue()] * 3
    for kind, content in TABLES.items():
        samples += [f"{kind} {number}\n".encode() + content for number in range(len(READINGS))]
        samples.append(f"{kind}.gz 0\n".encode() + gzip.compress(content, mtime=0))
        samples.append(f"{kind}.xz 0\n".encode() + lzma.compress(content))
    return samples


TAGGED = {
    "conllu": b"# text = It's\n1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_\n1\tIt\tit\tPRON\tPRP\t_\t2\tx\t_\t_\n"
    b"2\t's\tbe\tAUX\tVBZ\t_\t0\troot\t_\t_\n2.1\te\te\tX\tX\t_\t_\t_\t_\t_\n\n"
    b"1\tNo\tno\tINTJ\tUH\t_\t0\troot\t_\t_\n",
    "conll": "-DOCSTART- -X- O\n\nEU NNP B-ORG\nlehnt VB O\n\nPeter\tNNP\tI-PER\n你好\tX\tE-LOC\r\n".encode(),
    "jsonl": b'{"words": ["EU", "no"], "tags": ["B-ORG", "O"]}\n{"words": ["a"], "tags": ["S-X"], "x": 1}\n',
}
TAG_READINGS: list[Mapping[str, Any]] = [
    {},
    {"tag_column": "xpos"},
    {"tag_column": "2"},
    {"encoding": "utf-16"},
]


def _tagged() -> list[bytes]:
    return [
        f"{kind} {number}\n".encode() + content
        for kind, content in TAGGED.items()
        for number in range(len(TAG_READINGS))
    ]


def read_tagged(case: bytes, folder: Path) -> None:
    """Learn a tagger from the sentences, encode them, and write their tags back."""
    head, _, content = case.partition(b"\n")
    kind, _, number = head.decode("latin-1").partition(" ")
    path = folder / "case"
    path.write_bytes(content)
    reading = TAG_READINGS[sum(number.encode()) % len(TAG_READINGS)]
    kind = kind if kind in TAGGED else "conll"
    config = DataConfig.model_validate({"train": str(path), "format": kind, **reading})
    asked = open_rows(str(path), config, "predict", False, True, "row", content=Words, keep_text=True)
    for row in asked:
        line = {"tokens": row.content.words, **(row.fields or {})}
        if row.error is None:
            write_conll([{**line, "tags": ["X"] * len(row.content.words)}], io.StringIO(), config.tag_column)
    rows = open_rows(str(path), config, "train", True, content=Words)
    task = TagConfig(features="words").fit(rows)
    targets = task.encode_window(list(rows))
    assert len(targets) == len(rows)
    for row in rows:
        spans = spans_of(row.content.tags or ())
        assert all(0 <= begin < end <= len(row.content.words) for begin, end, _ in spans)


SEQUENCES = {
    "ts": b"# c\n@timeStamps false\n@classLabel true a b\n@data\n1,2,?:4,5,6:a\n7:8:b\n-1e3,2:0.5,NaN:b\n",
    "csv": b"id,t,x,y,label\nu1,2,3,,a\nu2,2024-01-01,5,6,b\nu1,1,1,2,a\n",
    "jsonl": b'{"values": [[1, null], [3, 4]], "label": "a"}\n{"values": [[5, 6]], "label": 1}\n',
}
SEQUENCE_READINGS: list[Mapping[str, Any]] = [
    {},
    {"sequences": {"id_column": "id", "value_columns": ["x", "y"], "time_column": "t"}},
    {"sequences": {"id_column": "id", "value_columns": ["x"]}},
]


def _sequences() -> list[bytes]:
    return [
        f"{kind} {number}\n".encode() + content
        for kind, content in SEQUENCES.items()
        for number in range(len(SEQUENCE_READINGS))
    ]


def read_sequences(case: bytes, folder: Path) -> None:
    """Learn a classifier from the sequences and encode them; each row to predict gets an answer or an error."""
    head, _, content = case.partition(b"\n")
    kind, _, number = head.decode("latin-1").partition(" ")
    path = folder / "case"
    path.write_bytes(content)
    reading = SEQUENCE_READINGS[sum(number.encode()) % len(SEQUENCE_READINGS)]
    kind = kind if kind in SEQUENCES else "ts"
    config = DataConfig.model_validate({"train": str(path), "format": kind, **reading})
    for row in open_rows(str(path), config, "predict", False, True, "row", content=Dense):
        assert row.error is not None or len(row.content.values)
        json.dumps(row.content.as_json(), allow_nan=False)
    rows = open_rows(str(path), config, "train", True, content=Dense)
    task = SequenceConfig(frame_size=2, scaling="sequence").fit(rows)
    assert np.isfinite(task.encode_window(list(rows)).inputs.values).all()


def read_rows(case: bytes, folder: Path) -> None:
    """Read as training rows and as rows to predict, of which no one is lost."""
    head, _, content = case.partition(b"\n")
    kind, _, number = head.decode("latin-1").partition(" ")
    kind, _, packed = kind.partition(".")
    kind = kind if kind in (*TABLES, "parquet") else "csv"
    path = folder / (f"case.{packed}" if packed in ("gz", "xz") else "case")
    path.write_bytes(content)
    reading = READINGS[sum(number.encode()) % len(READINGS)]
    config = DataConfig.model_validate({"train": str(path), "format": kind, **reading})
    refused: LstmclsError | None = None
    for labelled in (True, False):
        if labelled and kind == "text":
            continue
        try:
            rows = open_rows(
                str(path),
                config,
                "train",
                labelled,
                not labelled,
                "raise" if labelled else "row",
                content=Text,
            )
            for row in rows:
                written = {
                    "text": row.content.text,
                    "label": row.content.label,
                    "error": row.error,
                    **(row.fields or {}),
                }
                json.dumps(written, ensure_ascii=False).encode()
        except LstmclsError as fault:
            refused = fault
    if refused:
        raise refused


TEXTS = ["A fine film, isn't it?", "很 好 的 电影", "[PAD] naïve\0 <br/> 🎬", ""]
KINDS: dict[str, TokenizerConfig] = {
    "WordLevel": WordConfig(kind="word", min_count=1),
    "BPE": BpeConfig(kind="bpe", vocab_size=60),
    "Unigram": UnigramConfig(kind="unigram", vocab_size=40),
}


def _tokenizers() -> list[bytes]:
    learned = [TextTokenizer.learn(config, TEXTS * 3).to_json() for config in KINDS.values()]
    return [*learned, TextTokenizer.learn(CharConfig(kind="char", min_count=1), TEXTS).to_json()]


def read_tokenizer(case: bytes, folder: Path) -> None:
    """As each kind that it may claim to be."""
    refused: LstmclsError | None = None
    for name, config in KINDS.items():
        if name.encode() not in case and name != "WordLevel":
            continue
        try:
            tokenizer = TextTokenizer.from_json(case, config)
        except LstmclsError as fault:
            refused = fault
            continue
        for ids in tokenizer.encode(TEXTS):
            assert 0 < ids.min() <= ids.max() < tokenizer.vocab_size
        return
    if refused:
        raise refused


class Checkpoints:
    """A good checkpoint of a few weights, and the reading of it with one file replaced."""

    def __init__(self) -> None:
        rows = [text_row(text, label, "x", 1) for text, label in (("fine film", "pos"), ("bad film", "neg"))]
        config = ClassifyConfig.model_validate(
            {"tokenizer": {"min_count": 1}, "encoder": {"embedding_size": 2, "hidden_size": 2}}
        )
        tokenizer = TextTokenizer.learn(config.tokenizer, [row.content.text for row in rows])
        task = Classify(config, tokenizer, Labels.learn(rows))
        self.runtime = start(RuntimeConfig(threads=1, device="cpu"), trains=False)
        self.state = TrainState.start(task, TrainConfig(), self.runtime, 0)
        self.state.model(torch.tensor([[2, 3]]), torch.tensor([2])).sum().backward()
        self.state.optimizer.step()
        with tempfile.TemporaryDirectory() as folder:
            last = Path(folder) / "last"
            save(None, last, task, self.state)
            self.files = {file.name: file.read_bytes() for file in sorted(last.iterdir())}
        self.changed: dict[Path, set[str]] = {}  # what the last case left in each folder

    def samples(self) -> list[bytes]:
        """Each says which file it is, and whether the manifest shall be made to fit it."""
        return [
            f"{name} {forged}\n".encode() + content
            for name, content in self.files.items()
            for forged in ("forged", "forged", "")
        ]

    def read(self, case: bytes, folder: Path) -> None:
        """Load it, predict with it and resume training from it. A file whose bytes differ is refused unless forged."""
        head, _, content = case.partition(b"\n")
        name, _, forged = head.decode("latin-1").partition(" ")
        if name not in self.files:
            name = MANIFEST
        last = folder / "last"
        last.mkdir(exist_ok=True)
        for file in self.changed.get(last, self.files):
            (last / file).write_bytes(self.files[file])
        (last / name).write_bytes(content)
        if forged:
            (last / MANIFEST).write_bytes(forged_manifest({**self.files, name: content}, name == MANIFEST))
        self.changed[last] = {name, MANIFEST}
        saved = load_checkpoint(last)
        assert forged or name == MANIFEST or content == self.files[name], "a damaged file was not noticed"
        task, model = saved.load(torch.device("cpu"))
        rows = [text_row(text, None, "x", 1) for text in TEXTS]
        for result in predict_rows(model, task, rows, self.runtime):
            assert result.output is not None
            assert abs(result.output.sum() - 1) < 1e-6
            prediction = task.prediction(result.row, result.output, PredictOptions(top_k=2, probs=True))
            json.dumps(prediction, ensure_ascii=False).encode()
        saved.restore(self.state)

    @classmethod
    def target(cls) -> Target:
        checkpoints = cls()
        return Target(checkpoints.samples(), checkpoints.read, headed=True)


def forged_manifest(files: Mapping[str, bytes], keep: bool = False) -> bytes:
    """A manifest that vouches for whatever `files` hold; with `keep`, that of `files`, vouching for itself."""
    manifest: Any = {"format": 1, "epoch": 1, "step": 1}
    if keep:
        try:
            manifest = json.loads(files[MANIFEST])
            manifest.pop("sha256", None)
            return json.dumps({**manifest, "sha256": checkpoint._digest_of(manifest)}).encode()
        except (ValueError, AttributeError, RecursionError, TypeError):
            return files[MANIFEST]
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
        if name != MANIFEST
    }
    return json.dumps({**manifest, "sha256": checkpoint._digest_of(manifest)}).encode()


def _headed(made: Runs | Caches) -> Target:
    return Target(made.samples(), made.read, headed=True)


TARGETS: dict[str, Callable[[], Target]] = {
    "config": lambda: Target(CONFIGS, read_config),
    "set": lambda: Target(OVERRIDES, read_overrides),
    "rows": lambda: Target(_packed_tables(), read_rows, headed=True),
    "tagged": lambda: Target(_tagged(), read_tagged, headed=True),
    "sequences": lambda: Target(_sequences(), read_sequences, headed=True),
    "tokenizer": lambda: Target(_tokenizers(), read_tokenizer),
    "checkpoint": Checkpoints.target,
    "run": lambda: _headed(Runs()),
    "cache": lambda: _headed(Caches()),
}
"""Made when asked for: the samples of some are learned first."""


def case_of(target: Target, name: str, seed: int, number: int) -> bytes:
    """Always the same bytes for the same numbers."""
    return target.case(random.Random(f"{name} {seed} {number}"))
