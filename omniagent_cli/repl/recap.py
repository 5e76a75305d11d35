"""The recap of a resumed session: its last exchanges, shortened, in constant time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omniagent_cli.agent.last_turn import last_turn
from omniagent_cli.agent.resume import Ending, ending, may_be_streaming
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.repl.truncation import beginning, end
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.sanitize import first_line, one_line
from omniagent_cli.ui.cells import cut_cells, wrap_cells
from omniagent_cli.ui.transcript import ROLE_STYLES, body, call_line, heading
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat

_TURNS = 3
_LOOKS = (12, 48)
_LAST_ROWS, _QUESTION_ROWS, _EARLIER_ROWS = 24, 6, 6
_HINT_LENGTH = 120

_WAYS_ON = {
    Ending.UNANSWERED: "The last question has no answer{why}. /retry asks it again",
    Ending.PARTIAL: "This answer was interrupted. /continue resumes it, /retry asks again",
    Ending.FAILED: "This answer failed{why}. /continue resumes it, /retry asks again",
    Ending.CUT: "This answer was truncated at the model's token limit. /continue resumes it",
    Ending.IN_TOOLS: "This turn stopped during its tool calls. /continue resumes it, /retry asks again",
}
_MAY_GROW = (
    "This answer is incomplete; another program may still be writing it, or was killed. "
    "/continue resumes it, /retry asks again"
)


async def show_recap(chat: Chat) -> None:
    """Print the last exchanges of the session, and how to resume an unfinished one."""
    messages, summarized = await chat.call(_read, chat.store, chat.session_id)
    if not messages:
        return
    earlier = chat.message_count - len(messages)
    if earlier > 0:
        chat.terminal.note(f"{counted(earlier, 'message')} before. /history N shows more")
    if summarized is not None:
        chat.terminal.note(f"The model receives a summary of the messages up to #{summarized}")
    turn = await chat.call(last_turn, chat.store, chat.session_id)
    final = messages[-1].id
    stopped = ending(turn)
    for message in messages:
        show_truncated(
            chat, message, last=message.id == final, ends_early=stopped is not Ending.COMPLETE
        )
    hint = resume_hint(turn)
    if hint:
        chat.terminal.note(hint)


def resume_hint(turn: Sequence[Message]) -> str:
    """Return how a turn was cut short and how to resume it; empty if it is complete."""
    stopped = ending(turn)
    if stopped is Ending.COMPLETE:
        return ""
    if stopped is Ending.PARTIAL and may_be_streaming(turn[-1]):
        return _MAY_GROW
    error = (turn[-1].extra or {}).get("error")
    why = first_line(error, _HINT_LENGTH) if isinstance(error, str) else ""
    return _WAYS_ON[stopped].format(why=f" ({why})" if why and why != "interrupted" else "")


def _read(store: SessionStore, session_id: str) -> tuple[list[Message], int | None]:
    """Return the messages of the last turns, and the last position that a summary covers."""
    try:
        for look in _LOOKS:
            messages = store.messages(session_id, last=look)
            questions = [n for n, message in enumerate(messages) if message.role == "user"]
            if len(questions) >= _TURNS or len(messages) < look:
                break
        summary = store.last_summary(session_id)
    except SessionNotFound:
        return [], None
    first = questions[-_TURNS:][0] if questions else 0
    up_to = summary.get("up_to") if isinstance(summary, dict) else None
    return messages[first:], up_to if isinstance(up_to, int) else None


def show_truncated(chat: Chat, message: Message, *, last: bool, ends_early: bool = False) -> None:
    """Print a truncated message: more rows of the last one, and the end of an unfinished one."""
    terminal = chat.terminal
    if message.role == "tool":
        failed = "failed: " if (message.extra or {}).get("failed") else ""
        line = f"← {message.name or 'tool'}: {failed}{first_line(message.text, _HINT_LENGTH)}"
        terminal.line(terminal.style(cut_cells(one_line(line), terminal.width - 1), "dim"))
        return
    _print_wrapped(chat, heading(message, utc_now()), ROLE_STYLES[message.role])
    rows = _rows(message, last=last)
    text = body(_without_calls(message))
    if last and ends_early and message.role == "assistant":
        shown, left_out = end(text, rows, terminal.prose_width)
        _fold(chat, left_out)
        _paint(chat, message, shown)
    else:
        shown, left_out = beginning(text, rows, terminal.prose_width)
        _paint(chat, message, shown)
        _fold(chat, left_out)
    for call in message.tool_calls or ():
        terminal.line(cut_cells(one_line(call_line(call)), terminal.width - 1))
    if not message.tool_calls:
        terminal.line()


def _rows(message: Message, *, last: bool) -> int:
    if message.role != "assistant":
        return _QUESTION_ROWS
    return _LAST_ROWS if last else _EARLIER_ROWS


def _without_calls(message: Message) -> Message:
    return Message(message.role, message.content)


def _paint(chat: Chat, message: Message, text: str) -> None:
    if text:
        chat.terminal.line(chat.painted(text, message.role))


def _fold(chat: Chat, left_out: str) -> None:
    if left_out:
        _print_wrapped(chat, f"... {left_out}, /history shows all", "dim")


def _print_wrapped(chat: Chat, text: str, style: str) -> None:
    for row in wrap_cells(text, chat.terminal.prose_width):
        chat.terminal.line(chat.terminal.style(row, style))
