"""The README's recipes do what they say, and what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import omniagent_cli
from omniagent_cli import Message, open_store
from omniagent_cli.cli.reference.manual import page_text
from omniagent_cli.config.paths import default_store_path
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.store import SessionHandle
from tests import forked
from tests.servers.chat_server import answer
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
RECIPES = README.split("\n## Ten recipes\n")[1].split("\n## ")[0].split("\n### ")
BEFORE, BLOCKS = (
    RECIPES[0],
    [re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL) for text in RECIPES[1:]],
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the page is written for POSIX shells")


def recipe(number, kind="sh"):
    """Return the one block of this kind in a recipe."""
    ((_, block),) = [block for block in BLOCKS[number - 1] if block[0] == kind]
    return block


@pytest.fixture
def shell(home, tmp_path):
    """Run lines as a person's shell would, in a directory of their own; `environ` is added to."""
    programs = home / ".local/bin"
    programs.mkdir(parents=True)
    forked.install(programs)

    def run(script, stdin="", shell="bash", **environ):
        variables = {
            "HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "LANG": "C.UTF-8", "OMNIAGENT_MODEL": "recall",
        }  # fmt: skip
        done = subprocess.run(
            [shell, "-c", script], input=stdin, cwd=tmp_path, env=variables | environ,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def model(chat_server):
    """Return the variables with which a model on this machine gives these answers."""

    def variables(*texts):
        server = chat_server(*map(answer, texts))
        return {
            "OMNIAGENT_MODEL": "openai:fake-1",
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-of-a-test",
        }, server

    return variables


@pytest.fixture
def program(home):
    """Put a program in the place of one that is not here."""

    def put(name, script):
        path = home / ".local/bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


def store(**options):
    path = Path(default_store_path(os.environ))
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    return open_store(path, ttl=None, **options)


def test_there_are_ten():
    """Each recipe has something to type: blocks that the page's own test runs, or one that a test here runs."""
    run_here = {1: "sh", 2: "sh", 4: "sh", 8: "crontab", 9: "sh", 10: "sh"}
    kinds = {number: {kind for kind, _ in blocks} for number, blocks in enumerate(BLOCKS, 1)}
    assert len(kinds) == 10
    assert {n: k - {"console"} for n, k in kinds.items() if k != {"console"}} == {
        n: {kind} for n, kind in run_here.items()
    }


def test_a_commit_message(shell, model):
    """What is staged goes to the model, and its answer is the message."""
    environ, server = model("garden: water the tulips")
    environ |= {"GIT_EDITOR": "true", "GIT_CONFIG_NOSYSTEM": "1"}
    shell("git init -q . && git config user.name A && git config user.email a@example.com")
    shell("echo tulips > todo && git add todo")
    shell(recipe(1), **environ)
    assert shell("git log --format=%s") == "garden: water the tulips\n"
    assert "+tulips" in str(server.requests[-1].body["messages"])


def test_data_out_of_a_text(shell, model, tmp_path):
    """What follows the schema comes out as data."""
    environ, _ = model('{"city": "Ulm", "nights": 2}')
    (tmp_path / "mail.txt").write_text("Two nights in Ulm, please.\n")
    assert shell(recipe(2), **environ) == "Ulm 2\n"
    environ, _ = model('{"city": "Ulm"}', '{"city": "Ulm"}')
    assert shell(f"{recipe(2).rstrip()} || echo $?", **environ) == "1\n"


def test_a_picker_of_your_own(shell, program):
    """What is picked is what the chat goes on with; who picks nothing talks to nobody."""
    program("fzf", "head -n 1")
    with store() as opened:
        opened.append("garden", [Message("user", "Beans grow.")])
    shell(recipe(4), stdin="beans?\n")
    with store() as opened:
        assert [message.text for message in opened.messages("garden", last=2)] == [
            "beans?",
            'You said just now: "Beans grow."',
        ]
    program("fzf", "exit 130")
    assert shell(recipe(4), stdin="peas?\n") == ""


def test_a_backup_every_night(shell, home):
    """The line, as cron hands it to sh, makes a store with everything, and replaces that of a week ago."""
    with store() as opened:
        opened.append("garden", [Message("user", "Beans grow.")])
    (home / "backups").mkdir()
    *_, line = recipe(8, "crontab").split(maxsplit=5)
    for _ in range(2):
        assert shell(line.replace(r"\%", "%"), shell="/bin/sh", PATH="/usr/bin:/bin") == ""
    (made,) = (home / "backups").iterdir()
    with open_store(made, read_only=True) as backup:
        assert [summary.id for summary in backup.list()] == ["garden"]


def test_old_ones_go_and_pinned_ones_stay(shell):
    """Of what is old only the pinned session is left, and what went can be restored."""
    long_ago = datetime.now(UTC) - timedelta(days=100)
    with store(clock=lambda: long_ago) as opened:
        for session_id in ("user-123", "old"):
            opened.append(session_id, [Message("user", "hello")])
    with store() as opened:
        opened.append("new", [Message("user", "hello")])
    pin, dry_run, delete = recipe(9).splitlines()
    shell(pin)
    assert "old" in shell(dry_run)
    with store() as opened:
        assert opened.count() == 3
    shell(delete)
    shell("omniagent sessions unpin user-123")
    with store() as opened:
        assert {summary.id for summary in opened.list()} == {"user-123", "new"}
        assert opened.restore("old").session_id == "old"


def test_to_another_machine(shell, program, tmp_path):
    """Everything is there afterwards, and a second time adds nothing."""
    (tmp_path / "other").mkdir()
    program("ssh", f'shift; HOME={tmp_path}/other exec sh -c "$*"')
    with store() as opened:
        for session_id in ("garden", "shed"):
            opened.append(session_id, [Message("user", "hello")])
        opened.set_title("garden", "Beans")
    assert "Imported 2 sessions" in shell(f"{recipe(10)} 2>&1".replace("\n 2>&1", " 2>&1"))
    assert "imported" not in shell(recipe(10).strip() + " 2>&1")
    both = [shell("omniagent sessions export --all", HOME=str(at)) for at in (os.environ["HOME"], tmp_path / "other")]  # fmt: skip
    assert both[0] == both[1] != ""


def test_a_key_from_a_password_manager(shell, program):
    """The line of the page keeps the key and shows it nowhere."""
    program("pass", "echo sk-test-0123456789abcdef")
    (line,) = re.findall(r"`(pass [^`]*)`", BEFORE)
    assert "0123456789" not in shell(f"{line} 2>&1")
    assert shell("omniagent keys list").startswith("openai\t")


def test_every_file_on_the_page_is_there():
    """Each test that shall show a promise has tests; each program that shall measure is a program."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", page_text("promises")))
    assert len(named) > 30
    for name in named:
        tests = (TOP / name).read_text()
        assert "/test_" not in name or re.search(r"def test_|StoreContract", tests), name
    table = page_text("performance").split("| `python tests/benchmarks/...` | measures |")[1]
    told = set(re.findall(r"`(\w+\.py)`", table))
    assert told == {path.name for path in (TOP / "tests/benchmarks").glob("*.py")}


def test_every_name_beside_the_seeds_is_there():
    """Each method and name in the right column of the table is one of ours."""
    table = page_text("names")
    here = [line.split(" | ")[-1] for line in table.splitlines() if line.startswith("| ")]
    owners = {"store": SessionStore, "chat": SessionHandle, "agent": omniagent_cli.Agent}
    methods = re.findall(r"\b(store|chat|agent)\.(\w+)\(", "\n".join(here))
    assert len(methods) > 30
    assert [(owner, name) for owner, name in methods if not hasattr(owners[owner], name)] == []
    others = re.findall(
        r"`(?:[\w.]+\.)?([A-Z]\w+|open_store|migrate|with_\w+)\b[(`]", "\n".join(here)
    )
    known = {*dir(omniagent_cli), *dir(omniagent_cli.errors)}
    assert [name for name in others if name not in known] == []
