"""The files of an exported folder. They are checked against the manifest before anything in them is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lstm_cli.data.durable import read_file
from lstm_cli.data.encoding import Truncation
from lstm_cli.data.tokenizer import TokenizerConfig
from lstm_cli.errors import CheckpointError
from lstm_cli.schema import Config

KIND: Literal["lstmcls exported model"] = "lstmcls exported model"
FORMAT: Literal[1] = 1
MANIFEST, MODEL, CHECK, CARD = "manifest.json", "model.onnx", "check.safetensors", "README.md"
LABELS, TOKENIZER, NGRAMS = "labels.json", "tokenizer.json", "ngrams.safetensors"
_MAX_MANIFEST_BYTES = 2**20
_MAX_BYTES = {
    MODEL: 2**31,
    TOKENIZER: 2**27,
    LABELS: 2**24,
    NGRAMS: 2**26,
    CHECK: 2**26,
    CARD: 2**24,
}


class ReadingConfig(Config):
    """How rows are read: keys of `data:` of the run, without the names of its files."""

    text_column: str | list[str] = "text"
    join: str = " "
    delimiter: str = "auto"
    encoding: str = "utf-8"
    columns: list[str] | None = None
    quoting: Literal["auto", "standard", "none"] = "auto"


class FileRecord(Config):
    """A file of the folder."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(Config):
    """The content of manifest.json, without its own SHA-256."""

    kind: Literal["lstmcls exported model"] = KIND
    format: Literal[1] = FORMAT
    lstmcls: str
    weights: Literal["fp32", "int8"]
    exact: bool = Field(description="whether the probabilities are those of the run")
    checkpoint: str
    cell: Literal["rnn", "gru", "lstm"]
    num_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    bidirectional: bool
    tokenizer: TokenizerConfig
    max_tokens: int = Field(ge=1)
    truncation: Truncation
    scales: tuple[float, float]
    uniform: float = Field(ge=0, le=1)
    data: ReadingConfig
    files: dict[str, FileRecord]


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """A folder and its manifest. `digest` is the SHA-256 of the manifest, which holds those of all files."""

    path: Path
    manifest: Manifest
    digest: str

    @property
    def name(self) -> str:
        """The name for messages, such as `model, exported from best, epoch 3, sha256 0f3a…`."""
        return f"{self.path.name}, exported from {self.manifest.checkpoint}"

    def read(self, name: str) -> bytes:
        """The content of a file. Raises CheckpointError if it is not the one that was exported."""
        path = self.path / name
        if (listed := self.manifest.files.get(name)) is None:
            raise CheckpointError(f"{self.path / MANIFEST}: does not list {name}")
        if path.is_symlink():
            raise CheckpointError(f"{path}: a link; an exported folder has only regular files")
        try:
            content = read_file(path, _MAX_BYTES[name])
        except OSError as fault:
            raise CheckpointError(f"{path}: cannot be read ({fault.strerror or fault})") from None
        if hashlib.sha256(content).hexdigest() != listed.sha256:
            raise CheckpointError(
                f"{path}: damaged: its content does not match the SHA-256 in the manifest; export the run again"
            )
        return content

    @property
    def has_ngrams(self) -> bool:
        """Whether n-grams are combined with the network."""
        return NGRAMS in self.manifest.files


def is_exported(path: str | Path) -> bool:
    """Whether `path` is meant as an exported folder, be it complete or not."""
    folder = Path(path).expanduser()
    if (folder / MODEL).is_file():
        return True
    try:
        return KIND.encode() in read_file(folder / MANIFEST, _MAX_MANIFEST_BYTES)
    except (OSError, ValueError):  # ValueError: a path with a null character
        return False


def open_folder(path: str | Path) -> ExportedFolder:
    """The folder with its manifest, checked; its other files are checked when they are read.

    Raises CheckpointError if it is not an exported folder, damaged, or written by a newer lstmcls.
    """
    folder = Path(path).expanduser()
    manifest = folder / MANIFEST
    try:
        content = json.loads(read_file(manifest, _MAX_MANIFEST_BYTES))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: has no {MANIFEST}, so the export did not finish; export the run again"
        ) from None
    except (OSError, ValueError, RecursionError) as fault:
        raise CheckpointError(f"{manifest}: cannot be read ({str(fault)[:200]})") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{manifest}: not the manifest of an exported folder")
    if content.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder}: exported in format {content.get('format')!r:.100}, this lstmcls reads {FORMAT}; "
            f"update lstmcls, or export the run again"
        )
    digest = content.pop("sha256", None)
    if digest != digest_of(content):
        raise CheckpointError(f"{manifest}: damaged: its content does not match its SHA-256")
    try:
        checked = Manifest.model_validate_json(json.dumps(content))
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{manifest}: damaged ({where}: {first['msg']})") from None
    if unknown := sorted(checked.files.keys() - _MAX_BYTES.keys()):
        raise CheckpointError(f"{manifest}: lists a file that does not belong there: {unknown[0]!r:.200}")
    return ExportedFolder(folder, checked, str(digest))


def digest_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the content of a manifest."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
