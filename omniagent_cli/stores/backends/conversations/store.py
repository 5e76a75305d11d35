"""The store whose text OpenAI keeps, through its Conversations API; a map on this machine says what is where.

The map is a SQLite file of ours: headers, positions, ids, times, turns, metadata and state, and for each message the
ids of its items. So every rule holds as it does in SQLite, while what was said is at the provider alone. The API
can delete and cannot change items, so what is replaced is added anew and the old items deleted; what is deleted here
is deleted there after the map has forgotten it. An append that fails is taken back; only a program that is killed in
the middle of one leaves items there that the map does not know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniagent_cli.errors import StoreError, StoreUnreachable, UnsupportedOperation
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import Message, check_session_id
from omniagent_cli.stores.backend import Transaction
from omniagent_cli.stores.backends.conversations.api import ConversationsApi
from omniagent_cli.stores.backends.conversations.items import adopted
from omniagent_cli.stores.backends.conversations.unit import GONE, ConversationsUnit, read_gone
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from omniagent_cli.stores.encryption.codec import PayloadCodec
from omniagent_cli.stores.events import Event
from omniagent_cli.stores.operations.append import complete_messages

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
SCHEME = "openai-conversations:"


class ConversationsStore(SqliteStore):
    """Sessions whose text is kept by OpenAI.

    Args:
        place: ``openai-conversations:``, with the path of the map if it is not in the user's data directory.
        client: an ``openai.OpenAI`` to use; its owner closes it. Without it the key comes from ``OPENAI_API_KEY``.
        base_url: where the API is, for a client that is made here.
    """

    backend = "conversations"

    def __init__(
        self,
        place: str | os.PathLike[str] = SCHEME,
        *,
        client: openai.OpenAI | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        path = os.fspath(place).removeprefix(SCHEME).removeprefix("//")
        super().__init__(path or _default_map(), **options)
        self._api = ConversationsApi(client, base_url)
        self._is_tidy = False

    @property
    def url(self) -> str:
        """The scheme and where the map is."""
        return f"{SCHEME}{self.path}"

    def use_codec(self, codec: PayloadCodec) -> None:
        """Refuse: the provider has to read what it keeps.

        Raises:
            UnsupportedOperation: always.
        """
        raise UnsupportedOperation(
            "conversations are kept by OpenAI, which has to read them; a store of this kind cannot be wrapped"
        )

    def adopt(self, conversation: str, session_id: str | None = None) -> str:
        """Take a conversation that is at OpenAI and not in the map into it, and return the session's id.

        Args:
            conversation: its id there.
            session_id: what to call it; without it, as its metadata says, or as the conversation.

        Raises:
            SessionExists: there is such a session already.
            SessionNotFound: OpenAI has no such conversation.
        """
        told = self._api.metadata(conversation)
        new_id = check_session_id(session_id or told.get("session_id") or conversation)
        found = adopted(list(self._api.items(conversation)))
        given = [Message.from_record(record) for record, _ in found]

        def work(tx: Transaction, events: list[Event]) -> str:
            self._free(tx, new_id)
            header = self._fresh(new_id, tx.now())
            messages = [message.copy() for message in given]
            complete_messages(messages, format_time(tx.now()), 0)
            if messages:
                self._count_in(tx, header, messages)
            self._touch_header(header, tx.now())
            tx.put(header)
            rows = [self._to_row(header.uid, message) for message in messages]
            cast("ConversationsUnit", tx).adopt(
                header.uid, conversation, rows, [ids for _, ids in found]
            )
            events.append(Event("session_created", new_id))
            return new_id

        return self._write(work)

    def _run(self, work: Callable[[Transaction], T], *, write: bool, durable: bool = True) -> T:
        units: list[ConversationsUnit] = []

        def attempt(tx: Transaction) -> T:
            units.append(ConversationsUnit(tx, self._api))
            result = work(units[-1])
            if write:
                units[-1].send()
            return result

        try:
            result = super()._run(attempt, write=write, durable=durable)
        except BaseException:
            for unit in units:
                unit.take_back()
            raise
        if write and (units[-1].gone or not self._is_tidy):
            with contextlib.suppress(StoreError):  # it is in the map's list, for the next write
                self._tidy_up()
        return result

    def _scrub(self) -> None:
        super()._scrub()
        try:
            self._tidy_up()
        except StoreUnreachable as error:
            raise StoreUnreachable(
                f"it is gone here, and OpenAI still has a copy that is deleted with the next write: {error}"
            ) from error

    def _tidy_up(self) -> None:
        """Delete at OpenAI what the map has forgotten.

        Raises:
            StoreUnreachable: OpenAI did not do it; the map has it in its list.
        """
        self._is_tidy = False
        gone = super()._run(read_gone, write=False)
        for conversation, item in gone:
            self._api.delete(conversation, item)
        if gone:

            def forget(tx: Transaction) -> None:
                left = [entry for entry in read_gone(tx) if entry not in gone]
                tx.put_meta(GONE, dump(left))

            super()._run(forget, write=True, durable=False)
        self._is_tidy = True

    def info(self) -> dict[str, Any]:
        """Add what is still to be deleted at OpenAI, because it could not be reached."""
        return {**super().info(), "to_delete": len(super()._run(read_gone, write=False))}

    def _close(self) -> None:
        super()._close()
        self._api.close()


def _default_map() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("omniagent", appauthor=False)) / "conversations.db"
