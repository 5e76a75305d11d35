"""Sessions and messages as data: ids, records, versions."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.errors import InvalidRecord, InvalidSessionId, NewerVersion
from omniagent_cli.models import (
    FORMAT_VERSION,
    Message,
    Session,
    SessionSummary,
    check_session_id,
    messages_from,
    new_session_id,
    new_uid,
)
from omniagent_cli.models.ids import new_uids

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TestIds:
    @given(st.text(min_size=1, max_size=600))
    def test_a_sensible_text_is_an_id(self, text):
        """Text is an id unless it is blank, too long, or holds control characters; it is never changed."""
        good = (
            not text.isspace()
            and len(text.encode("utf-8", "surrogatepass")) <= 512
            and not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)
        )
        if good:
            assert check_session_id(text) is text
        else:
            with pytest.raises(InvalidSessionId):
                check_session_id(text)

    def test_made_ids_sort_by_time_and_can_be_typed(self):
        """An id nobody gave is short, plain, and later ones sort after earlier ones."""
        one, other = new_session_id(NOON), new_session_id(NOON + timedelta(seconds=1))
        assert re.fullmatch(r"20260101-120000-[a-z0-9]{3}", one)
        assert one < other

    def test_uids_ascend_and_differ(self):
        """Identities are 22 digits, unique, ascending in a batch and over time."""
        many = new_uids(1000)
        assert many == sorted(set(many))
        assert all(re.fullmatch(r"[0-9a-f]{22}", uid) for uid in many)
        assert len({new_uid() for _ in range(1000)}) == 1000


class TestMessages:
    def test_defaults_are_not_stored(self):
        """A plain message is its role and content; what is absent means the default."""
        message = Message("user", "hello")
        assert message.to_record() == {"role": "user", "content": "hello"}
        assert (message.status, message.extra, message.tool_calls) == ("complete", None, None)
        assert (message.id, message.position, message.created_at) == (None, None, None)

    def test_attributes_are_the_record(self):
        """Setting an attribute sets the key; setting the default removes it."""
        message = Message("assistant", "hi", model="a:b", status="failed", extra={"k": 1})
        message.status, message.model = "complete", "c:d"
        message.created_at = NOON
        assert message.to_record() == {
            "role": "assistant",
            "content": "hi",
            "model": "c:d",
            "extra": {"k": 1},
            "created_at": "2026-01-01T12:00:00.000000Z",
        }
        assert message.created_at == NOON
        message.created_at = message.model = message.extra = None
        assert message.to_record() == {"role": "assistant", "content": "hi"}

    def test_a_record_is_normalised(self):
        """Null means absent, times become UTC, arguments become JSON text, the default status goes."""
        record = {
            "role": "assistant",
            "content": None,
            "id": None,
            "usage": None,
            "status": "complete",
            "created_at": "2026-01-01T13:00:00+01:00",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
            ],
            "x_unknown": None,
        }
        message = Message.from_record(record)
        assert message.to_record() == {
            "role": "assistant",
            "content": "",
            "created_at": "2026-01-01T12:00:00.000000Z",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
            ],
            "x_unknown": None,
        }
        assert record["tool_calls"][0]["function"]["arguments"] == {"a": 1}, (
            "the caller's own stays"
        )

    def test_the_text_of_parts(self):
        """The text of a message is its parts, one a line, by name those that are no text."""
        parts = [
            {"type": "text", "text": "a"},
            {"type": "image_url"},
            {"type": "text", "text": "b"},
        ]
        assert Message("user", parts).text == "a\n[image]\nb"
        assert Message("user", [{"text": 5}]).text == "[attachment]"

    def test_a_copy_is_apart(self):
        """Changing a copy leaves the message, position included."""
        message = Message("user", "a", position=3, extra={"k": [1]})
        copy = message.copy()
        copy.record["extra"]["k"].append(2)
        copy.position = 4
        assert (message.extra, message.position) == ({"k": [1]}, 3)
        assert copy != message
        assert message != "a"

    @pytest.mark.parametrize(
        "record",
        [
            {}, {"role": "robot"}, {"role": None}, {"role": ["user"]}, {"role": "user", "content": 1},
            {"role": "user", "content": [1]}, {"role": "user", "status": "x"}, {"role": "user", "name": 1},
            {"role": "user", "id": ""}, {"role": "user", "id": "x" * 1025}, {"role": "user", "id": "\ud800"},
            {"role": "user", "id": "a\x00"}, {"role": "user", "extra": []}, {"role": "user", "tool_calls": {}},
            {"role": "user", "tool_calls": [{}]}, {"role": "user", "tool_calls": [{"function": {"name": 1}}]},
            {"role": "user", "created_at": "x"}, {"role": "user", "created_at": 1},
        ],
    )  # fmt: skip
    def test_what_is_no_message(self, record):
        """A record of another shape is refused with a sentence."""
        with pytest.raises(InvalidRecord, match=r"message|tool call|is not a time"):
            Message.from_record(record)

    def test_which_of_many_is_wrong_is_told(self):
        """In a list of messages the wrong one is told by its number."""
        with pytest.raises(InvalidRecord, match="message 1"):
            messages_from([{"role": "user"}, {"role": "robot"}])
        with pytest.raises(InvalidRecord):
            messages_from({"role": "user"})


class TestSessions:
    def whole(self):
        return Session(
            "s", uid="u", agent_id="helper", title="T", title_source="user", model="a:b",
            messages=[Message("user", "hello", id="m", x_odd=1)], state={"n": None}, metadata={"k": [1]},
            created_at=NOON, updated_at=NOON, modified_at=NOON, expires_at=NOON + timedelta(days=1), ttl_seconds=86_400.0,
            unknown={"x_future": {"deep": [1]}},
        )  # fmt: skip

    def test_a_record_round_trips(self):
        """A session reads back from its record equal, unknown keys included."""
        session = self.whole()
        again = Session.from_record(session.to_record())
        assert again == session
        assert again.to_record() == session.to_record()

    def test_the_record(self):
        """The record says what it is and in which version; what is empty is left out."""
        assert Session("s").to_record() == {
            "format": "omniagent-session",
            "version": FORMAT_VERSION,
            "id": "s",
            "ttl_seconds": None,
            "messages": [],
        }

    def test_a_record_is_apart(self):
        """Changing a record changes neither the session it came from nor the one made of it."""
        session = self.whole()
        record = session.to_record()
        again = Session.from_record(record)
        record["metadata"]["k"].append(2)
        record["x_future"]["deep"].append(2)
        record["messages"][0]["content"] = "changed"
        assert session == self.whole() == again

    @pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99])
    def test_a_newer_version_is_refused_by_name(self, version):
        """A record of a newer omniagent is told as that, with both versions."""
        with pytest.raises(NewerVersion, match=rf"version {version}.* up to {FORMAT_VERSION}"):
            Session.from_record({"id": "s", "version": version})

    @pytest.mark.parametrize(
        "record",
        [
            [], None, {"id": "s", "version": 0}, {"id": "s", "version": "1"}, {"id": "s", "version": True},
            {"id": "s", "title": 5}, {"id": "s", "metadata": []}, {"id": "s", "state": "x"},
            {"id": "s", "ttl_seconds": -1}, {"id": "s", "ttl_seconds": "7d"}, {"id": "s", "ttl_seconds": True},
            {"id": "s", "messages": [1]}, {"id": "s", "messages": "x"}, {"id": "s", "created_at": "x"},
        ],
    )  # fmt: skip
    def test_what_is_no_session(self, record):
        """A record of another shape is refused."""
        with pytest.raises(InvalidRecord):
            Session.from_record(record)

    @pytest.mark.parametrize("bad", [None, "", 5, "a\nb"])
    def test_a_session_needs_an_id(self, bad):
        """A record without a usable id is refused as that."""
        with pytest.raises(InvalidSessionId):
            Session.from_record({"id": bad})

    def test_working_with_the_object(self):
        """Messages and metadata of the object itself; trim and clear count what went."""
        session = Session("s")
        for text in "abcde":
            session.add_message("user", text)
        assert session.trim(9) == 0
        assert session.trim(3) == 2
        assert [m.text for m in session.get_messages()] == ["c", "d", "e"]
        session.get_messages()[0].content = "changed"
        assert session.messages[0].text == "c"
        assert session.clear() == 3
        session.set_metadata("k", None)
        assert session.get_metadata("k", "default") is None
        assert session.get_metadata("missing", "default") == "default"
        with pytest.raises(InvalidRecord):
            session.trim(-1)

    def test_a_summary_as_json(self):
        """What a listing prints of a session; odd metadata makes no tags."""
        summary = SessionSummary(
            "s", "u", "helper", "T", "a:b", 2, NOON, NOON, NOON, None, "hello", {"tags": ["b", 1, "a"], "pinned": 1}
        )  # fmt: skip
        assert summary.tags == ["a", "b"]
        assert (summary.pinned, summary.archived) == (False, False)
        assert summary.to_record() == {
            "id": "s", "title": "T", "agent_id": "helper", "model": "a:b", "message_count": 2,
            "created_at": "2026-01-01T12:00:00.000000Z", "updated_at": "2026-01-01T12:00:00.000000Z",
            "modified_at": "2026-01-01T12:00:00.000000Z",
            "expires_at": None, "preview": "hello", "metadata": {"tags": ["b", 1, "a"], "pinned": 1},
        }  # fmt: skip
