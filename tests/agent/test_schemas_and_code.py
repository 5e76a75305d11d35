"""Schemas and code blocks: what is strict, what follows, what stands between fences."""

from __future__ import annotations

import json

import pytest

from omniagent_cli.agent.json_schema import read_schema, validation_errors
from omniagent_cli.agent.structured_output import (
    first_code_block,
    read_json,
    response_format,
)
from omniagent_cli.errors import UsageError

CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
STRICT = {
    "closed": (CLOSED, True),
    "open": ({**CLOSED, "additionalProperties": True}, False),
    "optional property": ({**CLOSED, "required": []}, False),
    "a list": ({"type": "array", "items": CLOSED}, False),
    "nested": ({**CLOSED, "properties": {"a": CLOSED}}, True),
    "nested open": ({**CLOSED, "properties": {"a": {"type": "object", "properties": {}}}}, False),
    "in a list": ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
    "anyOf": ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
    "allOf": ({**CLOSED, "properties": {"a": {"allOf": [CLOSED]}}}, False),
    "default": ({**CLOSED, "properties": {"a": {"type": "string", "default": "x"}}}, False),
    "definitions": ({**CLOSED, "$defs": {"b": CLOSED}}, True),
    "open definitions": ({**CLOSED, "$defs": {"b": {"type": "object"}}}, False),
    "true": ({**CLOSED, "properties": {"a": True}}, False),
    "odd": ({**CLOSED, "properties": [1]}, False),
    "recursive": ({**CLOSED, "properties": {"a": {"$ref": "#"}}}, True),
}


@pytest.mark.parametrize(("schema", "strict"), STRICT.values(), ids=STRICT)
def test_strict_mode_is_asked_for_only_where_it_can_be(schema, strict):
    """A schema that strict mode refuses is asked for without it."""
    assert response_format(schema)["json_schema"]["strict"] is strict


BLOCKS = {
    "plain": ("a\n```\nx\n```\nb", "x\n"),
    "tildes": ("~~~py\nx\n~~~", "x\n"),
    "first of two": ("```\n1\n```\n```\n2\n```", "1\n"),
    "longer fence": ("````\n```\n````", "```\n"),
    "not closed": ("```sh\nls\n", "ls\n"),
    "in a list": ("1. do:\n\n     ```sh\n     ls\n       -l\n     ```\n", "ls\n  -l\n"),
    "empty": ("```\n```", ""),
    "crlf": ("```\r\nx\r\n```\r\n", "x\r\n"),
    "other fence inside": ("```\n~~~\n```", "~~~\n"),
    "info with backticks": ("``` a`b\nx", None),
    "inline": ("use `x` or ```y```", None),
    "none": ("no code", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("text", "block"), BLOCKS.values(), ids=BLOCKS)
def test_the_first_code_block(text, block):
    """What stands between the first fences comes out, and nothing else."""
    assert first_code_block(text) == block


def test_json_is_found_bare_or_in_a_block():
    """An answer is JSON, or has it in its first code block."""
    assert read_json(' {"a": 1} ') == {"a": 1}
    assert read_json("Sure:\n```json\n[1]\n```") == [1]
    for text in ("", "no", "```\nno\n```", "{'a': 1}", '{"a": 1} {"b": 2}', "Infinity"):
        with pytest.raises(ValueError, match=r"\w"):
            read_json(text)


def test_names_inside_a_schema_are_followed_and_nothing_is_fetched():
    """Parts with ids of their own are found; a name that leads nowhere is a problem, not a request."""
    schema = {
        "$id": "https://example.org/root",
        "$defs": {"b": {"$id": "b", "type": "integer"}},
        "properties": {"x": {"$ref": "b"}, "y": {"$ref": "https://example.org/nowhere"}},
    }
    assert read_schema(json.dumps(schema), "it") == schema
    assert validation_errors({"x": 1}, schema) == []
    assert validation_errors({"x": "1"}, schema) == ["$.x: '1' is not of type 'integer'"]
    (told,) = validation_errors({"y": 1}, schema)
    assert told.startswith("the schema has an unresolvable reference: ")


def test_many_problems_are_cut_short_and_harmless():
    """At most twenty are told, each a short line that drives no terminal."""
    schema = {"items": {"type": "integer"}}
    found = validation_errors(["\x1b[31m" + "x" * 500] * 50, schema)
    assert len(found) == 21
    assert found[-1] == "... and 30 more"
    assert all(len(line) < 250 and "\x1b" not in line for line in found)


def test_formats_and_old_drafts_are_checked():
    """A schema of an older draft is read as that, and a format is more than a note."""
    old = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 1,
        "exclusiveMinimum": True,
    }
    assert validation_errors(1, old) == ["$: 1 is less than or equal to the minimum of 1"]
    assert validation_errors("x", {"format": "ipv4"}) == ["$: 'x' is not a 'ipv4'"]
    with pytest.raises(UsageError, match="it is not a JSON schema: "):
        read_schema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": 1}', "it")
