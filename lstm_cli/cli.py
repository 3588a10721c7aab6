"""What can be typed. Every command imports its own file when it is called, so that --help stays quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lstm_cli import __version__
from lstm_cli.errors import ConfigError, LstmclsError

if TYPE_CHECKING:
    from lstm_cli.console import Screen

app = typer.Typer(
    name="lstmcls",
    help="Train, score and use a recurrent text classifier on your own labelled text, from one YAML file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


Source = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, a run's folder, or - for stdin.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.epochs=5; repeatable."),
]
Run = Annotated[
    str | None, typer.Option("--run", metavar="DIR", help="The run's folder, instead of run.dir.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables on stderr.")]
Baselines = Annotated[
    bool,
    typer.Option("--baselines/--no-baselines", help="Fit majority and TF-IDF baselines on the same rows."),
]
Which = Annotated[Literal["best", "last"], typer.Option("--checkpoint", help="The model to use.")]


Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's last whole checkpoint.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the run that is there first.")]


def _refuse_both(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise ConfigError(
            "--resume and --overwrite: one goes on with the run, the other deletes it; give one"
        )


@contextmanager
def _reporting(quiet: bool) -> Iterator[Screen]:
    """Every fault that a user can mend ends as one panel and its exit code. A bug keeps its traceback."""
    from lstm_cli.console import Screen
    from lstm_cli.runs.signals import stoppable

    screen = Screen(quiet=quiet)
    try:
        with stoppable():
            yield screen
    except LstmclsError as fault:
        screen.error(fault)
        raise typer.Exit(fault.exit_code) from None
    except BrokenPipeError:  # `lstmcls predict … | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename else ""
        screen.error(LstmclsError(f"{where}{fault.strerror or fault}"))
        raise typer.Exit(1) from None


@app.command()
def train(
    config: Source,
    set_: Set = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=2, max=1000, metavar="N", help="Train N times, from run.seed on, and sum them up."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            max=1000,
            metavar="K",
            help="Train K times, each scored on another part of train, and sum them up.",
        ),
    ] = None,
    baselines: Baselines = True,
    quiet: Quiet = False,
) -> None:
    """Train, keep the best and the last model, and score the best on test (on dev where there is no test)."""
    with _reporting(quiet) as screen:
        _refuse_both(resume, overwrite)
        if seeds and folds:
            raise ConfigError("--seeds and --folds: both say what the several runs differ in; give one")
        from lstm_cli.commands.train import TrainRequest, train

        request = TrainRequest(
            source=config,
            overrides=tuple(set_ or ()),
            run_dir=run,
            resume=resume,
            overwrite=overwrite,
            baselines=baselines,
            by="seeds" if seeds else "folds" if folds else None,
            count=seeds or folds or 0,
        )
        if request.by:
            from lstm_cli.commands.train_several import train_several

            train_several(request, screen)
        else:
            train(request, screen)


@app.command()
def pretrain(
    config: Source,
    set_: Set = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="DIR", help="The run's folder, instead of RUN.DIR-pretrain."),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Learn embedding and layers from text without labels, for task.encoder.init_from to start from."""
    with _reporting(quiet) as screen:
        _refuse_both(resume, overwrite)
        from lstm_cli.commands.pretrain import PretrainRequest, pretrain

        pretrain(PretrainRequest(config, tuple(set_ or ()), run, resume, overwrite), screen)


@app.command("eval")
def evaluate(
    config: Source,
    split: Annotated[
        Literal["test", "dev"] | None, typer.Option("--split", help="Which rows; test where there is one.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Labelled rows of another file.")
    ] = None,
    checkpoint: Which = "best",
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="METRIC=VALUE",
            help="Exit 4 where a score is worse, such as macro_f1=0.85; repeatable.",
        ),
    ] = None,
    set_: Set = None,
    run: Run = None,
    baselines: Baselines = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json to stdout.")] = False,
    quiet: Quiet = False,
) -> None:
    """Score a trained model, with intervals, beside honest baselines."""
    with _reporting(quiet) as screen:
        if split and data:
            raise ConfigError("--split and --data: both say which rows to score; give one")
        from lstm_cli.commands.evaluate import EvalRequest, run_eval

        request = EvalRequest(
            source=config,
            overrides=tuple(set_ or ()),
            run_dir=run,
            split=split,
            data=data,
            checkpoint=checkpoint,
            fail_under=tuple(fail_under or ()),
            baselines=baselines,
            as_json=as_json,
        )
        run_eval(request, screen)


@app.command()
def predict(
    config: Source,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE…|-]",
            help="Text (a document a line), CSV, TSV, JSONL, Parquet, folders, or - for stdin.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT", help="A file, written whole or not at all; else stdout."
        ),
    ] = None,
    format_: Annotated[
        Literal["jsonl", "csv", "tsv"] | None,
        typer.Option("--format", help="Of the output; by default what OUT ends with, or jsonl."),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, metavar="K", help="Also list the K likeliest labels.")
    ] = 1,
    probs: Annotated[bool, typer.Option("--probs", help="Also write every label's probability.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the OUT that was stopped, after its last whole rows.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit 3, once all is written, where a row could not be read."),
    ] = False,
    quote_formulas: Annotated[
        bool,
        typer.Option(
            "--quote-formulas", help="In CSV and TSV: an apostrophe before cells that begin with = + - @."
        ),
    ] = False,
    checkpoint: Which = "best",
    set_: Set = None,
    run: Run = None,
    quiet: Quiet = False,
) -> None:
    """Write one prediction for every row in, in order."""
    with _reporting(quiet) as screen:
        if not files and sys.stdin.isatty():
            raise ConfigError("predict: no input; give files, or - to read stdin")
        from lstm_cli.commands.predict import PredictRequest, predict
        from lstm_cli.tasks.base import PredictOptions

        request = PredictRequest(
            source=config,
            files=tuple(files or ("-",)),
            overrides=tuple(set_ or ()),
            run_dir=run,
            output=output,
            format=format_,
            checkpoint=checkpoint,
            options=PredictOptions(top_k, probs),
            resume=resume,
            strict=strict,
            quote_formulas=quote_formulas,
        )
        predict(request, screen)


@app.command()
def verify(
    config: Source,
    set_: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks to stdout.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check that a run is whole and its best model answers the same in any batch, on any path, and as it was scored."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.verify import verify

        verify(config, set_ or [], screen, as_json=as_json)


@app.command()
def init(
    preset: Annotated[
        str, typer.Argument(metavar="[PRESET]", help="quickstart, sentences, documents or multilingual.")
    ] = "sentences",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE|-", help="Where to write it; - is stdout.")
    ] = "-",
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON Schema of a config instead, for editors.")
    ] = False,
) -> None:
    """Write a commented config to start from."""
    with _reporting(quiet=False) as screen:
        from lstm_cli.commands.init import init

        init(preset, output, screen, schema=schema)


@app.command()
def check(
    config: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report to stdout.")] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", metavar="OUT", help="Write a cleaned copy of the training rows (.csv, .jsonl) and a log."
        ),
    ] = None,
    suspects: Annotated[
        bool, typer.Option("--suspects", help="Also rank the training rows whose label looks wrong.")
    ] = False,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Read config and data, find what is wrong with them, train nothing. Exit 3 where a finding is an error."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.check import CheckRequest, check

        check(CheckRequest(config, tuple(set_ or ()), as_json, fix, suspects), screen)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lstmcls {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """The entry point of the `lstmcls` command."""
    # Threads that wait by spinning made a training step up to 12 times slower where a core was shared; 1.3 times
    # faster is all they gave where it was not. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # oneDNN keeps what it has prepared for 1,024 shapes of batches: up to 1.6 GB in 100 steps on film reviews, and more
    # the longer. With 8 or 32 of them 1.0 and 1.3 GB, in the same time within noise.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    app()


if __name__ == "__main__":
    main()
