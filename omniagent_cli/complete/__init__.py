"""TAB completion: the values for the word at the cursor, one ``value<TAB>description`` per line.

The shells run ``omniagent __complete WORD...`` at each TAB, so this module imports as little as possible, creates no
files, and prints nothing if an error occurs. A line with an empty value is an instruction to the shell: it names what
the shell completes itself, ``files`` or ``directories``, and the part of the word before their name.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omniagent_cli.complete.command_line_parser import CursorContext

    Pairs = Iterable[tuple[str, str]]

__all__ = ["answer", "main"]

_SESSION_DATA = ("tag", "tag change", "metadata key", "state key")
_BY_SHELL = {"file": "files", "store": "files", "directory": "directories"}


def main(words: list[str]) -> int:
    """Print the completions of the last word, and return 0 whatever happens.

    Args:
        words: the words after ``omniagent``, up to and including the word at the cursor, which may be empty. With
            ``--bash BREAKS LINE`` they are the unparsed line, which shows how the word is quoted and where it begins
            for readline; the values are then printed in the form to insert.
    """
    try:
        lines = _for_bash(words[1], words[2]) if words[:1] == ["--bash"] else _for_words(words)
        text = "".join(f"{value}\t{description}\n" for value, description in lines)
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except Exception:  # noqa: BLE001  # a traceback in the middle of a line being typed is worse than any error
        _abandon_stdout()
    return 0


def answer(words: list[str], environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the complete values for the last word, with their descriptions."""
    from omniagent_cli.complete.command_line_parser import find_cursor
    from omniagent_cli.complete.table import TABLE, VALUES

    cursor = find_cursor(words, TABLE)
    if cursor.kind == "text or @file" and cursor.prefix.startswith("@"):
        return [("", f"files\t{cursor.lead}@")]
    if cursor.kind in _BY_SHELL:
        return [("", f"{_BY_SHELL[cursor.kind]}\t{cursor.lead}")]
    return [
        (cursor.lead + value, description)
        for value, description in _values(cursor, VALUES, environ)
        if value.startswith(cursor.prefix)
    ]


def _values(cursor: CursorContext, known: Mapping[str, Pairs], environ: Mapping[str, str]) -> Pairs:
    if cursor.kind == "words":
        return cursor.words
    if cursor.kind in ("model", "prompt"):
        return _names(cursor, known, environ)
    if cursor.kind in _SESSION_DATA:
        return _session_data(cursor, environ)
    if cursor.kind == "topic":
        return _topics(cursor, known["topic"])
    if cursor.kind in known:
        return known[cursor.kind]
    if cursor.kind.startswith("one of "):
        return [(word, "") for word in cursor.kind.split()[2:]]
    if cursor.kind.startswith("session"):
        from omniagent_cli.complete.sessions import session_ids

        return session_ids(cursor, environ)
    return ()


def _names(cursor: CursorContext, known: Mapping[str, Pairs], environ: Mapping[str, str]) -> Pairs:
    if cursor.kind == "model":
        from omniagent_cli.complete.models import model_names

        return model_names(cursor.options, known["model"], environ)
    from omniagent_cli.complete.prompts import prompt_names

    return prompt_names(environ)


def _session_data(cursor: CursorContext, environ: Mapping[str, str]) -> Pairs:
    from omniagent_cli.complete import sessions

    if cursor.kind == "tag":
        return sessions.tags(cursor, environ)
    if cursor.kind == "tag change":
        return sessions.tag_changes(cursor, environ)
    from omniagent_cli.text.sanitize import one_line

    keys = sessions.session_keys(cursor, cursor.kind.removesuffix(" key"), environ)
    return [(key, one_line(value[:60])) for key, value in keys if key.isprintable()]


def _topics(cursor: CursorContext, topics: Pairs) -> Pairs:
    """Return topics and commands for the first word after ``help``, then the commands of the group."""
    from omniagent_cli.complete.table import TABLE

    words = cursor.arguments[1:] if cursor.arguments[:1] == ["json"] else cursor.arguments
    path = " ".join(words)
    below = TABLE[path][3] if path in TABLE else ()
    found = [(name, TABLE[f"{path} {name}".lstrip()][0]) for name in below]
    if cursor.arguments:
        return found
    names = {name for name, _ in topics}
    return [*topics, *(pair for pair in found if pair[0] not in names)]


def _for_words(words: list[str]) -> Pairs:
    return answer(words or [""], os.environ)


def _for_bash(breaks: str, line: str) -> Pairs:
    from omniagent_cli.complete.bash import BashLine

    typed = BashLine(line, breaks)
    if typed.redirects:
        return [("", "files\t")]
    return [
        (inserted, description)
        for value, description in answer(typed.words, os.environ)
        if (inserted := typed.inserted(value) if value else "") is not None
    ]


def _abandon_stdout() -> None:
    """Discard pending output, so that the interpreter does not report a closed pipe at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        return
