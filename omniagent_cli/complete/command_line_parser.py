"""Where on a command line the cursor stands, told from the table of commands."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Option = tuple[tuple[str, ...], str, str, bool]
    """Names, kind of value (empty: a flag), help, whether it may be repeated."""
    Positional = tuple[str, bool]
    """Kind of value, whether there may be many."""
    Command = tuple[str, tuple[Option, ...], tuple[Positional, ...], tuple[str, ...]]
    """Help, options, positional arguments, names of the commands below."""
    Table = Mapping[str, Command]
    """By the words that lead there, joined by blanks; the program itself is the empty one."""


class Place:
    """What is being typed.

    Attributes:
        kind: ``words`` for commands and options, else the kind of value the table names, or nothing.
        prefix: what of the value was typed.
        lead: what stands before the value in the same word, such as ``--format=``.
        words: commands or options that fit.
        given: option -> its last value on this line, by each of the option's names.
        arguments: positional arguments before this word.
        literal: whether ``--`` stands before, so that a leading dash is none of an option.
    """

    __slots__ = ("arguments", "given", "kind", "lead", "literal", "prefix", "words")

    def __init__(self) -> None:
        self.kind = self.prefix = self.lead = ""
        self.words: list[tuple[str, str]] = []
        self.given: dict[str, str] = {}
        self.arguments: list[str] = []
        self.literal = False


class _Reader:
    """Reads the words before the cursor one by one."""

    def __init__(self, table: Table) -> None:
        self.place = Place()
        self.awaiting = ""  # the kind of value the next word is, when an option waits for one
        self.lost = False  # after a word that is no command nothing more can be known
        self._names: tuple[str, ...] = ()
        self._table = table
        self._path = ""
        self._levels = [table[""]]

    @property
    def command(self) -> Command:
        return self._levels[-1]

    def read(self, word: str) -> None:
        """Take one finished word."""
        if self.awaiting:
            self._give(self._names, word)
            self.awaiting = ""
        elif self.place.literal or not word.startswith("-") or word == "-":
            self._argument(word)
        elif word == "--":
            self.place.literal = True
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            self._option(name, value if equals else None)
        else:
            self._short(word)

    def option(self, name: str) -> Option | None:
        """Find an option of this command, or of one above it."""
        for command in reversed(self._levels):
            for option in command[1]:
                if name in option[0]:
                    return option
        return None

    def _argument(self, word: str) -> None:
        below = self.command[3]
        if not below:
            self.place.arguments.append(word)
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
            self._give(names, value or "")

    def _short(self, word: str) -> None:
        """Read ``-s ID``, ``-sID`` and ``-yq``."""
        for index in range(1, len(word)):
            option = self.option(f"-{word[index]}")
            if option is not None and option[1] and index + 1 < len(word):
                self._give(option[0], word[index + 1 :])
                return
            self._option(f"-{word[index]}", None)

    def _give(self, names: tuple[str, ...], value: str) -> None:
        for name in names:
            self.place.given[name] = value


def find_place(words: list[str], table: Table) -> Place:
    """Return what the last word is, by the words before it."""
    *before, current = words
    reader = _Reader(table)
    for word in before:
        reader.read(word)
    place = reader.place
    place.prefix = current
    beside = _positional(reader.command[2], len(place.arguments))
    if reader.awaiting:
        place.kind = reader.awaiting
    elif beside == "tag change" and current[:1] == "-" and current[:2] != "--":
        place.kind = beside
    elif not place.literal and current.startswith("-"):
        _option_at(place, reader)
    elif reader.command[3]:
        if not reader.lost:
            place.kind = "words"
            place.words = _commands(reader, table)
    else:
        place.kind = beside
    return place


def _option_at(place: Place, reader: _Reader) -> None:
    name, equals, value = place.prefix.partition("=")
    if equals and name.startswith("--"):
        option = reader.option(name)
        if option is not None:
            place.kind, place.prefix, place.lead = option[1], value, f"{name}="
        return
    place.kind = "words"
    place.words = [
        (name, help_text)
        for names, _, help_text, repeated in reader.command[1]
        if repeated or names[0] not in place.given
        for name in names
    ]


def _commands(reader: _Reader, table: Table) -> list[tuple[str, str]]:
    path = reader._path  # noqa: SLF001  # one module, one thought
    return [(name, table[f"{path} {name}".lstrip()][0]) for name in reader.command[3]]


def _positional(positionals: tuple[Positional, ...], index: int) -> str:
    """Return the kind of the argument at an index; the last one may stand for all that follow."""
    if index < len(positionals):
        return positionals[index][0]
    return positionals[-1][0] if positionals and positionals[-1][1] else ""
