"""Quoting of bash: words of a line without evaluating anything, and values quoted for insertion.

Readline replaces only the text after the last unquoted character of COMP_WORDBREAKS (``:`` and ``=`` among them) or
after an open quote, so only the rest of a half-typed value may be inserted, quoted as the position demands.
"""

from __future__ import annotations

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+")


class BashLine:
    """The command line left of the cursor.

    Attributes:
        words: the words after the program's name, unquoted; the last is at the cursor and may be empty.
        redirects: whether the last word is the target of a redirection, which is not an argument of the program.
    """

    def __init__(self, line: str, breaks: str) -> None:
        self._line = line
        self._breaks = set(breaks)
        self._found: list[str] = []
        self._text = ""
        self._in_word = False
        self._quote = ""
        self._kept = 0  # length of the unquoted word before the part that readline replaces
        self.redirects = False
        self._read()
        self.words = [*self._found[1:], self._text] if self._found else [self._text]

    def inserted(self, value: str) -> str | None:
        """Return the text that readline has to insert so that the last word becomes the value.

        None if that is impossible: in double quotes ``!`` cannot be protected from history expansion.
        """
        rest = value[self._kept :]
        if not self._quote:
            return "".join(f"\\{c}" if c.isascii() and c not in _PLAIN else c for c in rest)
        if self._quote == '"':
            if "!" in rest:
                return None
            quoted = "".join(f"\\{c}" if c in '\\$`"' else c for c in rest)
        else:
            quoted = rest.replace("'", "'\\''")
        # Readline closes the quote, unless the text ends as if it were closed.
        return quoted + self._quote if quoted.endswith(self._quote) else quoted

    def _read(self) -> None:
        line, index = self._line, 0
        while index < len(line):
            character = line[index]
            if self._quote:
                index = self._quoted(index, character)
            elif character == "\\":
                self._add(line[index + 1 : index + 2])
                index += 1
            elif character in "'\"":
                self._quote, self._before, self._in_word = character, len(self._text), True
            elif character.isspace():
                self._end()
            elif character in "<>":
                self._redirect()
            else:
                self._add(character)
                if character in self._breaks:
                    self._kept = len(self._text)
            index += 1
        if self._quote:
            self._kept = self._before

    def _quoted(self, index: int, character: str) -> int:
        if character == self._quote:
            self._quote = ""
        elif (
            character == "\\"
            and self._quote == '"'
            and self._line[index + 1 : index + 2] in '\\$`"'
        ):
            self._add(self._line[index + 1 : index + 2])
            return index + 1
        else:
            self._add(character)
        return index

    def _add(self, character: str) -> None:
        self._text += character
        self._in_word = True

    def _end(self) -> None:
        if self._in_word:
            if not self.redirects:
                self._found.append(self._text)
            self.redirects = False
        self._text, self._in_word, self._kept = "", False, 0

    def _redirect(self) -> None:
        if self._text.isdigit():
            self._text, self._in_word = "", False
        self._end()
        self.redirects = True
