"""Keys that arrive while an answer streams."""

import asyncio

from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.keys import Keys

from omniagent_cli.repl.escape import StreamKeys
from tests.repl.terminal import ALT_ENTER, ESCAPE, PASTE


def test_only_escape_alone_stops():
    """Arrow keys, Alt-Enter and a pasted Escape are kept for the prompt; Escape alone stops and is not kept."""
    stops = []

    async def type_keys() -> list[str]:
        stopped = asyncio.Event()

        def stop() -> None:
            stops.append(None)
            stopped.set()

        with create_pipe_input() as source:
            with StreamKeys(source, stop).reading():
                source.send_text("\x1b[D" + ALT_ENTER + PASTE.format("a\x1bb") + "c" + ESCAPE)
                await stopped.wait()
            return [press.key for press in get_typeahead(source)]

    kept = asyncio.run(type_keys())
    assert kept == [Keys.Left, Keys.Escape, Keys.ControlM, Keys.BracketedPaste, "c"]
    assert len(stops) == 1
