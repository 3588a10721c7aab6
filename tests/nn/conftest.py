from __future__ import annotations

from collections.abc import Iterator

import pytest

from lstm_cli.nn.cpu import get_num_threads, set_num_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread_a_direction() -> Iterator[None]:
    """The way most are trained; these networks are so small that more threads cost more than they do."""
    threads = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(threads)
