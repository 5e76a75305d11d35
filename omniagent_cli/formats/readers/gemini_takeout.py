"""``gemini-takeout``: the activity of Gemini Apps in a Google Takeout, ``My Activity/Gemini Apps/MyActivity.json``.

The activity does not name conversations: each item is one question with its answer as HTML, so each day becomes a
session. Only ``Prompted`` items are messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import list_entries, until_damage
from omniagent_cli.formats.json_stream import JsonReader
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    left_out,
    list_of,
    message,
    object_of,
    objects_of,
    parse_timestamp,
    session_header,
    text_of,
)
from omniagent_cli.formats.types import MessageEntry, Omission, Problem, ReaderItem

_PROMPTED = re.compile(r"Prompted\s+")
_BLOCKS = frozenset(
    {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table"}
)


class GeminiTakeout:
    """Reader of the activity; one session per day."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the days, newest first, as the activity is ordered."""
        reader = JsonReader(source)
        day: str = ""
        items: list[tuple[str, dict[str, Any]]] = []
        for entry in until_damage(reader, list_entries(reader)):
            if isinstance(entry, Problem | Omission):
                yield entry
            elif isinstance(entry, MessageEntry):
                item = object_of(entry.record)
                this_day = (parse_timestamp(item.get("time")) or "")[:10]
                if items and this_day != day:
                    yield from _session(day, items)
                    items = []
                day = this_day
                items.append((entry.location, item))
        if items:
            yield from _session(day, items)


def _session(day: str, items: list[tuple[str, dict[str, Any]]]) -> Iterator[ReaderItem]:
    items.sort(key=lambda one: parse_timestamp(one[1].get("time")) or "")
    with MessageTree() as tree:
        last: str | None = None
        for number, (location, item) in enumerate(items):
            tree.add(f"{number}", last, location, _records(item))
            last = f"{number}"
        first_at, last_at = items[0][1].get("time"), items[-1][1].get("time")

        def header(branch: str) -> dict[str, Any]:
            name = day or "undated"
            return session_header(
                "gemini-takeout", name, title=f"Gemini {name}", created=first_at, updated=last_at, branch=branch
            )  # fmt: skip

        yield from session_threads(tree, last, items[0][0], header, branches=False)


def _records(item: dict[str, Any]) -> list[dict[str, Any]]:
    title, at = text_of(item.get("title")), item.get("time")
    prompted = _PROMPTED.match(title)
    if not prompted:
        return [left_out("other activity")]
    files = [text_of(name) for name in list_of(item.get("attachedFiles")) if text_of(name)]
    question = "\n".join([title[prompted.end() :], *(f"[file: {name}]" for name in files)])
    answer = "\n\n".join(
        _text(text_of(one.get("html"))) for one in objects_of(item.get("safeHtmlItem"))
    )
    records = [message("user", question, at=at)]
    if answer:
        records.append(message("assistant", answer, at=at))
    return records


class _TextOfHtml(HTMLParser):
    """Collector of the text of HTML; list items and links keep their Markdown form."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self.pieces.append("\n- " if tag == "li" else "\n")
        elif tag == "a":
            self._urls.append(dict(attrs).get("href") or "")
            self.pieces.append("[")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS and tag not in ("li", "br"):
            self.pieces.append("\n")
        elif tag == "a" and self._urls:
            self.pieces.append(f"]({self._urls.pop()})")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def _text(html: str) -> str:
    parser = _TextOfHtml()
    parser.feed(html)
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.pieces)).strip()
