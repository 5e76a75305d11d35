"""What every test lives in: an empty home of its own, and a network that ends at this machine."""

import os
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

REAL_HOME = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  # before any test changes HOME
VARIABLES = (
    "OMNIAGENT_",
    "XDG_",
    "OPENAI_",
    "ANTHROPIC_",
    "GEMINI_",
    "GOOGLE_",
    "OLLAMA_",
    "NO_COLOR",
    "FORCE_COLOR",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class OutsideError(BaseException):
    """A test reached for the network or the real home; no handler of ours may swallow that."""


def _is_here(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    try:
        return ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        return address[0] in ("localhost", "")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Stop a test at the border of its sandbox; see https://docs.python.org/3/library/audit_events.html."""
    if event == "socket.connect" and not _is_here(arguments[1]):
        raise OutsideError(f"a test tried to connect to {arguments[1]}")
    if (
        event == "open"
        and isinstance(arguments[0], str)
        and isinstance(arguments[2], int)
        and arguments[2] & WRITES
    ):
        path = os.path.abspath(arguments[0])  # noqa: PTH100  # this runs for every file that is opened
        if any(
            path.startswith(f"{REAL_HOME}/{place}/omniagent")
            for place in (".config", ".local/share", ".local/state", ".cache")
        ):
            raise OutsideError(f"a test tried to write {path}")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Give each test an empty home and none of the person's settings."""
    directory = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(VARIABLES) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    return directory


def pytest_sessionfinish(session, exitstatus):
    """In CI nothing is skipped: a missing shell or server is a failure there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("CI") == "true"
        and reporter is not None
        and reporter.stats.get("skipped")
        and exitstatus == 0
    ):
        reporter.write_line("tests were skipped, which CI does not allow")
        session.exitstatus = 1
