"""The command line. Every command imports its file only when it is called, so that --help stays fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lstm_cli import __version__
from lstm_cli.config.completion import configs_from, gates_from, presets_from, settings_from
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.process import guarded, of_the_system

if TYPE_CHECKING:
    from lstm_cli.console import Screen

app = typer.Typer(
    name="lstmcls",
    help="Train, score and use a recurrent text classifier on your own labelled text, from one YAML file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Source = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file, the folder of a run, or - for stdin.",
        autocompletion=configs_from,
    ),
]


Usable = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG|DIR",
        help="A YAML file, the folder of a run or of an export, or - for stdin.",
        autocompletion=configs_from,
    ),
]


def _examples(*commands: str) -> str:
    """The last part of a command's help. The tests run every line of it."""
    return "\n\n".join(["EXAMPLES", *commands])


Trainable = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG|DATA",
        help="A YAML file, a preset's name, the folder of a run, or - for stdin. Or data (a file, a folder, a data "
        "set), for which the config is guessed; the run keeps it.",
        autocompletion=configs_from,
    ),
]
TextColumn = Annotated[
    str | None, typer.Option("--text", metavar="COLUMN", help="For DATA: the column of the text.")
]
LabelColumn = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="For DATA: the column of the label.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="For DATA: the preset, such as sentences or multilingual.",
        autocompletion=presets_from,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one config key, such as train.epochs=5. Can be repeated.",
        autocompletion=settings_from,
    ),
]
Run = Annotated[
    str | None,
    typer.Option("--run", metavar="DIR", help="Folder of the run. Default: run.dir of the config."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only errors to stderr: no progress, no tables.")
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines/--no-baselines",
        help="Compare the model with baselines (majority class, TF-IDF) that are fitted on the same training rows.",
    ),
]
CheckpointChoice = Annotated[
    Literal["best", "last"],
    typer.Option("--checkpoint", help="Checkpoint to use: the one with the best dev score, or the last one."),
]


Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume from the last complete checkpoint; train.epochs and train.patience may be raised.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="If the folder already holds a run, delete that run and start again."),
]


Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        max=1024,
        metavar="N",
        help="Train one model on N GPUs of this machine, in one process each. The same as torchrun --nproc-per-node N.",
    ),
]


QuoteFormulas = Annotated[
    bool,
    typer.Option(
        "--quote-formulas",
        help="In CSV and TSV: put an apostrophe before cells that begin with = + - @, which a spreadsheet "
        "would run as formulas.",
    ),
]


def _refuse_both(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise ConfigError(
            "--resume and --overwrite: one continues the run, the other deletes it; give only one"
        )


_IN_EXTRAS = {
    "onnx": "export",
    "onnxruntime": "export",
    "ray": "ray",
    "starlette": "serve",
    "tensorboard": "tensorboard",
    "uvicorn": "serve",
}
_NOT_IN_RUNTIME = {"torch", "sklearn", "scipy", "datasets", "matplotlib"}
"""Packages that `lstmcls-runtime` leaves out."""


def _way_to_install(package: str | None) -> ConfigError | None:
    """The error for a package that is not installed and need not be; None for one that is always needed."""
    name = (package or "").partition(".")[0]
    if name == "pyarrow":
        return ConfigError("Parquet and .zst need pyarrow, which is not installed; try pip install pyarrow")
    if name in _NOT_IN_RUNTIME:
        return ConfigError(
            f"needs {name}, which is not installed: lstmcls-runtime only predicts with exported folders; "
            f"try pip install lstmcls"
        )
    if name in _IN_EXTRAS:
        return ConfigError(
            f"needs {name}, which is not installed; try pip install 'lstmcls[{_IN_EXTRAS[name]}]'"
        )
    return None


@contextmanager
def _reporting(quiet: bool) -> Iterator[Screen]:
    """Turn an error that the user can correct into one panel and its exit code. A bug keeps its traceback."""
    from lstm_cli.console import Screen
    from lstm_cli.runs.signals import stoppable

    follows = _follows()
    screen = Screen(quiet=quiet or follows)
    try:
        with stoppable(), screen.notes():
            yield screen
    except LstmclsError as fault:
        if not follows or fault.exit_code == 1:
            screen.error(fault)
        raise typer.Exit(fault.exit_code) from None
    except BrokenPipeError:  # `lstmcls predict … | head`: the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except ModuleNotFoundError as fault:
        if (needed := _way_to_install(fault.name)) is None:
            raise
        screen.error(needed)
        raise typer.Exit(needed.exit_code) from None
    except OSError as fault:
        screen.error(LstmclsError(of_the_system(fault)))
        raise typer.Exit(1) from None


def _in_processes(gpus: int | None, quiet: bool) -> None:
    """Run this command in `gpus` processes instead and end this one, unless it is one of these processes."""
    if gpus is None or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    from lstm_cli.commands.processes import refuse_too_many, run_in_processes

    with _reporting(quiet):
        refuse_too_many(gpus)
    raise typer.Exit(run_in_processes(gpus, sys.argv[1:]))


def _follows() -> bool:
    """Whether this is one of several processes that train, and not the first: that one speaks for all."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and os.environ.get("RANK", "0") != "0"


@app.command(
    rich_help_panel="Train",
    epilog=_examples(
        "lstmcls train reviews.csv",
        "lstmcls train sentences --set data.train=reviews.csv --set data.test=test.csv --run runs/mine",
        "lstmcls train runs/mine --resume --epochs 12",
    ),
)
def train(
    config: Trainable,
    text: TextColumn = None,
    label: LabelColumn = None,
    preset: Preset = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="train.epochs")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="train.batch_size")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", metavar="X", help="train.learning_rate")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="NAME", help="run.device")] = None,
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", help="run.threads")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="run.seed")] = None,
    set_: Set = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the config with all its keys to stdout, and train nothing."),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=2,
            max=1000,
            metavar="N",
            help="Train N times with the seeds run.seed, run.seed + 1 and so on, and summarise the scores.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            max=1000,
            metavar="K",
            help="Cross-validation: train K times, score each model on the fold left out, and summarise the scores.",
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="With --folds: afterwards train one model on all rows, for the median of the folds' best epochs.",
        ),
    ] = False,
    gpus: Gpus = None,
    baselines: Baselines = True,
    quiet: Quiet = False,
) -> None:
    """Train a model, save its best and last checkpoint, and score the best on test (on dev if there is no test)."""
    _in_processes(gpus, quiet)
    with _reporting(quiet) as screen:
        _refuse_both(resume, overwrite)
        if seeds and folds:
            raise ConfigError("--seeds and --folds: cannot be combined; give only one")
        if refit and not folds:
            raise ConfigError(
                "--refit: needs --folds K, which find the number of epochs and the calibration on rows that no fold "
                "learned from"
            )
        from lstm_cli.commands.train import TrainRequest, train
        from lstm_cli.config.guess import Given

        short = {
            "train.epochs": epochs,
            "train.batch_size": batch_size,
            "train.learning_rate": lr,
            "run.device": device,
            "run.threads": threads,
            "run.seed": seed,
        }
        overrides = [f"{key}={value}" for key, value in short.items() if value is not None]
        request = TrainRequest(
            source=config,
            overrides=(*overrides, *(set_ or ())),  # --set is the last word
            given=Given(text, label, preset),
            dry_run=dry_run,
            run_dir=run,
            resume=resume,
            overwrite=overwrite,
            baselines=baselines,
            by="seeds" if seeds else "folds" if folds else None,
            count=seeds or folds or 0,
            refit=refit,
        )
        if request.by:
            from lstm_cli.commands.train_several import train_several

            train_several(request, screen)
        else:
            train(request, screen)


@app.command(
    rich_help_panel="Train",
    epilog=_examples(
        "lstmcls pretrain sentences --set data.train=reviews.csv --set data.unlabelled=unlabelled.txt --run runs/text",
    ),
)
def pretrain(
    config: Source,
    set_: Set = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="DIR",
            help="Folder of the run. Default: run.dir of the config, with -pretrain added.",
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    gpus: Gpus = None,
    quiet: Quiet = False,
) -> None:
    """Pretrain a language model on text without labels; task.encoder.init_from starts a training from it."""
    _in_processes(gpus, quiet)
    with _reporting(quiet) as screen:
        _refuse_both(resume, overwrite)
        from lstm_cli.commands.pretrain import PretrainRequest, pretrain

        pretrain(PretrainRequest(config, tuple(set_ or ()), run, resume, overwrite), screen)


@app.command(
    "eval",
    rich_help_panel="Understand",
    epilog=_examples(
        "lstmcls eval runs/reviews",
        "lstmcls eval runs/reviews --data test.csv --fail-under accuracy=0.1 --json",
    ),
)
def evaluate(
    config: Source,
    split: Annotated[
        Literal["test", "dev"] | None,
        typer.Option("--split", help="Rows to score. Default: test, or dev if there is no test."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Score the labelled rows of this file instead."),
    ] = None,
    checkpoint: CheckpointChoice = "best",
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="METRIC=VALUE",
            help="Exit with code 4 if METRIC is worse than VALUE, such as macro_f1=0.85. Can be repeated.",
            autocompletion=gates_from,
        ),
    ] = None,
    set_: Set = None,
    run: Run = None,
    baselines: Baselines = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the scores (metrics.json) to stdout.")
    ] = False,
    quote_formulas: QuoteFormulas = False,
    quiet: Quiet = False,
) -> None:
    """Score a trained model, with 95 % intervals, and compare it with baselines."""
    with _reporting(quiet) as screen:
        if split and data:
            raise ConfigError("--split and --data: both say which rows to score; give only one")
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
            quote_formulas=quote_formulas,
        )
        run_eval(request, screen)


@app.command(
    rich_help_panel="Understand",
    epilog=_examples(
        'lstmcls explain runs/reviews --text "A fine film."',
        "lstmcls explain runs/reviews new.txt -o why.html",
        'lstmcls explain runs/reviews --text "A fine film." --target negative --json',
    ),
)
def explain(
    config: Source,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE…|-]", help="Texts, as for predict. Default: stdin."),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="A text to explain, in place of files; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PAGE",
            help="HTML page to write, for the first 500 texts. Default: the terminal.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per text to stdout.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="LABEL",
            help="Explain this label. Default: the most probable one of each text.",
        ),
    ] = None,
    checkpoint: CheckpointChoice = "best",
    set_: Set = None,
    run: Run = None,
    quiet: Quiet = False,
) -> None:
    """Show what each word adds to a prediction."""
    with _reporting(quiet) as screen:
        if not files and not texts and sys.stdin.isatty():
            raise ConfigError("explain: no input; give files, --text, or - to read stdin")
        from lstm_cli.commands.explain import ExplainRequest, explain

        request = ExplainRequest(
            source=config,
            files=tuple(files or (() if texts else ("-",))),
            texts=tuple(texts or ()),
            overrides=tuple(set_ or ()),
            run_dir=run,
            output=output,
            as_json=as_json,
            target=target,
            checkpoint=checkpoint,
        )
        explain(request, screen)


@app.command(
    rich_help_panel="Use",
    epilog=_examples(
        'lstmcls predict runs/reviews --text "A fine film."',
        "lstmcls predict runs/reviews new.txt -o predictions.csv --probs",
        "cat new.txt | lstmcls predict runs/reviews - --min-score 0.8",
    ),
)
def predict(
    config: Usable,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE…|-]",
            help="Text (one document per line), CSV, TSV, JSONL or Parquet files, addresses such as "
            "s3://bucket/rows.parquet, folders, or - for stdin. Default: stdin.",
        ),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="A text to predict, in place of files; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="File to write; it appears only when it is complete. Default: stdout.",
        ),
    ] = None,
    format_: Annotated[
        Literal["jsonl", "csv", "tsv", "parquet", "conll"] | None,
        typer.Option(
            "--format", help="Format of the output. Default: by the ending of OUT; jsonl for stdout."
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, metavar="K", help="Also list the K most probable labels.")
    ] = 1,
    probs: Annotated[
        bool, typer.Option("--probs", help="Also write the probability of every label.")
    ] = False,
    min_score: Annotated[
        float,
        typer.Option(
            "--min-score",
            min=0.0,
            max=1.0,
            metavar="X",
            help="Below this score the label is null, and the best guess is in `best`.",
        ),
    ] = 0.0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume an interrupted prediction: keep the rows saved for OUT and continue after them.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="i/N",
            help="Predict only the i-th of N equal parts of the rows, for N machines or jobs; lstmcls merge puts the "
            "parts together.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|ADDRESS",
            help="Predict on the CPUs of the Ray cluster at ADDRESS, or of this machine, one worker for each.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="After all rows are written, exit with code 3 if a row could not be read."
        ),
    ] = False,
    quote_formulas: QuoteFormulas = False,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="Leave the text that was read out of the output.")
    ] = False,
    bom: Annotated[
        bool,
        typer.Option(
            "--bom", help="In CSV and TSV: begin with the byte order mark by which Excel knows UTF-8."
        ),
    ] = False,
    checkpoint: CheckpointChoice = "best",
    set_: Set = None,
    run: Run = None,
    quiet: Quiet = False,
) -> None:
    """Write one prediction for each input row, in the order of the input."""
    with _reporting(quiet) as screen:
        if not files and not texts and sys.stdin.isatty():
            raise ConfigError("predict: no input; give files, --text, or - to read stdin")
        from lstm_cli.answers import PredictOptions
        from lstm_cli.commands.predict import PredictRequest, predict
        from lstm_cli.runs.shards import Shard

        request = PredictRequest(
            source=config,
            files=tuple(files or (() if texts else ("-",))),
            texts=tuple(texts or ()),
            overrides=tuple(set_ or ()),
            run_dir=run,
            output=output,
            format=format_,
            checkpoint=checkpoint,
            options=PredictOptions(top_k, probs, min_score),
            shard=Shard.parse(shard) if shard is not None else None,
            ray=ray,
            resume=resume,
            strict=strict,
            quote_formulas=quote_formulas,
            text=not no_text,
            bom=bom,
        )
        predict(request, screen)


@app.command(
    rich_help_panel="Use",
    epilog=_examples(
        "lstmcls predict runs/reviews new.txt -o part-1.jsonl --shard 1/2",
        "lstmcls predict runs/reviews new.txt -o part-2.jsonl --shard 2/2",
        "lstmcls merge part-1.jsonl part-2.jsonl -o merged.jsonl",
    ),
)
def merge(
    outputs: Annotated[
        list[Path],
        typer.Argument(metavar="OUT…", help="The outputs of lstmcls predict --shard i/N, in any order."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="ALL", help="File to write. Required."),
    ],
    quiet: Quiet = False,
) -> None:
    """Put the parts of a prediction together, in the order of the rows. A gap or an overlap is an error."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.merge import merge

        merge(outputs, output, screen)


@app.command(
    rich_help_panel="Use",
    epilog=_examples(
        "lstmcls export runs/reviews -o exported/reviews",
        "lstmcls predict exported/reviews --text 'A fine film.'",
    ),
)
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run of a classifier.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Folder to write, which must be new or empty."),
    ],
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Store the weights as 8-bit numbers: a quarter of the size, and faster."),
    ] = False,
    max_ngrams: Annotated[
        int | None,
        typer.Option(
            "--max-ngrams", min=0, metavar="N", help="Keep only the N n-grams with the largest weights."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write the folder also if it loses more than half a point of accuracy on dev."
        ),
    ] = False,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Write a run's best model as a folder that predicts without torch. predict and verify take it like a run."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.export import ExportRequest, export
        from lstm_cli.export.parts import ExportOptions

        options = ExportOptions(int8, max_ngrams)
        export(ExportRequest(run, output, tuple(set_ or ()), options, force), screen)


@app.command(
    rich_help_panel="Use",
    epilog=_examples(
        "lstmcls serve runs/reviews",
        "lstmcls serve runs/reviews --port 8080",
    ),
)
def serve(
    path: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR", help="The folder of a run, of several runs, of a checkpoint or of an export."
        ),
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port to listen on; 0: any free one.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="HOST", help="Address to listen on. The default answers this machine only."
        ),
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File with the token that clients must send. Default: the environment variable LSTMCLS_TOKEN, if set.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Answer predictions over HTTP, and show a page to try the model, until Ctrl-C. SIGHUP loads the model again."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.serve import ServeRequest, serve

        serve(ServeRequest(path, host, port, token_file, quiet), screen)


@app.command(
    rich_help_panel="Understand",
    epilog=_examples(
        "lstmcls verify runs/reviews",
    ),
)
def verify(
    config: Usable,
    set_: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks to stdout as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Check that the files of a run or an export are intact and that its model still gives the same predictions."""
    with _reporting(quiet) as screen:
        from lstm_cli.exported.folder import is_exported

        if is_exported(config):
            from lstm_cli.commands.verify_exported import verify_exported

            verify_exported(config, set_ or [], screen, as_json=as_json)
        else:
            from lstm_cli.commands.verify import verify

            verify(config, set_ or [], screen, as_json=as_json)


@app.command(
    rich_help_panel="Data",
    epilog=_examples(
        "lstmcls init sentences -o my.yaml",
        "lstmcls init --schema -o schema.json",
    ),
)
def init(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="[PRESET]",
            help="Config to start from: quickstart, sentences, documents or multilingual.",
            autocompletion=presets_from,
        ),
    ] = "sentences",
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FILE|-", help="File to write, which must not exist yet; - is stdout."
        ),
    ] = "-",
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Write the JSON Schema of a config instead, for completion in an editor."
        ),
    ] = False,
) -> None:
    """Write a commented config to start from."""
    with _reporting(quiet=False) as screen:
        from lstm_cli.commands.init import init

        init(preset, output, screen, schema=schema)


@app.command(
    rich_help_panel="Data",
    epilog=_examples(
        "lstmcls check reviews.csv",
        "lstmcls check sentences --set data.train=reviews.csv --fix clean.csv --suspects",
    ),
)
def check(
    config: Trainable,
    text: TextColumn = None,
    label: LabelColumn = None,
    preset: Preset = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report to stdout as JSON.")] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix",
            metavar="OUT",
            help="Write a cleaned copy of the training rows (.csv or .jsonl), and a log of the changes.",
        ),
    ] = None,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects",
            help="Also list the training rows whose label looks wrong, the most suspicious first.",
        ),
    ] = False,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Check config and data without training. Exits with code 3 if a finding is an error."""
    with _reporting(quiet) as screen:
        from lstm_cli.commands.check import CheckRequest, check
        from lstm_cli.config.guess import Given

        given = Given(text, label, preset)
        check(CheckRequest(config, tuple(set_ or ()), as_json, fix, suspects, given), screen)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lstmcls {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    del version


def main() -> NoReturn:
    """Run the command line. `lstm_cli.__main__` does the same and can be stopped earlier: it imports this later."""
    guarded(run)


def run() -> None:
    """Run the command that the process was started with."""
    # Threads that spin while they wait made a training step up to 12 times slower on a shared core, and at most 1.3
    # times faster on a core of their own. The variable is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # By default oneDNN caches prepared kernels for up to 1,024 batch shapes. After 100 steps on film reviews the
    # process took 1.6 GB, and more with each step. With 8 or 32 shapes it took 1.0 or 1.3 GB, at the same speed within
    # noise.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    # pydantic would look for plug-ins among all installed packages, and no command needs one: 13 ms of its start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    app()


if __name__ == "__main__":
    main()
