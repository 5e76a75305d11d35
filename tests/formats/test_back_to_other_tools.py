"""Export to transcripts that other tools resume."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conversations import exported, imported

from omniagent_cli.formats import FORMATS, open_exporter
from omniagent_cli.stores import open_store
from tests.servers.anthropic_server import AnthropicServer
from tests.servers.anthropic_server import answer as anthropic_answer
from tests.servers.responses_server import ResponsesServer, output
from tests.servers.responses_server import text as output_text

PNG = "data:image/png;base64,iVBORw0KGgo="
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "shell", "arguments": '{"command":"ls"}'},
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "List the files"}, {"type": "image_url", "image_url": {"url": PNG}}]},
    {"role": "assistant", "content": "I look.", "model": "openai:gpt-test", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "a.txt"},
    {"role": "assistant", "content": "One file: a.txt."},
]  # fmt: skip


@pytest.fixture
def store():
    with open_store("memory:", ttl=None) as opened:
        document = json.dumps({"messages": MESSAGES}).encode()
        imported(opened, document, as_id="s")
        opened.set_title("s", "Files")
        yield opened


def transcript(store, format_name: str) -> tuple[str, bytes]:
    """Return the file name and the content of an export."""
    header = store.header("s").header_record()
    return open_exporter(format_name).file_name(header), exported(store, ["s"], format_name)


@pytest.mark.parametrize("format_name", [row.name for row in FORMATS.values() if row.is_single])
def test_a_transcript_comes_back_equal(store, format_name):
    """Texts, pictures, calls and results survive the way to the tool's format and back; the system prompt does not."""
    name, data = transcript(store, format_name)
    with open_store("memory:", ttl=None) as other:
        report = imported(other, data, name=name)
        assert (report.format_name, report.problems, report.imported) == (format_name, [], 1)
        (summary,) = other.list()
        back = [(m.role, m.text, [c["id"] for c in m.tool_calls or ()], m.tool_call_id) for m in other.messages(summary.id)]  # fmt: skip
    assert back == [
        ("user", "List the files\n[image]", [], None),
        ("assistant", "I look.", ["c1"], None),
        ("tool", "a.txt", [], "c1"),
        ("assistant", "One file: a.txt.", [], None),
    ]
    assert summary.title == "Files"


@pytest.mark.parametrize("format_name", [row.name for row in FORMATS.values() if row.is_single])
def test_an_imported_session_keeps_the_id_of_its_tool(store, format_name):
    """A session that came from the tool is exported under the same id."""
    name, data = transcript(store, format_name)
    with open_store("memory:", ttl=None) as other:
        imported(other, data, name=name)
        (summary,) = other.list()
        header = other.header(summary.id).header_record()
    assert open_exporter(format_name).file_name(header)[-42:] == name[-42:]


class CodexServer(ResponsesServer):
    """Server that accepts the parameters that only Codex sends."""

    def read(self, raw: bytes):
        return json.loads(raw)


def installed(tmp_path_factory, package: str, program: str) -> str:
    """Return the path of a program of an npm package, which is installed if it is missing."""
    if found := shutil.which(program):
        return found
    place = tmp_path_factory.mktemp("npm")
    subprocess.run(
        ["npm", "install", "--silent", "--prefix", place, package], check=True, timeout=600
    )
    return str(place / "node_modules/.bin" / program)


def run(program: str, *arguments: str, home: Path, **environ: str) -> str:
    """Run a program in an empty home directory and return what it prints."""
    directory = home / "work"
    directory.mkdir(exist_ok=True)
    ran = subprocess.run(
        [program, *arguments], cwd=directory, env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.soak
def test_codex_resumes_an_export(store, tmp_path, tmp_path_factory):
    """`codex exec resume` sends the exported messages, calls and results before the new question."""
    codex = installed(tmp_path_factory, "@openai/codex", "codex")
    name, data = transcript(store, "codex")
    day = tmp_path / ".codex/sessions/2026/01/01"
    day.mkdir(parents=True)
    (day / name).write_bytes(data)
    with CodexServer(output(output_text("One."))) as server:
        (tmp_path / ".codex/config.toml").write_text(
            f'model = "gpt-test"\nmodel_provider = "local"\n[model_providers.local]\nname = "local"\n'
            f'base_url = "{server.url}"\nwire_api = "responses"\nenv_key = "KEY"\n'
        )
        arguments = ("exec", "--skip-git-repo-check", "resume", name[-42:-6], "How many?")
        assert "One." in run(codex, *arguments, home=tmp_path, KEY="x")
        sent = [item for item in server.chats()[-1]["input"] if item.get("role") != "developer"]
    texts = [
        part.get("text") for item in sent if item["type"] == "message" for part in item["content"]
    ]
    assert texts[0] == "List the files"
    assert texts[-1] == "How many?"
    assert [item.get("call_id") for item in sent if "call_id" in item] == ["c1", "c1"]


@pytest.mark.soak
def test_claude_code_resumes_an_export(store, tmp_path, tmp_path_factory):
    """`claude --resume` sends the exported messages, calls and results before the new question."""
    claude = installed(tmp_path_factory, "@anthropic-ai/claude-code", "claude")
    name, data = transcript(store, "claude-code")
    directory = "".join(c if c.isalnum() else "-" for c in str(tmp_path / "work"))
    project = tmp_path / ".claude/projects" / directory
    project.mkdir(parents=True)
    (project / name).write_bytes(data)
    with AnthropicServer(anthropic_answer("One.")) as server:
        settings = {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": server.url.removesuffix("/v1"), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}  # fmt: skip
        arguments = ("-p", "--resume", name.removesuffix(".jsonl"), "How many?")
        assert "One." in run(claude, *arguments, home=tmp_path, **settings)
        sent = json.dumps(server.chats()[-1]["messages"])
    assert (
        sent.index("List the files")
        < sent.index('"tool_use"')
        < sent.index('"tool_result"')
        < sent.index("How many?")
    )
