"""Functions a model may call: what they are, who may run them, and how a call becomes a result."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn, Self, overload

from omniagent_cli.agent.json_schema import argument_errors
from omniagent_cli.agent.loop_thread import LoopThread
from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.agent.tools.tool_execution import CallResult, FunctionCall, ToolTimeout
from omniagent_cli.agent.tools.tool_names import TOOL_NAME, resolve_tool_name
from omniagent_cli.agent.tools.tool_results import MAX_RESULT_CHARACTERS, FullOutput, format_result
from omniagent_cli.agent.tools.tool_signature import context_parameter, signature_of
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.models import ToolCall
from omniagent_cli.text.sanitize import cut

__all__ = [
    "MAX_RESULT_CHARACTERS",
    "Approve",
    "Decision",
    "Effect",
    "Outcome",
    "Tool",
    "Toolbox",
    "tool",
]

Effect = Literal["read", "write", "destroy"]

MAX_ARGUMENT_CHARACTERS = 1_000_000
"""Longer arguments are told to be too long."""

MAX_PARALLEL_CALLS = 16
"""So many calls of one answer run side by side; the others wait."""

MAX_REPEATS = 5
"""A call that got the same result that often in one turn is not made again."""

_ERROR_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class Tool:
    """One function a model may call; `from_function` and `tool` make one from a typed function.

    Attributes:
        description: what it is for; the model chooses by it.
        run: called with the arguments as keywords, sync or async; what it returns becomes the result: text as it is,
            anything else as JSON. A parameter annotated with `ToolContext` gets that.
        parameters: JSON schema of the arguments, an object.
        effect: whether it reads, writes or destroys; only reading needs no approval.
        timeout_seconds: how long it may take.
        read: makes the values `run` takes of arguments that fit the schema; None: they are taken as they are.
        skill: the skill it belongs to; empty when it was given to the agent itself.
    """

    name: str
    description: str
    run: Callable[..., Any]
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    effect: Effect = "read"
    timeout_seconds: float = 60.0
    read: Callable[[Mapping[str, Any]], dict[str, Any]] | None = field(default=None, repr=False)
    skill: str = ""

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "read",
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Make a tool of a typed function with a docstring.

        Args:
            function: its signature becomes the schema, its docstring (Google style) the descriptions.
            name: the function's unless told.
            description: what stands before the sections of the docstring, unless told.
            effect: whether it reads, writes or destroys.
            timeout_seconds: how long it may take.

        Raises:
            UsageError: a model cannot be told how to call it; says why.
        """
        named = str(name or getattr(function, "__name__", ""))
        if not TOOL_NAME.fullmatch(named):
            raise UsageError(
                f"{named or function!r} cannot be the name of a tool; give one of 1 to 64 letters, digits, _ and -"
            )
        if effect not in ("read", "write", "destroy"):
            raise UsageError(f"the effect of {named} is read, write or destroy, not {effect!r}")
        signature = signature_of(function)
        text = description or signature.description
        if not text:
            raise UsageError(
                f"{named} cannot be a tool: it has no docstring, so no model knows what it is for"
            )
        return cls(
            named, text, function, signature.parameters, effect, timeout_seconds, signature.read
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """FunctionCall the function itself, as if it were no tool."""
        return self.run(*args, **kwargs)

    def definition(self) -> dict[str, Any]:
        """Return the chat-completions form of the tool."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "read",
    timeout_seconds: float = 60.0,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "read",
    timeout_seconds: float = 60.0,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of the function below, plain ``@tool`` or ``@tool(effect="write")``; see `Tool.from_function`."""

    def make(function: Callable[..., Any]) -> Tool:
        return Tool.from_function(
            function,
            name=name,
            description=description,
            effect=effect,
            timeout_seconds=timeout_seconds,
        )

    return make if function is None else make(function)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call may run.

    Attributes:
        by: who decided, as it is stored: ``asked`` (the person, this time), ``session`` (always here), ``config``
            (``tools.allow``), ``flag`` (``--yes-tools``), ``program`` (the program around the agent), ``nobody``
            (there was nobody to ask).
        reason: told to the model and shown, when the call may not run.
    """

    allowed: bool
    by: str = "program"
    reason: str = ""


Approve = Callable[[Tool, Mapping[str, Any]], Awaitable[bool | Decision]]
"""Asked before a tool that writes or destroys runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        failed: the tool was refused, unknown, or raised; the model is told as well.
        approved: whether it was allowed; None when nobody had to be asked.
        approved_by: who decided; see `Decision`.
        whole: the result as it was, when the text is not all of it.
    """

    text: str
    failed: bool = False
    approved: bool | None = None
    approved_by: str = ""
    full_output: FullOutput | None = None


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """What a turn may use.

    Attributes:
        notices: what the person should know about it, a line each.
        loop_thread: the loop in which the skills were set up; their asynchronous tools run there.
    """

    tools: Sequence[Tool] = ()
    notices: Sequence[str] = ()
    loop_thread: LoopThread | None = None


class Toolbox:
    """The tools of one turn, by name.

    Args:
        tools: what is offered.
        approve: asked before a tool that writes or destroys; None refuses them.
        offer: finds out what is offered, once, instead of `tools`.
        context: what tools may know, but for the id of their call.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        approve: Approve | None = None,
        *,
        load_tools: Callable[[], Awaitable[OfferedTools]] | None = None,
        context: ToolContext | None = None,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._approve = approve
        self._load_tools = load_tools
        self._context = context or ToolContext()
        self._loop_thread: LoopThread | None = None
        self._slots = asyncio.Semaphore(MAX_PARALLEL_CALLS)
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._refused: dict[tuple[str, str], Outcome] = {}

    async def open(self) -> Sequence[str]:
        """Find out what is offered, and return what the person should know about it."""
        if self._load_tools is None:
            return ()
        offered = await self._load_tools()
        self._tools = {tool.name: tool for tool in offered.tools}
        self._loop_thread = offered.loop_thread
        return offered.notices

    def definitions(self) -> list[dict[str, Any]]:
        """Return the chat-completions form of every tool."""
        return [tool.definition() for tool in self._tools.values()]

    async def run(self, call: ToolCall) -> Outcome:
        """Run one call; whatever goes wrong is the result, so that the turn goes on."""
        name, text = call["function"]["name"], call["function"].get("arguments") or "{}"
        if refused := self._refused.get((name, text)):
            return refused  # nobody is asked the same again
        if (
            max((n for seen, n in self._seen.items() if seen[:2] == (name, text)), default=0)
            >= MAX_REPEATS
        ):
            return _failed(
                f"this call was made {MAX_REPEATS} times and gave the same each time; use what it gave, or do "
                "something else"
            )
        outcome = await self._run(name, text, call.get("id", ""))
        if outcome.approved is False:
            self._refused[name, text] = outcome
        self._seen[name, text, outcome.text] += 1
        return outcome

    async def _run(self, name: str, text: str, call_id: str) -> Outcome:
        tool = self._tools.get(resolve_tool_name(name, self._tools) or "")
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return _failed(f"there is no tool {cut(name, 100)!r}; the tools are: {known}")
        try:
            arguments = _parse_arguments(text)
        except ValueError as error:
            return _failed(f"the arguments are not a JSON object: {error}")
        if wrong := _invalid_arguments(tool, arguments):
            return _failed(f"invalid arguments: {'; '.join(wrong)}")
        decision = await self._decision(tool, arguments)
        if decision is not None and not decision.allowed:
            refused = _failed(decision.reason or f"the person did not allow {tool.name}")
            return replace(refused, approved=False, approved_by=decision.by)
        async with self._slots:
            outcome = await self._result(tool, arguments, call_id)
        if decision is None:
            return outcome
        return replace(outcome, approved=True, approved_by=decision.by)

    async def _decision(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision | None:
        if tool.effect == "read":
            return None
        if self._approve is None:
            does = "destroys" if tool.effect == "destroy" else "writes"
            reason = f"{tool.name} {does}, and there is nobody to allow it"
            return Decision(allowed=False, by="nobody", reason=reason)
        answer = await self._approve(tool, arguments)
        return answer if isinstance(answer, Decision) else Decision(allowed=bool(answer))

    async def _result(self, tool: Tool, arguments: dict[str, Any], call_id: str) -> Outcome:
        try:
            given = arguments if tool.read is None else tool.read(arguments)
            if context := context_parameter(tool.run):
                given = {**given, context: replace(self._context, call_id=call_id)}
            ended = await FunctionCall(
                tool.run, given, self._loop_thread if tool.skill else None
            ).run(tool.timeout_seconds)
            if ended.error is None:
                text, full_output = format_result(ended.value, ended.printed)
                return Outcome(text, full_output=full_output)
        except ToolTimeout as error:
            running = ", and may still be running" if error.running else ""
            return _failed(f"{tool.name} took longer than {tool.timeout_seconds:g} s{running}")
        except Exception as error:  # noqa: BLE001  # somebody's classes make their own values, and write them down
            ended = CallResult(error=error)
        printed = f"\n(printed: {ended.printed})" if ended.printed else ""
        return _failed(
            cut(_format_exception(ended.error), _ERROR_LENGTH) + cut(printed, _ERROR_LENGTH)
        )


def _failed(text: str) -> Outcome:
    return Outcome(f"error: {text}", failed=True)


def _format_exception(error: BaseException | None) -> str:
    """Say what somebody's function raised; how it says so itself may fail too, which this survives."""
    if isinstance(error, OmniAgentError):
        return str(error)
    return "".join(traceback.format_exception_only(error)).strip()


def _invalid_arguments(tool: Tool, arguments: dict[str, Any]) -> list[str]:
    takes_none = not tool.parameters.get("properties") and not tool.parameters.get("required")
    return [] if takes_none and not arguments else argument_errors(arguments, tool.parameters)


def _parse_arguments(text: str) -> dict[str, Any]:
    if len(text) > MAX_ARGUMENT_CHARACTERS:
        raise ValueError(
            f"they are {len(text):,} characters, and at most {MAX_ARGUMENT_CHARACTERS:,} are taken"
        )
    try:
        arguments = json.loads(text, parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(arguments, dict):
        raise ValueError("they are " + type(arguments).__name__)  # noqa: TRY004  # a model's mistake, not a caller's
    return arguments


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
