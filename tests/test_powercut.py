"""The files that are written durably survive a power cut at any moment, and the model of a power cut has teeth."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import powercut

if sys.platform == "win32":
    pytest.skip("needs /proc", allow_module_level=True)

WRITER = """
import os, sys
from pathlib import Path
sys.path[:0] = [{repository!r}]
from scripts.powercut import Recorder
log, root = Path(sys.argv[1]), Path(sys.argv[2])
Recorder(log, root).install()
from lstm_cli.data.durable import append_line, write_file
if sys.argv[3] == "careless":
    os.fsync = lambda handle: None
print("ready", flush=True)
for number in range(10**6):
    write_file(root / "whole", b"%d " % number * 2_000)
    append_line(root / "lines", str(number))
"""


def cut_while_writing(folder: Path, how: str, draw: random.Random) -> None:
    """Write `whole` and `lines` again and again, and cut the power at a random moment."""
    root, log = folder / "disk", folder / "log"
    powercut.start(log, root)
    program = WRITER.format(repository=str(Path(__file__).parents[1]))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(log), str(root), how], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while len((log / "events").read_bytes()) < draw.randrange(300, 8_000):
            pass
        process.kill()
    powercut.cut(log, root, draw)


def is_whole(root: Path) -> bool:
    """Whether both files hold what was once written to them as a whole; the last line of `lines` may be cut."""
    numbers = (root / "whole").read_bytes().split() if (root / "whole").exists() else [b"0"] * 2_000
    lines = (root / "lines").read_text("utf-8").splitlines()[:-1] if (root / "lines").exists() else []
    in_order = lines == [str(number) for number in range(len(lines))]
    return len(numbers) == 2_000 and len(set(numbers)) == 1 and in_order


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_what_was_written_durably_survives_a_power_cut_and_what_was_not_does_not(tmp_path: Path) -> None:
    draw = random.Random(0)
    for round_ in range(8):
        (tmp_path / str(round_)).mkdir()
        cut_while_writing(tmp_path / str(round_), "careful", draw)
        assert is_whole(tmp_path / str(round_) / "disk"), round_
    careless = []
    for round_ in range(8, 16):
        (tmp_path / str(round_)).mkdir()
        cut_while_writing(tmp_path / str(round_), "careless", draw)
        careless.append(is_whole(tmp_path / str(round_) / "disk"))
    assert not all(careless)


def test_a_name_is_lost_or_kept_and_a_file_is_torn_until_they_are_flushed(tmp_path: Path) -> None:
    log, root = tmp_path / "log", tmp_path / "disk"
    (root / "old").mkdir(parents=True)
    (root / "old" / "a").write_bytes(b"before")
    seen = set()
    for seed in range(40):
        powercut.start(log, root)
        (root / "old" / "b").write_bytes(b"0123456789")
        with (log / "events").open("a", encoding="utf-8") as events:
            events.write(f'["create", "{root}/old/b"]\n')
        powercut.cut(log, root, random.Random(seed))
        assert (root / "old" / "a").read_bytes() == b"before"
        b = root / "old" / "b"
        seen.add(b.read_bytes() if b.exists() else None)
        b.unlink(missing_ok=True)
    assert {None, b"", b"0123456789"} <= seen
    assert any(one and 0 < len(one.rstrip(b"\0")) < 10 for one in seen)
