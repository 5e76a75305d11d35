"""The `omniagent` command: what must be instant is answered before anything is imported."""

from __future__ import annotations

import gc
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the program with the words of this process, and end it with the exit code.

    Modules are not garbage: looking through them again and again while they load, and once more at the end,
    takes a tenth of a short command's time.
    """
    gc.set_threshold(50_000, 20, 20)
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are loaded
        code = _INTERRUPTED
    gc.freeze()
    sys.exit(code)


def _run(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        from omniagent_cli import __version__

        return _printed(f"omniagent {__version__}\n")
    if words[:1] == ["__complete"]:
        from omniagent_cli.complete import main as complete

        return int(complete(words[1:]) or 0)
    from omniagent_cli.cli import main as run

    return run(words)


def _printed(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        from omniagent_cli.cli.exits import CLOSED_PIPE, discard_output

        discard_output()
        return CLOSED_PIPE
    return 0


if __name__ == "__main__":
    main()
