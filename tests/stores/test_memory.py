"""The store in memory: cost of reads."""

import tracemalloc

import pytest

from omniagent_cli.models import Message
from omniagent_cli.stores.backends.memory import MemoryStore


@pytest.mark.parametrize("part", [{"last": 5}, {"last": 5, "before": 9000}, {"after": 19_994}])
def test_a_slice_is_read_without_the_rest(part):
    """Reading a few messages of a long session takes the memory of a few messages."""
    with MemoryStore() as store:
        store.append("s", [Message("user", "a") for _ in range(20_000)])
        tracemalloc.start()
        try:
            assert len(store.messages("s", **part)) == 5
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 50_000
