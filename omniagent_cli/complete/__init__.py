"""TAB: what may stand at the cursor, one ``value<TAB>description`` a line.

The shells ask ``omniagent __complete WORD...`` while somebody types, so this imports next to nothing, never creates
anything, and says nothing at all rather than anything wrong. A line with an empty value is for the script: it names
what the shell itself completes, ``files`` or ``directories``, and what of the word stands before their name.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from omniagent_cli.complete.command_line_parser import Place

    Pairs = Iterable[tuple[str, str]]

__all__ = ["answer", "main"]

_HELD = ("tag", "tag change", "metadata key", "state key")
_BY_SHELL = {"file": "files", "store": "files", "directory": "directories"}


def main(words: list[str]) -> int:
    """Print what completes the last of the words, and return 0 whatever happens.

    Args:
        words: what stands after ``omniagent``, up to and with the word at the cursor, which may be empty. The
            three words ``--bash BREAKS LINE`` are the line as bash holds it, because only that says how the word
            is quoted and where readline believes it begins; the values are then printed as they are inserted.
    """
    try:
        lines = _for_bash(words[1], words[2]) if words[:1] == ["--bash"] else _for_words(words)
        text = "".join(f"{value}\t{description}\n" for value, description in lines)
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except Exception:  # noqa: BLE001  # whatever it is, a traceback in the middle of a line being typed is worse
        _abandon_stdout()
    return 0


def answer(words: list[str], environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the values for the last word, each whole, with their descriptions."""
    from omniagent_cli.complete.command_line_parser import find_place
    from omniagent_cli.complete.table import TABLE, VALUES

    place = find_place(words, TABLE)
    if place.kind == "text or @file" and place.prefix.startswith("@"):
        return [("", f"files\t{place.lead}@")]
    if place.kind in _BY_SHELL:
        return [("", f"{_BY_SHELL[place.kind]}\t{place.lead}")]
    return [
        (place.lead + value, description)
        for value, description in _values(place, VALUES, environ)
        if value.startswith(place.prefix)
    ]


def _values(place: Place, known: Mapping[str, Pairs], environ: Mapping[str, str]) -> Pairs:
    if place.kind == "words":
        return place.words
    if place.kind == "model":
        from omniagent_cli.complete.models import model_names

        return model_names(place.given, known["model"], environ)
    if place.kind in _HELD:
        return _held(place, environ)
    if place.kind == "topic":
        return _topics(place, known["topic"])
    if place.kind in known:
        return known[place.kind]
    if place.kind.startswith("session"):
        from omniagent_cli.complete.sessions import session_ids

        return session_ids(place, environ)
    return ()


def _held(place: Place, environ: Mapping[str, str]) -> Pairs:
    from omniagent_cli.complete import session_values as values

    if place.kind == "tag":
        return values.tags_of(place, environ)
    if place.kind == "tag change":
        return values.tag_changes(place, environ)
    pairs = values.keys_of(place, place.kind.removesuffix(" key"), environ)
    return [(key, _short(text)) for key, text in pairs if key.isprintable()]


def _short(text: str) -> str:
    from omniagent_cli.text.sanitize import one_line

    return one_line(text[:60])


def _topics(place: Place, topics: Pairs) -> Pairs:
    """Return topics and commands for the first word after ``help``, then the commands of a group."""
    from omniagent_cli.complete.table import TABLE

    words = place.arguments[1:] if place.arguments[:1] == ["json"] else place.arguments
    path = " ".join(words)
    below = TABLE[path][3] if path in TABLE else ()
    found = [(name, TABLE[f"{path} {name}".lstrip()][0]) for name in below]
    if place.arguments:
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
    """Let the interpreter's last flush go nowhere: it would complain about a closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        return
