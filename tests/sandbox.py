"""The border that no test crosses: the real home, and the network beyond this machine."""

import os
from ipaddress import ip_address
from pathlib import Path

REAL_HOME = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111  # before any test changes HOME
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


def watch(event: str, arguments: tuple[object, ...]) -> None:
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
