"""The slash command that copies messages to the clipboard."""

from __future__ import annotations

import re
from typing import Annotated

from omniagent_cli.errors import OmniAgentError, SessionNotFound, UsageError
from omniagent_cli.models import Message
from omniagent_cli.repl import clipboard
from omniagent_cli.repl.arguments import Kind
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import command
from omniagent_cli.text.sanitize import visible

What = Annotated[str, Kind("N")]
Part = Annotated[str, Kind("code")]

_LOOKS = (8, 64, 512)
_FENCED = re.compile(
    r"(?ms)^ {0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
)


class NotCopied(OmniAgentError):
    """Raised when no clipboard is available."""


@command("copy")
async def copy(chat: Chat, number: What = "", part: Part = "") -> None:
    """Copy the last answer to the clipboard, or message #N; "code" copies only its last block of code.

    The clipboard is that of this system (wl-copy, xclip, xsel, pbcopy, clip.exe) and that of the terminal (OSC 52).
    """
    if number == "code":
        number, part = "", number
    code = part == "code"
    if (part and not code) or (number and not number.isdecimal()):
        raise UsageError("/copy copies the last answer, /copy N message #N, /copy N code its code")
    message = await chat.call(_message, chat, int(number) if number else None)
    text = _last_code(message) if code else message.text
    if not text.strip():
        raise UsageError(f"message #{message.position} has no text to copy")
    clean = visible(text)
    what = f"the last code block of #{message.position}" if code else f"#{message.position}"
    replaced = sum(a != b for a, b in zip(clean, text.replace("\r\n", "\n"), strict=False))
    if replaced:
        what += f", {replaced} control characters replaced,"
    await _copy(chat, clean, what)


async def _copy(chat: Chat, text: str, what: str) -> None:
    """Copy a text to every available clipboard and print which ones."""
    terminal = chat.terminal
    taker, problems = await chat.call(clipboard.copy_with_program, text, terminal.environ)
    reaches = terminal.is_terminal and not terminal.is_dumb
    sent = clipboard.sequence(text, terminal.environ) if reaches else ""
    if sent:
        terminal.write(sent)
        terminal.flush()
    for problem in problems:
        terminal.warn(problem)
    ways = [f"by {taker}"] if taker else []
    if sent:
        ways.append("through the terminal (OSC 52, if it supports it)")
    if not ways:
        raise NotCopied(f"{what} was not copied: {_why(reaches=reaches)}; /save FILE writes it")
    report = f"{what} copied {' and '.join(ways)}: {len(text):,} characters"
    if reaches and not sent:
        report += f"; too long for the terminal's clipboard ({clipboard.SEQUENCE_BYTES:,} bytes)"
    terminal.note(report)


def _why(*, reaches: bool) -> str:
    names = ", ".join(dict.fromkeys(program.name for program in clipboard.PROGRAMS))
    if reaches:
        limit = f"{clipboard.SEQUENCE_BYTES:,} bytes"
        return f"it is too long for the terminal ({limit}), and none of {names} worked"
    return f"this terminal has no clipboard, and none of {names} worked"


def _message(chat: Chat, number: int | None) -> Message:
    """Return message #N, or the last answer.

    Raises:
        UsageError: there is no such message.
    """
    store, session_id = chat.store, chat.session_id
    try:
        if number is not None:
            found = store.messages(session_id, after=number - 1, before=number + 1)
            if not found:
                raise UsageError(f"no message #{number}; /history shows the numbers")
            return found[0]
        for look in _LOOKS:
            for message in reversed(store.messages(session_id, last=look)):
                if message.role == "assistant" and message.text.strip():
                    return message
    except SessionNotFound:
        pass
    raise UsageError("no answer to copy yet; /copy N copies message #N")


def _last_code(message: Message) -> str:
    blocks = [found["code"] for found in _FENCED.finditer(message.text)]
    if not blocks:
        raise UsageError(f"message #{message.position} has no code block")
    return blocks[-1].removesuffix("\n")
