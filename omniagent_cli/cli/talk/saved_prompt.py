"""The options ``-p NAME`` and ``--var NAME=VALUE`` of `ask`: a saved prompt and the values of its variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.cli.talk.answer_format import AnswerFormat, answer_format
from omniagent_cli.cli.talk.tool_options import with_tool_options
from omniagent_cli.errors import UsageError

if TYPE_CHECKING:
    from omniagent_cli.config.prompts import SavedPrompt

PromptOption = Annotated[
    str | None, typer.Option("--prompt", "-p", metavar="PROMPT", help="use a saved prompt")
]
VariableOption = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=V", help="value of a variable of the saved prompt"),
]


@dataclass(frozen=True, slots=True)
class PromptUse:
    """A saved prompt with the values of its variables; without a prompt it changes nothing."""

    prompt: SavedPrompt | None = None
    values: tuple[tuple[str, str], ...] = ()

    @property
    def has_text(self) -> bool:
        """True if the prompt is a question by itself."""
        return self.prompt is not None and bool(self.prompt.text.strip())

    @property
    def render(self) -> Callable[[str], str]:
        """A function that puts what the user wrote into the text of the prompt."""
        prompt, values = self.prompt, dict(self.values)
        return str if prompt is None else lambda said: prompt.render(said, values)

    def options(self, options: AgentOptions) -> AgentOptions:
        """Return the options with the model and the system prompt of the prompt, unless they are given."""
        if self.prompt is None:
            return options
        model, system = options.model, options.system
        return replace(
            options,
            model=self.prompt.model if model is None else model,
            system=self.prompt.system if system is None else system,
        )

    def with_tools(
        self,
        options: AgentOptions,
        tools: Sequence[str] | None,
        yes_tools: Sequence[str] | None,
        *,
        none: bool,
    ) -> AgentOptions:
        """Return the options with the tools of the command line, else with those of the prompt."""
        if self.prompt is not None and tools is None and not none:
            tools, none = self.prompt.tools or None, self.prompt.tools == ()
        return with_tool_options(options, tools, yes_tools, none=none)

    def format(self, schema: str | None, *, extract: bool) -> AnswerFormat:
        """Return the answer format of the command line, else that of the prompt."""
        own = self.prompt.schema if self.prompt is not None and not extract else None
        if schema is None and own is not None:
            from omniagent_cli.json_format import dump

            schema = own if isinstance(own, str) else dump(own).decode()
        return answer_format(schema, extract=extract)


def prompt_use(context: Context, name: str | None, variables: Sequence[str] | None) -> PromptUse:
    """Read the saved prompt of the options.

    Raises:
        UsageError: there is no such prompt, or a variable is not ``NAME=VALUE``.
        ConfigError: the prompt cannot be used.
    """
    if name is None:
        if variables:
            raise UsageError("--var needs a saved prompt; choose one with -p NAME")
        return PromptUse()
    from omniagent_cli.config.prompts import saved_prompt

    values = []
    for pair in variables or ():
        variable, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"invalid --var {pair!r}; write NAME=VALUE")
        values.append((variable.strip(), value))
    return PromptUse(saved_prompt(name, context.environ, context.cwd), tuple(values))
