"""Terminal access: the one object that owns stdin, stdout and stderr.

stdout is for data, stderr for messages. A terminal gets tables, color, relative times and a pager; anything else gets
plain lines that do not depend on the environment. rich is loaded on first use.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.ascii import to_ascii, wants_ascii
from omniagent_cli.ui.cells import Table, drop_columns, fit_widths, pad_rows, wrap_cells
from omniagent_cli.ui.palette import Background, attributes_of, background_of, styled
from omniagent_cli.ui.streams import is_tty, with_escapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniagent_cli.config.settings import Settings

PROSE_WIDTH = 100
"""Default limit for the width of prose."""


class OutputFailed(OmniAgentError):
    """Output cannot be written, for example because the disk is full."""


class LineWriter(Protocol):
    """Target for lines of data: the terminal or its pager."""

    def line(self, text: str = "") -> None:
        """Write one line, or several joined by newlines."""
        ...


class Terminal:
    """Standard streams of the program, and their capabilities.

    Attributes:
        color: ``auto``, ``always`` or ``never``.
        quiet: print only data and errors.
        verbose: verbose output.
        pager: ``auto``, ``never`` or a command.
        theme: ``auto``, ``light`` or ``dark``.
        max_prose: limit for the width of prose; tables and code may be wider.
        program: prefix of warnings and errors; empty while a chat has the screen.
    """

    def __init__(
        self,
        *,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.stdin = stdin or sys.stdin
        self.stdout = with_escapes(stdout or sys.stdout)
        self.stderr = with_escapes(stderr or sys.stderr)
        self.color = "auto"
        self.quiet = False
        self.verbose = False
        self.pager = "auto"
        self.theme = "auto"
        self.max_prose = PROSE_WIDTH
        self.program = "omniagent: "
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def configure(self, settings: Settings) -> None:
        """Apply the settings of the display."""
        self.color, self.pager = settings.display.color, settings.display.pager
        self.max_prose, self.theme = settings.display.width, settings.chat.theme

    # Capabilities.

    @property
    def is_terminal(self) -> bool:
        """True if stdout is a terminal."""
        return is_tty(self.stdout)

    @property
    def interactive(self) -> bool:
        """True if the user can be prompted: stdin and stderr are terminals."""
        return is_tty(self.stdin) and is_tty(self.stderr)

    @property
    def reads_terminal(self) -> bool:
        """True if stdin is a terminal."""
        return is_tty(self.stdin)

    @property
    def is_dumb(self) -> bool:
        """True if the terminal does not support control sequences."""
        return self.environ.get("TERM", "") in ("dumb", "unknown")

    @property
    def colored(self) -> bool:
        """True if stdout is colored."""
        return self._styling(self.stdout) == "color"

    def _styling(self, stream: TextIO) -> Literal["color", "attributes", ""]:
        """Return the styles for a stream; with NO_COLOR only attributes such as bold and italic."""
        if self.color != "auto":
            return "color" if self.color == "always" else ""
        if not is_tty(stream) or self.is_dumb:
            return ""
        return "attributes" if self.environ.get("NO_COLOR") else "color"

    @property
    def encodes_unicode(self) -> bool:
        """True if the encoding of stdout can represent any character."""
        return (getattr(self.stdout, "encoding", None) or "utf-8").lower().startswith("utf")

    @property
    def draws_unicode(self) -> bool:
        """True if drawn elements, such as lines and spinners, may use characters other than ASCII."""
        return self.encodes_unicode and not wants_ascii(self.environ)

    @property
    def background(self) -> Background:
        """Background of the terminal, ``light`` or ``dark``; empty if unknown."""
        return background_of(self.theme, self.environ)

    @property
    def shares_stderr(self) -> bool:
        """True if stdout and stderr lead to the same place, so that messages appear between the data."""
        try:
            out, err = os.fstat(self.stdout.fileno()), os.fstat(self.stderr.fileno())
        except (OSError, ValueError, AttributeError):
            return self.is_terminal
        return self.is_terminal or os.path.samestat(out, err)

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 without one."""
        return self._size()[0]

    @property
    def prose_width(self) -> int:
        """Columns that prose uses."""
        return max(1, min(self.width, self.max_prose))

    @property
    def height(self) -> int:
        """Rows of the terminal; 24 without one."""
        return self._size()[1]

    def _size(self) -> tuple[int, int]:
        columns, rows = 0, 0
        for stream in (self.stderr, self.stdout):
            with suppress(OSError, ValueError, AttributeError):
                columns, rows = os.get_terminal_size(stream.fileno())
        named = self.environ.get("COLUMNS", "")
        if named.isdecimal() and 0 < int(named) < 10_000:
            columns = int(named)
        return columns or 80, rows or 24

    # Data on stdout.

    def write(self, text: str) -> None:
        """Write text to stdout unchanged.

        Raises:
            OutputFailed: the text cannot be written. A closed pipe raises BrokenPipeError.
        """
        self._write(self.stdout, text)

    def write_bytes(self, data: bytes) -> int:
        """Write UTF-8 to stdout; sanitized on a terminal, unchanged elsewhere.

        Raises:
            OutputFailed: the data cannot be written.
        """
        buffer = getattr(self.stdout, "buffer", None)
        if self.is_terminal or buffer is None:
            text = self._decoder.decode(data)
            self.write(visible(text) if self.is_terminal else text)
            return len(data)
        self.flush()
        try:
            buffer.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._output_error(error) from error
        return len(data)

    def line(self, text: str = "") -> None:
        """Write one line of data."""
        self.write(f"{text}\n")

    def fields(self, fields: Iterable[str]) -> None:
        """Write one tab-separated line; the fields are escaped by `sanitize.plain_field`."""
        self.line("\t".join(fields))

    def json(self, value: Any) -> None:
        """Write one JSON document: on one line in a pipe, indented on a terminal."""
        from omniagent_cli.ui.json_text import json_text

        self.line(json_text(value, indent=self.is_terminal, ascii_only=not self.draws_unicode))

    def table(self, table: Table, out: LineWriter | None = None) -> None:
        """Write rows below their titles, shortened to the width of the terminal."""
        out, table = out or self, drop_columns(table, self.width)
        widths = fit_widths(table, self.width)
        (titles,) = pad_rows(table, [[column.title for column in table.columns]], widths)
        out.line(self.style("  ".join(titles).rstrip(), "bold"))
        for cells in pad_rows(table, table.rows, widths):
            styled = [
                self.style(cell, column.style)
                for cell, column in zip(cells, table.columns, strict=True)
            ]
            out.line("  ".join(styled).rstrip())

    def style(self, text: str, style: str) -> str:
        """Return text with a style, such as ``bold red``, as far as stdout shows it."""
        return self._styled(self.stdout, text, style)

    def _styled(self, stream: TextIO, text: str, style: str) -> str:
        styling = self._styling(stream) if style and text else ""
        if styling == "attributes":
            style = attributes_of(style)
        return styled(text, style, self.background) if styling and style else text

    def markdown(self, text: str) -> str:
        """Return Markdown laid out for this terminal, as text for `line`.

        The text is untrusted and sanitized first.
        """
        from omniagent_cli.ui.markdown import render_markdown

        return render_markdown(
            self.shown(text),
            width=self.prose_width,
            table_width=self.width,
            styling=self._styling(self.stdout),
            background=self.background,
            unicode=self.draws_unicode,
        )

    def shown(self, text: str) -> str:
        """Return untrusted text sanitized for this terminal, with escapes for characters that its encoding lacks."""
        text = visible(text)
        if self.encodes_unicode or text.isascii():
            return text
        encoding = self.stdout.encoding
        return to_ascii(text).encode(encoding, "backslashreplace").decode(encoding)

    @contextmanager
    def paged(self) -> Iterator[LineWriter]:
        """Return a writer for lines that may exceed the screen: the pager on a terminal."""
        from omniagent_cli.ui.pager import PagedOutput, pager_command

        command = pager_command(self.pager, self.environ) if self.is_terminal else []
        if not command or self.is_dumb or not is_tty(self.stdin):
            yield self
            return
        self.flush()
        with PagedOutput(
            command, self.write, size=(self.width, self.height), environ=self.environ
        ) as out:
            yield out

    # Messages on stderr and prompts.

    def note(self, text: str) -> None:
        """Print a sanitized message on stderr, unless quiet."""
        if not self.quiet:
            self._write_message(one_line(text), style="dim")

    def detail(self, text: str) -> None:
        """Print a sanitized message on stderr if verbose."""
        if self.verbose and not self.quiet:
            self._write_message(one_line(text), style="dim")

    def warn(self, text: str) -> None:
        """Print a warning on stderr, even if quiet."""
        self._write_labelled("warning", "yellow", text)

    def error(self, text: str, details: Iterable[str] = ()) -> None:
        """Print an error on stderr, and lines below it."""
        self._write_labelled("error", "bold red", text)
        for line in details:
            self._write_message(one_line(line))

    def _write_labelled(self, word: str, style: str, text: str) -> None:
        self._write_message(f"{self.program}{word}: {one_line(text)}", f"{word}:", style)

    def _write_message(self, text: str, part: str = "", style: str = "") -> None:
        """Write a message, wrapped between words on a terminal, with a style for a part or all of it."""
        if is_tty(self.stderr):
            rows = wrap_cells(text, self.prose_width, split=False)
            text = "\n".join(row if part else self._styled(self.stderr, row, style) for row in rows)
        if part:
            text = text.replace(part, self._styled(self.stderr, part, style), 1)
        # A failure of stderr cannot be reported, and a failure of stdout is reported by its writers.
        try:
            with suppress(OutputFailed):
                self.flush()
            if not self.draws_unicode and is_tty(self.stderr):
                text = to_ascii(text)
            self.stderr.write(f"{text}\n")
            self.stderr.flush()
        except BrokenPipeError:
            raise
        except (OSError, ValueError):
            return

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question; no is the default."""
        answer = self.ask(f"{question} [y/N] ")
        return answer is not None and answer.strip().lower() in ("y", "yes")

    def ask(self, prompt: str) -> str | None:
        """Prompt for a line; None at the end of input. Requires `interactive`."""
        self.flush()
        self.stderr.write(one_line(prompt))
        self.stderr.flush()
        line = self.stdin.readline()
        if not line:
            self.stderr.write("\n")
            return None
        return line.rstrip("\n")

    def ask_secret(self, prompt: str) -> str | None:
        """Prompt for a line without echo; None at the end of input. Requires `interactive`."""
        from getpass import getpass

        self.flush()
        try:
            return getpass(one_line(prompt), stream=self.stderr)
        except EOFError:
            return None

    @contextmanager
    def progress(
        self, label: str, total: int | None = None, *, steps: str = ""
    ) -> Iterator[Callable[[int], None]]:
        """Show progress, rate and time on stderr, for operations longer than a second.

        Call the result with each step; `steps` is the unit if it is ``bytes``.
        """
        from omniagent_cli.ui.progress import Progress

        shown = is_tty(self.stderr) and not self.quiet and not self.is_dumb
        drawn = str if self.draws_unicode else to_ascii
        bar = (
            Progress(
                self.stderr, one_line(label), total, steps=steps, width=self.width, encode=drawn
            )
            if shown
            else None
        )
        try:
            yield bar.advance if bar else _no_progress
        finally:
            if bar:
                bar.clear()

    def flush(self) -> None:
        """Flush stdout."""
        try:
            self.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._output_error(error) from error

    def _write(self, stream: TextIO, text: str) -> None:
        if not text.isascii() and self.is_terminal and not self.draws_unicode:
            text = to_ascii(text)
        try:
            stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._output_error(error) from error

    def _output_error(self, error: OSError) -> OutputFailed:
        return OutputFailed(
            f"cannot write the output: {error.strerror or error}; free some disk space or write to another place"
        )


def _no_progress(_steps: int) -> None:
    """Ignore progress that is not shown."""
