"""What one client may ask for, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the service. docs/serve.md has them as a table.

    `queue_texts` wait while a batch of up to `batch_texts` is computed. `header_seconds`, `body_seconds` and
    `idle_seconds` are how long a client may take for the headers, the body, and until its next request;
    `answer_seconds` how long an answer may take; `drain_seconds` how long the end waits for them.
    """

    body_bytes: int = 2**20
    header_bytes: int = 2**14
    texts: int = 1_000
    text_chars: int = 100_000
    explained_texts: int = 4
    explained_chars: int = 2_000
    queue_texts: int = 4_096
    batch_texts: int = 128
    connections: int = 1_000
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    idle_seconds: float = 30.0
    answer_seconds: float = 30.0
    drain_seconds: float = 60.0
