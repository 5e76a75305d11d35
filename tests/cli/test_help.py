"""`omniagent help`: commands, variables, exit codes, JSON; and what stands before a person who typed nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jsonschema
import pytest

import omniagent_cli
from omniagent_cli.cli.framework import exits
from omniagent_cli.cli.framework.command_table import COMMANDS, FIRST_STEPS, Row, commands_below
from omniagent_cli.cli.reference.environment import variables
from omniagent_cli.cli.reference.help import TOPICS
from omniagent_cli.cli.reference.json_shapes import SHAPES
from omniagent_cli.cli.reference.manual import PAGES, page_text

SOURCE = Path(omniagent_cli.__file__).parent
OURS = re.compile(r"OMNIAGENT_[A-Z_]*[A-Z]\b(?!_)")


def _read(tree):
    """Yield the names of variables that a module reads: ``environ.get("X")``, ``environ["X"]``, ``getenv("X")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            of, name = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of, name = node.func, node.args[0]
            if of.attr == "get":
                of = of.value
            elif of.attr != "getenv":
                continue
        else:
            continue
        if re.search(r"environ$|getenv$", ast.unparse(of)) and isinstance(name, ast.Constant):
            yield name.value


def _in_source():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        yield from _read(ast.parse(text))
        if path.name != "variables.py":
            yield from OURS.findall(text)


def test_every_variable_that_is_read_is_explained(run):
    """Every name that the source asks the environment for is in `help environment`, with a meaning."""
    told = {name for cells in run("help", "environment").cells for name in cells[0].split(", ")}
    read = {name for name in _in_source() if isinstance(name, str)}
    assert len(read) > 20
    assert read - told == set()
    listed = [one for group in variables().values() for one in group]
    assert all(one.text for one in listed)


def test_variables_are_named_once(run):
    """No variable stands twice with two meanings."""
    names = [name for cells in run("help", "environment").cells for name in cells[0].split(", ")]
    assert sorted(names) == sorted(set(names))


def test_every_exit_code_is_explained(run):
    """Each code that a command can end with is in `help exit-codes`."""
    codes = {value for name, value in vars(exits).items() if name.isupper() and type(value) is int}
    assert {int(cells[0]) for cells in run("help", "exit-codes").cells} == codes
    assert {0, 1, 2, 3, 70, 130} <= codes


def test_every_command_with_json_has_a_schema(run):
    """What --json prints is documented for exactly the commands that take it, each as a valid schema."""
    taking = {
        " ".join(path)
        for path, row in commands_below(COMMANDS)
        if isinstance(row, Row) and row.json
    }
    assert set(SHAPES) == taking
    listed = run("help", "json")
    assert "This is version 1 of these documents" in listed.out
    for command in sorted(taking):
        assert f"\n{command}\t" in listed.out
        schema = run("help", "json", *command.split()).json
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:omniagent:json:1:{command.replace(' ', '-')}"


@pytest.mark.parametrize(
    "words", [(), ("config",), ("sessions", "trim"), ("models", "use"), ("help",)]
)
def test_help_is_the_help_of_the_command(run, words):
    """`help COMMAND` prints what `COMMAND --help` does."""
    assert run("help", *words).out == run(*words, "--help").out != ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("enviroment",), "no help on 'enviroment'; did you mean 'omniagent help environment'?"),
        (("sesions",), "no help on 'sesions'; did you mean 'omniagent help sessions'?"),
        (("trim",), "no help on 'trim'; did you mean 'omniagent help sessions trim'?"),
        (("sessions", "trmi"), "no help on 'sessions trmi'; did you mean 'omniagent help sessions trim'?"),
        (("xyzzy",), "no help on 'xyzzy'; topics: " + ", ".join(TOPICS) + "; 'omniagent --help' lists the commands"),
        (("json", "sesions", "list"), "'omniagent sesions list' prints no JSON; did you mean 'sessions list'?"),
        (("json", "chat"), "'omniagent chat' prints no JSON; run 'omniagent help json' for a list"),
        (("exit-codes", "3"), "'omniagent help exit-codes' takes no more words; leave out '3'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_help_on_nothing_there_is(run, words, told):
    """Where there is no help, one line says where it probably is."""
    ran = run("help", *words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


@pytest.mark.parametrize("words", [("list",), ("export",), ("migrate",), ("encrypt",)])
def test_a_command_in_another_place_is_found(run, words):
    """A command that was typed without its group is told with the line that works."""
    path = next(path for path, _ in commands_below(COMMANDS) if path[-1] == words[0])
    told = run(*words).err
    assert told.endswith(f"; did you mean 'omniagent {' '.join(path)}'?\n")


@pytest.mark.parametrize("columns", [100, 40])
def test_nothing_typed_at_a_terminal_says_what_to_type(person, columns):
    """`omniagent` alone says on one screen what to type next, also where it is narrow."""
    with person(columns=columns, rows=30) as terminal:
        assert terminal.wait() == 0
        for line, _ in FIRST_STEPS:
            assert f"  {line}" in terminal.shown
        plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.raw.decode())
        assert max(map(len, plain.splitlines())) <= columns
    known = {" ".join(path) for path, _ in commands_below(COMMANDS)} | {"--help"}
    assert all(
        any(f"{line} ".startswith(f"omniagent {name} ") for name in known)
        for line, _ in FIRST_STEPS
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_manual_is_printed(run, name):
    """In a pipe, `omniagent help TOPIC` prints the Markdown of the page."""
    shown = run("help", name)
    assert (shown.code, shown.out) == (0, page_text(name).rstrip("\n") + "\n")


@pytest.mark.parametrize("columns", [100, 40])
def test_a_page_is_laid_out_on_a_terminal(person, columns):
    """On a terminal a page of the manual is rendered, and no line is longer than the screen."""
    with person("help", "chat", columns=columns, rows=500) as terminal:
        assert terminal.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.raw.decode())
    assert "# Slash commands" not in plain
    assert "Slash commands" in plain
    assert max(map(len, plain.splitlines())) <= columns


@pytest.mark.parametrize("topic", ["environment", "exit-codes", "json"])
def test_topics_fit_a_narrow_terminal(person, topic):
    """At 40 columns nothing of a topic is cut, and no line is broken by the terminal."""
    with person("help", topic, columns=40, rows=500) as terminal:
        assert terminal.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.raw.decode())
    names = re.compile(r"  [A-Z]\S*(, \S+)*")
    wide = [line for line in plain.splitlines() if len(line) > 40 and not names.fullmatch(line)]
    assert not wide


def test_options_are_grouped(run):
    """Options that choose sessions stand apart from those that say what happens to them."""
    shown = run("sessions", "delete", "--help").out
    titles = re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)
    assert titles == ["Arguments", "Options", "Session selection", "Global options", "Examples"]
    assert shown.index("--dry-run") < shown.index("Session selection") < shown.index("--older-than")


@pytest.mark.parametrize("words", [(), ("sessions",), ("store",)])
def test_every_command_is_in_one_section(run, words):
    """The help lists each command of a group once, below a title."""
    group = COMMANDS
    for word in words:
        group = group.commands[word]
    shown = run(*words, "--help").out.partition("Options:")[0]
    listed = re.findall(r"^  ([a-z-]+)  ", shown, re.MULTILINE)
    assert sorted(listed) == sorted(group.commands)
    titles = re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)
    assert titles == [title for title, _ in group.listed]
