"""The lines of one write: those of its messages, and a header line if a fact changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from omniagent_cli.json_format import dump, load
from omniagent_cli.models import SESSION_FORMAT
from omniagent_cli.stores.backend import HeaderRow, MessageRow
from omniagent_cli.stores.backends.jsonl.facts import Path, flatten, nest
from omniagent_cli.stores.backends.jsonl.lines import (
    LOG_VERSION,
    later,
    message_line,
    record_line,
    to_base64,
)
from omniagent_cli.stores.backends.jsonl.state import COLUMNS, State, expiry_of
from omniagent_cli.stores.encryption.cipher import ENCRYPTED

_SEALED = bytes((ENCRYPTED,))


class Batch:
    """The lines of one write.

    Args:
        state: the state of the log before it.
        header: the header after it.
        bulk: the messages were not added now, so that their own times are their stamps where these ascend.
    """

    def __init__(self, state: State, header: HeaderRow, *, bulk: bool = False) -> None:
        self.state, self.header = state, header
        self._bulk = bulk or header.hidden
        self.key, self.other = state.newest[:2], state.newest[2]
        self.updated, self.changed, self.top = state.header.updated_at, state.changed_at, state.top
        self.preview = state.preview
        self._lines: list[Callable[[bool], bytes]] = []

    def _line(self, record: dict[str, Any]) -> None:
        self._lines.append(lambda more: dump({**record, "more": True} if more else record) + b"\n")

    def _other_stamp(self, base: str) -> str:
        self.other = later(base, self.other)
        self.changed = max(self.changed, self.other[:27])
        return self.other

    def records(self, records: dict[tuple[str, str], bytes | None]) -> None:
        """Add attachments and summaries, or their removals."""
        for (kind, key), payload in sorted(records.items()):
            if payload is not None or (kind, key) in self.state.records:
                stamp = self._other_stamp(self.header.updated_at)
                self._lines.append(
                    lambda more, a=(kind, key, payload, stamp): record_line(*a, more=more)  # type: ignore[misc]
                )

    def remove(self, pairs: Iterable[tuple[int, str]], kind: str = "removed") -> None:
        """Add the line that removes or restores messages, given as positions and ids."""
        references = [[name, position] for position, name in sorted(pairs)]
        if references:
            stamp = self._other_stamp(self.header.updated_at)
            self.updated = max(self.updated, stamp[:27])
            self._line({kind: references, "at": stamp})

    def _stamp(self, row: MessageRow, base: str) -> str:
        stamp = base if (base, row.id) > self.key else later("", self.key[0])
        self.key = (stamp, row.id)
        self.updated = max(self.updated, stamp[:27])
        self.changed = max(self.changed, self.updated)
        return stamp

    def add(self, rows: list[MessageRow]) -> None:
        """Add messages, in the order of their positions."""
        active = self.header.updated_at
        for number, row in enumerate(rows, start=1):
            last = number == len(rows)
            old = row.created_at <= active and (row.created_at, row.id) > self.key
            own = old and (not last or self._bulk)
            stamp = self._stamp(row, row.created_at if own else active)
            explicit = row.position != self.top + 1
            self.top = max(self.top, row.position)
            preview = self.header.preview if last else b""
            self.preview = preview or self.preview
            self._lines.append(
                lambda more, a=(row, stamp, explicit, preview): message_line(  # type: ignore[misc]
                    a[0], a[1], position=a[2], more=more, preview=a[3]
                )
            )

    def edit(self, row: MessageRow, stamp: str) -> None:
        """Add a later version of a message that was added at a stamp."""
        edited = self._stamp(row, self.header.updated_at)
        preview = self.header.preview if row.position == self.top else b""
        self.preview = preview or self.preview
        self._lines.append(
            lambda more: message_line(
                row, stamp, position=True, edited=edited, more=more, preview=preview
            )
        )

    def drain(self) -> bytes:
        """Return the lines so far, each as a write of its own, and continue without them."""
        lines, self._lines = self._lines, []
        return b"".join(make(more) for make in lines for more in (False,))

    def render(self, *, revision: int | None = None) -> bytes:
        """Return the lines, with a header line if a fact changed or would be derived wrongly.

        Args:
            revision: the revision that the lines must lead to; None: one more than before.
        """
        facts, unset = changed_facts(self.state, self.header)
        derived = self._wrongly_derived(self.changed)
        base = self.state.header.revision
        wrong = revision not in (None, base + bool(self._lines or facts or unset or derived))
        if facts or unset or derived or wrong:
            moment = self.header.changed_at
            stamp = self._other_stamp(moment)
            header = nest(facts) | self._wrongly_derived(self.changed)
            if revision is not None and revision != base + 1:
                header["revision"] = revision - 1
            self._line({"header": header, **({"unset": unset} if unset else {}), "at": stamp})
        last = len(self._lines) - 1
        return b"".join(make(number != last) for number, make in enumerate(self._lines))

    def _wrongly_derived(self, changed: str) -> dict[str, Any]:
        """Return the facts that do not follow from the lines."""
        header, found = self.header, dict[str, Any]()
        if header.updated_at != self.updated:
            found["updated_at"] = header.updated_at
        if header.changed_at != changed:
            found["modified_at"] = changed = header.changed_at
        if header.next_position > max(self.top + 1, self.state.header.next_position):
            found["next_position"] = header.next_position
        if header.expires_at != expiry_of(changed, header.ttl_seconds):
            found["expires_at"] = header.expires_at
        if header.preview[:1] == _SEALED and header.preview != self.preview:
            found["preview"] = to_base64(header.preview)
        return found


def changed_facts(state: State, header: HeaderRow) -> tuple[dict[Path, Any], list[Path]]:
    """Return the facts of a header that differ from those of a log, and those that are no longer set."""
    facts: dict[Path, Any] = {}
    unset: list[Path] = []
    sealed = header.payload is not None and header.payload[:1] != b"{"
    known = {path: fact[1] for path, fact in state.data_facts()}
    if header.payload is not None and header.payload != state.payload():
        if sealed:
            facts["payload",] = to_base64(header.payload)
        else:
            new = flatten(load(header.payload))
            facts = {p: v for p, v in new.items() if p not in known or dump(v) != dump(known[p])}
            unset = [path for path in known if path not in new]
    current = state.current(payload=False)
    for name in COLUMNS:
        mirrors = name in ("pinned", "archived") and not (
            sealed or (("payload",) in known and header.payload is None)
        )
        if not mirrors and getattr(current, name) != getattr(header, name):
            facts[name,] = getattr(header, name)
    return facts, unset


def new_log(header: HeaderRow, *, empty: bool) -> bytes:
    """Return line 1 of a new session with its facts."""
    blank = State(HeaderRow(header.uid, header.id, header.created_at, ""), "", 0, 0)
    return identity_line(header, changed_facts(blank, header)[0], header.revision if empty else 0)


def identity_line(header: HeaderRow, facts: dict[Path, Any], revision: int) -> bytes:
    """Return line 1 of a log with these facts."""
    record: dict[str, Any] = {
        "format": SESSION_FORMAT,
        "version": LOG_VERSION,
        "uid": header.uid,
        "id": header.id,
        "created_at": header.created_at,
    }
    facts = {path: value for path, value in facts.items() if path not in (("id",), ("created_at",))}
    nested = nest(facts) | ({"revision": revision} if revision else {})
    return dump({**record, "header": nested} if nested else record) + b"\n"
