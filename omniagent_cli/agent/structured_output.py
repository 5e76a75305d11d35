"""Answers that follow a JSON schema, or are the code in them: how they are asked for, found and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omniagent_cli.json_format import dump

# What OpenAI's strict mode takes: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_STRICT_WORDS = frozenset(
    {
        "$schema", "$id", "$defs", "definitions", "$ref", "title", "description", "type", "enum", "const", "anyOf",
        "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "pattern", "format",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    }
)  # fmt: skip
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$")


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``response_format`` of a request; strict where the schema is one that strict mode takes."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title", "")))[:64].strip("_")
    strict = schema.get("type") == "object" and _is_strict(schema)
    told = {"name": name or "answer", "schema": dict(schema), "strict": strict}
    return {"type": "json_schema", "json_schema": told}


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT_WORDS:
        return False
    properties = schema.get("properties", {})
    named = all(isinstance(part, dict) for part in (properties, schema.get("$defs", {})))
    if not named or not isinstance(schema.get("definitions", {}), dict):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_strict, _below(schema)))


def _below(schema: Mapping[str, Any]) -> Iterator[Any]:
    for word in ("properties", "$defs", "definitions"):
        yield from schema.get(word, {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def instruction(schema: Mapping[str, Any]) -> str:
    """Return the schema in words, for models whose server does not hold them to it."""
    return (
        "Answer with one JSON value that follows this JSON schema, and with nothing else: "
        f"no words around it, no code fence.\n{dump(dict(schema)).decode()}"
    )


def read_json(text: str) -> Any:
    """Return the JSON value an answer is, or the one in its first code block.

    Raises:
        ValueError: there is none.
    """
    try:
        return _loaded(text)
    except ValueError:
        block = first_code_block(text)
        if block is None:
            raise
        return _loaded(block)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def first_code_block(text: str) -> str | None:
    """Return what stands in the first fenced block of Markdown, without the fence; None when there is none.

    As CommonMark has it: the end needs a fence of the same kind, at least as long; without one the block ends
    with the text. The indentation of the fence, which may stand deep in a list, is taken off its lines.
    """
    lines = text.splitlines(keepends=True)
    for start, line in enumerate(lines):
        opened = _FENCE.match(line.rstrip("\r\n"))
        if opened and not (opened["fence"][0] == "`" and "`" in opened["info"]):
            return "".join(_inside(lines[start + 1 :], opened["fence"], len(opened["indent"])))
    return None


def _inside(lines: list[str], fence: str, indent: int) -> Iterator[str]:
    for line in lines:
        bare = line.strip()
        closes = len(bare) >= len(fence) and not bare.strip(fence[0])
        if bare and closes:
            return
        yield line[min(indent, len(line) - len(line.lstrip(" "))) :]
