"""Equivalence of the node stores in memory and on disk."""

from __future__ import annotations

from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from omniagent_cli.formats.readers.node_store import DiskNodeStore, MemoryNodeStore, Node

ids = st.text(st.characters(exclude_categories=()), min_size=1, max_size=3) | st.sampled_from("abc")
nodes = st.builds(Node, ids, st.none() | ids, ids, st.none() | st.binary(max_size=4))
notes = st.tuples(st.sampled_from(["x", "y"]), ids, ids)


@settings(deadline=None)
@given(st.lists(nodes | notes, max_size=12), st.integers(0, 12))
def test_near_and_far_are_the_same(steps, moves_at) -> None:
    """Both stores give the same results, with a move to disk at any point."""
    near = MemoryNodeStore()
    with closing(DiskNodeStore()) as far:
        moving = MemoryNodeStore()
        for number, step in enumerate(steps):
            if number == moves_at:
                moving = moving.move_to_disk()
            for one in (near, far, moving):
                one.put(step) if isinstance(step, Node) else one.set_note(*step)
        with closing(moving):
            names = {step.id for step in steps if isinstance(step, Node)} | {"other"}
            for one in (far, moving):
                assert list(one.leaves()) == list(near.leaves())
                for name in names:
                    assert one.number(name) == near.number(name)
                    assert not near.number(name) or one.node(one.number(name)) == near.node(
                        near.number(name)
                    )
                for kind, name, _ in (step for step in steps if not isinstance(step, Node)):
                    assert one.get_note(kind, name) == near.get_note(kind, name)
                one.drop_notes("x")
                assert not any(
                    one.get_note("x", step[1]) for step in steps if not isinstance(step, Node)
                )
