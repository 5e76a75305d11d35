"""What the tests of the chat share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from prompt_toolkit.application import application

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


@pytest.fixture(scope="package", autouse=True)
def key_bindings():
    """Build prompt_toolkit's own key bindings once: they hold no state, and each prompt builds hundreds of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "load_key_bindings", cache(application.load_key_bindings))
        yield
