"""Drafts: keys that were typed or pasted between two prompts, as text for the next one; it is never sent by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyPress

_START_OF_PASTE = "\x1b[200~"
_END_OF_PASTE = "\x1b[201~"
_CTRL_C = "\x03"


_EDITS: dict[str, Callable[[Buffer], object]] = {
    Keys.ControlH: Buffer.delete_before_cursor,
    Keys.Delete: Buffer.delete,
    Keys.Left: Buffer.cursor_left,
    Keys.Right: Buffer.cursor_right,
    Keys.Home: lambda buffer: _move_to(buffer, buffer.document.get_start_of_line_position()),
    Keys.ControlA: lambda buffer: _move_to(buffer, buffer.document.get_start_of_line_position()),
    Keys.End: lambda buffer: _move_to(buffer, buffer.document.get_end_of_line_position()),
    Keys.ControlE: lambda buffer: _move_to(buffer, buffer.document.get_end_of_line_position()),
    Keys.ControlU: lambda buffer: buffer.delete_before_cursor(
        -buffer.document.get_start_of_line_position()
    ),
    Keys.ControlK: lambda buffer: buffer.delete(buffer.document.get_end_of_line_position()),
    Keys.ControlW: lambda buffer: buffer.delete_before_cursor(
        -(buffer.document.find_start_of_previous_word(WORD=True) or 0)
    ),
}
"""Keys that edit a draft as they edit a line; other keys than these and text do nothing."""


def draft_text(keys: Iterable[KeyPress]) -> str:
    """Return the text that keys stand for; Enter is a line break."""
    buffer, run = Buffer(), list[str]()
    for press in keys:
        if edit := _EDITS.get(press.key):
            buffer.insert_text("".join(run))
            run.clear()
            edit(buffer)
        else:
            run.append(_text_of(press))
    buffer.insert_text("".join(run))
    return buffer.text.rstrip("\n")


def _text_of(press: KeyPress) -> str:
    if press.key is Keys.BracketedPaste:
        return press.data.replace("\r\n", "\n").replace("\r", "\n")
    if press.key in (Keys.ControlM, Keys.ControlJ):
        return "\n"
    if press.key is Keys.ControlI:
        return "\t"
    return "" if isinstance(press.key, Keys) else press.data


def _move_to(buffer: Buffer, offset: int) -> None:
    buffer.cursor_position += offset


def let_paste_end(source: Input) -> None:
    """Let Ctrl-C end a paste whose end never came, for example because the connection lost it."""
    parser: Any = getattr(source, "vt100_parser", None)
    if parser is None:
        return
    feed = parser.feed

    def feed_or_end(data: str) -> None:
        if data.endswith(_CTRL_C) and _is_open(parser, data):
            feed(data.removesuffix(_CTRL_C) + _END_OF_PASTE + _CTRL_C)
        else:
            feed(data)

    parser.feed = feed_or_end


def _is_open(parser: Any, data: str) -> bool:
    """Return True if a paste has no end after this input."""
    start, end = data.rfind(_START_OF_PASTE), data.rfind(_END_OF_PASTE)
    return start > end or (end < 0 and getattr(parser, "_in_bracketed_paste", False))


def name_modified_enter() -> None:
    """Let Enter with Shift, Alt or Ctrl be Ctrl-J, in the forms that terminals send for it.

    Source: https://invisible-island.net/xterm/modified-keys.html: ``CSI 13 ; MODIFIER u`` and ``CSI 27 ; MODIFIER ; 13 ~``.
    """
    for modifier in range(2, 17):
        ANSI_SEQUENCES[f"\x1b[13;{modifier}u"] = Keys.ControlJ
        ANSI_SEQUENCES[f"\x1b[27;{modifier};13~"] = Keys.ControlJ
