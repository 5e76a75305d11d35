"""The rules that merge two states of a session, as algebra."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli.stores.facts import BEGUN, DELETED
from omniagent_cli.stores.sync.state import (
    EMPTY,
    Fact,
    MessageState,
    Order,
    Revision,
    SessionState,
    digest,
    exists,
    lacking,
    merge,
    ordered,
    settle,
)

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STAMPS = ["", *(f"2026-01-0{day}T00:00:00.000000Z" for day in range(1, 6))]
stamps = st.sampled_from(STAMPS)
keys = st.sampled_from(["a", "b", "c", "d"])
values = st.one_of(st.just(()), st.tuples(st.one_of(st.none(), st.booleans(), st.text(max_size=2))))
facts = st.builds(Fact, stamps, values)
revisions = st.builds(Revision, stamps, st.booleans(), st.integers(1, 3), st.sampled_from("xyz"))
orders = st.builds(Order, stamps, st.integers(0, 2))
messages = st.builds(MessageState, revisions, orders, keys)
states = st.builds(
    SessionState,
    facts=st.dictionaries(
        st.sampled_from(["title", "tags/x", "id", DELETED, BEGUN]), facts, max_size=3
    ),
    messages=st.dictionaries(keys, messages, max_size=3),
    removed=st.dictionaries(keys, stamps, max_size=2),
    restored=st.dictionaries(keys, stamps, max_size=2),
    attachments=st.frozensets(keys),
    uids=st.frozensets(keys),
    created_at=stamps,
    updated_at=stamps,
    changed_at=stamps,
)


@QUICK
@given(states, states)
def test_the_order_of_two_stores_does_not_matter(one, other):
    """Merging is commutative, also what is derived from the result."""
    merged, reverse = merge(one, other), merge(other, one)
    assert merged == reverse
    assert ordered(settle(merged)) == ordered(settle(reverse))
    assert digest(settle(merged)) == digest(settle(reverse))


@QUICK
@given(states, states, states)
def test_the_order_of_three_synchronizations_does_not_matter(one, two, three):
    """Merging is associative."""
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@QUICK
@given(states, states)
def test_merging_again_changes_nothing(one, other):
    """Merging is idempotent, and an empty state adds nothing."""
    merged = merge(one, other)
    assert merge(merged, other) == merged == merge(merged, merged) == merge(merged, EMPTY)


@QUICK
@given(states, states)
def test_no_message_is_lost_unless_it_was_removed(one, other):
    """A merged session has every message of both that nobody removed after its last restoration."""
    merged = settle(merge(one, other))
    for key in one.messages.keys() | other.messages.keys():
        removed = max((s.removed[key] for s in (one, other) if key in s.removed), default=None)
        restored = max(s.restored.get(key, "") for s in (one, other))
        assert (key in merged.messages) == (removed is None or restored > removed)


@QUICK
@given(states, states)
def test_the_latest_change_of_each_fact_wins_by_itself(one, other):
    """A fact has the value with the latest stamp, whatever the other facts are."""
    merged = merge(one, other)
    for name in one.facts.keys() | other.facts.keys():
        candidates = [s.facts[name] for s in (one, other) if name in s.facts]
        assert merged.facts[name].stamp == max(fact.stamp for fact in candidates)
        assert merged.facts[name] in candidates


@QUICK
@given(states, states)
def test_turns_stay_whole(one, other):
    """Messages of a turn follow each other, and turns are in the order of their first message."""
    merged = settle(merge(one, other))
    turns = [merged.messages[key].turn for key in ordered(merged)]
    assert len([n for n, turn in enumerate(turns) if n == 0 or turns[n - 1] != turn]) == len(
        set(turns)
    )
    firsts = {}
    for key in ordered(merged):
        firsts.setdefault(merged.messages[key].turn, merged.messages[key].order)
    assert list(firsts.values()) == sorted(firsts.values())


@QUICK
@given(states, states)
def test_a_store_lacks_exactly_what_differs(one, other):
    """What is sent to a store are the messages whose merged version it does not have."""
    merged = settle(merge(one, other))
    for key in lacking(merged, one):
        assert key not in one.messages or one.messages[key].revision != other.messages[key].revision
    known = merged.messages.keys() - set(lacking(merged, one))
    assert all(one.messages[key].revision == merged.messages[key].revision for key in known)


@QUICK
@given(states, states)
def test_a_deletion_removes_what_was_set_before(one, other):
    """A settled session has no fact from before its deletion but its id, and exists only if somebody wrote after it."""
    merged = settle(merge(one, other))
    if DELETED in merged.facts:
        deleted = merged.facts[DELETED].stamp
        later = [name for name in merged.facts if name not in ("id", DELETED, BEGUN)]
        assert not deleted or all(merged.facts[name].stamp > deleted for name in later)
        if deleted and not merged.messages:
            assert exists(merged) == (BEGUN in merged.facts and merged.facts[BEGUN].stamp > deleted)
