"""Output formats of `ask`: JSON that follows a schema, the first code block, or the whole answer."""

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
from omniagent_cli.cli.talk.turn_runner import (
    ConversationTarget,
    document,
    print_result,
    session_of,
)
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
        help="print JSON that follows this JSON schema; a value that begins with { is the schema itself",
    ),
]
ExtractOption = Annotated[
    bool, typer.Option("--extract", help="print only the first code block of the answer")
]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The part of the answer to print; by default all of it, streamed."""

    schema: Mapping[str, Any] | None = None
    extract: bool = False

    @property
    def needs_complete_answer(self) -> bool:
        """True if nothing can be printed before the answer is complete."""
        return self.schema is not None or self.extract

    def check(self, engine: Engine) -> None:
        """Check that the engine can follow a schema.

        Raises:
            UsageError: the engine is `recall`.
        """
        if self.schema is not None and isinstance(engine, Recall):
            raise UsageError(
                "recall is not a language model and cannot follow a schema; choose a model, for example --model openai:gpt-6.1-sol"
            )

    def tell(
        self, context: Context, result: TurnResult, target: ConversationTarget, model: str
    ) -> int:
        """Print the requested part of the answer, or one error line per problem; return the exit code."""
        if not self.needs_complete_answer or result.status != "complete":
            return print_result(context, result, target, model)
        found = self._extract(result.text)
        if context.json:
            context.terminal.json({**document(context, result, target, model), **found.record})
        elif not found.problems:
            self._print(context, found.value)
        for problem in found.problems:
            context.terminal.error(problem)
        if found.problems and target.store is not None:
            shown = one_line(session_of(target, result))
            context.terminal.note(
                f"Answer saved. Show it: omniagent sessions show {shown} --last 1"
            )
        return exits.FAILED if found.problems else exits.DONE

    def _extract(self, answer: str) -> _Extracted:
        if self.schema is None:
            block = first_code_block(answer)
            missing = [] if block is not None else ["the answer contains no code block"]
            return _Extracted(block, {"code": block}, missing)
        try:
            value = read_json(answer)
        except ValueError as error:
            said = one_line(" ".join(answer.split()))
            said = said if len(said) <= 60 else f"{said[:59]}…"
            wrong = [f"the answer is not JSON: {one_line(str(error))}; it begins with {said!r}"]
            return _Extracted(None, {"parsed": None, "problems": wrong}, wrong)
        found = validation_errors(value, self.schema)
        wrong = [f"the answer does not follow the schema: {problem}" for problem in found]
        return _Extracted(value, {"parsed": value, "problems": found}, wrong)

    def _print(self, context: Context, value: Any) -> None:
        if self.schema is not None:
            context.terminal.json(value)
        else:
            context.terminal.write_bytes(value.encode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class _Extracted:
    """The extracted part of an answer: the value to print, its JSON fields, and the problems."""

    value: Any
    record: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)


def answer_format(schema: str | None, *, extract: bool) -> AnswerFormat:
    """Return the answer format of the options.

    Raises:
        UsageError: the schema is invalid or unreadable, or both options were given.
    """
    if schema is None:
        return AnswerFormat(extract=extract)
    if extract:
        raise UsageError("--schema and --extract cannot be combined")
    if schema.lstrip().startswith("{"):
        return AnswerFormat(read_schema(schema, "--schema"))
    return AnswerFormat(read_schema(_read_schema(schema), f"the schema in {one_line(schema)!r}"))


def _read_schema(name: str) -> str:
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
            f"cannot read the schema from {shown!r}: {why}; pass a file, or the schema itself"
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{shown!r} is larger than 1 MB; use a smaller schema")
    return text
