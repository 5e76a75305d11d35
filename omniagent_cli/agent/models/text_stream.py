"""The text of an answer from its pieces: characters split between two pieces, and thinking in tags."""

from __future__ import annotations

from collections.abc import Iterator

_OPENING = ("<think>", "<thinking>", "<thought>")
"""Tags at the start of an answer from servers that do not separate the thinking."""


def joined(text: str) -> str:
    """Join surrogate pairs to the characters they encode; lone surrogates stay."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class PairJoiner:
    """Joiner of surrogate pairs that arrive in two pieces, from servers that split at UTF-16 units."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the complete characters; the first half of a pair is held back for the next piece."""
        text = self._held + piece
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return joined(text)

    def flush(self) -> str:
        """Return a half that is still held back."""
        held, self._held = self._held, ""
        return held


class ThinkTags:
    """Separates thinking in tags from the text after it.

    Only tags at the very start of an answer count; elsewhere they are plain text, in code or prose.

    Attributes:
        open_tag: the opening tag until its closing tag arrives; empty otherwise.
    """

    def __init__(self) -> None:
        self.open_tag = ""
        self._held = ""
        self._is_text = False
        self._trim = False

    def feed(self, piece: str) -> Iterator[tuple[str, str]]:
        """Yield pairs of thinking and text, one of them empty; a possible tag is held back for the next piece."""
        if self._is_text:
            yield "", piece
            return
        self._held += piece
        if not self.open_tag and not self._opened():
            yield from self._as_text()
        if self.open_tag:
            yield from self._inside()

    def flush(self) -> Iterator[tuple[str, str]]:
        """Yield the text that is held back, at the end of the answer."""
        held, self._held = self._held, ""
        if self.open_tag and held:
            yield held, ""
        elif text := held.lstrip() if self._trim else held:
            yield "", text

    def _opened(self) -> bool:
        """Parse an opening tag; return False once the text cannot become one."""
        start = self._held.lstrip()
        for tag in _OPENING:
            if start.startswith(tag):
                self.open_tag, self._held, self._trim = tag, start.removeprefix(tag), True
                return True
        return any(tag.startswith(start) for tag in _OPENING)

    def _inside(self) -> Iterator[tuple[str, str]]:
        closing = f"</{self.open_tag[1:]}"
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        thinking, found, rest = self._held.partition(closing)
        if not found:
            kept = next(n for n in range(len(closing), -1, -1) if thinking.endswith(closing[:n]))
            thinking, rest = thinking[: len(thinking) - kept], closing[:kept]
        if thinking:
            yield thinking, ""
        self._held = rest
        if found:
            self.open_tag, self._trim = "", True
            yield from self.feed("")  # another tag may follow

    def _as_text(self) -> Iterator[tuple[str, str]]:
        """Return the held text; the blank lines after the thinking are not part of it."""
        text = self._held.lstrip() if self._trim else self._held
        self._held = ""
        self._is_text = bool(text)
        if text:
            yield "", text
