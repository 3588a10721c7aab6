"""What an index and an installer are told about the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lstm_cli

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_one_and_the_changelog_has_it() -> None:
    version = PROJECT["project"]["version"]
    assert version == lstm_cli.__version__
    found = re.search(r"^## \[(.+?)\] - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == version


def test_every_package_that_is_imported_is_declared_and_every_other_is_not() -> None:
    packages = {"sklearn": "scikit-learn", "yaml": "pyyaml", "pydantic_core": "pydantic"}
    declared = {re.split(r"[<>=\[]", line)[0] for line in PROJECT["project"]["dependencies"]}
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "lstm_cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    others = imported - sys.stdlib_module_names - {"lstm_cli", "_typeshed"}
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [line for name in extras.keys() - {"bench", "dev"} for line in extras[name]]
    optional = {re.split(r"[<>=\[]", line)[0] for line in lines}
    assert {packages.get(name, name) for name in others} - optional == declared
    assert optional <= others | {"tensorboard"}


def test_the_runtime_is_this_package_with_some_of_its_dependencies() -> None:
    folder = ROOT / "scripts" / "runtime"
    runtime = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(runtime["project"]["dependencies"]) < {*PROJECT["project"]["dependencies"], *extras["export"]}
    assert runtime["project"]["requires-python"] == PROJECT["project"]["requires-python"]
    assert runtime["project"]["scripts"] == PROJECT["project"]["scripts"]
    wheel = runtime["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert [(folder / path).resolve() for path in wheel] == [
        ROOT / "lstm_cli",
        ROOT / "configs",
        ROOT / "LICENSE",
    ]
    assert (
        folder / runtime["tool"]["hatch"]["version"]["path"]
    ).resolve() == ROOT / "lstm_cli" / "__init__.py"


def test_the_scripts_and_uv_name_one_index_of_cpu_wheels() -> None:
    (index,) = PROJECT["tool"]["uv"]["index"]
    assert f"cpu_wheels={index['url']}\n" in (ROOT / "scripts" / "environment").read_text("utf-8")
    assert index["explicit"]  # nothing but torch is taken from it


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the default index has CPU wheels")
@pytest.mark.parametrize(
    ("gpu", "answers", "has_it", "tried"),
    [
        (False, True, True, ["cpu"]),
        (False, True, False, ["cpu", "default"]),
        (False, False, True, ["default"]),
        (True, True, True, ["default"]),
    ],
)
def test_cuda_is_not_downloaded_where_there_is_no_gpu_and_the_cpu_wheels_are_reached(
    tmp_path: Path, gpu: bool, answers: bool, has_it: bool, tried: list[str]
) -> None:
    tools = {
        ".venv/bin/pip": f"""case "$*" in
            *"-c scripts/constraints.txt --index-url https://download.pytorch.org/whl/cpu "*"--no-deps torch")
                echo cpu; exit {int(not has_it)} ;;
            *"-c scripts/constraints.txt torch") echo default ;;
            esac""",
        ".venv/bin/python": f"exit {int(not answers)}",
        **({"tools/nvidia-smi": ""} if gpu else {}),
        "tools/uname": "echo Linux",
    }
    for name, content in tools.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{content}\n", encoding="utf-8")
        path.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail; source '{ROOT}/scripts/environment'; install_torch"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "tools")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == tried
