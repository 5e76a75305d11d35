"""Structured answers: the request for JSON that follows a schema, and the JSON or code block found in an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.parsing import parse_json

# The keywords of OpenAI's strict mode: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_STRICT_KEYWORDS = frozenset(
    {
        "$schema", "$id", "$defs", "definitions", "$ref", "title", "description", "type", "enum", "const", "anyOf",
        "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "pattern", "format",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    }
)  # fmt: skip
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$")


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``response_format`` of a request; strict if the schema is supported by strict mode."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title", "")))[:64].strip("_")
    strict = schema.get("type") == "object" and _is_strict(schema)
    json_schema = {"name": name or "answer", "schema": dict(schema), "strict": strict}
    return {"type": "json_schema", "json_schema": json_schema}


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT_KEYWORDS:
        return False
    properties = schema.get("properties", {})
    containers = (properties, schema.get("$defs", {}), schema.get("definitions", {}))
    if not all(isinstance(container, dict) for container in containers):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_strict, _subschemas(schema)))


def _subschemas(schema: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in ("properties", "$defs", "definitions"):
        yield from schema.get(keyword, {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def instruction(schema: Mapping[str, Any]) -> str:
    """Return the schema as an instruction, for models whose server does not enforce it."""
    return (
        "Answer with one JSON value that is valid against this JSON schema, and with nothing else: "
        f"no text around it, no code fence.\n{dump(dict(schema)).decode()}"
    )


def read_json(text: str) -> Any:
    """Return the JSON value of an answer, or of its first code block.

    Raises:
        ValueError: neither is JSON.
    """
    try:
        return parse_json(text)
    except ValueError:
        block = first_code_block(text)
        if block is None:
            raise
        return parse_json(block)


def first_code_block(text: str) -> str | None:
    """Return the content of the first fenced code block of Markdown, without the fence; None if there is none.

    Follows CommonMark: the closing fence has the same character and at least the same length, and a block that is not
    closed ends with the text. The indentation of the opening fence is removed from each line.
    """
    lines = text.splitlines(keepends=True)
    for start, line in enumerate(lines):
        opening = _FENCE.match(line.rstrip("\r\n"))
        if opening and not (opening["fence"][0] == "`" and "`" in opening["info"]):
            block = _block_lines(lines[start + 1 :], opening["fence"], len(opening["indent"]))
            return "".join(block)
    return None


def _block_lines(lines: list[str], fence: str, indent: int) -> Iterator[str]:
    for line in lines:
        bare = line.strip()
        closes = len(bare) >= len(fence) and not bare.strip(fence[0])
        if bare and closes:
            return
        yield line[min(indent, len(line) - len(line.lstrip(" "))) :]
