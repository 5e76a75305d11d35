"""Tool calls in an editor: files and changes that it can open, thoughts, and MCP servers that it passes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from acp import schema
from acp.helpers import text_block

from omniagent_cli.adapters.acp.file_changes import changes, locations
from omniagent_cli.agent.events import Finished, TextDelta, ThinkingDelta
from omniagent_cli.agent.tools.tool import tool
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.adapters.acp_editor import ScriptedHost, editing

SERVERS = Path(__file__).parents[1] / "servers"


def test_a_change_of_a_file_is_shown_before_it_is_allowed_and_afterwards(store):
    """The permission request and the result of a call that edits a file contain its diff and its path."""

    @tool(effect="write")
    def edit_file(path: str, edits: list[dict[str, str]]) -> str:
        """Edit a file."""
        return f"edited {path} {len(edits)} times"

    edits = [{"oldText": "a", "newText": "b"}, {"oldText": "c", "newText": ""}]
    script = [Say(calls=[("edit_file", {"path": "/p/x.py", "edits": edits})]), "done"]

    async def work():
        async with editing(ScriptedHost(store, *script, tools=[edit_file])) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            await agent.prompt(session_id=new.session_id, prompt=[text_block("go")])
            await editor.until("tool_call_update")
            (started,), (ended,) = editor.of("tool_call"), editor.of("tool_call_update")
            await agent.load_session(cwd="/project", session_id=new.session_id)
            return editor.requests[0][1], started, ended, editor.of("tool_call")[1]

    requested, started, ended, replayed = asyncio.run(work())
    for call in (requested, started, replayed):
        assert call.kind == "edit"
        assert [(place.path, place.line) for place in call.locations] == [("/p/x.py", None)]
        diffs = [(diff.path, diff.old_text, diff.new_text) for diff in call.content]
        assert diffs == [("/p/x.py", "a", "b"), ("/p/x.py", "c", "")]
    assert [each.type for each in ended.content] == ["diff", "diff", "content"]
    assert ended.content[2].content.text == "edited /p/x.py 2 times"


def test_thoughts_are_shown_apart_from_the_answer_and_replayed(store):
    """Thinking is sent as thoughts while it arrives, and again when the session is loaded."""

    class Thinking(ScriptedModel):
        async def stream(self, *request):
            del request
            for piece in ("It is ", "a sum."):
                yield ThinkingDelta(piece)
            yield TextDelta("Four")
            yield Finished("stop", "Four", extra={"thinking": "It is a sum."})

    async def work():
        async with editing(ScriptedHost(store, engine=Thinking)) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            await agent.prompt(session_id=new.session_id, prompt=[text_block("2+2?")])
            first = editor.texts("agent_thought_chunk"), editor.texts()
            editor.updates.clear()
            await agent.load_session(cwd="/project", session_id=new.session_id)
            return first, (editor.texts("agent_thought_chunk"), editor.texts())

    assert asyncio.run(work()) == (("It is a sum.", "Four"),) * 2


@pytest.fixture(scope="module")
def web():
    """An MCP server on 127.0.0.1; its URL."""
    command = [sys.executable, SERVERS / "mcp_server.py", "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.terminate()


def test_tools_of_an_http_server_of_the_editor_run_in_that_session_only(store, web):
    """A server over HTTP that the editor passes with one session offers its tools there, with permission."""
    server = schema.HttpMcpServer(type="http", name="web", url=web, headers=[])
    host = ScriptedHost(store, Say(calls=[("web__echo", {"text": "hello"})]), "done")

    async def work():
        async with editing(host) as (agent, editor):
            new = await agent.new_session(cwd="/project", mcp_servers=[server])
            other = await agent.new_session(cwd="/project")
            for each in (new, other):
                await agent.prompt(session_id=each.session_id, prompt=[text_block("go")])
            return editor

    editor = asyncio.run(work())
    assert [call.title for _, call, _ in editor.requests] == ["web__echo"]
    ended = [(u.status, u.content[0].content.text) for u in editor.of("tool_call_update")]
    assert ended[0] == ("completed", "hello")
    assert ended[1][0] == "failed"
    assert "unknown tool" in ended[1][1]


@pytest.mark.parametrize(
    ("arguments", "paths", "diffs"),
    [
        ({"path": "/a", "line": 7}, [("/a", 7)], []),
        ({"file_path": "/a", "old_string": "x", "new_string": "y"}, [("/a", None)], [("x", "y")]),
        ({"path": "/a", "old_str": "x", "new_str": "y"}, [("/a", None)], [("x", "y")]),
        ({"source": "/a", "destination": "/b", "line": 1}, [("/a", None), ("/b", None)], []),
        ({"paths": ["/a", "/b", "/a", "c"]}, [("/a", None), ("/b", None)], []),
        ({"uri": "file:///a%20b"}, [("/a b", None)], []),
        ({"path": "C:\\a"}, [("C:\\a", None)], []),
        ({"path": "/a", "dryRun": True, "old_str": "x", "new_str": "y"}, [("/a", None)], []),
        ({"path": "a", "old_str": "x", "new_str": "y"}, [], []),
        ({"uri": "https://example.com/a"}, [], []),
        ({"path": 7, "paths": "/a", "line": "1"}, [], []),
        ({"path": "/a", "line": True, "edits": [7, {"oldText": 1}]}, [("/a", None)], []),
        ("not an object", [], []),
    ],
)
def test_files_are_taken_from_arguments(arguments, paths, diffs):
    """Absolute paths and complete replacements are recognized; anything else is left out."""
    assert [(place.path, place.line) for place in locations(arguments)] == paths
    assert [(diff.old_text, diff.new_text) for diff in changes(arguments)] == diffs
