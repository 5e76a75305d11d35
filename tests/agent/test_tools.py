"""Calls of tools: whatever a model asks for, the turn goes on."""

import asyncio

import pytest

from omniagent_cli.agent.tools import MAX_RESULT_CHARACTERS, Outcome, Tool, Toolbox
from omniagent_cli.errors import SessionNotFound


def run(tool, arguments="{}", name=None, approve=None):
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": name or tool.name, "arguments": arguments},
    }
    return asyncio.run(Toolbox([tool], approve).run(call))


ECHO = Tool("echo", "Say it again.", lambda text="": text)


def test_unknown_tool_is_told_with_the_known_ones():
    """A call of a tool that is not there tells which are."""
    assert run(ECHO, name="shell") == Outcome(
        "error: there is no tool 'shell'; the tools are: echo", failed=True
    )


@pytest.mark.parametrize("arguments", ["{", "[]", "null", "[" * 100_000, '{"nope": 1}'])
def test_bad_arguments_are_told(arguments):
    """Arguments that are not JSON, not an object, too deep, or not the tool's are an error the model reads."""
    outcome = run(ECHO, arguments)
    assert outcome.failed
    assert outcome.text.startswith("error: ")


def test_results_become_text():
    """Text stays as it is, other values become JSON."""
    assert run(ECHO, '{"text": "hi"}').text == "hi"
    assert run(Tool("o", "", lambda: {"a": [1, None]})).text == '{"a":[1,null]}'


def test_binary_result_is_told_by_its_size():
    """Bytes are told as what they are, and kept whole beside the result."""
    outcome = run(Tool("b", "", lambda: b"\x00\xff"))
    assert outcome.text == "(binary, 2 bytes, not shown)"
    assert outcome.whole.data == b"\x00\xff"


def test_a_result_that_is_no_json_is_an_error():
    """What is neither text nor JSON is told to be that, with its type."""
    outcome = run(Tool("b", "", lambda: {1j}))
    assert outcome.failed
    assert "it returned a set, which is neither text nor JSON" in outcome.text


def test_raising_tool_is_told():
    """What a tool raises reaches the model in one line."""

    def broken():
        raise ZeroDivisionError("no")

    def ours():
        raise SessionNotFound("there is no session 'x'")

    assert run(Tool("t", "", broken)).text == "error: ZeroDivisionError: no"
    assert run(Tool("t", "", ours)).text == "error: there is no session 'x'"


def test_slow_tool_times_out():
    """A tool that hangs is given up after its time."""

    async def slow():
        await asyncio.sleep(60)

    assert run(Tool("t", "", slow, timeout_seconds=0.01)).text == "error: t took longer than 0.01 s"


def test_long_result_is_cut_and_says_so():
    """A result larger than any window is cut with a note."""
    text = run(Tool("t", "", lambda: "x" * (MAX_RESULT_CHARACTERS + 7))).text
    assert text.endswith("(cut: 7 more characters)")


@pytest.mark.parametrize("effect", ["write", "destroy"])
def test_changing_tools_need_approval(effect):
    """A tool that writes or destroys runs only when the person allows it."""
    ran = []
    tool = Tool("t", "", lambda: ran.append(1) or "done", effect=effect)
    does = "writes" if effect == "write" else "destroys"
    assert run(tool) == Outcome(
        f"error: t {does}, and there is nobody to allow it",
        failed=True,
        approved=False,
        approved_by="nobody",
    )
    assert ran == []

    async def yes(asked, arguments):
        return asked is tool

    assert run(tool, approve=yes) == Outcome("done", approved=True, approved_by="program")
