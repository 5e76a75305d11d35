"""The asynchronous interface of a store."""

import asyncio
import contextlib
import inspect
import os
import sqlite3
import threading

import pytest

from omniagent_cli import open_store
from omniagent_cli.errors import SessionNotFound, StoreClosed
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.aio import AsyncStore
from tests.stores.test_contract import CASES

NOT_AWAITED = {
    "aio", "backend", "capabilities", "codec", "has_key", "on", "one_operation", "row_codec", "session", "trash_ttl", "ttl", "url",
    "use_codec",
}  # fmt: skip
"""Public names that need no thread: attributes, event handlers, and objects of the store."""

FOR_BACKENDS = {
    "after_fork_in_child", "append_texts", "before_fork", "check_backend", "check_can_wipe", "copy_before_repair",
    "fork_lock", "index_text", "index_texts", "iter_headers", "merge_conflict_copies", "prepare_search", "read_unit",
    "transact", "unit_texts", "wipe", "write_unit",
}  # fmt: skip
"""Names that backends and other operations use, not callers."""


@pytest.fixture(params=["memory", "sqlite", "file", "redis", "postgres", "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


def user(text):
    return {"role": "user", "content": text}


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def test_every_operation_is_there():
    """Each operation of a store has the same name, arguments and documentation in the asynchronous interface."""
    operations = {
        name for name in public(SessionStore) - NOT_AWAITED - FOR_BACKENDS
        if callable(getattr(SessionStore, name))
    }  # fmt: skip
    assert operations - public(AsyncStore) == set()
    assert len(operations) > 50
    for name in operations:
        own, other = getattr(AsyncStore, name), getattr(SessionStore, name)
        assert list(inspect.signature(own).parameters) == list(inspect.signature(other).parameters)
        assert own.__doc__


def test_a_session_from_beginning_to_end(store):
    """What is stored with await is what the store returns, and errors are raised by the awaited call."""

    async def use():
        aio = store.aio()
        kept = await aio.append("s", [user("one"), user("two")])
        assert [m.text for m in await aio.messages("s", last=1)] == ["two"]
        assert [m.position async for m in aio.iter_messages("s")] == [m.position for m in kept]
        await aio.put_attachment("s", "0" * 64, {"name": "x"})
        assert [pair async for pair in aio.iter_records("s", "attachment")] == [
            ("0" * 64, {"name": "x"})
        ]
        await aio.set_metadata("s", "k", {"v": 1})
        assert await aio.get_metadata("s", "k") == {"v": 1}
        assert [hit.position for hit in await aio.search("two")] == [kept[1].position]
        assert (await aio.info())["sessions"] == 1
        assert await aio.clear("s") == 2
        assert await aio.delete("s")
        with pytest.raises(SessionNotFound):
            await aio.get("s")
        with pytest.raises(SessionNotFound):
            [m async for m in aio.iter_messages("s")]
        return await aio.trash()

    assert asyncio.run(use()) == store.trash()


def test_lists_are_pages_and_iterators():
    """An awaited list is a page; an iterated one has all sessions up to the limit, in the same order."""

    async def use(aio):
        for n in range(205):
            await aio.append(f"s{n:03}", user("x"))
        page = await aio.list(limit=2, sort="id")
        assert ([s.id for s in page], page.next_cursor is not None) == (["s000", "s001"], True)
        for limit in (None, 0, 1, 100, 101, 204, 205, 300):
            found = [s.id async for s in aio.list(limit=limit, sort="id")]
            assert found == [s.id for s in aio.store.list(limit=limit, sort="id")]
        with pytest.raises(TypeError):
            await aio.list("s")

    with open_store("memory:") as store:
        asyncio.run(use(store.aio()))


def test_damaged_sessions_of_all_pages(tmp_path):
    """Sessions that cannot be read are reported from every page of an iterated list."""
    with open_store(tmp_path / "s.db") as store:
        for n in range(150):
            store.append(f"s{n:03}", user("x"))
        with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as connection:
            connection.execute("UPDATE sessions SET preview = x'22' WHERE id IN ('s001', 's140')")
            connection.commit()

        async def use():
            damaged = []
            found = [s.id async for s in store.aio().list(sort="id", damaged=damaged)]
            return found, sorted(error.session_id for error in damaged)

        found, damaged = asyncio.run(use())
    assert (len(found), damaged) == (148, ["s001", "s140"])


def test_a_canceled_call_ends_first(store):
    """A canceled append is stored whole before the cancellation is raised, however often it is canceled."""
    begun, go = threading.Event(), threading.Event()
    store.on("session_created", lambda: (begun.set(), go.wait(10)))

    async def use():
        aio = store.aio()
        task = asyncio.ensure_future(aio.append("s", [user(str(n)) for n in range(20)]))
        await asyncio.to_thread(begun.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await aio.count_messages("s")

    assert asyncio.run(use()) == 20


def test_many_calls_at_once(store):
    """Concurrent appends to one session are all stored, each batch together."""

    async def use():
        aio = store.aio()
        batches = [aio.append("s", [user(f"{n}a"), user(f"{n}b")]) for n in range(30)]
        await asyncio.gather(*batches)
        return [m.text async for m in aio.iter_messages("s")]

    texts = asyncio.run(use())
    assert sorted(texts) == sorted(f"{n}{half}" for n in range(30) for half in "ab")
    assert all(a[:-1] == b[:-1] for a, b in zip(texts[::2], texts[1::2], strict=True))


def test_the_loop_runs_while_the_store_waits(store):
    """A slow store does not block the event loop."""
    go = threading.Event()
    store.on("message_added", lambda: go.wait(10))

    async def use():
        task = asyncio.ensure_future(store.aio().append("s", user("x")))
        await asyncio.sleep(0)
        go.set()  # would never be reached if the call ran in the loop
        return await task

    assert len(asyncio.run(use())) == 1


def test_async_with_closes():
    """The context manager closes the store, and a closed store refuses to be entered and used."""

    async def use():
        async with open_store("memory:").aio() as aio:
            await aio.append("s", user("x"))
        with pytest.raises(StoreClosed):
            await aio.get("s")
        with pytest.raises(StoreClosed):
            async with aio:
                pass

    asyncio.run(use())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork of a process with threads
def test_a_forked_child_uses_it(tmp_path):
    """A child that was forked after the first calls uses the same object in its own loop."""
    with open_store(tmp_path / "s.db") as store:
        aio = store.aio()
        asyncio.run(aio.append("s", user("parent")))
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(aio.append("s", user("child")))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert [m.text for m in store.messages("s")] == ["parent", "child"]
