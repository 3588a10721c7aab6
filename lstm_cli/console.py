"""All terminal output: tables, progress bars and messages. It goes to stderr; stdout carries only data."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lstm_cli.data.escaping import visible
from lstm_cli.errors import Interrupted, LstmclsError

if TYPE_CHECKING:  # an error panel must not wait for torch
    from lstm_cli.data.store import Store
    from lstm_cli.explain.explanation import Explanation
    from lstm_cli.nn.model import Stage
    from lstm_cli.training.fit import StepReport


def _text(message: str, style: str = "") -> Text:
    return Text(visible(message), style=style)  # a file, a label or a key may contain anything


def one_line(headline: str, lines: Sequence[str]) -> str:
    """A finding in one line: the headline, its examples in brackets, and the last of `lines`, the advice."""
    *examples, advice = lines
    return f"{headline} ({'; '.join(examples)}) {advice}" if examples else f"{headline} {advice}"


_MAX_WORDS, _MAX_NGRAMS, _BAR = 20, 6, 10
"""Words, n-grams and the length of a bar in an explanation."""


def _coloured(explained: Explanation, most: float) -> Text:
    """The text, with a background that shows what each word adds."""
    text, end = Text(), 0
    for word in explained.words:
        text.append_text(_text(explained.text[end : word.begin]))
        strength = abs(word.contribution) / most if most else 0.0
        colour = "green" if word.contribution > 0 else "red"
        style = f"bold {colour} reverse" if strength > 0.6 else f"bold {colour}" if strength > 0.2 else ""
        text.append_text(_text(word.word, style))
        end = word.end
    return text.append_text(_text(explained.text[end:]))


class Screen:
    """Writes to stderr: with colours and progress bars on a terminal, else in plain lines."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._errors = Console(stderr=True, highlight=False)

    def say(self, message: str) -> None:
        """Print a line. It is wrapped only if stderr is a terminal."""
        self._console.print(_text(message), soft_wrap=not self._console.is_terminal)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._console.print(
            _text(f"warning: {message}", style="yellow"), soft_wrap=not self._console.is_terminal
        )

    @contextmanager
    def notes(self) -> Iterator[None]:
        """Inside the block, print what the rooms below log (`logging.getLogger(__name__)`), each sentence once.

        A room that reads files may say a thing in every pass over them, and knows no screen.
        """
        logger, handler = logging.getLogger("lstm_cli"), _Notes(self)
        before = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    def error(self, fault: LstmclsError) -> None:
        """Print one panel with everything that is wrong, also when quiet."""
        text = _text(str(fault))
        title = "stopped" if isinstance(fault, Interrupted) else "error"
        if not self._errors.is_terminal:
            self._errors.print(Text(f"{title}: ") + text, soft_wrap=True)
            return
        self._errors.print(Panel(text, title=title, title_align="left", border_style="red", box=box.ROUNDED))

    def explanation(self, explained: Explanation, where: str) -> None:
        """Print to stdout what each word adds to a prediction: with colours on a terminal, else in plain lines."""
        console = Console(highlight=False)
        most = max((abs(word.contribution) for word in explained.words), default=0.0)
        head = _text(f"{where}: ") if where else Text()
        head.append_text(_text(explained.label, "bold")).append(f" {explained.score:.4f}, not ")
        head.append_text(_text(explained.against)).append(f" {explained.probs[explained.against]:.4f}")
        console.print(head)
        if console.is_terminal:
            console.print(_coloured(explained, most))
        shown = sorted(
            sorted(explained.words, key=lambda word: -abs(word.contribution))[:_MAX_WORDS],
            key=lambda word: word.begin,
        )
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("word", overflow="fold", max_width=20)
        table.add_column("adds", justify="right")
        table.add_column("")
        table.add_column("left out", justify="right")
        table.add_column("so far", justify="right")
        table.add_row("(any text)", f"{explained.base:+.2f}", "", "", "", style="dim")
        for word in shown:
            size = round(_BAR * abs(word.contribution) / most) if most else 0
            table.add_row(
                _text(" ".join(word.word.split())),
                f"{word.contribution:+.2f}",
                Text("█" * size, style="green" if word.contribution > 0 else "red"),
                "" if word.without is None else f"{-word.without:+.2f}",
                "" if word.score is None else f"{word.score:.3f}",
            )
        table.add_row("(sum)", f"{explained.difference:+.2f}", "", "", "", style="dim")
        console.print(table)
        notes = list(explained.notes)
        if explained.ngrams:
            of_words = [one for one in explained.ngrams if one.of == "words"][:_MAX_NGRAMS]
            listed = ", ".join(f"{' '.join(one.ngram.split())} {one.contribution:+.2f}" for one in of_words)
            notes.insert(0, f"n-grams of words that count most: {listed or 'none'}")
        if len(shown) < len(explained.words):
            notes.append(f"the {len(shown)} of {len(explained.words):,} words that add most are shown")
        for note in notes:
            console.print(_text(note), soft_wrap=not console.is_terminal)
        console.print()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table; every column but the first is right-aligned."""
        # not the table's own title, which is wrapped to the width of the table
        self._console.print(_text(title, style="italic"), soft_wrap=not self._console.is_terminal)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(columns):
            table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(_text(cell) for cell in row))
        self._console.print(table)

    def findings(self, findings: Sequence[tuple[str, str, Sequence[str]]]) -> None:
        """Print severity, headline and further lines of each finding; if stderr is not a terminal, one line each."""
        if not self._console.is_terminal:
            for severity, headline, lines in findings:
                self.say(f"{severity}: {one_line(headline, lines)}")
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for severity, headline, lines in findings:
            style = "yellow" if severity == "warning" else "cyan"
            grid.add_row(Text(severity, style), _text(headline, "bold"))
            for line in lines:
                grid.add_row("", _text(line, "dim"))
        self._console.print(grid)

    def splits(self, stores: Mapping[str, Store]) -> None:
        """Print the number of rows and tokens, the median length, and truncated and unknown tokens of every split."""
        rows = [
            [
                name,
                f"{len(store):,}",
                f"{store.num_steps:,}",
                f"{store.median_length:,}",
                f"{int(store.truncated.sum()):,}",
                "–" if store.unknown_fraction is None else f"{store.unknown_fraction:.2%}",
            ]
            for name, store in stores.items()
        ]
        self.table("data", ["split", "rows", "tokens", "median", "truncated", "unknown"], rows)

    def stages(self, stages: Sequence[Stage]) -> None:
        """Print the output shape and the number of parameters of every stage of a model."""
        rows = [[stage.name, stage.shape, f"{stage.parameters:,}"] for stage in stages]
        total = sum(stage.parameters for stage in stages)
        self.table("model", ["stage", "output shape", "parameters"], [*rows, ["total", "", f"{total:,}"]])

    @contextmanager
    def training(
        self, epochs: int, epochs_done: int, metric: str, loss: str, whole_model: str | None
    ) -> Iterator[TrainingProgress]:
        """Show a progress bar of the whole training if stderr is a terminal; epochs are printed as lines above it.

        `metric` is the dev score in these lines, `loss` the name of the dev loss, and `whole_model` what scores that
        are not those of the network alone are called.
        """
        bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[batch]}"),
            TextColumn("{task.fields[rate]} tok/s"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("best {task.fields[best]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
            transient=True,
        )
        fields: dict[str, Any] = {
            "epoch": epochs_done + 1,
            "epochs": epochs,
            "batch": "",
            "rate": "…",
            "loss": "…",
            "best": "…",
        }
        task = bar.add_task("training", total=epochs, completed=epochs_done, **fields)
        with bar:
            yield TrainingProgress(self, bar, task, metric, loss, whole_model)

    @contextmanager
    def counting(self, activity: str) -> Iterator[RowCounter]:
        """Show a running count of rows and their rate if stderr is a terminal, and print both at the end."""
        bar = Progress(
            TextColumn(activity),
            TextColumn("{task.completed:,.0f} rows"),
            _RateColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        task = bar.add_task(activity, total=None)
        began = time.perf_counter()
        counter = RowCounter(bar, task)
        with bar:
            yield counter
        seconds = time.perf_counter() - began
        rate = f"{counter.rows / max(seconds, 1e-9):,.0f} rows/s"
        self.say(
            "; ".join(
                [
                    f"{counter.rows:,} {'row' if counter.rows == 1 else 'rows'} in {seconds:.1f} s, {rate}",
                    *counter.remarks,
                ]
            )
        )


class _Notes(logging.Handler):
    """Prints log records of the package: INFO as lines, WARNING as warnings, each sentence once."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._shown:
            self._shown.add(message)
            (self._screen.warn if record.levelno >= logging.WARNING else self._screen.say)(message)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} rows/s")


@dataclass(slots=True)
class TrainingProgress:
    """The progress bar of a training, made by `Screen.training`."""

    screen: Screen
    bar: Progress
    task: Any
    metric: str
    loss: str
    whole_model: str | None
    num_microbatches: int = 1
    shows_columns: bool = False

    def step(self, report: StepReport) -> None:
        """Show a finished step; warn if memory ran out in it."""
        if report.num_microbatches > self.num_microbatches:
            self.num_microbatches = report.num_microbatches
            self.screen.warn(
                f"out of memory: from now on each batch is computed in {self.num_microbatches} parts; a step keeps "
                f"its rows"
            )
        self.bar.update(
            self.task,
            completed=report.epoch + report.num_done / report.num_batches,
            epoch=report.epoch + 1,
            batch=f"{report.num_done}/{report.num_batches}",
            rate=_short(report.tokens_per_second),
            loss=f"{report.loss:.3f}",
        )

    def scoring(self, num_done: int, num_rows: int) -> None:
        """Show how many rows are scored."""
        self.bar.update(self.task, batch=f"scoring {num_done:,}/{num_rows:,}")

    def epoch(self, record: Mapping[str, Any], best: float | None) -> None:
        """Print the line of a finished epoch, below the names of its columns; `best` is the best dev score so far."""
        dev, shown = record["dev"], self.metric
        if shown == self.loss:  # the dev loss has its own place in the line
            shown = next((name for name in dev if name != self.loss), shown)
        network = record["network_loss"]
        columns = [("train", network["train"]), ("dev", network["dev"])]
        if self.whole_model:
            columns += [("loss", dev[self.loss]), (shown, dev[shown])]
        else:
            columns.append((f"dev {shown}", dev[shown]))
        widths = [max(len(name), 7) for name, _ in columns]
        if not self.shows_columns:
            self.shows_columns = True
            losses = widths[0] + 2 + widths[1]
            whole = f"  {self.whole_model}, on dev" if self.whole_model else ""
            self.screen.say(f"       {'network loss':>{losses}}{whole}")
            names = "  ".join(f"{name:>{width}}" for (name, _), width in zip(columns, widths, strict=True))
            self.screen.say(f"epoch  {names}    tok/s  time")
        seconds = f"{record['seconds']:.0f} s"
        values = "  ".join(f"{value:{width}.4f}" for (_, value), width in zip(columns, widths, strict=True))
        self.screen.say(
            f"{record['epoch']:>5}  {values} {'*' if record['best'] else ' '}  "
            f"{_short(record['tokens_per_second']):>5}  {seconds:>4}"
        )
        if best is not None:
            self.bar.update(self.task, best=f"{best:.4f}")


@dataclass(slots=True)
class RowCounter:
    """The counter of rows, made by `Screen.counting`. Its last line ends with the `remarks`."""

    bar: Progress
    task: Any
    rows: int = 0
    remarks: Sequence[str] = ()

    def one_more(self) -> None:
        """Count one row."""
        self.rows += 1
        if self.rows % 1000 == 0:
            self.bar.update(self.task, completed=self.rows)


def _short(count: float) -> str:
    """12345 -> "12.3k"."""
    if count >= 100_000:
        return f"{count / 1000:.0f}k"
    return f"{count / 1000:.1f}k" if count >= 1000 else f"{count:.0f}"
