"""Streaming Markdown, split into finished blocks and an open tail."""

from __future__ import annotations

import re

_SMALL_CHARACTERS = 1_000
_GROWTH = 1.125


class MarkdownBlocks:
    """Splitter for top-level blocks that later text cannot change.

    A block is finished when another one follows, or when it is closed by itself: a heading, a rule, closed math, a closed fence. The
    layout parser decides. A long open block is parsed again only after it has grown by an eighth, and an open fence only
    when a line may close it, so the cost stays within a few times the length of the answer.

    Attributes:
        tail: open text.
        fence: opening marker of an open fence, such as three backticks; empty without one.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.tail = ""
        self.fence = ""
        self._scanned = 0
        self._parsed = 0

    def add(self, text: str) -> None:
        """Add `visible` text."""
        self.tail += text

    def take_finished(self) -> list[str]:
        """Remove and return the finished blocks as Markdown."""
        end = self.tail.rfind("\n", self._scanned) + 1
        if not end or not self._worth_parsing(end):
            return []
        blocks, cut = self._split_finished(end)
        self._scanned = self._parsed = end - cut
        self.tail = self.tail[cut:]
        return blocks

    def take_rest(self) -> list[str]:
        """Remove and return all blocks, at the end of the answer."""
        from omniagent_cli.ui.markdown import parse_markdown

        lines = self.tail.splitlines(keepends=True)
        self._reset()
        spans = [t.map for t in parse_markdown("".join(lines)) if t.level == 0 and t.map]
        return ["".join(lines[start:end]) for start, end in spans]

    def take_open(self) -> tuple[str, str]:
        """Remove and return the open text and the marker of its fence."""
        taken = self.tail, self.fence
        self._reset()
        return taken

    def _worth_parsing(self, end: int) -> bool:
        if self.fence:
            closing = closing_fence(self.fence).search(self.tail, max(0, self._scanned - 1), end)
            if closing is None:
                self._scanned = end
                return False
            return True
        return end <= _SMALL_CHARACTERS or end >= self._parsed * _GROWTH

    def _split_finished(self, end: int) -> tuple[list[str], int]:
        """Return the finished blocks of the text up to `end`, and the offset of the open part."""
        from omniagent_cli.ui.markdown import parse_markdown

        lines = self.tail[:end].splitlines(keepends=True)
        tops = [t for t in parse_markdown(self.tail[:end]) if t.level == 0 and t.map]
        self.fence = ""
        if not tops:
            return [], 0
        last = tops[-1]
        start, stop = last.map or (0, 0)
        if not self._ends_itself(last.type, last.markup, lines[start:stop]):
            tops.pop()
            self.fence = last.markup if last.type == "fence" else ""
            stop = start
        spans = [t.map for t in tops if t.map]
        blocks = ["".join(lines[first:after]) for first, after in spans]
        return blocks, sum(map(len, lines[:stop]))

    def _ends_itself(self, kind: str, markup: str, lines: list[str]) -> bool:
        if kind == "fence":
            return len(lines) > 1 and closing_fence(markup).match("\n" + lines[-1]) is not None
        return kind in ("hr", "math_block") or (kind == "heading_open" and markup.startswith("#"))


def closing_fence(opening: str) -> re.Pattern[str]:
    """Return the pattern of a closing fence: at least as many of the same characters and nothing else."""
    character = re.escape(opening[0])
    return re.compile(rf"\n {{0,3}}{character}{{{len(opening)},}}[ \t]*\n")
