"""Contract of attachments and summaries whose messages are removed and restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.contract_base import ContractBase, MakeStore, messages_of, texts

A, B, C = "a" * 64, "b" * 64, "c" * 64

REMOVALS: dict[str, Callable[..., object]] = {
    "trim": lambda store, **how: store.trim("s", 1, **how),
    "clear": lambda store, **how: store.clear("s", **how),
}


def showing(*names: str) -> list[dict[str, Any]]:
    """Return one message record per attachment hash."""
    return [
        {"role": "user", "content": [{"type": "file", "file": {"sha256": name}}]} for name in names
    ]


def attach(store: SessionStore, *names: str) -> None:
    """Store attachments in session ``s``."""
    for name in names:
        store.put_attachment("s", name, {"name": name[0], "data": "eA=="})


class CompanionsContract(ContractBase):
    """Attachments and summaries are removed and restored with their messages."""

    @pytest.mark.parametrize("purge", [False, True])
    @pytest.mark.parametrize("way", REMOVALS)
    def test_no_summary_of_removed_messages_is_sent(
        self, store: SessionStore, *, way: str, purge: bool
    ) -> None:
        """Removing a message removes every summary that covers it."""
        store.append("s", messages_of("a", "b", "c"))
        store.put_summary("s", 1, {"text": "of a and b"})
        REMOVALS[way](store, purge=purge)
        assert store.last_summary("s") is None

    def test_undo_leaves_earlier_summaries(self, store: SessionStore) -> None:
        """Undo removes only summaries that cover a removed message; restore brings them back."""
        store.append("s", messages_of("a", "b", "c"))
        store.put_summary("s", 0, {"text": "of a"})
        store.put_summary("s", 2, {"text": "of all"})
        store.truncate_from("s", 1)
        assert store.last_summary("s")["text"] == "of a"
        store.restore("s")
        assert store.last_summary("s") == {"text": "of all", "up_to": 2}

    def test_a_save_takes_the_summary_of_what_it_replaces(self, store: SessionStore) -> None:
        """Saving an edited message removes the summaries that cover the old one."""
        store.append("s", messages_of("a", "b"))
        store.put_summary("s", 1, {"text": "of both"})
        session = store.get("s")
        session.messages[1].content = "other"
        store.save(session)
        assert store.last_summary("s") is None

    def test_a_summary_returns_with_the_last_of_its_messages(self, store: SessionStore) -> None:
        """A summary is restored when all of its messages are back."""
        store.append("s", messages_of("a", "b", "c"))
        store.put_summary("s", 2, {"text": "of all"})
        store.trim("s", 2)
        store.trim("s", 1)
        store.restore("s")
        assert store.last_summary("s") is None
        store.restore("s")
        assert texts(store, "s") == ["a", "b", "c"]
        assert store.last_summary("s") == {"text": "of all", "up_to": 2}

    def test_a_summary_made_without_them_goes_when_they_return(self, store: SessionStore) -> None:
        """Restoring messages removes a summary made while they were in the trash."""
        store.append("s", messages_of("a", "b", "c"))
        store.trim("s", 1)
        store.put_summary("s", 2, {"text": "of c"})
        store.restore("s")
        assert store.last_summary("s") is None

    def test_a_summary_goes_with_messages_that_become_a_session(self, store: SessionStore) -> None:
        """Messages restored as a new session bring only the summaries that cover no other message."""
        store.append("s", messages_of("a", "b", "c"))
        store.put_summary("s", 0, {"text": "of a"})
        store.put_summary("s", 2, {"text": "of all"})
        store.trim("s", 1)
        store.restore("s", as_id="t")
        assert list(store.iter_records("t", "summary")) == [
            (f"{0:012d}", {"text": "of a", "up_to": 0})
        ]

    @pytest.mark.parametrize("way", REMOVALS)
    def test_purge_takes_unreferenced_attachments(self, store: SessionStore, way: str) -> None:
        """Purging removes attachments that no remaining message references."""
        store.append("s", showing(A, B, B))
        attach(store, A, B, C)
        REMOVALS[way](store, purge=True)
        assert store.attachments("s") == ([B] if way == "trim" else [])
        assert store.trash() == []

    @pytest.mark.parametrize("way", REMOVALS)
    def test_attachments_follow_their_messages(self, store: SessionStore, way: str) -> None:
        """Attachments move to the trash and back with their messages; unreferenced ones stay."""
        store.append("s", showing(A, B, B))
        attach(store, A, B, C)
        REMOVALS[way](store)
        assert store.attachments("s") == ([B, C] if way == "trim" else [C])
        store.restore("s")
        assert store.attachments("s") == [A, B, C]
        assert store.attachment("s", A) == {"name": "a", "data": "eA=="}

    def test_a_save_keeps_attachments_in_use(self, store: SessionStore) -> None:
        """Replacing a message copies a still referenced attachment to the trash instead of moving it."""
        store.append("s", showing(A, B))
        attach(store, A, B)
        session = store.get("s")
        session.messages = [Message.from_record(showing(A)[0] | {"name": "edited"})]
        store.save(session)
        assert store.attachments("s") == [A]
        store.restore("s", as_id="t")
        assert store.attachments("t") == [A, B]

    def test_removed_messages_become_a_session_with_their_attachments(
        self, store: SessionStore
    ) -> None:
        """Messages restored as a new session keep their attachments after the original session is purged."""
        store.append("s", showing(A, B))
        attach(store, A, B)
        store.trim("s", 1)
        store.restore("s", as_id="t")
        store.delete("s", purge=True)
        assert store.attachment("t", A) == {"name": "a", "data": "eA=="}

    def test_without_a_trash_they_are_deleted(self, make_store: MakeStore) -> None:
        """A store without a trash deletes the attachments and summaries of removed messages."""
        store = make_store(trash_ttl=None)
        store.append("s", showing(A, B))
        attach(store, A, B, C)
        store.put_summary("s", 0, {"text": "x"})
        store.trim("s", 1)
        assert store.attachments("s") == [B, C]
        assert store.last_summary("s") is None

    def test_purging_a_trim_purges_earlier_ones(self, store: SessionStore) -> None:
        """A purging trim also purges the session's entries in the trash."""
        store.append("s", messages_of("secret", "b", "c"))
        store.trim("s", 2)
        store.trim("s", 1, purge=True)
        assert store.trash() == []

    def test_a_message_is_stored_with_its_attachments(self, store: SessionStore) -> None:
        """`write` stores messages and attachments atomically, each attachment once."""
        first = store.write("s", showing(A), attachments={A: {"name": "a", "data": "eA=="}})
        assert first.created
        store.write(
            "s",
            showing(A, B),
            attachments={A: {"name": "other"} | {"data": "eA=="}, B: {"data": "eQ=="}},
        )
        assert store.attachments("s") == [A, B]
        assert store.attachment("s", A) == {"name": "a", "data": "eA=="}
        assert store.attachment("s", B) == {"data": "eQ=="}
        store.write("s", showing(A), attachments={A: {"data": "eg=="}})
        assert store.attachment("s", A) == {"data": "eg=="}

    def test_an_exported_session_has_its_attachments(self, store: SessionStore) -> None:
        """Export and import of a handle include attachments; an invalid record imports nothing."""
        url = "data:image/png;base64,eA=="
        with store.session("s") as chat:
            added = chat.add_message("user", [{"type": "image_url", "image_url": {"url": url}}])
            data = chat.export()
        (key,) = store.attachments("s")
        assert added.content[0]["image_url"] == {"url": f"attachment:sha256:{key}"}  # type: ignore[index]
        with store.session("t") as copy:
            for wrong in ("x", [5], [{"record": "attachment", "key": "a", "value": {}}]):
                with pytest.raises(InvalidRecord):
                    copy.import_data({**data, "records": wrong})
            assert not store.exists("t")
            copy.import_data(data)
            assert copy.export()["records"] == data["records"]
        assert store.attachment("t", key)["data"] == "eA=="

    def test_a_rejected_write_stores_no_attachment(self, store: SessionStore) -> None:
        """An invalid attachment name or message stores nothing."""
        for messages, name in ((showing(A), "a"), ([{"role": "robot"}], A)):
            with pytest.raises(InvalidRecord):
                store.write("s", messages, attachments={name: {"data": "eA=="}})
        assert not store.exists("s")
