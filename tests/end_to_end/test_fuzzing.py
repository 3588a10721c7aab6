"""Broken and hostile input is read or refused, and nothing else; `scripts/fuzz.py` does this for long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import TARGETS, case_of


@pytest.mark.parametrize("name", TARGETS)
def test_a_broken_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]()
    outcomes = {target.refuses(sample, tmp_path) for sample in dict.fromkeys(target.samples)}
    assert False in outcomes  # the samples are good

    # the same cases every time: new ones are the script's, and no test should go red by luck
    cases = 40 if name == "run" else 120

    @settings(
        derandomize=True, max_examples=cases, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(number=st.integers(0, 2**32))
    def read(number: int) -> None:
        outcomes.add(target.refuses(case_of(target, name, 0, number), tmp_path))

    read()
    assert True in outcomes or name == "cache"  # and what is made of them is not; a cache mends itself


@pytest.mark.parametrize("name", TARGETS)
def test_a_case_is_the_same_whenever_it_is_made(name: str) -> None:
    one, two = TARGETS[name](), TARGETS[name]()
    later = [case_of(two, name, 1, number) for number in range(20, 0, -1)]
    assert [case_of(one, name, 1, number) for number in range(1, 21)] == later[::-1]
