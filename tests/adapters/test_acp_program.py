"""`omniagent acp` as a program, started by an editor."""

import asyncio
import json
import sys
from base64 import b64encode

from acp import PROTOCOL_VERSION, schema, spawn_agent_process
from acp.helpers import text_block

from omniagent_cli import open_store
from omniagent_cli.config.prompts import own_file
from omniagent_cli.stores.encryption.cipher import parse_key
from tests import forked
from tests.adapters.acp_editor import Editor
from tests.cli.asking import variables
from tests.cli.scene import environment
from tests.servers.chat_server import STALL, Reply, answer, calls, chunk
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


def exchange(db, *lines, **environ):
    """Write lines to the program, close its stdin, and return the messages that it writes."""
    result = forked.run(
        ["-m", "omniagent_cli", "acp"],
        input="".join(f"{line}\n" for line in lines),
        env=environment(db, OMNIAGENT_MODEL="recall", **environ),
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def request(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


HELLO = request(1, "initialize", protocolVersion=PROTOCOL_VERSION)
NEW = request(2, "session/new", cwd="/project", mcpServers=[])


def test_an_encrypted_store_without_its_key_is_an_error_of_each_request(tmp_path):
    """An editor shows why it cannot connect, and how to give the key; with the key it works."""
    db, key = tmp_path / "sessions.db", b64encode(bytes(range(32))).decode()
    with open_store(db, encrypt=parse_key(key)) as store:
        store.append("s", {"role": "user", "content": "hidden"})
    listed = request(3, "session/list")
    locked = exchange(db, HELLO, NEW, listed)
    assert sorted(response["id"] for response in locked) == [1, 2, 3]
    for response in locked:
        assert f"{db} is encrypted; set store.key_file" in response["error"]["message"]
    opened = exchange(db, HELLO, NEW, listed, OMNIAGENT_ENCRYPTION_KEY=key)
    assert {r["id"] for r in opened if "result" in r} == {1, 2, 3}


def test_a_store_that_cannot_be_opened_is_an_error_of_each_request(tmp_path):
    """A file that is not a store is named in the response, and the program does not end."""
    db = tmp_path / "sessions.db"
    db.write_text("not a database, but long enough to be read as the header of one " * 8)
    answers = exchange(db, HELLO, NEW)
    assert sorted(response["id"] for response in answers) == [1, 2]
    assert all(str(db) in response["error"]["message"] for response in answers)


def test_pending_requests_are_answered_after_the_end_of_input(tmp_path):
    """A program that closes stdin after its requests still gets the responses."""
    answers = exchange(tmp_path / "sessions.db", HELLO, NEW, request(3, "session/list"))
    results = {response["id"]: response["result"] for response in answers if "id" in response}
    assert set(results) == {1, 2, 3}
    assert results[2]["sessionId"]


def test_an_editor_that_dies_in_a_turn_leaves_the_partial_answer(tmp_path, chat_server):
    """When both pipes break, the program stores what has arrived and ends."""
    server = chat_server(Reply([chunk(role="assistant", content="partial"), STALL]))
    db = tmp_path / "sessions.db"
    program = forked.start(
        ["-m", "omniagent_cli", "acp"],
        stdin=forked.PIPE,
        stdout=forked.PIPE,
        env=environment(db, **variables(server)),
        text=True,
    )
    with program:
        print(HELLO, NEW, sep="\n", file=program.stdin, flush=True)
        lines = (json.loads(line) for line in program.stdout)
        own_id = next(m["result"]["sessionId"] for m in lines if m.get("id") == 2)
        prompt = [{"type": "text", "text": "hello"}]
        sent = request(3, "session/prompt", sessionId=own_id, prompt=prompt)
        print(sent, file=program.stdin, flush=True)
        next(m for m in lines if "agent_message_chunk" in json.dumps(m))
        program.stdout.close()
        program.stdin.close()
        program.wait(60)
    with open_store(db) as store:
        messages = store.messages(own_id)
    assert [(m.text, m.status) for m in messages][1] == ("partial", "interrupted")


def test_the_program_writes_only_protocol_and_survives_malformed_lines(tmp_path):
    """Each line of stdout is a JSON-RPC message; a malformed line is answered with an error."""
    lines = [
        "{not json",
        "[]",
        '{"jsonrpc":"2.0","id":{},"method":"initialize"}',
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":1}}',
        '{"jsonrpc":"2.0","id":2,"method":"nothing","params":{}}',
        '{"jsonrpc":"2.0","id":3,"method":"session/new","params":{"cwd":7}}',
    ]
    answers = exchange(tmp_path / "sessions.db", *lines)
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    codes = {answer["id"]: answer["error"]["code"] for answer in answers if "error" in answer}
    assert (codes[2], codes[3]) == (-32601, -32602)
    assert [a["error"]["code"] for a in answers if a["id"] is None] == [-32700, -32600, -32600]
    (hello,) = [answer["result"] for answer in answers if answer["id"] == 1]
    assert hello["agentCapabilities"]["loadSession"] is True


def test_the_program_serves_an_editor_and_the_terminal_lists_its_session(tmp_path, chat_server):
    """A whole journey: a saved prompt, a server of the editor, a permission, the answer, then `sessions list`."""
    times = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    server = chat_server(calls(("clock__convert_time", times)), answer("Nine", " pm"))
    clock = schema.McpServerStdio(
        name="clock",
        command=sys.executable,
        args=["-m", "mcp_server_time", "--local-timezone=UTC"],
        env=[],
    )
    environ = environment(
        tmp_path / "sessions.db", XDG_CONFIG_HOME=str(tmp_path / "config"), **variables(server)
    )
    prompt = own_file("noon", environ)
    prompt.parent.mkdir(parents=True)
    prompt.write_text("When is it noon UTC in {{input}}?")
    command = [*forked.interpreter(), "-m", "omniagent_cli"]

    async def work():
        editor = Editor()
        spawned = spawn_agent_process(
            editor, *command, "acp", env=environ, use_unstable_protocol=True
        )
        async with spawned as (agent, _):
            await agent.initialize(protocol_version=PROTOCOL_VERSION)
            new = await agent.new_session(cwd=str(tmp_path), mcp_servers=[clock])
            done = await agent.prompt(session_id=new.session_id, prompt=[text_block("/noon Tokyo")])
            return new.session_id, done, editor

    own_id, done, editor = asyncio.run(work())
    assert (done.stop_reason, editor.texts()) == ("end_turn", "Nine pm")
    assert server.requests[0].body["messages"][-1]["content"] == "When is it noon UTC in Tokyo?"
    assert [call.title for _, call, _ in editor.requests] == ["clock__convert_time"]
    (ended,) = [u for _, u in editor.updates if u.session_update == "tool_call_update"]
    assert "T21:00:00+09:00" in ended.content[0].content.text
    listed = forked.run(
        ["-m", "omniagent_cli", "sessions", "list", "--json"], env=environ, check=True
    )
    (session,) = json.loads(listed.stdout)
    assert (session["id"], session["origin"]) == (
        own_id,
        {"cwd": str(tmp_path), "program": "omniagent acp"},
    )
