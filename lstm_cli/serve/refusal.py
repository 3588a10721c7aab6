"""A request that is not answered: its HTTP status, and one sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping


class Refusal(Exception):  # noqa: N818 - the server did not fail
    """Ends a request with this status. The message says where, what, got, and what to try."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def error_body(message: str) -> bytes:
    """The body of every answer that is an error. In ASCII, since a message may quote half a character."""
    return json.dumps({"error": " ".join(message.split())}).encode()
