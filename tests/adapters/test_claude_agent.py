"""Stores as session stores of the Claude Agent SDK, with the conformance suite and the helpers of the SDK itself."""

import asyncio
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagent_cli import open_store
from omniagent_cli.adapters.claude_agent import ClaudeSessionStore, session_id_of
from omniagent_cli.cli import main
from omniagent_cli.errors import InvalidRecord, StoreClosed, UsageError
from tests.stores.test_contract import CASES

sdk = pytest.importorskip("claude_agent_sdk")

KEY = {"project_key": "-home-me-app", "session_id": "3f2c1b6e-0000-4000-8000-000000000001"}
SUB = {**KEY, "subpath": "subagents/agent-1"}


def line(number, kind, content, **more):
    uuid = f"00000000-0000-4000-8000-{number:012}"
    parent = f"00000000-0000-4000-8000-{number - 1:012}" if number else None
    base = {"uuid": uuid, "parentUuid": parent, "sessionId": KEY["session_id"], "timestamp": f"2026-01-01T00:00:{number:02}.000Z",
            "cwd": "/home/me/app", "gitBranch": "main", "isSidechain": False, "version": "2.1.300"}  # fmt: skip
    return {**base, "type": kind, "message": {"role": kind, "content": content}, **more}


TRANSCRIPT = [
    {"type": "mode", "mode": "default", "sessionId": KEY["session_id"]},
    line(0, "user", "How tall is the minster of Ulm?"),
    line(1, "assistant", [{"type": "text", "text": "Let me see."}, {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "lookup"}}]),
    line(2, "user", [{"type": "tool_result", "tool_use_id": "t1", "content": "161.53 m"}], toolUseResult={"stdout": "161.53 m"}),
    line(3, "assistant", [{"type": "thinking", "thinking": "hm", "signature": "x="}, {"type": "text", "text": "It has 161.53 metres."}]),
    line(4, "user", [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}, {"type": "text", "text": "And this?"}]),
    {"type": "custom-title", "customTitle": "Ulm  minster", "sessionId": KEY["session_id"]},
    {"type": "system", "subtype": "info", "content": "compacted", "uuid": "u-7"},
    {"type": "assistant", "uuid": "u-8", "message": {"role": "assistant", "content": [{"type": "text", "text": 7}], "usage": [1]}, "timestamp": 5},
    {"type": "odd", "deep": [{"a": [None, 1.5, True, "\ud83d"]}]},
]  # fmt: skip


@pytest.fixture(params=["memory", "sqlite", "file", "redis", "postgres", "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


@pytest.fixture
def claude(store):
    made = ClaudeSessionStore(store)
    yield made
    made.close()


def test_the_suite_of_the_sdk(request, tmp_path, store):
    """All contracts of the SDK hold, each in an empty store of every kind."""
    from claude_agent_sdk.testing import run_session_store_conformance

    stores = []

    def make():
        for summary in store.list(archived=None):
            store.delete(summary.id, purge=True)
        stores.append(ClaudeSessionStore(store))
        return stores[-1]

    asyncio.run(run_session_store_conformance(make))
    assert len(stores) > 10
    for one in stores:
        one.close()


def test_what_the_user_sees(home, capsys, monkeypatch):
    """A transcript is listed with its title, shown with its tool calls, and found by its words."""
    monkeypatch.setenv("OMNIAGENT_STORE", f"sqlite://{home}/s.db")
    with open_store(home / "s.db") as store:
        claude = ClaudeSessionStore(store)
        asyncio.run(claude.append(KEY, TRANSCRIPT))
        asyncio.run(claude.append(SUB, [line(0, "user", "Count the steps")]))
        session = store.header(session_id_of(KEY))
        assert session.origin == {
            "program": "claude-agent-sdk",
            "cwd": "/home/me/app",
            "git_branch": "main",
        }
    capsys.readouterr()
    assert main(["sessions", "list"]) == 0
    listed = capsys.readouterr().out
    assert "Ulm minster" in listed
    assert "agent-1" not in listed
    assert main(["sessions", "show", session_id_of(KEY)]) == 0
    shown = capsys.readouterr().out
    for text in (
        "How tall is the minster of Ulm?",
        "Bash",
        "lookup",
        "161.53 m",
        "It has 161.53 metres.",
        "And this?",
    ):
        assert text in shown
    assert main(["sessions", "search", "metres"]) == 0
    assert session_id_of(KEY) in capsys.readouterr().out
    assert main(["sessions", "search", "steps"]) == 0
    assert "agent-1" in capsys.readouterr().out


def test_entries_are_equal(claude, store):
    """Entries of every kind come back equal and in order, also from another object."""
    asyncio.run(claude.append(KEY, TRANSCRIPT[:3]))
    asyncio.run(claude.append(KEY, TRANSCRIPT[3:]))
    assert asyncio.run(claude.load(KEY)) == TRANSCRIPT
    assert asyncio.run(ClaudeSessionStore(store).load(KEY)) == TRANSCRIPT


def test_a_repeated_batch_is_stored_once(claude, store):
    """Entries with a known uuid are ignored, also when another object stored them or the session is a new one."""

    async def use():
        await claude.append(KEY, TRANSCRIPT)
        await claude.append(KEY, [TRANSCRIPT[1], TRANSCRIPT[1], line(9, "user", "More")])
        other = ClaudeSessionStore(store)
        await other.append(KEY, [line(9, "user", "More"), line(10, "user", "Last")])
        await claude.append(KEY, [line(10, "user", "Last"), line(10, "user", "Last")])
        loaded = await claude.load(KEY)
        await other.delete(KEY)
        await claude.append(KEY, TRANSCRIPT[:2])
        return loaded, await claude.load(KEY)

    loaded, again = asyncio.run(use())
    assert loaded == [*TRANSCRIPT, line(9, "user", "More"), line(10, "user", "Last")]
    assert again == TRANSCRIPT[:2]


def test_the_helpers_of_the_sdk(claude):
    """The SDK's own functions list, read, rename, fork and delete sessions in the store."""
    directory = "/home/me/app"
    key = {**KEY, "project_key": sdk.project_key_for_directory(directory)}

    async def use():
        await claude.append(key, TRANSCRIPT[:5])
        listed = await sdk.list_sessions_from_store(claude, directory=directory)
        messages = await sdk.get_session_messages_from_store(
            claude, KEY["session_id"], directory=directory
        )
        await sdk.rename_session_via_store(claude, KEY["session_id"], "Spire", directory=directory)
        renamed = await sdk.get_session_info_from_store(
            claude, KEY["session_id"], directory=directory
        )
        fork = await sdk.fork_session_via_store(claude, KEY["session_id"], directory=directory)
        forked = await sdk.get_session_messages_from_store(
            claude, fork.session_id, directory=directory
        )
        await sdk.delete_session_via_store(claude, KEY["session_id"], directory=directory)
        left = await sdk.list_sessions_from_store(claude, directory=directory)
        return listed, messages, renamed, forked, left, fork

    listed, messages, renamed, forked, left, fork = asyncio.run(use())
    assert [(one.session_id, one.first_prompt) for one in listed] == [
        (KEY["session_id"], "How tall is the minster of Ulm?")
    ]
    assert [one.message["role"] for one in messages] == ["user", "assistant", "user", "assistant"]
    assert renamed.custom_title == "Spire"
    assert len(forked) == 4
    assert [one.session_id for one in left] == [fork.session_id]


def test_names_do_not_collide(claude):
    """Projects, sessions and subpaths with any characters are told apart and listed as they were given."""
    names = ["a", "a/b", "a%2Fb", "ä ö", "..", "a\tb", "b"]
    keys = [{"project_key": p, "session_id": s} for p in names for s in names]
    keys += [
        {"project_key": "a", "session_id": "b", "subpath": s} for s in ("x", "x/y", "x%2Fy", "x//y")
    ]

    async def use():
        for number, key in enumerate(keys):
            await claude.append(key, [{"type": "x", "n": number}])
        for number, key in enumerate(keys):
            assert await claude.load(key) == [{"type": "x", "n": number}]
        for project in names:
            found = await claude.list_sessions(project)
            assert sorted(one["session_id"] for one in found) == sorted(names)
        found = await claude.list_subkeys({"project_key": "a", "session_id": "b"})
        assert sorted(found) == sorted(["x", "x/y", "x%2Fy", "x//y"])

    asyncio.run(use())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "uuid",
        "message",
        "content",
        "timestamp",
        "customTitle",
        "summary",
        "attachment",
        "isMeta",
        "cwd",
    ]
)
BLOCKS = st.fixed_dictionaries({"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking", "image"])}, optional={
    "text": JSON, "id": JSON, "name": JSON, "input": JSON, "content": JSON, "tool_use_id": JSON, "source": JSON})  # fmt: skip
MESSAGES = st.fixed_dictionaries(
    {"content": st.lists(BLOCKS, max_size=3) | JSON}, optional={"usage": JSON, "model": JSON}
)
ENTRIES = st.builds(
    lambda kind, message, more: {**more, **message, "type": kind},
    st.sampled_from(["user", "assistant", "attachment", "system", "x"]),
    st.fixed_dictionaries({}, optional={"message": MESSAGES}),
    st.dictionaries(KEYS, JSON, max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_any_entry_is_kept(entries):
    """Entries of any shape are stored and returned equal, whatever their keys hold."""
    entries = [{**entry, "uuid": f"u{number}"} if isinstance(entry.get("uuid"), str) else entry for number, entry in enumerate(entries)]  # fmt: skip
    with open_store("memory:") as store:
        claude = ClaudeSessionStore(store)
        asyncio.run(claude.append(KEY, entries))
        assert asyncio.run(claude.load(KEY)) == (entries or None)
        claude.close()


def test_refused(claude, store, monkeypatch):
    """A batch with something else than an object is not stored, and a closed object refuses everything."""
    with pytest.raises(InvalidRecord):
        asyncio.run(claude.append(KEY, [TRANSCRIPT[0], "text"]))
    assert asyncio.run(claude.load(KEY)) is None
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)
    with pytest.raises(UsageError, match=r"omniagent-cli\[claude-agent\]"):
        asyncio.run(claude.list_session_summaries("p"))
    claude.close()
    with pytest.raises(StoreClosed):
        asyncio.run(claude.append(KEY, []))
    assert store.count() == 0
