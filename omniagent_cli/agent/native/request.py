"""The request of a native model: settings, tools and schema in the terms of `pydantic-ai`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.normalization import alternating, normalized, valid_unicode
from omniagent_cli.agent.models.providers import Endpoint
from omniagent_cli.agent.models.request_body import with_instruction
from omniagent_cli.agent.native.conversation import native_messages
from omniagent_cli.errors import UsageError
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings as NativeSettings

_EFFORTS = {"none": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_EFFORTS |= {"xhigh": "xhigh", "max": "max"}


@dataclass(slots=True)
class NativeRequest:
    """A request in the form of `pydantic-ai`.

    Attributes:
        options: the names of the settings that are sent, as in `ModelSettings`.
        unsupported_settings: the names of the settings that the model does not support.
    """

    messages: list[ModelMessage]
    settings: NativeSettings
    parameters: ModelRequestParameters
    options: list[str] = field(default_factory=list)
    unsupported_settings: list[str] = field(default_factory=list)


def request_body(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    settings: ModelSettings,
    model: Model[Any],
) -> dict[str, Any]:
    """Return the request with the keys of Chat Completions, so that rejected options are handled as in other engines.

    The schema is enforced where the model supports it. Beside tools, which exclude that in some protocols, it becomes
    an instruction.
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


def native_request(
    body: Mapping[str, Any], settings: ModelSettings, endpoint: Endpoint, model: Model[Any]
) -> NativeRequest:
    """Return the request for a model.

    Raises:
        UsageError: the reasoning effort is unknown.
    """
    parameters = _parameters(body)
    wanted = _requested_settings(settings)
    unsupported_settings: list[str] = [
        name for name in wanted if name in set(model.unsupported_settings)
    ]
    if "thinking" in wanted and not model.profile.get("supports_thinking"):
        unsupported_settings.append("thinking")
    kept = {name: value for name, value in wanted.items() if name not in unsupported_settings}
    # The library reports dropped settings as warnings on the terminal; compare the prepared settings instead.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared, _ = model.prepare_request(cast("NativeSettings", dict(kept)), parameters)
    unsupported_settings += [
        name for name in kept if name != "thinking" and name not in (prepared or {})
    ]
    kept = {name: value for name, value in kept.items() if name not in unsupported_settings}
    cache = {"cache": True} if endpoint.provider.caches_on_request else {}
    return NativeRequest(
        native_messages(alternating(body["messages"], merge_answers=False), endpoint, model.system),
        cast("NativeSettings", {**kept, **cache}),
        parameters,
        [_setting_name(name) for name in kept],
        [_setting_name(name) for name in unsupported_settings],
    )


def _requested_settings(settings: ModelSettings) -> dict[str, Any]:
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
                f"unknown reasoning_effort {one_line(settings.reasoning_effort)!r}; must be one of {known}"
            )
        wanted["thinking"] = _EFFORTS[effort]
    return {name: value for name, value in wanted.items() if value is not None}


def _setting_name(name: str) -> str:
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
