"""How much an export that rounds loses on the dev rows of its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_cli.arrays import Float64, Int64
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import Rows
from lstm_cli.exported.model import ExportedModel
from lstm_cli.metrics.classification import ACCURACY, LOG_LOSS, classification
from lstm_cli.runtime import Runtime
from lstm_cli.scoring.windows import Predictor, predict_windows
from lstm_cli.tasks.classify import Classify

_MAX_ROWS = 10_000
"""So many rows at equal distances are scored. Half a point of accuracy is 50 of them."""
MAX_LOST_POINTS = 0.5


@dataclass(frozen=True, slots=True)
class Loss:
    """Accuracy and log loss on N dev rows of the run and of its export."""

    num_rows: int
    accuracy: tuple[float, float]
    log_loss: tuple[float, float]

    @property
    def lost_points(self) -> float:
        """Points of accuracy, in percent, by which the export is worse."""
        before, after = self.accuracy
        return 100 * (before - after)


def measure(
    task: Classify, run: Predictor, exported: ExportedModel, rows: Rows[Any], runtime: Runtime
) -> Loss:
    """Score the run's model and its export on the same rows. Raises DataError if a row cannot be used."""
    wanted = set(np.linspace(0, len(rows) - 1, min(len(rows), _MAX_ROWS)).astype(int).tolist())
    chosen = [row for i, row in enumerate(rows) if i in wanted]
    targets = np.array([task.labels.index(row) for row in chosen], np.int64)
    before, after = (_scores(task, predictor, chosen, targets, runtime) for predictor in (run, exported))
    return Loss(
        len(chosen),
        (before[ACCURACY.name], after[ACCURACY.name]),
        (before[LOG_LOSS.name], after[LOG_LOSS.name]),
    )


def _scores(
    task: Classify, predictor: Predictor, rows: Sequence[Row[Any]], targets: Int64, runtime: Runtime
) -> dict[str, float]:
    probs: Float64 = np.array(
        [one.output for window in predict_windows(predictor, rows, runtime) for one in window], np.float64
    )
    return classification(targets, probs, task.labels.names).scalars()
