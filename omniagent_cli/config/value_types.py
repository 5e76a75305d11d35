"""Types of setting values: parsing of text, checking of TOML values, display without secrets."""

from __future__ import annotations

import re
from datetime import timedelta, tzinfo
from typing import Any

from omniagent_cli.durations import format_duration, parse_duration
from omniagent_cli.errors import InvalidDuration
from omniagent_cli.masking import MASK, mask_url, mask_words
from omniagent_cli.parsing import alternatives

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class InvalidValue(Exception):
    """The value does not fit its setting; the caller adds name, origin and advice."""


class ValueType:
    """The type of the value of a setting.

    Attributes:
        expected: a valid value, as the end of a sentence that starts with "must be".
    """

    expected = "text"

    def read(self, text: str) -> Any:
        """Convert text from the command line or a variable to the form of a file."""
        return text

    def check(self, raw: Any) -> Any:
        """Convert the form of a file to the value that the program uses.

        Raises:
            InvalidValue: it does not match `expected`.
        """
        raise NotImplementedError

    def show(self, value: Any) -> Any:
        """Convert a checked value to a JSON value without secrets."""
        return value

    def show_raw(self, raw: Any) -> str:
        """Quote a value for an error message, without secrets."""
        shown = repr(raw)
        return shown if len(shown) <= 80 else f"{shown[:79]}…"


class Text(ValueType):
    """One line of text that is not blank."""

    def __init__(self, expected: str = "one line of text") -> None:
        self.expected = expected

    def check(self, raw: Any) -> str:
        """Accept text without control characters."""
        if not isinstance(raw, str) or not raw.strip() or _CONTROL.search(raw):
            raise InvalidValue
        return raw.strip()


class MultilineText(ValueType):
    """Any text, including empty text and several lines."""

    def check(self, raw: Any) -> str:
        """Accept text."""
        if not isinstance(raw, str) or "\0" in raw:
            raise InvalidValue
        return raw


class Secret(Text):
    """One line of text that may be a secret."""

    def show(self, value: Any) -> Any:
        """Return the mask."""
        return MASK if value else value

    def show_raw(self, raw: Any) -> str:
        """Return only the type: an invalid value may be the secret with a typing error."""
        return f"a {type(raw).__name__}" if not isinstance(raw, str) else MASK


class Url(Text):
    """A URL or a path, displayed without its password."""

    def __init__(self, expected: str, pattern: str = r".+") -> None:
        super().__init__(expected)
        self._pattern = re.compile(pattern)

    def check(self, raw: Any) -> str:
        """Accept text that matches the pattern."""
        text = super().check(raw)
        if not self._pattern.fullmatch(text):
            raise InvalidValue
        return text

    def show(self, value: Any) -> Any:
        """Return it without the password."""
        return mask_url(value) if value else value

    def show_raw(self, raw: Any) -> str:
        """Return it without the password."""
        return super().show_raw(mask_url(raw) if isinstance(raw, str) else raw)


class Boolean(ValueType):
    """True or false."""

    expected = "true or false"
    _words = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
        ("false", "no", "off", "0"), False
    )

    def read(self, text: str) -> Any:
        """Parse the usual words; leave others for `check` to reject."""
        return self._words.get(text.strip().lower(), text)

    def check(self, raw: Any) -> bool:
        """Accept a boolean."""
        if not isinstance(raw, bool):
            raise InvalidValue
        return raw


class Integer(ValueType):
    """A whole number within bounds."""

    def __init__(self, minimum: int, maximum: int = 10**12) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.expected = f"a whole number of at least {minimum}"
        if maximum < 10**12:
            self.expected = f"a whole number from {minimum} to {maximum}"

    def read(self, text: str) -> Any:
        """Parse decimal digits; leave anything else for `check` to reject."""
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text

    def check(self, raw: Any) -> int:
        """Accept an integer within the bounds, but no boolean."""
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise InvalidValue
        if not self._minimum <= raw <= self._maximum:
            raise InvalidValue
        return raw


class Number(ValueType):
    """A number within bounds."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.expected = f"a number from {minimum:g} to {maximum:g}"

    def read(self, text: str) -> Any:
        """Parse a decimal number; leave anything else for `check` to reject."""
        try:
            return float(text)
        except ValueError:
            return text

    def check(self, raw: Any) -> float:
        """Accept a number within the bounds; NaN is refused."""
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            raise InvalidValue
        if not self._minimum <= raw <= self._maximum:
            raise InvalidValue
        return float(raw)


class Duration(ValueType):
    """A duration; None means never, and so does zero."""

    expected = "a duration such as 30m, 24h, 7d, 1h30m or never"

    def read(self, text: str) -> Any:
        """Return the text, which is the form of a file."""
        return text.strip()

    def check(self, raw: Any) -> timedelta | None:
        """Accept a duration; a number without a unit is refused, except zero."""
        if raw == 0 and isinstance(raw, int) and not isinstance(raw, bool):
            return None
        if not isinstance(raw, str):
            raise InvalidValue
        try:
            return parse_duration(raw)
        except InvalidDuration as error:
            raise InvalidValue from error

    def show(self, value: Any) -> Any:
        """Return it as text."""
        return format_duration(value)


class Retention(Duration):
    """A retention time of removed messages; zero keeps nothing, and "never" is invalid."""

    expected = "a duration such as 30d, or 0 to keep nothing"

    def check(self, raw: Any) -> timedelta:
        """Accept a finite duration."""
        length = super().check(raw)
        if length is None and str(raw).strip().lower() == "never":
            # Ambiguous: "never removed" or "never kept", and the second loses data.
            raise InvalidValue
        return length or timedelta(0)

    def show(self, value: Any) -> Any:
        """Return it as text."""
        return format_duration(value) if value else "0"


class TimeZone(ValueType):
    """A time zone by its name in the IANA database."""

    expected = "a time zone such as Europe/Berlin or UTC"

    def read(self, text: str) -> Any:
        """Return the name without surrounding blanks."""
        return text.strip()

    def check(self, raw: Any) -> tzinfo:
        """Accept a name in the database of this system."""
        from zoneinfo import ZoneInfo

        if not isinstance(raw, str) or not raw:
            raise InvalidValue
        try:
            return ZoneInfo(raw)
        except (ValueError, OSError, KeyError) as error:  # KeyError: unknown zone
            raise InvalidValue from error

    def show(self, value: Any) -> Any:
        """Return its name."""
        return str(value) if value else value


class Choice(ValueType):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.expected = alternatives(words)

    def read(self, text: str) -> Any:
        """Return the word in lower case."""
        return text.strip().lower()

    def check(self, raw: Any) -> str:
        """Accept one of the words."""
        if raw not in self._words:
            raise InvalidValue
        return str(raw)


class TextList(ValueType):
    """A list of strings; with `or_line`, a single string is also valid."""

    def __init__(self, *, or_line: bool = False) -> None:
        self._or_line = or_line
        self.expected = 'a list such as ["one", "two"]'
        if or_line:
            self.expected = f"one line of text or {self.expected}"

    def read(self, text: str) -> Any:
        """Parse a list in the form that JSON and TOML share; leave anything else as text."""
        if not text.lstrip().startswith("["):
            return text
        import tomllib

        try:
            return tomllib.loads(f"list = {text}\n")["list"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return text

    def check(self, raw: Any) -> str | tuple[str, ...]:
        """Validate a list of strings and return it as a tuple."""
        if self._or_line and isinstance(raw, str):
            return Text().check(raw)
        if not isinstance(raw, list | tuple) or (self._or_line and not raw):
            raise InvalidValue
        if not all(isinstance(item, str) and "\0" not in item for item in raw):
            raise InvalidValue
        return tuple(raw)

    def show(self, value: Any) -> Any:
        """Return it with secrets masked."""
        if value is None:
            return None
        return " ".join(mask_words(value.split())) if isinstance(value, str) else mask_words(value)
