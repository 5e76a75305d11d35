"""What the Responses API takes: a request is checked against the published types of the `openai` library, and more.

The rules beyond the types are those that the API's own refusals name: content parts by role, results that answer
calls, calls that are answered, reasoning that is followed by what it led to and was encrypted by this server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Required, get_args, get_origin

from openai.types.responses import response_create_params as create
from openai.types.responses import response_input_item_param as inputs
from openai.types.responses.easy_input_message_param import EasyInputMessageParam
from openai.types.responses.function_tool_param import FunctionToolParam
from openai.types.responses.response_format_text_json_schema_config_param import (
    ResponseFormatTextJSONSchemaConfigParam,
)
from openai.types.responses.response_function_tool_call_param import ResponseFunctionToolCallParam
from openai.types.responses.response_includable import ResponseIncludable
from openai.types.responses.response_input_file_param import ResponseInputFileParam
from openai.types.responses.response_input_image_param import ResponseInputImageParam
from openai.types.responses.response_input_text_param import ResponseInputTextParam
from openai.types.responses.response_output_refusal_param import ResponseOutputRefusalParam
from openai.types.responses.response_output_text_param import ResponseOutputTextParam
from openai.types.responses.response_reasoning_item_param import ResponseReasoningItemParam
from openai.types.responses.response_text_config_param import ResponseTextConfigParam
from openai.types.shared_params.reasoning import Reasoning
from typing_extensions import get_type_hints

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/]+=*")
_INPUT_PARTS = {
    "input_text": ResponseInputTextParam,
    "input_image": ResponseInputImageParam,
    "input_file": ResponseInputFileParam,
}
_OUTPUT_PARTS = {"output_text": ResponseOutputTextParam, "refusal": ResponseOutputRefusalParam}
_ITEMS = {
    "function_call": ResponseFunctionToolCallParam,
    "function_call_output": inputs.FunctionCallOutput,
    "reasoning": ResponseReasoningItemParam,
}


class Refused(Exception):
    """A request that the API refuses with 400: the message, the parameter, the code."""

    def __init__(self, message: str, param: str = "input", code: str | None = None) -> None:
        super().__init__(message)
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }


def check_request(raw: bytes, encrypted: Collection[str]) -> dict[str, Any]:
    """Return the body of a request.

    Args:
        raw: the body as it came.
        encrypted: the encrypted contents that this server gave out.

    Raises:
        Refused: it is not one that the API takes.
    """
    try:
        body = json.loads(raw.decode("utf-8"))
        json.dumps(body, ensure_ascii=False).encode("utf-8")  # no lone surrogates
    except ValueError as error:
        raise Refused(
            "We could not parse the JSON body of your request.", "", "invalid_json"
        ) from error
    streams = body.get("stream") if isinstance(body, dict) else None
    kind = "ResponseCreateParamsStreaming" if streams else "ResponseCreateParamsNonStreaming"
    _check_keys(body, getattr(create, kind), "")
    if body.get("store") is not False:
        raise Refused("these tests keep the history here", "store")
    for name in body.get("include") or ():
        if name not in get_args(ResponseIncludable):
            raise Refused(f"Invalid value: '{name}'.", "include[0]", "invalid_value")
    _check_keys(body.get("reasoning") or {}, Reasoning, "reasoning")
    _check_text(body.get("text"))
    for number, tool in enumerate(body.get("tools") or ()):
        _check_tool(tool, f"tools[{number}]")
    items = body.get("input")
    if not isinstance(items, list):
        raise Refused("Missing required parameter: 'input'.", code="missing_required_parameter")
    for number, item in enumerate(items):
        _check_item(item, f"input[{number}]")
    _check_calls(items)
    _check_reasoning(items, encrypted)
    return dict(body)


def _check_text(text: Any) -> None:
    if text is None:
        return
    _check_keys(text, ResponseTextConfigParam, "text")
    form = text.get("format") or {"type": "text"}
    if form["type"] != "text":
        _check_keys(form, ResponseFormatTextJSONSchemaConfigParam, "text.format")
        if not NAME.fullmatch(form["name"]):
            raise Refused("Invalid 'text.format.name'.", "text.format.name", "invalid_value")


def _check_tool(tool: Any, where: str) -> None:
    _check_keys(tool, FunctionToolParam, where)
    if tool["type"] != "function" or tool["strict"] is not False:
        raise Refused(f"Invalid value: '{tool['type']}'.", where)
    if not NAME.fullmatch(tool["name"]):
        raise Refused(
            f"Invalid '{where}.name': string does not match pattern.",
            f"{where}.name",
            "invalid_value",
        )
    if not isinstance(tool["parameters"], dict) or tool["parameters"].get("type") != "object":
        raise Refused(f"Invalid schema for function '{tool['name']}'.", f"{where}.parameters")


def _check_item(item: Any, where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        _check_message(item, where)
        return
    if kind not in _ITEMS:
        raise Refused(f"Invalid value: '{kind}'.", f"{where}.type", "invalid_value")
    _check_keys(item, _ITEMS[kind], where)
    if kind == "function_call":
        if not NAME.fullmatch(item["name"]):
            raise Refused(
                f"Invalid '{where}.name': string does not match pattern. "
                "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
                f"{where}.name",
                "invalid_value",
            )
        try:
            value = json.loads(item["arguments"])
        except ValueError as error:
            raise Refused(f"'{where}.arguments' is not JSON", f"{where}.arguments") from error
        if not isinstance(value, dict):
            raise Refused(f"'{where}.arguments' is not an object", f"{where}.arguments")
    elif kind == "function_call_output":
        _check_content(item["output"], _INPUT_PARTS, f"{where}.output")
    else:
        for part in item["summary"]:
            if part.keys() != {"type", "text"} or part["type"] != "summary_text":
                raise Refused("Invalid value.", f"{where}.summary")


def _check_message(item: Mapping[str, Any], where: str) -> None:
    _check_keys(item, EasyInputMessageParam, where)
    role = item["role"]
    if role not in ("user", "assistant", "system", "developer"):
        raise Refused(f"Invalid value: '{role}'.", f"{where}.role", "invalid_value")
    if "phase" in item and (
        role != "assistant" or item["phase"] not in ("commentary", "final_answer")
    ):
        raise Refused("Invalid value.", f"{where}.phase", "invalid_value")
    parts = _OUTPUT_PARTS if role == "assistant" else _INPUT_PARTS
    _check_content(item["content"], parts, f"{where}.content")


def _check_content(content: Any, parts: Mapping[str, Any], where: str) -> None:
    if isinstance(content, str):
        return
    for number, part in enumerate(content):
        place = f"{where}[{number}]"
        if part.get("type") not in parts:
            known = " and ".join(f"'{name}'" for name in parts)
            raise Refused(
                f"Invalid value: '{part.get('type')}'. Supported values are: {known}.",
                place,
                "invalid_value",
            )
        _check_keys(part, parts[part["type"]], place)
        for key in ("image_url", "file_data"):
            if key in part and not _DATA_URL.fullmatch(part[key]):
                raise Refused(f"Invalid '{place}.{key}'.", f"{place}.{key}", "invalid_value")


def _check_calls(items: list[dict[str, Any]]) -> None:
    """Check that results answer earlier calls, each once, and that no call is left without."""
    waiting: set[str] = set()
    seen: set[str] = set()
    for item in items:
        if item.get("type") == "function_call":
            if item["call_id"] in seen:
                raise Refused(f"Duplicate item found with id {item['call_id']}.")
            waiting.add(item["call_id"])
            seen.add(item["call_id"])
        elif item.get("type") == "function_call_output":
            if item["call_id"] not in waiting:
                raise Refused(
                    f"No tool call found for function call output with call_id {item['call_id']}."
                )
            waiting.remove(item["call_id"])
        elif waiting and item.get("role") in ("user", "system"):
            break
    if waiting:
        raise Refused(f"No tool output found for function call {min(waiting)}.")


def _check_reasoning(items: list[dict[str, Any]], encrypted: Collection[str]) -> None:
    ids = [item["id"] for item in items if "id" in item]
    if len(set(ids)) < len(ids):
        raise Refused(f"Duplicate item found with id {ids[-1]}.")
    for item, after in zip(items, [*items[1:], None], strict=True):
        if item.get("type") != "reasoning":
            continue
        if after is None or not (
            after.get("type") in ("reasoning", "function_call") or after.get("role") == "assistant"
        ):
            raise Refused(
                f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
            )
        if not item.get("encrypted_content"):
            raise Refused(
                f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false."
            )
        if item["encrypted_content"] not in encrypted:
            raise Refused(
                f"The encrypted content for item {item['id']} could not be verified.",
                code="invalid_encrypted_content",
            )


def _check_keys(value: Any, kind: Any, where: str) -> None:
    allowed, required = _keys(kind)
    if not isinstance(value, dict):
        raise Refused(f"Invalid type for '{where}'.", where, "invalid_type")
    for key in value:
        if key not in allowed:
            place = f"{where}.{key}" if where else key
            raise Refused(f"Unknown parameter: '{place}'.", place, "unknown_parameter")
    for key in required - value.keys():
        place = f"{where}.{key}" if where else key
        raise Refused(
            f"Missing required parameter: '{place}'.", place, "missing_required_parameter"
        )


@cache
def _keys(kind: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys that a published type allows and requires."""
    hints = get_type_hints(kind, include_extras=True)
    required = {key for key, hint in hints.items() if get_origin(hint) is Required}
    return frozenset(hints), frozenset(required)
