"""The `omniagent` command; `--version` and completion are answered before anything else is imported."""

from __future__ import annotations

import gc
import os
import sys

from omniagent_cli.process_end import ProcessEnd

_INTERRUPTED = 130


def main() -> None:
    """Run the program with the arguments of this process and exit with its code.

    Modules are not garbage: collecting while they load takes a tenth of a short command's time.
    """
    end = ProcessEnd()
    gc.set_threshold(50_000, 20, 20)
    _hold_streams()
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are loaded
        code = _INTERRUPTED
    except SystemExit as error:
        end.code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    end.begin(code)


def _run(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        from omniagent_cli._version import __version__

        if _printed(f"omniagent {__version__}\n"):
            return 0
    if words[:1] == ["__complete"]:
        from omniagent_cli.complete import main as complete

        return int(complete(words[1:]) or 0)
    from omniagent_cli.cli import main as run

    return run(words)


def _printed(text: str) -> bool:
    """Print a text; return False on failure, which the full program then reports."""
    try:
        os.write(1, text.encode())  # nothing is left in a buffer when it fails
    except OSError:
        return False
    return True


def _hold_streams() -> None:
    """Open what was closed before the start: a store must not become what others think is stderr."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
