"""Incremental JSON reader: one value at a time, for documents of any length.

The standard library's scanner parses the values; this module feeds it and resynchronizes after an invalid value.
ijson was measured and rejected: its C backend turns a lone surrogate into ``?`` or fails, both backends stop at the
first error, and the pure Python one has a quarter of the speed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from json.decoder import JSONDecodeError
from typing import Any, NoReturn, cast

from omniagent_cli.errors import FormatError
from omniagent_cli.formats.byte_source import MAX_RECORD_BYTES, ByteSource
from omniagent_cli.formats.json_values import (
    DEEP_PART,
    RAW_SURROGATE,
    SPACE,
    BadValue,
    scan,
    scan_flat,
)

_BLANKS = re.compile(r"[ \t\r]*")
_SCALAR = re.compile(r"[^\s,\]}\[{\":]*")
_STRUCTURE = re.compile(r"\[+|\{+|[\]}]+|\"|\n")
_STRING_END = re.compile(r"[\"\\\n]")
_TAIL = 16
"""A scan error within this many characters of the end of the buffer may only mean that more input is needed."""


class LargeContainer(BadValue):
    """A container is too long or nested too deeply to be read as one value; the reader is positioned before it."""


class BadDocument(FormatError):
    """The document is damaged at this location; the rest cannot be read."""

    def __init__(self, message: str, *, location: str) -> None:
        super().__init__(message, location=location)
        self.message = message


class JsonReader:
    """Pull reader over the JSON values of a source.

    `array` and `members` enter a container; the caller reads or skips each value at which they stop.

    Args:
        source: the input.
        by_line: each document is one line, so damage is limited to its line.
    """

    def __init__(self, source: ByteSource, *, by_line: bool = False) -> None:
        self._source = source
        self._by_line = by_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._depth = 0
        self._ended = False
        self._abandoned = False

    @property
    def location(self) -> str:
        """Current file name and line, such as ``chats.json:12``."""
        self._count_lines()
        return f"{self._source.name}:{self._line}"

    def _count_lines(self) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at

    def peek(self) -> str:
        """Return the next non-blank character without consuming it; empty at the end.

        With `by_line`, a newline inside a document is not blank.
        """
        blanks = _BLANKS if self._by_line and self._depth else SPACE
        while not self._abandoned:
            match = blanks.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""
        return ""

    def value(self, *, may_enter: bool = False) -> Any:
        """Read the value at the current position; a text replaces parts nested too deeply, which are reported.

        Args:
            may_enter: the caller can enter a container that cannot be read as one value.

        Raises:
            BadValue: the value is not JSON or too long; the reader is positioned after it.
            LargeContainer: the value is too long or nested too deeply, with `may_enter`.
            BadDocument: the end of the value cannot be found.
        """
        may_enter = self.peek() in ("{", "[") and may_enter
        size_hint = 0
        read = scan
        while True:
            try:
                value, end = read(self._text, self._at)
            except (StopIteration, JSONDecodeError) as error:
                if not self._may_be_incomplete(error):
                    self._skip_with_error(_describe(error))
            except RecursionError:
                if may_enter:
                    raise LargeContainer("nested too deeply") from None
                if self._source.report_problem is None:
                    self._skip_with_error("nested too deeply")
                read = scan_flat
                continue
            except ValueError as error:
                self._skip_with_error(str(error))
            else:
                if end < len(self._text) or self._ended:
                    if read is scan_flat and self._source.report_problem is not None:
                        self._source.report_problem(self.location, DEEP_PART)
                    return self._consume(value, end)
            if len(self._text) - self._at > MAX_RECORD_BYTES:
                if may_enter:
                    raise LargeContainer("too long")
                self._skip_with_error(f"longer than {MAX_RECORD_BYTES >> 20} MiB")
            # The buffer grows in increasing steps, so parsing a long value takes linear time.
            size_hint = max(size_hint * 2, len(self._text) - self._at)
            self._fill(size_hint)

    def _consume(self, value: Any, end: int) -> Any:
        document_error = RAW_SURROGATE.search(self._text, self._at, end)
        self._at = end
        if document_error:
            raise BadValue("not valid UTF-8")
        return value

    def _may_be_incomplete(self, error: StopIteration | JSONDecodeError) -> bool:
        """Return True if an error may only mean that the rest of the value is not buffered yet."""
        if self._ended:
            return False
        if isinstance(error, JSONDecodeError):
            return error.msg.startswith("Unterminated") or error.pos > len(self._text) - _TAIL
        return cast("int", error.value) > len(self._text) - _TAIL

    def _skip_with_error(self, message: str) -> NoReturn:
        self.skip()
        raise BadValue(message)

    def skip(self) -> None:
        """Skip the value at the current position, valid or not, without storing it.

        Raises:
            BadDocument: the document ends inside the value.
        """
        first = self.peek()
        if first not in ("{", "[", '"'):
            self._skip_scalar()
            return
        depth = 0
        while True:
            match = _STRUCTURE.search(self._text, self._at)
            if match is None:
                self._at = len(self._text)
                if not self._fill():
                    raise self.document_error("unexpected end of file in a value")
                continue
            mark = match.group()
            self._at = match.end()
            if mark == "\n":
                if self._by_line:
                    self._at = match.start()
                    raise self.document_error("unexpected end of line in a value")
            elif mark == '"':
                self._skip_string()
            elif mark[0] in "[{":
                depth += len(mark)
            else:
                self._at -= max(0, len(mark) - depth)
                depth = max(0, depth - len(mark))
            if depth == 0 and mark != "\n":
                return

    def _skip_string(self) -> None:
        while True:
            match = _STRING_END.search(self._text, self._at)
            if match is None:
                self._at = len(self._text)
            elif match.group() == '"':
                self._at = match.end()
                return
            elif match.group() == "\n":  # a string has no raw newline: its end is missing
                self._at = match.start()
                return
            else:
                self._at = (
                    match.end() + 1
                )  # an escape: its second character does not end the string
            if self._at >= len(self._text):
                ahead = self._at - len(self._text)
                self._at = len(self._text)
                if not self._fill():
                    raise self.document_error("unexpected end of file in a string")
                self._at = ahead

    def _skip_scalar(self) -> None:
        moved = False
        while True:
            match = _SCALAR.match(self._text, self._at)
            end = match.end() if match else self._at
            moved = moved or end > self._at
            self._at = end
            if end < len(self._text) or not self._fill():
                break
        if not moved:
            raise self.document_error("expected a value")

    def array(self) -> Iterator[None]:
        """Enter the array at the current position, stop at each element, then leave it.

        Raises:
            BadDocument: there is no array, or its end cannot be found.
        """
        self._expect("[", "a list")
        self._depth += 1
        if self.peek() == "]":
            self._exit_container()
            return
        while True:
            yield
            if self._at_end("]"):
                return

    def members(self) -> Iterator[str]:
        """Enter the object at the current position, stop at the value of each key, then leave it.

        Raises:
            BadDocument: there is no object, or its end cannot be found.
        """
        self._expect("{", "an object")
        self._depth += 1
        if self.peek() == "}":
            self._exit_container()
            return
        while True:
            if self.peek() != '"':
                raise self.document_error("expected a key")
            try:
                key = self.value()
            except BadValue as error:
                raise self.document_error(f"unreadable key: {error}") from error
            self._expect(":", "a colon")
            yield key
            if self._at_end("}"):
                return

    def _at_end(self, end: str) -> bool:
        """Consume the separator after a value; return True if it ended the container."""
        if self._abandoned:
            return True
        character = self.peek()
        if character == end:
            self._exit_container()
            return True
        if character != ",":
            message = f"expected , or {end}, found {character!r}"
            raise self.document_error(message if character.strip() else "unexpected end")
        self._at += 1
        return False

    def _exit_container(self) -> None:
        self._at += 1
        self._depth -= 1

    def _expect(self, size_hint: str, message: str) -> None:
        character = self.peek()
        if character != size_hint:
            rest = f"found {character!r}" if character.strip() else "found the end"
            raise self.document_error(f"{message} should be here and {rest}")
        self._at += 1

    def abandon(self) -> None:
        """Abandon the document: all open containers end."""
        self._abandoned = True

    def next_line(self) -> bool:
        """Skip the rest of the line; return False if there is no other line."""
        self._depth, self._abandoned = 0, False
        while (end := self._text.find("\n", self._at)) < 0:
            self._at = len(self._text)
            if not self._fill():
                return False
        self._at = end + 1
        return True

    def document_error(self, message: str) -> BadDocument:
        """Return an error for the current location."""
        return BadDocument(message, location=self.location)

    def _fill(self, size_hint: int = 0) -> bool:
        """Read at least one more character, about `size_hint` if given; return False at the end."""
        if self._ended:
            return False
        pieces = [self._text[self._at :]]
        self._count_lines()
        size = 0
        while not self._ended and size <= size_hint:
            data = self._source.chunk()
            self._ended = not data
            piece = self._decoder.decode(data, final=not data)
            pieces.append(piece)
            size += len(piece)
        self._text, self._at, self._counted_to = "".join(pieces), 0, 0
        return size > 0


def _describe(error: StopIteration | JSONDecodeError) -> str:
    return f"not JSON: {error.msg}" if isinstance(error, JSONDecodeError) else "not JSON"
