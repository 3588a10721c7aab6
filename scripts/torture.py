#!/usr/bin/env python
"""Kill trainings at random moments, resume them, and compare every byte with a training that nobody disturbed.

    .venv/bin/python scripts/torture.py                  200 kills
    .venv/bin/python scripts/torture.py --control        the same with the noise of a step no longer its own: must fail
    .venv/bin/python scripts/torture.py --of seeds       two trainings of --seeds; or `pretraining`, inside a training;
                                                         or `tag`, a tagger
    .venv/bin/python scripts/torture.py --power-cut      and lose what was not flushed to the disk (Linux; powercut.py)
    .venv/bin/python scripts/torture.py --signals        how long SIGTERM takes, at moments all over a training
    sudo .venv/bin/python scripts/torture.py --disk-full trainings on disks too small (Linux, mounts a tmpfs)

A run is killed with SIGKILL several times, each at a moment drawn from one of four kinds: any, while the vocabulary is
learned and rows are tokenised, while a checkpoint is being written, while dev or test rows are scored. Compared are
the SHA-256 of the best and the last weights, of the optimizer's state, of metrics.jsonl and training.json less
the clock, and of the predictions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import powercut  # noqa: E402

CLOCK = {"seconds", "dev_seconds", "tokens_per_second"}
CONTROL = (
    "import os, random, sys, torch, lstm_cli.training.fit as t; "
    "t.seed_step = lambda *_: None; torch.seed(); from lstm_cli.cli import main; main()"
)
KINDS = ("any", "vocabulary", "saving", "scoring")


def config(folder: Path, save_every: str = "7", *, pretrains: bool = False, tags: bool = False) -> str:
    """A few seconds of training with all there is to save: averaged weights, accumulation, a plateau, dropout."""
    first = ", init_from: pretrain" if pretrains else ""
    path = folder / "torture.yaml"
    task = "tokenizer: {kind: bpe, vocab_size: 600}\n  max_tokens: 40"
    if tags:
        task = "kind: tag\n  features: words"
        draw = random.Random(0)
        pairs = [("the", "DET", "NOUN"), ("to", "PART", "VERB"), ("mr", "TITLE", "NAME")]
        sentences = [[draw.choice(pairs) for _ in range(draw.randrange(1, 9))] for _ in range(900)]
        lines = [
            "".join(
                f"{word} {tag}\nx{draw.randrange(500)} {following}\n" for word, tag, following in sentence
            )
            for sentence in sentences
        ]
        (folder / "tags.conll").write_text("\n".join(lines), encoding="utf-8")
    path.write_text(
        f"""
data: {{train: "{folder / "tags.conll" if tags else "builtin:reviews"}", dev: 0.3}}
task:
  {task}
  dropout: 0.3
  encoder: {{embedding_size: 24, hidden_size: 24, embedding_dropout: 0.2, word_dropout: 0.1{first}}}
{"pretrain: {epochs: 2, batch_size: 16}" if pretrains else ""}
train: {{epochs: 5, patience: 0, ema: 0.9, accumulate: 2, schedule: plateau, save_every: {save_every}}}
run: {{threads: 1}}
""",
        encoding="utf-8",
    )
    return str(path)


def command(yaml: str, run: Path, *more: str, control: bool = False, log: Path | None = None) -> list[str]:
    arguments = ["train", yaml, "--run", str(run), "--no-baselines", "--quiet", *more]
    if log:
        return powercut.command(log, run.parent, arguments)
    return [sys.executable, *(["-c", CONTROL] if control else ["-m", "lstm_cli.cli"]), *arguments]


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of everything that must be the same, by name; of a group, of each run."""
    if members := sorted(run.glob("seed-*")):
        return {f"{one.name} {key}": value for one in members for key, value in digests(one).items()}

    def sha(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    def without_clock(text: str) -> bytes:
        lines = [json.loads(line) for line in text.splitlines()]
        return json.dumps([{k: v for k, v in line.items() if k not in CLOCK} for line in lines]).encode()

    checkpoints = run / "checkpoints"
    numbers = json.loads((checkpoints / "last" / "training.json").read_text(encoding="utf-8"))
    numbers["progress"].pop("seconds")
    found = {
        "best": sha((checkpoints / "best" / "model.safetensors").read_bytes()),
        "last": sha((checkpoints / "last" / "model.safetensors").read_bytes()),
        "optimizer": sha((checkpoints / "last" / "training.safetensors").read_bytes()),
        "numbers": sha(json.dumps(numbers).encode()),
        "metrics": sha(without_clock((run / "metrics.jsonl").read_text(encoding="utf-8"))),
    }
    predictions = next((run / "eval").glob("*/predictions.jsonl"))
    return found | {"predictions": sha(predictions.read_bytes())}


def moment(kind: str, run: Path, seconds: float, draw: random.Random) -> Callable[[float], bool]:
    """Whether to kill now, given the seconds since the start. Every condition is met sooner or later."""
    after = draw.uniform(0, seconds)
    count = draw.randrange(1, 12)
    seen: set[int] = set()
    match kind:
        case "vocabulary":
            early = draw.uniform(0.3, 0.5) * seconds
            return lambda now: now > early
        case "saving":

            def saving(now: float) -> bool:
                for new in (run / "checkpoints").glob("*.new"):
                    try:
                        seen.add(new.stat().st_ino)
                    except FileNotFoundError:
                        continue  # its name was another a moment ago
                return len(seen) >= count or now > 1.5 * seconds

            return saving
        case "scoring":
            # an epoch's rows are scored right before its line is written, the test rows when all lines are
            epochs = draw.randrange(1, 6)
            delay = draw.uniform(0, 0.3)
            reached: list[float] = []

            def scoring(now: float) -> bool:
                if not reached and len(lines_of(run)) >= epochs:
                    reached.append(now)
                return now > 1.5 * seconds or (bool(reached) and now > reached[0] + delay)

            return scoring
        case _:
            return lambda now: now > after


def lines_of(run: Path) -> list[str]:
    try:
        return (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def tortured(
    yaml: str,
    folder: Path,
    kills: int,
    seconds: float,
    draw: random.Random,
    more: Sequence[str] = (),
    *,
    control: bool = False,
    power_cut: bool = False,
) -> tuple[dict[str, str], Counter[str]]:
    """One run that is killed up to `kills` times: its digests, and how many kills of each kind hit it alive."""
    disk = folder / f"disk{draw.randrange(10**9)}"
    run, log = disk / "run", folder / "log" if power_cut else None
    disk.mkdir()
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(disk / "cache"),
    }  # so that the vocabulary is learned again
    hit: Counter[str] = Counter()
    while True:
        left = kills - sum(hit.values())
        kind = draw.choice(KINDS)
        is_time = moment(kind, run, seconds, draw)
        if log:
            powercut.start(log, disk)
        process = subprocess.Popen(
            command(yaml, run, "--resume", *more, control=control, log=log),
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        began = time.monotonic()
        while process.poll() is None:
            if left and is_time(time.monotonic() - began):
                process.kill()
                hit[kind] += 1
                break
            time.sleep(0.0005 if kind == "saving" else 0.005)
        _, said = process.communicate()
        if process.returncode == 0:
            return digests(run), hit
        if process.returncode != -9:
            raise SystemExit(f"exit {process.returncode} instead of resuming:\n{said}")
        if log:
            powercut.cut(log, disk, draw)


def kill_many(options: argparse.Namespace) -> int:
    draw = random.Random(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yaml = config(folder, pretrains=options.of == "pretraining", tags=options.of == "tag")
        more = ["--seeds", "2"] if options.of == "seeds" else []
        straight = folder / "straight"
        subprocess.run(command(yaml, straight, *more, control=options.control), check=True)
        seconds = time.monotonic() - began
        expected = digests(straight)
        tried: Counter[str] = Counter()
        survived = 0
        different: set[str] = set()
        while sum(tried.values()) < options.kills:
            kills = min(options.kills - sum(tried.values()), draw.randrange(3, 12))
            got, hit = tortured(
                yaml,
                folder,
                kills,
                seconds,
                draw,
                more,
                control=options.control,
                power_cut=options.power_cut,
            )
            tried += hit
            wrong = {key for key in expected if got[key] != expected[key]}
            different |= wrong
            survived += 0 if wrong else sum(hit.values())
            print(f"{survived} survived / {sum(tried.values())} tried", flush=True)
    print(
        f"{survived} survived / {sum(tried.values())} tried in {time.monotonic() - began:.0f} s "
        f"({', '.join(f'{kind} {count}' for kind, count in sorted(tried.items()))})"
        + (f"; different: {', '.join(sorted(different))}" if different else "")
    )
    return 0 if survived == sum(tried.values()) else 1


def signals(options: argparse.Namespace) -> int:
    """SIGTERM at moments all over a training, of `--data` where given: the seconds until the process is gone."""
    slowest: dict[str, float] = {}
    hits: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yaml = config(folder)
        more = ["--set", f"data.train={options.data}", "--set", "task.tokenizer.vocab_size=8000"]
        more = more if options.data else []
        began = time.monotonic()
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        subprocess.run(command(yaml, folder / "straight", *more), env=environment, check=True)
        whole = time.monotonic() - began
        for i in range(options.moments):
            run = folder / f"run{i}"
            environment["XDG_CACHE_HOME"] = str(run) + ".cache"
            process = subprocess.Popen(
                command(yaml, run, *more), env=environment, stderr=subprocess.PIPE, text=True
            )
            time.sleep(1.0 + (whole - 1.0) * i / options.moments)
            phase = phase_of(run)
            asked = time.monotonic()
            process.terminate()
            _, said = process.communicate()
            taken = time.monotonic() - asked
            if process.returncode == 0:
                continue  # it was done
            if process.returncode != 143 or len(said.strip().splitlines()) != 1:
                raise SystemExit(f"{phase}: exit {process.returncode}:\n{said}")
            hits[phase] += 1
            slowest[phase] = max(slowest.get(phase, 0.0), taken)
    for phase, seconds in slowest.items():
        print(f"{phase:12} {hits[phase]:3} times asked, gone after {seconds:.2f} s at most, exit 143")
    return 0 if max(slowest.values()) <= 5 else 1


def phase_of(run: Path) -> str:
    """What a training is doing, by the files that it has written."""
    cache = Path(str(run) + ".cache") / "lstmcls"
    if not run.exists():
        return "start"
    if not list(cache.glob("*.bytes")):
        return "vocabulary"
    if not (run / "checkpoints").exists():
        return "tokenising"
    if list((run / "checkpoints").glob("*.new")):
        return "saving"
    return "scoring" if len(lines_of(run)) == 5 else "training"


def disk_full(options: argparse.Namespace) -> int:
    """Train on disks too small: the fault is one line, exit 1, and whatever was saved whole can be loaded."""
    from lstm_cli.runs.checkpoint import exists, load_checkpoint

    refused = finished = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yaml = config(folder, save_every="3")
        disk = folder / "disk"
        disk.mkdir()
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        for kilobytes in range(16, 16 + 40 * options.sizes, 40):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk], check=True)
            try:
                answer = subprocess.run(
                    command(yaml, disk / "run", "--set", "train.epochs=2"),
                    env=environment,
                    capture_output=True,
                    text=True,
                )
                lines = answer.stderr.strip().splitlines()
                if answer.returncode == 0:
                    finished += 1
                elif answer.returncode == 1 and len(lines) == 1 and "No space left" in lines[0]:
                    refused += 1
                else:
                    raise SystemExit(f"{kilobytes} kB: exit {answer.returncode}:\n{answer.stderr}")
                for checkpoint in ("best", "last"):
                    if exists(disk / "run" / "checkpoints" / checkpoint):
                        load_checkpoint(disk / "run" / "checkpoints" / checkpoint)
            finally:
                subprocess.run(["umount", disk], check=True)
    print(
        f"{refused + finished} disk sizes: {refused} ended in one line and exit 1, {finished} were large enough"
    )
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--of", choices=["train", "seeds", "pretraining", "tag"], default="train")
    parser.add_argument("--power-cut", action="store_true")
    parser.add_argument("--disk-full", action="store_true")
    parser.add_argument("--sizes", type=int, default=60, help="of disks, 40 kB apart")
    parser.add_argument("--signals", action="store_true")
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--data", help="a CSV (text,label) to train on while signals are sent")
    options = parser.parse_args()
    if options.signals:
        raise SystemExit(signals(options))
    raise SystemExit(disk_full(options) if options.disk_full else kill_many(options))


if __name__ == "__main__":
    main()
