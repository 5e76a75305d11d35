"""``aichat``: sessions of the aichat command line, ``SESSIONS/NAME.yaml``.

A mapping with ``model``, ``messages`` and, once it has compressed them, ``compressed_messages``: the originals, for
which a summary stands first in ``messages``. There are no ids and no times, but in the name of an autosaved file.
https://github.com/sigoden/aichat, ``src/config/session.rs``.

YAML is read event by event, so that memory stays bounded, and every scalar is text; aliases, of which a small file
could be made that holds more than any memory, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from omniagent_cli.canonical import MAX_DEPTH
from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.exchange import Incoming, Problem, problem
from omniagent_cli.formats.foreign import (
    content_of,
    header_of,
    message,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
)  # fmt: skip
from omniagent_cli.formats.opening import as_file
from omniagent_cli.formats.source import Source
from omniagent_cli.formats.tree import Tree, threads

_AUTONAME = re.compile(r"(\d{8}T\d{6})-(.*)")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_LISTS = ("compressed_messages", "messages")


class _Refused(ValueError):
    """The document holds what is not read."""


class Aichat:
    """Reads one session a file."""

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the session, with the originals in place of their summary."""
        import yaml

        session = _Session()
        with session.tree:
            events = yaml.parse(
                as_file(source), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            )
            try:
                session.take(_Events(events, source.name))
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                place = f"{source.name}:{mark.line + 1}" if mark else source.name
                yield problem(place, f"not YAML: {getattr(error, 'problem', None) or error}")
            except (_Refused, InvalidRecord, UnicodeDecodeError) as error:
                yield problem(source.name, error)
            name = Path(source.name).name.removesuffix(".yaml").removesuffix(".yml")
            autosaved = _AUTONAME.fullmatch(name)

            def header(branch: str) -> dict[str, Any]:
                return header_of(
                    "aichat",
                    name,
                    title=autosaved.group(2).replace("-", " ") if autosaved else name,
                    created=_local(autosaved.group(1)) if autosaved else None,
                    model=session.facts.get("model"),
                    branch=branch,
                    role=session.facts.get("role_name"),
                )

            yield from threads(session.tree, session.last, source.name, header, branches=False)


def _local(stamp: str) -> str | None:
    """Return the time in the name of an autosaved file, which is in the zone of the machine."""
    try:
        return (
            datetime.strptime(stamp, "%Y%m%dT%H%M%S").astimezone().isoformat()
        )  # given one at once
    except ValueError:
        return None


class _Session:
    """A file, put together."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.facts: dict[str, Any] = {}
        self.last: str | None = None
        self._compressed = False

    def take(self, events: _Events) -> None:
        """Take in the document."""
        for key in events.members():
            if key in _LISTS:
                for number, said in enumerate(events.items()):
                    summary = key == "messages" and self._compressed and number == 0
                    if not (summary and object_of(said).get("role") == "system"):
                        self._add(said, events.place)
                self._compressed |= key == "compressed_messages" and self.last is not None
            elif key == "data_urls":
                self._show(object_of(events.value()))
            else:
                self.facts[key] = events.value()

    def _add(self, said: Any, place: str) -> None:
        for record in _records(object_of(said), text_of(self.facts.get("model"))):
            node_id = f"m{len(self.tree) + 1}"
            self.tree.add(node_id, self.last, place, [record])
            self.last = node_id

    def _show(self, urls: dict[str, Any]) -> None:
        """Put pictures in the places of their hashes; they stand behind the messages."""
        for node_id in self.tree.thread(self.last):
            records = [entry.record for entry in self.tree.entries([node_id])]
            found = [part for record in records for part in objects_of(record["content"])]
            changed = False
            for part in found:
                url = text_of(object_of(part.get("image_url")).get("url"))
                if url in urls and text_of(urls[url]).startswith("data:"):
                    part["image_url"]["url"], changed = urls[url], True
            if changed:
                self.tree.replace(node_id, "", records)


def _records(said: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    role, content = text_of(said.get("role")), said.get("content")
    if role == "tool" and isinstance(content, dict):
        yield from _tool_round(content, model)
        return
    if isinstance(content, list):
        content = content_of([_part(part) for part in objects_of(content)])
    if role in ("system", "user", "assistant"):
        text = content if isinstance(content, list) else said_of(content)
        yield message(role, text, model=model if role == "assistant" else "")


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        url = text_of(object_of(part.get("image_url")).get("url"))
        is_hash = re.fullmatch(r"[0-9a-f]{32,128}", url)
        return {"type": "image_url", "image_url": {"url": url}} if is_hash else picture(url)
    return {"type": "text", "text": text_of(part.get("text"))}


def _tool_round(content: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    """Yield the calls of an answer and their results, which aichat keeps together."""
    rounds = objects_of(content.get("tool_results"))
    calls = [object_of(one.get("call")) for one in rounds]
    made = [
        tool_call(call.get("id"), call.get("name"), call.get("arguments", {})) for call in calls
    ]
    yield message("assistant", text_of(content.get("text")), model=model, tool_calls=made)
    for one, call in zip(rounds, calls, strict=True):
        name, call_id = text_of(call.get("name")), text_of(call.get("id"))
        yield message("tool", said_of(one.get("output")), name=name, tool_call_id=call_id)


class _Events:
    """Walks through the events of a YAML document as `incremental.JsonReader` does through JSON."""

    def __init__(self, events: Iterator[Any], name: str) -> None:
        self._events = events
        self._name = name
        self._line = 0

    @property
    def place(self) -> str:
        """Where the last event stood."""
        return f"{self._name}:{self._line + 1}"

    def _next(self) -> Any:
        import yaml

        event = next(self._events, None)
        if event is None:
            raise _Refused("it ends too early")
        self._line = event.start_mark.line
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"line {self._line + 1} holds an alias, which is not read")
        return event

    def members(self) -> Iterator[str]:
        """Go into the document's mapping and stop at the value of each key."""
        import yaml

        while not isinstance(event := self._next(), yaml.MappingStartEvent):
            if isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent):
                raise _Refused("a session is a mapping")
        while isinstance(key := self._next(), yaml.ScalarEvent):
            yield key.value

    def items(self) -> Iterator[Any]:
        """Yield each item of the list that comes next; a value that is no list has none."""
        import yaml

        event = self._next()
        if not isinstance(event, yaml.SequenceStartEvent):
            self._built(event, 0)
            return
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._built(event, 0)

    def value(self) -> Any:
        """Return the value that comes next."""
        return self._built(self._next(), 0)

    def _built(self, event: Any, depth: int) -> Any:
        import yaml

        if depth > MAX_DEPTH:
            raise _Refused(f"it is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return None if event.implicit[0] and event.value in _NULL else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
                items.append(self._built(inner, depth + 1))
            return items
        found: dict[str, Any] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            name = self._built(key, depth + 1)
            found[said_of(name)] = self._built(self._next(), depth + 1)
        return found
