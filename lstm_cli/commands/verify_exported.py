"""`lstmcls verify` of an exported folder: its files are intact, and it still predicts what it predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lstm_cli.commands.checks import print_json, show_checks
from lstm_cli.console import Screen
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.exported.check import checks, tolerance
from lstm_cli.exported.folder import open_folder


def verify_exported(source: str, overrides: Sequence[str], screen: Screen, *, as_json: bool) -> None:
    """Check the files of the folder and the stored probabilities.

    Raises LstmclsError if a check fails, CheckpointError if the folder cannot be opened.
    """
    if overrides:
        raise ConfigError(f"--set {overrides[0]}: {source} is an exported folder, which is verified as it is")
    folder = open_folder(source)
    results = list(checks(folder))
    screen.say(f"{folder.path}: {folder.name}, {folder.manifest.weights}")
    show_checks(results, screen, tolerance(folder))
    ok = all(check.result != "FAILED" for check in results)
    if as_json:
        print_json(
            {
                "exported": str(folder.path),
                "checkpoint": folder.manifest.checkpoint,
                "tolerance": tolerance(folder),
                "ok": ok,
                "checks": [dataclasses.asdict(check) for check in results],
            }
        )
    if not ok:
        failed = [check for check in results if check.result == "FAILED"]
        raise LstmclsError("\n".join(f"FAILED: {check.name}: {check.note}" for check in failed))
