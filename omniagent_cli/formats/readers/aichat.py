"""``aichat``: sessions of the aichat command line, ``SESSIONS/NAME.yaml``.

A mapping with ``model``, ``messages`` and, after compression, ``compressed_messages``: the originals, replaced by a
summary at the start of ``messages``. There are no ids and no times; the times come from the file and from the name
of an autosaved session. https://github.com/sigoden/aichat, ``src/config/session.rs``.

YAML is read event by event, so that memory stays bounded, and tags are ignored; aliases are rejected, since a small
file with aliases can expand beyond any memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.input_sources import as_file
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    as_text,
    image_part,
    merge_parts,
    message,
    object_of,
    objects_of,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import ReaderItem, problem
from omniagent_cli.json_format import MAX_DEPTH

_AUTONAME = re.compile(r"(\d{8}T\d{6})-(.*)")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_LISTS = ("compressed_messages", "messages")


_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,2})?")


class _Unsupported(ValueError):
    """The document contains an unsupported construct."""


class Aichat:
    """Reader of one session per file."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the session, with the originals instead of their summary."""
        import yaml

        session = _SessionBuilder()
        with session.tree:
            events = _YamlEvents(source)
            try:
                session.read_document(events)
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                location = f"{source.name}:{mark.line + 1}" if mark else source.name
                yield problem(location, f"not YAML: {getattr(error, 'problem', None) or error}")
            except (_Unsupported, InvalidRecord, UnicodeDecodeError) as error:
                yield problem(events.location, error)
            name = Path(source.name).name.removesuffix(".yaml").removesuffix(".yml")
            autosaved = _AUTONAME.fullmatch(name)
            written = source.path.stat().st_mtime if source.path else None

            def header(branch: str) -> dict[str, Any]:
                return session_header(
                    "aichat",
                    name,
                    title=autosaved.group(2).replace("-", " ") if autosaved else name,
                    created=_local_time(autosaved.group(1)) if autosaved else written,
                    updated=written,
                    model=session.fields.get("model"),
                    branch=branch,
                    role=session.fields.get("role_name"),
                )

            yield from session_threads(
                session.tree, session.last, source.name, header, branches=False
            )


def _local_time(stamp: str) -> str | None:
    """Return the time in the name of an autosaved file, which is in local time."""
    try:
        return (
            datetime.strptime(stamp, "%Y%m%dT%H%M%S").astimezone().isoformat()
        )  # the local zone is applied immediately
    except ValueError:
        return None


class _SessionBuilder:
    """Builder of a session from a document."""

    def __init__(self) -> None:
        self.tree = MessageTree()
        self.fields: dict[str, Any] = {}
        self.last: str | None = None
        self._compressed = False
        self._image_nodes: dict[str, list[str]] = {}

    def read_document(self, events: _YamlEvents) -> None:
        """Read the document."""
        for key in events.members():
            if key in _LISTS:
                for number, raw in enumerate(events.items()):
                    summary = key == "messages" and self._compressed and number == 0
                    if not (summary and object_of(raw).get("role") == "system"):
                        self._add_message(raw, events.location)
                self._compressed |= key == "compressed_messages" and self.last is not None
            elif key == "data_urls":
                for name, url in events.pairs():
                    self._attach_image(name, text_of(url))
            else:
                self.fields[key] = events.value()

    def _add_message(self, raw: Any, location: str) -> None:
        for record in _records(object_of(raw), text_of(self.fields.get("model"))):
            node_id = f"m{len(self.tree) + 1}"
            self.tree.add(node_id, self.last, location, [record])
            self.last = node_id
            for part in objects_of(record["content"]):
                if part["type"] == "image_url":
                    self._image_nodes.setdefault(part["image_url"]["url"], []).append(node_id)

    def _attach_image(self, name: str, url: str) -> None:
        """Replace an image hash by its data; images follow the messages."""
        if not url.startswith("data:"):
            return
        for node_id in dict.fromkeys(self._image_nodes.get(name, ())):
            entries = list(self.tree.messages([self.tree.number_of(node_id)]))
            for part in (part for entry in entries for part in objects_of(entry.record["content"])):
                if object_of(part.get("image_url")).get("url") == name:
                    part["image_url"]["url"] = url
            self.tree.replace(node_id, entries[0].location, [entry.record for entry in entries])


def _records(raw: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    role, content = text_of(raw.get("role")), raw.get("content")
    if role == "tool" and isinstance(content, dict):
        yield from _tool_round(content, model)
        return
    if isinstance(content, list):
        content = merge_parts([_part(part) for part in objects_of(content)])
    if role in ("system", "user", "assistant"):
        text = content if isinstance(content, list) else as_text(content)
        yield message(role, text, model=model if role == "assistant" else "")


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        url = text_of(object_of(part.get("image_url")).get("url"))
        is_hash = re.fullmatch(r"[0-9a-f]{32,128}", url)
        return {"type": "image_url", "image_url": {"url": url}} if is_hash else image_part(url)
    return {"type": "text", "text": text_of(part.get("text"))}


def _tool_round(content: dict[str, Any], model: str) -> Iterator[dict[str, Any]]:
    """Yield the calls of an answer and their results, which aichat stores together."""
    results = objects_of(content.get("tool_results"))
    calls = [object_of(one.get("call")) for one in results]
    tool_calls = [
        tool_call(call.get("id"), call.get("name"), call.get("arguments", {})) for call in calls
    ]
    yield message("assistant", text_of(content.get("text")), model=model, tool_calls=tool_calls)
    for one, call in zip(results, calls, strict=True):
        name, call_id = text_of(call.get("name")), text_of(call.get("id"))
        yield message("tool", as_text(one.get("output")), name=name, tool_call_id=call_id)


class _BoundedReader:
    """Input of the YAML parser, which buffers each scalar completely."""

    def __init__(self, source: ByteSource) -> None:
        self._file = as_file(source)
        self.left = MAX_RECORD_BYTES

    def read(self, size: int = 4096, /) -> bytes:
        """Return the next bytes."""
        self.left -= size
        if self.left < 0:
            raise _Unsupported(f"longer than {MAX_RECORD_BYTES >> 20} MiB")
        return self._file.read(size)


class _YamlEvents:
    """Pull reader over the events of a YAML document, like `json_stream.JsonReader`."""

    def __init__(self, source: ByteSource) -> None:
        import yaml

        self._source = source
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._text = _BoundedReader(source)
        self._events = yaml.parse(self._text, Loader=loader)
        self._line = 0

    @property
    def location(self) -> str:
        """File name and line of the last event."""
        return f"{self._source.name}:{self._line + 1}"

    def _next(self) -> Any:
        import yaml

        event = next(self._events, None)
        self._text.left = MAX_RECORD_BYTES
        if event is None:
            raise _Unsupported("unexpected end")
        self._line = event.start_mark.line if event.start_mark else self._line
        if isinstance(event, yaml.AliasEvent):
            raise _Unsupported("aliases are not supported")
        return event

    def members(self) -> Iterator[str]:
        """Enter the mapping of the document and stop at the value of each key."""
        import yaml

        while not isinstance(event := self._next(), yaml.MappingStartEvent):
            if isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent):
                raise _Unsupported("session must be a mapping")
        while isinstance(key := self._next(), yaml.ScalarEvent):
            yield key.value
        if not isinstance(key, yaml.MappingEndEvent):
            raise _Unsupported("key must be text")

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value of the next mapping; nothing for any other value."""
        import yaml

        event = self._next()
        if not isinstance(event, yaml.MappingStartEvent):
            self._build(event, 0)
            return
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            yield as_text(self._build(key, 1)), self._build(self._next(), 1)

    def items(self) -> Iterator[Any]:
        """Yield each item of the next list; nothing for any other value."""
        import yaml

        event = self._next()
        if not isinstance(event, yaml.SequenceStartEvent):
            self._build(event, 0)
            return
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._build(event, 0)

    def value(self) -> Any:
        """Return the next value."""
        return self._build(self._next(), 0)

    def _build(self, event: Any, depth: int) -> Any:
        import yaml

        if depth > MAX_DEPTH:
            raise _Unsupported(f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.ScalarEvent):
            return _parse_scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
                items.append(self._build(inner, depth + 1))
            return items
        mapping: dict[str, Any] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            name = self._build(key, depth + 1)
            mapping[as_text(name)] = self._build(self._next(), depth + 1)
        return mapping


def _parse_scalar(text: str) -> Any:
    """Return the value of a plain scalar; JSON's types are sufficient."""
    if text in _NULL:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if set(text) & set(".eE") else int(text)
    return text
