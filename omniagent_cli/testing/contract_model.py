"""Property test: any series of operations has the same results on every backend as on the memory store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import ContractBase, StoreCase

Operation = tuple[str, str, Any]

_IDS = st.sampled_from(["a", "b", "A", "a/b"])
_TEXTS = st.sampled_from(["apple", "Äpfel und Birnen", "pear apple", "", "日本", "\ud800\x00"])
_SMALL = st.integers(0, 5)
_OPERATIONS = st.one_of(
    st.tuples(st.just("append"), _IDS, st.lists(_TEXTS, min_size=1, max_size=4)),
    st.tuples(st.just("answer"), _IDS, _TEXTS),
    st.tuples(st.just("trim"), _IDS, _SMALL),
    st.tuples(st.just("undo"), _IDS, _SMALL),
    st.tuples(st.just("turn"), _IDS, st.integers(1, 9)),
    st.tuples(st.just("clear"), _IDS, st.none()),
    st.tuples(st.just("delete"), _IDS, st.none()),
    st.tuples(st.just("restore"), _IDS, st.none() | st.just("new")),
    st.tuples(st.just("rename"), _IDS, _IDS),
    st.tuples(st.just("fork"), _IDS, st.tuples(_IDS, st.none() | _SMALL)),
    st.tuples(st.just("meta"), _IDS, st.sampled_from(["pinned", "archived", "k"])),
    st.tuples(st.just("edit"), _IDS, st.permutations(range(4))),
    st.tuples(st.just("ttl"), _IDS, st.sampled_from(["1m", "never"])),
    st.tuples(st.just("touch"), _IDS, st.none()),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from(["1s", "30s", "2m"])),
    st.tuples(st.just("purge"), st.just(""), st.none()),
)


class _OperationRunner:
    """Runs operations on one store; sets message ids and times itself to make two stores comparable."""

    def __init__(self, store: SessionStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.count = 0

    def run(self, operation: Operation) -> object:
        """Run an operation and return its visible result or error."""
        name, session_id, value = operation
        self.clock.advance("1s")
        step: Callable[[str, Any], object] = getattr(self, f"_{name}")
        try:
            return step(session_id, value)
        except OmniAgentError as error:
            return type(error).__name__, str(error)

    def snapshot(self) -> object:
        """Return the visible content of the store, without uids."""
        sessions = []
        for summary in self.store.list(archived=None):
            record = self.store.get(summary.id).to_record()
            shown = {**summary.to_record(), "pinned": summary.pinned}
            for facts in (record, shown):
                facts.pop("uid", None)
                facts.get("origin", {}).pop("forked_uid", None)
            sessions.append((record, shown, [m.position for m in self.store.messages(summary.id)]))
        trash = [(e.session_id, e.kind, e.message_count, e.expires_at) for e in self.store.trash()]
        hits = []
        for query in ("apple", "ap*", "日本", '"pear apple"'):
            found = self.store.search(query, limit=None)
            # The copies in a fork have equal times; their order is undefined.
            places = sorted((h.session_id, h.position, h.snippet) for h in found)
            hits.append(([h.created_at for h in found], places))
        return sessions, trash, hits, self.store.count(), self.store.count_expired()

    def _message(self, text: str) -> Message:
        self.count += 1
        # Hits with equal times are unordered, so every message gets its own time.
        moment = self.clock.advance("1s")
        return Message("user", text, id=f"m{self.count}", created_at=moment)

    def _append(self, session_id: str, texts: list[str]) -> object:
        return self.store.append(session_id, [self._message(text) for text in texts])

    def _answer(self, session_id: str, text: str) -> object:
        uid = self.store.header(session_id).uid
        answer = self.store.checkpoint(session_id, self._message("apple"), uid=uid).messages[0]
        answer.content = text
        written = self.store.checkpoint(session_id, answer, uid=uid, final=len(text) > 5)
        return written.messages, written.session_id

    def _trim(self, session_id: str, keep: int) -> object:
        return self.store.trim(session_id, keep)

    def _undo(self, session_id: str, position: int) -> object:
        return self.store.truncate_from(session_id, position)

    def _turn(self, session_id: str, number: int) -> object:
        return self.store.remove_turn(session_id, f"m{number}")

    def _clear(self, session_id: str, _: None) -> object:
        return self.store.clear(session_id)

    def _delete(self, session_id: str, _: None) -> object:
        return self.store.delete(session_id)

    def _restore(self, session_id: str, as_id: str | None) -> object:
        return self.store.restore(session_id, as_id=as_id).kind

    def _rename(self, session_id: str, new_id: str) -> None:
        self.store.rename(session_id, new_id)

    def _fork(self, session_id: str, value: tuple[str, int | None]) -> object:
        return self.store.fork(session_id, value[0], at=value[1])

    def _meta(self, session_id: str, key: str) -> None:
        self.store.set_metadata(session_id, key, value=self.count % 2 == 0)

    def _edit(self, session_id: str, order: list[int]) -> object:
        session = self.store.get(session_id)
        session.messages = [session.messages[n] for n in order if n < len(session.messages)]
        if session.messages:
            session.messages[-1].content = "edited apple"
        return self.store.save(session).messages

    def _ttl(self, session_id: str, ttl: str) -> None:
        self.store.set_ttl(session_id, ttl)

    def _touch(self, session_id: str, _: None) -> None:
        self.store.touch(session_id)

    def _wait(self, _: str, length: str) -> object:
        return self.clock.advance(length)

    def _purge(self, _: str, __: None) -> object:
        return self.store.purge_expired()


class ModelContract(ContractBase):
    """A backend behaves exactly like the memory store."""

    @settings(
        max_examples=min(25, settings().max_examples),  # a profile of fewer applies
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,  # one test, inherited by many backends
        ],
    )
    @given(operations=st.lists(_OPERATIONS, min_size=3, max_size=25))
    def test_any_series_of_operations(self, case: StoreCase, operations: list[Operation]) -> None:
        """After any operations, results, errors and visible content equal those of the memory store."""
        with tempfile.TemporaryDirectory() as place:
            clocks = FakeClock(), FakeClock()
            with (
                MemoryStore(clock=clocks[0]) as memory,
                case.open(Path(place), clock=clocks[1]) as store,
            ):
                model, real = (
                    _OperationRunner(memory, clocks[0]),
                    _OperationRunner(store, clocks[1]),
                )
                for operation in operations:
                    assert real.run(operation) == model.run(operation)
                    assert real.snapshot() == model.snapshot()
