"""A program over the public API, which ``mypy`` checks strictly and the tests of the adapter run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents import Agent as SdkAgent
from agents import RunConfig, Runner
from agents.models.interface import Model
from openai.types.responses import ResponseInputItemParam

from omniagent_cli import (
    DEFAULT_SESSION_TTL,
    Agent,
    Message,
    Rollover,
    Session,
    SessionsSkill,
    SessionStore,
    SessionSummary,
    Skill,
    Tool,
    ToolContext,
    Window,
    attach,
    errors,
    migrate,
    open_store,
    tool,
    with_compression,
    with_encryption,
)
from omniagent_cli.adapters.openai_agents import OmniSession


@tool(effect="write", timeout_seconds=5)
async def note(text: str, context: ToolContext) -> dict[str, str]:
    """Write a note into the session's metadata."""
    context.store.set_metadata(context.session_id, "note", text)
    return {"noted": text}


class Travel(Skill):
    """A skill with one tool."""

    def __init__(self) -> None:
        super().__init__("travel", description="notes")

    async def open(self, store: SessionStore | None) -> list[Tool]:
        """Return the tools."""
        return [note]


async def approve(tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Allow notes."""
    return tool.name == "note"


def use_store(store: SessionStore) -> list[SessionSummary]:
    """Use the operations of a store, and return its summaries."""
    kept: list[Message] = store.append(
        "s", [Message("user", "Hello", created_at=datetime.now(UTC))]
    )
    store.append("s", {"role": "assistant", "content": "Hi"})
    session: Session = store.get("s")
    session.title = "Greeting"
    store.save(session)
    store.set_metadata("s", "preferences", {"timezone": "UTC"})
    store.set_state("s", "step", 1)
    preferences: object = store.get_metadata("s", "preferences")
    assert preferences == {"timezone": "UTC"}
    assert [hit.position for hit in store.search("hello", limit=5)] == [kept[0].position]
    store.trim("s", 50)
    with store.session("s") as chat:
        chat.add_message("user", "Hello")
        chat.set("theme", "dark")
        remove = chat.on("message_added", print)
        remove()
        exported: dict[str, object] = chat.export()
    assert exported["id"] == "s"
    try:
        store.get("missing")
    except errors.SessionNotFound as error:
        missing: str | None = error.session_id
        print(missing)
    return list(store.list(limit=10))


async def use_store_async(store: SessionStore) -> list[SessionSummary]:
    """Use the asynchronous interface of a store, and return its summaries."""
    aio = store.aio()
    kept: list[Message] = await aio.append("a", {"role": "user", "content": "Hello"})
    newest: list[Message] = await aio.messages("a", last=1)
    assert [m.id for m in newest] == [m.id async for m in aio.iter_messages("a")]
    page: list[SessionSummary] = await aio.list(limit=10, prefix="a")
    assert len(kept) == len(page) == 1
    same: SessionStore = aio.store
    assert same is store
    return [summary async for summary in aio.list(prefix="a")]


async def use_agent(store: SessionStore) -> str:
    """Run a turn, and return the answer."""
    async with Agent(
        "recall",
        store=store,
        skills=[Travel(), SessionsSkill()],
        approve=approve,
        window=Window(max_messages=20),
        rollover=Rollover(idle=timedelta(hours=8)),
    ) as agent:
        async for event in agent.stream("How is Ulm?", "trip"):
            assert type(event).__name__
        return await agent.aprocess_with_session("trip", "And now?")


def use_agent_from_sync_code(store: SessionStore, file: Path) -> list[str]:
    """Run turns without an event loop, and return the answers."""
    with Agent("recall", store=store) as agent:
        return [agent.process("hello"), agent.process_with_session("u", attach("Read it", file))]


async def use_sdk(model: Model, store: SessionStore) -> list[ResponseInputItemParam]:
    """Run the OpenAI Agents SDK over a session of a store, and return the items of the session."""
    session = OmniSession("sdk", store, session_settings={"limit": 10})
    await Runner.run(
        SdkAgent(name="a", model=model),
        "hi",
        session=session,
        run_config=RunConfig(tracing_disabled=True),
    )
    newest: ResponseInputItemParam | None = await session.pop_item()
    assert newest is not None
    await session.add_items([newest])
    return await session.get_items()


def move(source: SessionStore, path: Path, key: bytes) -> int:
    """Copy a store into an encrypted one, and return the number of sessions."""
    with open_store(path, ttl=DEFAULT_SESSION_TTL) as plain:
        target: SessionStore = with_encryption(with_compression(plain), key=key)
        return migrate(source, target).copied
