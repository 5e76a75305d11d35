"""Which layer wins, and what a person is told about a wrong one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from omniagent_cli.config import sections as typed
from omniagent_cli.config.settings import load_settings
from omniagent_cli.config.settings_table import SETTINGS
from omniagent_cli.config.trust import trust_project
from omniagent_cli.errors import ConfigError

KEY = "window.max_messages"


def failure(machine, *, flags=None, **variables):
    with pytest.raises(ConfigError) as caught:
        load_settings(machine.environ | variables, machine.project, flags=flags)
    return str(caught.value)


def test_each_layer_beats_the_one_before(machine):
    """Defaults < user's file < trusted project file < environment < flag, each with its origin."""
    seen = []

    def look(flags=None, **variables):
        settings = load_settings(machine.environ | variables, machine.project, flags=flags)
        seen.append((settings.get(KEY), settings.origin(KEY).layer, str(settings.origin(KEY))))

    look()
    machine.user("[window]\nmax_messages = 1\n")
    look()
    machine.project_file.write_text("model = 'x'\n[window]\n\nmax_messages = 2\n")
    trust_project(machine.project_file, environ=machine.environ)
    look()
    look(OMNIAGENT_WINDOW_MAX_MESSAGES="3")
    look({KEY: 4}, OMNIAGENT_WINDOW_MAX_MESSAGES="3")
    assert seen == [
        (100, "default", "default"),
        (1, "user", f"{machine.user_file}:2"),
        (2, "project", f"{machine.project_file}:4"),
        (3, "environment", "variable OMNIAGENT_WINDOW_MAX_MESSAGES"),
        (4, "flag", "flag for window.max_messages"),
    ]


def test_flags_not_given_and_empty_variables_set_nothing(machine):
    """None from the command line and an empty variable leave the file's value."""
    machine.user("model = 'openai:gpt-6.1-sol'\n")
    settings = load_settings(
        machine.environ | {"OMNIAGENT_MODEL": ""}, machine.project, flags={"model": None}
    )
    assert settings.model == "openai:gpt-6.1-sol"


def test_first_variable_of_a_setting_wins(machine):
    """OMNIAGENT_MODEL beats the older OMNIAGENT_AGENT_MODEL."""
    assert machine.load(OMNIAGENT_AGENT_MODEL="old").model == "old"
    assert machine.load(OMNIAGENT_AGENT_MODEL="old", OMNIAGENT_MODEL="new").model == "new"


@pytest.mark.parametrize(
    ("variable", "key", "text", "value"),
    [
        ("OMNIAGENT_STORE", "store.url", "memory:", "memory:"),
        ("OMNIAGENT_ENCRYPTION_KEY_FILE", "store.key_file", "/k", "/k"),
        ("OMNIAGENT_AGENT_PROVIDER", "agent.provider", "openai", "openai"),
        (
            "OMNIAGENT_AGENT_BASE_URL",
            "agent.base_url",
            "http://localhost:1/v1",
            "http://localhost:1/v1",
        ),
        ("OMNIAGENT_AGENT_SYSTEM_PROMPT", "agent.system_prompt", "two\nlines", "two\nlines"),
        ("OMNIAGENT_SESSIONS_TTL", "sessions.ttl", "168h", timedelta(days=7)),
        ("OMNIAGENT_SESSIONS_TTL", "sessions.ttl", "0", None),
        ("OMNIAGENT_SESSIONS_TRASH_TTL", "sessions.trash_ttl", "0", timedelta(0)),
        ("OMNIAGENT_ASK_KEEP", "ask.keep", "No", False),
        ("OMNIAGENT_AGENT_TEMPERATURE", "agent.temperature", "0.5", 0.5),
        ("OMNIAGENT_TOOLS_DISABLED", "tools.disabled", '["a", "b"]', ("a", "b")),
        ("OMNIAGENT_CHAT_EDITING_MODE", "chat.editing_mode", "VI", "vi"),
    ],
)
def test_variables_are_typed_by_the_table(machine, variable, key, text, value):
    """Each variable is read as its setting's type."""
    settings = machine.load(**{variable: text})
    assert settings.get(key) == value
    assert str(settings.origin(key)) == f"variable {variable}"


def test_config_file_can_be_named(machine, tmp_path):
    """OMNIAGENT_CONFIG replaces the usual file, --config replaces both."""
    machine.user("model = 'usual'\n")
    for name in ("variable", "flag"):
        (tmp_path / f"{name}.toml").write_text(f"model = '{name}'\n")
    environ = machine.environ | {"OMNIAGENT_CONFIG": str(tmp_path / "variable.toml")}
    assert load_settings(environ, machine.project).model == "variable"
    assert load_settings(environ, machine.project, tmp_path / "flag.toml").model == "flag"
    settings = load_settings(environ | {"OMNIAGENT_CONFIG": "/dev/null"}, machine.project)
    assert settings.model is None


def test_a_named_file_has_to_exist(machine):
    """A wrong --config or OMNIAGENT_CONFIG is told, not ignored."""
    with pytest.raises(ConfigError, match=r"--config names /no/file.toml, which does not exist"):
        load_settings(machine.environ, machine.project, "/no/file.toml")
    assert failure(machine, OMNIAGENT_CONFIG="/no/file.toml").startswith(
        "OMNIAGENT_CONFIG names /no/file.toml, which does not exist"
    )


def test_bad_value_in_a_file_names_key_value_line_and_what_is_right(machine):
    """The message is enough to mend the file."""
    machine.user("# mine\n[window] # limits\nmax_tokens = 5\nmax_messages = 'many'\n")
    assert failure(machine) == (
        f"invalid window.max_messages 'many' ({machine.user_file}:4): must be a whole number of at least 1"
    )


def test_bad_value_in_an_inline_table_names_its_line(machine):
    """Values inside braces have a line too."""
    machine.user(
        "[prices]\n\"a\" = { input = 1 }\n'openai:gpt-6.1-sol' = { input = 1, output = -1 }\n"
    )
    assert failure(machine) == (
        f'invalid prices."openai:gpt-6.1-sol".output -1 ({machine.user_file}:3): must be a number from 0 to 1e+06'
    )


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("SESSIONS_TTL", "3600", "invalid sessions.ttl '3600'; a duration such as 30m, 24h, 7d, 1h30m or never"),
        ("SESSIONS_TRASH_TTL", "never", "invalid sessions.trash_ttl 'never'; a duration such as 30d, or 0 to keep nothing"),
        ("DISPLAY_COLOR", "blue", "invalid display.color 'blue'; auto, always or never"),
        ("ROLLOVER_TIMEZONE", "../../etc/passwd", "invalid rollover.timezone '../../etc/passwd'; a time zone such as Europe/Berlin or UTC"),
        ("ROLLOVER_TIMEZONE", "Europe", "invalid rollover.timezone 'Europe'; a time zone such as Europe/Berlin or UTC"),
        ("WINDOW_COMPACT_AT", "80", "invalid window.compact_at 80.0; a number from 0.1 to 1"),
        ("ASK_KEEP", "maybe", "invalid ask.keep 'maybe'; true or false"),
        ("AGENT_BASE_URL", "localhost", "invalid agent.base_url 'localhost'; a URL that starts with http:// or https://"),
        ("AGENT_TEMPERATURE", "nan", "invalid agent.temperature nan; a number from 0 to 2"),
        ("TOOLS_ALLOW", "[1]", 'invalid tools.allow [1]; a list such as ["one", "two"]'),
        ("MODEL", "a\x1b[2J", "invalid model 'a\\x1b[2J'; a model such as openai:gpt-6.1-sol, or one of your aliases"),
    ],
)  # fmt: skip
def test_bad_variables_are_named(machine, variable, text, message):
    """A bad variable is an error that names it; the older program ignored a bad TTL."""
    what, right = message.split("; ")
    variable = f"OMNIAGENT_{variable}"
    assert failure(machine, **{variable: text}) == f"{what} (variable {variable}): must be {right}"


def test_bad_flag_is_named(machine):
    """A flag's error names the flag."""
    assert failure(machine, flags={"display.color": "blue"}) == (
        "invalid display.color 'blue' (--color): must be auto, always or never"
    )
    assert failure(machine, flags={"window.max_messages": True}).startswith(
        "invalid window.max_messages True (flag for window.max_messages)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[windw]\nmax_messages = 1\n", "2: unknown setting windw.max_messages; did you mean window.max_messages?"),
        ("[stores.work]\nulr = 'memory:'\n", "2: unknown setting stores.work.ulr; did you mean stores.work.url or stores.work.encrypt?"),
        ("window = 3\n", "1: window is a table; name one of its settings: window.max_messages, window.max_tokens, window.compact_at"),
        ("[model]\nname = 'x'\n", "2: unknown setting model.name: model is a value, not a table"),
        ("[qqqqqqqqqq]\n", "1: unknown setting qqqqqqqqqq; run 'omniagent config list' to see all settings"),
    ],
)  # fmt: skip
def test_unknown_names_in_the_users_file_are_errors(machine, text, message):
    """A typing error never passes for a setting."""
    machine.user(text)
    assert failure(machine) == f"{machine.user_file}:{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model = \n", ":1: invalid TOML: Invalid value at column 9"),
        (b"a = 1\n[b\n", ":2: invalid TOML: Expected ']' at the end of a table declaration at column 3"),
        (b"a = 1\nb = '''x\n", ":2: invalid TOML: Expected \"'''\" at the end of the file"),
        (b"a = 1\nb = '\xff'\n", ":2: not UTF-8 text; save the file as UTF-8"),
        (b"a = " + b"[" * 100_000, ": nested too deeply; settings are at most four levels deep"),
    ],
)  # fmt: skip
def test_broken_files_name_the_line(machine, content, message):
    """Broken TOML is one line with file, line and reason."""
    machine.user("")
    machine.user_file.write_bytes(content)
    assert failure(machine) == f"{machine.user_file}{message}"


def test_unreadable_and_oversized_files_are_told(machine):
    """A directory in place of the file, or a gigantic one, is said as what it is."""
    machine.user_file.mkdir(parents=True)
    assert failure(machine).startswith(f"cannot read {machine.user_file}: Is a directory")
    machine.user_file.rmdir()
    machine.user("#" * 1_000_001)
    assert "larger than 1000000 bytes" in failure(machine)


def test_byte_order_mark_and_windows_line_ends_are_read(machine):
    """What Notepad writes is understood."""
    machine.user("")
    machine.user_file.write_bytes(b"\xef\xbb\xbf[window]\r\nmax_messages = 7\r\n")
    assert machine.load().window.max_messages == 7


def test_secrets_stay_out_of_errors(machine):
    """Neither a URL's password nor a header is repeated in a message about it."""
    machine.user("[mcp.servers.a.headers]\nAuthorization = ['Bearer hunter2']\n")
    assert "hunter2" not in failure(machine)
    machine.user("[mcp.servers.a]\nurl = 'ftp://me:hunter2@host'\n")
    assert failure(machine).startswith("invalid mcp.servers.a.url 'ftp://me:***@host'")


def test_tables_merge_by_entry(machine):
    """A project adds a price or an alias without losing the user's."""
    machine.user("[models.aliases]\nfast = 'a:b'\n[prices.'a:b']\ninput = 1\n")
    machine.project_file.write_text("[models.aliases]\nbig = 'c:d'\n[prices.'a:b']\noutput = 2.5\n")
    trust_project(machine.project_file, environ=machine.environ)
    settings = machine.load()
    assert settings.aliases == {"fast": "a:b", "big": "c:d"}
    assert settings.prices == {"a:b": {"input": 1.0, "output": 2.5}}
    assert settings.get("models") == {"aliases": {"fast": "a:b", "big": "c:d"}}


def test_unknown_names_asked_for_have_close_matches(machine):
    """`config get` of a wrong name helps."""
    settings = machine.load()
    with pytest.raises(ConfigError, match=r"did you mean agent\.temperature\?"):
        settings.get("agent.temprature")
    with pytest.raises(ConfigError, match="is not the name of a setting"):
        settings.get("window..x")
    with pytest.raises(ConfigError, match="window is a table"):
        settings.origin("window")
    assert settings.get("window") == {
        "max_messages": 100,
        "max_tokens": None,
        "compact_at": None,
    }


def test_typed_attributes_name_every_setting_of_their_table(machine):
    """The typed sections and the table of settings cannot drift apart."""
    settings = machine.load()
    named = set()
    for attribute, section in vars(settings).items():
        if isinstance(section, typed.Section):
            named |= {f"{attribute}.{name}" for name in type(section).__annotations__}
    listed = {row.key for row in SETTINGS if "*" not in row.key}
    assert named == listed - {"model"}
    assert [getattr(settings.agent, "max_tool_rounds"), settings.sessions.ttl] == [25, None]  # noqa: B009


def test_every_row_is_complete():
    """Every setting has one line of help, its default is right by its own rule, no variable is used twice."""
    variables = [variable for row in SETTINGS for variable in row.variables]
    assert len(variables) == len(set(variables))
    for row in SETTINGS:
        assert row.help, row.key
        assert "\n" not in row.help, row.key
        if row.default is not None:
            row.kind.check(row.default)
