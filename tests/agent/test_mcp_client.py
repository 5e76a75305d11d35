"""MCP servers as skills: faithful ones over stdio and HTTP, one from the package index, and a number of evil ones."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from omniagent_cli import Agent
from omniagent_cli.agent.mcp.naming import tool_name
from omniagent_cli.agent.mcp.server import McpServer
from omniagent_cli.agent.mcp.server_log import LineSplitter, TruncatedLine
from omniagent_cli.agent.mcp.skill import MISSING, McpSkill
from omniagent_cli.errors import AgentError, ConfigError, InvalidRecord, OmniAgentError
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.servers.chat_server import Reply, document, status

SERVERS = Path(__file__).parents[1] / "servers"
FAITHFUL = (sys.executable, str(SERVERS / "mcp_server.py"))
GAME = ("sh", "-c", r"printf 'Welcome to the \033[1mgame\033[0m! Press any key\n'; cat >/dev/null")
NO_WAIT = (0.0, 0.0, 0.0)


def evil(kind, **options):
    return McpServer("evil", (sys.executable, str(SERVERS / "mcp_evil.py"), kind), **options)


@asynccontextmanager
async def opened(server, **options):
    """Open a skill and yield it with its tools by the server's names."""
    skill = McpSkill(server, restart_seconds=NO_WAIT, **options)
    try:
        tools = await skill.open(None)
        yield skill, tools
    finally:
        await skill.aclose()


def named(tools, name):
    return next(tool for tool in tools if tool.name.endswith(f"__{name}"))


def calling(server, name="go", **arguments):
    """Start a server, call one tool, close; return the answer."""

    async def main():
        async with opened(server) as (_, tools):
            return await named(tools, name).run(**arguments)

    return asyncio.run(main())


def failure(server, name="go", **arguments):
    """Start a server, and return the words in which it, or a call of a tool, failed."""
    with pytest.raises(OmniAgentError) as caught:
        calling(server, name, **arguments)
    return str(caught.value)


def is_running(pid):
    """Tell whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def eventually(true, seconds=20.0):
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


# A server that does everything right.


@pytest.fixture(scope="module")
def web():
    """A faithful server on 127.0.0.1; its URL."""
    with subprocess.Popen(
        [*FAITHFUL, "http"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(params=["stdio", "http"])
def faithful(request, tmp_path):
    """The same server, on both transports."""
    if request.param == "http":
        return McpServer("kind", url=request.getfixturevalue("web"))
    return McpServer("kind", FAITHFUL, {"NOTES": str(tmp_path / "notes")})


def test_tools_work_over_both_transports(faithful, tmp_path):
    """Tools are listed with schemas, called, and their results of every kind become text; the server hears of a cancel."""

    async def main():
        async with opened(faithful) as (skill, tools):
            add = named(tools, "add")
            assert add.name == "kind__add"
            assert add.description == "Add two numbers."
            assert add.parameters["properties"]["a"]["type"] == "integer"
            assert await add.run(a=2, b=3) == "5"
            both = await asyncio.gather(add.run(a=1, b=1), add.run(a=2, b=2))
            assert both == ["2", "4"]
            kinds = (await named(tools, "many_kinds").run()).splitlines()
            assert kinds == [
                "words\ufffd]0;owned\ufffd",
                "[image image/png, 9 bytes: binary, not shown]",
                "note://1:",
                "from a resource",
                "[link to file:///var/log/x, 12 bytes]",
                '{"n":1}',
            ]
            with pytest.raises(AgentError, match="the dog ate \ufffd\\[31mit"):
                await named(tools, "fail").run()
            with pytest.raises(AgentError, match="kind: "):
                await named(tools, "ask_model").run()

            hears = tmp_path / "hears"
            waiting = asyncio.create_task(named(tools, "wait_for_cancel").run(notes=str(hears)))
            await eventually(lambda: hears.exists() and hears.read_text() == "waiting")
            waiting.cancel()
            await eventually(lambda: hears.read_text() == "cancelled")
            assert await add.run(a=2, b=3) == "5"

            await named(tools, "grow").run()
            await eventually(lambda: any(tool.name == "kind__grown" for tool in tools))
            assert await named(tools, "grown").run() == "new"
            assert skill.excluded_tools == []

    asyncio.run(main())


def test_what_a_server_says_of_its_tools_is_believed_only_when_it_warns(web):
    """A tool that says it only reads is asked about, unless the settings trust the server; one that destroys is believed."""

    async def effects(**options):
        async with opened(McpServer("kind", url=web, **options)) as (_, tools):
            return {name: named(tools, name).effect for name in ("add", "remember", "forget")}

    assert asyncio.run(effects()) == {"add": "write", "remember": "write", "forget": "destroy"}
    trusted = asyncio.run(effects(trust_hints=True))
    assert trusted == {"add": "read", "remember": "write", "forget": "destroy"}


def test_a_server_does_not_get_the_keys_of_models(monkeypatch):
    """Its environment is what programs need and what the settings name, and variables can be named there."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("TOKEN", "t0k")
    told = calling(McpServer("kind", FAITHFUL, {"MINE": "a ${TOKEN} b"}), "environment")
    assert "sk-secret" not in told
    assert '"MINE": "a t0k b"' in told
    assert '"PATH"' in told
    with pytest.raises(
        ConfigError,
        match=r"mcp\.servers\.kind\.headers\.A refers to \$\{NOT_SET\}, which is not set",
    ):
        calling(McpServer("kind", url="http://127.0.0.1:9", headers={"A": "${NOT_SET}"}))


def test_a_server_from_the_package_index():
    """mcp-server-time, which others wrote, answers."""
    server = McpServer("clock", (sys.executable, "-m", "mcp_server_time", "--local-timezone=UTC"))
    told = calling(
        server, "convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"
    )
    assert "T21:00:00+09:00" in told


def test_any_loop_can_ask():
    """The server outlives the loop it was first needed in, so an agent can be asked with asyncio.run again and again."""
    model = ScriptedModel(*[Say(calls=[("evil__count", {})]), "fine"] * 3)
    skill = McpSkill(evil("counts", trust_hints=True))
    with Agent(model, skills=[skill]) as agent:
        assert asyncio.run(agent.aprocess("go")) == "fine"
        assert asyncio.run(agent.aprocess("go")) == "fine"
        assert agent.process("go") == "fine"
    results = [asked[-1]["content"] for asked in model.requests if asked[-1]["role"] == "tool"]
    assert results == ["1", "2", "3"]


def test_a_server_that_nobody_needs_is_not_started(tmp_path):
    """A skill that was never opened starts nothing, and closing it is fine."""
    mark = tmp_path / "mark"
    skill = McpSkill(McpServer("x", ("touch", str(mark))))
    asyncio.run(skill.aclose())
    assert not mark.exists()


# Servers that do not start.


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (McpServer("x", ("/no/such/program",)), "program not found: '/no/such/program'"),
        (McpServer("x", ("/",)), "Permission denied"),
        (McpServer("x", ("a\0b",)), "embedded null byte"),
        (evil("dies_at_start"), "exit code 3: Traceback: no \ufffd[31mdatabase"),
        (evil("never_answers", start_seconds=0.5), "no response within 0.5 s"),
        (McpServer("x", GAME, start_seconds=1.0), "it printed 'Welcome to the \ufffd[1mgame\ufffd[0m! Press any key'"),
        (evil("other_version"), "Unsupported protocol version from the server: 1999-01-01"),
        (McpServer("x", url="http://127.0.0.1:9/mcp"), "All connection attempts failed"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_start_is_told(server, words):
    """Whatever hinders it, one line names the server, the reason, and what it said last."""
    told = failure(server)
    assert told.startswith(f"the MCP server {server.name!r} could not be started: ")
    assert words in told
    assert "\x1b" not in told


def test_an_address_that_refuses_is_told(chat_server):
    """A web server that is no MCP server is told with what it answers."""
    told = failure(McpServer("web", url=chat_server().url + "/nothing"))
    assert told.startswith("the MCP server 'web' could not be started: ")
    assert "404" in told


def test_a_failed_start_can_be_tried_again(tmp_path):
    """What did not start is started anew when it is opened again."""

    async def main():
        program = tmp_path / "server"
        skill = McpSkill(McpServer("x", (str(program), "chatters")), restart_seconds=NO_WAIT)
        with pytest.raises(AgentError):
            await skill.open(None)
        program.write_text(
            f"#!/bin/sh\nexec '{sys.executable}' '{SERVERS / 'mcp_evil.py'}' chatters\n"
        )
        program.chmod(0o755)
        assert await (await skill.open(None))[0].run() == "went"
        await skill.aclose()

    asyncio.run(main())


# Servers that die.


def test_a_server_that_dies_in_a_call_is_told_and_started_again(tmp_path):
    """The call that was under way fails with its last words; the next one finds a new life."""

    async def main():
        async with opened(evil("dies_once", env={"MARK": str(tmp_path / "mark")})) as (_, tools):
            with pytest.raises(AgentError) as caught:
                await tools[0].run()
            assert str(caught.value) == (
                "the MCP server 'evil' ended before it answered; the call may have run: exit code 9"
            )
            assert (await tools[0].run()).startswith("alive as ")

    asyncio.run(main())


def test_a_server_that_always_dies_is_left_alone():
    """After some starts without an answer there is no other."""

    async def main():
        async with opened(evil("dies_mid_call")) as (skill, tools):
            told = []
            for _ in range(5):
                with pytest.raises(AgentError) as caught:
                    await tools[0].run()
                told.append(str(caught.value))
            assert [text.endswith("exit code 9: out of memory") for text in told] == [True] * 4 + [
                False
            ]
            assert "ended 3 times without a response and will not be restarted" in told[-1]
            assert skill.details == ["out of memory"]

    asyncio.run(main())


def pids(mark):
    return [int(pid) for pid in mark.read_text().split()]


@pytest.mark.parametrize("kind", ["stays", "leaves_child"])
def test_closing_leaves_nothing_behind(kind, tmp_path):
    """A server that does not want to end, and what it started, are gone after closing; nothing is left as a zombie."""
    mark = tmp_path / "mark"

    async def main():
        async with opened(evil(kind, env={"MARK": str(mark)})) as (_, tools):
            assert await tools[0].run() == "went"
            assert all(map(is_running, pids(mark)))
            assert os.getpgid(pids(mark)[0]) == pids(mark)[0] != os.getpgrp()
        await eventually(lambda: not any(map(is_running, pids(mark))))
        assert not Path(f"/proc/{pids(mark)[0]}").exists()

    asyncio.run(main())


def test_a_program_that_forgets_to_close_leaves_nothing_behind(tmp_path):
    """When a host program ends without closing its agent, a stubborn server is ended too."""
    mark = tmp_path / "mark"
    code = (
        "import asyncio, os, sys\n"
        "from omniagent_cli.agent.mcp.skill import McpSkill, McpServer\n"
        "server = McpServer('x', tuple(sys.argv[1:]), {'MARK': '${MARK}'})\n"
        "asyncio.run(McpSkill(server).open(None))\n"
    )
    command = [sys.executable, "-c", code, *evil("stays").argv]
    subprocess.run(command, env={**os.environ, "MARK": str(mark)}, check=True, timeout=60)
    asyncio.run(eventually(lambda: not any(map(is_running, pids(mark)))))


def test_closing_while_it_starts(tmp_path):
    """Closing does not wait for a start that takes long."""

    async def main():
        skill = McpSkill(evil("never_answers"))
        start = asyncio.create_task(skill.open(None))
        await eventually(lambda: skill._connection is not None)
        start.cancel()
        begun = time.monotonic()
        await skill.aclose()
        assert time.monotonic() - begun < 15  # not the 30 seconds of a start

    asyncio.run(main())


# Servers that flood, lie and wait.


@pytest.mark.parametrize("kind", ["chatters", "floods_stdout", "floods_stderr"])
def test_noise_does_not_matter(kind):
    """What is no message, messages nobody asked for and endless errors are bounded and do not hinder an answer."""

    async def main():
        async with opened(evil(kind)) as (skill, tools):
            assert await tools[0].run() == "went"
            assert len(skill.details) <= 20
            assert all(len(line) <= 300 for line in skill.details)

    asyncio.run(main())


def test_a_server_that_asks_without_listening_fills_nothing():
    """Answers to thousands of its questions, which it does not read, do not pile up, and its own answer arrives."""

    async def main():
        async with opened(evil("asks_for_ever")) as (_, tools):
            assert await tools[0].run() == "went"
            assert len(asyncio.all_tasks()) < 300

    asyncio.run(main())


def test_lists_that_change_all_the_time_are_not_asked_for_each_time():
    """Two thousand changes are a few requests."""
    told = calling(evil("changes_for_ever"))
    assert int(told.removeprefix("listed ")) < 500


def test_fifty_megabytes_are_an_error_of_that_call():
    """An answer that is too long is told and not kept; the server goes on, unless nobody can know whose answer it was."""

    async def main():
        async with opened(evil("huge")) as (_, tools):
            for how in ("head", "tail"):
                with pytest.raises(
                    AgentError, match="the response is too large: more than 16 MiB in one message"
                ):
                    await tools[0].run(how=how)
            assert await tools[0].run(how="small") == "small"
            with pytest.raises(AgentError, match=r"ended before it answered.*16 MiB"):
                await tools[0].run(how="lost")
            assert await tools[0].run(how="small") == "small"

    asyncio.run(main())


def test_lying_tools_are_left_out():
    """Broken tools are left out and named, hostile names and texts made harmless, results are checked by no schema of theirs."""

    async def main():
        async with opened(evil("lies")) as (skill, tools):
            assert [tool.name for tool in tools] == [
                "evil__go",
                "evil__evil_0_owned_name-39b951f4",
                tool_name("evil", "g" * 300),
                "evil__pattern",
            ]
            assert tools[1].description == "hello\ufffd]0;owned\ufffd"
            assert tools[1].parameters["properties"]["a"]["description"] == "\ufffd]0;owned\ufffd"
            assert tools[0].parameters == {"type": "object", "properties": {}}
            told = [line.split(": ") for line in skill.excluded_tools]
            assert {tuple(line[:2]) for line in told} == {("MCP server evil", "tool not available")}
            assert [line[2] for line in told] == [
                "schema", "array", "properties", "required", "huge",
                "a tool without a name", "a tool without a name", "go",
            ]  # fmt: skip
            assert await named(tools, "pattern").run() == 'ok\n{"a":"' + "a" * 60 + '!"}'
            with pytest.raises(AgentError, match="sent an invalid response"):
                await tools[0].run()

    asyncio.run(main())


def test_a_server_of_many_broken_tools_is_told_in_a_few_lines():
    """Hundreds of tools that are left out do not fill the screen."""

    async def main():
        async with opened(evil("doubles")) as (skill, tools):
            assert len(tools) == 1
            assert len(skill.excluded_tools) == 9
            assert skill.excluded_tools[-1] == "MCP server evil: 192 more tools not available"

    asyncio.run(main())


def test_an_answer_that_cannot_be_read_is_an_error_of_that_call():
    """Nobody waits for an answer that came and is broken."""
    assert failure(evil("deep")) == "evil: the response is malformed or nested too deeply"


def test_arguments_that_cannot_be_sent_harm_no_other_call(web):
    """Half characters and arguments nested too deeply, as a model may write them, end neither transport."""
    deep, fits = [], []
    for _ in range(600):
        deep = [deep]
    for _ in range(190):
        fits = [fits]

    async def main(server, name):
        async with opened(server) as (_, tools):
            tool = named(tools, name)
            with pytest.raises(InvalidRecord, match="nested more than 200 deep"):
                await tool.run(text=deep)
            return await tool.run(text="half \ud800", more=fits)

    assert asyncio.run(main(evil("chatters"), "go")) == "went"
    assert asyncio.run(main(McpServer("kind", url=web), "echo")) == "half ?"


def test_an_endless_list_of_tools_ends():
    """Pages without end are read up to a bound."""

    async def main():
        async with opened(evil("endless_list")) as (_, tools):
            assert len(tools) == 50

    asyncio.run(main())


def test_a_server_gets_nothing_of_the_client():
    """Models, questions to the person and files are not announced, and refused when asked for all the same."""
    assert calling(evil("asks")) == "error error error {}"


def test_a_server_that_takes_nothing_is_given_up():
    """A call that cannot even be sent can be cancelled, and the server closed."""

    async def main():
        async with opened(evil("deaf")) as (_, tools):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await tools[0].run(text="x" * 10_000_000)

    asyncio.run(main())


# Servers with an address that go wrong.


class Site:
    """An MCP server over HTTP by hand; `tools/call` is answered as told."""

    def __init__(self, chat_server, *replies):
        self.replies = list(replies)
        self.sessions = 0
        self.web = chat_server(*[self.answer] * 100)
        self.web.models_reply = status(405)  # no stream of its own

    @property
    def server(self):
        return McpServer("site", url=f"{self.web.url}/chat/completions", headers={"X-Key": "k"})

    def answer(self, request):
        method, number = request.body["method"], request.body.get("id")
        if method == "tools/call":
            reply = self.replies.pop(0)
            return reply(number) if callable(reply) else reply
        if method == "initialize":
            self.sessions += 1
            info = {"name": "site", "version": "0"}
            version = request.body["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
            session = {"Mcp-Session-Id": f"s{self.sessions}", "Content-Type": "application/json"}
            return Reply(headers=session, body=rpc(number, result))
        if method == "tools/list":
            tool = {"name": "go", "inputSchema": {"type": "object"}}
            return document(rpc(number, {"tools": [tool]}), "application/json")
        if number is None:
            return Reply(status=202, body=b"")
        return status(404)


def rpc(number, result):
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def test_long_and_compressed_answers_over_http_are_errors_of_that_call(chat_server):
    """A body or an event that is too long, or compressed, fails one call; the next is answered; headers are sent."""

    def bomb(number):
        body = gzip.compress(rpc(number, text("x" * 1000)))
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return Reply(headers=headers, body=body)

    site = Site(
        chat_server,
        lambda number: document(rpc(number, text("x" * 17_000_000)), "application/json"),
        lambda number: document(b"data: " + b"x" * 17_000_000 + b"\n\n", "text/event-stream"),
        bomb,
        lambda number: document(b"<html>", "text/html"),
        lambda number: document(b"", "text/event-stream"),
        lambda number: document(rpc(number, text("fine")), "application/json"),
    )

    async def main():
        async with opened(site.server) as (_, tools):
            for words in (
                "larger than 16 MiB",
                "exceed",
                "compressed",
                "text/html",
                "without a response",
            ):
                with pytest.raises(AgentError, match=words):
                    await tools[0].run()
            assert await tools[0].run() == "fine"

    asyncio.run(main())
    assert all(request.headers["x-key"] == "k" for request in site.web.requests)


def test_a_server_that_forgot_us_is_met_again(chat_server):
    """When the session at an HTTP server has ended, the next call begins another."""
    site = Site(
        chat_server,
        status(404),
        lambda number: document(rpc(number, text("again")), "application/json"),
    )

    async def main():
        async with opened(site.server) as (_, tools):
            with pytest.raises(AgentError, match="site: Session terminated"):
                await tools[0].run()
            assert await tools[0].run() == "again"

    asyncio.run(main())
    assert site.sessions == 2


def test_a_server_that_is_gone_is_told(chat_server):
    """A call to an address where nobody listens any more says so, and so does the next."""
    site = Site(chat_server)

    async def main():
        async with opened(site.server) as (_, tools):
            site.web.close()
            # What still answers on a connection that is open is not the server that was.
            with pytest.raises(AgentError, match="ended before it answered"):
                await tools[0].run()
            with pytest.raises(
                AgentError, match="could not be started: All connection attempts failed"
            ):
                await tools[0].run()

    asyncio.run(main())


@pytest.mark.parametrize("code", [401, 403, 500])
def test_an_address_that_refuses_says_how(chat_server, code):
    """The status of the answer is in the line that tells the failure."""
    web = chat_server(*[status(code)] * 5)
    told = failure(McpServer("web", url=f"{web.url}/chat/completions"))
    assert told.startswith("the MCP server 'web' could not be started: ")
    assert f"HTTP {code}" in told


# Parts.


def test_lines_are_cut_wherever_the_pieces_end():
    """However a stream is cut into pieces, the lines are the same, and too long ones keep their edges."""
    text = b"one\n\ntwo two\n" + b"h" * 30 + b"x" * 500 + b"t" * 5 + b"\nlast"
    for size in (1, 2, 7, 600):
        lines = LineSplitter(100)
        found = [
            line
            for start in range(0, len(text), size)
            for line in lines.feed(text[start : start + size])
        ]
        assert found[:3] == [b"one", b"", b"two two"]
        assert isinstance(found[3], TruncatedLine)
        assert found[3].head.startswith(b"h" * 30)
        assert found[3].tail.endswith(b"xt" + b"t" * 4)
        assert len(found[3].tail) <= 200
        assert (len(found), lines.rest()) == (4, b"last")


def test_names_never_clash():
    """Whatever servers and tools are called, names fit every provider and no two tools share one."""
    parts = [
        "a",
        "a_",
        "_a",
        "a__b",
        "b",
        "__",
        "",
        "ä",
        "ö",
        "a b",
        "a.b",
        "x" * 64,
        "x" * 65,
        "\x1b[0m",
        "\ud800",
    ]
    names = [tool_name(server, tool) for server in parts if server for tool in parts]
    assert len(set(names)) == len(names)
    assert all(
        0 < len(name) <= 64
        and name.replace("_", "a").replace("-", "a").isalnum()
        and name.isascii()
        for name in names
    )
    assert tool_name("time", "get_current_time") == "time__get_current_time"


def test_without_the_extra_one_line_says_what_to_install():
    """Any number of servers without the library are one skill whose opening names the extra."""
    code = (
        "import asyncio, sys\n"
        "sys.modules['mcp'] = None\n"
        "from omniagent_cli.agent.mcp.skill import McpServer, McpSkill, mcp_skills\n"
        "servers = [McpServer('a', ('true',)), McpServer('b', ('true',))]\n"
        "for skill in [*mcp_skills(servers), *mcp_skills([]), McpSkill(servers[0])]:\n"
        "    try: asyncio.run(skill.open(None))\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == f"AgentError {MISSING}\n" * 2
    assert told.stderr == ""
