"""The JSON form of states and messages between two sides, and its validation: nothing that is received is trusted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from omniagent_cli.errors import InvalidRecord, SyncError
from omniagent_cli.json_format import dump, load, parse_time
from omniagent_cli.models import check_message_record, check_session_id, check_sha256
from omniagent_cli.stores.facts import BEGUN, DELETED, OWN_KEYS
from omniagent_cli.stores.sync.index import Entry
from omniagent_cli.stores.sync.loading import Item, Record, is_stamp
from omniagent_cli.stores.sync.state import Fact, MessageState, Order, Revision, SessionState
from omniagent_cli.text.sanitize import is_storable

PROTOCOL = 1
"""Version of the exchange; a side refuses another one by name."""

MAX_LINE_BYTES = 256 << 20
"""Maximum size of a line, as for the records of an import."""

MAX_UIDS = 10_000

_UID = re.compile(r"[0-9a-z]{1,64}")
_HEX = re.compile(r"[0-9a-f]{0,64}")
_NAMES = frozenset({"id", "title", "model", "agent", "ttl", DELETED, BEGUN})
_SECTIONS = frozenset({"metadata", "state", "tags", "data"})


class LineReader:
    """Reader of one JSON object per line from an untrusted stream.

    Attributes:
        decode: returns the JSON of a line; None: the line is JSON.
    """

    def __init__(
        self, file: BinaryIO, name: str, decode: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._file = file
        self._name = name
        self.decode = decode

    def read(self) -> Record | None:
        """Return the next object; None at the end of the stream.

        Raises:
            SyncError: the line is too long, or is not an object; or the other side reports an error.
        """
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return None
        if len(line) > MAX_LINE_BYTES:
            raise SyncError(f"{self._name} sent a line of more than {MAX_LINE_BYTES >> 20} MiB")
        try:
            value = load(self.decode(line) if self.decode else line.rstrip(b"\r\n"))
        except ValueError as error:
            raise SyncError(f"{self._name} sent a line that is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise SyncError(f"{self._name} sent a line that is not an object")
        if "error" in value:
            raise SyncError(f"{self._name}: {value['error']}")
        return value

    def require(self, key: str) -> Any:
        """Return a value of the next object.

        Raises:
            SyncError: the stream has ended, or the object has no such key.
        """
        found = self.read()
        if found is None:
            raise SyncError(f"{self._name} ended the connection; run the command again")
        if key not in found:
            raise SyncError(f"{self._name} sent something unexpected")
        return found[key]

    def items(self) -> Iterator[Item]:
        """Yield the content of a session up to its end, validated."""
        while (found := self.read()) is not None:
            if "end" in found:
                return
            yield decode_item(found)
        raise SyncError(f"{self._name} ended the connection; run the command again")


def encode_state(state: SessionState) -> Record:
    """Return a state as a JSON object."""
    return {
        "facts": {name: [fact.stamp, *fact.value] for name, fact in state.facts.items()},
        "messages": [
            [key, *message.revision, *message.order, message.turn]
            for key, message in state.messages.items()
        ],
        "removed": dict(state.removed),
        "restored": dict(state.restored),
        "attachments": sorted(state.attachments),
        "uids": sorted(state.uids),
        "times": [state.created_at, state.updated_at, state.changed_at],
    }


def decode_state(value: Any) -> SessionState:
    """Return the state of a JSON object of the other side.

    Raises:
        InvalidRecord: it is not a state.
    """
    try:
        created, updated, changed = map(_stamp, value["times"])
        messages = {}
        for key, revised, complete, size, digest, time, number, turn in value["messages"]:
            revision = Revision(_stamp(revised), _flag(complete), _count(size), _hex(digest))
            order = Order(_time(time), _count(number))
            messages[_message_id(key)] = MessageState(revision, order, _message_id(turn))
        state = SessionState(
            facts={name: _fact(name, fact) for name, fact in value["facts"].items()},
            messages=messages,
            removed=_stamps(value["removed"]),
            restored=_stamps(value["restored"]),
            attachments=frozenset(map(check_sha256, value["attachments"])),
            uids=frozenset(map(_uid, value["uids"][:MAX_UIDS])),
            created_at=created,
            updated_at=updated,
            changed_at=changed,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRecord("the other side sent an invalid state of a session") from error
    if state.facts and (not state.uids or not state.facts.get("id", Fact("", ())).value):
        raise InvalidRecord("the other side sent a session without an id")
    return state


def _fact(name: str, given: Any) -> Fact:
    stamp, *value = given
    section, slash, key = name.partition("/")
    known = name in _NAMES or (section in _SECTIONS and key and is_storable(key))
    if len(value) > 1 or not known or (section == "data" and key in OWN_KEYS):
        raise InvalidRecord(f"the other side sent an unknown fact {name!r}")
    dump([name, value])  # limits the depth
    if value:
        _check_value(name if not slash else section, value[0])
    if name in (DELETED, BEGUN) and not stamp:
        raise InvalidRecord("the other side sent a deletion without a time")
    return Fact(_stamp(stamp), tuple(value))


def _check_value(name: str, value: Any) -> None:
    if name == "id":
        check_session_id(value)
    elif name == "title":
        valid = isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))
        _expect(valid)
    elif name in ("model", "agent"):
        _expect(_is_text(value) and is_storable(value))
    elif name == "ttl":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _expect(value is None or (number and 0 < value < 1e15))
    elif name == "tags":
        _expect(value is True)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _expect(valid: bool) -> None:  # noqa: FBT001  # the condition is its only subject
    if not valid:
        raise InvalidRecord("the other side sent an invalid fact of a session")


def _stamp(text: Any) -> str:
    if text != "":
        parse_time(_time(text))
    return str(text)


def _time(text: Any) -> str:
    if not is_stamp(text):
        raise ValueError("not a time")
    return str(text)


def _stamps(value: Mapping[str, Any]) -> dict[str, str]:
    return {_message_id(key): _stamp(stamp) for key, stamp in value.items()}


def _uid(text: str) -> str:
    if not _UID.fullmatch(text):
        raise ValueError("not a uid")
    return text


def _hex(text: str) -> str:
    if not _HEX.fullmatch(text):
        raise ValueError("not a digest")
    return text


def _count(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 2**53:
        raise ValueError("not a count")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value


def _message_id(text: Any) -> str:
    if not _is_text(text) or not 0 < len(text) <= 1024 or not is_storable(text):
        raise ValueError("not the id of a message")
    return str(text)


def encode_item(item: Item) -> Record:
    """Return a message or attachment as a JSON object."""
    kind, key, record = item
    return {kind: record, "key": key}


def decode_item(value: Mapping[str, Any]) -> Item:
    """Return a message or attachment of the other side.

    Raises:
        InvalidRecord: it is neither.
    """
    key = value.get("key")
    if isinstance(value.get("attachment"), dict) and isinstance(key, str):
        dump(value["attachment"])
        return "attachment", check_sha256(key), value["attachment"]
    record = value.get("message")
    if not isinstance(record, dict) or record.get("id") != key or "created_at" not in record:
        raise InvalidRecord("the other side sent something that is not a message")
    dump(record)
    check_message_record(record)
    return "message", _message_id(key), record


def encode_entry(entry: Entry) -> list[Any]:
    """Return an entry of an index as a JSON list."""
    return [list(entry.uids), *entry[1:]]


def decode_entry(value: Any) -> Entry:
    """Return an entry of the other side's index.

    Raises:
        InvalidRecord: it is not one.
    """
    try:
        uids, session_id, digest, is_grave, messages, named = value
        names = tuple(map(_uid, uids[:MAX_UIDS]))
        _expect(bool(names))
        own = check_session_id(session_id)
        return Entry(names, own, _hex(digest), _flag(is_grave), _count(messages), _stamp(named))
    except (TypeError, ValueError) as error:
        raise InvalidRecord("the other side sent an invalid list of sessions") from error
