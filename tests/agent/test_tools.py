"""Calls of tools: whatever a model asks for, the turn goes on."""

import asyncio
import contextlib
import dataclasses
import enum
import signal
import subprocess
import sys
import threading
import time

import pydantic
import pytest

from omniagent_cli.agent.tools import tool_execution as running
from omniagent_cli.agent.tools.tool import (
    MAX_PARALLEL_CALLS,
    MAX_RESULT_CHARACTERS,
    Decision,
    Outcome,
    Tool,
    Toolbox,
)
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
        "error: unknown tool 'shell'; the tools are echo", failed=True
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
    assert outcome.full_output.data == b"\x00\xff"


def test_a_result_that_is_no_json_is_an_error():
    """What is neither text nor JSON is told to be that, with its type."""
    outcome = run(Tool("b", "", lambda: {1j}))
    assert outcome.failed
    assert "the tool returned a set, which is neither text nor JSON" in outcome.text


class Hostile:
    """A value that fails whenever it is looked at."""

    def __getattr__(self, name):
        raise ValueError(name)


class Endless(list):
    """A list that cannot be read."""

    def __iter__(self):
        raise OSError("gone")


@dataclasses.dataclass
class Holding:
    """A dataclass with something in it that cannot be copied."""

    lock: object


def holding_itself():
    """Return a list in a list without an end."""
    value = []
    value.append({"again": value})
    return value


@pytest.mark.parametrize(
    "value",
    [holding_itself(), Holding(threading.Lock()), Hostile(), Endless([1]), 10**5000, float("nan")],
    ids=["holds itself", "dataclass", "attributes", "iteration", "long number", "no number"],
)
def test_a_result_that_cannot_be_written_down_is_told(value):
    """Whatever a tool returns, the turn goes on."""
    outcome = run(Tool("b", "", lambda: value))
    assert outcome.failed
    assert outcome.text.startswith("error: ")


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

    assert run(Tool("t", "", slow, timeout_seconds=0.01)).text == "error: t timed out after 0.01 s"


def test_long_result_is_cut_and_says_so():
    """A result larger than any window is cut with a note."""
    text = run(Tool("t", "", lambda: "x" * (MAX_RESULT_CHARACTERS + 7))).text
    assert text.endswith("(cut: 7 more characters)")


@pytest.mark.parametrize("effect", ["write", "destroy"])
def test_changing_tools_need_approval(effect):
    """A tool that writes or destroys runs only when the person allows it."""
    ran = []
    tool = Tool("t", "", lambda: ran.append(1) or "done", effect=effect)
    effect_verb = "writes" if effect == "write" else "destroys"
    assert run(tool) == Outcome(
        f"error: t {effect_verb}, and there is no user to allow it",
        failed=True,
        approved=False,
        approved_by="default",
    )
    assert ran == []

    async def yes(asked, arguments):
        return asked is tool

    assert run(tool, approve=yes) == Outcome("done", approved=True, approved_by="program")


# What a tool may do to the program.


def of(function, **options):
    return Tool(function.__name__, "", function, **options)


def printing():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\n")
    return {"a": 1}


async def printing_async():
    print("a")
    await asyncio.sleep(0)
    print("b")


def test_what_a_tool_prints_goes_with_its_result(capfd):
    """Neither stream of the program gets what a tool prints; the model does, after the result."""
    assert run(of(printing)).text == '{"a":1}\n(printed: to stdout\nto stderr\nbytes)'
    assert run(of(printing_async)).text == "a\nb"  # instead of nothing
    assert capfd.readouterr() == ("", "")


def test_prints_of_several_tools_and_the_program_are_kept_apart(capfd):
    """Tools that run at once each get their own prints, and the program around them keeps its streams."""
    before = sys.stdout, sys.stderr, sys.stdin
    gate = threading.Barrier(3, timeout=60)

    def meet(name):
        for _ in range(20):
            print(name)
        gate.wait()
        gate.wait()
        print(name)

    async def both():
        box = Toolbox([of(meet)])
        tasks = [asyncio.create_task(box.run(called("meet", f'{{"name": "{n}"}}'))) for n in "ab"]
        await asyncio.to_thread(gate.wait)
        print("the program")
        await asyncio.to_thread(gate.wait)
        return [(await task).text for task in tasks]

    assert asyncio.run(both()) == ["\n".join("a" * 21), "\n".join("b" * 21)]
    assert capfd.readouterr() == ("the program\n", "")
    assert (sys.stdout, sys.stderr, sys.stdin) == before


def test_a_tool_that_floods_stdout_is_bounded():
    """What a tool prints without end is counted, and only its beginning kept."""

    def flood():
        for _ in range(300):
            print("x" * 9_999)

    text = run(of(flood)).full_output.data.decode()
    assert len(text) < 1_100_000
    assert text.endswith("(2,000,000 more bytes)")


def test_a_tool_cannot_read_the_keyboard():
    """A tool that asks gets an end of file, not what the person types."""

    def ask():
        return input("name? ")

    assert run(of(ask)).text == "error: EOFError: EOF when reading a line\n(printed: name? )"


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError("odd")]
)
def test_a_tool_cannot_end_the_program(error):
    """What is no ordinary exception is told like one, from plain and asynchronous tools."""

    def plain():
        raise error

    async def later():
        raise error

    with handling_ctrl_c():
        for tool in (of(plain), of(later)):
            outcome = run(tool)
            assert outcome.failed
            assert type(error).__name__ in outcome.text


@contextlib.contextmanager
def handling_ctrl_c():
    """Handle Ctrl-C as every command does, so that a KeyboardInterrupt is nobody's but the tool's."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_that_cannot_be_told_is_told():
    """An exception whose text fails is still a result."""

    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def odd():
        raise Odd

    assert "Odd: <exception str() failed>" in run(of(odd)).text


def test_a_plain_tool_that_hangs_is_given_up():
    """A thread cannot be stopped: the model is told, the turn goes on, and nobody waits for it."""
    release = threading.Event()

    def hang():
        release.wait(30)

    try:
        text = run(of(hang, timeout_seconds=0.01)).text
    finally:
        release.set()
    assert text == "error: hang timed out after 0.01 s; it may still be running"


def test_a_tool_that_hangs_does_not_keep_the_program():
    """The program ends while a tool of it still hangs."""
    script = (
        "import time\n"
        "from omniagent_cli import Agent, Tool\n"
        "from omniagent_cli.testing.scripted import Say, ScriptedModel\n"
        "hang = Tool('hang', '', lambda: time.sleep(3600), timeout_seconds=0.01)\n"
        "with Agent(ScriptedModel(Say(calls=[('hang', {})]), 'done'), tools=[hang]) as agent:\n"
        "    print(agent.process('go'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_an_asynchronous_tool_that_will_not_stop_is_given_up(monkeypatch):
    """A tool that swallows being cancelled is left behind."""
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.01)

    async def scenario():
        release = asyncio.Event()

        async def stubborn():
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

        outcome = await Toolbox([of(stubborn, timeout_seconds=0.01)]).run(called("stubborn"))
        release.set()
        await asyncio.sleep(0)
        return outcome.text

    assert asyncio.run(scenario()) == (
        "error: stubborn timed out after 0.01 s; it may still be running"
    )


def called(name, arguments="{}"):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize("where", ["tools=[stubborn]", "skills=[Skill('s', [stubborn])]"])
def test_a_tool_that_will_not_stop_is_left_behind_quietly(where):
    """The program ends with its agent, and nothing is said about what was left."""
    program = (
        "import asyncio\n"
        "from omniagent_cli import Agent, Skill, open_store, tool\n"
        "from omniagent_cli.agent import loop_thread\n"
        "from omniagent_cli.agent.tools import tool_execution\n"
        "from omniagent_cli.testing.scripted import Say, ScriptedModel\n"
        "loop_thread._PATIENCE_SECONDS = tool_execution.GRACE_SECONDS = 0.05\n"
        "@tool(timeout_seconds=0.05)\n"
        "async def stubborn() -> str:\n"
        "    'Stay.'\n"
        "    while True:\n"
        "        try: await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError: pass\n"
        "with open_store('memory:') as store:\n"
        f"    model = ScriptedModel(Say(calls=[('stubborn', {{}})]), 'done')\n"
        f"    with Agent(model, store=store, {where}) as agent:\n"
        "        print(agent.process_with_session('s', 'go'))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_a_plain_tool_may_return_something_to_await():
    """A lambda around a coroutine function works as one expects."""

    async def later():
        return "now"

    assert run(Tool("t", "", lambda: later())).text == "now"  # noqa: PLW0108  # the point


def test_results_of_dataclasses_models_and_enumerations_are_their_data():
    """What is data in a class of somebody's is told as JSON."""

    @dataclasses.dataclass
    class Point:
        x: int
        kind: enum.Enum

    kind = enum.Enum("Kind", {"A": "a"})
    model = pydantic.create_model("Model", n=(int, 1))()
    value = {"points": [Point(1, kind.A)], "model": model}
    assert run(Tool("t", "", lambda: value)).text == (
        '{"points":[{"x":1,"kind":"a"}],"model":{"n":1}}'
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 0},
        {"exclusiveMinimum": 0},
        {"maximum": -(10**401)},
        {"type": [["string"], "string"], "enum": [{}]},
    ],
    ids=["least", "more", "greatest", "types"],
)
def test_numbers_without_measure_and_schemas_that_lie_harm_nobody(schema):
    """A number of 400 digits is compared and told, and what is no type in a server's schema forbids nothing."""
    parameters = {"type": "object", "properties": {"n": schema}}
    outcome = run(Tool("t", "", lambda n: n, parameters), '{"n": -1' + "0" * 400 + "}")
    assert outcome.text.startswith("error: invalid arguments: $.n: ")


@pytest.mark.parametrize("arguments", ['{"text": NaN}', '{"text": "' + "x" * 1_000_001 + '"}'])
def test_arguments_no_tool_should_get_are_told(arguments):
    """Numbers that are none, and arguments without measure, are refused."""
    assert run(ECHO, arguments).text.startswith("error: the arguments are not a JSON object: ")


def repeat(tool, times, approve=None, arguments="{}"):
    async def rounds():
        box = Toolbox([tool], approve)
        return [await box.run(called(tool.name, arguments)) for _ in range(times)]

    return [outcome.text for outcome in asyncio.run(rounds())]


def test_the_same_call_for_ever_is_stopped():
    """A call that gave the same five times is not made again in this turn; one that gives news is."""
    calls = []
    texts = repeat(Tool("t", "", lambda: calls.append(1) or "same"), 8)
    assert len(calls) == 5
    assert "was made 5 times with the same result" in texts[5]
    news = iter(range(100))
    assert repeat(Tool("t", "", lambda: next(news)), 8) == [str(n) for n in range(8)]


def test_a_refused_call_is_not_asked_about_again():
    """A model cannot wear a person down with the same call in one turn."""
    asked = []

    async def no(tool, arguments):
        asked.append(arguments)
        return Decision(allowed=False, by="asked")

    texts = repeat(Tool("t", "", lambda: "done", effect="write"), 3, no)
    assert texts == ["error: the user denied t"] * 3
    assert len(asked) == 1


def test_only_so_many_run_at_once():
    """A hundred calls in one answer are no hundred threads."""
    lock, at_once, most = threading.Lock(), [0], [0]

    def work(n):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0)  # let the others in
        with lock:
            at_once[0] -= 1
        return n

    async def scenario():
        box = Toolbox([of(work)])
        calls = [box.run(called("work", f'{{"n": {n}}}')) for n in range(100)]
        return [outcome.text for outcome in await asyncio.gather(*calls)]

    assert asyncio.run(scenario()) == [str(n) for n in range(100)]
    assert most[0] <= MAX_PARALLEL_CALLS
