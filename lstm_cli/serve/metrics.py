"""Counts of the service, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(slots=True)
class _Histogram:
    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.total += value
        self.counts[next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))] += 1

    def lines(self, name: str, help: str) -> list[str]:
        lines = [f"# HELP {name} {help}", f"# TYPE {name} histogram"]
        below = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            below += count
            lines.append(f'{name}_bucket{{le="{bound:g}"}} {below}')
        below += self.counts[-1]
        return [
            *lines,
            f'{name}_bucket{{le="+Inf"}} {below}',
            f"{name}_sum {self.total:.6f}",
            f"{name}_count {below}",
        ]


class Metrics:
    """What GET /metrics shows. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._reloads: Counter[str] = Counter()
        self._seconds = _Histogram(_SECONDS)
        self._batches = _Histogram(_TEXTS)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered. `path` is one of the service, or "other"."""
        with self._lock:
            self._requests[path, status] += 1
            if path == "/predict":
                self._seconds.add(seconds)

    def batch(self, num_texts: int) -> None:
        """Count a batch that the model has read."""
        with self._lock:
            self._batches.add(num_texts)

    def reload(self, result: str) -> None:
        """Count an attempt to load the model again: `ok` or `failed`."""
        with self._lock:
            self._reloads[result] += 1

    def text(self, num_queued: int) -> str:
        """All counts, one a line."""
        with self._lock:
            lines = [
                "# HELP lstmcls_requests_total Requests answered.",
                "# TYPE lstmcls_requests_total counter",
            ]
            for (path, status), count in sorted(self._requests.items()):
                lines.append(f'lstmcls_requests_total{{path="{path}",status="{status}"}} {count}')
            lines += [
                "# HELP lstmcls_texts_total Texts the model has read.",
                "# TYPE lstmcls_texts_total counter",
            ]
            lines.append(f"lstmcls_texts_total {self._batches.total:.0f}")
            lines += self._seconds.lines(
                "lstmcls_predict_seconds", "From the headers of a POST /predict to its answer."
            )
            lines += self._batches.lines("lstmcls_batch_texts", "Texts the model has read at once.")
            lines += ["# HELP lstmcls_queue_texts Texts that wait.", "# TYPE lstmcls_queue_texts gauge"]
            lines.append(f"lstmcls_queue_texts {num_queued}")
            lines += [
                "# HELP lstmcls_reloads_total Reloads of the model.",
                "# TYPE lstmcls_reloads_total counter",
            ]
            lines += [
                f'lstmcls_reloads_total{{result="{name}"}} {self._reloads[name]}' for name in ("ok", "failed")
            ]
        return "\n".join(lines) + "\n"
