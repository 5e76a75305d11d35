"""Agents and their skills, and sessions of the OpenAI Agents SDK, across `os.fork`."""

import asyncio
import gc
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from omniagent_cli import Agent, Skill, tool
from omniagent_cli.adapters.openai_agents import OmniSession
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.mcp.skill import McpSkill
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.stores.children import WAIT_SECONDS, Child
from tests.stores.test_contract import CASES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

MCP_SERVER = Path(__file__).parents[1] / "servers" / "mcp_server.py"


@pytest.mark.parametrize("backend", ["sqlite", "memory"])
def test_agent_and_its_skills_in_a_child(tmp_path, backend):
    """An agent answers in a child, where its skills are opened again and an MCP server of its own is started."""

    class Located(Skill):
        async def open(self, store):
            home = os.getpid()

            @tool
            def opened_in() -> int:
                """Return the process that opened the skill."""
                return home

            return [opened_in]

    asks = Say(calls=[("opened_in", {}), ("kind__add", {"a": 2, "b": 3})])
    model = ScriptedModel(*[asks, "Done."] * 3)
    skills = [Located("located"), McpSkill(McpServer("kind", (sys.executable, str(MCP_SERVER))))]

    async def approve(_tool, _arguments):
        return True

    store = CASES[backend].open(tmp_path)
    agent = Agent(model, store=store, skills=skills, approve=approve)

    def ask():
        assert agent.process_with_session("s", "Where are you?") == "Done."
        results = [m.text for m in store.messages("s", last=4) if m.role == "tool"]
        assert results == [str(os.getpid()), "5"]

    ask()

    def child():
        ask()
        agent.close()
        store.close()

    Child(child).join()
    ask()
    agent.close()
    store.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_session_object_in_a_child(tmp_path, backend):
    """An OmniSession that was used before a fork reads and writes in the child."""
    store = CASES[backend].open(tmp_path)
    session = OmniSession("s", store)
    item = {"role": "user", "content": "hello"}
    asyncio.run(session.add_items([item]))

    def child():
        assert asyncio.run(session.get_items()) == [item]
        asyncio.run(session.add_items([item]))
        session.close()

    Child(child).join()
    assert asyncio.run(session.get_items()) == [item, item]
    session.close()
    store.close()


def test_dropped_agents_leave_nothing(tmp_path):
    """Agents that are dropped without closing leave no threads and no descriptors."""
    store = CASES["sqlite"].open(tmp_path)

    def use(number):
        Agent("recall", store=store).process_with_session("s", f"request {number}")

    def left():
        """Return the threads of agents, once at most one of 20 is left, and the number of open descriptors."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            gc.collect()
            names = ("omniagent", "omniagent-store_0")
            threads = [thread for thread in threading.enumerate() if thread.name in names]
            if len(threads) <= 1 or time.monotonic() > deadline:
                return threads, len(list(Path("/dev/fd").iterdir()))
            threads[0].join(0.1)

    use(0)
    _, before = left()
    for number in range(20):
        use(number)
    threads, after = left()
    assert len(threads) <= 1
    assert after < before + 20  # a descriptor left by each agent would be 20 or more
    store.close()
