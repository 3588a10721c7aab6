"""What the service knows of a model: how to ask it, and what to say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lstm_cli.arrays import Float64
from lstm_cli.data.rows import Reading
from lstm_cli.errors import LstmclsError
from lstm_cli.serve.refusal import Refusal


class Predicts(Protocol):
    """What `lstm_cli.load` returns."""

    @property
    def classes_(self) -> Any:
        """(C,) the labels, in the order of the columns of `predict_proba`."""
        ...

    def predict_proba(self, texts: Sequence[str]) -> Float64:
        """The probability of each class for each of N texts: (N, C)."""
        ...


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model in memory. `about` is the answer of GET /model, `reading` says which columns of rows are the text."""

    model: Predicts
    labels: tuple[str, ...]
    about: Mapping[str, Any]
    reading: Reading

    @property
    def explains(self) -> bool:
        """Whether it can say why it predicts what it predicts."""
        return callable(getattr(self.model, "explain", None))

    def explanation(self, text: str) -> dict[str, Any]:
        """Why this text gets its label, as JSON values. Raises Refusal if the model cannot say."""
        explain: Any = self.model.explain  # type: ignore[attr-defined]
        try:
            answer: dict[str, Any] = explain(text).as_json()
        except LstmclsError as fault:
            raise Refusal(400, f"body.explain: {fault}; leave it out") from None
        return answer
