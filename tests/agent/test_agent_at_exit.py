"""Agents, stores and SDK sessions in exit handlers of a program."""

import subprocess
import sys

PROGRAM = """
import asyncio, atexit, sys

def attempt(use):
    try:
        print(use())
    except OmniAgentError as error:
        print(type(error).__name__, error)

async def ask_in_block():
    async with Agent("recall") as other:
        return await other.aprocess("hello")

def late():
    attempt(lambda: agent.process_with_session("s", "late"))
    attempt(lambda: Agent("recall", store=store).process_with_session("s", "late"))
    attempt(lambda: asyncio.run(ask_in_block()))

def early():
    attempt(lambda: agent.process_with_session("s", "early")[:5])
    attempt(lambda: len(list(agent.stream_sync("early", "s"))))
    attempt(lambda: len(asyncio.run(session.get_items())))
    attempt(lambda: store.append("s", {"role": "user", "content": "x"})[0].position)

atexit.register(late)  # runs after the exit handlers of omniagent
from omniagent_cli import Agent, open_store
from omniagent_cli.adapters.openai_agents import OmniSession
from omniagent_cli.errors import OmniAgentError
store = open_store(sys.argv[1])
agent = Agent("recall", store=store)
session = OmniSession("s", store)
agent.process_with_session("s", "hello")
asyncio.run(session.get_items())
atexit.register(early)
"""


def test_exit_handlers(tmp_path):
    """In an exit handler a turn is stored, or refused with an error that says why; nothing fails otherwise."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, tmp_path / "s.db"],
        capture_output=True,
        text=True,
        check=True,
    )
    *early, last = done.stdout.splitlines()
    refused = "AgentError the agent cannot run, because Python is shutting down"
    assert early[:4] == ["Saved", "2", "6", "6"]
    assert [line.split(";")[0] for line in (*early[4:], last)] == [refused] * 3
    assert done.stderr == ""
