"""What the tests of the chat share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repl.talk import Talk
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """A person with an empty memory store."""
    monkeypatch.setenv("TERM", "xterm")  # where the tests run there may be a dumb one
    person = Talk(tmp_path)
    yield person
    person.store.close()
