"""What lies in the environment stays there: nothing of it is written down, shown or sent along."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lstm_cli.cli import app

CANARY = "s3cr3t-canary"


def places_of_secrets() -> dict[str, str]:
    """Variables that hold a secret on somebody's machine."""
    proxy = f"http://me:{CANARY}@127.0.0.1:9"
    return {
        **dict.fromkeys(
            ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY"), CANARY
        ),
        **dict.fromkeys(
            ("GITHUB_TOKEN", "SSH_AUTH_SOCK", "DATABASE_URL", "PASSWORD", "LSTMCLS_SECRET"), CANARY
        ),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "PIP_INDEX_URL"), proxy),
        "GIT_AUTHOR_EMAIL": f"{CANARY}@example.org",
        CANARY: "a name is a secret too",
    }


def test_no_secret_of_the_environment_is_written_down_or_shown(
    small_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in places_of_secrets().items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for command in (
        ["init", "-q"],
        ["config", "user.name", CANARY],
        ["config", "user.email", f"{CANARY}@example.org"],
        ["remote", "add", "origin", f"https://me:{CANARY}@example.org/x.git"],
        ["checkout", "-q", "-b", CANARY],
        ["commit", "-q", "--allow-empty", "-m", CANARY],
    ):
        subprocess.run(["git", *command], check=True)
    (work / CANARY).write_text("a file that git does not know", encoding="utf-8")

    said: list[Result] = []
    for arguments in (
        ["train", small_yaml, "--set", "train.epochs=1", "--no-baselines"],
        ["train", small_yaml, "--set", "train.batch_size=7", "--resume"],  # refused: the config has changed
        ["train", small_yaml],  # refused: the run is there
        ["train", small_yaml, "--set", "data.train=hub:nobody/nothing", "--run", str(tmp_path / "other")],
        ["eval", small_yaml, "--split", "dev", "--no-baselines"],
        ["predict", small_yaml],
        ["check", small_yaml, "--set", "run.sed=1"],
    ):
        said.append(CliRunner().invoke(app, arguments, input="a text\n"))
        assert isinstance(said[-1].exception, SystemExit | None), arguments
    assert [result.exit_code for result in said] == [0, 2, 2, 3, 0, 0, 2]
    for result in said:
        assert CANARY not in result.output

    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    written += [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    assert tmp_path / "run" / "environment.json" in written
    assert (
        b"+changes" in (tmp_path / "run" / "environment.json").read_bytes()
    )  # git was asked, and knows it all
    for path in written:
        assert CANARY.encode() not in path.read_bytes(), path
