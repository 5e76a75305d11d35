"""Systems that have less than Linux: every module can at least be imported there."""

import pytest

from tests import forked
from tests.packaging.building import TOP

IMPORTS = """
import builtins, importlib, os, pkgutil, signal, sys, types
import omniagent_cli

def every():
    for module in pkgutil.walk_packages(omniagent_cli.__path__, "omniagent_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

every()  # other libraries are here from now on, and know this system
for name in [name for name in sys.modules if name.startswith("omniagent_cli.")]:
    del sys.modules[name]

system, missing, gone = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
there = builtins.__import__

def found(name, globals=None, locals=None, fromlist=(), level=0):
    ours = (globals or {}).get("__name__", "").startswith("omniagent_cli")
    if ours and name in missing:
        raise ModuleNotFoundError(f"{name} is not on {system}", name=name)
    if ours and name == "msvcrt":
        return types.ModuleType(name)
    return there(name, globals, locals, fromlist, level)

builtins.__import__ = found
for name in gone:
    place = signal if name.startswith("SIG") else os
    if hasattr(place, name):
        delattr(place, name)
sys.platform = system
every()
print(len([name for name in sys.modules if name.startswith("omniagent_cli.")]))
"""

WINDOWS = (
    "fcntl termios pty tty resource pwd grp curses readline syslog",
    """fchmod fchown chown getuid geteuid getgid fork forkpty killpg setsid getpgrp tcgetpgrp pread pwrite
    statvfs mkfifo fdatasync WNOHANG O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_SYNC SIGHUP SIGKILL SIGTSTP
    SIGCONT SIGSTOP SIGPIPE SIGWINCH SIGUSR1 SIGALRM SIGCHLD SIGQUIT""",
)
MACOS = ("", "posix_fallocate sched_getaffinity copy_file_range memfd_create eventfd fdatasync")


@pytest.mark.parametrize(
    ("system", "missing", "gone"),
    [("win32", *WINDOWS), ("darwin", *MACOS)],
    ids=["win32", "darwin"],
)
def test_every_module_can_be_imported_there(system, missing, gone):
    """What the system has not is asked for where it is used, or not at all."""
    done = forked.run(["-c", IMPORTS, system, missing, gone], cwd=TOP, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300
