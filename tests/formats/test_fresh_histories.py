"""Import of sessions that other tools have just written: each runs against a local server, with a tool call and two turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_back_to_other_tools import CodexServer, installed, run

from omniagent_cli.config.external_histories import find_histories
from omniagent_cli.formats.importer import import_path
from omniagent_cli.stores import open_store
from tests.servers.anthropic_server import AnthropicServer, tool_block
from tests.servers.anthropic_server import message as anthropic_message
from tests.servers.anthropic_server import text_block as anthropic_text
from tests.servers.chat_server import ChatServer, answer, calls
from tests.servers.responses_server import call, output
from tests.servers.responses_server import text as output_text

SHELLS = ("bash", "run_shell_command", "Bash", "exec_command")
COMMAND = "cat a.txt"


def arguments_for(schema: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a shell tool that are valid against its parameters."""
    values = {"command": COMMAND, "cmd": COMMAND, "is_background": False}
    known = {key: values[key] for key in schema["properties"] if key in values}
    return known | {key: "Read" for key in schema.get("required", ()) if key not in known}


def wants_call(messages: list[dict[str, Any]]) -> bool:
    """Return True if the last prompt requests a tool and has no result yet."""
    last = json.dumps([one for one in messages if one.get("role") != "system"][-1])
    return "TOOL" in last and "tool_result" not in last


class ChatModel(ChatServer):
    """Model that reads a file when the prompt requests a tool, in Chat Completions."""

    def echo(self, body: Any) -> Any:
        tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", ())}
        name = next((name for name in SHELLS if name in tools), None)
        if name and body["messages"][-1]["role"] == "user" and wants_call(body["messages"]):
            return calls((name, arguments_for(tools[name]["parameters"])), text="I look.")
        return answer("It is done.")


class ClaudeModel(AnthropicServer):
    """The same model in the Messages protocol; each answer has an id."""

    def knows(self, path: str) -> bool:
        return path.startswith("/v1/messages")

    def echo(self, body: Any) -> Any:
        tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools", ())}
        blocks = [anthropic_text(0, "It is done.")]
        if "Bash" in tools and wants_call(body["messages"]):
            arguments = json.dumps(arguments_for(tools["Bash"]))
            blocks = [anthropic_text(0, "I look."), tool_block(1, "toolu_1", "Bash", arguments)]
        reply = anthropic_message(*blocks, reason="tool_use" if len(blocks) > 1 else "end_turn")
        reply.parts[0]["message"]["id"] = f"msg_{len(self.chats())}"
        return reply


class CodexModel(CodexServer):
    """The same model in the Responses protocol."""

    def echo(self, body: Any) -> Any:
        tools = {tool.get("name"): tool for tool in body["tools"]}
        if body["input"][-1].get("role") == "user" and wants_call(body["input"]):
            arguments = arguments_for(tools["exec_command"]["parameters"])
            return output(output_text("I look."), call("exec_command", arguments))
        return output(output_text("It is done."))


class Tool(NamedTuple):
    """A tool from npm.

    Attributes:
        package, program: what is installed, and its command.
        server: the model it talks to.
        first, again: arguments of the first and of the continuing turn, before the prompt.
        settings: path and content of its settings; ``@URL@`` is replaced by the address of the server.
        environ: variables, likewise.
    """

    package: str
    program: str
    server: Callable[[], ChatServer]
    first: tuple[str, ...]
    again: tuple[str, ...]
    settings: tuple[str, str] = ("", "")
    environ: tuple[tuple[str, str], ...] = ()


OPENAI = (("OPENAI_API_KEY", "x"), ("OPENAI_BASE_URL", "@URL@"), ("OPENAI_MODEL", "test-model"))
TOOLS = {
    "codex": Tool(
        "@openai/codex", "codex", CodexModel,
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "resume", "--last"),
        (".codex/config.toml", 'model = "m"\nmodel_provider = "l"\n[model_providers.l]\nname = "l"\nbase_url = "@URL@"\nwire_api = "responses"\nenv_key = "KEY"\n'),
        (("KEY", "x"),),
    ),
    "claude-code": Tool(
        "@anthropic-ai/claude-code", "claude", ClaudeModel, ("-p", "--allowedTools", "Bash", "--"), ("-p", "-c"),
        environ=(("ANTHROPIC_API_KEY", "x"), ("ANTHROPIC_BASE_URL", "@ROOT@"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")),
    ),
    "opencode": Tool(
        "opencode-ai", "opencode", ChatModel, ("run",), ("run", "-c"),
        (".config/opencode/opencode.json", json.dumps({
            "model": "local/test-model", "autoupdate": False, "permission": {"*": "allow"},
            "provider": {"local": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": "@URL@", "apiKey": "x"}, "models": {"test-model": {"tool_call": True}}}},
        })),
    ),
    "qwen-code": Tool("@qwen-code/qwen-code", "qwen", ChatModel, ("--auth-type", "openai", "-y", "-p"), ("--auth-type", "openai", "-y", "-c", "-p"), environ=OPENAI),
    "pi": Tool(
        "@mariozechner/pi-coding-agent", "pi", ChatModel, ("--provider", "local", "--model", "test-model", "-p"),
        ("--provider", "local", "--model", "test-model", "-c", "-p"),
        (".pi/agent/models.json", json.dumps({"providers": {"local": {
            "baseUrl": "@URL@", "api": "openai-completions", "apiKey": "x", "models": [{"id": "test-model", "contextWindow": 200_000, "maxTokens": 8000}]}}})),
    ),
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("format_name", TOOLS)
def test_what_a_tool_has_just_written_comes_in(format_name, tmp_path, tmp_path_factory):
    """The history is discovered, and its prompts, answers, call and result are imported in order."""
    tool = TOOLS[format_name]
    program = installed(tmp_path_factory, tool.package, tool.program)
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("the content of a\n")
    with tool.server() as server:

        def filled(text: str) -> str:
            return text.replace("@URL@", server.url).replace(
                "@ROOT@", server.url.removesuffix("/v1")
            )

        if tool.settings[0]:
            path = tmp_path / tool.settings[0]
            path.parent.mkdir(parents=True)
            path.write_text(filled(tool.settings[1]))
        environ = {"NO_PROXY": "127.0.0.1", **{key: filled(value) for key, value in tool.environ}}  # fmt: skip
        run(program, *tool.first, "TOOL", home=tmp_path, **environ)
        run(program, *tool.again, "Again", home=tmp_path, **environ)
    (found,) = find_histories({"HOME": str(tmp_path)})
    assert found.format_name == format_name
    with open_store("memory:", ttl=None) as store:
        report = import_path(store, Path(found.path))
        assert (report.problems, report.imported) == ([], 1)
        (summary,) = store.list()
        messages = list(store.messages(summary.id))
    (call_id,) = [one["id"] for message in messages for one in message.tool_calls or ()]
    assert [(m.role, m.text if m.role != "tool" else "the content of a" in m.text) for m in messages] == [
        ("user", "TOOL"), ("assistant", "I look."), ("tool", True), ("assistant", "It is done."),
        ("user", "Again"), ("assistant", "It is done."),
    ]  # fmt: skip
    assert messages[2].tool_call_id == call_id
