"""What `ask` prints of an answer: JSON that follows a schema, the first code block, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.json_schema import read_schema, validation_errors
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.agent.structured_output import (
    first_code_block,
    read_json,
)
from omniagent_cli.cli.framework import exits
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.talk.turn_runner import Place, document, kept_in, told
from omniagent_cli.errors import UsageError
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from omniagent_cli.ui.turn_player import TurnResult

_LARGEST_BYTES = 1_000_000

SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="print JSON that follows this JSON schema, or fail; a text that begins with { is the schema itself",
    ),
]
ExtractOption = Annotated[
    bool, typer.Option("--extract", help="print the first code block of the answer only, or fail")
]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is wanted of an answer; without any of it, all of it, as it comes."""

    schema: Mapping[str, Any] | None = None
    extract: bool = False

    @property
    def wanted(self) -> bool:
        """Whether the answer has to be whole before any of it is printed."""
        return self.schema is not None or self.extract

    def check(self, engine: Engine) -> None:
        """Refuse who cannot follow a schema.

        Raises:
            UsageError: `recall` would answer.
        """
        if self.schema is not None and isinstance(engine, Recall):
            raise UsageError(
                "recall is no language model and follows no schema; name a model with --model, such as openai:gpt-6.1-sol"
            )

    def tell(self, context: Context, result: TurnResult, place: Place, model: str) -> int:
        """Print what was wanted of the answer, or say in a line each why it is not there; return the exit code."""
        if not self.wanted or result.status != "complete":
            return told(context, result, place, model)
        found = self._found(result.text)
        if context.json:
            context.terminal.json({**document(context, result, place, model), **found.record})
        elif not found.problems:
            self._print(context, found.value)
        for problem in found.problems:
            context.terminal.error(problem)
        if found.problems and place.store is not None:
            shown = one_line(kept_in(place, result))
            context.terminal.note(f"the answer is kept: omniagent sessions show {shown} --last 1")
        return exits.FAILED if found.problems else exits.DONE

    def _found(self, answer: str) -> _Found:
        if self.schema is None:
            block = first_code_block(answer)
            missing = [] if block is not None else ["there is no code block in the answer"]
            return _Found(block, {"code": block}, missing)
        try:
            value = read_json(answer)
        except ValueError as error:
            said = one_line(" ".join(answer.split()))
            said = said if len(said) <= 60 else f"{said[:59]}…"
            wrong = [f"the answer is not JSON: {one_line(str(error))}; it begins with {said!r}"]
            return _Found(None, {"parsed": None, "problems": wrong}, wrong)
        found = validation_errors(value, self.schema)
        wrong = [f"the answer does not follow the schema: {problem}" for problem in found]
        return _Found(value, {"parsed": value, "problems": found}, wrong)

    def _print(self, context: Context, value: Any) -> None:
        if self.schema is not None:
            context.terminal.json(value)
        else:
            context.terminal.write_bytes(value.encode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class _Found:
    """What an answer gave: the value to print, its part of a JSON document, and what is wrong."""

    value: Any
    record: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)


def shape_of(schema: str | None, *, extract: bool) -> Shape:
    """Read what is wanted, before anybody is asked.

    Raises:
        UsageError: the schema cannot be read or is none, or both were given.
    """
    if schema is None:
        return Shape(extract=extract)
    if extract:
        raise UsageError("--schema prints JSON and --extract a code block; give one of them")
    if schema.lstrip().startswith("{"):
        return Shape(read_schema(schema, "--schema"))
    return Shape(read_schema(_read(schema), f"the schema in {one_line(schema)!r}"))


def _read(name: str) -> str:
    shown = one_line(name)
    try:
        with Path(name).expanduser().open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"the schema in {shown!r} is not UTF-8 text; convert it first") from error
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot read the schema from {shown!r}: {why}; name a file, or give the schema itself"
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{shown!r} is over 1 MB; that is no schema for an answer")
    return text
