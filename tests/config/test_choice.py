"""Which store and which model the settings choose, and what a listing shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omniagent_cli.agent.context.window import Window
from omniagent_cli.config.display import describe
from omniagent_cli.config.mcp import mcp_servers
from omniagent_cli.config.resolution import (
    chosen_model,
    resolve_model,
    resolve_store,
    resolve_window,
)
from omniagent_cli.config.settings import load_settings
from omniagent_cli.errors import ConfigError
from omniagent_cli.masking import mask_url

WORK = """
[store]
url = "redis://config"
[stores.work]
url = "postgresql://me@db.example:5432/chats?sslmode=require"
password_env = "WORK_PASSWORD"
compress = true
[stores.home]
url = "chats/"
key_file = "key"
encrypt = true
"""


def store(machine, flag=None, **variables):
    settings = load_settings(
        machine.environ | variables, machine.project, flags={"store.url": flag}
    )
    return resolve_store(settings)


def refusal(machine, flag=None, **variables):
    with pytest.raises(ConfigError) as caught:
        store(machine, flag, **variables)
    return str(caught.value)


def test_store_precedence(machine):
    """The flag > OMNIAGENT_STORE > older storage variables > file > the default in the data directory."""
    found = [(store(machine).url, str(store(machine).origin))]
    machine.user("store.url = 'redis://config'\n")
    older = {"OMNIAGENT_STORAGE_TYPE": "memory"}
    newer = older | {"OMNIAGENT_STORE": "redis://variable"}
    for flag, variables in ((None, {}), (None, older), (None, newer), ("/x.db", newer)):
        choice = store(machine, flag, **variables)
        found.append((choice.url, str(choice.origin)))
    assert found == [
        (f"sqlite:///{machine.home}/.local/share/omniagent/sessions.db", "default"),
        ("redis://config", f"{machine.user_file}:1"),
        ("memory:", "variable OMNIAGENT_STORAGE_TYPE"),
        ("redis://variable", "variable OMNIAGENT_STORE"),
        ("/x.db", "--store"),
    ]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"TYPE": "sqlite", "PATH": "/var/chats.db"}, "sqlite:////var/chats.db"),
        ({"PATH": "/var/50% off?.db"}, "sqlite:////var/50%25 off%3F.db"),
        ({"PATH": "~/c.db"}, "sqlite:///{home}/c.db"),
        ({"TYPE": "SQLite"}, "sqlite:///{home}/.local/share/omniagent/sessions.db"),
        ({"TYPE": "redis", "REDIS_URL": "redis://h", "PATH": "/x"}, "redis://h"),
        ({"REDIS_URL": "redis://h"}, "redis://h"),
        ({"TYPE": "memory", "PATH": "/x"}, "memory:"),
    ],
)
def test_older_storage_variables(machine, variables, url):
    """OMNIAGENT_STORAGE_TYPE, _PATH and _REDIS_URL are understood together."""
    machine.user("store.url = 'redis://config'\n")
    named = {f"OMNIAGENT_STORAGE_{name}": value for name, value in variables.items()}
    assert store(machine, **named).url == url.format(home=machine.home)


def test_wrong_older_storage_variables_are_told(machine):
    """An unknown type and a missing Redis URL are errors that name the variable."""
    assert refusal(machine, OMNIAGENT_STORAGE_TYPE="mongo") == (
        "invalid OMNIAGENT_STORAGE_TYPE 'mongo': must be sqlite, redis or memory; or set OMNIAGENT_STORE to a URL"
    )
    assert refusal(machine, OMNIAGENT_STORAGE_TYPE="redis") == (
        "OMNIAGENT_STORAGE_TYPE is redis, but OMNIAGENT_STORAGE_REDIS_URL is not set; "
        "set it to a URL such as redis://localhost"
    )


def test_named_store_with_its_password(machine):
    """@work takes its password from its variable, percent-encoded, and never shows it."""
    machine.user(WORK)
    choice = store(machine, "@work", WORK_PASSWORD="p@ss/w:rd%")
    assert choice.url == "postgresql://me:p%40ss%2Fw%3Ard%25@db.example:5432/chats?sslmode=require"
    assert (choice.name, choice.compress, choice.encrypt) == ("work", True, None)
    assert choice.shown == "@work"
    assert "p%40" not in repr(choice)


def test_a_variable_or_a_file_can_name_a_store_too(machine):
    """@NAME works wherever a store is named."""
    machine.user(WORK.replace('"redis://config"', '"@home"'))
    assert store(machine).name == "home"
    assert store(machine, OMNIAGENT_STORE="@work", WORK_PASSWORD="x").name == "work"


def test_paths_in_a_file_are_relative_to_it(machine):
    """A store or key named by a relative path is the same from every working directory."""
    machine.user(WORK)
    choice = store(machine, "@home")
    assert choice.url == f"{machine.user_file.parent}/chats/"
    assert choice.key_file == machine.user_file.parent / "key"
    assert store(machine, "chats.db").url == "chats.db"
    assert store(machine, "~/chats.db").url == f"{machine.home}/chats.db"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("@wrk", "unknown store @wrk (--store); did you mean @work?"),
        ("@zzz", "unknown store @zzz (--store); known stores: @home, @work"),
        ("@work", "the store @work takes its password from the environment variable WORK_PASSWORD, which is not set"),
    ],
)  # fmt: skip
def test_named_store_refusals(machine, flag, message):
    """A wrong name lists close ones, a missing password names its variable."""
    machine.user(WORK)
    assert refusal(machine, flag) == message


def test_incomplete_named_stores_are_told(machine):
    """No store, no URL, a name for a name, a password for a file: each says what to do."""
    assert refusal(machine, "@work").endswith(
        "add it to your settings file: [stores.work] with url = ..."
    )
    machine.user("[stores.work]\ncompress = true\n")
    assert "'omniagent config set stores.work.url URL'" in refusal(machine, "@work")
    machine.user("[stores.work]\nurl = '@work'\n")
    assert "must be a URL, not another name" in refusal(machine, "@work")
    machine.user("[stores.work]\nurl = '/x.db'\npassword_env = 'P'\n")
    assert "remove stores.work.password_env" in refusal(machine, "@work", P="x")
    machine.user("[stores.work]\nurl = 'redis://[x'\npassword_env = 'P'\n")
    assert "stores.work.url is not a URL" in refusal(machine, "@work", P="x")


def test_encryption_asked_for_holds_for_every_store(machine):
    """A named store is encrypted as [store] says unless it says otherwise; a variable wins over both."""
    machine.user(
        "[store]\nencrypt = true\nkey_file = '/k'\n[stores.a]\nurl = 'memory:'\n"
        "[stores.b]\nurl = 'memory:'\nencrypt = false\nkey_file = '/b'\n"
    )
    assert store(machine, "@a")[3:6] == (True, None, Path("/k"))
    assert store(machine, "@b")[3:6] == (False, None, Path("/b"))
    variables = {"OMNIAGENT_STORE_ENCRYPT": "true", "OMNIAGENT_ENCRYPTION_KEY_FILE": "/v"}
    assert store(machine, "@b", **variables)[3:6] == (True, None, Path("/v"))


def test_encryption_key_from_the_environment(machine):
    """OMNIAGENT_ENCRYPTION_KEY wins over a file's key_file, is never shown, and excludes the other variable."""
    machine.user("store.key_file = '/k'\n")
    choice = store(machine, OMNIAGENT_ENCRYPTION_KEY="hunter2")
    assert (choice.key, choice.key_file) == ("hunter2", None)
    assert "hunter2" not in repr(choice)
    both = {"OMNIAGENT_ENCRYPTION_KEY": "x", "OMNIAGENT_ENCRYPTION_KEY_FILE": "/y"}
    assert "are both set; unset one of them" in refusal(machine, **both)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hunter2@host:1/0", "redis://me:***@host:1/0"),
        ("redis://:hun@t/er2@host", "redis://:***@host"),
        ("postgresql://host/db?user=me&password=hunter2#x", "postgresql://host/db?user=me&password=***"),
        ("redis://me@host", "redis://me@host"),
        ("sqlite:////home/a:b@c/x.db", "sqlite:////home/a:b@c/x.db"),
        ("/home/a:b@c", "/home/a:b@c"),
    ],
)  # fmt: skip
def test_passwords_in_urls_are_masked(url, shown):
    """Whatever characters a password holds and wherever it stands."""
    assert mask_url(url) == shown


def test_listing_shows_values_origins_and_no_secrets(machine):
    """Each row has value, origin and help; secrets are masked."""
    machine.user(
        "store.url = 'redis://:hunter2@h'\nsessions.ttl = '36h'\n"
        "[mcp.servers.a]\ncommand = ['x', 'token=hunter2']\nargs = ['--api-key', 'hunter2', 'redis://:hunter2@h', '-v']\nenv.KEY = 'hunter2'\n"
    )
    rows = {row.key: row for row in describe(machine.load())}
    assert rows["store.url"][1:5] == (
        "redis://:***@h",
        "redis://:***@h",
        "user",
        f"{machine.user_file}:1",
    )
    assert rows["sessions.ttl"][1:4] == ("1d12h", "1d12h", "user")
    assert rows["mcp.servers.a.env.KEY"].value == "***"
    assert rows["mcp.servers.a.args"].value == ["--api-key", "***", "redis://:***@h", "-v"]
    assert rows["window.max_tokens"][1:4] == (None, "", "default")
    assert rows["ask.keep"].text == "true"
    assert "hunter2" not in json.dumps(list(rows.values()))


def test_listing_a_part(machine):
    """One setting, one table, and close matches for neither."""
    settings = machine.load()
    assert [row.key for row in describe(settings, "window")] == [
        "window.max_messages",
        "window.max_tokens",
        "window.compact_at",
    ]
    assert [row.text for row in describe(settings, "sessions.ttl")] == ["never"]
    with pytest.raises(ConfigError, match=r"did you mean window\.max_tokens"):
        describe(settings, "window.max_token")


def test_the_window_is_resolved(machine):
    """The toolbar and the agent use one window, with every limit that is set."""
    machine.user("window = { max_messages = 7, max_tokens = 900, compact_at = 0.5 }\n")
    assert resolve_window(machine.load()) == Window(7, 900, 0.5)
    assert resolve_window(machine.load(OMNIAGENT_WINDOW_COMPACT_AT="0.9")).compact_at == 0.9


def test_models_are_resolved(machine):
    """Aliases are followed, and a provider is put before a bare model."""
    machine.user(
        "agent.provider = 'openai'\nmodels.aliases = { a = 'b', b = 'x:y', c = 'd', d = 'c' }\n"
    )
    settings = machine.load()
    assert [resolve_model(settings, name) for name in ("a", "gpt-6.1-sol", "x:y")] == [
        "x:y",
        "openai:gpt-6.1-sol",
        "x:y",
    ]
    with pytest.raises(ConfigError, match="c -> d -> c form a cycle"):
        resolve_model(settings, "c")


def test_chosen_model(machine):
    """The older pair of variables names a model with a colon in its name; a flag is never rewritten."""
    assert chosen_model(machine.load())[0] is None
    name, origin = chosen_model(machine.load(OMNIAGENT_AGENT_PROVIDER="groq"))
    assert (name, str(origin)) == ("groq", "variable OMNIAGENT_AGENT_PROVIDER")
    pair = {"OMNIAGENT_AGENT_PROVIDER": "ollama", "OMNIAGENT_AGENT_MODEL": "llama3:8b"}
    assert chosen_model(machine.load(**pair))[0] == "ollama:llama3:8b"
    pair["OMNIAGENT_AGENT_MODEL"] = "ollama:llama3"
    assert chosen_model(machine.load(**pair))[0] == "ollama:llama3"
    settings = load_settings(
        machine.environ | pair, machine.project, flags={"model": "openai:gpt-6.1-sol"}
    )
    name, origin = chosen_model(settings)
    assert (name, str(origin)) == ("openai:gpt-6.1-sol", "--model")


def test_mcp_servers(machine):
    """Commands become argument lists, disabled servers are left out, nothing secret is in a repr."""
    machine.user(
        "[mcp.servers.line]\ncommand = 'uvx \"my server\" --x'\n"
        "[mcp.servers.list]\ncommand = ['a', 'b']\nargs = ['c d']\nenv = { KEY = 'hunter2' }\n"
        "[mcp.servers.program]\ncommand = '/opt/my tools/run'\nargs = []\n"
        "[mcp.servers.web]\nurl = 'https://h/mcp'\nheaders.Authorization = 'Bearer hunter2'\n"
        "[mcp.servers.off]\nurl = 'https://h/mcp'\nenabled = false\n"
    )
    servers = {server.name: server for server in mcp_servers(machine.load())}
    assert {name: server.argv for name, server in servers.items()} == {
        "line": ("uvx", "my server", "--x"),
        "list": ("a", "b", "c d"),
        "program": ("/opt/my tools/run",),
        "web": (),
    }
    assert servers["list"].env == {"KEY": "hunter2"}
    assert servers["web"].headers == {"Authorization": "Bearer hunter2"}
    assert "hunter2" not in repr(servers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("args = []", "mcp.servers.a has neither a command nor a url; set exactly one"),
        ("command = 'x'\nurl = 'http://h'", "mcp.servers.a has both a command and a url; set exactly one"),
        ("url = 'http://h'\nargs = []", "mcp.servers.a.args is for servers with a command; remove it"),
        ("command = 'x'\nheaders.A = 'b'", "mcp.servers.a.headers is for servers with a url; remove it"),
        ("command = 'x \"'", "mcp.servers.a.command cannot be split into words: No closing quotation; use a list"),
    ],
)  # fmt: skip
def test_incomplete_mcp_servers(machine, text, message):
    """A server that cannot be started says why."""
    machine.user(f"[mcp.servers.a]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        mcp_servers(machine.load())
    assert str(caught.value) == message
