"""Changing one setting leaves every other byte of the file as it was."""

from __future__ import annotations

import os
import stat
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli.config.display import describe
from omniagent_cli.config.edit import set_value, unset_value
from omniagent_cli.config.settings import load_settings
from omniagent_cli.errors import ConfigError

FULL = """\
# my settings
model = "openai:gpt-6.1-sol"   # the good one

[agent] # how it talks
  system_prompt = '''
[window]
max_messages = 5
'''  # not a table
  temperature = 0.5

# limits
[window]
max_messages = 50

[tools]
disabled = [
    "a",  # never
    "]",
]
allow = []

[prices]
"openai:gpt-6.1-sol" = { input = 2, output = 8.0 } # per million
"""


@pytest.mark.parametrize(
    ("key", "text", "old", "new"),
    [
        ("model", "a:b", 'model = "openai:gpt-6.1-sol"   #', 'model = "a:b"   #'),
        ("window.max_messages", "7", "max_messages = 50", "max_messages = 7"),
        ("window.max_tokens", "7", "max_messages = 50\n", "max_messages = 50\nmax_tokens = 7\n"),
        ("agent.seed", "1", "  temperature = 0.5\n", "  temperature = 0.5\n  seed = 1\n"),
        ("agent.system_prompt", "a\nb", "'''\n[window]\nmax_messages = 5\n'''", '"a\\nb"'),
        ("tools.disabled", '["x"]', '[\n    "a",  # never\n    "]",\n]', '[\n    "x",\n]'),
        ('prices."openai:gpt-6.1-sol".output', "9", "output = 8.0", "output = 9.0"),
        ('prices."openai:gpt-6.1-sol".cache_read', "1", "8.0 }", "8.0, cache_read = 1.0 }"),
        ("sessions.ttl", "7d", None, '\n[sessions]\nttl = "7d"\n'),
        ("stores.work.url", "redis://h", None, '\n[stores.work]\nurl = "redis://h"\n'),
        ('models.aliases."g p.t"', "a:b", None, '\n[models.aliases]\n"g p.t" = "a:b"\n'),
        ("ask.keep", "off", None, "\n[ask]\nkeep = false\n"),
    ],
)  # fmt: skip
def test_set_changes_one_place(machine, key, text, old, new):
    """Comments, order, indentation and odd strings stay."""
    machine.user(FULL)
    set_value(machine.user_file, key, text)
    expected = FULL.replace(old, new) if old else FULL + new
    assert machine.user_file.read_text() == expected


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("", "model", 'model = "5"\n'),
        ("# only this", "model", '# only this\nmodel = "5"\n'),
        ("ask.keep = true", "model", 'ask.keep = true\nmodel = "5"\n'),
        ("# head\n\n# ask\n[ask]\n", "model", '# head\n\nmodel = "5"\n\n# ask\n[ask]\n'),
        ("[ask]\n", "model", 'model = "5"\n\n[ask]\n'),
        ("window.max_tokens = 1\nmodel='x'\n", "window.max_messages",
         "window.max_tokens = 1\nwindow.max_messages = 5\nmodel='x'\n"),
        ("window = {}\n", "window.max_messages", "window = { max_messages = 5 }\n"),
        ("window = {max_tokens=1}#c\n", "window.max_messages", "window = {max_tokens=1, max_messages = 5}#c\n"),
        ("[window]\n\n[ask]\n", "window.max_messages", "[window]\nmax_messages = 5\n\n[ask]\n"),
        ("[ask]\r\nkeep = true\r\n", "window.max_messages",
         "[ask]\r\nkeep = true\r\n\r\n[window]\r\nmax_messages = 5\r\n"),
        ("[stores.a]\nurl = 'x'\n", "stores.b.url", "[stores.a]\nurl = 'x'\n\n[stores.b]\nurl = \"5\"\n"),
        ("[stores]\na.url = 'x'\n", "stores.a.key_file", "[stores]\na.url = 'x'\na.key_file = \"5\"\n"),
        ("[stores]\na.url = 'x'\n", "stores.b.key_file", "[stores]\na.url = 'x'\n\n[stores.b]\nkey_file = \"5\"\n"),
        ("[stores]\na = { url = 'x' }\n", "stores.a.key_file", "[stores]\na = { url = 'x', key_file = \"5\" }\n"),
        ("[prices.x]\ninput = 1\n[prices]\n", "prices.x.output", "[prices.x]\ninput = 1\noutput = 5.0\n[prices]\n"),
        ("[[unknown]]\nmodel = 1\n[window]\n", "window.max_tokens", "[[unknown]]\nmodel = 1\n[window]\nmax_tokens = 5\n"),
    ],
)  # fmt: skip
def test_set_finds_the_natural_place(machine, before, key, after):
    """A new setting goes where a person would write it."""
    machine.user("")
    machine.user_file.write_bytes(before.encode())
    set_value(machine.user_file, key, "5")
    assert machine.user_file.read_bytes().decode() == after


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        (FULL, "model", FULL.replace('model = "openai:gpt-6.1-sol"   # the good one\n', "")),
        (FULL, "window.max_messages", FULL.replace("[window]\nmax_messages = 50\n\n", "")),
        (FULL, "tools.disabled", FULL.replace('disabled = [\n    "a",  # never\n    "]",\n]\n', "")),
        (FULL, 'prices."openai:gpt-6.1-sol".input', FULL.replace("input = 2, ", "")),
        (FULL, 'prices."openai:gpt-6.1-sol".output', FULL.replace(", output = 8.0", "")),
        (FULL, "agent", FULL[: FULL.index("[agent]")] + FULL[FULL.index("# limits") - 1 :]),
        ("ask.keep = true\nmodel = 'x'\n", "ask", "model = 'x'\n"),
        ("[ask]\nkeep = true\n# note\n", "ask.keep", "[ask]\n# note\n"),
        ("a = { b = 1 }\n", "a.b", "a = {  }\n"),
        ("modle = 'x' # oops\nmodel = 'y'\n", "modle", "model = 'y'\n"),
        ("[stores.a]\nurl = 'x'\n\n[stores.a.b]\nc = 1\n\n[ask]\n", "stores.a", "\n\n[ask]\n"),
        ("a = 1\n[[u]]\nx = 1\n", "a", "[[u]]\nx = 1\n"),
    ],
)  # fmt: skip
def test_unset_removes_one_entry(machine, before, key, after):
    """What is left is as it was; unknown names can be removed too."""
    machine.user(before)
    assert unset_value(machine.user_file, key)
    assert machine.user_file.read_text() == after


def test_unset_of_what_is_not_there(machine):
    """An absent setting is no error, a name of nothing is one; neither creates a file."""
    assert not unset_value(machine.user_file, "model")
    assert not unset_value(machine.user_file, "stores.work")
    with pytest.raises(ConfigError, match="did you mean model"):
        unset_value(machine.user_file, "modle")
    assert not machine.user_file.parent.exists()


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("modle", "x", "unknown setting modle; did you mean model"),
        ("window", "x", "window is a table; name one of its settings"),
        ("window.max_messages", "0", "invalid window.max_messages 0 (argument): must be a whole number of at least 1"),
        ("sessions.ttl", "7", "invalid sessions.ttl '7' (argument): must be a duration"),
        ("tools.allow", "a, b", "invalid tools.allow 'a, b' (argument): must be a list such as"),
        ("agent.system_prompt", "\udcff", "agent.system_prompt must be valid Unicode text"),
        ("a..b", "x", "'a..b' is not the name of a setting"),
    ],
)  # fmt: skip
def test_set_refuses(machine, key, text, message):
    """A wrong name or value leaves the file alone."""
    machine.user(FULL)
    with pytest.raises(ConfigError) as caught:
        set_value(machine.user_file, key, text)
    assert str(caught.value).startswith(message)
    assert machine.user_file.read_text() == FULL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model = \n", "invalid TOML"),
        ("window = 3\n", r"window is not a table in .*config.toml:1; edit the file"),
        ("[[window]]\n", "window is not a table"),
    ],
)
def test_set_refuses_files_it_cannot_change(machine, content, message):
    """A file that is broken or in the way is left as it is."""
    machine.user(content)
    with pytest.raises(ConfigError, match=message):
        set_value(machine.user_file, "window.max_tokens", "5")
    assert machine.user_file.read_text() == content


def test_mode_is_private_whatever_the_umask(machine):
    """New file 0600 in new directories 0700 under umask 0; an old file becomes 0600."""
    old = os.umask(0)
    try:
        set_value(machine.user_file, "model", "x")
        modes = [
            stat.S_IMODE(path.stat().st_mode)
            for path in (machine.user_file, *machine.user_file.parents[:2])
        ]
        machine.user_file.chmod(0o644)
        set_value(machine.user_file, "model", "y")
    finally:
        os.umask(old)
    assert modes == [0o600, 0o700, 0o700]
    assert stat.S_IMODE(machine.user_file.stat().st_mode) == 0o600


def test_a_symlink_stays_one(machine, tmp_path):
    """A file kept in a dot-files repository is changed there."""
    target = tmp_path / "dotfiles" / "omniagent.toml"
    machine.user_file.parent.mkdir(parents=True)
    machine.user_file.symlink_to(target)
    set_value(machine.user_file, "model", "x")
    assert machine.user_file.is_symlink()
    assert target.read_text() == 'model = "x"\n'
    assert sorted(path.name for path in target.parent.iterdir()) == ["omniagent.toml"]


def test_byte_order_mark_is_kept(machine):
    """What was in front of the text stays there."""
    machine.user("")
    machine.user_file.write_bytes(b"\xef\xbb\xbf# x\r\n")
    set_value(machine.user_file, "model", "y")
    assert machine.user_file.read_bytes() == b'\xef\xbb\xbf# x\r\nmodel = "y"\r\n'


def test_a_directory_that_cannot_be_written_is_told(machine):
    """No traceback, no half file."""
    machine.user_file.parent.parent.mkdir()
    machine.user_file.parent.write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot read .*config\.toml: Not a directory"):
        set_value(machine.user_file, "model", "x")


def test_edits_at_the_same_time_all_survive(machine):
    """Eight writers, eight settings."""
    names = [f"models.aliases.m{number}" for number in range(8)]
    threads = [
        threading.Thread(target=set_value, args=(machine.user_file, name, "a:b")) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(machine.load().aliases) == [f"m{number}" for number in range(8)]


_COMMENT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)
_BLANK = st.sampled_from(["", "  ", "\t"]) | _COMMENT.map("# {}".format)
_LINES = {
    "agent": [
        "seed = 3",
        "  temperature = 0.25 # warm",
        'system_prompt = """\n[window]\nx = "1"\n  # no comment\n"""',
        "provider = 'it''s'".replace("''", '"'),
    ],
    "tools": ["disabled = [\n  'a', # ]\n  '[', ]", 'allow = ["x#y"]'],
    "models": ["aliases = { 'a.b' = 'x:y', c = \"}\" }"],
    "stores.work": ["url = 'redis://h' # [x]", '"compress" = true'],
    "prices": ['"m.1" = {input=1,output=2}', "m2.input = 0.5"],
}
_KEYS = {
    "model": "x:y",
    "window.max_tokens": "9",
    "agent.max_tokens": "9",
    "ask.keep": "false",
    "stores.work.key_file": "/k",
    "stores.other.url": "redis://x",
    "models.aliases.new": "p:q",
    'prices."m.1".cache_read': "0.1",
    "prices.m2.output": "3",
    'prices."m 3".input': "3",
    "mcp.servers.s.command": '["a", "b"]',
    "tools.enabled": "no",
}  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = draw(st.lists(_BLANK, max_size=3))
    for table in draw(st.permutations(sorted(_LINES))):
        chosen = draw(st.lists(st.sampled_from(_LINES[table]), unique=True, max_size=3))
        if chosen:
            lines.append(draw(st.sampled_from(["[{}]", "[ {} ] # head"])).format(table))
            for line in chosen:
                lines += [line, *draw(st.lists(_BLANK, max_size=2))]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "".join(f"{line}\n" for line in lines).replace("\n", newline)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=documents(), key=st.sampled_from(sorted(_KEYS)))
def test_set_then_unset_gives_the_same_bytes(machine, content, key):
    """Setting keeps every other byte and takes effect; unsetting what was added restores the file."""
    machine.user("")
    machine.user_file.write_bytes(content.encode())
    before = described(machine)
    set_value(machine.user_file, key, _KEYS[key])
    changed = machine.user_file.read_bytes().decode()
    assert is_insertion(content, changed)
    after = described(machine)
    assert key in after.keys() - before.keys()
    assert before.items() <= after.items()
    assert unset_value(machine.user_file, key)
    assert machine.user_file.read_bytes().decode() == content


def described(machine) -> dict[str, object]:
    """Return what the file sets, by name."""
    rows = describe(load_settings(machine.environ, machine.project))
    return {row.key: row.value for row in rows if row.layer == "user"}


def is_insertion(old: str, new: str) -> bool:
    """Tell whether `new` is `old` with one piece put in."""
    same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    return new.endswith(old[same:]) and len(new) > len(old)
