"""The program as a whole: version, help, exit codes, signals, closed pipes, and what it loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from omniagent_cli import Message, __version__
from omniagent_cli.cli.framework.command_table import COMMANDS, commands_below
from tests import forked
from tests.cli.scene import environment, talk

_PATHS = dict(commands_below(COMMANDS))


def test_version_is_printed_alone(run, process):
    """--version prints name and version, by itself and after other options."""
    assert process("--version").stdout.decode() == f"omniagent {__version__}\n"
    assert run("-q", "--version").out == f"omniagent {__version__}\n"


def test_no_words_show_the_help(run):
    """Without a command the help comes on stdout and nothing failed."""
    ran = run()
    assert ran.code == 0
    assert ran.out.startswith("Usage: omniagent [OPTIONS] COMMAND [ARGS]...\n")
    assert run("sessions").out.startswith("Usage: omniagent sessions [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.parametrize("path", list(_PATHS), ids=" ".join)
def test_every_command_has_help(run, path):
    """Every command explains itself and shows two examples that call it."""
    ran = run(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Global options:\n" in ran.out
    examples = _PATHS[path].examples
    assert f"Examples:\n  {examples[0]}\n  {examples[1]}\n" in ran.out
    assert all(f" {' '.join(path)}" in example for example in examples)
    assert examples[0] != examples[1]


@pytest.mark.parametrize("words", [(), ("ask",), ("sessions", "trim"), ("sessions", "meta")])
def test_help_fits_a_narrow_terminal(run, monkeypatch, words):
    """At 40 columns nothing but the usage line and the examples is wider."""
    monkeypatch.setenv("COLUMNS", "40")
    shown = run(*words, "--help").out
    wide = [line for line in shown.partition("Examples:")[0].splitlines()[1:] if len(line) > 40]
    assert not wide
    assert "show this help" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sesions"], "unknown command 'sesions' for 'omniagent'; did you mean sessions?"),
        (["sessions", "lst"], "unknown command 'lst' for 'omniagent sessions'; did you mean list?"),
        (["sessions", "xyzzy"], "unknown command 'xyzzy' for 'omniagent sessions'; run 'omniagent sessions --help' to see all commands"),
        (["rm", "x"], "unknown command 'rm' for 'omniagent'; did you mean 'omniagent sessions delete'?"),
        (["version"], "unknown command 'version' for 'omniagent'; did you mean 'omniagent --version'?"),
        (["sessions", "pin", "x", "--json"], "'omniagent sessions pin' has no JSON output; remove --json"),
        (["sessions", "list", "--archive"], "--archive is not an option of 'omniagent sessions list'; did you mean --archived?"),
        (["sessions", "list", "-x"], "-x is not an option of 'omniagent sessions list'; run 'omniagent sessions list --help' for help"),
        (["--stroe", "x"], "--stroe is not an option of 'omniagent'; did you mean --store?"),
        (["sessions", "list", "extra"], "got unexpected extra argument(s) (extra); run 'omniagent sessions list --help' for help"),
        (["sessions", "show"], "missing argument 'ID'; for example: omniagent sessions show @ --last 10"),
        (["sessions", "list", "--limit", "x"], "invalid value for '--limit' / '-n': 'x' is not a valid int; run 'omniagent sessions list --help' for help"),
        (["sessions", "list", "--limit"], "option '--limit' requires an argument; run 'omniagent sessions list --help' for help"),
        (["--color", "red", "sessions", "list"], "invalid --color 'red': must be auto, always or never"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_exit_2(run, words, told):
    """Whatever is wrong with the words is told in one line with what was probably meant."""
    ran = run(*words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_commands_of_other_programs_are_aliases(run, filled):
    """`ls`, `rm` and the like run the equivalent command of their group, and -h is --help everywhere."""
    assert run("session", "ls", "-n", "2").out == run("sessions", "list", "--limit", "2").out
    assert run("sessions", "view", "alice", "-n", "1").out == run("sessions", "show", "alice", "--last", "1").out  # fmt: skip
    assert run("sessions", "rm", "bob", "--yes").code == 0
    assert not filled.exists("bob")
    for words in ((), ("sessions",), ("sessions", "list"), ("ask",)):
        assert run(*words, "-h").out == run(*words, "--help").out
    assert run("sessions", "tag", "alice", "+h").code == 0
    assert run("sessions", "tag", "alice", "-h").out == ""  # the tag is removed
    assert filled.summary("alice").tags == []


def test_a_question_alone_is_asked(run):
    """A first argument with a space is a question for `ask`, with its options."""
    ran = run("My name is Alice", "-s", "x", "--json")
    assert (ran.code, ran.json["session"]) == (0, "x")
    assert "Alice" in run("sessions", "show", "x").out


def test_a_title_alone_is_printed(run, filled):
    """`title ID` without a text prints the title, and '' removes it."""
    assert run("sessions", "title", "alice").out == "My name is Alice\n"
    assert run("sessions", "title", "alice", "Two", "words").code == 0
    assert run("sessions", "title", "alice").out == "Two words\n"
    assert run("sessions", "title", "alice", "").code == 0


def test_a_bug_prints_a_traceback_and_exits_70(run, monkeypatch):
    """What nobody expected is reported whole, and no part of it can drive a terminal."""
    from omniagent_cli.cli.sessions import list as sessions

    def broken(*_args, **_keys):
        raise RuntimeError("\x1b]0;owned\x07 unexpected")

    monkeypatch.setattr(sessions, "_show", broken)
    ran = run("sessions", "list")
    assert ran.code == 70
    assert ran.err.startswith("Traceback (most recent call last):\n")
    assert "RuntimeError: \ufffd]0;owned\ufffd unexpected\n" in ran.err
    assert ran.err.endswith(
        "omniagent: error: this is a bug in omniagent; please report it with the lines above\n"
    )


def test_a_closed_pipe_is_quiet(store, db):
    """A reader that leaves early is no error worth a word, as with git and cat."""
    store.append("long", [{"role": "user", "content": "x" * 200}] * 3000)
    shell = f"{forked.python()} -m omniagent_cli sessions show long --raw | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=environment(db), timeout=60, check=False
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == ["x" * 200, "141"]


def test_a_closed_stdout_is_no_traceback(filled, db):
    """With stdout closed from the start the command does its work in silence."""
    shell = f"{sys.executable} -m omniagent_cli sessions list >&-"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=environment(db), timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", ["--version", "--help", "sessions list --help"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_the_start(db, words, closed):
    """Whatever streams are missing, nothing is told that is not so, and no file takes their place."""
    shell = f"{sys.executable} -m omniagent_cli {words} {closed}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=environment(db), timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_chat_without_stdin_has_nothing_to_say(db):
    """A chat whose stdin is closed ends like one whose stdin is empty."""
    shell = f"{sys.executable} -m omniagent_cli chat <&-"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=environment(db), timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"Traceback" not in done.stderr


def test_an_import_from_a_closed_stdin_is_told(db):
    """What is to be read from a stdin that is closed is a mistake of the command line, told in one line."""
    shell = f"{sys.executable} -m omniagent_cli sessions import - <&-"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, env=environment(db), timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"omniagent: error: stdin is closed; name a file, or pipe one in\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("words", [["sessions", "list"], ["--version"], ["sessions", "--help"]])
def test_a_full_disk_behind_stdout_is_told(filled, db, words):
    """Output that cannot be written is an error in one line, exit 1, also when it only shows at the end."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "omniagent_cli", *words],
            stdout=full, stderr=subprocess.PIPE, env=environment(db), timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "omniagent: error: cannot write the output: No space left on device; free some disk space or write to another place\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_told_once_and_changes_no_other_code(store, db):
    """Much output that cannot be written is told once; where stderr is full, the exit code is what it would be."""
    for number in range(60):
        store.append(f"{number:03d}-{'x' * 300}", [Message("user", "hello")])
    for words, code, told in (
        ("sessions list --all >/dev/full", 1, 1),
        ("sessions lsit 2>/dev/full", 2, 0),
        ("doctor --offline 2>/dev/full >/dev/null", 0, 0),
        ("sessions lsit 2>&1 | true; exit ${PIPESTATUS[0]}", 141, 0),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m omniagent_cli {words}"],
            capture_output=True, env=environment(db), timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr.count(b"\n")) == (code, told), words


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_waiting_command_cleanly(filled, db, number, code):
    """Ctrl-C and SIGTERM end a command at once, without a traceback, with the codes shells know."""
    with forked.start(
        ["-m", "omniagent_cli", "sessions", "show", "carol", "--raw", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(db),
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"one\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, b"")


def test_ascii_output_holds_everything(store, process):
    """On a stream that knows only ASCII nothing crashes: text gets escapes, JSON stays JSON."""
    talk(store, "Ärger", "Grüße 😀")
    listed = process("sessions", "list", PYTHONIOENCODING="ascii")
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert listed.stdout.startswith(b"\\xc4rger\tGr\\xfc\\xdfe \\U0001f600\t1\t")
    shown = process("sessions", "show", "Ärger", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(shown.stdout)["messages"][0]["content"] == "Grüße 😀"
    plain = process("sessions", "list", LANG="C", LC_ALL="C")
    assert plain.returncode == 0


def test_a_list_loads_nothing_heavy(filled, db):
    """`sessions list` in a pipe loads no rich, no prompt, no model library and no event loop."""
    code = (
        "import sys; from omniagent_cli.cli import main; main(['sessions', 'list']);"
        "heavy = {'rich', 'openai', 'prompt_toolkit', 'asyncio', 'pydantic', 'click', 'logging', 'urllib.request'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=environment(db),
        timeout=60,
        check=True,
    )
    assert done.stderr == b"[]\n"


def test_version_loads_nothing(db):
    """`--version` is printed before typer or another module of omniagent is loaded."""
    code = (
        "import sys; sys.argv = ['omniagent', '--version']\n"
        "from omniagent_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith(('typer', 'omniagent_cli.'))], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=environment(db),
        timeout=60,
        check=True,
    )
    assert (
        done.stderr
        == b"['omniagent_cli.process_end', 'omniagent_cli.__main__', 'omniagent_cli._version']\n"
    )


def test_a_variable_does_not_switch_on_other_completion(process):
    """The completion that typer would answer, and that runs code hidden in titles, is not there."""
    variables = {"_OMNIAGENT_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "x"}
    done = process("sessions", "list", OMNIAGENT_STORE="", **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
