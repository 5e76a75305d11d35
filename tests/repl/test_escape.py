"""Keys that arrive while an answer streams."""

import asyncio

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import DummyOutput

from omniagent_cli.repl.escape import StreamKeys
from tests.repl.terminal import ALT_ENTER, ESCAPE, PASTE


def test_only_escape_alone_stops():
    """Arrow keys, Alt-Enter and a pasted Escape do not stop; Escape alone does. The other keys are the draft."""
    stops = []

    async def type_keys() -> str:
        stopped = asyncio.Event()

        def stop() -> None:
            stops.append(None)
            stopped.set()

        with create_pipe_input() as source:
            keys = StreamKeys(source, DummyOutput(), stop)
            with keys.reading():
                source.send_text("\x1b[D" + ALT_ENTER + PASTE.format("a\x1bb") + "c" + ESCAPE)
                await stopped.wait()
            return keys.take_draft()

    assert asyncio.run(type_keys()) == "\na\x1bbc"
    assert len(stops) == 1


@pytest.mark.parametrize(
    ("typed", "draft"),
    [
        ("one\rtwo\r", "one\ntwo"),
        ("one\ntwo", "one\ntwo"),
        ("abc\x7f\x08d", "ad"),
        ("first\rsecond word\x17", "first\nsecond "),
        ("first\rsecond word\x15x", "first\nx"),
        ("a\tb", "a\tb"),
        (PASTE.format("/clear\r\n//x\r") + "y", "/clear\n//x\ny"),
        ("ab\x1b[D\x1b[DX\x1b[CY\x1b[3~", "XaY"),
        ("\x1b[A\x1b[B\x0c\x1bf", "f"),
        ("ab\x01X\x05Y", "XabY"),
        ("abc\x01\x1b[C\x0bd", "ad"),
        ("Ä😀\x00", "Ä😀"),
        ("\x04", ""),
        ("a" * 60_000, "a" * 60_000),
    ],
)  # fmt: skip
def test_keys_become_a_draft(typed, draft):
    """Text and line breaks are kept, deletions apply, other keys do nothing; Ctrl-D alone is left for the prompt."""
    with create_pipe_input() as source:
        source.send_text(typed)
        keys = StreamKeys(source, DummyOutput(), lambda: None)
        assert keys.take_draft() == ""  # no answer has streamed
        assert asyncio.run(_read(keys)) == draft
        assert [press.key for press in get_typeahead(source)] == [Keys.ControlD] * (typed == "\x04")


async def _read(keys: StreamKeys) -> str:
    with keys.reading():
        pass
    return keys.take_draft()
