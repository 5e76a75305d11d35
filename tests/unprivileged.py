"""The omniagent program with the rights of files enforced, which do not stop root otherwise.

Root keeps its number and may read its own directories, so that modules can still be imported from there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping

_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def enforce_permissions() -> None:
    """Drop the capabilities of root that override permissions, see capabilities(7) and capset(2)."""
    if os.geteuid() or sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    for field in range(3):  # effective, permitted, inheritable
        data[field] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def run_unprivileged(*argv: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run omniagent so that it cannot write what its permissions forbid."""
    return subprocess.run(
        [sys.executable, "-P", __file__, *argv],
        capture_output=True,
        cwd="/",
        env=dict(environ),
        timeout=100,
        check=False,
    )


if __name__ == "__main__":
    from omniagent_cli.cli import main

    enforce_permissions()
    sys.exit(main(sys.argv[1:]))
