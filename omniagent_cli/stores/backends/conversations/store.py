"""Store whose messages are kept by OpenAI's Conversations API, with a local map of where each message is.

The map is a SQLite file with headers, positions, ids, times, turns, metadata and state, and for each message the ids of
its items. So the same rules hold as in SQLite, while the text is only at the provider. The API can delete items and
cannot change them, so a replaced message is added again and its old items are deleted; deletions happen after the map
has been committed. A failed append is reverted; only a process that is killed during one leaves unknown items there.
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
from omniagent_cli.stores.operations.stage import count_messages
from omniagent_cli.stores.unit_of_work import UnitOfWork, complete_messages

if TYPE_CHECKING:
    from sqlite3 import Connection

    import openai

T = TypeVar("T")
SCHEME = "openai-conversations:"


class ConversationsStore(SqliteStore):
    """Sessions whose text is kept by OpenAI.

    Args:
        location: ``openai-conversations:``, with the path of the map if it is not in the user's data directory.
        client: an ``openai.OpenAI``, which the caller closes. Without it the key is read from ``OPENAI_API_KEY``.
        base_url: base URL of the API for a client created here.
    """

    backend = "conversations"

    def __init__(
        self,
        location: str | os.PathLike[str] = SCHEME,
        *,
        client: openai.OpenAI | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        path = os.fspath(location).removeprefix(SCHEME).removeprefix("//")
        super().__init__(path or _default_map(), **options)
        self._api = ConversationsApi(client, base_url)
        self._deleted_all = False

    @property
    def url(self) -> str:
        """The scheme and the path of the map."""
        return f"{SCHEME}{self.path}"

    def _catch_up(self, connection: Connection, *, at_close: bool = False) -> None:
        """Do nothing: the map has no text to index."""

    def use_codec(self, codec: PayloadCodec) -> None:
        """Refuse compression and encryption, because the provider must be able to read the text.

        Raises:
            UnsupportedOperation: always.
        """
        raise UnsupportedOperation(
            "a Conversations store cannot be compressed or encrypted, because OpenAI must be able to read it;"
            " set compress and encrypt to false in its [stores.NAME]"
        )

    def adopt(self, conversation: str, session_id: str | None = None) -> str:
        """Add an existing conversation of OpenAI to the map and return the session's id.

        Args:
            conversation: its id at OpenAI.
            session_id: the session's id; by default the one in the conversation's metadata, or the conversation's id.

        Raises:
            SessionExists: the session id is taken.
            SessionNotFound: OpenAI has no such conversation.
        """
        metadata = self._api.metadata(conversation)
        new_id = check_session_id(session_id or metadata.get("session_id") or conversation)
        found = adopted(list(self._api.items(conversation)))
        given = [Message.from_record(record) for record, _ in found]

        def work(unit: UnitOfWork) -> str:
            unit.ensure_unused(new_id)
            header = unit.fresh(new_id, unit.now())
            messages = [message.copy() for message in given]
            complete_messages(messages, format_time(unit.now()), 0)
            if messages:
                count_messages(unit, header, messages)
            unit.touch(header, unit.now(), activity=True)
            unit.tx.put(header)
            rows = [unit.to_row(header.uid, message) for message in messages]
            cast("ConversationsUnit", unit.tx).adopt(
                header.uid, conversation, rows, [ids for _, ids in found]
            )
            unit.emit("session_created", new_id)
            return new_id

        return self.write_unit(work)

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
                unit.revert()
            raise
        if write and (units[-1].gone or not self._deleted_all):
            with contextlib.suppress(StoreError):  # the map keeps the list for the next write
                self._delete_removed()
        return result

    def _scrub(self) -> None:
        super()._scrub()
        try:
            self._delete_removed()
        except StoreUnreachable as error:
            raise StoreUnreachable(
                f"removed from this store; the copy at OpenAI could not be deleted now and is deleted with the next write: {error}"
            ) from error

    def _delete_removed(self) -> None:
        """Delete at OpenAI what was removed from the map.

        Raises:
            StoreUnreachable: OpenAI cannot be reached; the map keeps the list for the next write.
        """
        self._deleted_all = False
        gone = super()._run(read_gone, write=False)
        for conversation, item in gone:
            self._api.delete(conversation, item)
        if gone:

            def forget(tx: Transaction) -> None:
                left = [entry for entry in read_gone(tx) if entry not in gone]
                tx.put_meta(GONE, dump(left))

            super()._run(forget, write=True, durable=False)
        self._deleted_all = True

    def info(self) -> dict[str, Any]:
        """Return facts about the store, with the number of pending deletions at OpenAI."""
        return {**super().info(), "to_delete": len(super()._run(read_gone, write=False))}

    def _close(self) -> None:
        super()._close()
        self._api.close()


def _default_map() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("omniagent", appauthor=False)) / "conversations.db"
