"""Makes the table TAB answers from out of the commands themselves: ``python -m omniagent_cli.cli.reference.completion_table``.

What an option takes is told by what its help shows a person: the metavar ``ID`` is a session, ``FILE`` a file, and a
help text like "a, b or c" names the only values there are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from omniagent_cli.agent.models.providers import Provider

MAKE = "python -m omniagent_cli.cli.reference.completion_table"
"""How the table is made again."""

TABLE_FILE = Path(__file__).parents[2] / "complete" / "table.py"

_CHOICES = re.compile(r"[a-z][a-z-]*(?:(?:, | or )[a-z][a-z-]*)+")
_KINDS = {
    "ID": "session",
    "FILE": "file",
    "FILE|DIR/": "file",
    "TEXT|@FILE": "text or @file",
    "DIR": "directory",
    "URL": "store",
    "FROM": "store",
    "TO": "store",
    "MODEL": "model",
    "PROVIDER": "provider",
    "TAG": "tag",
    "+TAG|-TAG": "tag change",
    "TOPIC": "topic",
}
_OF_COMMAND = {
    ("sessions unarchive", "session"): "session:archived",
    ("sessions unpin", "session"): "session:pinned",
    ("sessions restore", "session"): "session:trashed",
}
_VALUES = {"--role": ["system", "user", "assistant", "tool"]}
_SECTIONS = {"sessions meta": "metadata key", "sessions state": "state key"}
_SETTINGS = {"config get", "config set", "config unset"}
_HEAD = '''"""Commands, options and values for TAB. Made by: {make}."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omniagent_cli.complete.command_line_parser import Table

# fmt: off
'''


def table_text() -> str:
    """Return the source of `omniagent_cli.complete.table`."""
    from omniagent_cli.agent.models.providers import PROVIDERS, RECALL
    from omniagent_cli.cli.framework.command_table import COMMANDS
    from omniagent_cli.cli.reference.help import TOPICS

    maker = _Maker()
    maker.command("", maker.root, COMMANDS)
    maker.values["setting"] = _settings()
    maker.values["topic"] = [(name, topic.text) for name, topic in TOPICS.items()]
    maker.values["provider"] = [(row.name, row.title) for row in PROVIDERS.values()]
    maker.values["model"] = [*_usual_models(PROVIDERS.values()), (RECALL, "the built-in answerer")]
    lines = [_HEAD.format(make=MAKE), "VALUES: dict[str, tuple[tuple[str, str], ...]] = {\n"]
    for kind, values in sorted(maker.values.items()):
        lines += [
            f"    {_quoted(kind)}: (\n",
            *(f"        {_tuple(v)},\n" for v in values),
            "    ),\n",
        ]
    shared = [_tuple(option) for option in maker.shared]
    lines += ["}\n\nSHARED = (\n", *(f"    {option},\n" for option in shared), ")\n\n"]
    lines.append("TABLE: Table = {\n")
    for path, (text, options, positionals, below) in sorted(maker.commands.items()):
        rows = [_tuple(option) for option in options]
        if rows[-len(shared) :] == shared:
            rows[-len(shared) :] = ["*SHARED"]
        lines.append(f"    {_quoted(path)}: (\n        {_quoted(text)},\n")
        lines += ["        (\n", *(f"            {row},\n" for row in rows), "        ),\n"]
        lines.append(f"        {_tuple(positionals)},\n        {_tuple(below)},\n    ),\n")
    return "".join([*lines, "}\n"])


class _Maker:
    """Walks the commands."""

    def __init__(self) -> None:
        from omniagent_cli.cli.framework.command_groups import LazyGroup, shared_options
        from omniagent_cli.cli.framework.command_table import COMMANDS

        self.commands: dict[str, tuple[Any, ...]] = {}
        self.values: dict[str, list[tuple[str, str]]] = {}
        self.root = LazyGroup("omniagent", COMMANDS, root=True)
        self._context = typer.Context(self.root)
        self.shared = [self._option("", option) for option in shared_options()]

    def command(self, path: str, command: Any, row: Any) -> None:
        """Note one command and all below it."""
        parameters = [
            p for p in command.get_params(self._context) if not getattr(p, "hidden", False)
        ]
        options = [p for p in parameters if p.param_type_name == "option"]
        arguments = [p for p in parameters if p.param_type_name == "argument"]
        below = getattr(row, "commands", {})
        self.commands[path] = (
            _sentence(row.help),
            tuple(self._option(path, option) for option in options),
            tuple((self._kind(path, argument), argument.nargs != 1) for argument in arguments),
            tuple(below),
        )
        for name, sub in below.items():
            found = command.get_command(self._context, name)
            self.command(f"{path} {name}".lstrip(), found, sub)

    def _option(self, path: str, option: Any) -> tuple[Any, ...]:
        names = (*option.opts, *option.secondary_opts)
        names = tuple(sorted(names, key=lambda name: not name.startswith("--")))
        kind = "" if option.is_flag or option.count else self._kind(path, option)
        return names, kind, _sentence(option.help or ""), bool(option.multiple)

    def _kind(self, path: str, parameter: Any) -> str:
        metavar = (parameter.metavar or "").strip("[].")
        choices = _VALUES.get(parameter.opts[0]) or _listed(parameter)
        if choices:
            kind = f"one of {' '.join(map(str, choices))}"
            self.values[kind] = [(str(choice), "") for choice in choices]
            return kind
        if path in _SETTINGS and metavar == "KEY":
            return "setting"
        if metavar == "KEY" and (section := _SECTIONS.get(path.rpartition(" ")[0])):
            return section
        kind = _KINDS.get(metavar, "text")
        return _OF_COMMAND.get((path, kind), kind)


def _listed(parameter: Any) -> list[str]:
    """Return the values a help text names when it, or its part before ``;`` or after ``:``, is a list of them."""
    text = parameter.help or ""
    for part in (text, text.partition(";")[0], text.rpartition(": ")[2]):
        if _CHOICES.fullmatch(part):
            return re.split(r", | or ", part)
    return []


def _usual_models(providers: Iterable[Provider]) -> list[tuple[str, str]]:
    return [
        (f"{row.name}:{row.default_model}", row.title) for row in providers if row.default_model
    ]


def _settings() -> list[tuple[str, str]]:
    from omniagent_cli.config import SETTINGS

    return [(row.key, _sentence(row.help)) for row in SETTINGS if "*" not in row.key]


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _tuple(values: Any) -> str:
    inner = ", ".join(_tuple(v) if isinstance(v, tuple) else _quoted(v) for v in values)
    return f"({inner},)" if len(values) == 1 else f"({inner})"


def _quoted(value: str | bool) -> str:  # noqa: FBT001  # any constant of the table
    if isinstance(value, bool):
        return repr(value)
    import json

    return json.dumps(value, ensure_ascii=False)


def main() -> int:
    """Write the table when it is not what the commands say."""
    made = table_text()
    if TABLE_FILE.read_text(encoding="utf-8") != made:
        TABLE_FILE.write_text(made, encoding="utf-8")
        sys.stdout.write(f"{TABLE_FILE} was made again\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
