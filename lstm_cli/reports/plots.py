"""Learning curves, confusion matrices and reliability diagrams as PNG files, without matplotlib's global state."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from lstm_cli.data.durable import atomic_writer, storage_errors
from lstm_cli.tasks.report import ConfusionPlot, ForecastPlot, Plot, ReliabilityPlot, StepsPlot

_BLUE, _ORANGE, _GREY = "#2a6fb0", "#d9772b", "#9a9a9a"
_LONGEST_LABEL = 18
_FONTS = (
    "DejaVu Sans",  # comes with matplotlib
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)
"""The fonts for labels. The first font that has a character draws it."""


@contextmanager
def _figure(path: Path, width: float, height: float, columns: int = 1) -> Iterator[Any]:
    """Axes to draw on. The file is written, complete, when the block ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns)
    yield axes
    for ax in np.atleast_1d(axes):
        ax.spines[["top", "right"]].set_visible(False)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        figure.savefig(file, format="png", dpi=120)


def draw(plot: Plot, split: str, path: Path) -> None:
    """Draw one of a task's plots into a PNG file."""
    match plot:
        case ConfusionPlot():
            _confusion(plot, split, path)
        case ReliabilityPlot():
            _reliability(plot, path)
        case ForecastPlot():
            _forecasts(plot, path)
        case StepsPlot():
            _steps(plot, path)
        case _:
            assert_never(plot)


def learning_curves(
    records: Sequence[Mapping[str, Any]], metric: str, loss: str, whole_model: str | None, path: Path
) -> None:
    """Draw losses and the dev `metric` by epoch, with the best epoch marked. `loss` names the dev loss.

    The losses of the network alone can be compared between train and dev. `whole_model` is the name of the scored model
    if it is more than the network.
    """
    epochs = [record["epoch"] for record in records]
    best = [record for record in records if record["best"]]
    network = "network alone, " if whole_model else ""
    with _figure(path, 9, 3.6, columns=2) as (left, right):
        for split, colour in (("train", _BLUE), ("dev", _ORANGE)):
            # version 0.1 recorded no such losses
            values = [record.get("network_loss", {}).get(split, math.nan) for record in records]
            left.plot(epochs, values, "o-", color=colour, label=f"{network}{split}", markersize=4)
        if whole_model:
            values = [record["dev"][loss] for record in records]
            left.plot(epochs, values, "o--", color=_GREY, label=f"{whole_model}, dev", markersize=4)
        left.set_title("loss", loc="left")
        left.legend(frameon=False)
        values = [record["dev"][metric] for record in records]
        right.plot(epochs, values, "o-", color=_ORANGE, markersize=4)
        right.set_title(f"dev {metric}", loc="left")
        if best:
            epoch, value = best[-1]["epoch"], best[-1]["dev"][metric]
            right.plot([epoch], [value], "o", color=_BLUE, markersize=8)
            right.set_title(f"dev {metric}: best {value:.4f} in epoch {epoch}", loc="left")
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.grid(axis="y", alpha=0.3)


def _drawable(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The installed fonts, and the names as they are drawn. Long names are shortened in the middle. A name whose script
    is in no font is drawn as "class 3", counted from 0 in the order of confusion.csv."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    fonts = [font for font in _FONTS if font in installed]
    paths = [font_manager.findfont(font_manager.FontProperties(family=[font])) for font in fonts]
    known = {code for path in paths for code in font_manager.get_font(path).get_charmap()}
    shown = []
    for i, name in enumerate(" ".join(name.split()) for name in names):
        if len(name) > _LONGEST_LABEL:  # similar names often differ at their ends
            half = _LONGEST_LABEL // 2
            name = f"{name[: half - 1]}…{name[-half:]}"
        shown.append(name if name and known.issuperset(map(ord, name)) else f"class {i}")
    return fonts, shown


def _confusion(plot: ConfusionPlot, split: str, path: Path) -> None:
    """Draw a confusion matrix: colours show fractions of the true class, numbers count rows."""
    counts, names = plot.counts, plot.names
    size = min(max(3.6, 1.6 + 0.55 * len(names)), 16)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    fonts, shown = _drawable(names)
    style = {"fontfamily": fonts, "parse_math": False}  # a dollar sign in a label does not begin a formula
    with _figure(path, size + 0.8, size) as ax:
        ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        upright = max(map(len, shown)) <= 8 and len(names) <= 8
        ax.set_xticks(range(len(names)), shown, rotation=0 if upright else 90, **style)
        ax.set_yticks(range(len(names)), shown, **style)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        ax.set_title(f"{split}: rows of each class", loc="left", parse_math=False)
        if len(names) <= 30:
            font = 10 if len(names) <= 10 else 7
            for i, j in np.ndindex(counts.shape):
                if counts[i, j]:
                    colour = "white" if fractions[i, j] > 0.55 else "black"
                    ax.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=font)


def _reliability(plot: ReliabilityPlot, path: Path) -> None:
    """Draw accuracy against confidence.

    A calibrated model is on the diagonal. The area of a point shows its number of rows.
    """
    confidence, accuracy, count = plot.confidence, plot.accuracy, plot.count
    with _figure(path, 4.4, 4.4) as ax:
        ax.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
        ax.plot(confidence, accuracy, "-", color=_BLUE, alpha=0.4, linewidth=1)
        ax.scatter(confidence, accuracy, s=12 + 300 * count / count.sum(), color=_BLUE, alpha=0.8, zorder=3)
        lowest = 1 / plot.num_classes
        ax.set_xlim(max(0.0, lowest - 0.05), 1.02)
        ax.set_ylim(min(max(0.0, lowest - 0.05), float(accuracy.min()) - 0.05), 1.02)
        ax.set_xlabel("confidence of the prediction")
        ax.set_ylabel("accuracy")
        ax.set_title(f"reliability (calibration error {plot.error:.1%})", loc="left")
        ax.grid(alpha=0.3)


def _forecasts(plot: ForecastPlot, path: Path) -> None:
    """Draw forecasts one beside the other: the past, what came, the forecast and its interval."""
    with _figure(path, 4.2 * len(plot.titles), 3.2, columns=len(plot.titles)) as axes:
        for at, ax in enumerate(np.atleast_1d(axes)):
            past, future, quantiles = plot.past[at], plot.future[at], plot.quantiles[at]
            steps = np.arange(1, len(future) + 1)
            ax.plot(np.arange(1 - len(past), 1), past, color=_GREY, linewidth=1)
            ax.plot(steps, future, color=_GREY, linewidth=1, label="observed")
            ax.fill_between(steps, quantiles[:, 0], quantiles[:, -1], color=_BLUE, alpha=0.2, linewidth=0)
            ax.plot(steps, quantiles[:, plot.middle], color=_BLUE, label="forecast")
            ax.set_title(plot.titles[at], loc="left", fontsize=9, parse_math=False)
            ax.set_xlabel("step")
        np.atleast_1d(axes)[0].legend(frameon=False)


def _steps(plot: StepsPlot, path: Path) -> None:
    """Draw an error by step."""
    with _figure(path, 5.6, 3.6) as ax:
        for at, (name, values) in enumerate(plot.lines.items()):
            style = {"color": _BLUE, "linewidth": 2} if at == 0 else {"linewidth": 1}
            ax.plot(np.arange(1, len(values) + 1), values, ".-", label=name, **style)
        ax.set_xlabel("step")
        ax.set_ylabel(plot.error)
        ax.set_ylim(bottom=0)
        ax.grid(axis="y", alpha=0.3)
        ax.legend(frameon=False)
