"""Promises about attachments and summaries of messages that go and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.contract_base import ContractBase, MakeStore, said, texts

A, B, C = "a" * 64, "b" * 64, "c" * 64

REMOVALS: dict[str, Callable[..., object]] = {
    "trim": lambda store, **how: store.trim("s", 1, **how),
    "clear": lambda store, **how: store.clear("s", **how),
}


def showing(*names: str) -> list[dict[str, Any]]:
    """Return message records, each of which refers to the attachment with that hash."""
    return [
        {"role": "user", "content": [{"type": "file", "file": {"sha256": name}}]} for name in names
    ]


def attach(store: SessionStore, *names: str) -> None:
    """Keep attachments with the session ``s``."""
    for name in names:
        store.put_attachment("s", name, {"name": name[0], "data": "eA=="})


class CompanionsContract(ContractBase):
    """What belongs to messages goes and returns with them."""

    @pytest.mark.parametrize("purge", [False, True])
    @pytest.mark.parametrize("way", REMOVALS)
    def test_no_summary_of_removed_messages_is_sent(
        self, store: SessionStore, *, way: str, purge: bool
    ) -> None:
        """A summary that stands for a message that went is not there any more."""
        store.append("s", said("a", "b", "c"))
        store.put_summary("s", 1, {"text": "of a and b"})
        REMOVALS[way](store, purge=purge)
        assert store.last_summary("s") is None

    def test_undo_leaves_earlier_summaries(self, store: SessionStore) -> None:
        """Undoing the last turns takes only the summaries that reach into them."""
        store.append("s", said("a", "b", "c"))
        store.put_summary("s", 0, {"text": "of a"})
        store.put_summary("s", 2, {"text": "of all"})
        store.truncate_from("s", 1)
        assert store.last_summary("s")["text"] == "of a"
        store.restore("s")
        assert store.last_summary("s") == {"text": "of all", "up_to": 2}

    def test_a_save_takes_the_summary_of_what_it_replaces(self, store: SessionStore) -> None:
        """An edited message is in no summary, until the old one is back."""
        store.append("s", said("a", "b"))
        store.put_summary("s", 1, {"text": "of both"})
        session = store.get("s")
        session.messages[1].content = "other"
        store.save(session)
        assert store.last_summary("s") is None

    def test_a_summary_returns_with_the_last_of_its_messages(self, store: SessionStore) -> None:
        """Removed in two steps, the messages of a summary have to be back in two steps before it is."""
        store.append("s", said("a", "b", "c"))
        store.put_summary("s", 2, {"text": "of all"})
        store.trim("s", 2)
        store.trim("s", 1)
        store.restore("s")
        assert store.last_summary("s") is None
        store.restore("s")
        assert texts(store, "s") == ["a", "b", "c"]
        assert store.last_summary("s") == {"text": "of all", "up_to": 2}

    def test_a_summary_made_without_them_goes_when_they_return(self, store: SessionStore) -> None:
        """What was summarised while messages were away does not stand for them."""
        store.append("s", said("a", "b", "c"))
        store.trim("s", 1)
        store.put_summary("s", 2, {"text": "of c"})
        store.restore("s")
        assert store.last_summary("s") is None

    def test_a_summary_goes_with_messages_that_become_a_session(self, store: SessionStore) -> None:
        """Restored under another id, messages have the summaries that are of them alone."""
        store.append("s", said("a", "b", "c"))
        store.put_summary("s", 0, {"text": "of a"})
        store.put_summary("s", 2, {"text": "of all"})
        store.trim("s", 1)
        store.restore("s", as_id="t")
        assert list(store.iter_records("t", "summary")) == [
            (f"{0:012d}", {"text": "of a", "up_to": 0})
        ]

    @pytest.mark.parametrize("way", REMOVALS)
    def test_purge_takes_attachments_nobody_refers_to(self, store: SessionStore, way: str) -> None:
        """What only purged messages showed, or none did, goes for good; what others show stays."""
        store.append("s", showing(A, B, B))
        attach(store, A, B, C)
        REMOVALS[way](store, purge=True)
        assert store.attachments("s") == ([B] if way == "trim" else [])
        assert store.trash() == []

    @pytest.mark.parametrize("way", REMOVALS)
    def test_attachments_wait_in_the_trash(self, store: SessionStore, way: str) -> None:
        """Removed messages take their attachments along, and bring them back; what none showed stays."""
        store.append("s", showing(A, B, B))
        attach(store, A, B, C)
        REMOVALS[way](store)
        assert store.attachments("s") == ([B, C] if way == "trim" else [C])
        store.restore("s")
        assert store.attachments("s") == [A, B, C]
        assert store.attachment("s", A) == {"name": "a", "data": "eA=="}

    def test_a_save_keeps_what_its_messages_show(self, store: SessionStore) -> None:
        """A message that is replaced by one with the same attachment takes only a copy along."""
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
        """Also when the session they came from is gone for good."""
        store.append("s", showing(A, B))
        attach(store, A, B)
        store.trim("s", 1)
        store.restore("s", as_id="t")
        store.delete("s", purge=True)
        assert store.attachment("t", A) == {"name": "a", "data": "eA=="}

    def test_without_a_trash_they_go_at_once(self, make_store: MakeStore) -> None:
        """A store that keeps nothing keeps no summary and no attachment of what it removed."""
        store = make_store(trash_ttl=None)
        store.append("s", showing(A, B))
        attach(store, A, B, C)
        store.put_summary("s", 0, {"text": "x"})
        store.trim("s", 1)
        assert store.attachments("s") == [B, C]
        assert store.last_summary("s") is None

    def test_purging_a_trim_purges_earlier_ones(self, store: SessionStore) -> None:
        """What the trash holds of a session could tell what was purged."""
        store.append("s", said("secret", "b", "c"))
        store.trim("s", 2)
        store.trim("s", 1, purge=True)
        assert store.trash() == []

    def test_a_message_is_stored_with_its_attachments(self, store: SessionStore) -> None:
        """A write keeps message and attachments in one step, each once however often it is used."""
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
        """What a handle exports, another imports with its attachments; what is no record of one imports nothing."""
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

    def test_a_write_that_is_refused_keeps_no_attachment(self, store: SessionStore) -> None:
        """A name that is no SHA-256, or a message that is none, stores nothing at all."""
        for messages, name in ((showing(A), "a"), ([{"role": "nobody"}], A)):
            with pytest.raises(InvalidRecord):
                store.write("s", messages, attachments={name: {"data": "eA=="}})
        assert not store.exists("s")
