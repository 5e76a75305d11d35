"""Tools: functions that a model may call, their approval and their execution."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, overload

from omniagent_cli.agent.json_schema import argument_errors
from omniagent_cli.agent.loop_thread import LoopThread
from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.agent.tools.tool_execution import CallResult, FunctionCall, ToolTimeout
from omniagent_cli.agent.tools.tool_names import TOOL_NAME, resolve_tool_name
from omniagent_cli.agent.tools.tool_results import MAX_RESULT_CHARACTERS, FullOutput, format_result
from omniagent_cli.agent.tools.tool_signature import context_parameter, signature_of
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.models import ToolCall
from omniagent_cli.parsing import parse_json
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
"""The maximum length of the arguments of a call."""

MAX_PARALLEL_CALLS = 16
"""The number of calls of one response that run concurrently; the others wait."""

MAX_REPEATS = 5
"""A call that returned the same result this often in one turn is not run again."""

_ERROR_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call; `from_function` and `tool` create one from a typed function.

    Attributes:
        description: the purpose; the model chooses by it.
        run: called with the arguments as keywords, sync or async; its return value becomes the result: text unchanged,
            other values as JSON. A parameter annotated with `ToolContext` receives the context.
        parameters: the JSON schema of the arguments, an object.
        effect: read, write or destroy; only reading needs no approval.
        timeout_seconds: the timeout of a call.
        read: converts valid arguments to the values that `run` takes; None: they are passed unchanged.
        skill: the skill it belongs to; empty for a tool of the agent itself.
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
        """Create a tool from a typed function with a docstring.

        Args:
            function: the signature becomes the schema, the docstring (Google style) the descriptions.
            name: the name; by default that of the function.
            description: the description; by default the docstring before its sections.
            effect: read, write or destroy.
            timeout_seconds: the timeout of a call.

        Raises:
            UsageError: the function cannot be described to a model; gives the reason.
        """
        named = str(name or getattr(function, "__name__", ""))
        if not TOOL_NAME.fullmatch(named):
            raise UsageError(
                f"invalid tool name {named or function!r}: must be 1 to 64 letters, digits, _ and -"
            )
        if effect not in ("read", "write", "destroy"):
            raise UsageError(
                f"invalid effect {effect!r} of {named}: must be read, write or destroy"
            )
        signature = signature_of(function)
        text = description or signature.description
        if not text:
            raise UsageError(
                f"{named} cannot be a tool: it needs a docstring, which describes it to the model"
            )
        return cls(
            named, text, function, signature.parameters, effect, timeout_seconds, signature.read
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.run(*args, **kwargs)

    def definition(self) -> dict[str, Any]:
        """Return the chat-completions definition of the tool."""
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
    """Create a tool from the decorated function, ``@tool`` or ``@tool(effect="write")``; see `Tool.from_function`."""

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
    """The decision whether a call may run.

    Attributes:
        by: the source of the decision, as stored: ``asked`` (the user, this time), ``session`` (the user, for the
            session), ``config`` (``tools.allow``), ``flag`` (``--yes-tools``), ``program`` (the host program), ``default``
            (there was no user to ask).
        reason: shown to the model and the user if the call may not run.
    """

    allowed: bool
    by: str = "program"
    reason: str = ""


Approve = Callable[[Tool, Mapping[str, Any]], Awaitable[bool | Decision]]
"""Called before a tool that writes or destroys runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call.

    Attributes:
        failed: the call was denied, the tool is unknown or raised; the model sees this too.
        approved: the decision; None if no approval was needed.
        approved_by: the source of the decision; see `Decision`.
        full_output: the complete output, if the text is not all of it.
    """

    text: str
    failed: bool = False
    approved: bool | None = None
    approved_by: str = ""
    full_output: FullOutput | None = None

    @property
    def denied_by(self) -> str:
        """The source of the decision if the call was denied, else empty."""
        return self.approved_by if self.approved is False else ""


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The tools offered in a turn.

    Attributes:
        notices: notices for the user, one line each.
        loop_thread: the event loop in which the skills were opened; their asynchronous tools run there.
    """

    tools: Sequence[Tool] = ()
    notices: Sequence[str] = ()
    loop_thread: LoopThread | None = None


class Toolbox:
    """The tools of one turn, by name.

    Args:
        tools: the tools that are offered.
        approve: called before a tool that writes or destroys; None denies these tools.
        load_tools: returns the tools that are offered, called once, instead of `tools`.
        context: the context passed to tools, without the id of the call.
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
        """Load the tools and return the notices for the user."""
        if self._load_tools is None:
            return ()
        offered = await self._load_tools()
        self._tools = {tool.name: tool for tool in offered.tools}
        self._loop_thread = offered.loop_thread
        return offered.notices

    def definitions(self) -> list[dict[str, Any]]:
        """Return the chat-completions definitions of all tools."""
        return [tool.definition() for tool in self._tools.values()]

    async def run(self, call: ToolCall) -> Outcome:
        """Run one call; any error becomes its result, so that the turn continues."""
        name, text = call["function"]["name"], call["function"].get("arguments") or "{}"
        if refused := self._refused.get((name, text)):
            return refused  # the user is not asked twice
        if (
            max((n for seen, n in self._seen.items() if seen[:2] == (name, text)), default=0)
            >= MAX_REPEATS
        ):
            return _failed(
                f"this call was made {MAX_REPEATS} times with the same result; use that result, or do something else"
            )
        outcome = await self._run(name, text, call.get("id", ""))
        if outcome.approved is False:
            self._refused[name, text] = outcome
        self._seen[name, text, outcome.text] += 1
        return outcome

    async def _run(self, name: str, text: str, call_id: str) -> Outcome:
        tool = self._tools.get(resolve_tool_name(name, self._tools) or "")
        if tool is None:
            names = ", ".join(self._tools) or "none"
            return _failed(f"unknown tool {cut(name, 100)!r}; the tools are {names}")
        try:
            arguments = _parse_arguments(text)
        except ValueError as error:
            return _failed(f"the arguments are not a JSON object: {error}")
        if wrong := _invalid_arguments(tool, arguments):
            return _failed(f"invalid arguments: {'; '.join(wrong)}")
        decision = await self._decision(tool, arguments)
        if decision is not None and not decision.allowed:
            refused = _failed(decision.reason or f"the user denied {tool.name}")
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
            effect = "destroys" if tool.effect == "destroy" else "writes"
            reason = f"{tool.name} {effect}, and there is no user to allow it"
            return Decision(allowed=False, by="default", reason=reason)
        answer = await self._approve(tool, arguments)
        return answer if isinstance(answer, Decision) else Decision(allowed=bool(answer))

    async def _result(self, tool: Tool, arguments: dict[str, Any], call_id: str) -> Outcome:
        try:
            keywords = arguments if tool.read is None else tool.read(arguments)
            if context := context_parameter(tool.run):
                keywords = {**keywords, context: self._context.for_call(call_id)}
            ended = await FunctionCall(
                tool.run, keywords, self._loop_thread if tool.skill else None
            ).run(tool.timeout_seconds)
            if ended.error is None:
                text, full_output = format_result(ended.value, ended.printed)
                return Outcome(text, full_output=full_output)
        except ToolTimeout as error:
            running = "; it may still be running" if error.running else ""
            return _failed(f"{tool.name} timed out after {tool.timeout_seconds:g} s{running}")
        except Exception as error:  # noqa: BLE001  # conversion runs the code of the tool's own classes
            ended = CallResult(error=error)
        printed = f"\n(printed: {ended.printed})" if ended.printed else ""
        return _failed(
            cut(_format_exception(ended.error), _ERROR_LENGTH) + cut(printed, _ERROR_LENGTH)
        )


def _failed(text: str) -> Outcome:
    return Outcome(f"error: {text}", failed=True)


def _format_exception(error: BaseException | None) -> str:
    """Format an exception of a tool; its own formatting may raise too."""
    if isinstance(error, OmniAgentError):
        return str(error)
    return "".join(traceback.format_exception_only(error)).strip()


def _invalid_arguments(tool: Tool, arguments: dict[str, Any]) -> list[str]:
    takes_none = not tool.parameters.get("properties") and not tool.parameters.get("required")
    return [] if takes_none and not arguments else argument_errors(arguments, tool.parameters)


def _parse_arguments(text: str) -> dict[str, Any]:
    if len(text) > MAX_ARGUMENT_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, at most {MAX_ARGUMENT_CHARACTERS:,}")
    arguments = parse_json(text)
    if not isinstance(arguments, dict):
        raise ValueError(f"got {type(arguments).__name__}")  # noqa: TRY004  # the model's mistake, not the caller's
    return arguments
