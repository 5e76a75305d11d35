"""The README is true: its transcript is run, its library example too, and CI calls its test command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def steps():
    """Yield each command of the console blocks and the output that the page shows."""
    for block in BLOCK.findall(README):
        command, shown = None, []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield command, shown


def as_pattern(shown):
    """Turn shown lines into a pattern: ``...`` alone stands for any lines, inside a line for anything in it."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in shown
    )
    return re.compile(pattern)


def test_transcript_is_what_happens(home):
    """Every command of the page prints what the page shows."""
    environ = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "OMNIAGENT_MODEL": "recall",
    }
    for command, shown in steps():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert as_pattern(shown).fullmatch(done.stdout), (
            f"$ {command}\n{done.stdout}\ninstead of\n" + "\n".join(shown)
        )


def test_library_example_runs(home, monkeypatch, capsys):
    """The library example of the page runs as it stands."""
    example, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(home)
    names: dict[str, object] = {}
    exec(example, names)  # the page is ours
    assert (
        names["agent"].process_with_session("user-123", "my name?")
        == 'You said just now: "My name is Alice"'
    )
    names["agent"].close()
    names["store"].close()


def test_tools_example_runs(capsys):
    """The example of tools and skills does what the page says."""
    _, example, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})  # the page is ours
    assert capsys.readouterr().out.splitlines() == [
        "sunny in Ulm for 1 days",
        '{"noted":"pack a hat"}',
        "It says: pack a hat.",
        "pack a hat",
    ]


def test_ci_runs_the_command_of_the_page():
    """`.ci/run` ends with the very line that the page gives for the tests."""
    install, test = re.findall(r"```sh\n(python3 .*?)\n```", README)
    assert "omniagent chat --session user-123" in install
    assert (TOP / ".ci/run").read_text().splitlines()[-1] == test


@pytest.mark.skipif(os.name != "posix", reason="the page is written for POSIX shells")
def test_every_command_is_on_the_page():
    """Each command of the program appears in the README."""
    listed = subprocess.run(
        [sys.executable, "-m", "omniagent_cli", "sessions", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = re.findall(r"^  ([a-z]+) {2,}", listed.stdout, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if f"`{name}" not in README and f" {name} " not in README] == []
