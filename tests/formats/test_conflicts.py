"""Conflicts with stored sessions: skip, extend, refuse, or the requested rule."""

from __future__ import annotations

import pytest
from conversations import exported, imported, message_record, texts

from omniagent_cli.errors import InvalidSessionId, UsageError
from omniagent_cli.formats.importer import CONFLICTS
from omniagent_cli.stores import open_store

A, B, C, D = (message_record("user", word, f"id-{word}", n) for n, word in enumerate("abcd"))
X = message_record("user", "x", "id-x", 9)
ALTERED = message_record("user", "other words", "id-b", 1)


def store_with(*messages, session_id="s", **options):
    store = open_store("memory:", ttl=None, **options)
    if messages:
        store.append(session_id, list(messages))
    return store


def file_of(*messages, session_id="s", format_name="jsonl"):
    with store_with(*messages, session_id=session_id) as store:
        return exported(store, [session_id], format_name)


@pytest.mark.parametrize("format_name", ["jsonl", "json"])
@pytest.mark.parametrize(
    ("ours", "theirs", "action", "after"),
    [
        ([A, B], [A, B], "skipped", "ab"),
        ([A, B], [A], "skipped", "ab"),
        ([A, B, C], [B, C], "skipped", "abc"),
        ([A, B], [A, B, C, D], "merged", "abcd"),
        ([A, B, C], [B, C, D], "merged", "abcd"),
        ([A, B], [A, C], "refused", "ab"),
        ([A, B], [C, D], "refused", "ab"),
        ([A, B], [A, X, B], "refused", "ab"),
        ([A, B], [A, X, B, C], "refused", "ab"),
        ([A, B, C], [A, ALTERED, C], "refused", "abc"),
        ([A, B, C], [A, ALTERED, C, D], "refused", "abc"),
    ],
)
def test_unasked_an_import_only_adds_what_goes_on_where_ours_ends(
    ours, theirs, action, after, format_name
):
    """By default, equal or older sessions are skipped, extensions are merged, and others are refused."""
    with store_with(*ours) as store:
        before = exported(store, ["s"])
        report = imported(store, file_of(*theirs, format_name=format_name))
        assert [o.action for o in report.sessions] == [action]
        assert "".join(texts(store, "s")) == after
        assert report.ok == (action != "refused")
        if action != "merged":
            assert exported(store, ["s"]) == before
        assert imported(store, file_of(*theirs)).merged == 0


def test_a_session_trimmed_here_is_still_continued_by_the_longer_file():
    """Trimmed messages are not restored, new ones are added."""
    with store_with(A, B, C) as store:
        store.trim("s", 1)
        assert imported(store, file_of(A, B, C)).skipped == 1
        assert imported(store, file_of(A, B, C, D)).merged == 1
        assert texts(store, "s") == ["c", "d"]


def test_merging_keeps_the_session_and_tells_its_listeners():
    """A merge adds messages and attachments and emits events; uid, title and metadata are kept."""
    with store_with(A, B) as store, store_with(A, B, C) as other:
        store.set_title("s", "ours")
        uid, heard = store.header("s").uid, []
        store.on("message_added", lambda event: heard.append(event.data["message"].id))
        other.set_title("s", "theirs")
        other.put_attachment("s", "a" * 64, {"data": "eA=="})
        imported(store, exported(other, ["s"]))
        session = store.get("s")
        assert (session.uid, session.title, heard) == (uid, "ours", ["id-c"])
        assert store.attachments("s") == ["a" * 64]
        assert [m.position for m in session.messages] == [0, 1, 2]


@pytest.mark.parametrize(
    ("rule", "actions", "here"),
    [
        ("skip", ["skipped"], {"s": "ab"}),
        ("merge", ["merged"], {"s": "abc"}),
        ("rename", ["renamed"], {"s": "ab", "s-2": "ac"}),
        ("replace", ["replaced"], {"s": "ac"}),
        ("fail", ["refused"], {"s": "ab"}),
    ],
)
def test_a_conflict_is_settled_as_asked_and_only_once(rule, actions, here):
    """Each rule has its effect, and a repeated import changes nothing."""
    data = file_of(A, C)
    with store_with(A, B) as store:
        report = imported(store, data, on_conflict=rule)
        assert [o.action for o in report.sessions] == actions
        assert {s.id: "".join(texts(store, s.id)) for s in store.list()} == here
        again = imported(store, data, on_conflict=rule)
        assert (again.imported, again.merged) == (0, 0)
        assert {s.id: "".join(texts(store, s.id)) for s in store.list()} == here


def test_replacing_can_be_undone():
    """The replaced session is in the trash."""
    with store_with(A, B) as store:
        imported(store, file_of(C), on_conflict="replace")
        store.restore("s", as_id="old")
        assert texts(store, "old") == ["a", "b"]


def test_fail_stops_at_the_first_conflict():
    """Nothing after the first conflict is imported."""
    with store_with(A, B) as store:
        data = file_of(X, session_id="first") + file_of(A, C) + file_of(X, session_id="last")
        report = imported(store, data, on_conflict="fail")
        assert (report.stopped, report.ok) == (True, False)
        assert {s.id for s in store.list()} == {"first", "s"}


def test_the_longest_id_still_has_a_numbered_neighbour():
    """A new id respects the limit of 512 bytes."""
    long = "é" * 256
    with store_with(A, session_id=long) as store:
        report = imported(store, file_of(B, session_id=long), on_conflict="rename")
        assert report.sessions[0].session_id == "é" * 255 + "-2"


def test_as_gives_the_one_session_another_id():
    """`--as` names one session; a second one in the file is reported and skipped."""
    with store_with() as store:
        assert imported(store, file_of(A), as_id="mine").ok
        assert [s.id for s in store.list()] == ["mine"]
        report = imported(store, file_of(A) + file_of(B, session_id="t"), as_id="mine")
        assert (report.skipped, report.problem_count) == (1, 1)
        with pytest.raises(InvalidSessionId):
            imported(store, file_of(A), as_id="")


@pytest.mark.parametrize("rule", [None, *CONFLICTS])
def test_a_dry_run_says_the_same_and_changes_nothing(rule):
    """`--dry-run` reports the same outcomes and changes nothing."""
    data = (
        file_of(A, B, C) + file_of(X, session_id="new") + file_of(A, X, session_id="t") + b"{bad\n"
    )
    with store_with(A, B) as store:
        store.append("t", [A, B])
        before = exported(store, ["s", "t"])
        told = imported(store, data, on_conflict=rule, dry_run=True)
        assert exported(store, ["s", "t"]) == before
        assert (store.count(), store.trash()) == (2, [])
        done = imported(store, data, on_conflict=rule)
        assert (told.sessions, told.problems, told.messages) == (
            done.sessions,
            done.problems,
            done.messages,
        )


def test_an_expired_session_is_no_conflict():
    """The id of an expired session is free."""
    from datetime import timedelta

    from conversations import START

    now = [START]
    with open_store("memory:", ttl="1h", clock=lambda: now[0]) as store:
        store.append("s", A)
        now[0] += timedelta(hours=2)
        assert imported(store, file_of(B)).imported == 1
        assert texts(store, "s") == ["b"]


def test_a_wrong_rule_or_format_is_told_before_anything_is_read():
    """Invalid options are rejected before anything is read."""
    with store_with() as store:
        for options in (
            {"on_conflict": "overwrite"},
            {"format_name": "pdf"},
            {"format_name": "markdown"},
        ):
            with pytest.raises(UsageError):
                imported(store, file_of(A), **options)


def test_the_store_decides_how_long_an_import_without_a_time_to_live_stays():
    """An imported conversation without a time to live gets the store's default."""
    with open_store("memory:", ttl="2d") as store:
        report = imported(store, b'{"messages":[{"role":"user","content":"hi"}]}')
        assert store.header(report.sessions[0].session_id).ttl_seconds == 2 * 86_400
        imported(store, file_of(A))
        assert store.header("s").ttl_seconds is None


def test_merge_takes_what_stands_before_the_last_common_message():
    """Messages that are missing in the middle and at the start of the stored session come to their places."""
    with store_with(B, D) as store:
        report = imported(store, file_of(A, B, C, D), on_conflict="merge")
        assert [(o.action, o.messages) for o in report.sessions] == [("merged", 2)]
        assert texts(store, "s") == ["a", "b", "c", "d"]
        assert imported(store, file_of(A, B, C, D), on_conflict="merge").skipped == 1
        assert list(store.check()) == []


@pytest.mark.parametrize("format_name", ["jsonl", "json"])
def test_merge_takes_the_facts_that_were_changed_last(format_name):
    """Title, tags and metadata of the file win where they were changed later, one by one, and removals are removed."""
    with store_with(A, B) as store:
        data = exported(store, ["s"], format_name)
        with store_with() as other:
            imported(other, data)
            store.set_metadata("s", "older", "theirs")
            store.set_metadata("s", "gone", 1)
            imported(other, exported(store, ["s"], format_name), on_conflict="merge")
            assert other.get("s").metadata == {"gone": 1, "older": "theirs"}
            other.set_metadata("s", "older", "ours")
            store.tag("s", ["new"])
            store.delete_metadata("s", "gone")
            store.set_title("s", "Cakes")
            store.trim("s", 1)
            report = imported(other, exported(store, ["s"], format_name), on_conflict="merge")
            assert report.merged == 1
            session = other.get("s")
            assert (session.title, session.metadata) == (
                "Cakes",
                {"older": "ours", "tags": ["new"]},
            )
            assert texts(other, "s") == ["b"]
            assert other.trash()[0].kind == "synced"
            again = imported(other, exported(store, ["s"], format_name), on_conflict="merge")
            assert again.skipped == 1


def test_a_title_given_here_is_kept_when_another_tool_goes_on():
    """The conversation of another tool brings its new title, unless the stored session was given one here."""
    header = '{"format":"omniagent-session","version":1,"id":"s","title":"%s","updated_at":"2020-01-0%dT00:00:00Z"}'
    message = '{"id":"m","role":"user","content":"a","created_at":"2020-01-01T00:00:00Z"}'

    def chat(title, day):
        return f"{header % (title, day)}\n{message}\n".encode()

    with store_with() as store:
        imported(store, chat("first", 1))
        imported(store, chat("a second", 2), on_conflict="merge")
        assert store.get("s").title == "a second"
        store.set_title("s", "mine")
        assert imported(store, chat("third", 3), on_conflict="merge").skipped == 1
        assert store.get("s").title == "mine"
