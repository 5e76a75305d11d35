"""Small programs that tests run as other processes, and as somebody who may do less."""

import json
import os
import subprocess
from pathlib import Path

from tests import forked
from tests.servers.guardian import GUARDIAN

TOP = Path(__file__).parents[2]
NOBODY = 65534

_BECOME = f"""
import contextlib, os, shutil, sqlite3, sys, tempfile
from omniagent_cli.errors import *
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
if os.getuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
path = sys.argv[1]
"""


def start(code, *arguments, **options):
    """Start a Python program that gets the arguments as text."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return forked.start(["-c", code, *map(str, arguments)], **options)


def finish(process, timeout=90):
    """Wait for a program and return what it printed; a failure shows what went wrong."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


def run(code, *arguments, **options):
    """Run a Python program to its end and return what it printed."""
    return finish(start(code, *arguments, **options))


def together(code, many, *arguments):
    """Run a program in many processes at once, each with its number last, and return what they printed."""
    begin = "import sys; from tests.stores.forking import main; main(*sys.argv[1:])"
    ended = json.loads(run(begin, code, many, *arguments, cwd=TOP))
    assert [err for status, _, err in ended if status] == []
    return [out for _, out, _ in ended]


def run_with_less_rights(code, path):
    """Run a program on `path` as somebody whom file permissions stop (they do not stop root)."""
    return run(_BECOME + code, path, env={**os.environ, "TMPDIR": GUARDIAN.outside})


def snapshot(directory):
    """Return the names, sizes and bytes of everything in a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def modes(directory):
    """Return the permissions of everything in a directory, itself included."""
    return {
        str(path.relative_to(directory)): path.stat().st_mode & 0o7777
        for path in [directory, *directory.rglob("*")]
    }
