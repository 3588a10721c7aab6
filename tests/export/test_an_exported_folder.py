"""An exported folder predicts as its run does, without torch, and says what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_cli
from lstm_cli.errors import CheckpointError, ConfigError
from lstm_cli.exported.folder import digest_of
from lstm_cli.exported.model import load_exported
from tests.conftest import small_rows
from tests.export.conftest import lstmcls

ROOT = Path(__file__).parents[2]
TEXTS = [text for text, _ in small_rows(60, seed=3)] + ["", "xyzzy", "fine 🙂", "好", "good " * 50]


def rows(path: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    result = lstmcls("predict", path, *arguments, "--probs", "--top-k", "2")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_prediction_is_that_of_the_run(run: Path, exported: Path, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"review": t, "place": i}) + "\n" for i, t in enumerate(TEXTS))
    (tmp_path / "texts.jsonl").write_text(lines + '{"place": 1}\n', "utf-8")
    expected, found = rows(run, tmp_path / "texts.jsonl"), rows(exported, tmp_path / "texts.jsonl")
    assert len(found) == len(TEXTS) + 1
    assert any(row.get("truncated") for row in found)
    assert any(row.get("unknown") for row in found)
    assert "error" in found[-1]
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"score", "probs", "top"}:
            assert one[key] == other[key]
        if "score" in one:
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
            assert one["probs"] == pytest.approx(other["probs"], abs=1e-5)
            assert [top["label"] for top in one["top"]] == [top["label"] for top in other["top"]]


def test_a_table_has_the_columns_of_the_run(run: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("review,place\n", "utf-8")
    heads = [
        lstmcls("predict", path, tmp_path / "none.csv", "--format", "csv", "--probs").stdout
        for path in (run, exported)
    ]
    assert heads[0] == heads[1]


def test_the_files_are_those_of_the_manifest(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text("utf-8"))
    names = {path.name for path in exported.iterdir()}
    assert names == {*manifest["files"], "manifest.json"}
    assert {"model.onnx", "tokenizer.json", "labels.json", "ngrams.safetensors", "README.md"} < names
    for name, listed in manifest["files"].items():
        content = (exported / name).read_bytes()
        assert listed == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_no_text_and_no_path_of_the_training_data_is_in_the_folder(run: Path, exported: Path) -> None:
    content = b"".join(path.read_bytes() for path in exported.iterdir())
    assert str(run.parent).encode() not in content
    for text, _ in small_rows(120, 0):
        assert len(text.split()) < 4 or text.encode() not in content


def test_the_card_has_the_scores_of_the_run(run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text("utf-8")
    metrics = json.loads((run / "eval" / "test" / "metrics.json").read_text("utf-8"))
    assert f"| test | 40 | {metrics['accuracy']:.4f} | {metrics['macro_f1']:.4f} |" in card
    assert "| dev | 40 |" in card
    assert "negative (60), positive (60); 120 in total" in card
    assert hashlib.sha256((exported / "model.onnx").read_bytes()).hexdigest() in card


def test_an_exported_folder_in_python_gives_the_probabilities_of_the_command(exported: Path) -> None:
    model = lstm_cli.load(exported, threads=2)
    assert model.classes_.tolist() == ["negative", "positive"]
    found = rows(exported, *[word for text in TEXTS for word in ("--text", text)])
    probs = model.predict_proba(TEXTS)
    assert probs.tolist() == [[row["probs"][name] for name in model.classes_] for row in found]
    assert model.predict(TEXTS) == [row["label"] for row in found]
    assert "fp32: negative, positive" in repr(model)
    assert model.predict([]) == []


def test_a_text_predicts_the_same_alone_and_in_company_and_in_every_thread(exported: Path) -> None:
    whole = lstm_cli.load(exported, threads=3).predict_proba(TEXTS)
    model = lstm_cli.load(exported, threads=1)
    with ThreadPoolExecutor(8) as threads:
        alone = list(threads.map(lambda text: model.predict_proba([text])[0], TEXTS))
    assert np.array_equal(whole, np.stack(alone))


@pytest.mark.parametrize("wrong", ["fine", [1], ["\ud800"]])
def test_wrong_texts_are_named(exported: Path, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="texts"):
        lstm_cli.load(exported).predict(wrong)


def test_torch_is_not_imported(exported: Path) -> None:
    code = (
        "import sys, lstm_cli; path = sys.argv[1]; lstm_cli.load(path).predict(['good', 'bad']);"
        "from lstm_cli.cli import app; app(['predict', path, '--text', 'good'], standalone_mode=False);"
        "app(['verify', path], standalone_mode=False);"
        "heavy = {'torch', 'sklearn', 'scipy', 'datasets', 'pyarrow', 'matplotlib', 'pandas', 'onnx'} & {*sys.modules};"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_run_without_torch_says_what_to_install(run: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import lstm_cli\n"
        "try: lstm_cli.load(sys.argv[1])\n"
        "except lstm_cli.ConfigError as fault: assert 'pip install lstmcls' in str(fault)\n"
        "from lstm_cli.cli import app; app(['train', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: needs torch, which is not installed: lstmcls-runtime only predicts with exported folders; try pip "
        "install lstmcls\n"
    )


def test_without_onnxruntime_the_extra_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = lstmcls("predict", exported, "--text", "good")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install 'lstmcls[export]'" in result.stderr


def test_the_settings_of_reading_can_be_changed(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("words;label\ngood;x\n", "utf-8")
    (row,) = rows(
        exported, tmp_path / "other.csv", "--set", "data.text_column=words", "--set", "run.threads=1"
    )
    assert row["words"] == "good"
    for wrong, said in {
        "task.max_tokens=3": "unknown key",
        "data.text_colum=x": 'Did you mean "text_column"',
        "run.threads=many": "run.threads",
    }.items():
        result = lstmcls("predict", exported, "--text", "good", "--set", wrong)
        assert result.exit_code == 2
        assert said in result.stderr


def test_options_that_a_folder_does_not_have_are_refused(exported: Path) -> None:
    for options in (["--checkpoint", "last"], ["--run", "elsewhere"]):
        result = lstmcls("predict", exported, "--text", "good", *options)
        assert result.exit_code == 2
        assert "exported folder" in result.stderr
    assert lstmcls("verify", exported, "--set", "run.threads=1").exit_code == 2
    for wrong in ({"device": "cuda"}, {"threads": -1}, {"checkpoint": "last"}):
        with pytest.raises(ConfigError):
            lstm_cli.load(exported, **wrong)


def test_an_interrupted_output_belongs_to_one_export(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("review\n" + "good\n" * 20, "utf-8")
    assert lstmcls("predict", exported, tmp_path / "in.csv", "-o", tmp_path / "out.csv").exit_code == 0
    assert (tmp_path / "out.csv").read_text("utf-8").count("\n") == 21


def test_verify_accepts_the_folder(exported: Path) -> None:
    result = lstmcls("verify", exported, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["ok"]
    assert [check["result"] for check in report["checks"]] == ["ok", "ok", "ok"]


def test_the_example_of_the_docs_reads_a_text_in_pieces(
    forward: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(forward)
    (code,) = re.findall(
        r"```python\n(import numpy.*?)```", (ROOT / "docs" / "export.md").read_text("utf-8"), re.S
    )
    values: dict[str, Any] = {}
    exec(code, values)
    model = load_exported("exported/forward", threads=1)
    ids = model.tokenizer.encode(["good word1 bad word2"])
    assert np.abs(values["logits"] - model.logits(ids)).max() <= 1e-5
    result = lstmcls("verify", "exported/forward")
    assert result.exit_code == 0, result.stderr


# --- what is wrong with a folder ---------------------------------------------------------------------------------


def damage(name: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return flip


def change(**keys: Any) -> Callable[[Path], None]:
    """Change keys of the manifest, with a SHA-256 that fits."""

    def write(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8")) | keys
        del manifest["sha256"]
        manifest["sha256"] = digest_of(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")

    return write


def link(folder: Path) -> None:
    (folder / "labels.json").rename(folder.parent / "labels.json")
    (folder / "labels.json").symlink_to(folder.parent / "labels.json")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (damage("model.onnx"), "model.onnx: damaged"),
        (damage("tokenizer.json"), "tokenizer.json: damaged"),
        (damage("ngrams.safetensors"), "ngrams.safetensors: damaged"),
        (damage("manifest.json"), "manifest.json"),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            "has no manifest.json, so the export did not finish",
        ),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx: cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]", "utf-8"), "not the manifest"),
        (change(format=2), "exported in format 2, this lstmcls reads 1; update lstmcls"),
        (change(max_tokens="many"), "damaged (max_tokens"),
        (change(added=1), "damaged (added"),
        (change(files={"../x": {"sha256": "0" * 64, "bytes": 1}}), "lists a file that does not belong there"),
        (change(files={}), "does not list labels.json"),
        (change(bidirectional=False), "its inputs are not tokens, lengths, initial_h, initial_c"),
        (link, "labels.json: a link"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(
    exported: Path, tmp_path: Path, break_it: Callable[[Path], Any], said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    break_it(folder)
    result = lstmcls("predict", folder, "--text", "good")
    assert (result.exit_code, result.stdout) == (5, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    with pytest.raises(CheckpointError):
        lstm_cli.load(folder)
    assert lstmcls("verify", folder).exit_code in (1, 5)


def test_verify_finds_a_changed_card_and_other_probabilities(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    change(scales=[0.5, 1.0])(folder)
    result = lstmcls("verify", folder)
    assert result.exit_code == 1
    assert "FAILED: stored answers" in result.stderr
    (folder / "README.md").write_text("mine", "utf-8")
    result = lstmcls("verify", folder)
    assert result.exit_code == 1
    assert "README.md: damaged" in result.stderr
    assert lstmcls("predict", folder, "--text", "good").exit_code == 0  # which does not read it
