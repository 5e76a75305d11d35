"""Functions as tools: what a model is told of them, and what it may send."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, TypedDict

import pytest
from pydantic import BaseModel

from omniagent_cli import Tool, ToolContext, tool
from omniagent_cli.agent.json_schema import argument_errors
from omniagent_cli.agent.tools.tool import Toolbox
from omniagent_cli.errors import UsageError


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


@dataclass
class Place:
    name: str
    height: float = 0.0


class Options(TypedDict, total=False):
    days: Required[int]
    note: str


class Booking(TypedDict):
    room: int
    late: NotRequired[bool]


class Tree(BaseModel):
    size: int
    kids: list[Tree] = []


Meters = NewType("Meters", int)


def weather(city: str, ctx: ToolContext, unit: Unit = Unit.CELSIUS, days: int = 3) -> str:  # noqa: D417  # not every argument is documented
    """Tell the weather.

    It is always fine.

    Args:
        city: where, in any
            language.
        unit (Unit): of the degrees.
        ctx: not for models.

    Returns:
        A sentence.
    """
    return f"{city} {unit.name} {days} {ctx.session_id}"


def run(made, arguments):
    call = {"id": "c1", "type": "function", "function": {"name": made.name, "arguments": arguments}}
    return asyncio.run(Toolbox([made], context=ToolContext(session_id="s")).run(call))


def test_a_function_becomes_a_tool():
    """Name, description, arguments and their descriptions come from the function; the context is not among them."""
    made = Tool.from_function(weather)
    assert made.definition() == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather.\n\nIt is always fine.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"description": "where, in any language.", "type": "string"},
                    "unit": {
                        "description": "of the degrees.",
                        "type": "string",
                        "enum": ["c", "f"],
                        "default": "c",
                    },
                    "days": {"type": "integer", "default": 3},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    assert run(made, '{"city": "Ulm", "unit": "f"}').text == "Ulm FAHRENHEIT 3 s"


@pytest.mark.parametrize(
    ("hint", "schema", "sent", "got"),
    [
        (str, {"type": "string"}, '"a"', "a"),
        (float, {"type": "number"}, "1", 1.0),
        (int, {"type": "integer"}, "2.0", 2),
        (bool, {"type": "boolean"}, "true", True),
        (Any, {}, '{"a": [1]}', {"a": [1]}),
        (None, {"type": "null"}, "null", None),
        (str | None, {"type": ["string", "null"]}, "null", None),
        (Literal["a", 1], {"enum": ["a", 1]}, "1", 1),
        (Unit, {"type": "string", "enum": ["c", "f"]}, '"c"', Unit.CELSIUS),
        (list[int], {"type": "array", "items": {"type": "integer"}}, "[1]", [1]),
        (set[str], {"type": "array", "items": {"type": "string"}}, '["a", "a"]', {"a"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, "[1, 2]", (1, 2)),
        (Meters, {"type": "integer"}, "5", 5),
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}, "5", 5),
        (
            dict[str, float],
            {"type": "object", "additionalProperties": {"type": "number"}},
            '{"a": 1}',
            {"a": 1.0},
        ),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
            '[1, "a"]',
            (1, "a"),
        ),
        (
            Place | None,
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "height": {"type": "number"}},
                        "required": ["name"],
                        "additionalProperties": False,
                    },
                    {"type": "null"},
                ]
            },
            '{"name": "Ulm"}',
            Place("Ulm"),
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"days": {"type": "integer"}, "note": {"type": "string"}},
                "required": ["days"],
                "additionalProperties": False,
            },
            '{"days": 1}',
            {"days": 1},
        ),
        (
            Booking,
            {
                "type": "object",
                "properties": {"room": {"type": "integer"}, "late": {"type": "boolean"}},
                "required": ["room"],
                "additionalProperties": False,
            },
            '{"room": 1}',
            {"room": 1},
        ),
    ],
)  # fmt: skip
def test_types(hint, schema, sent, got):
    """Each type is told as JSON has it, and what comes is what the function's type says."""
    seen = []

    def look(value):
        """Look."""
        seen.append(value)

    look.__annotations__ = {"value": hint}
    made = Tool.from_function(look)
    assert made.parameters["properties"]["value"] == schema
    assert run(made, f'{{"value": {sent}}}').text == "null"
    assert seen == [got]
    assert type(seen[0]) is type(got)


def test_pydantic_models_are_read_by_themselves():
    """A pydantic model brings its own schema, definitions and all, and becomes the model."""
    seen = []

    def plant(tree: Tree) -> None:
        """Plant."""
        seen.append(tree)

    made = Tool.from_function(plant)
    assert made.parameters["$defs"]["Tree"]["required"] == ["size"]
    run(made, '{"tree": {"size": 1, "kids": [{"size": 2}]}}')
    assert seen == [Tree(size=1, kids=[Tree(size=2)])]
    assert (
        "$.tree.size: 'big' is not of type 'integer'" in run(made, '{"tree": {"size": "big"}}').text
    )


def test_an_implied_optional_takes_null():
    """``x: str = None``, as people write it, is told as what it takes."""

    def find(name: str = None) -> str:  # noqa: RUF013  # the point
        """Find."""
        return str(name)

    made = Tool.from_function(find)
    assert made.parameters["properties"]["name"] == {"type": ["string", "null"], "default": None}
    assert run(made, '{"name": null}').text == "None"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{}", "$: 'city' is a required property"),
        (
            '{"city": "a", "town": 1}',
            "$: unknown property 'town'; the properties are city, unit, days",
        ),
        ('{"city": 1}', "$.city: 1 is not of type 'string'"),
        ('{"city": "a", "unit": "k"}', "$.unit: 'k' is not one of ['c', 'f']"),
        ('{"city": "a", "days": true}', "$.days: True is not of type 'integer'"),
        ('{"days": 1.5}', "$.days: 1.5 is not of type 'integer'; $: 'city' is a required property"),
    ],
)
def test_arguments_that_do_not_fit_are_told_and_nothing_runs(arguments, told):
    """The model is told what is wrong with its arguments, all of it, and the function does not run."""
    assert run(Tool.from_function(weather), arguments).text == f"error: invalid arguments: {told}"


def _no_types(x):
    """Do."""


def _any_number(*x: int):
    """Do."""


def _nameless(x: int, /):
    """Do."""


def _foreign(x: complex):
    """Do."""


def _unknown(x: Nowhere):  # noqa: F821  # the point
    """Do."""


def _keys(x: dict[int, str]):
    """Do."""


def _silent(x: int):
    pass


@dataclass
class Ring:
    inner: Ring


def _ring(x: Ring):
    """Do."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_no_types, "parameter x has no type; annotate it"),
        (_any_number, "parameter x is variadic; declare each value"),
        (_nameless, "parameter x is positional-only"),
        (_foreign, "has the type complex, which has no JSON equivalent"),
        (_unknown, "cannot resolve its types: name 'Nowhere' is not defined"),
        (_keys, "has keys that are not strings"),
        (_ring, "has the type Ring, which contains itself"),
        (_silent, "it needs a docstring"),
        (lambda: 1, "invalid tool name"),
        (functools.partial(_silent, 1), "invalid tool name"),
    ],
)
def test_what_cannot_be_told_to_a_model_is_refused_when_defined(function, why):
    """A function that is no tool is refused at once, with the reason."""
    with pytest.raises(UsageError, match=why.replace("(", r"\(")):
        Tool.from_function(function)


def test_the_decorator_takes_options_and_leaves_a_function():
    """``@tool`` and ``@tool(...)`` make tools that can still be called like the function."""

    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @tool(effect="write", name="put", timeout_seconds=5, description="Put it.")
    async def store_it(a: int) -> None:
        pass

    assert add(1, 2) == 3
    assert (add.name, add.effect) == ("add", "read")
    assert (store_it.name, store_it.effect, store_it.timeout_seconds, store_it.description) == (
        "put", "write", 5, "Put it.",
    )  # fmt: skip
    with pytest.raises(UsageError, match="read, write or destroy"):
        tool(effect="harmless")(add.run)


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "string"}, ["$: 1 is not of type 'string'"]),
        (3, {"minimum": 4}, ["$: 3 is less than the minimum of 4"]),
        (4, {"exclusiveMaximum": 4}, ["$: 4 is greater than or equal to the maximum of 4"]),
        ("ab", {"maxLength": 1}, ["$: 'ab' is too long"]),
        ([1, "a"], {"items": {"type": "integer"}}, ["$[1]: 'a' is not of type 'integer'"]),
        (1, {"const": True}, ["$: True was expected"]),
        (1, {"not": {"type": "integer"}}, ["$: 1 should not be valid under {'type': 'integer'}"]),
        (1, {"oneOf": [{"minimum": 0}, {"maximum": 9}]}, ["$: 1 is valid under each of {'maximum': 9}, {'minimum': 0}"]),
        ({"a": {"b": 1}}, {"properties": {"a": {"properties": {"b": {"type": "null"}}}}}, ["$.a.b: 1 is not of type 'null'"]),
        (1, {"$ref": "#/$defs/text", "$defs": {"text": {"type": "string"}}}, ["$: 1 is not of type 'string'"]),
        (1, {"allOf": [{"minimum": 5}, {"maximum": 0}]}, ["$: 1 is less than the minimum of 5", "$: 1 is greater than the maximum of 0"]),
        ({"a": "x"}, {"properties": {"a": {"anyOf": [{"type": "object"}, {"type": "string", "maxLength": 0}]}}}, ["$.a: 'x' is expected to be empty"]),
        ({"x": 1}, {"additionalProperties": {"type": "string"}}, ["$.x: 1 is not of type 'string'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_schema_is_said(value, schema, wrong):
    """Each keyword says what is wrong and where."""
    assert argument_errors(value, schema) == wrong


@pytest.mark.parametrize(
    "schema",
    [
        "text", None, {"type": 7}, {"type": ["shape"]}, {"properties": 1}, {"required": "a"}, {"enum": 3}, {"items": 0},
        {"$ref": "http://example.com/x"}, {"$ref": "#/nowhere"}, {"minimum": "x"}, {"anyOf": []},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"items": {"pattern": "(a+)+$"}}, {"items": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(a+)+$"}},
        {"minItems": 2, "items": {"exclusiveMinimum": True, "minimum": 1}},
    ],
)  # fmt: skip
def test_a_schema_that_makes_no_sense_forbids_nothing(schema):
    """A schema of a server that is wrong, or means harm, neither fails nor takes for ever."""
    assert argument_errors([1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"], schema) == []


def test_a_schema_of_exponential_size_is_not_followed_to_its_end():
    """References that double the work at each level stop after a bounded number of steps."""
    levels = {f"l{n}": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/l0", "$defs": {**levels, "l60": {"type": "string"}}}
    assert argument_errors(1, schema) == []


def test_a_call_without_arguments_does_not_load_jsonschema():
    """Only a tool that takes arguments pays for the import of the validator."""
    program = """
import asyncio, sys
from omniagent_cli import tool
from omniagent_cli.agent.tools.tool import Toolbox

@tool
def now() -> str:
    "Return the time."
    return "noon"

@tool
def add(a: int, b: int | None = None, c: str = None) -> int:
    "Add."
    return a

def run(name, arguments):
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return asyncio.run(Toolbox([now, add]).run(call)).text

assert run("now", "{}") == "noon"
assert "jsonschema" not in sys.modules
assert run("add", '{"a": 1}') == "1"
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
