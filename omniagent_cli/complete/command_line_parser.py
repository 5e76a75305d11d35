"""Parser of an unfinished command line, which determines the kind of the word at the cursor."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Option = tuple[tuple[str, ...], str, str, bool]
    """Names, kind of value (empty: a flag), help, whether it may be repeated."""
    Positional = tuple[str, bool]
    """Kind of value, whether there may be many."""
    Command = tuple[str, tuple[Option, ...], tuple[Positional, ...], tuple[str, ...]]
    """Help, options, positional arguments, names of the subcommands."""
    Table = Mapping[str, Command]
    """By the words that lead to the command, joined by blanks; the program itself is the empty string."""


class CursorContext:
    """The word at the cursor and the command line before it.

    Attributes:
        kind: ``words`` for commands and options, else the kind of value in the table, or empty.
        prefix: the part of the value that was typed.
        lead: the part of the word before the value, such as ``--format=``.
        words: commands or options that fit, with their help.
        options: option -> its last value on this line, by each of the option's names.
        arguments: positional arguments before this word.
        literal: whether ``--`` comes before, so that a leading dash does not mean an option.
    """

    __slots__ = ("arguments", "kind", "lead", "literal", "options", "prefix", "words")

    def __init__(self) -> None:
        self.kind = self.prefix = self.lead = ""
        self.words: list[tuple[str, str]] = []
        self.options: dict[str, str] = {}
        self.arguments: list[str] = []
        self.literal = False


class _Parser:
    """Parser of the words before the cursor, one by one.

    Attributes:
        cursor: the result so far.
        awaiting: kind of the value that the last option still needs, or empty.
        lost: an unknown command was found, so that nothing can be completed.
    """

    def __init__(self, table: Table) -> None:
        self.cursor = CursorContext()
        self.awaiting = ""
        self.lost = False
        self._names: tuple[str, ...] = ()
        self._table = table
        self._path = ""
        self._levels = [table[""]]

    @property
    def command(self) -> Command:
        return self._levels[-1]

    def read(self, word: str) -> None:
        """Parse one finished word."""
        if self.awaiting:
            self._set(self._names, word)
            self.awaiting = ""
        elif self.cursor.literal or not word.startswith("-") or word == "-":
            self._argument(word)
        elif word == "--":
            self.cursor.literal = True
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            self._option(name, value if equals else None)
        else:
            self._short(word)

    def option(self, name: str) -> Option | None:
        """Return an option of this command or of a group above it."""
        for command in reversed(self._levels):
            for option in command[1]:
                if name in option[0]:
                    return option
        return None

    def subcommands(self) -> list[tuple[str, str]]:
        """Return the names of the commands below this one, with their help."""
        path = self._path
        return [(name, self._table[f"{path} {name}".lstrip()][0]) for name in self.command[3]]

    def _argument(self, word: str) -> None:
        below = self.command[3]
        if not below:
            self.cursor.arguments.append(word)
        elif word in below and not self.lost:
            self._path = f"{self._path} {word}".lstrip()
            self._levels.append(self._table[self._path])
        else:
            self.lost = True

    def _option(self, name: str, value: str | None) -> None:
        option = self.option(name)
        names, kind = (option[0], option[1]) if option else ((name,), "")
        if value is None and kind:
            self.awaiting, self._names = kind, names
        else:
            self._set(names, value or "")

    def _short(self, word: str) -> None:
        """Parse ``-s ID``, ``-sID`` and ``-yq``."""
        for index in range(1, len(word)):
            option = self.option(f"-{word[index]}")
            if option is not None and option[1] and index + 1 < len(word):
                self._set(option[0], word[index + 1 :])
                return
            self._option(f"-{word[index]}", None)

    def _set(self, names: tuple[str, ...], value: str) -> None:
        for name in names:
            self.cursor.options[name] = value


def find_cursor(words: list[str], table: Table) -> CursorContext:
    """Return the kind and the prefix of the last word, determined by the words before it."""
    *before, current = words
    parser = _Parser(table)
    for word in before:
        parser.read(word)
    cursor = parser.cursor
    cursor.prefix = current
    positional = _positional(parser.command[2], len(cursor.arguments))
    if parser.awaiting:
        cursor.kind = parser.awaiting
    elif positional == "tag change" and current[:1] == "-" and current[:2] != "--":
        cursor.kind = positional
    elif not cursor.literal and current.startswith("-"):
        _option_at(cursor, parser)
    elif parser.command[3]:
        if not parser.lost:
            cursor.kind = "words"
            cursor.words = parser.subcommands()
    else:
        cursor.kind = positional
    return cursor


def _option_at(cursor: CursorContext, parser: _Parser) -> None:
    name, equals, value = cursor.prefix.partition("=")
    if equals and name.startswith("--"):
        option = parser.option(name)
        if option is not None:
            cursor.kind, cursor.prefix, cursor.lead = option[1], value, f"{name}="
        return
    cursor.kind = "words"
    cursor.words = [
        (name, help_text)
        for names, _, help_text, repeated in parser.command[1]
        if repeated or names[0] not in cursor.options
        for name in names
    ]


def _positional(positionals: tuple[Positional, ...], index: int) -> str:
    """Return the kind of the argument at an index; the last one may be repeated."""
    if index < len(positionals):
        return positionals[index][0]
    return positionals[-1][0] if positionals and positionals[-1][1] else ""
