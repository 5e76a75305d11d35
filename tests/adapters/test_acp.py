"""`omniagent acp`: sessions for editors, driven by the client of the protocol's own library."""

import asyncio
from base64 import b64encode

import pytest
from acp import PROTOCOL_VERSION, RequestError, schema
from acp.helpers import embedded_text_resource, image_block, resource_block, text_block

from omniagent_cli import open_store
from omniagent_cli.agent.tools.tool import tool
from omniagent_cli.errors import UsageError
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.adapters.acp_editor import ScriptedHost, editing
from tests.stores.redis_server import RedisServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def test_a_turn_is_streamed_and_stored_with_the_directory(store):
    """A prompt streams its answer, reports its usage and is an ordinary session with its directory."""

    async def work():
        async with editing(ScriptedHost(store, "Hello you")) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            done = await agent.prompt(session_id=new.session_id, prompt=[text_block("Hi")])
            await editor.until("available_commands_update")
            return new, done, editor.texts()

    new, done, text = asyncio.run(work())
    assert (done.stop_reason, done.usage.total_tokens, text) == ("end_turn", 15, "Hello you")
    session = store.get(new.session_id)
    assert [m.text for m in session.messages] == ["Hi", "Hello you"]
    assert session.origin == {"cwd": "/project", "program": "test-editor"}


def test_an_unused_session_is_not_stored(store):
    """A session without a message leaves nothing in the store."""

    async def work():
        async with editing(ScriptedHost(store)) as (agent, _):
            await agent.new_session(cwd="/project")

    asyncio.run(work())
    assert store.count() == 0


def test_sessions_are_loaded_resumed_forked_closed_and_deleted(store):
    """An editor opens what the terminal began, copies it, closes and deletes it."""
    store.append("terminal", {"role": "user", "content": "first"})
    store.append("terminal", {"role": "assistant", "content": "second"})

    async def work():
        async with editing(ScriptedHost(store, "third")) as (agent, editor):
            loaded = await agent.load_session(cwd="/project", session_id="terminal")
            shown = editor.texts("user_message_chunk"), editor.texts()
            await agent.prompt(session_id="terminal", prompt=[text_block("more")])
            await agent.resume_session(cwd="/project", session_id="terminal")
            fork = await agent.fork_session(cwd="/project", session_id="terminal")
            await agent.close_session(session_id=fork.session_id)
            with pytest.raises(RequestError, match="not open"):
                await agent.prompt(session_id=fork.session_id, prompt=[text_block("x")])
            await agent._conn.send_request("session/delete", {"sessionId": "terminal"})
            with pytest.raises(RequestError, match="terminal"):
                await agent.load_session(cwd="/project", session_id="terminal")
            return loaded, shown, fork.session_id

    loaded, shown, fork = asyncio.run(work())
    assert loaded.modes.current_mode_id == "ask"
    assert shown == ("first", "second")
    assert [m.text for m in store.messages(fork)] == ["first", "second", "more", "third"]
    assert [entry.session_id for entry in store.trash()] == ["terminal"]


def test_a_session_that_another_program_renames_continues(store):
    """The editor keeps its id, and turns, commands and deletion go to the renamed session."""

    async def work():
        async with editing(ScriptedHost(store, "A", "B")) as (agent, _):
            own_id = (await agent.new_session(cwd="/project")).session_id
            await agent.prompt(session_id=own_id, prompt=[text_block("a")])
            with open_store(store.url) as terminal:
                terminal.rename(own_id, "renamed")
            for text in ("b", "/title Both"):
                await agent.prompt(session_id=own_id, prompt=[text_block(text)])
            kept = store.get("renamed")
            await agent._conn.send_request("session/delete", {"sessionId": own_id})
            return own_id, kept

    own_id, kept = asyncio.run(work())
    assert ([m.text for m in kept.messages], kept.title) == (["a", "A", "b", "B"], "Both")
    assert not store.exists(own_id)
    assert [entry.session_id for entry in store.trash()] == ["renamed"]


def test_a_session_that_another_program_deletes_is_created_again(store):
    """The next message of the editor starts the session again, under its id."""

    async def work():
        async with editing(ScriptedHost(store, "A", "B")) as (agent, _):
            own_id = (await agent.new_session(cwd="/project")).session_id
            await agent.prompt(session_id=own_id, prompt=[text_block("a")])
            with open_store(store.url) as terminal:
                terminal.delete(own_id)
            await agent.prompt(session_id=own_id, prompt=[text_block("b")])
            return own_id

    assert [m.text for m in store.messages(asyncio.run(work()))] == ["b", "B"]


def test_the_sessions_of_a_directory_are_those_that_began_there(store):
    """A listing is limited to a directory if the editor names one; opening a session elsewhere does not move it."""
    message = {"role": "user", "content": "x"}
    for own_id, cwd in (("here", "/project"), ("below", "/project/sub"), ("there", "/other")):
        store.write(own_id, message, origin={"cwd": cwd})
    store.append("unknown", message)
    store.write("strange", message, origin={"cwd": 7})

    async def work():
        async with editing(ScriptedHost(store, "yes")) as (agent, _):
            await agent.resume_session(session_id="there", cwd="/project")
            await agent.prompt(session_id="there", prompt=[text_block("x")])
            pages = [await agent.list_sessions(cwd=cwd) for cwd in ("/project", "/none", None)]
            return [{s.session_id: s.cwd for s in page.sessions} for page in pages]

    of_project, of_none, everything = asyncio.run(work())
    assert (of_project, of_none) == ({"here": "/project"}, {})
    assert everything == {
        "here": "/project",
        "below": "/project/sub",
        "there": "/other",
        "unknown": "/",
        "strange": "/",
    }


def test_listing_continues_with_its_cursor(store):
    """More sessions than one page are listed completely, each once."""
    for number in range(60):
        store.append(f"s{number}", {"role": "user", "content": "x"})

    async def work():
        async with editing(ScriptedHost(store)) as (agent, _):
            first = await agent.list_sessions()
            rest = await agent.list_sessions(cursor=first.next_cursor)
            with pytest.raises(RequestError, match="cursor"):
                await agent.list_sessions(cursor="{}")
            return first, rest

    first, rest = asyncio.run(work())
    assert (len(first.sessions), len(rest.sessions), rest.next_cursor) == (50, 10, None)
    assert len({s.session_id for s in [*first.sessions, *rest.sessions]}) == 60


@pytest.mark.parametrize(
    ("choice", "requests", "runs"),
    [("allow_once", 2, 2), ("allow_always", 1, 2), ("reject_once", 2, 0), ("reject_always", 1, 0)],
)
def test_permission_requests_decide_whether_a_tool_runs(store, choice, requests, runs):
    """Each of the four answers applies to one call or to the session."""
    ran = []

    @tool(effect="write")
    def note(text: str) -> str:
        """Write a note."""
        ran.append(text)
        return "written"

    script = [Say(calls=[("note", {"text": "a"})]), Say(calls=[("note", {"text": "b"})]), "done"]

    async def work():
        async with editing(ScriptedHost(store, *script, tools=[note])) as (agent, editor):
            editor.choice = choice
            new = await agent.new_session(cwd="/project")
            await agent.prompt(session_id=new.session_id, prompt=[text_block("go")])
            return editor

    editor = asyncio.run(work())
    assert (len(editor.requests), len(ran)) == (requests, runs)
    _, call, kinds = editor.requests[0]
    assert kinds == ["allow_once", "allow_always", "reject_once", "reject_always"]
    started = [u for _, u in editor.updates if u.session_update == "tool_call"]
    assert (started[0].tool_call_id, started[0].raw_input) == (call.tool_call_id, {"text": "a"})
    ended = [u.status for _, u in editor.updates if u.session_update == "tool_call_update"]
    assert ended == ["completed" if runs else "failed"] * 2


def test_read_only_mode_denies_without_a_request(store):
    """In read-only mode a tool that writes does not run, and the editor is not interrupted."""

    @tool(effect="write")
    def note() -> str:
        """Write a note."""
        raise AssertionError

    async def work():
        script = [Say(calls=[("note", {})]), "done"]
        async with editing(ScriptedHost(store, *script, tools=[note])) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            await agent.set_session_mode(session_id=new.session_id, mode_id="read-only")
            with pytest.raises(RequestError, match="unknown mode"):
                await agent.set_session_mode(session_id=new.session_id, mode_id="x")
            await agent.prompt(session_id=new.session_id, prompt=[text_block("go")])
            return editor.requests, store.messages(new.session_id)

    requests, messages = asyncio.run(work())
    assert requests == []
    assert "denied in read-only mode" in messages[2].text


def test_the_model_of_a_session_is_a_config_option(store):
    """The chosen model answers the next turn."""

    async def work():
        async with editing(ScriptedHost(store)) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            changed = await agent.set_config_option(
                session_id=new.session_id, config_id="model", value="scripted:other"
            )
            await agent.prompt(session_id=new.session_id, prompt=[text_block("x")])
            return new.config_options, changed.config_options, editor.texts()

    before, after, text = asyncio.run(work())
    assert [option.value for option in before[0].options] == ["scripted:model", "scripted:other"]
    assert (before[0].current_value, after[0].current_value) == ("scripted:model", "scripted:other")
    assert text == "by the other"


def test_concurrent_requests_to_open_one_session_leave_one_agent(store):
    """A flood of requests for one session opens it in turn; each replaced agent is closed."""
    store.append("s", {"role": "user", "content": "x"})
    host = ScriptedHost(store, "yes")
    agents = []
    make = host.agent

    def agent_of(*arguments):
        agents.append(make(*arguments))
        return agents[-1]

    host.agent = agent_of

    async def work():
        async with editing(host) as (agent, _):
            resumed = (agent.resume_session(session_id="s", cwd="/project") for _ in range(30))
            await asyncio.gather(*resumed)
            await agent.prompt(session_id="s", prompt=[text_block("y")])

    asyncio.run(work())
    assert len(agents) == 30
    for closed in agents:
        with pytest.raises(UsageError, match="closed"):
            closed.process("z")


def test_new_sessions_never_share_an_id(store, monkeypatch):
    """A generated id that is open or stored already is not used again."""
    ids = iter(["stored", "one", "one", "two"])
    monkeypatch.setattr("omniagent_cli.adapters.acp.server.new_session_id", lambda _: next(ids))
    store.append("stored", {"role": "user", "content": "x"})

    async def work():
        async with editing(ScriptedHost(store)) as (agent, _):
            both = (agent.new_session(cwd="/project") for _ in range(2))
            return [new.session_id for new in await asyncio.gather(*both)]

    assert asyncio.run(work()) == ["one", "two"]


def test_sessions_are_open_up_to_a_limit(store, monkeypatch):
    """A client that opens sessions without end is refused, and can open another after closing one."""
    monkeypatch.setattr("omniagent_cli.adapters.acp.server.MAX_OPEN_SESSIONS", 3)

    async def work():
        async with editing(ScriptedHost(store)) as (agent, _):
            requests = (agent.new_session(cwd="/project") for _ in range(10))
            done = await asyncio.gather(*requests, return_exceptions=True)
            opened = [new for new in done if not isinstance(new, RequestError)]
            await agent.close_session(session_id=opened[0].session_id)
            await agent.new_session(cwd="/project")
            return opened

    assert len(asyncio.run(work())) == 3


def test_an_editor_that_disconnects_in_a_turn_keeps_the_partial_answer(store):
    """The end of the connection stores what has arrived."""

    async def work():
        async with editing(ScriptedHost(store, Say("partial", hang=True))) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            turn = asyncio.create_task(
                agent.prompt(session_id=new.session_id, prompt=[text_block("x")])
            )
            await editor.until("agent_message_chunk")
        with pytest.raises(ConnectionError):
            await turn
        return new.session_id

    messages = store.messages(asyncio.run(work()))
    assert [(m.text, m.status) for m in messages][1] == ("partial", "interrupted")


def test_pictures_and_embedded_files_are_attachments(store):
    """Content blocks are stored as attached files are; a wrong type is an error of the request."""

    async def work():
        async with editing(ScriptedHost(store, "seen")) as (agent, _):
            new = await agent.new_session(cwd="/project")
            blocks = [
                text_block("look"),
                image_block(b64encode(PNG).decode(), "image/png"),
                resource_block(embedded_text_resource("file:///p/a%20b.py", "print(1)")),
            ]
            await agent.prompt(session_id=new.session_id, prompt=blocks)
            wrong = image_block(b64encode(b"\0\1").decode(), "image/png")
            with pytest.raises(RequestError, match="cannot attach"):
                await agent.prompt(session_id=new.session_id, prompt=[wrong])
            return new.session_id

    own_id = asyncio.run(work())
    message = store.messages(own_id)[0]
    assert "a b.py" in message.text
    assert "print(1)" in message.text
    assert message.content[1]["media_type"] == "image/png"
    assert len(store.attachments(own_id)) == 1


def test_mcp_servers_of_the_editor_reach_the_agent(store):
    """Servers over stdio and HTTP are passed on; another transport is an error."""
    host = ScriptedHost(store)

    async def work():
        async with editing(host) as (agent, _):
            servers = [
                schema.McpServerStdio(
                    name="a",
                    command="run",
                    args=["-x"],
                    env=[schema.EnvVariable(name="K", value="V")],
                ),
                schema.HttpMcpServer(type="http", name="b", url="http://localhost/", headers=[]),
            ]
            await agent.new_session(cwd="/project", mcp_servers=servers)
            sse = schema.SseMcpServer(type="sse", name="c", url="http://localhost/", headers=[])
            with pytest.raises(RequestError, match="stdio and HTTP"):
                await agent.new_session(cwd="/project", mcp_servers=[sse])

    asyncio.run(work())
    (first, second) = host.requests[0].servers
    assert (first.argv, first.env, second.url) == (("run", "-x"), {"K": "V"}, "http://localhost/")


def test_fifty_sessions_run_concurrently(store):
    """Fifty turns in one process run at the same time, each in its own session."""

    class Together(ScriptedModel):
        async def stream(self, *request):
            await barrier.wait()
            async for event in super().stream(*request):
                yield event

    barrier = asyncio.Barrier(50)
    host = ScriptedHost(store, "yes", engine=Together)

    async def work():
        async with editing(host) as (agent, _):
            new = [await agent.new_session(cwd="/project") for _ in range(50)]
            turns = (
                agent.prompt(session_id=n.session_id, prompt=[text_block(n.session_id)])
                for n in new
            )
            async with asyncio.timeout(60):
                return await asyncio.gather(*turns), [n.session_id for n in new]

    done, ids = asyncio.run(work())
    assert {turn.stop_reason for turn in done} == {"end_turn"}
    assert [[m.text for m in store.messages(own)] for own in ids] == [[own, "yes"] for own in ids]


def test_a_closed_store_is_an_error_of_the_request(store):
    """A store that fails makes requests fail; the connection remains usable."""

    async def work():
        async with editing(ScriptedHost(store, "x")) as (agent, _):
            new = await agent.new_session(cwd="/project")
            store.close()
            with pytest.raises(RequestError, match="closed"):
                await agent.prompt(session_id=new.session_id, prompt=[text_block("x")])
            return await agent.initialize(protocol_version=PROTOCOL_VERSION)

    assert asyncio.run(work()).protocol_version == PROTOCOL_VERSION


def test_a_server_that_goes_away_is_an_error_until_it_is_back():
    """The turn that is running and later requests fail while the store is down; then the session continues."""
    server = RedisServer()

    class Outage(ScriptedModel):
        async def stream(self, *request):
            async for event in super().stream(*request):
                yield event
                if len(self.requests) == 2 and server.process.poll() is None:
                    await asyncio.to_thread(server.kill)

    async def work(store):
        host = ScriptedHost(store, "one", "shown only", "two", engine=Outage)
        async with editing(host) as (agent, editor):
            own_id = (await agent.new_session(cwd="/project")).session_id
            await agent.prompt(session_id=own_id, prompt=[text_block("a")])
            failed = [
                await asyncio.gather(request, return_exceptions=True)
                for request in (
                    agent.prompt(session_id=own_id, prompt=[text_block("b")]),
                    agent.prompt(session_id=own_id, prompt=[text_block("c")]),
                    agent.list_sessions(),
                    agent.resume_session(session_id="other", cwd="/project"),
                )
            ]
            await asyncio.to_thread(server.start)
            await agent.prompt(session_id=own_id, prompt=[text_block("c")])
            return own_id, [str(error) for (error,) in failed], editor.texts()

    try:
        with open_store(server.url, ttl=None) as store:
            own_id, errors, shown = asyncio.run(work(store))
            kept = [message.text for message in store.messages(own_id)]
    finally:
        server.stop()
    assert all("cannot be reached" in error for error in errors), errors
    assert shown.startswith("oneshown")
    assert (kept[:3], kept[-2:]) == (["a", "one", "b"], ["c", "two"])
