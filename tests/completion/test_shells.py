"""TAB in real shells: what is typed, what is offered, and what the program is given in the end."""

import subprocess
from pathlib import Path

import pytest

from omniagent_cli import Message, open_store
from omniagent_cli.cli import main
from tests.completion.shell_driver import COMPLETIONS, SHELLS, ShellDriver, need

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
HOSTILE = "\x1b[31mred $(touch PWNED) `touch PWNED` \\$(touch PWNED) \\`touch PWNED\\` * ~ %n"
# What a person types before TAB -> the id that has to arrive.
IDS = {
    "user-1": "user-123",
    "telegram:": "telegram:456",
    "k=": "k=v=w",
    "a": "a b c",
    "it": "it's",
    "say": 'say "hi"',
    "Ä": "Ärger 😀",
    "back": "back\\slash",
    "st": "star*",
    "se": "semi;touch PWNED",
    "\\$": "$(touch PWNED)",
    "\\`": "`touch PWNED`",
    "\\!": "!touch PWNED",
    "\\#": "#hash",
    "\\~": "~root",
    "-- -d": "-dash",
}


@pytest.fixture
def sessions(home):
    """Fill the default store with ids and titles that a careless script would run."""
    with open_store(home / ".local/share/omniagent/sessions.db", ttl=None) as store:
        for session_id in IDS.values():
            store.append(session_id, [Message("user", "hello")])
            store.set_title(session_id, HOSTILE)
    return home


@pytest.fixture(params=SHELLS)
def shell(request, sessions):
    with ShellDriver(request.param, sessions) as driver:
        yield driver


def test_commands_options_and_values(shell):
    """Commands, options and the values of options are completed, also behind an equals sign."""
    assert shell.given("omniagent sess\tli\t--sor\tup\t") == [
        "sessions",
        "list",
        "--sort",
        "updated",
    ]
    assert shell.given("omniagent sessions list --sort=cr\t") == [
        "sessions",
        "list",
        "--sort=created",
    ]


def test_every_id_arrives_as_it_is(shell, sessions):
    """Ids with blanks, quotes, colons, equals signs and dollars arrive whole, and nothing in them is run."""
    for typed, session_id in IDS.items():
        words = shell.given(f"omniagent sessions show {typed}\t")
        assert words[-1] == session_id
    assert not list(sessions.glob("*PWNED*"))


@pytest.mark.parametrize("quote", ["'", '"'])
def test_ids_in_open_quotes(shell, sessions, quote):
    """A word begun with a quote is completed within it, and closed."""
    for typed in ("a", "it", "say", "telegram:", "back", "k="):
        words = shell.given(f"omniagent sessions show {quote}{typed}\t")
        assert words == ["sessions", "show", IDS[typed]]
    assert not list(sessions.glob("*PWNED*"))


def test_a_list_shows_ids_and_runs_nothing(shell, sessions):
    """Where several ids fit they are listed, newest first where the shell can, and titles stay text."""
    shell.type("omniagent sessions show \t\t")
    shell.shows("user-123", "telegram:456", "star")
    assert not list(sessions.glob("*PWNED*"))


def test_files_where_files_belong(shell, sessions):
    """The shell itself completes file names, also behind an equals sign, and nowhere else."""
    (sessions / "my file.jsonl").write_text("")
    assert shell.given("omniagent sessions import my\t")[-1] == "my file.jsonl"
    assert shell.given("omniagent sessions export --output=my\t")[-1] == "--output=my file.jsonl"
    assert shell.given("omniagent sessions show my\t")[-1] == "my"


def test_the_store_on_the_line_decides(shell, sessions):
    """TAB looks into the store that --store or --db names."""
    with open_store(sessions / "other.db") as store:
        store.append("elsewhere", [Message("user", "hello")])
    assert shell.given("omniagent --db other.db sessions show els\t")[-1] == "elsewhere"
    assert shell.given("omniagent sessions show --store=other.db els\t")[-1] == "elsewhere"


def test_titles_are_shown_beside_ids(sessions):
    """Shells that show descriptions show titles, with control characters replaced."""
    for name in ("zsh", "fish"):
        with ShellDriver(name, sessions) as shell:
            shell.type("omniagent sessions show \t\t")
            shell.shows("user-123", "�[31mred $(touch PWNED) `touch PWNED`")


@pytest.fixture
def held(sessions):
    """Give a session keys and tags, some of which a careless script would run, and put one into the trash."""
    with open_store(sessions / ".local/share/omniagent/sessions.db", ttl=None) as store:
        store.set_metadata("user-123", "plain key", HOSTILE)
        store.set_metadata("user-123", "$(touch PWNED)", 1)
        store.tag("user-123", ["work", "`touch PWNED`"])
        store.append("gone", [Message("user", "hello")])
        store.delete("gone")
    return sessions


def test_what_sessions_hold_arrives_as_it_is(held, shell):
    """Keys, tags, what is in the trash, and help topics are completed, whole and without being run."""
    for typed, word in {
        "sessions meta get user-123 pl": "plain key",
        "sessions meta get user-123 \\$": "$(touch PWNED)",
        "sessions tag user-123 +w": "+work",
        "sessions list --tag w": "work",
        "sessions list --tag \\`": "`touch PWNED`",
        "sessions restore g": "gone",
        "help env": "environment",
        "help sessions tri": "trim",
    }.items():
        assert shell.given(f"omniagent {typed}\t")[-1] == word
    assert not list(held.glob("*PWNED*"))


def test_bash_with_its_completion_package(held):
    """What bash-completion adds to bash changes nothing about what arrives."""
    if not BASH_COMPLETION.exists():
        pytest.skip("the package bash-completion is not installed")
    arguments = ["--rcfile", str(BASH_COMPLETION), "--noprofile", "-i"]
    start = f". '{COMPLETIONS}/omniagent.bash'"
    with ShellDriver("bash", held, arguments=arguments, start=start) as shell:
        for typed, word in {
            "sessions show telegram:": "telegram:456",
            "sessions show k=": "k=v=w",
            "sessions meta get user-123 pl": "plain key",
            "sessions list --tag=w": "--tag=work",
            "sessions list --sort=cr": "--sort=created",
        }.items():
            assert shell.given(f"omniagent {typed}\t")[-1] == word
    assert not list(held.glob("*PWNED*"))


def test_redirections_are_files(sessions):
    """In bash what follows a redirection is a file, not a word of the program."""
    (sessions / "target.txt").write_text("")
    with ShellDriver("bash", sessions) as shell:
        shell.type("omniagent sessions list > tar\t")
        shell.line_is("omniagent sessions list > target.txt")


INSTALLED = {
    "bash": (["--noprofile", "-i"], "PS1='READY> '"),
    "zsh": (["-i"], ":"),
    "fish": (["-i"], ":"),
}


@pytest.mark.parametrize("name", SHELLS)
def test_install_and_uninstall(name, sessions, capfd):
    """What 'completion install' does makes TAB work in a new shell, changes nothing twice, and can be undone."""
    need(name)
    started = [sessions / ".zshrc", sessions / ".bashrc"]
    for file in started:
        file.write_text("MINE=1\n")
    environ = {"HOME": str(sessions), "SHELL": f"/usr/bin/{name}"}
    assert main(["completion", "install"], environ=environ) == 0
    first = {path: path.read_bytes() for path in sessions.rglob("*") if path.is_file()}
    assert main(["completion", "install"], environ=environ) == 0
    assert {path: path.read_bytes() for path in sessions.rglob("*") if path.is_file()} == first
    arguments, start = INSTALLED[name]
    with ShellDriver(name, sessions, arguments=arguments, start=start) as shell:
        assert shell.given("omniagent sessions show user-1\t") == ["sessions", "show", "user-123"]
        assert shell.given("omniagent sessions show telegram:\t")[-1] == "telegram:456"
    assert main(["completion", "uninstall", name], environ=environ) == 0
    assert main(["completion", "uninstall", name], environ=environ) == 0
    assert [file.read_text() for file in started] == ["MINE=1\n"] * 2
    assert not [
        path
        for path in first
        if path.name in ("omniagent", "_omniagent", "omniagent.fish")
        and path.parent.name != "bin"
        and path.exists()
    ]
    assert "was not installed" in capfd.readouterr().out


@pytest.mark.parametrize(("name", "rc"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_files_of_a_shell_that_are_not_ours_to_change(name, rc, home, capfd):
    """A read-only start file is left as it is and told; one that was made for our lines goes with them."""
    environ = {"HOME": str(home), "SHELL": f"/bin/{name}"}
    file = home / rc
    file.write_text("MINE=1\n")
    file.chmod(0o444)
    assert main(["completion", "install"], environ=environ) == 2
    assert f"{file} is read-only and was not changed; add this" in capfd.readouterr().err
    assert file.read_text() == "MINE=1\n"
    file.unlink()
    assert main(["completion", "install"], environ=environ) == 0
    assert "omniagent" in file.read_text()
    assert main(["completion", "uninstall"], environ=environ) == 0
    assert not file.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["shellcheck", "-s", "bash", "omniagent.bash"],
        ["bash", "-n", "omniagent.bash"],
        ["zsh", "-n", "_omniagent"],
        ["fish", "-n", "omniagent.fish"],
    ],
    ids=lambda command: command[0],
)
def test_syntax(command):
    """The scripts are what their shells, and shellcheck, call correct."""
    found = need(command[0])
    result = subprocess.run(
        [found, *command[1:]], cwd=COMPLETIONS, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
