"""`config set` refuses what could not be used, when it is set and not when it is needed."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("store.url", "foo://x", "unknown store scheme 'foo' in foo://x; known schemes: "),
        ("store.url", "redi://me:secret@x", "unknown store scheme 'redi' in redi://me:***@x; did you mean redis:?"),
        ("stores.work.url", "sqlite://host/x", "the store URL 'sqlite://host/x' names a host"),
        ("store.url", "@work", "store.url cannot be '@work': no such store (none defined); define it first: 'omniagent config set stores.work.url URL'"),
        ("model", "nope", "unknown model 'nope'; write provider:name, for example openai:gpt-6.1-sol"),
        ("model", "opnai:gpt-6.1-sol", "unknown provider 'opnai'; did you mean openai"),
        ("models.aliases.fast", "opnai:x", "unknown provider 'opnai'"),
        ("titles.model", "nope", "unknown model 'nope'"),
        ("agent.provider", "opnai", "agent.provider: unknown provider 'opnai'; did you mean openai"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(run, home, key, value, told):
    """A store nobody opens and a model nobody serves are exit 2 in one line, and nothing is written."""
    ran = run("config", "set", key, value, store=None)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"omniagent: error: {told}")
    assert "secret" not in ran.err
    assert not (home / ".config").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store.url", "redis://localhost"),
        ("store.url", "~/chats.db"),
        ("store.url", "file:chats"),
        ("stores.work.url", "postgresql://me@host/x"),
        ("model", "openai:gpt-99"),
        ("model", "recall"),
        ("model", "ollama"),
        ("models.aliases.fast", "groq:llama"),
        ("titles.model", "current"),
        ("agent.provider", "groq"),
    ],
)
def test_what_can_be_used_is_set(run, key, value):
    """What a store or a provider could take is set without a word, also when nothing is there yet."""
    ran = run("config", "set", key, value, store=None)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert run("config", "get", key, store=None).out == f"{value}\n"


def test_names_that_settings_give_are_known(run):
    """An alias, a named store, and a bare model of the chosen provider can be set."""
    for key, value in (
        ("stores.work.url", "memory:"),
        ("store.url", "@work"),
        ("models.aliases.fast", "groq:llama"),
        ("model", "fast"),
        ("agent.provider", "ollama"),
        ("model", "llama3.2"),
    ):
        assert run("config", "set", key, value, store=None).code == 0


def test_broken_settings_can_be_mended(run, home):
    """A file that cannot be read for one mistake can still be mended, with values that are checked."""
    file = home / ".config/omniagent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('model = "openai:gpt-6.1-sol"\n[display]\ncolor = "pink"\n')
    assert run("config", "set", "model", "nope", store=None).code == 2
    assert run("config", "set", "model", "groq:llama", store=None).code == 0
    assert run("config", "set", "display.color", "never", store=None).code == 0
    assert run("config", "get", "model", store=None).out == "groq:llama\n"
