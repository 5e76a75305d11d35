"""Passwords in URLs: no command prints one, wherever in the URL it is and whatever it contains."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.cli import main as run
from omniagent_cli.complete import main as complete
from omniagent_cli.config.resolution import resolve_store
from omniagent_cli.config.settings import load_settings
from omniagent_cli.errors import ConfigError, OmniAgentError
from omniagent_cli.masking import mask_url
from omniagent_cli.stores import open_store

SECRET = "hunter2"
URLS = [
    "redis://me:hunter2@127.0.0.1:1/0",
    "redis://:hun@ter2/hunter2@127.0.0.1:1/0",
    "redis://me@corp:[hunter2]@127.0.0.1:1/0",
    "redis:me:hunter2@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?token=hunter2",
    "redis://127.0.0.1:1/0?ssl_password=hunter2",
    "postgresql://me:/hunter2@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&password=x%23y#hunter2",
    "postgresql://127.0.0.1:1/db?sslpassword=hunter2",
    "postgresql://127.0.0.1:1/db?p%61ssword=hunter2",
    "nothing://me:hunter2@127.0.0.1/0",
    "sqlite://me:hunter2@host/x.db",
    "redis://me:hunter2",
    "postgresql://me@corp:p@hunter2@127.0.0.1:1/db",
    "postgresql://me:%hunter2@127.0.0.1:1/db",
    "postgres:me:hunter2@127.0.0.1:1/db",
    "unknown:me:hunter2@127.0.0.1:1/db",
    "redis://me:hunter2@127.0.0.1:1/0\0",
]
PIECES = ("hun", "ter2", "xk7q")
PASSWORDS = st.lists(st.sampled_from([*PIECES, *"/@[]:#?%&=;, +\n"]), min_size=1, max_size=8).map("".join)  # fmt: skip
SCHEMES = ("redis", "rediss", "postgresql", "postgres", "postgresql+psycopg", "unknown", "sqlite", "file")  # fmt: skip
COMMANDS = [
    ["store", "info"],
    ["store", "info", "--json"],
    ["store", "check"],
    ["store", "migrate", "memory:", "{url}"],
    ["sessions", "list"],
    ["sessions", "show", "@"],
    ["sessions", "export", "--all"],
    ["ask", "-m", "recall", "hello"],
    ["doctor", "--offline"],
    ["doctor", "--offline", "--json"],
    ["config", "list"],
    ["config", "list", "--json"],
    ["config", "get", "store.url"],
    ["config", "set", "store.url", "{url}"],
    ["mcp"],
]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hunter2@host:1/0", "redis://me:***@host:1/0"),
        ("redis://:hun@t/er2@host", "redis://:***@host"),
        ("redis:me:hunter2@host", "redis:me:***@host"),
        ("postgresql://me@corp:[p:w]@host/db", "postgresql://me@corp:***@host/db"),
        ("postgresql://h/db?user=me&password=hun#ter2", "postgresql://h/db?user=me&password=***"),
        ("postgresql://h/db?sslpassword=x&sslmode=require", "postgresql://h/db?sslpassword=***&sslmode=require"),
        ("https://h/v1?api_key=x;access_token=y", "https://h/v1?api_key=***"),
        ("redis://h/0?p%61ss=x", "redis://h/0?p%61ss=***"),
        ("redis://me:hunter2", "redis://me:***"),
        ("redis://:hunter2/0", "redis://:***"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("postgresql://one:1,two:2/db", "postgresql://one:1,two:2/db"),
        ("redis://me@host:6379/0", "redis://me@host:6379/0"),
        ("sqlite:////home/a:b@c/x.db", "sqlite:////home/a:b@c/x.db"),
        ("/home/a:b@c", "/home/a:b@c"),
        ("C:\\a@b", "C:\\a@b"),
    ],
)  # fmt: skip
def test_masked_form(url, shown):
    """The password is replaced, the rest stays readable."""
    assert mask_url(url) == shown


@given(
    scheme=st.sampled_from(SCHEMES),
    slashes=st.sampled_from(["//", ""]),
    user=st.sampled_from(["", "me", "me@corp"]),
    password=PASSWORDS,
    host=st.sampled_from(["127.0.0.1:1", "[::1]:1", "localhost:1,127.0.0.1:1", ""]),
    path=st.sampled_from(["", "/0", "/db?sslmode=disable", "?prefix=a:", "/a/b@c"]),
)
def test_no_error_prints_a_password(tmp_path_factory, scheme, slashes, user, password, host, path):
    """No URL of a store, error or traceback has a piece of a password, whatever characters it contains."""
    url = f"{scheme}:{slashes}{user}:{password}@{host}{path}"
    printed = mask_url(url)
    with contextlib.chdir(tmp_path_factory.getbasetemp()):
        try:
            with open_store(url) as store:
                printed += f"{store.url} {store!r}"
                store.list()
        except OmniAgentError as error:
            printed += "".join(traceback.format_exception(error))
    assert [piece for piece in PIECES if piece in printed] == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:/hunter2@127.0.0.1:1/db",
        "redis://:[hunter2]@127.0.0.1:1/0",
        "redis://me:a#b@127.0.0.1:1/0",
        "redis://me:a?b@127.0.0.1:1/0",
        "postgresql://me:%hunter2@127.0.0.1:1/db",
    ],
)
def test_a_password_that_must_be_encoded(url):
    """The error for a password that is taken for something else names the characters to percent-encode."""
    with (
        pytest.raises(ConfigError, match=r"percent-encode.*%25"),
        open_store(url),
    ):
        pass


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_no_command_prints_a_password(home, capfd, command, how, monkeypatch):
    """Whether a flag, a variable or a file names the store, its password is not printed."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    config = home / ".config/omniagent/config.toml"
    config.parent.mkdir(parents=True)
    for url in URLS:
        words = [word.replace("{url}", url) for word in command]
        if how == "flag":
            words = ["--store", url, *words]
        elif how == "variable" and "\0" not in url:
            monkeypatch.setenv("OMNIAGENT_STORE", url)
        else:
            config.write_text(
                f"store.url = {json.dumps(url)}\n[stores.w]\nurl = {json.dumps(url)}\n"
            )
        assert run(words) in (0, 1, 2, 3)
        printed = "".join(capfd.readouterr())
        assert SECRET not in printed, (url, printed)


def test_no_completion_or_cache_has_a_password(home, capfd):
    """Neither TAB nor what it keeps shows a password, and neither does a repr."""
    for url in URLS[:-1]:
        environ = dict(os.environ) | {"OMNIAGENT_STORE": url}
        run(["sessions", "list"], environ=environ)
        complete(["--store", url, "sessions", "show", ""])
        assert SECRET not in "".join(capfd.readouterr())
        with contextlib.suppress(ConfigError):
            assert SECRET not in repr(resolve_store(load_settings(environ, home)))
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert all(SECRET.encode() not in path.read_bytes() for path in kept)
