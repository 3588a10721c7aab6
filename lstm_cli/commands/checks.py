"""How the results of `lstmcls verify` are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_cli.console import Screen
from lstm_cli.scoring.comparison import TOLERANCE, Check


def show_checks(results: Sequence[Check], screen: Screen, tolerance: float = TOLERANCE) -> None:
    """Print the table of the checks, and why some were skipped."""
    lines = [
        [
            check.name,
            check.compared,
            "" if check.difference is None else f"{check.difference:.1e}",
            check.result,
        ]
        for check in results
    ]
    title = f"no output may differ by more than {tolerance:.0e}"
    screen.table(title, ["check", "compared", "difference", ""], lines)
    for check in results:
        if check.result == "skipped":
            screen.say(f"skipped: {check.name}: {check.note}")


def print_json(content: Mapping[str, Any]) -> None:
    """Print the report of `--json` to stdout."""
    json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
