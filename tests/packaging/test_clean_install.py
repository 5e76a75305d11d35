"""The wheel, installed where nothing else is: what a person has after 'pip install omniagent-cli'."""

import json
import tomllib

import pytest

import omniagent_cli
from tests.packaging.building import TOP

HELP = """
import contextlib, io
from omniagent_cli.cli import main
from omniagent_cli.cli.framework.command_table import COMMANDS, commands_below
commands = [path for path, _ in commands_below(COMMANDS)]
for path in commands:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main([*path, "--help"])
    assert code == 0 and " ".join(path) in said.getvalue(), path
print(len(commands))
"""

IMPORTS = """
import importlib, json, pkgutil
import omniagent_cli
names = [module.name for module in pkgutil.walk_packages(omniagent_cli.__path__, "omniagent_cli.")]
missing = {}
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing[name] = error.name
print(json.dumps(missing))
"""

LIBRARY = """
from omniagent_cli import Agent, open_store
with open_store("chats.db") as store:
    agent = Agent(model="recall", store=store)
    agent.process_with_session("user-123", "My name is Alice")
    print(agent.process_with_session("user-123", "What's my name?"))
"""


def test_it_starts(clean):
    """The script and python -m say the version, and nothing is missing."""
    assert clean("omniagent", "--version") == f"omniagent {omniagent_cli.__version__}\n"
    assert clean("python", "-m", "omniagent_cli", "-V") == clean("omniagent", "-V")


def test_every_command_has_help_without_any_extra(clean):
    """'--help' of every command works where no extra is installed."""
    assert int(clean("python", "-c", HELP)) > 50
    assert "Usage: omniagent" in clean("omniagent", "--help")


def test_no_module_needs_what_is_not_there(clean):
    """Every module can be imported, but those of an extra, which want just what their extra brings."""
    missing = json.loads(clean("python", "-c", IMPORTS))
    extras = {
        "acp",
        "mcp",
        "redis",
        "psycopg",
        "agents",
        "pydantic_ai",
        "claude_agent_sdk",
        "google",
        "langgraph",
    }
    contract = {name for name, module in missing.items() if module in ("pytest", "hypothesis")}
    assert all(name.startswith("omniagent_cli.testing.contract") for name in contract)
    assert {missing[name] for name in missing.keys() - contract} <= extras


def test_a_conversation_and_its_way_out_and_in(clean):
    """Ask, find again, list, export, import into another store: all the same there."""
    clean("omniagent", "ask", "-q", "-s", "user-123", "My name is Alice.")
    assert "Alice" in clean("omniagent", "ask", "-q", "-s", "user-123", "What's my name?")
    piped = clean("omniagent", "chat", "-s", "user-123", stdin="What is my name?\n")
    assert 'You said just now: "My name is Alice."' in piped
    assert clean("omniagent", "sessions", "list", "--ids") == "user-123\n"
    assert "user-123" in clean("omniagent", "sessions", "search", "alice")
    exported = clean("omniagent", "sessions", "export", "user-123")
    clean("omniagent", "--store", "copy.db", "sessions", "import", "-", stdin=exported)
    assert clean("omniagent", "--store", "copy.db", "sessions", "export", "user-123") == exported
    clean("omniagent", "store", "migrate", "copy.db", "files/")
    assert clean("omniagent", "--store", "files/", "sessions", "export", "user-123") == exported


def test_completion_is_there(clean):
    """TAB answers, and each shell's script can be shown, put into the home and taken away again."""
    assert "sessions\t" in clean("omniagent", "__complete", "se")
    assert "Register-ArgumentCompleter" in clean("omniagent", "completion", "show", "powershell")
    for shell in ("bash", "zsh", "fish"):
        shown = clean("omniagent", "completion", "show", shell)
        clean("omniagent", "completion", "install", shell)
        files = [file for file in clean.home.rglob("*") if file.is_file()]
        assert [file for file in files if file.read_text() == shown]
        clean("omniagent", "completion", "uninstall", shell)
        assert not [file for file in clean.home.rglob("*") if file.is_file() and file.read_text()]


def test_the_library_talks(clean):
    """The example of the README runs without an extra."""
    assert 'You said just now: "My name is Alice"' in clean("python", "-c", LIBRARY)


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        ("redis", 3, ["--store", "redis://127.0.0.1:1", "sessions", "list"]),
        ("redis", 3, ["--store", "rediss://127.0.0.1:1", "sessions", "list"]),
        ("postgres", 3, ["--store", "postgresql://127.0.0.1:1/chats", "sessions", "list"]),
        ("encryption", 2, ["store", "encrypt", "--generate-key", "new.key"]),
        ("mcp", 2, ["mcp"]),
        ("acp", 2, ["acp"]),
        ("providers", 2, ["ask", "-m", "bedrock:anthropic.claude", "hello"]),
        ("keyring", 0, ["keys", "set", "openai"]),
    ],
)
def test_a_missing_extra_is_told_with_the_line_that_brings_it(clean, extra, code, words):
    """Who needs an extra reads what to type, and nothing else is changed."""
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra in extras
    told = clean("omniagent", *words, stdin="sk-test-0123456789\n", code=code)
    assert f"pip install 'omniagent-cli[{extra}]'" in told
    assert "Traceback" not in told
    assert not (clean.home / "new.key").exists()


def test_an_mcp_server_of_the_settings_is_told_and_left_out(clean):
    """Where the extra is missing the other tools are there, and what brings the rest is said."""
    clean("omniagent", "config", "set", "mcp.servers.clock.command", "clock")
    told = clean("omniagent", "tools", "list")
    assert "pip install 'omniagent-cli[mcp]'" in told
    assert "sessions_list" in told


def test_a_key_that_the_keyring_has_is_told_where_no_keyring_library_is(clean):
    """A store whose key is in the system keyring says what is missing to get at it."""
    clean("omniagent", "ask", "-q", "hello")
    told = clean("omniagent", "store", "encrypt", code=2, OMNIAGENT_ENCRYPTION_KEY="keyring:chats")
    assert "pip install 'omniagent-cli[keyring]'" in told
