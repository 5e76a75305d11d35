"""One message: a view of its record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Self, TypeVar, cast, overload

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import clone, dump, format_time, parse_time
from omniagent_cli.models.ids import MAX_ID_BYTES
from omniagent_cli.models.parts import Content, content_text

ROLES = ("system", "user", "assistant", "tool")
STATUSES = ("complete", "interrupted", "failed")

ToolCall = dict[str, Any]
"""``{"id": str, "type": "function", "function": {"name": str, "arguments": JSON text}}``."""

T = TypeVar("T")


class _Field(Generic[T]):
    """One key of a record, read and written as an attribute; the default is not stored."""

    __slots__ = ("default", "key")

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Message, owner: type) -> T: ...
    def __get__(self, instance: Message | None, owner: type) -> T | Self:
        if instance is None:
            return self
        return cast("T", instance.record.get(self.key, self.default))

    def __set__(self, instance: Message, value: T) -> None:
        if value == self.default and self.key not in _ALWAYS:
            instance.record.pop(self.key, None)
        else:
            instance.record[self.key] = value


_ALWAYS = frozenset({"role", "content"})


class Message:
    """One entry of a conversation: a view of its record, so that unknown keys are kept.

    Attributes:
        record: the JSON object as stored and exported, without the position.
        position: its position in the session, from 0; stable and never reused; None until stored.
    """

    __slots__ = ("position", "record")

    id = _Field[str | None](None)
    role = _Field[str]("user")
    content = _Field[Content]("")
    tool_calls = _Field[list[ToolCall] | None](None)
    tool_call_id = _Field[str | None](None)
    name = _Field[str | None](None)
    model = _Field[str | None](None)
    usage = _Field[dict[str, Any] | None](None)
    status = _Field[str]("complete")
    extra = _Field[dict[str, Any] | None](None)
    turn_id = _Field[str | None](None)

    def __init__(
        self,
        role: str,
        content: Content = "",
        *,
        position: int | None = None,
        created_at: datetime | None = None,
        **keys: Any,
    ) -> None:
        record = {
            "role": role,
            "content": content,
            **{k: v for k, v in keys.items() if v is not None},
        }
        if created_at is not None:
            record["created_at"] = format_time(created_at)
        check_message_record(record)
        self.record: dict[str, Any] = record
        self.position = position

    @classmethod
    def from_record(cls, record: Mapping[str, Any], position: int | None = None) -> Self:
        """Build a message from untrusted JSON data.

        Raises:
            InvalidRecord: it does not have the shape of a message.
        """
        if len(record) == 2 and record.get("role") in ROLES and type(record.get("content")) is str:
            return cls.trusted({**record}, position)  # the common case of an append
        try:
            own = clone(dict(record))
        except RecursionError as error:
            raise InvalidRecord("a message is nested too deeply") from error
        if own.get("content") is None:
            own["content"] = ""
        check_message_record(own)
        return cls.trusted(own, position)

    @classmethod
    def trusted(cls, record: dict[str, Any], position: int | None) -> Self:
        """Wrap a record that is known to be valid, without copying it."""
        message = object.__new__(cls)
        message.record = record
        message.position = position
        return message

    def to_record(self) -> dict[str, Any]:
        """Return a copy of the record."""
        record: dict[str, Any] = clone(self.record)
        return record

    def copy(self) -> Self:
        """Return an independent copy."""
        return self.trusted(self.to_record(), self.position)

    @property
    def created_at(self) -> datetime | None:
        """The time of creation, in UTC; None until stored."""
        text = self.record.get("created_at")
        return parse_time(text) if text else None

    @created_at.setter
    def created_at(self, moment: datetime | None) -> None:
        if moment is None:
            self.record.pop("created_at", None)
        else:
            self.record["created_at"] = format_time(moment)

    @property
    def text(self) -> str:
        """The content as text, one line per part; see `content_text`."""
        return content_text(self.record.get("content", ""))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.record == other.record

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Message({self.position}, {self.role!r}, {self.text[:60]!r})"


_OPTIONAL_TEXT = ("id", "tool_call_id", "name", "model", "turn_id")
_OPTIONAL_OBJECT = ("usage", "extra")


def expect(ok: bool, what: str) -> None:  # noqa: FBT001  # the condition is its only subject
    """Raise `InvalidRecord` with this text unless the condition holds."""
    if not ok:
        raise InvalidRecord(what)


def check_message_record(record: dict[str, Any]) -> None:
    """Check the known keys of a message record; times become UTC, null means absent.

    Raises:
        InvalidRecord: a key is invalid; the message names it.
    """
    if record.get("role") not in ROLES:
        raise InvalidRecord(
            f"a message's role must be one of {', '.join(ROLES)}, not {record.get('role')!r}"
        )
    content = record.setdefault("content", "")
    if len(record) == 2 and isinstance(content, str):
        return  # the common case, on the path of every append
    if not isinstance(content, str):
        expect(
            isinstance(content, list) and all(isinstance(part, dict) for part in content),
            "a message's content must be text or a list of parts",
        )
    for key in _OPTIONAL_TEXT:
        if key in record and record[key] is None:
            del record[key]
        expect(key not in record or isinstance(record[key], str), f"a message's {key} must be text")
    expect(
        "id" not in record or 0 < len(record["id"]) <= 2 * MAX_ID_BYTES,
        "a message's id must have 1 to 1024 characters",
    )
    for key in ("id", "turn_id"):
        try:
            expect(
                0 not in record.get(key, "").encode(),
                f"a message's {key} must not contain a NUL character",
            )
        except UnicodeEncodeError as error:
            raise InvalidRecord(f"a message's {key} must be valid Unicode text") from error
    for key in _OPTIONAL_OBJECT:
        if key in record and record[key] is None:
            del record[key]
        expect(
            key not in record or isinstance(record[key], dict),
            f"a message's {key} must be an object",
        )
    _check_calls(record)
    if record.get("status") in (None, "complete"):
        record.pop("status", None)
    expect(
        record.get("status", "complete") in STATUSES,
        f"a message's status must be one of {', '.join(STATUSES)}",
    )
    if record.get("created_at") is None:
        record.pop("created_at", None)
    else:
        record["created_at"] = format_time(parse_time(record["created_at"]))


def _check_calls(record: dict[str, Any]) -> None:
    calls = record.get("tool_calls")
    if calls is None:
        record.pop("tool_calls", None)
        return
    expect(isinstance(calls, list), "a message's tool_calls must be a list")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidRecord("a tool call must have a function with a name")
        if not isinstance(function.get("arguments", ""), str):
            # Some files have the arguments as an object; the published form is JSON text.
            function["arguments"] = dump(function["arguments"]).decode()
