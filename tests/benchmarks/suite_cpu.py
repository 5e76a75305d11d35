"""CPU time of the test suite at two commits: user and system seconds of each, and their ratio.

    python tests/benchmarks/suite_cpu.py [--base COMMIT] [--commit COMMIT] [--workers N] [PYTEST ARGUMENTS]

Each commit is checked out into a temporary worktree with a copy of the environment whose python runs this, and its
quick loop is run there, one commit after the other. CPU time is that of the whole process tree: servers and commands
that the tests start are included, whoever reaps them. The commits are abcfb63 and HEAD by default. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BASE = "abcfb63"
PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h: orphans of our descendants become our children, so that we can wait for them."""


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def copy_environment(target: Path) -> None:
    """Copy the environment of this python; its scripts and its editable install refer to the worktree."""
    source = Path(sys.prefix)
    shutil.copytree(source, target, symlinks=True, copy_function=_link)
    named = {
        str(source).encode(): str(target).encode(),
        str(TOP).encode(): str(target.parent).encode(),
    }
    packages = next(target.glob("lib/python*/site-packages"))
    for file in (*target.glob("bin/*"), target / "pyvenv.cfg", *packages.glob("*.pth")):
        if not file.is_file() or file.is_symlink():
            continue
        old = new = file.read_bytes()
        for name, replacement in named.items():
            new = new.replace(name, replacement)
        if new != old and b"\0" not in old:  # a link to the original: replaced, not changed
            mode = file.stat().st_mode
            file.unlink()
            file.write_bytes(new)
            file.chmod(mode)


@contextmanager
def worktree(commit: str, place: Path) -> Iterator[Path]:
    """Check out a commit with an environment of its own; remove both at the end."""
    tree = place / "tree"
    git = ["git", "-C", str(TOP), "worktree"]
    subprocess.run([*git, "add", "-q", "--detach", tree, commit], check=True)
    try:
        copy_environment(tree / ".venv")
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", tree], check=False)


def cpu_seconds(
    command: list[str], tree: Path, environ: dict[str, str]
) -> tuple[float, float, int]:
    """Return the user and system seconds of a command and all its descendants, and its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = subprocess.run(command, cwd=tree, env=environ, check=False).returncode
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, code


def suite(commit: str, workers: str, words: list[str]) -> float:
    """Run the suite of a commit, print its figures, and return its CPU seconds."""
    with tempfile.TemporaryDirectory() as place, worktree(commit, Path(place)) as tree:
        environ = {
            k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "CI"}
        }
        environ["PATH"] = f"{tree / '.venv/bin'}{os.pathsep}{environ['PATH']}"
        if os.access("/dev/shm", os.W_OK):  # as python -m tests has it
            environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")
        python = str(tree / ".venv/bin/python")
        # Bytecode is compiled first: it is a cost of a checkout, not of a test.
        subprocess.run(
            [python, "-m", "compileall", "-q", "omniagent_cli", "tests"], cwd=tree, check=False
        )
        quick = ["-q", "-n", workers, "--dist", "worksteal", "-m", "not soak", *words]
        user, system, code = cpu_seconds([python, "-m", "pytest", *quick], tree, environ)
    print(
        f"{commit}: user {user:.0f} s + system {system:.0f} s = {user + system:.0f} s, exit code {code}",
        flush=True,
    )
    return user + system


def main() -> None:
    """Measure both commits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=BASE)
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--workers", default="auto")
    given, words = parser.parse_known_args()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    base, now = (suite(commit, given.workers, words) for commit in (given.base, given.commit))
    print(f"{given.commit} / {given.base} = {now / base:.2f}")


if __name__ == "__main__":
    main()
