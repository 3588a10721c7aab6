"""Texts with their probabilities, by which an exported folder shows that it still predicts the same.

The texts are random words of the vocabulary. No text of the training data is among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import safetensors
import safetensors.numpy

from lstm_cli.arrays import Float64
from lstm_cli.data.text import rows_of_texts
from lstm_cli.errors import CheckpointError
from lstm_cli.exported.folder import CHECK, ExportedFolder
from lstm_cli.exported.model import ExportedModel
from lstm_cli.scoring.comparison import TOLERANCE, Check, compare

INT8_TOLERANCE = 0.02
"""Of probabilities. int8 rounds the states of a network at every step, and a state that another CPU computes with
another last digit may be rounded the other way."""
_MAX_HEADER_BYTES = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """N texts, their probabilities (N, C) by the run in torch, and those by the exported folder when it was written."""

    texts: Sequence[str]
    run: Float64
    exported: Float64

    def to_bytes(self) -> bytes:
        """The content of check.safetensors."""
        encoded = [text.encode() for text in self.texts]
        content: bytes = safetensors.numpy.save(
            {
                "texts": np.frombuffer(b"".join(encoded), np.uint8),
                "ends": np.cumsum([len(text) for text in encoded]),
                "run": self.run,
                "exported": self.exported,
            }
        )
        return content

    @classmethod
    def read(cls, folder: ExportedFolder) -> Sample:
        """The sample of an exported folder. Raises CheckpointError if it is damaged."""
        content = folder.read(CHECK)
        try:
            if int.from_bytes(content[:8], "little") > _MAX_HEADER_BYTES:
                raise ValueError("its header is too large")
            arrays = safetensors.numpy.load(content)
            whole, ends = arrays["texts"].tobytes(), arrays["ends"].tolist()
            texts = [whole[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
            sample = cls(texts, arrays["run"], arrays["exported"])
            if not sample.run.shape == sample.exported.shape == (len(texts), sample.run.shape[-1]):
                raise ValueError("its arrays do not have one row for each text")
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as fault:
            raise CheckpointError(f"{folder.path / CHECK}: damaged ({str(fault)[:200]})") from None
        return sample


def tolerance(folder: ExportedFolder) -> float:
    """The largest difference from the stored probabilities that is accepted."""
    return TOLERANCE if folder.manifest.weights == "fp32" else INT8_TOLERANCE


def checks(folder: ExportedFolder) -> Iterator[Check]:
    """Check the SHA-256 of every file, then the probabilities of the sample.

    Raises ConfigError if onnxruntime is not installed.
    """
    damaged = []
    for name in folder.manifest.files:
        try:
            folder.read(name)
        except CheckpointError as fault:
            damaged.append(str(fault))
    compared = f"{len(folder.manifest.files)} files with their SHA-256"
    if damaged:
        yield Check("files", compared, "FAILED", note="; ".join(damaged))
        return
    yield Check("files", compared, "ok")
    try:
        sample, model = Sample.read(folder), ExportedModel(folder)
    except CheckpointError as fault:
        yield Check("model", "it can be loaded", "FAILED", note=str(fault))
        return
    found = probabilities(model, sample.texts)
    texts = f"{len(found)} texts of random words"
    yield compare("stored answers", texts, [sample.exported], [found], tolerance(folder))
    if folder.manifest.exact:
        yield compare("answers of the run", texts, [sample.run], [found])
    else:
        difference = float(np.abs(sample.run - found).max())
        note = f"int8 or fewer n-grams: probabilities differ from those of the run by up to {difference:.3f}"
        yield Check("answers of the run", texts, "skipped", note=note)


def probabilities(model: ExportedModel, texts: Sequence[str]) -> Float64:
    """(N, C) probabilities of N texts."""
    probs, _, _ = model.outputs(model.encode(rows_of_texts(texts)))
    return probs
