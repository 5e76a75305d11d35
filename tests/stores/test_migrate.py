"""Migration between any two stores: everything, whole sessions, again and again."""

import tempfile
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli import migrate, open_store
from omniagent_cli.errors import (
    EncryptedStore,
    SessionConflict,
    SessionNotFound,
    StoreCorrupt,
    UsageError,
)
from omniagent_cli.stores import with_encryption
from omniagent_cli.stores.maintenance.check import check
from omniagent_cli.stores.transfer.copy_session import Digest, StagedCopy, live_headers
from omniagent_cli.testing import FakeClock
from tests.stores.migrating import content, fill
from tests.stores.place import start
from tests.stores.test_contract import CASES

KINDS = [name for name in CASES if "-" not in name]
PAIRS = [
    (one, other)
    for one in CASES
    for other in CASES
    if {one, other} <= {*KINDS} or "sqlite" in (one, other)
]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def opened(tmp_path, clock):
    """Open stores by the name of their case, each in a directory of its own; close them at the end."""
    stores = []

    def opened(kind, name, **options):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        stores.append(CASES[kind].open(place, clock=clock, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def visible(store):
    return [summary.id for summary in store.list(archived=None, sort="id")]


@pytest.mark.parametrize(("source_kind", "target_kind"), PAIRS)
def test_everything_arrives(opened, clock, source_kind, target_kind):
    """Between any two stores, whatever they are wrapped in, what arrives is what was there, positions and trash too."""
    source = fill(opened(source_kind, "source"))
    clock.advance("1h")
    target = opened(target_kind, "target", ttl=None)
    before = content(source)
    report = migrate(source, target)
    assert (report.copied, report.trash, report.refused) == (4, 3, [])
    assert content(target) == before
    assert content(source) == before
    assert report.seen == report.total == report.messages
    assert check(target) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_store_like_any(opened, kind):
    """In the target what was trimmed can be restored, new messages get new positions, and search finds."""
    target = opened(kind, "target")
    migrate(fill(opened("memory", "source")), target)
    assert [m.position for m in target.append("cut", [{"role": "user", "content": "new"}])] == [5]
    assert [m.text for m in target.messages("cut")] == ["c2", "new"]
    target.restore("cut")
    target.restore("cut")
    assert [m.text for m in target.messages("cut")] == ["c0", "c1", "c2", "c3", "c4", "new"]
    assert target.restore("gone").kind == "deleted"
    assert [hit.session_id for hit in target.search("bye")] == ["gone"]


@pytest.mark.parametrize("kind", KINDS)
def test_again_changes_nothing(opened, kind):
    """A second run copies nothing, and finds everything equal."""
    source, target = fill(opened("memory", "source")), opened(kind, "target")
    migrate(source, target)
    before = content(target)
    report = migrate(source, target)
    assert (report.copied, report.equal, report.trash, report.messages) == (0, 4, 0, 0)
    assert report.seen == report.total
    assert content(target) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_different_session_is_refused(opened, kind):
    """A session of the target that differs stays and is named; the others are copied."""
    source, target = fill(opened("memory", "source")), opened(kind, "target")
    target.append("cut", {"role": "user", "content": "mine"})
    report = migrate(source, target)
    assert [refused.session_id for refused in report.refused] == ["cut"]
    assert (report.ok, report.copied) == (False, 3)
    assert [m.text for m in target.messages("cut")] == ["mine"]


def test_a_different_session_can_be_left(opened):
    """With `skip` it stays, and that is fine."""
    source, target = fill(opened("memory", "source")), opened("sqlite", "target")
    target.append("cut", {"role": "user", "content": "mine"})
    report = migrate(source, target, on_existing="skip")
    assert (report.ok, report.skipped, report.copied) == (True, 1, 3)
    assert [m.text for m in target.messages("cut")] == ["mine"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_different_session_can_be_replaced(opened, clock, kind):
    """With `replace` the copy takes its place, and the old one can be restored."""
    source, target = fill(opened("memory", "source")), opened(kind, "target")
    migrate(source, target)
    source.append("cut", {"role": "user", "content": "more"})
    clock.advance("1h")
    report = migrate(source, target, on_existing="replace")
    assert (report.replaced, report.equal, report.copied) == (1, 3, 0)
    assert [m.text for m in target.messages("cut")] == ["c2", "more"]
    assert target.restore("cut", as_id="old").kind == "deleted"
    assert [m.text for m in target.messages("old")] == ["c2"]
    assert migrate(source, target).equal == 4


def test_one_position_more_is_a_difference(opened):
    """Sessions that show the same and would number the next message differently are not equal."""
    source, target = opened("memory", "source"), opened("sqlite", "target")
    source.append("s", {"role": "user", "content": "a"})
    migrate(source, target)
    source.append("s", {"role": "user", "content": "b"})
    source.truncate_from("s", 1)
    assert not migrate(source, target).ok


def test_chosen_sessions_only(opened):
    """With ids only those come, with what the trash holds of them; an unknown id stops it before anything is copied."""
    source, target = fill(opened("memory", "source")), opened("sqlite", "target")
    with pytest.raises(SessionNotFound):
        migrate(source, target, ["cut", "typo"])
    assert visible(target) == []
    report = migrate(source, target, ["cut", "cut"])
    assert (report.copied, report.trash) == (1, 2)
    assert visible(target) == ["cut"]
    assert {entry.session_id for entry in target.trash()} == {"cut"}


def test_without_the_trash(opened):
    """The trash can stay behind, and stays when the target keeps none."""
    source = fill(opened("memory", "source"))
    assert migrate(source, opened("memory", "a"), include_trash=False).trash == 0
    target = opened("sqlite", "b", trash_ttl=None)
    assert migrate(source, target).trash == 0
    assert target.trash() == []


def test_the_expired_stays_behind(opened, clock):
    """What has expired is not copied; what has not keeps the moment it will."""
    source, target = opened("sqlite", "source", ttl="1h"), opened("file", "target", ttl=None)
    source.append("old", {"role": "user", "content": "a"})
    clock.advance("59m")
    source.append("young", {"role": "user", "content": "b"})
    clock.advance("1m")
    migrate(source, target)
    assert visible(target) == ["young"]
    assert target.get("young").expires_at == clock.now + timedelta(minutes=59)


def test_an_expired_id_is_free(opened, clock):
    """An expired session of the target is no obstacle."""
    source, target = opened("memory", "source"), opened("sqlite", "target", ttl="1h")
    target.append("s", {"role": "user", "content": "old"})
    clock.advance("1h")
    source.append("s", {"role": "user", "content": "new"})
    assert migrate(source, target).copied == 1
    assert [m.text for m in target.messages("s")] == ["new"]


def test_a_dry_run_writes_nothing(opened):
    """A dry run reports what would be done and does nothing."""
    source, target = fill(opened("memory", "source")), opened("sqlite", "target")
    report = migrate(source, target, dry_run=True)
    assert (report.copied, report.trash) == (4, 3)
    assert content(target) == {}


def test_not_into_itself(opened, tmp_path):
    """A store is not migrated into itself, by whichever object."""
    one, other = opened("sqlite", "same"), opened("sqlite", "same")
    with pytest.raises(UsageError):
        migrate(one, one)
    with pytest.raises(UsageError):
        migrate(one, other)
    with pytest.raises(UsageError):
        migrate(one, opened("memory", "m"), on_existing="append")


def test_a_damaged_session_costs_only_itself(opened):
    """A session of the source that cannot be read is named; the rest comes."""
    source, target = fill(opened("memory", "source")), opened("sqlite", "target")
    header = next(h for h in live_headers(source, hidden=False) if h.id == "cut")
    row = source._data.sessions[header.uid].rows[0]
    source._data.sessions[header.uid].rows[0] = row._replace(payload=b"{torn")
    report = migrate(source, target)
    assert [refused.session_id for refused in report.refused] == ["cut"]
    assert report.copied == 3
    assert sorted(visible(target)) == ["archived", "empty", "full/Ärger 😀"]


def test_a_secret_needs_its_key(opened):
    """Neither reading from nor writing to an encrypted store goes without its key."""
    secret = fill(opened("sqlite-encrypted", "secret"))
    plain = opened("sqlite", "secret")
    with pytest.raises(EncryptedStore):
        migrate(plain, opened("memory", "target"))
    with pytest.raises(EncryptedStore):
        migrate(fill(opened("memory", "source")), plain)
    third = opened("memory", "third")
    report = migrate(with_encryption(plain, bytes(16)), third)
    assert (report.copied, len(report.refused)) == (0, 7)
    assert content(third) == {}
    assert visible(secret)


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_interrupted_and_run_again(opened, kind, steps):
    """Stopped anywhere, only whole sessions are there and nothing hidden remains; the next run brings the rest."""
    source, target = fill(opened("memory", "source")), opened(kind, "target")
    told = []

    def stop(report):
        told.append(report)
        if len(told) == steps:
            raise Stop

    with pytest.raises(Stop):
        migrate(source, target, progress=stop)
    whole = content(source)
    assert all(found == whole[name] for name, found in content(target).items())
    migrate(source, target)
    assert content(target) == whole


def test_somebody_writes_meanwhile(opened):
    """A session that changes while it is copied is copied again, as it is then."""
    source, target = opened("sqlite", "source"), opened("sqlite", "target")
    source.append("s", [{"role": "user", "content": str(n)} for n in range(1200)])
    once = []

    def write(report):
        if not once and report.seen:
            once.append(source.append("s", {"role": "user", "content": "late"}))

    assert migrate(source, target, progress=write).copied == 1
    assert content(target) == content(source)
    assert target.count_messages("s") == 1201


def test_somebody_never_stops_writing(opened):
    """A session that changes all the time is refused with that reason, and nothing of it is left."""
    source, target = opened("sqlite", "source"), opened("sqlite", "target")
    source.append("s", {"role": "user", "content": "a"})
    report = migrate(
        source,
        target,
        progress=lambda report: source.append("s", {"role": "user", "content": "more"}),
    )
    assert "being written to" in report.refused[0].reason
    assert content(target) == {}


def test_two_migrations_at_once(opened):
    """Of two runs that copy the same session one is told so; the other's copy is whole."""
    source, target = fill(opened("memory", "source")), opened("sqlite", "target")
    again = []

    def second(report):
        if not again and report.seen:
            again.append(True)
            migrate(source, target)

    with pytest.raises(SessionConflict):
        migrate(source, target, progress=second)
    assert content(target) == content(source)


def test_the_target_changes_meanwhile(opened):
    """A session that somebody makes in the target while it is copied is never overwritten."""
    source, target = opened("memory", "source"), opened("sqlite", "target")
    source.append("s", {"role": "user", "content": "a"})
    made = []

    def make(report):
        if not made:
            made.append(target.append("s", {"role": "user", "content": "mine"}))

    report = migrate(source, target, progress=make)
    assert [refused.session_id for refused in report.refused] == ["s"]
    assert [m.text for m in target.messages("s")] == ["mine"]
    assert len(list(live_headers(target, hidden=True))) == 0


KILLED = """
import sys
from omniagent_cli import migrate, open_store

def progress(report):
    print(report.seen, flush=True)
    sys.stdin.readline()

migrate(open_store(sys.argv[1]), open_store(sys.argv[2]), progress=progress)
"""


@pytest.mark.parametrize("target_url", ["sqlite:///{}/target.db", "file:///{}/target"])
def test_killed_and_run_again(tmp_path, target_url):
    """Killed in the middle of a session, the target shows none of it, and the next run brings everything."""
    url = target_url.format(str(tmp_path).lstrip("/"))
    with open_store(tmp_path / "source.db") as source:
        fill(source)
        source.append("long", [{"role": "user", "content": str(n)} for n in range(2000)])
    with open_store(tmp_path / "source.db") as source:
        process = start(KILLED, tmp_path / "source.db", url, stdin=-1)
        for line in process.stdout:
            if int(line) >= 1000:
                break
            process.stdin.write("\n")
            process.stdin.flush()
        process.kill()
        process.communicate()
        with open_store(url) as target:
            assert "long" not in visible(target)
            migrate(source, target)
            assert content(target) == content(source)


def test_memory_stays_bounded(tmp_path):
    """A session of 30 MB goes through in a few megabytes."""
    with (
        open_store(tmp_path / "source.db") as source,
        open_store(tmp_path / "target.db") as target,
    ):
        for number in range(30):
            source.append("big", [{"role": "user", "content": "word " * 2_000} for _ in range(100)])
            source.put_attachment("big", f"{number:064x}", {"data": "x" * 100_000})
        tracemalloc.start()
        try:
            migrate(source, target)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert target.count_messages("big") == 3000
    assert peak < 12_000_000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text()},
        optional={"name": st.text(), "extra": st.dictionaries(KEYS, VALUES, max_size=2), "x": VALUES},
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    str.strip
)
STEPS = st.lists(
    st.tuples(st.just("append"), IDS, MESSAGES)
    | st.tuples(st.just("trim"), IDS, st.integers(0, 3))
    | st.tuples(st.just("delete"), IDS, st.none())
    | st.tuples(st.just("metadata"), IDS, st.tuples(KEYS, VALUES))
    | st.tuples(st.just("ttl"), IDS, st.integers(60, 10**6)),
    max_size=12,
)


def play(store, steps):
    for what, session_id, value in steps:
        if what == "append":
            store.append(session_id, value)
        elif what == "metadata":
            store.set_metadata(session_id, *value)
        elif store.exists(session_id):
            {"trim": store.trim, "ttl": store.set_ttl}.get(what, lambda i, _: store.delete(i))(
                session_id, value
            )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, kind=st.sampled_from(list(CASES)))
def test_whatever_happened_before(steps, kind):
    """Whatever was done to a store, its migration is equal, and a second one changes nothing."""
    with tempfile.TemporaryDirectory() as place, open_store("memory:") as source:
        play(source, steps)
        with CASES[kind].open(Path(place)) as target:
            assert migrate(source, target).ok
            assert content(target) == content(source)
            assert migrate(source, target).messages == 0


def test_what_comes_back_wrong_is_not_shown(opened):
    """A target that gives back something else than was written is told as that, and shows nothing of it."""
    source, target = opened("memory", "source"), opened("memory", "target")
    source.append("s", {"role": "user", "content": "a"})
    (header,) = live_headers(source, hidden=False)
    stage = StagedCopy(target, header)
    digest = Digest()
    digest.add_messages(source.messages("s"))
    with pytest.raises(StoreCorrupt):
        stage.verify(digest)
    stage.discard()
    assert content(target) == {}
