"""How a native model is asked: our settings, tools and schema in the terms of `pydantic-ai`, and what it goes without."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.normalization import alternating, normalized, valid_unicode
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import with_instruction
from omniagent_cli.agent.native.conversation import conversation
from omniagent_cli.errors import UsageError
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings as NativeSettings

_EFFORTS = {"none": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_EFFORTS |= {"xhigh": "xhigh", "max": "max"}


@dataclass(slots=True)
class Asked:
    """A question as `pydantic-ai` takes it.

    Attributes:
        options: the names of the settings that are sent, as we call them.
        left_out: the names of those that are not, because this model has no such thing.
    """

    messages: list[ModelMessage]
    settings: NativeSettings
    parameters: ModelRequestParameters
    options: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def body_for(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    settings: ModelSettings,
    model: Model[Any],
) -> dict[str, Any]:
    """Return what is asked in the keys of Chat Completions, so that a refusal of a part is learned from as everywhere.

    A schema is held to where the model can be, and beside tools, which exclude that in some protocols, told in words.
    """
    schema, tools = valid_unicode(settings.schema), valid_unicode(tools)
    messages = normalized(messages, [tool["function"]["name"] for tool in tools])
    body: dict[str, Any] = {"messages": messages}
    if tools:
        body["tools"] = list(tools)
    if schema is not None and not tools and model.profile.get("supports_json_schema_output"):
        body["response_format"] = dict(schema)
    elif schema is not None:
        body["messages"] = with_instruction(messages, schema)
    return body


def asked_with(
    body: Mapping[str, Any], settings: ModelSettings, endpoint: Endpoint, model: Model[Any]
) -> Asked:
    """Return a question for a model.

    Raises:
        UsageError: the reasoning effort is none of those there are.
    """
    parameters = _parameters(body)
    wanted = _wanted(settings)
    left_out: list[str] = [name for name in wanted if name in set(model.unsupported_settings)]
    if "thinking" in wanted and not model.profile.get("supports_thinking"):
        left_out.append("thinking")
    kept = {name: value for name, value in wanted.items() if name not in left_out}
    # Warnings would go to the screen: asked beforehand, it tells what it would leave out with one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared, _ = model.prepare_request(cast("NativeSettings", dict(kept)), parameters)
    left_out += [name for name in kept if name != "thinking" and name not in (prepared or {})]
    kept = {name: value for name, value in kept.items() if name not in left_out}
    cache = {"cache": True} if endpoint.provider.caches_on_request else {}
    return Asked(
        conversation(alternating(body["messages"], merge_answers=False), endpoint, model.system),
        cast("NativeSettings", {**kept, **cache}),
        parameters,
        [_ours(name) for name in kept],
        [_ours(name) for name in left_out],
    )


def _wanted(settings: ModelSettings) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    if settings.reasoning_effort is not None:
        effort = settings.reasoning_effort.strip().lower()
        if effort not in _EFFORTS:
            known = ", ".join(_EFFORTS)
            raise UsageError(
                f"there is no reasoning_effort {one_line(settings.reasoning_effort)!r}; it is one of {known}"
            )
        wanted["thinking"] = _EFFORTS[effort]
    return {name: value for name, value in wanted.items() if value is not None}


def _ours(name: str) -> str:
    return "reasoning_effort" if name == "thinking" else name


def _parameters(body: Mapping[str, Any]) -> ModelRequestParameters:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    functions = [tool["function"] for tool in body.get("tools", ())]
    tools = [
        ToolDefinition(
            name=function["name"],
            description=function.get("description"),
            parameters_json_schema=function.get("parameters")
            or {"type": "object", "properties": {}},
        )
        for function in functions
    ]
    if "response_format" not in body:
        return ModelRequestParameters(function_tools=tools)
    schema = OutputObjectDefinition(json_schema=body["response_format"], name="answer")
    return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=schema)
