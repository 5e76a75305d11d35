"""The exchange of `peer` as JSON lines over two pipes: a client for the near side, and a server for the far one.

The server greets with its protocol version and store id. Then each request is an object with ``do``: ``compare`` with
the group digests; ``exchange`` with a number of sessions, each a line that follows; ``push``, followed by sessions and
their content, each ended by a line with ``end``. The server answers in the same form.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from omniagent_cli._version import __version__
from omniagent_cli.errors import InvalidRecord, OmniAgentError, SyncError
from omniagent_cli.json_format import dump
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.index import GROUPS
from omniagent_cli.stores.sync.loading import Item
from omniagent_cli.stores.sync.peer import (
    Comparison,
    ExchangeReply,
    ExchangeRequest,
    LocalPeer,
)
from omniagent_cli.stores.sync.wire import (
    PROTOCOL,
    LineReader,
    decode_entry,
    decode_state,
    encode_entry,
    encode_item,
    encode_state,
)

GREETING = "omniagent-sync"
_MAX_SESSIONS = 10_000
_MAX_ENTRIES = 10_000_000


class LinePeer:
    """The other side of a synchronization, behind two pipes.

    Args:
        reading: what the other side writes.
        writing: what it reads.
        name: its name in messages.

    Raises:
        SyncError: it is not an omniagent that speaks this protocol.
    """

    def __init__(self, reading: BinaryIO, writing: BinaryIO, name: str) -> None:
        self._lines = LineReader(reading, name)
        self._writing = writing
        self._name = name
        self._greet()

    def _greet(self) -> None:
        try:
            greeting = self._lines.read()
        except SyncError as error:
            raise SyncError(
                f"{self._name} has no omniagent that can synchronize; install or update it there ({error})"
            ) from error
        if greeting is None or GREETING not in greeting:
            raise SyncError(
                f"{self._name} has no omniagent that can synchronize; install or update it there"
            )
        if greeting[GREETING] != PROTOCOL:
            version = str(greeting.get("version", "of another version"))[:40]
            raise SyncError(
                f"{self._name} has omniagent {version}, which synchronizes in another way than {__version__} here;"
                " update both"
            )

    def _send(self, *values: dict[str, Any]) -> None:
        try:
            for value in values:
                self._writing.write(dump(value) + b"\n")
        except OSError as error:
            self._raise_reported(error)

    def _flush(self) -> None:
        try:
            self._writing.flush()
        except OSError as error:
            self._raise_reported(error)

    def _raise_reported(self, error: OSError) -> None:
        """Raise the error that the other side reported before it ended, if there is one."""
        while self._lines.read() is not None:
            pass
        raise SyncError(f"{self._name} ended the connection; run the command again") from error

    def compare(self, digests: Sequence[str]) -> Comparison:
        """Compare the digests of the groups."""
        self._send({"do": "compare", "groups": list(digests)})
        self._flush()
        with _received():
            found = self._lines.require("comparison")
            entries = [
                decode_entry(self._lines.require("entry"))
                for _ in range(_count(found["entries"], _MAX_ENTRIES))
            ]
            groups = [number for number in found["groups"] if number in range(GROUPS)]
            return Comparison(str(found["store"])[:64], groups, entries)

    def exchange(
        self, requests: Sequence[ExchangeRequest], *, content: bool
    ) -> Iterator[ExchangeReply]:
        """Exchange states."""
        self._send({"do": "exchange", "sessions": len(requests), "content": content})
        for request in requests:
            self._send({"keys": list(request.keys), "state": encode_state(request.state)})
        self._flush()
        for _ in requests:
            with _received():
                found = self._lines.require("reply")
                state, error = decode_state(found["state"]), str(found.get("error", ""))[:500]
            yield ExchangeReply(state, _checked(self._lines.items()), error)

    def push(self, sessions: Iterable[tuple[int, Iterator[Item]]]) -> list[str]:
        """Send what the other side lacks."""
        self._send({"do": "push"})
        sent = 0
        for number, items in sessions:
            sent += 1
            self._send({"session": number})
            for item in items:
                self._send(encode_item(item))
            self._send({"end": True})
        self._send({"done": True})
        self._flush()
        with _received():
            outcomes = self._lines.require("outcomes")
            if not isinstance(outcomes, list) or len(outcomes) != sent:
                raise InvalidRecord("the other side sent an invalid number of outcomes")
            return [str(outcome)[:500] for outcome in outcomes]


def _checked(items: Iterator[Item]) -> Iterator[Item]:
    with _received():
        yield from items


@contextlib.contextmanager
def _received() -> Iterator[None]:
    """Turn the errors of invalid data into those of a failed synchronization."""
    try:
        yield
    except (InvalidRecord, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SyncError(f"invalid data was received: {error}") from error


def _count(number: Any, limit: int) -> int:
    if type(number) is not int or not 0 <= number <= limit:
        raise InvalidRecord("the other side sent an invalid number")
    return number


def serve(store: StoreBase, reading: BinaryIO, writing: BinaryIO) -> None:
    """Answer the other side until it ends; its errors are sent to it.

    Args:
        store: the store.
        reading: what the other side writes.
        writing: what it reads.
    """
    server = _Server(LocalPeer(store, trusts=False), LineReader(reading, "the other side"), writing)
    try:
        server.run()
    except OmniAgentError as error:
        with contextlib.suppress(OSError):
            server.send({"error": str(error)})
            writing.flush()
    except BrokenPipeError:
        pass  # the other side was ended


class _Server:
    def __init__(self, peer: LocalPeer, lines: LineReader, writing: BinaryIO) -> None:
        self._peer = peer
        self._lines = lines
        self._writing = writing

    def send(self, *values: dict[str, Any]) -> None:
        """Write objects, one per line."""
        for value in values:
            self._writing.write(dump(value) + b"\n")

    def run(self) -> None:
        """Greet and answer requests."""
        self.send({GREETING: PROTOCOL, "version": __version__})
        self._writing.flush()
        actions = {"compare": self._compare, "exchange": self._exchange, "push": self._push}
        while (request := self._lines.read()) is not None:
            with _received():
                actions[request["do"]](request)
            self._writing.flush()

    def _compare(self, request: dict[str, Any]) -> None:
        digests = request["groups"]
        if len(digests) != GROUPS:
            raise InvalidRecord("the other side sent an invalid number of groups")
        found = self._peer.compare(digests)
        facts = {"store": found.store_id, "groups": found.groups, "entries": len(found.entries)}
        self.send({"comparison": facts})
        self.send(*({"entry": encode_entry(entry)} for entry in found.entries))

    def _exchange(self, request: dict[str, Any]) -> None:
        requests = []
        for _ in range(_count(request["sessions"], _MAX_SESSIONS)):
            given = self._lines.read() or {}
            keys = tuple(str(key) for key in given["keys"])
            requests.append(ExchangeRequest(keys, decode_state(given["state"])))
        for reply in self._peer.exchange(requests, content=request["content"] is True):
            self.send({"reply": {"state": encode_state(reply.state), "error": reply.error}})
            self.send(*map(encode_item, reply.items))
            self.send({"end": True})

    def _push(self, request: dict[str, Any]) -> None:
        self.send({"outcomes": self._peer.push(self._pushed())})

    def _pushed(self) -> Iterator[tuple[int, Iterator[Item]]]:
        while "session" in (given := self._lines.read() or {}):
            yield _count(given["session"], len(self._peer.sessions) - 1), self._lines.items()
