"""One whole run through the command line: its files, its repeatability, its resumption, its predictions."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == 0, result.output
    return result


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def trained(small_yaml: str, tmp_path: Path) -> Path:
    run("train", small_yaml)
    return tmp_path / "run"


def test_a_run_leaves_everything_that_is_promised(trained: Path) -> None:
    found = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    promised = {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "log.txt",
        "plots/curves.png",
        *(f"checkpoints/best/{name}.json" for name in ("config", "tokenizer", "labels", "manifest")),
        *(
            f"checkpoints/last/{name}.json"
            for name in ("config", "tokenizer", "labels", "manifest", "training")
        ),
        "checkpoints/best/model.safetensors",
        "checkpoints/last/model.safetensors",
        "checkpoints/last/training.safetensors",
        *(f"eval/test/{name}" for name in ("metrics.json", "report.md", "confusion.csv")),
        *(f"eval/test/{name}" for name in ("predictions.jsonl", "mistakes.jsonl")),
        *(f"eval/test/plots/{name}.png" for name in ("confusion", "reliability")),
    }
    assert promised <= found
    epochs = lines((trained / "metrics.jsonl").read_text("utf-8"))
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    environment = json.loads((trained / "environment.json").read_text("utf-8"))
    assert environment["data"]["train"]["rows"] == 120
    assert environment["versions"]["torch"]
    assert environment["device"] == "cpu"
    assert environment["threads"] == 1
    assert environment["deterministic"] is True


@pytest.mark.parametrize("split", ["test", "dev"])
def test_the_metrics_are_scikit_learns_of_the_written_predictions(trained: Path, split: str) -> None:
    from sklearn import metrics as sk

    run("eval", str(trained), "--split", split)
    folder = trained / "eval" / split
    said = json.loads((folder / "metrics.json").read_text("utf-8"))
    rows = lines((folder / "predictions.jsonl").read_text("utf-8"))
    names = ["negative", "positive"]
    probs = np.array([[row["probs"][name] for name in names] for row in rows])  # type: ignore[index]
    truth = np.array([names.index(str(row["target"])) for row in rows])
    guess = np.array([names.index(str(row["label"])) for row in rows])
    assert said["n"] == len(rows) == 40
    assert [row["row"] for row in rows] == list(range(40))
    expected = {
        "accuracy": sk.accuracy_score(truth, guess),
        "macro_f1": sk.f1_score(truth, guess, average="macro"),
        "micro_f1": sk.f1_score(truth, guess, average="micro"),
        "weighted_f1": sk.f1_score(truth, guess, average="weighted"),
        "log_loss": sk.log_loss(truth, probs),
        "roc_auc": sk.roc_auc_score(truth, probs[:, 1]),
    }
    for name, value in expected.items():
        assert said[name] == pytest.approx(value, abs=1e-12), name
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, guess)
    for i, name in enumerate(names):
        assert said["per_class"][name] == pytest.approx(
            {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]}, abs=1e-12
        )
    assert set(said["baselines"]) == {"majority", "tfidf_logreg"}
    assert said["chosen_on"] == (split == "dev")
    assert (said["verdict"] is None) == (said["ece"] is None) == said["chosen_on"]
    low, high = said["ci95"]["accuracy"]
    assert low <= said["accuracy"] <= high


def test_another_file_is_scored_beside_the_splits_and_does_not_replace_them(
    trained: Path, tmp_path: Path
) -> None:
    before = (trained / "eval" / "test" / "metrics.json").read_bytes()
    other = tmp_path / "test.csv.gz"
    other.write_bytes(gzip.compress(b"text,label\ngood,positive\nbad,negative\nfine,positive\n"))
    said = json.loads(run("eval", str(trained), "--data", str(other), "--json").stdout)
    assert said["n"] == 3
    assert re.fullmatch(r"test-[0-9a-f]{8}", said["split"])
    assert (trained / "eval" / said["split"] / "report.md").exists()
    assert (trained / "eval" / "test" / "metrics.json").read_bytes() == before
    (tmp_path / "train.csv").unlink()
    moved = run("eval", str(trained), "--data", str(other), "--json")
    assert json.loads(moved.stdout)["baselines"] == {}
    assert "no baselines" in moved.stderr


def test_every_path_and_checkpoint_that_is_scored_has_a_folder_of_its_own(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["a/x.2024.csv", "b/x.2024.csv", "a/x.2025.csv", "a/x.2024.csv.gz"]
    for place in places:
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        content = b"text,label\ngood,positive\nbad,negative\n"
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        run("eval", str(trained), "--data", str(path), "--no-baselines")
    monkeypatch.chdir(tmp_path)
    run("eval", str(trained), "--data", "a/x.2024.csv", "--no-baselines")  # the same path
    test = (trained / "eval" / "test" / "metrics.json").read_bytes()
    run("eval", str(trained), "--data", "a/x.2024.csv", "--no-baselines", "--checkpoint", "last")
    run("eval", str(trained), "--split", "test", "--no-baselines", "--checkpoint", "last")
    assert (trained / "eval" / "test" / "metrics.json").read_bytes() == test
    folders = {path.name for path in (trained / "eval").iterdir()}
    of_files = {name for name in folders if re.fullmatch(r"x\.202[45]-[0-9a-f]{8}", name)}
    assert len(of_files) == len(places)
    assert len(folders - of_files) == 3
    assert {"test", "test-last"} < folders
    (last,) = folders - of_files - {"test", "test-last"}
    assert last.removesuffix("-last") in of_files
    scored = json.loads((trained / "eval" / last / "metrics.json").read_text("utf-8"))
    assert (scored["split"], scored["checkpoint"].split(",")[0]) == (last.removesuffix("-last"), "last")


def model_bytes(folder: Path) -> list[bytes]:
    return [(folder / "checkpoints" / name / "model.safetensors").read_bytes() for name in ("best", "last")]


def without_clock(folder: Path) -> list[dict[str, object]]:
    timed = {"seconds", "dev_seconds", "tokens_per_second"}
    return [
        {key: value for key, value in epoch.items() if key not in timed}
        for epoch in lines((folder / "metrics.jsonl").read_text("utf-8"))
    ]


def test_training_twice_gives_the_same_bytes(small_yaml: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("train", small_yaml, "--run", str(tmp_path / name), "--no-baselines")
    assert model_bytes(tmp_path / "one") == model_bytes(tmp_path / "two")
    assert without_clock(tmp_path / "one") == without_clock(tmp_path / "two")


def test_an_interrupted_run_that_is_resumed_ends_with_the_bytes_of_one_that_ran_through(
    small_yaml: str, tmp_path: Path
) -> None:
    """A real process gets a real signal in the middle of its training."""
    long = ["--set", "train.epochs=40", "--set", "train.patience=0", "--no-baselines"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run("train", small_yaml, "--run", str(straight), *long)
    command = [sys.executable, "-m", "lstm_cli.cli", "train", small_yaml, "--run", str(stopped), *long]
    for number, extra in ((signal.SIGTERM, []), (signal.SIGINT, ["--resume"])):
        before = _count_epochs(stopped)
        process = subprocess.Popen([*command, *extra], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 300
        while _count_epochs(stopped) < before + 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 128 + number, said
        assert "Traceback" not in said
        assert "--resume" in said
        assert _count_epochs(stopped) < 40
        assert said.count("stopped: ") == 1
        log = (stopped / "log.txt").read_text("utf-8")
        assert log.count(f"stopped by {signal.Signals(number).name} after step ") == 1
    run("train", str(stopped), "--resume", "--no-baselines")
    assert model_bytes(stopped) == model_bytes(straight)
    assert without_clock(stopped) == without_clock(straight)


def _count_epochs(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def test_a_run_whose_config_or_data_changed_is_not_resumed(
    trained: Path, small_yaml: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["train", small_yaml, "--resume", "--set", "train.batch_size=8"])
    assert result.exit_code == 2
    assert "-  batch_size: 16" in result.stderr
    assert "+  batch_size: 8" in result.stderr
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as file:
        file.write("one more,positive\n")
    result = CliRunner().invoke(app, ["train", small_yaml, "--resume"])
    assert result.exit_code == 2
    assert "the rows of train" in result.stderr


def test_resuming_where_nothing_was_saved_starts_from_the_beginning_and_says_so(
    trained: Path, small_yaml: str, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_bytes((trained / "config.yaml").read_bytes())
    (bare / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo', encoding="utf-8")  # killed before it was saved
    result = run("train", str(bare), "--resume", "--no-baselines")
    assert "starts from the beginning" in result.stderr
    assert model_bytes(bare) == model_bytes(trained)
    assert without_clock(bare) == without_clock(trained)


def test_resuming_a_finished_run_trains_no_further(trained: Path) -> None:
    before = model_bytes(trained), without_clock(trained)
    run("train", str(trained), "--resume")
    assert (model_bytes(trained), without_clock(trained)) == before


def test_a_moved_run_predicts_the_same(trained: Path, tmp_path: Path) -> None:
    texts = "fine\nbad\nword3 never good\n"
    here = run("predict", str(trained), stdin=texts).stdout
    trained.rename(tmp_path / "elsewhere")
    assert run("predict", str(tmp_path / "elsewhere"), stdin=texts).stdout == here


def test_overwriting_begins_again(trained: Path, small_yaml: str) -> None:
    before = model_bytes(trained)
    run("train", small_yaml, "--overwrite", "--no-baselines", "--set", "run.seed=3")
    assert model_bytes(trained) != before


STRANGE = [
    "good",
    "",
    "   ",
    "never bad " * 2_000,
    "a\x00b\x07\x1b[31m",
    "🎬👍🏽",
    "x\u0085y\u2028z",
    "﷽" * 50,
    "\t",
]


def test_every_line_in_is_a_prediction_out_in_order(trained: Path) -> None:
    alone = [lines(run("predict", str(trained), "--probs", stdin=text + "\n").stdout)[0] for text in STRANGE]
    together = lines(run("predict", str(trained), "-", "--probs", stdin="\n".join(STRANGE)).stdout)
    assert [line["row"] for line in together] == list(range(len(STRANGE)))
    for one, line in zip(alone, together, strict=True):
        assert line["label"] == one["label"]
        assert line["probs"] == pytest.approx(one["probs"], abs=1e-6)
    assert "truncated" in together[3]


def test_a_line_that_is_not_utf_8_is_a_row_with_an_error(trained: Path) -> None:
    result = run("predict", str(trained), stdin=b"fine\n\xff\xfe caf\xe9\nbad\n")
    out = lines(result.stdout)
    assert [set(line) for line in out] == [
        {"row", "label", "score", "text"},
        {"row", "error"},
        {"row", "label", "score", "text"},
    ]
    assert "not valid UTF-8" in str(out[1]["error"])


def test_columns_are_kept_and_never_shadow_a_prediction(trained: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        'id,text,label,score\n7,"fine, good",negative,high\n8,bad,positive,low\n', encoding="utf-8"
    )
    out = lines(run("predict", str(trained), str(source), "--top-k", "2").stdout)
    assert [(line["id"], line["input.label"], line["input.score"]) for line in out] == [
        ("7", "negative", "high"),
        ("8", "positive", "low"),
    ]
    assert isinstance(out[0]["score"], float)
    assert [entry["label"] for entry in out[0]["top"]] in (["negative", "positive"], ["positive", "negative"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", ["csv", "tsv"])
def test_a_table_reads_back_as_the_predictions(trained: Path, tmp_path: Path, format: str) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / f"out.{format}"
    texts = ["fine", 'quote " comma , tab \t', ""]
    notes = ["a", 'b,"c"\td', "e\nf"]
    source.write_text(
        "".join(json.dumps({"text": t, "note": n}) + "\n" for t, n in zip(texts, notes, strict=True)),
        encoding="utf-8",
    )
    run("predict", str(trained), str(source), "-o", str(target), "--probs")
    expected = lines(run("predict", str(trained), str(source), "--probs").stdout)
    with target.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="," if format == "csv" else "\t"))
    assert [row["note"] for row in table] == notes
    assert [row["label"] for row in table] == [line["label"] for line in expected]
    assert [row["text"] for row in table] == texts
    assert [row["score"] for row in table] == [f"{line['score']:.6g}" for line in expected]
    assert {"probs.negative", "probs.positive"} <= set(table[0])


def test_a_file_of_predictions_is_whole_or_absent(trained: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fine", "a": "1"}\n{"text": "bad", "b": "2"}\n', encoding="utf-8")
    result = CliRunner().invoke(app, ["predict", str(trained), str(source), "-o", str(tmp_path / "out.csv")])
    assert result.exit_code == 1
    assert "--format jsonl" in result.stderr
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_folders_and_several_files_are_read_in_order(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "b.txt").write_text("bad\nslow\n", encoding="utf-8")
    (folder / "a.txt").write_text("fine\n", encoding="utf-8")
    assert [line["id"] for line in lines(run("predict", str(trained), str(folder)).stdout)] == [
        "a.txt",
        "b.txt",
    ]
    out = lines(run("predict", str(trained), str(folder / "b.txt"), str(folder / "a.txt")).stdout)
    assert [line["row"] for line in out] == [0, 1, 2]


def test_a_reader_that_has_had_enough_ends_it_quietly(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("fine\n" * 20_000, encoding="utf-8")
    predict = [sys.executable, "-m", "lstm_cli.cli", "predict", str(trained), str(tmp_path / "many.txt")]
    command = f"{shlex.join(predict)} | head -n 2"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


def test_stdout_carries_data_only_and_quiet_means_quiet(
    trained: Path, small_yaml: str, tmp_path: Path
) -> None:
    assert run("train", small_yaml, "--run", str(tmp_path / "other"), "--no-baselines").stdout == ""
    assert run("eval", str(trained), "--quiet", "--json").stderr == ""
    assert run("predict", str(trained), "--quiet", stdin="fine\n").stderr == ""


def test_tensorboard_is_written_when_asked(small_yaml: str, tmp_path: Path) -> None:
    run("train", small_yaml, "--no-baselines")
    assert not (tmp_path / "run" / "tensorboard").exists()
    run("train", small_yaml, "--no-baselines", "--overwrite", "--set", "run.tensorboard=true")
    events = list((tmp_path / "run" / "tensorboard").iterdir())
    assert len(events) == 1
    assert b"dev/macro_f1" in events[0].read_bytes()
    assert b"network_loss/dev" in events[0].read_bytes()


def test_help_answers_without_the_heavy_libraries() -> None:
    program = "import sys; from lstm_cli.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert not loaded & {
        "torch",
        "datasets",
        "sklearn",
        "numpy",
        "pyarrow",
        "pydantic",
        "tokenizers",
        "matplotlib",
    }


def test_the_version_is_the_packages() -> None:
    assert re.fullmatch(r"lstmcls \d+\.\d+\.\d+\n", run("--version").stdout)


def test_predicting_a_line_imports_no_compiler_and_no_fitting(trained: Path, tmp_path: Path) -> None:
    """Each would take longer than the rest of the command."""
    (tmp_path / "one.txt").write_text("never bad\n", encoding="utf-8")
    script = (
        "import sys\nfrom lstm_cli.cli import app\n"
        f"app(['predict', {str(trained)!r}, {str(tmp_path / 'one.txt')!r}], standalone_mode=False)\n"
        "print([name for name in ('torch._dynamo', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
