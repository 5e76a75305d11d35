"""Synchronization of two stores: what becomes of each kind of change, and what goes wrong on the way."""

import contextlib
import io
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from omniagent_cli import open_store, sync
from omniagent_cli.errors import StoreError, SyncError, UsageError
from omniagent_cli.stores.sync.driver import sync_with
from omniagent_cli.stores.sync.index import known_store_id
from omniagent_cli.stores.sync.peer import ExchangeRequest, LocalPeer
from omniagent_cli.stores.sync.remote import LinePeer, serve
from omniagent_cli.stores.sync.state import EMPTY as EMPTY_STATE
from tests.stores.test_contract import CASES

KINDS = ("memory", "sqlite", "file", "redis", "postgres", "sqlite-encrypted", "file-encrypted")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets, and that never gives a time twice."""

    def __init__(self, moment=NOON):
        self.moment = moment

    def __call__(self):
        self.moment += timedelta(microseconds=1)
        return self.moment


@pytest.fixture
def clocks():
    """The clocks of both stores."""
    return Clock(), Clock()


@pytest.fixture
def pair(tmp_path, clocks):
    """A SQLite store and a memory store."""
    with (
        CASES["sqlite"].open(tmp_path, clock=clocks[0]) as one,
        CASES["memory"].open(tmp_path, clock=clocks[1]) as two,
    ):
        yield one, two


def said(store, session_id):
    """Return the texts of a session."""
    return [message.text for message in store.messages(session_id)]


def turn(text):
    """Return a question and its answer."""
    return [{"role": "user", "content": text}, {"role": "assistant", "content": f"re: {text}"}]


def in_step(one, two):
    """Synchronize, and check that nothing is left to do."""
    report = sync(one, two)
    assert report.ok, report
    again = sync(one, two)
    assert not again.changes, again
    assert not again.total, again
    return report


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("one", ["sqlite", "file-encrypted"])
def test_any_two_backends(tmp_path, one, other):
    """Stores of any backends, encrypted or not, have the same content after one synchronization."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with CASES[one].open(tmp_path / "one") as a, CASES[other].open(tmp_path / "two") as b:
        a.append("x", turn("from a"))
        a.put_attachment("x", "ab" * 32, {"name": "n", "data": "QQ=="})
        b.append("y", turn("from b"))
        b.set_title("y", "Cakes")
        in_step(a, b)
        assert said(b, "x") == ["from a", "re: from a"]
        assert b.attachment("x", "ab" * 32) == {"name": "n", "data": "QQ=="}
        assert a.get("y").title == "Cakes"
        a.append("y", turn("more"))
        b.trim("x", 1)
        b.rename("x", "z")
        in_step(b, a)
        assert said(a, "y") == said(b, "y") == ["from b", "re: from b", "more", "re: more"]
        assert said(a, "z") == said(b, "z") == ["re: from a"]
        assert a.get("z").uid == b.get("z").uid
        assert not list(a.check()) + list(b.check())
        assert a.search("from") or one.endswith("encrypted")


def test_both_write_to_one_session(pair, clocks):
    """Turns that two machines wrote are whole and in the order of their first message on both."""
    one, two = pair
    one.append("s", turn("first"))
    in_step(one, two)
    clocks[0].moment += timedelta(minutes=2)
    one.append("s", turn("third"))
    clocks[1].moment += timedelta(minutes=1)
    two.append("s", turn("second"))
    in_step(one, two)
    expected = [text for q in ("first", "second", "third") for text in (q, f"re: {q}")]
    assert said(one, "s") == said(two, "s") == expected


def test_one_session_begun_on_both(pair):
    """A session with one id that was begun on two machines is one session."""
    one, two = pair
    one.append("s", turn("a"))
    two.append("s", turn("b"))
    in_step(one, two)
    assert sorted(said(one, "s")) == sorted(said(two, "s")) == ["a", "b", "re: a", "re: b"]


def test_a_clock_that_was_ahead_does_not_win_forever(pair, clocks):
    """A fact that is set after another one was seen wins, although its clock is days behind."""
    one, two = pair
    one.append("s", turn("a"))
    clocks[0].moment += timedelta(days=3)
    one.set_title("s", "ahead")
    in_step(one, two)
    two.set_title("s", "later")
    two.append("s", turn("b"))
    in_step(one, two)
    assert one.get("s").title == two.get("s").title == "later"
    assert said(one, "s") == ["a", "re: a", "b", "re: b"]


def test_each_fact_by_itself(pair):
    """Title, tags, metadata and state of both machines are merged one by one."""
    one, two = pair
    one.append("s", turn("a"))
    one.tag("s", ["old"])
    one.set_metadata("s", "k", 1)
    in_step(one, two)
    one.tag("s", ["mine"], ["old"])
    one.set_state("s", "step", 2)
    two.tag("s", ["theirs"])
    two.delete_metadata("s", "k")
    two.set_metadata("s", "pinned", value=True)
    in_step(one, two)
    for store in pair:
        found = store.get("s")
        assert (found.metadata, found.state) == (
            {"tags": ["mine", "theirs"], "pinned": True},
            {"step": 2},
        )
        assert [summary.pinned for summary in store.list()] == [True]


def test_removed_messages_are_in_the_trash_of_the_other(pair):
    """What one machine removed goes to the trash of the other, and comes back on both when it is restored."""
    one, two = pair
    one.append("s", turn("a") + turn("b"))
    in_step(one, two)
    one.trim("s", 2)
    in_step(one, two)
    assert said(two, "s") == ["b", "re: b"]
    assert [(entry.kind, entry.message_count) for entry in two.trash()] == [("synced", 2)]
    two.restore("s")
    in_step(one, two)
    assert said(one, "s") == said(two, "s") == ["a", "re: a", "b", "re: b"]


def test_a_message_written_after_a_deletion_brings_the_session_back(pair, clocks):
    """It comes back with that message alone, with neither the old messages nor the old title."""
    one, two = pair
    one.append("s", turn("secret"))
    one.set_title("s", "Secret")
    in_step(one, two)
    one.delete("s")
    clocks[1].moment += timedelta(minutes=1)
    two.append("s", {"role": "user", "content": "new"})
    report = in_step(one, two)
    assert [change.restored for change in report.changes] == [True]
    for store in pair:
        assert said(store, "s") == ["new"]
        assert not store.get("s").title
    assert sorted(entry.kind for entry in two.trash()) == ["synced"]


@pytest.mark.parametrize("purge", [False, True])
def test_a_deletion_is_carried(pair, purge):
    """A deleted session is deleted on the other machine too, even when it is gone for good here."""
    one, two = pair
    one.append("s", turn("a"))
    in_step(one, two)
    one.delete("s", purge=purge)
    one.empty_trash()
    report = in_step(two, one)
    assert [change.status for change in report.changes] == ["deleted here"]
    assert not two.exists("s")
    assert [entry.kind for entry in two.trash()] == ["deleted"]


def test_a_session_that_is_restored_under_another_id(pair):
    """A deleted session that is restored as another one has that name on the other machine too."""
    one, two = pair
    one.append("s", turn("a"))
    in_step(one, two)
    one.delete("s")
    one.restore("s", as_id="again")
    in_step(one, two)
    assert said(one, "again") == said(two, "again") == ["a", "re: a"]
    assert not two.exists("s")


def test_what_was_deleted_stays_deleted_after_the_session_was_begun_again(pair):
    """A deletion is known to the session that took its id, also when a third store was synchronized in between."""
    one, two = pair
    one.append("s", turn("old"))
    in_step(one, two)
    one.delete("s")
    one.append("s", turn("new"))
    with open_store("memory:") as third:
        one.sync(third, push=False)
        in_step(one, two)
    assert said(one, "s") == said(two, "s") == ["new", "re: new"]


def test_a_deletion_beats_a_rename_and_the_rest_has_the_newer_name(pair, clocks):
    """A session that was renamed there and deleted here leaves what was written there, under its new name."""
    one, two = pair
    one.append("s", turn("a"))
    in_step(one, two)
    clocks[1].moment += timedelta(minutes=1)
    two.rename("s", "t")
    two.append("t", {"role": "user", "content": "b"})
    one.delete("s")
    in_step(one, two)
    assert said(one, "t") == said(two, "t") == ["b"]
    assert not one.exists("s")


def test_names_that_were_swapped(pair):
    """Two sessions that exchanged their names do so on the other machine too."""
    one, two = pair
    one.append("a", turn("first"))
    one.append("b", turn("second"))
    in_step(one, two)
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        one.rename(old, new)
    in_step(one, two)
    assert (said(two, "a"), said(two, "b")) == (said(one, "a"), said(one, "b"))
    assert said(two, "a")[0] == "second"


def test_an_edit_wins_and_a_complete_answer_beats_an_interrupted_one(pair):
    """The later version of a message is on both, and a finished answer replaces its beginning."""
    one, two = pair
    question = one.write("s", {"role": "user", "content": "q"})
    answer = one.write("s", {"role": "assistant", "content": "par"}, uid=question.uid).messages[0]
    answer = one.checkpoint("s", answer, uid=question.uid).messages[0]
    in_step(one, two)
    answer.content = "partial, then whole"
    answer.status = "complete"
    one.checkpoint("s", answer, uid=question.uid, final=True)
    two.set_message_status("s", 0, "failed")
    in_step(one, two)
    for store in pair:
        assert [(m.text, m.status) for m in store.messages("s")] == [
            ("q", "failed"),
            ("partial, then whole", "complete"),
        ]


def test_a_running_answer_finds_its_message_after_a_synchronization(pair, clocks):
    """An answer that grows while a synchronization moves it is completed in place, not stored twice."""
    one, two = pair
    clocks[0].moment += timedelta(minutes=5)
    question = one.write("s", {"role": "user", "content": "q"})
    answer = one.checkpoint("s", _answer("par"), uid=question.uid).messages[0]
    two.append("s", turn("earlier"))
    in_step(one, two)
    answer.content = "partial"
    answer.status = "complete"
    one.checkpoint("s", answer, uid=question.uid, final=True)
    in_step(one, two)
    assert said(one, "s") == said(two, "s") == ["earlier", "re: earlier", "q", "partial"]


def _answer(text):
    from omniagent_cli import Message

    return Message("assistant", text)


def test_one_direction(pair):
    """Pull changes only this store, push only the other one."""
    one, two = pair
    one.append("mine", turn("a"))
    two.append("theirs", turn("b"))
    report = one.sync(two, push=False)
    assert [change.session_id for change in report.changes] == ["theirs"]
    assert (one.count(), two.count()) == (2, 1)
    one.sync(two, pull=False)
    assert (one.count(), two.count()) == (2, 2)


def test_a_dry_run_changes_nothing(pair):
    """It reports the same changes as the run after it, and writes to neither store."""
    one, two = pair
    one.append("s", turn("a"))
    two.append("t", turn("b"))
    planned = sync(one, two, dry_run=True)
    assert (one.count(), two.count(), known_store_id(two)) == (1, 1, "")
    assert planned.changes == sync(one, two).changes


def test_a_store_restored_from_a_backup(tmp_path):
    """A store that went back to last week gets the rest again, and its old state overwrites nothing."""
    path = tmp_path / "a.db"
    with open_store(path) as one, open_store("memory:") as two:
        one.append("s", turn("old"))
        sync(one, two)
        one.backup(tmp_path / "backup.db")
        one.append("s", turn("new"))
        one.set_title("s", "New")
        one.append("gone", turn("x"))
        sync(one, two)
        one.delete("gone")
        sync(one, two)
        with open_store(tmp_path / "backup.db") as restored:
            restored.append("s", turn("newest"))
            in_step(restored, two)
            assert said(restored, "s") == said(two, "s")
            assert len(said(two, "s")) == 6
            assert two.get("s").title == restored.get("s").title == "New"
            assert not restored.exists("gone")


def test_a_copied_store_gets_an_id_of_its_own(tmp_path):
    """Of two stores with one id, because one file was copied, one gets a new id, and the report says so."""
    with open_store(tmp_path / "a.db") as one, open_store("memory:") as other:
        one.append("s", turn("a"))
        sync(one, other)
        one.backup(tmp_path / "b.db")
        with open_store(tmp_path / "b.db") as two:
            assert known_store_id(one) == known_store_id(two)
            report = sync(two, one)
            assert "copy of the other" in report.notes[0]
            assert known_store_id(one) != known_store_id(two)
            two.append("s", turn("b"))
            in_step(two, one)


def test_what_cannot_be_synchronized(tmp_path):
    """A store with itself, and one that keeps a subset of a session, are refused by name."""
    with open_store(tmp_path / "a.db") as one, open_store(tmp_path / "a.db") as same:
        with pytest.raises(UsageError, match="with itself"):
            sync(one, same)
        one.transact(lambda tx: None, write=True)


class Cut(Exception):
    """The end of a program at a write."""


@pytest.mark.parametrize("side", [0, 1])
def test_cut_at_every_write(tmp_path, side):
    """A synchronization that ends at any write of either side is finished by the next, with nothing lost or doubled."""
    for at in range(1, 40):
        with open_store("memory:") as one, open_store("memory:") as two:
            one.append("s", turn("a") + turn("b"))
            one.append("gone", turn("x"))
            sync(one, two)
            one.trim("s", 3)
            two.append("s", turn("c"))
            two.rename("s", "t")
            one.delete("gone")
            one.append("new", turn("n"))
            victim, whole, count = (one, two)[side], (one, two)[side].write_unit, 0

            def cut(*args, whole=whole, at=at, **options):
                nonlocal count
                count += 1
                if count == at:
                    raise Cut
                return whole(*args, **options)

            victim.write_unit = cut
            with contextlib.suppress(Cut):
                sync(one, two)
                assert count < at
            victim.write_unit = whole
            in_step(one, two)
            for store in (one, two):
                assert said(store, "t") == ["re: a", "b", "re: b", "c", "re: c"]
                assert said(store, "new") == ["n", "re: n"]
                assert not store.exists("gone")
                assert not list(store.check())
        if count < at:
            assert at > 3
            return
    pytest.fail("a synchronization of four sessions takes more than 40 writes")


def test_written_to_during_a_synchronization(pair):
    """Messages that are appended to both sides while they synchronize are on both after it or the next one."""
    one, two = pair
    one.append("s", turn("a"))
    two.append("s", turn("b"))
    busy = threading.Event()

    def write(store, name):
        for number in range(20):
            store.append("s", turn(f"{name}{number}"))
            busy.set()

    threads = [threading.Thread(target=write, args=pair) for pair in ((one, "x"), (two, "y"))]
    for thread in threads:
        thread.start()
    busy.wait()
    while any(thread.is_alive() for thread in threads):
        sync(one, two)
    for thread in threads:
        thread.join()
    in_step(one, two)
    assert said(one, "s") == said(two, "s")
    assert len(set(said(one, "s"))) == 84


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_store_that_is_encrypted_later(tmp_path, kind):
    """A store that has been synchronized can be encrypted in place, and goes on synchronizing."""
    with CASES[kind].open(tmp_path) as one, open_store("memory:") as two:
        one.append("s", turn("a"))
        one.append("gone", turn("x"))
        in_step(one, two)
        one.delete("gone", purge=True)
        one.trim("s", 1)
        one.encrypt(bytes(range(32)))
        in_step(one, two)
        assert (said(two, "s"), two.exists("gone")) == (["re: a"], False)
        one.append("s", turn("b"))
        in_step(one, two)
        assert said(one, "s") == said(two, "s") == ["re: a", "b", "re: b"]
        assert list(one.check()) == []


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("over_pipes", [False, True])
def test_a_damaged_session_is_refused_alone(tmp_path, side, over_pipes):
    """A session that cannot be read on one side is named, and all others are synchronized."""
    with open_store(tmp_path / "a.db") as one, open_store(tmp_path / "b.db") as two:
        one.append("bad", turn("x"))
        in_step(one, two)
        one.append("bad", turn("more"))
        one.append("good", turn("a"))
        two.append("fine", turn("b"))
        broken = sqlite3.connect(tmp_path / ("a.db", "b.db")[side])
        damage = "UPDATE messages SET payload = x'ff' WHERE CAST(payload AS TEXT) = ?"
        assert broken.execute(damage, ['{"content":"x"}']).rowcount == 1
        broken.commit()
        broken.close()
        if over_pipes:
            with served(two) as peer:
                report = sync_with(one, peer)
        else:
            report = sync(one, two)
        assert [name for name, _ in report.refused] == ["bad"]
        assert "is damaged" in report.refused[0][1]
        assert (one.exists("fine"), two.exists("good")) == (True, True)


# Over pipes.


@contextlib.contextmanager
def served(store):
    """Serve a store over two pipes, as ssh does, and yield it as the other side."""
    import os

    (from_server, to_client), (from_client, to_server) = os.pipe(), os.pipe()

    def run():
        with os.fdopen(from_client, "rb") as reading, os.fdopen(to_client, "wb") as writing:
            serve(store, reading, writing)

    thread = threading.Thread(target=run)
    thread.start()
    with os.fdopen(from_server, "rb") as reading:
        with os.fdopen(to_server, "wb") as writing:
            yield LinePeer(reading, writing, "laptop")
    thread.join()


def test_over_pipes(pair):
    """Two programs synchronize over pipes as two stores in one program do."""
    one, two = pair
    one.append("s", turn("a"))
    one.put_attachment("s", "ab" * 32, {"name": "n", "data": "QQ=="})
    two.append("t", turn("b"))
    with served(two) as peer:
        report = sync_with(one, peer)
    assert report.ok
    assert [change.session_id for change in report.changes] == ["s", "t"]
    assert said(two, "s") == said(one, "s")
    assert two.attachment("s", "ab" * 32) == {"name": "n", "data": "QQ=="}
    two.append("s", turn("c"))
    one.delete("t")
    with served(two) as peer:
        assert sync_with(one, peer).ok
    assert said(one, "s") == said(two, "s")
    assert not two.exists("t")
    with served(two) as peer:
        assert not sync_with(one, peer).total


class Counting:
    """A side of a synchronization that counts its round trips."""

    def __init__(self, store):
        self.peer, self.trips = LocalPeer(store), 0

    def __getattr__(self, name):
        self.trips += 1
        return getattr(self.peer, name)


def test_one_new_turn_takes_three_round_trips(pair):
    """After connecting, a new turn is carried with three round trips, and nothing new with one."""
    one, two = pair
    one.append("s", turn("a"))
    sync(one, two)
    one.append("s", turn("b"))
    counting = Counting(two)
    sync_with(one, counting)
    assert (said(two, "s"), counting.trips) == (said(one, "s"), 3)
    counting = Counting(two)
    sync_with(one, counting)
    assert counting.trips == 1


GREETING = b'{"omniagent-sync":1}\n'
EMPTY = '{"facts":{},"messages":[],"removed":{},"restored":{},"attachments":[],"uids":[],"times":["","",""]}'
ENTRY = '{"entry":[["u"],"s","",false,1,""]}'
COMPARED = f'{{"comparison":{{"store":"o","groups":{list(range(256))},"entries":1}}}}\n'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "no omniagent that can synchronize"),
        (b"bash: omniagent: command not found\n", "no omniagent that can synchronize"),
        (b'{"omniagent-sync":2,"version":"9.0"}\n', "laptop has omniagent 9.0, .* update both"),
        (GREETING, "ended the connection"),
        (GREETING + b"[]\n", "not an object"),
        (GREETING + b'{"comparison":{}}\n', "invalid data"),
        (GREETING + b'{"error":"the store is locked"}\n', "laptop: the store is locked"),
        (
            GREETING + b'{"comparison":{"store":"o","groups":[0],"entries":1}}\n{"entry":[[],1]}\n',
            "invalid",
        ),
        (GREETING + f'{COMPARED}{ENTRY}\n{{"reply":[]}}\n'.encode(), "invalid"),
        (
            GREETING
            + f'{COMPARED}{ENTRY}\n{{"reply":{{"state":{EMPTY}}}}}\n{{"message":{{}}}}\n'.encode(),
            "invalid",
        ),
        (
            GREETING
            + (COMPARED + ENTRY + "\n" + '{"reply":{"state":{"facts":{"id":["9",[]]}}}}').encode(),
            "invalid",
        ),
    ],
)
def test_hostile_or_broken_peers(pair, answer, message):
    """What is not an omniagent, is of another version, or sends nonsense, is an error that names it and changes nothing."""
    one, _ = pair
    one.append("s", turn("a"))
    with pytest.raises(SyncError, match=message):
        sync_with(one, LinePeer(io.BytesIO(answer), io.BytesIO(), "laptop"))
    assert said(one, "s") == ["a", "re: a"]
    assert not list(one.check())


def test_a_peer_that_sends_other_content_than_it_announces(pair):
    """Content that does not have the announced digest is left out."""
    one, two = pair
    two.append("s", turn("a"))

    class Lying(LocalPeer):
        def exchange(self, requests, *, content):
            for reply in super().exchange(requests, content=content):
                items = [(k, key, {**record, "content": "lie"}) for k, key, record in reply.items]
                yield reply._replace(items=iter(items))

    class Remote:
        def __init__(self, peer):
            self.compare, self.exchange, self.push = peer.compare, peer.exchange, peer.push

    sync_with(one, Remote(Lying(two)))
    assert said(one, "s") == []
    in_step(one, two)
    assert said(one, "s") == ["a", "re: a"]


def test_a_peer_that_names_a_session_twice(pair):
    """A session that the other side names twice, as if it were two, is not merged with itself."""
    one, two = pair
    one.append("s", turn("a"))
    uid = one.header("s").uid
    peer = LocalPeer(one, trusts=False)
    peer.refresh()
    two.append("s", turn("b"))
    other = LocalPeer(two)
    other.refresh()
    (session,) = other.load([[two.header("s").uid]])
    requests = [ExchangeRequest((uid, uid), session.state)]
    for reply in peer.exchange(requests, content=True):
        list(reply.items)
    assert peer.push([(0, session.items(EMPTY_STATE))]) == [""]
    assert sorted(said(one, "s")) == ["a", "b", "re: a", "re: b"]
    assert list(one.check()) == []


def test_an_error_of_the_far_store_is_reported(pair):
    """A failure on the other machine ends the synchronization with its message."""
    one, two = pair
    one.append("s", turn("a"))
    with served(two) as peer:
        two.close()
        with pytest.raises(StoreError, match="was closed"):
            sync_with(one, peer)
