"""Three stores that are written to and synchronized in any order end with the same content, with nothing lost."""

import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from omniagent_cli import sync
from omniagent_cli.errors import NothingToRestore, SessionExists, SessionNotFound
from omniagent_cli.stores.sync.carrier import sync_directory
from omniagent_cli.stores.sync.driver import sync_with
from tests.stores.test_contract import CASES
from tests.stores.test_sync import served

STORES = st.integers(0, 2)
IDS = st.sampled_from(["x", "y", "z"])
KINDS = ("memory", "sqlite", "file")


class SyncMachine(RuleBasedStateMachine):
    """Random writes, removals, clock changes and synchronizations of three stores."""

    kinds = KINDS

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)
        self.skews = [timedelta(), timedelta(), timedelta()]
        self.count = 0
        self.written, self.removed, self.restored, self.edits = set(), set(), set(), {}
        self.stores = []
        for number, kind in enumerate(self.kinds):
            place = Path(self.directory.name) / str(number)
            place.mkdir()
            clock = self.clock(number)
            self.stores.append(CASES[kind].open(place, clock=clock, ttl=None))

    def clock(self, number):
        """Return the clock of a store, which differs from the others' and never gives a time twice."""

        def now():
            self.moment += timedelta(microseconds=1)
            return self.moment + self.skews[number]

        return now

    def ids(self, store, session_id):
        """Return the ids of the messages of a session."""
        try:
            return [message.id for message in store.messages(session_id)]
        except SessionNotFound:
            return []

    @rule(number=STORES, session_id=IDS, answers=st.booleans())
    def append(self, number, session_id, answers):
        """Append a turn."""
        self.moment += timedelta(seconds=1)
        self.count += 1
        messages = [{"role": "user", "content": f"question {self.count}"}]
        if answers:
            messages.append({"role": "assistant", "content": f"answer {self.count}"})
        for message in self.stores[number].append(session_id, messages):
            self.written.add(message.id)

    @rule(number=STORES, session_id=IDS, place=st.integers(0, 5))
    def edit(self, number, session_id, place):
        """Change a message."""
        try:
            session = self.stores[number].get(session_id)
        except SessionNotFound:
            return
        if place < len(session.messages):
            self.count += 1
            session.messages[place].content = f"edited {self.count}"
            self.stores[number].save(session)

    @rule(number=STORES, session_id=IDS, place=st.integers(0, 5))
    def mark(self, number, session_id, place):
        """Set the status of a message."""
        store = self.stores[number]
        messages = store.messages(session_id) if self.ids(store, session_id) else []
        if place < len(messages):
            status = "failed" if messages[place].status == "complete" else "complete"
            store.set_message_status(session_id, messages[place].position, status)

    def remove(self, store, session_id, change):
        """Run a removal and note what it removed."""
        before = set(self.ids(store, session_id))
        try:
            change()
        except SessionNotFound:
            return
        self.removed |= before - set(self.ids(store, session_id))

    @rule(number=STORES, session_id=IDS, keep=st.integers(0, 4))
    def trim(self, number, session_id, keep):
        """Remove all but some messages."""
        store = self.stores[number]
        self.remove(store, session_id, lambda: store.trim(session_id, keep))

    @rule(number=STORES, session_id=IDS)
    def pop(self, number, session_id):
        """Remove the last message."""
        store = self.stores[number]
        self.remove(store, session_id, lambda: store.pop(session_id))

    @rule(number=STORES, session_id=IDS)
    def delete(self, number, session_id):
        """Delete a session."""
        store = self.stores[number]
        self.remove(store, session_id, lambda: store.delete(session_id))

    @rule(number=STORES, session_id=IDS)
    def restore(self, number, session_id):
        """Undo the last removal."""
        store = self.stores[number]
        try:
            entry = store.restore(session_id)
        except (NothingToRestore, SessionExists):
            return
        self.restored |= set(self.ids(store, entry.session_id))

    @rule(number=STORES, session_id=IDS, new_id=IDS)
    def rename(self, number, session_id, new_id):
        """Rename a session."""
        try:
            self.stores[number].rename(session_id, new_id)
        except (SessionNotFound, SessionExists):
            return

    @rule(number=STORES, session_id=IDS, new_id=IDS)
    def fork(self, number, session_id, new_id):
        """Copy a session; its messages are then in two sessions."""
        store = self.stores[number]
        try:
            store.fork(session_id, new_id)
        except (SessionNotFound, SessionExists):
            return
        self.restored |= set(self.ids(store, session_id))

    @rule(number=STORES, session_id=IDS, key=st.sampled_from("kl"), value=st.integers(0, 9))
    def set_metadata(self, number, session_id, key, value):
        """Set one fact of a session that exists."""
        if self.ids(self.stores[number], session_id):
            self.stores[number].set_metadata(session_id, key, value)

    @rule(number=STORES, session_id=IDS, key=st.sampled_from("kl"))
    def delete_metadata(self, number, session_id, key):
        """Remove one fact."""
        try:
            self.stores[number].delete_metadata(session_id, key)
        except SessionNotFound:
            return

    @rule(number=STORES, session_id=IDS, tag=st.sampled_from("tu"), add=st.booleans())
    def tag(self, number, session_id, tag, add):
        """Add or remove a tag."""
        try:
            self.stores[number].tag(session_id, [tag] if add else [], [] if add else [tag])
        except SessionNotFound:
            return

    @rule(number=STORES, hours=st.integers(-48, 48))
    def skew(self, number, hours):
        """Set a clock wrong."""
        self.skews[number] = timedelta(hours=hours)

    @rule(number=STORES, other=STORES, push=st.booleans(), pull=st.booleans())
    def synchronize(self, number, other, push, pull):
        """Synchronize two stores, in one direction or both."""
        if number != other:
            both = push == pull
            one, two = self.stores[number], self.stores[other]
            report = sync(one, two, push=push or both, pull=pull or both)
            assert report.ok, report

    @rule(number=STORES, other=STORES)
    def synchronize_over_pipes(self, number, other):
        """Synchronize two stores as two programs do."""
        if number != other:
            with served(self.stores[other]) as peer:
                report = sync_with(self.stores[number], peer)
            assert report.ok, report

    @rule(number=STORES)
    def synchronize_with_the_directory(self, number):
        """Read what the others left in a directory, and leave what is new."""
        place = Path(self.directory.name) / "shared"
        place.mkdir(exist_ok=True)
        if self.has_key(number) == self.has_key(0):
            report = sync_directory(self.stores[number], place)
            assert report.ok, report

    def has_key(self, number):
        """Return True if a store is encrypted; only stores with the same key share a directory."""
        return self.stores[number].has_key

    def content(self, store):
        """Return everything that equal stores have in common."""
        found = {}
        for summary in store.list(archived=None, limit=100):
            session = store.get(summary.id)
            record = session.to_record()
            for key in ("uid", "expires_at"):
                record.pop(key, None)
            found[session.id] = record
        return found

    def teardown(self):
        """Synchronize until all are equal, and check that nothing was lost or doubled."""
        try:
            for _ in range(2):
                for one, two in ((0, 1), (1, 2), (0, 2)):
                    report = sync(self.stores[one], self.stores[two])
                    assert report.ok, report
            for one, two in ((0, 1), (1, 2), (0, 2)):
                report = sync(self.stores[one], self.stores[two])
                assert not report.changes, report
            contents = [self.content(store) for store in self.stores]
            assert contents[0] == contents[1] == contents[2]
            ids = [m["id"] for record in contents[0].values() for m in record["messages"]]
            assert self.written - self.removed <= set(ids)
            gone = self.removed - self.restored
            assert not gone & set(ids)
            assert all(not list(store.check()) for store in self.stores)
        finally:
            for store in self.stores:
                store.close()
            self.directory.cleanup()


def run(kinds, examples, steps):
    """Run the model with stores of some backends."""
    machine = type("Machine", (SyncMachine,), {"kinds": kinds})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_stores_become_equal_and_lose_nothing():
    """Three stores of different backends that are written to and synchronized in any order become equal."""
    run(KINDS, examples=15, steps=25)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_stores_of_all_backends_become_equal():
    """The same over more than 10,000 steps, with every backend in turn."""
    names = [name for name in CASES if "both" not in name]
    for seed in range(20):
        kinds = tuple(random.Random(seed).sample(names, 3))
        run(kinds, examples=40, steps=50)
