"""Fixtures of adapters: a store."""

import pytest

from omniagent_cli import open_store


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "sessions.db", ttl=None) as store:
        yield store
