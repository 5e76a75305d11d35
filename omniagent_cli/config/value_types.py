"""What a setting may hold: read from text, checked as TOML gives it, shown without secrets."""

from __future__ import annotations

import re
from datetime import timedelta, tzinfo
from typing import Any

from omniagent_cli.durations import format_duration, parse_duration
from omniagent_cli.errors import InvalidDuration
from omniagent_cli.masking import MASK, mask_url, mask_words

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Unfit(Exception):
    """A value is not what its setting expects; who asked adds name, place and advice."""


class Kind:
    """The rules for the value of one setting.

    Attributes:
        expected: what would be right, as the end of a sentence that starts with "give".
    """

    expected = "text"

    def read(self, text: str) -> Any:
        """Turn what a person typed, or a variable holds, into the form that stands in a file."""
        return text

    def check(self, raw: Any) -> Any:
        """Turn the form that stands in a file into the value the program uses.

        Raises:
            Unfit: it is not what `expected` says.
        """
        raise NotImplementedError

    def show(self, value: Any) -> Any:
        """Turn a checked value into something JSON can hold and a person may see."""
        return value

    def show_raw(self, raw: Any) -> str:
        """Quote a value, right or wrong, for an error message; never a secret."""
        shown = repr(raw)
        return shown if len(shown) <= 80 else f"{shown[:79]}…"


class Line(Kind):
    """One line of text that is not blank."""

    def __init__(self, expected: str = "one line of text") -> None:
        self.expected = expected

    def check(self, raw: Any) -> str:
        """Accept text without control characters."""
        if not isinstance(raw, str) or not raw.strip() or _CONTROL.search(raw):
            raise Unfit
        return raw.strip()


class Prose(Kind):
    """Any text, also of many lines, also empty."""

    def check(self, raw: Any) -> str:
        """Accept text."""
        if not isinstance(raw, str) or "\0" in raw:
            raise Unfit
        return raw


class Hidden(Line):
    """One line of text that may be a secret."""

    def show(self, value: Any) -> Any:
        """Show that there is something."""
        return MASK if value else value

    def show_raw(self, raw: Any) -> str:
        """Show the type alone: a wrong value may be the secret with a typing error."""
        return f"a {type(raw).__name__}" if not isinstance(raw, str) else MASK


class Address(Line):
    """A URL or a path whose password is not shown."""

    def __init__(self, expected: str, pattern: str = r".+") -> None:
        super().__init__(expected)
        self._pattern = re.compile(pattern)

    def check(self, raw: Any) -> str:
        """Accept what fits the pattern."""
        text = super().check(raw)
        if not self._pattern.fullmatch(text):
            raise Unfit
        return text

    def show(self, value: Any) -> Any:
        """Show it without the password."""
        return mask_url(value) if value else value

    def show_raw(self, raw: Any) -> str:
        """Show it without the password."""
        return super().show_raw(mask_url(raw) if isinstance(raw, str) else raw)


class Boolean(Kind):
    """True or false."""

    expected = "true or false"
    _words = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
        ("false", "no", "off", "0"), False
    )

    def read(self, text: str) -> Any:
        """Read the usual words; others are left for `check` to refuse."""
        return self._words.get(text.strip().lower(), text)

    def check(self, raw: Any) -> bool:
        """Accept a boolean."""
        if not isinstance(raw, bool):
            raise Unfit
        return raw


class Integer(Kind):
    """A whole number within bounds."""

    def __init__(self, minimum: int, maximum: int = 10**12) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.expected = f"a whole number of at least {minimum}"
        if maximum < 10**12:
            self.expected = f"a whole number from {minimum} to {maximum}"

    def read(self, text: str) -> Any:
        """Read decimal digits; anything else is left for `check` to refuse."""
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text

    def check(self, raw: Any) -> int:
        """Accept an integer within the bounds; true and false are none."""
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise Unfit
        if not self._minimum <= raw <= self._maximum:
            raise Unfit
        return raw


class Number(Kind):
    """A number within bounds."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.expected = f"a number from {minimum:g} to {maximum:g}"

    def read(self, text: str) -> Any:
        """Read a decimal number; anything else is left for `check` to refuse."""
        try:
            return float(text)
        except ValueError:
            return text

    def check(self, raw: Any) -> float:
        """Accept a number within the bounds, which NaN is not."""
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            raise Unfit
        if not self._minimum <= raw <= self._maximum:
            raise Unfit
        return float(raw)


class Duration(Kind):
    """A length of time; None, which zero means too, stands for never."""

    expected = "a length of time such as 30m, 24h, 7d, 1h30m or never"

    def read(self, text: str) -> Any:
        """Keep the text, which is the form files use."""
        return text.strip()

    def check(self, raw: Any) -> timedelta | None:
        """Accept a duration; a bare number has no unit and is refused, except zero."""
        if raw == 0 and isinstance(raw, int) and not isinstance(raw, bool):
            return None
        if not isinstance(raw, str):
            raise Unfit
        try:
            return parse_duration(raw)
        except InvalidDuration as error:
            raise Unfit from error

    def show(self, value: Any) -> Any:
        """Show it as it would be written."""
        return format_duration(value)


class Retention(Duration):
    """How long to keep what was removed; zero keeps nothing, and there is no "never"."""

    expected = "a length of time such as 30d, or 0 to keep nothing"

    def check(self, raw: Any) -> timedelta:
        """Accept a duration that ends."""
        length = super().check(raw)
        if length is None and str(raw).strip().lower() == "never":
            # It could be read as "never removed" or as "never kept", and one of them loses data.
            raise Unfit
        return length or timedelta(0)

    def show(self, value: Any) -> Any:
        """Show it as it would be written."""
        return format_duration(value) if value else "0"


class Zone(Kind):
    """A time zone by its name in the IANA database."""

    expected = "a time zone such as Europe/Berlin or UTC"

    def read(self, text: str) -> Any:
        """Take the name without blanks around it."""
        return text.strip()

    def check(self, raw: Any) -> tzinfo:
        """Accept a name that this system knows; none of them is a path out of the database."""
        from zoneinfo import ZoneInfo

        if not isinstance(raw, str) or not raw:
            raise Unfit
        try:
            return ZoneInfo(raw)
        except (ValueError, OSError, KeyError) as error:  # KeyError: there is no such zone
            raise Unfit from error

    def show(self, value: Any) -> Any:
        """Show its name."""
        return str(value) if value else value


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.expected = f"{', '.join(words[:-1])} or {words[-1]}"

    def read(self, text: str) -> Any:
        """Take the word whatever its case."""
        return text.strip().lower()

    def check(self, raw: Any) -> str:
        """Accept one of the words."""
        if raw not in self._words:
            raise Unfit
        return str(raw)


class Lines(Kind):
    """A list of lines of text; with `or_line`, also one line."""

    def __init__(self, *, or_line: bool = False) -> None:
        self._or_line = or_line
        self.expected = 'a list such as ["one", "two"]'
        if or_line:
            self.expected = f"one line of text or {self.expected}"

    def read(self, text: str) -> Any:
        """Read a list in the form JSON and TOML share; anything else is left as text."""
        if not text.lstrip().startswith("["):
            return text
        import tomllib

        try:
            return tomllib.loads(f"list = {text}\n")["list"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return text

    def check(self, raw: Any) -> str | tuple[str, ...]:
        """Accept a list of text, as a tuple."""
        if self._or_line and isinstance(raw, str):
            return Line().check(raw)
        if not isinstance(raw, list | tuple) or (self._or_line and not raw):
            raise Unfit
        if not all(isinstance(item, str) and "\0" not in item for item in raw):
            raise Unfit
        return tuple(raw)

    def show(self, value: Any) -> Any:
        """Show it without what looks like a secret."""
        if value is None:
            return None
        return " ".join(mask_words(value.split())) if isinstance(value, str) else mask_words(value)
