"""Files made to hurt: nothing in them runs, none of them ends in a traceback, and they take no memory to speak of."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
import yaml
from typer.testing import CliRunner, Result

from lstm_cli.cli import app
from lstm_cli.data.cache import cache_folder
from lstm_cli.runs.checkpoint import MANIFEST
from tests.conftest import small_rows
from tests.fuzzing import forged_manifest

SAVED = ("model.safetensors", "config.json", "labels.json", "tokenizer.json")
USER_FAULTS = {1, 2, 3, 5}


class Canary:
    """What unpickles as the making of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture(params=["pickle", "torch"])
def payload(request: pytest.FixtureRequest, canary: Path) -> bytes:
    if request.param == "pickle":
        return pickle.dumps(Canary(canary))
    content = io.BytesIO()
    torch.save(Canary(canary), content)
    return content.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv, small.yaml, the cache of a run, and run/."""
    folder = tmp_path_factory.mktemp("trained")
    lines = [f'"{text}",{label}' for text, label in small_rows(60)]
    (folder / "train.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    config = {
        "data": {"train": str(folder / "train.csv"), "dev": 0.2},
        "task": {"tokenizer": {"kind": "word"}, "encoder": {"embedding_size": 4, "hidden_size": 4}},
        "train": {"epochs": 1},
        "run": {"dir": str(folder / "run"), "threads": 1, "device": "cpu"},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert invoke("train", str(folder / "small.yaml"), "--quiet").exit_code == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def invoke(*arguments: str, stdin: str | bytes = "a text\n") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def assert_refused(result: Result, *exit_codes: int, said: str = "") -> None:
    assert result.exit_code in (exit_codes or USER_FAULTS), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.count("error: ") == 1
    assert said in result.stderr
    assert len(result.stderr) < 5_000


def replace(folder: Path, name: str, content: bytes, forge: bool = True) -> None:
    """Put a file into a checkpoint, with a manifest that vouches for it."""
    (folder / name).write_bytes(content)
    if forge:
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        (folder / MANIFEST).write_bytes(forged_manifest(files))


def test_the_payloads_are_live(payload: bytes, canary: Path) -> None:
    if payload[:2] == b"PK":
        torch.load(io.BytesIO(payload), weights_only=False)
    else:
        pickle.loads(payload)  # noqa: S301
    assert canary.exists()


@pytest.mark.parametrize("forge", [False, True], ids=["swapped", "forged"])
@pytest.mark.parametrize("name", [*SAVED, MANIFEST])
def test_a_pickle_under_any_name_of_a_model_is_refused(
    run: Path, payload: bytes, canary: Path, name: str, forge: bool
) -> None:
    replace(run / "checkpoints" / "best", name, payload, forge and name != MANIFEST)
    assert_refused(invoke("predict", str(run)), 5, said=name)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["training.safetensors", "training.json", "model.safetensors"])
def test_a_pickle_under_any_name_of_a_training_is_refused(
    run: Path, payload: bytes, canary: Path, name: str
) -> None:
    replace(run / "checkpoints" / "last", name, payload)
    assert_refused(invoke("train", str(run), "--resume", "--set", "train.epochs=1"), 5)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.jsonl"])
def test_a_pickle_under_any_other_name_of_a_run_is_refused_or_left_alone(
    run: Path, payload: bytes, canary: Path, name: str
) -> None:
    (run / name).write_bytes(payload)
    result = invoke("train", str(run), "--resume", "--no-baselines")
    if name == "metrics.jsonl":  # is begun anew
        assert result.exit_code == 0, result.output
    else:
        assert_refused(result, 2)
    assert not canary.exists()


def test_a_pickle_as_a_kept_baseline_is_made_anew(
    run: Path, trained: Path, payload: bytes, canary: Path
) -> None:
    kept = list((run / "baselines").iterdir())
    good = kept[0].read_bytes()
    for content in (payload, b'[{"name": "x", "predicted": [99], "note": ""}]', b"[]", b"{}"):
        kept[0].write_bytes(content)
        assert invoke("eval", str(run), "--split", "dev", "--quiet").exit_code == 0
        assert kept[0].read_bytes() == good
    assert not canary.exists()


def test_pickles_in_the_cache_are_not_read_as_such(
    trained: Path, payload: bytes, canary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    check = ("check", str(trained / "small.yaml"), "--quiet")
    assert invoke(*check).exit_code == 0
    files = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".bin", ".json", ".bytes"}
    for path in files:
        path.write_bytes(payload)
    assert invoke(*check).exit_code == 0  # what is not whole is made anew
    vocabulary = next(cache_folder().glob("*.bytes"))
    vocabulary.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert_refused(invoke(*check), 5, said="tokenizer.json")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "a.pt",
        "a.npy",
        "a.pkl",
        "a.csv",
        "a.tsv",
        "a.jsonl",
        "a.parquet",
        "a.txt",
        "a.zip",
        "a.csv.gz",
        "a.csv.xz",
    ],
)
def test_a_pickle_as_data_is_at_most_text(
    trained: Path, tmp_path: Path, payload: bytes, canary: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(payload)
    assert_refused(invoke("check", str(trained / "small.yaml"), "--set", f"data.train={tmp_path / name}"), 3)
    result = invoke("predict", str(trained / "run"), str(tmp_path / name))
    if name != "a.txt":
        assert_refused(result, 3)
    assert not canary.exists()


def test_a_data_set_that_brings_its_own_program_is_refused(
    trained: Path, tmp_path: Path, payload: bytes, canary: Path
) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"import os\nos.system('touch {canary}')\n", encoding="utf-8")
    (folder / "train.pkl").write_bytes(payload)
    (folder / "train.pt").write_bytes(payload)
    source = f"data.train=hub:{folder}"
    assert_refused(invoke("check", str(trained / "small.yaml"), "--set", source), 3, said="cannot be loaded")
    assert not canary.exists()


def test_an_array_of_objects_is_no_data_either(trained: Path, tmp_path: Path, canary: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Canary(canary)], object), allow_pickle=True)
    assert_refused(
        invoke("predict", str(trained / "run"), str(tmp_path / "a.npy"), "--set", "data.format=csv"), 3
    )
    assert not canary.exists()


@pytest.mark.parametrize("tag", ["object/apply", "object/new", "name", "module", "object"])
def test_a_tag_of_yaml_makes_no_object(
    trained: Path, run: Path, tmp_path: Path, canary: Path, tag: str
) -> None:
    hostile = f"!!python/{tag}:os.system ['touch {canary}']"
    for text in (f"data: {hostile}\n", f"run:\n  dir: {hostile}\n", f"{hostile}: 1\n"):
        (tmp_path / "evil.yaml").write_text(text, encoding="utf-8")
        assert_refused(invoke("check", str(tmp_path / "evil.yaml")), 2, said="constructor for the tag")
        (run / "config.yaml").write_text(text, encoding="utf-8")
        assert_refused(invoke("predict", str(run)), 2)
    result = invoke("check", str(trained / "small.yaml"), "--set", f"run.seed={hostile}")
    assert_refused(result, 2, said="run.seed")
    yaml.unsafe_load(f"!!python/object/apply:os.system ['touch {canary}2']")
    assert Path(f"{canary}2").exists()  # elsewhere the payload is live
    assert not canary.exists()


def test_a_target_key_names_nothing_to_be_called(trained: Path, canary: Path) -> None:
    call = f"{{_target_: os.system, _args_: ['touch {canary}']}}"
    for key in ("task.encoder", "task.tokenizer", "train", "task.pooling"):
        assert_refused(invoke("check", str(trained / "small.yaml"), "--set", f"{key}={call}"), 2, said=key)
    labels_and_files = invoke("check", str(trained / "small.yaml"), "--set", f"data.train={call}")
    assert_refused(labels_and_files, 3, said="no file or folder os.system")
    assert not canary.exists()


@pytest.mark.parametrize("name", SAVED)
def test_a_link_or_a_pipe_in_a_run_is_followed_nowhere(run: Path, tmp_path: Path, name: str) -> None:
    file = run / "checkpoints" / "best" / name
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert_refused(invoke("predict", str(run)), 5, said=f"{name}: a link")
    file.unlink()
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(file)  # whoever opens it waits for ever
    assert_refused(invoke("predict", str(run)), 5, said=f"{name}: not a regular file")


FILES_OF_A_RUN = (
    "members.json",
    "environment.json",
    "config.yaml",
    "metrics.jsonl",
    "eval/dev/metrics.json",
    "eval/dev/predictions.jsonl",
    *(f"checkpoints/{name}/{file}" for name in ("best", "last") for file in (*SAVED, MANIFEST)),
    "checkpoints/last/training.json",
    "checkpoints/last/training.safetensors",
)


def every_command(run: Path) -> list[tuple[str, ...]]:
    """The commands that read a run, with at least one that needs each of its files."""
    return [
        ("verify", str(run)),
        ("predict", str(run)),
        ("train", str(run), "--resume", "--no-baselines", "--quiet"),
    ]


@pytest.mark.parametrize("name", FILES_OF_A_RUN)
def test_a_pipe_in_the_place_of_any_file_of_a_run_is_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(run / name)
    for command in every_command(run):
        assert_refused(invoke(*command), said=name.rpartition("/")[2])


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("name", FILES_OF_A_RUN)
def test_a_file_of_five_gigabytes_in_the_place_of_any_of_a_run_is_not_read(
    run: Path, name: str, forged: bool
) -> None:
    (run / name).touch()
    os.truncate(run / name, 5 * 2**30)
    folder = (run / name).parent
    if forged and "checkpoints" in name and not name.endswith(MANIFEST):
        manifest = json.loads((folder / MANIFEST).read_bytes())
        manifest["files"][Path(name).name]["bytes"] = 5 * 2**30
        (folder / MANIFEST).write_bytes(forged_manifest({MANIFEST: json.dumps(manifest).encode()}, keep=True))
    results = [invoke(*command) for command in every_command(run)]
    refused = [result for result in results if result.exit_code]
    assert refused
    for result in refused:
        if "FAILED" not in result.stderr:
            assert_refused(result, said=name.rpartition("/")[2])


def test_a_link_in_a_run_leads_no_report_over_another_file(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / ".profile"
    precious.write_text("mine", encoding="utf-8")
    (run / "eval" / "dev" / ".report.md.tmp").symlink_to(precious)
    assert_refused(invoke("eval", str(run), "--no-baselines"), 5, said=".report.md.tmp: a link")
    assert precious.read_text("utf-8") == "mine"


def test_a_link_where_a_run_is_to_be_is_not_written_through(trained: Path, tmp_path: Path) -> None:
    precious = tmp_path / ".profile"
    precious.write_text("mine", encoding="utf-8")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").symlink_to(precious)
    result = invoke("train", str(trained / "small.yaml"), "--run", str(tmp_path / "new"))
    assert_refused(result, 2, said="config.yaml: a link")
    assert precious.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/passwd", "..", "", "a\0b.json", "sub/x.json", "x.pt"]
)
def test_a_manifest_names_no_file_but_its_own(run: Path, tmp_path: Path, name: str) -> None:
    best = run / "checkpoints" / "best"
    (best.parent / "secret.json").write_bytes(b"{}")
    manifest = json.loads((best / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}
    (best / MANIFEST).write_bytes(forged_manifest({MANIFEST: json.dumps(manifest).encode()}, keep=True))
    assert_refused(invoke("predict", str(run)), 5, said="lists a file that does not belong")


def lying(header: Any, data: bytes = b"\0" * 64, claims: int | None = None) -> bytes:
    """Safetensors with this header, whatever it says."""
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if claims is None else claims) + text + data


HEAD = "head.weight"
LIES: dict[str, bytes] = {
    "a header without end": lying({}, claims=2**63),
    "a header of a megabyte": lying(b" " * (2**20 + 1)),
    "no header": b"",
    "nesting": lying(b"[" * 100_000),
    "data out of range": lying({HEAD: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16_000]}}),
    "overlapping data": lying(
        {name: {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for name in (HEAD, "head.bias")}
    ),
    "a shape beyond all": lying({HEAD: {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}}),
    "an empty shape beyond all": lying(
        {HEAD: {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}, b""
    ),
    "an unknown type": lying({HEAD: {"dtype": "PICKLE", "shape": [16], "data_offsets": [0, 64]}}),
}


@pytest.mark.parametrize("lie", LIES)
def test_weights_with_a_lying_header_are_refused(run: Path, lie: str) -> None:
    replace(run / "checkpoints" / "best", "model.safetensors", LIES[lie])
    assert_refused(invoke("predict", str(run)), 5, said="model.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("file", ["model.safetensors", "training.safetensors"])
def test_a_weight_that_is_not_finite_is_refused(run: Path, file: str, value: float) -> None:
    last = run / "checkpoints" / "last"
    tensors = safetensors.torch.load((last / file).read_bytes())
    name = "head.bias" if file.startswith("model") else "model.head.bias"
    tensors[name][0] = value
    replace(last, file, safetensors.torch.save(tensors))
    result = invoke("train", str(run), "--resume", "--no-baselines")
    assert_refused(result, 5, said=f"{name}: must be float32 and finite")


def test_weights_of_another_type_are_refused(run: Path) -> None:
    best = run / "checkpoints" / "best"
    tensors = safetensors.torch.load((best / "model.safetensors").read_bytes())
    tensors["head.bias"] = tensors["head.bias"].to(torch.int32)
    replace(best, "model.safetensors", safetensors.torch.save(tensors))
    assert_refused(invoke("predict", str(run)), 5, said="head.bias")


def test_a_model_that_claims_to_be_huge_takes_no_memory(run: Path) -> None:
    best = run / "checkpoints" / "best"
    content = json.loads((best / "config.json").read_bytes())
    content["task"]["encoder"] |= {"hidden_size": 2**16, "embedding_size": 2**16}
    replace(best, "config.json", json.dumps(content).encode())  # 300 GB of weights
    assert_refused(invoke("predict", str(run)), 5, said="size mismatch for encoder.embedding.weight")


def vocabulary(entries: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(["[PAD]", "[UNK]", *map(str, range(entries - 2))])}


BOMBS: dict[str, dict[str, Any]] = {
    "a pattern that never ends": {
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "(a+)+$"},
            "behavior": "Removed",
            "invert": False,
        }
    },
    "a pattern that unrolls": {
        "normalizer": {"type": "Replace", "pattern": {"Regex": "((a{999}){999}){999}"}, "content": ""}
    },
    "a letter that becomes gigabytes": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40,
        }
    },
    "padding without end": {
        "padding": {
            **{"strategy": {"Fixed": 2**40}, "direction": "Right", "pad_to_multiple_of": None},
            **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        }
    },
    "a token that is typed": {
        "added_tokens": [
            {"id": 0, "content": "a", "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        ]
    },
    "a vocabulary of another size": {
        "model": {"type": "WordLevel", "vocab": vocabulary(5_000), "unk_token": "[UNK]"}
    },
    "ids beyond all": {
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2**32}, "unk_token": "[UNK]"}
    },
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_tokenizer_that_would_explode_is_refused(run: Path, bomb: str) -> None:
    best = run / "checkpoints" / "best"
    saved = json.loads((best / "tokenizer.json").read_bytes())
    replace(best, "tokenizer.json", json.dumps({**saved, **BOMBS[bomb]}).encode())
    assert_refused(invoke("predict", str(run), stdin="a" * 40 + "!\n"), 5)


@pytest.mark.parametrize("name", ["config.json", "labels.json", "tokenizer.json", "training.json", MANIFEST])
@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"a":' * 200_000, b"1e999", b"9" * 10_000, b'["\\ud800", "b"]']
)
def test_json_of_any_other_form_is_refused(run: Path, name: str, content: bytes) -> None:
    replace(run / "checkpoints" / "last", name, content, forge=name != MANIFEST)
    assert_refused(invoke("train", str(run), "--resume", "--no-baselines"), 5, said=name)


@pytest.mark.parametrize(
    ("name", "limit"), [("config.json", 2**20), ("labels.json", 2**24), ("tokenizer.json", 2**27)]
)
def test_a_file_of_a_checkpoint_has_a_limit(run: Path, name: str, limit: int) -> None:
    with (run / "checkpoints" / "best" / name).open("r+b") as file:
        file.truncate(limit + 1)  # of zeros that take no room on the disk
    assert_refused(invoke("predict", str(run)), 5, said=f"{limit + 1:,} bytes")


BLOCK = b"a" * 2**24
PACKED: dict[str, bytes] = {  # each unpacks to one line of 336 MB
    ".gz": gzip.compress(BLOCK, 1) * 20,
    ".xz": lzma.compress(BLOCK, preset=0) * 20,
    ".zst": pa.compress(BLOCK, "zstd", asbytes=True) * 20,
}
READ_BOMBS = """
import pyarrow, resource, sys
from pathlib import Path
from lstm_cli.data.sources import DataConfig, open_rows
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
used = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line).split()[1]
limit = int(used) * 1024 + 2**28
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for path in sys.argv[1:]:
    for format in ("csv", "tsv", "jsonl", "text", "fasttext"):
        config = DataConfig(train=path, format=format, columns=["text"] if format in ("csv", "tsv") else None)
        try:
            rows = open_rows(path, config, "predict", False, on_error="row", content=Text)
            print(format, [row.error for row in rows])
        except DataError as fault:
            print(format, fault)
"""


@pytest.mark.parametrize("suffix", PACKED)
def test_a_line_that_unpacks_to_a_third_of_a_gigabyte_is_refused_in_less(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACKED[suffix])
    assert path.stat().st_size < 2**21
    done = subprocess.run(
        [sys.executable, "-c", READ_BOMBS, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path.cwd(),
    )
    said = done.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["csv", "tsv", "jsonl", "text", "fasttext"]
    assert all("more than" in line and "characters" in line for line in said)


def test_an_xz_file_that_asks_for_gigabytes_to_unpack_is_refused(trained: Path, tmp_path: Path) -> None:
    content = bytearray(lzma.compress(b"text,label\na,b\n"))
    begin, end = 12, 12 + content[12] * 4  # of the block's header, which the CRC of it follows
    size = content.index(b"\x21\x01", begin) + 2  # after the filter's id and the length of what it is told
    content[size] = 37  # a dictionary of 1.5 GB
    content[end : end + 4] = struct.pack("<I", zlib.crc32(content[begin:end]))
    assert lzma.decompress(content) == b"text,label\na,b\n"  # it is whole
    path = tmp_path / "a.csv.xz"
    path.write_bytes(content)
    assert_refused(invoke("predict", str(trained / "run"), str(path)), 3, said="Memory usage limit")


def test_odd_json_rows_are_rows_each(trained: Path, tmp_path: Path) -> None:
    lines = [
        '{"text": "fine", "x": ' + "[" * 900 + "]" * 900 + "}",
        '{"text": "fine", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"text": ' + "9" * 5_000 + "}",
        '{"text": ' + "9" * 4_000 + "}",
        '{"text": NaN, "x": -Infinity}',
        '{"text": "\\ud800"}',
        '{"text": "fine", "x": "\\udfff\\u001b[31m"}',
        '{"text": "' + "w " * 100_000 + '"}',
        '{"text": "' + "w" * 3_000_001 + '"}',
        '{"text": 1e999}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    result = invoke("predict", str(trained / "run"), str(tmp_path / "a.jsonl"))
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["row"] for row in rows] == list(range(len(lines)))
    assert [number for number, row in enumerate(rows) if "error" in row] in ([1, 2, 5, 8], [0, 1, 2, 5, 8])
    assert rows[7]["truncated"]
    assert "3,000,000 characters" in rows[8]["error"]


@pytest.mark.parametrize("format", ["csv", "tsv"])
def test_cells_that_a_spreadsheet_would_run_are_quoted_on_request(
    trained: Path, tmp_path: Path, format: str
) -> None:
    starts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'x", "fine", "1=1", ""]
    source = tmp_path / "in.jsonl"
    source.write_text(
        "".join(json.dumps({"text": "t", "=note": start}) + "\n" for start in starts), encoding="utf-8"
    )

    def table(*options: str) -> list[dict[str, str]]:
        target = tmp_path / f"out.{format}"
        result = invoke("predict", str(trained / "run"), str(source), "-o", str(target), "--probs", *options)
        assert result.exit_code == 0, result.output
        with target.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="," if format == "csv" else "\t"))

    plain, quoted = table(), table("--quote-formulas")
    assert [row["=note"] for row in plain] == starts
    assert [row["'=note"] for row in quoted] == [f"'{start}" for start in starts[:6]] + starts[6:]
    for before, after in zip(plain, quoted, strict=True):
        before.pop("=note")
        after.pop("'=note")
        assert before == after  # what we write ourselves is as it was
    assert_refused(invoke("predict", str(trained / "run"), "--quote-formulas"), 2, said="--format csv")


HOSTILE = (
    "\x1b]0;owned\x07",
    "![x](http://evil.example/x.png)",
    "=cmd|' /C calc'!A0",
    "safe\u202egpj.exe",
    "<b>|[red]",
)
"""Labels that a terminal, a viewer of Markdown or a spreadsheet would act upon."""


def test_a_hostile_label_does_nothing_wherever_it_is_shown(tmp_path: Path) -> None:
    rows = [{"text": f"w{i % 5} {i}", "label": HOSTILE[i % 5], "col\x1b[2J\u202e": "x"} for i in range(100)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = {
        "data": {"train": str(tmp_path / "train.jsonl"), "dev": 0.2, "test": 0.2},
        "task": {"tokenizer": {"kind": "word"}, "encoder": {"embedding_size": 4, "hidden_size": 4}},
        "train": {"epochs": 1},
        "run": {"dir": str(tmp_path / "run"), "threads": 1},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config), "utf-8")
    run = tmp_path / "run"
    said = [invoke("check", str(tmp_path / "small.yaml")), invoke("train", str(tmp_path / "small.yaml"))]
    said += [invoke("eval", str(run), "--quote-formulas"), invoke("predict", str(run))]
    said += [invoke("predict", str(run), str(tmp_path / "train.jsonl"), "--format", "csv", "--top-k", "2")]
    said += [invoke("predict", str(run), str(tmp_path / "train.jsonl"), "--set", "data.text_column=\x1b[2J")]
    shown = {f"output {i}": result.stderr for i, result in enumerate(said)}
    columns, *cells = csv.reader(io.StringIO(said[4].stdout))
    shown["columns"] = "".join(columns)
    shown["labels"] = "".join(  # the input's own columns stay as they are
        cell
        for row in cells
        for name, cell in zip(columns, row, strict=True)
        if name in ("label", "top.2.label")
    )
    evaluation = run / "eval" / "test"
    for file in (run / "log.txt", evaluation / "report.md", evaluation / "confusion.csv"):
        shown[file.name] = file.read_text("utf-8")
    for name, text in shown.items():
        assert not set("\x1b\x07\u202e") & set(text), name
    assert r"\x1b]0;owned\x07" in shown["output 0"]  # it is shown, only otherwise
    assert "[red]" in shown["output 0"]
    page = shown["report.md"]
    assert "![x]" not in page
    assert "http://" not in page
    assert "<b>" not in page
    header, *lines = csv.reader(io.StringIO(shown["confusion.csv"]))
    assert "'=cmd|' /C calc'!A0" in header
    assert [line[0] for line in lines] == header[1:]
    metrics = json.loads((evaluation / "metrics.json").read_text("utf-8"))
    assert set(metrics["per_class"]) == set(HOSTILE)  # JSON keeps every name


def test_a_pipe_among_the_documents_is_not_waited_for(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "texts" / "a.txt")
    assert_refused(
        invoke("predict", str(trained / "run"), str(tmp_path / "texts")), 3, said="not a regular file"
    )


def test_what_a_terminal_would_obey_is_shown_and_not_sent(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("te\x1b]0;pwned\x07xt,label\na,b\n", encoding="utf-8")
    result = invoke("check", str(trained / "small.yaml"), "--set", f"data.train={path}")
    assert_refused(result, 3, said="te\\x1b]0;pwned\\x07xt")


def test_git_runs_nothing_that_a_repository_names(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstm_cli.runs.folder import _git_state

    monkeypatch.chdir(tmp_path)

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    git("init", "-q", ".")
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.org")
    (tmp_path / "a").write_text("one\n", encoding="utf-8")
    git("add", "a")
    git("commit", "-qm", "x")
    commit = _git_state()
    assert commit is not None
    assert len(commit) == 40
    git("config", "core.fsmonitor", f"touch {canary}; false")
    git("config", "filter.evil.clean", f"touch {canary}; cat")
    (tmp_path / ".git" / "info" / "attributes").write_text("* filter=evil\n", encoding="utf-8")
    (tmp_path / "a").write_text("two\n", encoding="utf-8")
    assert _git_state() == f"{commit}+changes"
    assert not canary.exists()
    git("status")
    assert canary.exists()  # what it would have come to
