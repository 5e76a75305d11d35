"""Staging of an incoming session, invisible until it is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from omniagent_cli.errors import StoreError
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.journal import REMOVAL, read_removal
from omniagent_cli.stores.sync.loading import (
    Item,
    LoadedSession,
    read_attachments,
    read_content,
)
from omniagent_cli.stores.sync.state import SessionState

_BATCH_MESSAGES = 500
_BATCH_CHARACTERS = 2 * 1024 * 1024


class Staging:
    """Incoming session in the staging area; a dry run only counts messages.

    Attributes:
        attachments: attachments of the session to be extended; None for a new session.
        added_attachments: SHA-256 of the incoming attachments.
        removals: stamps of removed and restored messages of an incoming session that is merged.
    """

    def __init__(self, store: SessionStore, *, dry_run: bool) -> None:
        self._store = store
        self._dry_run = dry_run
        self._uid: str | None = None
        self._batch: list[Message] = []
        self._size = 0
        self._count = 0
        self.attachments: frozenset[str] | None = None
        self.added_attachments: set[str] = set()
        self.removals: list[tuple[dict[str, str], dict[str, str]]] = []
        self._places: dict[str, int] = {}

    def add(self, message: Message) -> None:
        """Stage the next message."""
        self._count += 1
        if self._dry_run:
            return
        self._batch.append(message)
        self._places[message.id or ""] = message.position or 0
        self._size += len(message.text) + sum(map(len, map(str, message.tool_calls or ())))
        if len(self._batch) >= _BATCH_MESSAGES or self._size >= _BATCH_CHARACTERS:
            self._flush()

    def add_record(self, kind: str, key: str, value: dict[str, Any]) -> None:
        """Stage an attachment or a summary."""
        if kind == "attachment":
            self.added_attachments.add(key)
        elif kind == REMOVAL and self.attachments is not None:
            self.removals.append(read_removal(key, value))
        wanted = self.attachments is None or (kind == "attachment" and key not in self.attachments)
        if wanted and not self._dry_run:
            self._store.stage_record(self._staged_uid(), kind, key, value)

    def publish(self, session: Session, *, replace: bool = False, auto_title: bool) -> None:
        """Publish the staged messages as a session."""
        if self._dry_run:
            return
        self._store.publish(
            self._uid, session, messages=self._batch, replace=replace, auto_title=auto_title
        )
        self._uid = None

    def append_staged(self, session_id: str, revision: int) -> None:
        """Append the staged messages to an existing session."""
        if self._dry_run:
            return
        self._flush()
        self._store.append_staged(self._staged_uid(), session_id, revision=revision)
        self._uid = None

    def items(self) -> Iterator[Item]:
        """Yield the staged attachments and messages, and discard them."""
        self._flush()
        if self._uid is None:
            return
        uid = self._uid
        header = self._store.read_unit(lambda unit: unit.tx.find_uid(uid))
        staged = LoadedSession(SessionState(), header, self._places)
        yield from read_attachments(self._store, staged, sorted(self.added_attachments))
        yield from read_content(self._store, staged, self._places)

    def restart(self) -> None:
        """Discard the staged messages, because they are already stored."""
        if self._count:
            self.discard()

    def discard(self) -> None:
        """Discard unpublished messages; if the store fails, they expire after a day."""
        self._batch.clear()
        self._size = self._count = 0
        uid, self._uid = self._uid, None
        if uid is not None:
            with contextlib.suppress(StoreError):
                self._store.discard_staged(uid)

    def _staged_uid(self) -> str:
        if self._uid is None:
            self._uid = self._store.stage(Session(id="staged"))
        return self._uid

    def _flush(self) -> None:
        if self._batch:
            self._store.stage_messages(self._staged_uid(), self._batch, trusted=True)
        self._batch = []
        self._size = 0
