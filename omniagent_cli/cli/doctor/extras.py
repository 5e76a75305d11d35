"""Check of the extras: optional dependencies and whether they are installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from omniagent_cli.cli.doctor.check_result import INFO, OK, WARNING, CheckContext, Finding

_DISTRIBUTION = "omniagent-cli"
_EXTRA = re.compile(r"""^([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")
_FOR_TESTS = "test"


def check(_patient: CheckContext) -> Iterator[Finding]:
    """Check the packages of each extra."""
    for extra, packages in _extras().items():
        missing = [name for name, found in packages.items() if not found]
        if missing:
            install = f"pip install '{_DISTRIBUTION}[{extra}]'"
            what = f"{extra}: not installed ({', '.join(missing)}). Install: {install}"
            yield Finding(INFO, what)
        else:
            there = ", ".join(f"{name} {found}" for name, found in packages.items())
            yield Finding(OK, f"{extra}: installed: {there}")
    if not _extras():
        yield Finding(
            WARNING,
            "omniagent-cli is not installed as a package; its extras are unknown",
            "install it with pip, pipx or uv",
        )


def _extras() -> dict[str, dict[str, str]]:
    """Return the packages of each extra with their versions, empty if not installed."""
    try:
        wanted = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for line in wanted:
        if (match := _EXTRA.match(line)) and match[2] != _FOR_TESTS:
            found.setdefault(match[2], {})[match[1]] = _version(match[1])
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
