"""Cancellation and concurrent prompts in an editor; every response arrives before what it must not wait for."""

import asyncio
import threading

import pytest
from acp import RequestError
from acp.helpers import text_block

from omniagent_cli.agent.tools.tool import tool
from omniagent_cli.testing.scripted import Say
from tests.adapters.acp_editor import ScriptedHost, editing

GO = [text_block("go")]


def test_cancel_keeps_the_partial_answer_and_a_second_prompt_is_rejected(store):
    """One turn runs per session; canceling it stores its partial answer and allows the next."""

    async def work():
        async with editing(ScriptedHost(store, Say("partial", hang=True), "next")) as (
            agent,
            editor,
        ):
            new = await agent.new_session(cwd="/project")
            own_id = new.session_id
            turn = asyncio.create_task(agent.prompt(session_id=own_id, prompt=[text_block("x")]))
            await editor.until("agent_message_chunk")
            with pytest.raises(RequestError, match="already running"):
                await agent.prompt(session_id=own_id, prompt=[text_block("y")])
            await agent.cancel(session_id=own_id)
            first = await turn
            second = await agent.prompt(session_id=own_id, prompt=[text_block("z")])
            return own_id, first.stop_reason, second.stop_reason

    own_id, *reasons = asyncio.run(work())
    assert reasons == ["cancelled", "end_turn"]
    assert [(m.text, m.status) for m in store.messages(own_id)][1] == ("partial", "interrupted")


def test_a_cancellation_right_after_the_prompt_is_not_lost(store):
    """A turn can be canceled before it has sent anything."""

    async def work():
        async with editing(ScriptedHost(store, Say("partial", hang=True))) as (agent, _):
            new = await agent.new_session(cwd="/project")
            turn = asyncio.create_task(
                agent.prompt(session_id=new.session_id, prompt=[text_block("x")])
            )
            await asyncio.sleep(0)  # lets the request be sent
            await agent.cancel(session_id=new.session_id)
            return await asyncio.wait_for(turn, 20)

    assert asyncio.run(work()).stop_reason == "cancelled"


def test_of_two_prompts_at_once_one_runs(store):
    """Two prompts sent together to one session are one turn and one error."""

    async def work():
        async with editing(ScriptedHost(store, "one", "two")) as (agent, _):
            new = await agent.new_session(cwd="/project")
            both = (agent.prompt(session_id=new.session_id, prompt=GO) for _ in range(2))
            return new.session_id, await asyncio.gather(*both, return_exceptions=True)

    own_id, done = asyncio.run(work())
    assert [getattr(each, "stop_reason", str(each)) for each in done] == [
        "end_turn",
        "a turn is already running in this session; cancel it first",
    ]
    assert [message.text for message in store.messages(own_id)] == ["go", "one"]


def test_cancel_does_not_wait_for_a_tool(store):
    """A tool that cannot be stopped runs on while the turn has ended and the next one runs."""
    started, end = threading.Event(), threading.Event()

    @tool
    def slow() -> str:
        """Wait."""
        started.set()
        assert end.wait(60)
        return "late"

    script = [Say(calls=[("slow", {})]), "next"]

    async def work():
        async with editing(ScriptedHost(store, *script, tools=[slow])) as (agent, _):
            new = await agent.new_session(cwd="/project")
            turn = asyncio.create_task(agent.prompt(session_id=new.session_id, prompt=GO))
            await asyncio.to_thread(started.wait, 20)
            await agent.cancel(session_id=new.session_id)
            reasons = [(await turn).stop_reason]
            reasons.append((await agent.prompt(session_id=new.session_id, prompt=GO)).stop_reason)
            assert not end.is_set()
            end.set()
            return reasons

    assert asyncio.run(work()) == ["cancelled", "end_turn"]


def test_cancel_does_not_wait_for_a_permission(store):
    """A permission request that the editor has not answered ends with the turn; the tool does not run."""

    @tool(effect="write")
    def note() -> str:
        """Write a note."""
        raise AssertionError

    script = [Say(calls=[("note", {})]), "next"]

    async def work():
        async with editing(ScriptedHost(store, *script, tools=[note])) as (agent, editor):
            editor.decided.clear()
            new = await agent.new_session(cwd="/project")
            turn = asyncio.create_task(agent.prompt(session_id=new.session_id, prompt=GO))
            await asyncio.wait_for(editor.requested.wait(), 20)
            await agent.cancel(session_id=new.session_id)
            reasons = [(await turn).stop_reason]
            editor.decided.set()
            reasons.append((await agent.prompt(session_id=new.session_id, prompt=GO)).stop_reason)
            return reasons

    assert asyncio.run(work()) == ["cancelled", "end_turn"]


def test_everything_is_canceled_at_once(store):
    """Canceling every session, idle and unknown ones too, ends every turn and keeps every partial answer."""
    host = ScriptedHost(store, Say("partial", hang=True), "next")

    async def work():
        async with editing(host) as (agent, editor):
            ids = [(await agent.new_session(cwd="/project")).session_id for _ in range(20)]
            busy, idle = ids[:15], ids[15:]
            turns = [asyncio.create_task(agent.prompt(session_id=own, prompt=GO)) for own in busy]
            for own in busy:
                await editor.until_in(own, "agent_message_chunk")
            cancels = [agent.cancel(session_id=own) for own in [*ids, *ids, "unknown"]]
            await asyncio.gather(*cancels)
            reasons = {(await turn).stop_reason for turn in turns}
            again = [text_block("again")]
            after = [await agent.prompt(session_id=own, prompt=again) for own in busy]
            return busy, idle, reasons, {done.stop_reason for done in after}

    busy, idle, *reasons = asyncio.run(work())
    assert reasons == [{"cancelled"}, {"end_turn"}]
    for own in busy:
        kept = [(m.text, m.status) for m in store.messages(own)]
        assert kept[1:] == [("partial", "interrupted"), ("again", "complete"), ("next", "complete")]
    assert not any(store.exists(own) for own in idle)
