"""`lstmcls check`: reads config and data as a training would, and trains nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lstm_cli.config import load_config
from lstm_cli.console import Screen
from lstm_cli.data.sources import load_splits
from lstm_cli.runtime import start


def check(source: str, overrides: Sequence[str], screen: Screen) -> None:
    """Read everything, learn vocabulary and labels, encode every split and show data and model."""
    config = load_config(source, overrides)
    runtime = start(config.run)
    splits = load_splits(config.data, config.run.seed)
    task = config.task.fit(splits.train)
    train, dev = task.encode(splits.train), task.encode(splits.dev)
    test = task.encode(splits.test) if splits.test is not None else None
    screen.splits({"train": train, "dev": dev} | ({"test": test} if test is not None else {}))
    counts = zip(task.labels.names, task.labels.counts, strict=True)
    total = sum(task.labels.counts)
    screen.table(
        "labels", ["label", "train rows", "share"], [[n, f"{c:,}", f"{c / total:.1%}"] for n, c in counts]
    )
    screen.stages(task.build_model().stages())
    screen.say(f"would run on {runtime.why}")
    screen.say("config and data are usable")
