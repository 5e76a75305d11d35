"""What a store says it can do is what it does, and what the manual says."""

import re

import pytest

from omniagent_cli.cli.reference.manual import page_text
from omniagent_cli.stores import BACKENDS
from tests.stores.test_contract import CASES

PAGE = page_text("stores")


@pytest.fixture(params=CASES)
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


def test_search_does_as_it_says(store):
    """Only a store without an index reads messages to find one."""
    store.append("s", {"role": "user", "content": "needle"})
    hits = store.search("needle")
    assert len(hits) == 1
    assert (hits.scanned == 0) is store.capabilities.indexed_search


def test_info_shows_them(store):
    """`info` shows what the store can do; each backend of ours has its row."""
    assert store.backend in BACKENDS
    assert store.capabilities.facts().items() <= store.info().items()


def test_the_table_of_the_page():
    """The manual's table is the one in the code."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.*) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE, re.MULTILINE
    )
    told = {name: (text, *(answer == "yes" for answer in answers)) for name, text, *answers in rows}
    assert told == {
        name: tuple(row.capabilities.facts().values()) for name, row in BACKENDS.items()
    }
