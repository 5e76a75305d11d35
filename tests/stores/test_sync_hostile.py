"""Hostile peers: any conversation is merged, or refused with an error."""

import contextlib
import io
import os
import re
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli import open_store, sync
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.stores.sync.driver import sync_with
from omniagent_cli.stores.sync.remote import LinePeer, serve
from tests.stores.test_sync import said, turn


class Recording(io.RawIOBase):
    """A pipe that keeps what was read from it."""

    def __init__(self, file):
        super().__init__()
        self.file, self.kept = file, bytearray()

    def readline(self, limit=-1):
        line = self.file.readline(limit)
        self.kept += line
        return line


@pytest.fixture(scope="module")
def conversation():
    """Return what the far side sends in a synchronization of three sessions."""
    with open_store("memory:") as one, open_store("memory:") as two:
        two.append("s", turn("a") + turn("b"))
        two.set_metadata("s", "k", {"deep": [1]})
        two.tag("s", ["t"])
        two.trim("s", 3)
        two.append("other", turn("c"))
        two.append("gone", turn("d"))
        two.delete("gone")
        (from_server, to_client), (from_client, to_server) = os.pipe(), os.pipe()
        reading, writing = os.fdopen(from_client, "rb"), os.fdopen(to_client, "wb")
        thread = threading.Thread(target=serve, args=(two, reading, writing))
        thread.start()
        recording = Recording(os.fdopen(from_server, "rb"))
        with os.fdopen(to_server, "wb") as sending:
            sync_with(one, LinePeer(recording, sending, "laptop"))
        thread.join()
        for file in (reading, writing, recording.file):
            file.close()
        return bytes(recording.kept)


JUNK = [
    *(b"null", b"[]", b"{}", b'""', b"-1", b"1e999", b"true", b"[[[[]]]]"),
    *(b'"@deleted"', b'"data/trash"', b'"data/x"', b'"9999-12-31T23:59:59.999999Z"'),
]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_conversation_is_merged_or_refused(conversation, data):
    """Whatever a peer sends, the synchronization succeeds or ends with an error, and the store stays sound."""
    tokens = re.findall(rb'"[^"]*"|[\d.]+|[\[\]{},:]|\n|[a-z]+', conversation)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(tokens) - 1))
        tokens[place] = data.draw(st.sampled_from([b"", *JUNK, *tokens[:: len(tokens) // 20]]))
    with open_store("memory:") as one:
        one.append("s", turn("mine"))
        one.append("mine", turn("too"))
        with contextlib.suppress(OmniAgentError):
            sync_with(one, LinePeer(io.BytesIO(b"".join(tokens)), io.BytesIO(), "laptop"))
        assert list(one.check()) == []
        assert said(one, "mine") == ["too", "re: too"]
        for summary in one.list(archived=None):
            one.get(summary.id).to_record()
        with open_store("memory:") as third:
            assert sync(one, third).ok
