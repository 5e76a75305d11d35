"""The README and the manual: every example is run, and CI calls the README's test command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from omniagent_cli.cli.reference.manual import PAGES, PAGES_DIRECTORY, page_text
from tests import forked

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
LIBRARY = re.findall(r"```python\n(.*?)```", page_text("library"), re.DOTALL)
ADAPTERS = re.findall(
    r"## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```", page_text("adapters"), re.DOTALL
)
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def steps():
    """Yield each command of the console blocks, in reading order, and the output that is shown."""
    for block in BLOCK.findall("\n".join([README, *map(page_text, PAGES)])):
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


def test_transcript_is_what_happens(home, tmp_path):
    """Every command of the README and the manual prints what is shown."""
    forked.install(tmp_path)
    environ = {
        "HOME": str(home),
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
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
    """The first example of the library page runs."""
    example, _, _ = LIBRARY
    monkeypatch.chdir(home)
    names: dict[str, object] = {}
    exec(example, names)  # the page is ours
    assert (
        names["agent"].process_with_session("user-123", "my name?")
        == 'You said just now: "My name is Alice"'
    )
    names["agent"].close()
    names["store"].close()


def test_asynchronous_example_runs(capsys):
    """The example of the asynchronous interface prints the message and the session."""
    exec(LIBRARY[1], {})  # the page is ours
    assert capsys.readouterr().out == "A week in Ulm\ntrip Ulm\n"


@pytest.mark.parametrize(
    ("example", "output"), [one[1:] for one in ADAPTERS], ids=[one[0] for one in ADAPTERS]
)
def test_adapter_example_runs(example, output, capsys):
    """Each example of the page of adapters prints what is shown."""
    for name in re.findall(r"^from (?!omniagent_cli)([\w.]+) import", example, re.MULTILINE):
        pytest.importorskip(name)
    exec(example, {})  # the page is ours
    assert capsys.readouterr().out == output


def test_tools_example_runs(capsys):
    """The example of tools and skills does what the page says."""
    _, _, example = LIBRARY
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


def test_every_command_is_in_the_manual():
    """Each command of the program appears on a page of the manual."""
    listed = forked.run(["-m", "omniagent_cli", "sessions", "--help"], text=True, check=True)
    names = re.findall(r"^  ([a-z]+) {2,}", listed.stdout, re.MULTILINE)
    pages = "\n".join(map(page_text, PAGES))
    assert len(names) > 15
    assert [name for name in names if f"`{name}" not in pages and f" {name} " not in pages] == []


def test_every_page_is_a_topic():
    """Each file of the manual is a help topic, and the README links to it."""
    assert {path.stem for path in PAGES_DIRECTORY.iterdir()} == set(PAGES)
    assert [
        name for name in PAGES if f"[{name}](omniagent_cli/manual/{name}.md)" not in README
    ] == []


def test_the_readme_is_short():
    """The README has at most 300 lines; the rest is in the manual."""
    assert len(README.splitlines()) <= 300
