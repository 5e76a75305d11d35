"""Functions as tools: what a model is told of them, and what it may send."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, TypedDict

import pytest
from pydantic import BaseModel

from omniagent_cli import Tool, ToolContext, tool
from omniagent_cli.agent.tools.json_schema import misfits
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
    assert "size has to be integer" in run(made, '{"tree": {"size": "big"}}').text


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
        ("{}", "city is missing"),
        ('{"city": "a", "town": 1}', "there is no 'town'; there are: city, unit, days"),
        ('{"city": 1}', "city has to be string, not integer"),
        ('{"city": "a", "unit": "k"}', 'unit has to be one of "c", "f", not "k"'),
        ('{"city": "a", "days": true}', "days has to be integer, not boolean"),
        ('{"days": 1.5}', "city is missing; days has to be integer, not number"),
    ],
)
def test_arguments_that_do_not_fit_are_told_and_nothing_runs(arguments, told):
    """The model is told what is wrong with its arguments, all of it, and the function does not run."""
    assert (
        run(Tool.from_function(weather), arguments).text
        == f"error: the arguments do not fit: {told}"
    )


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
        (_no_types, "its parameter x has no type; annotate it"),
        (_any_number, "its parameter x takes any number of values"),
        (_nameless, "its parameter x has a position and no name"),
        (_foreign, "has the type complex, which JSON does not have"),
        (_unknown, "its types cannot be read: name 'Nowhere' is not defined"),
        (_keys, "has keys that are not text"),
        (_ring, "has the type Ring, which contains itself"),
        (_silent, "it has no docstring"),
        (lambda: 1, "cannot be the name of a tool"),
        (functools.partial(_silent, 1), "cannot be the name of a tool"),
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
        (1, {"type": "string"}, ["the value has to be string, not integer"]),
        (3, {"minimum": 4}, ["the value has to be at least 4, not 3"]),
        (4, {"exclusiveMaximum": 4}, ["the value has to be less than 4, not 4"]),
        ("ab", {"maxLength": 1}, ["the value has to be of length at most 1, not 2"]),
        ([1, "a"], {"items": {"type": "integer"}}, ["[1] has to be integer, not string"]),
        (1, {"const": True}, ["the value has to be true, not 1"]),
        (1, {"not": {"type": "integer"}}, ["the value has a form that is not allowed"]),
        (1, {"oneOf": [{"minimum": 0}, {"maximum": 9}]}, ["the value fits several of the forms it may have only one of"]),
        ({"a": {"b": 1}}, {"properties": {"a": {"properties": {"b": {"type": "null"}}}}}, ["a.b has to be null, not integer"]),
        (1, {"$ref": "#/$defs/text", "$defs": {"text": {"type": "string"}}}, ["the value has to be string, not integer"]),
        (1, {"allOf": [{"minimum": 5}, {"maximum": 0}]}, ["the value has to be at least 5, not 1", "the value has to be at most 0, not 1"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_schema_is_said(value, schema, wrong):
    """Each keyword says what is wrong and where."""
    assert misfits(value, schema) == wrong


@pytest.mark.parametrize(
    "schema",
    [
        "text", None, {"type": 7}, {"type": ["shape"]}, {"properties": 1}, {"required": "a"}, {"enum": 3}, {"items": 0},
        {"$ref": "http://example.com/x"}, {"$ref": "#/nowhere"}, {"minimum": "x"}, {"anyOf": []},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"pattern": "(a+)+$"},
    ],
)  # fmt: skip
def test_a_schema_that_makes_no_sense_forbids_nothing(schema):
    """A schema of a server that is wrong, or means harm, neither fails nor takes for ever."""
    assert misfits([1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"], schema) == []
