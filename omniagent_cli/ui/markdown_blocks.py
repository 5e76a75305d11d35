"""Growing Markdown, cut into blocks that are finished and a tail that is still open."""

from __future__ import annotations

import re

_SMALL_CHARACTERS = 1_000
_GROWTH = 1.125


class MarkdownBlocks:
    """Finds the top-level blocks that no later text can change.

    A block is finished when another one follows it, or when it shows its own end: a heading, a rule, a closed
    fence. Everything is judged by the parser that lays it out. A long open block is parsed again only when it has
    grown by an eighth, and an open fence only when a line could close it, so that no answer costs more than a few
    times its length.

    Attributes:
        tail: the text that is still open.
        fence: how the open fence began, such as three backticks; empty when none is open.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.tail = ""
        self.fence = ""
        self._scanned = 0
        self._parsed = 0

    def add(self, text: str) -> None:
        """Take more text, `visible` already."""
        self.tail += text

    def take_finished(self) -> list[str]:
        """Take out the blocks that are finished, each as its own Markdown."""
        end = self.tail.rfind("\n", self._scanned) + 1
        if not end or not self._worth_parsing(end):
            return []
        blocks, cut = self._split_finished(end)
        self._scanned = self._parsed = end - cut
        self.tail = self.tail[cut:]
        return blocks

    def take_rest(self) -> list[str]:
        """Take out everything; nothing more will come."""
        from omniagent_cli.ui.markdown import parse_markdown

        lines = self.tail.splitlines(keepends=True)
        self._reset()
        spans = [t.map for t in parse_markdown("".join(lines)) if t.level == 0 and t.map]
        return ["".join(lines[start:end]) for start, end in spans]

    def take_open(self) -> tuple[str, str]:
        """Take the open text out as it is, and the fence it is in."""
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
        """Return the finished blocks of the text up to `end`, and where the open part begins."""
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
        return kind == "hr" or (kind == "heading_open" and markup.startswith("#"))


def closing_fence(opening: str) -> re.Pattern[str]:
    """Return what ends a fence: a line of at least as many of the same characters, and nothing else."""
    character = re.escape(opening[0])
    return re.compile(rf"\n {{0,3}}{character}{{{len(opening)},}}[ \t]*\n")
