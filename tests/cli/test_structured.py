"""`ask --schema`, `ask --extract` and `-o`: what scripts get, or why not."""

from __future__ import annotations

import json

import pytest

from tests.cli.asking import variables
from tests.servers.chat_server import answer, cut, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}


@pytest.fixture
def ask(run, monkeypatch):
    """Ask a server with a script."""

    def ask(server, *argv, **options):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return run("ask", *argv, **options)

    return ask


@pytest.fixture
def schema(tmp_path):
    """A file with the schema."""
    path = tmp_path / "person.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


ANSWERS = {
    "bare": '{"name": "Zoë", "age": 7}',
    "spread": '\n{\n  "name": "Zoë",\n "age": 7}\n',
    "fenced": '```json\n{"name": "Zoë", "age": 7}\n```',
    "with words": 'Here it is:\n\n```\n{"name": "Zoë", "age": 7}\n```\nAnything else?',
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_follows_is_printed_as_json(ask, chat_server, schema, said):
    """JSON that follows the schema is one line in a pipe, however the model wrapped it."""
    server = chat_server(answer(said[:5], said[5:]))
    ran = ask(server, "--schema", schema, "Who?")
    assert (ran.code, ran.out, ran.err) == (0, '{"name":"Zoë","age":7}\n', "")
    assert server.chats()[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_the_schema_itself_can_be_given(ask, chat_server):
    """A text that begins with a brace is the schema."""
    server = chat_server(answer("{}"))
    assert ask(server, "--schema", ' {"type": "object"}', "--no-stream", "x").out == "{}\n"
    assert server.chats()[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


WRONG = {
    "two problems": (
        '{"name": 1, "age": -1}',
        [
            "the answer does not follow the schema: $.age: -1 is less than the minimum of 0",
            "the answer does not follow the schema: $.name: 1 is not of type 'string'",
        ],
    ),
    "missing": (
        '{"name": "\\u001b[31m"}',
        ["the answer does not follow the schema: $: 'age' is a required property"],
    ),
    "no JSON": (
        "I'd rather \x1b[31mnot.",
        [
            "the answer is not JSON: Expecting value: line 1 column 1 (char 0); it begins with \"I'd rather \ufffd[31mnot.\"",
        ],
    ),
    "not a number": (
        '{"name": "x", "age": NaN}',
        ["the answer is not JSON: NaN is not a JSON value; it begins with '{\"name\": \"x\", \"age\": NaN}'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "told"), WRONG.values(), ids=WRONG)
def test_an_answer_that_does_not_follow_is_told_and_kept(ask, run, chat_server, schema, said, told):
    """Nothing is printed, each problem is a line with its place, exit 1, and the answer is in the session."""
    ran = ask(chat_server(answer(said)), "-s", "x", "--schema", schema, "Who?")
    assert (ran.code, ran.out) == (1, "")
    *problems, kept = ran.err.splitlines()
    assert [line.removeprefix("omniagent: error: ") for line in problems] == told
    assert kept == "Answer saved. Show it: omniagent sessions show x --last 1"
    assert run("sessions", "show", "x", "--json").json["messages"][-1]["content"] == said


def test_a_very_deep_answer_is_no_json(ask, chat_server, schema):
    """An answer that nests without end is told as one that is not JSON."""
    ran = ask(chat_server(answer("[" * 100_000)), "--schema", schema, "x")
    assert (ran.code, ran.out) == (1, "")
    assert "the answer is not JSON: nested too deeply" in ran.err


def test_json_has_what_was_parsed(ask, chat_server, schema):
    """--json adds the value, and what is wrong with it, to the one document."""
    server = chat_server(answer('{"name": "A", "age": 1}'), answer('{"name": "A"}'), answer("no"))
    ran = ask(server, "--schema", schema, "--json", "x")
    assert (ran.code, ran.json["parsed"], ran.json["problems"]) == (0, {"name": "A", "age": 1}, [])
    assert {"answer", "session", "model", "usage", "status"} < set(ran.json)
    ran = ask(server, "--schema", schema, "--json", "x")
    assert (ran.code, ran.json["parsed"]) == (1, {"name": "A"})
    assert ran.json["problems"] == ["$: 'age' is a required property"]
    ran = ask(server, "--schema", schema, "--json", "x")
    assert (ran.code, ran.json["parsed"]) == (1, None)


def test_a_refused_schema_is_told_in_words_and_checked_all_the_same(ask, chat_server, schema):
    """A server that takes no response_format is asked in words; that is said to who wants to know more."""
    refusal = status(400, "response_format is not supported")
    said = answer('```json\n{"name": "A", "age": 1}\n```')
    quiet = ask(chat_server(refusal, said), "--schema", schema, "x")
    assert (quiet.code, quiet.out, quiet.err) == (0, '{"name":"A","age":1}\n', "")
    loud = ask(chat_server(refusal, said), "-v", "--schema", schema, "x")
    assert "fake-1 cannot be forced to follow a schema" in loud.err


BAD_SCHEMAS = {
    "no JSON": ("{", "--schema is not JSON: "),
    "no schema": ('{"type": "thing"}', "--schema is not a JSON schema: $.type: 'thing' is not valid"),
    "elsewhere": ('{"$ref": "https://example.org/s.json"}', "which is not in it; nothing is fetched"),
    "nowhere": ('{"properties": {"a": {"$ref": "#/$defs/b"}}}', "'#/$defs/b', which is not in it"),
    "no file": ("none.json", "cannot read the schema from 'none.json': No such file or directory"),
    "a directory": (".", "cannot read the schema from '.': Is a directory"),
    "deep": ('{"a":' * 100_000, "is not JSON: nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "told"), BAD_SCHEMAS.values(), ids=BAD_SCHEMAS)
def test_a_bad_schema_is_refused_before_anybody_is_asked(ask, chat_server, db, given, told):
    """What is wrong with a schema is one line, exit 2, and no request."""
    server = chat_server()
    ran = ask(server, "--schema", given, "x")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1
    assert not server.requests
    assert not db.exists()


def test_a_list_is_no_schema_and_references_inside_are_fine(ask, chat_server, tmp_path):
    """A file with something else than an object is refused; references that lead somewhere are followed."""
    (tmp_path / "list.json").write_text("[1]")
    assert "it is an array, not an object" in ask(chat_server(), "--schema", "list.json", "x").err
    tree = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
    }
    server = chat_server(answer('{"next": {"next": 1}}'))
    ran = ask(server, "--schema", json.dumps(tree), "x")
    assert (ran.code, "$.next.next: 1 is not of type 'object'" in ran.err) == (1, True)


def test_recall_follows_no_schema(run, schema):
    """The built-in answerer says that it cannot, before it is asked."""
    ran = run("ask", "-m", "recall", "--schema", schema, "x")
    assert (ran.code, "recall is not a language model and cannot follow a schema" in ran.err) == (
        2,
        True,
    )


def test_a_broken_answer_prints_nothing(ask, chat_server, schema):
    """Half an answer is no JSON: the failure is told as ever, and stdout stays empty."""
    for option in (("--schema", schema), ("--extract",)):
        ran = ask(chat_server(cut('{"name": "A"')), *option, "x")
        assert (ran.code, ran.out) == (3, "")
        assert "closed the connection in the middle of the answer" in ran.err


CODE = "So:\n\n   ```python\n   def f():\n       return 1\n   ```\nand\n~~~\nother\n~~~\n"


def test_extract_prints_the_first_code_block(ask, chat_server):
    """Only the code comes out, without its fence and the fence's indentation."""
    server = chat_server(
        answer(CODE), answer("````\n```\ninner\n```\n````"), answer("```sh\nls"), answer(CODE)
    )
    assert ask(server, "--extract", "x").out == "def f():\n    return 1\n"
    assert ask(server, "--extract", "x").out == "```\ninner\n```\n"
    assert ask(server, "--extract", "x").out == "ls"
    ran = ask(server, "--extract", "--json", "x")
    assert (ran.json["code"], ran.json["answer"]) == ("def f():\n    return 1\n", CODE)


def test_extract_without_code_fails(ask, chat_server):
    """An answer without a code block is exit 1 and a line; the answer is kept."""
    ran = ask(chat_server(answer("`no` block")), "-s", "x", "--extract", "x")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "omniagent: error: the answer contains no code block\n"
        "Answer saved. Show it: omniagent sessions show x --last 1\n"
    )
    ran = ask(chat_server(), "--extract", "--schema", "{}", "x")
    assert (ran.code, "--schema and --extract cannot be combined" in ran.err) == (2, True)


def test_code_cannot_drive_a_terminal(person, chat_server):
    """On a terminal what is extracted is made harmless."""
    server = chat_server(answer("```\n\x1b]0;owned\x07ls\n```"))
    with person("ask", "--extract", "x", **variables(server)) as terminal:
        assert terminal.wait() == 0
        assert "ls" in terminal.shown
        assert b"\x1b]0;owned" not in terminal.raw


def test_parameters_are_asked_for_once(ask, chat_server, monkeypatch):
    """-o wins over the settings for one question."""
    monkeypatch.setenv("OMNIAGENT_AGENT_TEMPERATURE", "0.5")
    monkeypatch.setenv("OMNIAGENT_AGENT_SEED", "7")
    server = chat_server()
    ran = ask(
        server, "-o", "temperature=0", "-o", "max-tokens=5", "-o", "reasoning_effort=low", "x"
    )
    assert ran.code == 0
    body = server.chats()[0]
    wanted = ("temperature", "max_tokens", "reasoning_effort", "seed")
    assert [body[name] for name in wanted] == [0, 5, "low", 7]
    ask(server, "x")
    assert (server.chats()[1]["temperature"], "max_tokens" in server.chats()[1]) == (0.5, False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "temperature",
            "invalid -o 'temperature'; write KEY=VALUE, for example -o temperature=0",
        ),
        ("temprature=1", "unknown -o 'temprature'; did you mean temperature?"),
        (
            "top_k=1",
            "unknown -o 'top_k'; must be one of temperature, max_tokens, seed, reasoning_effort",
        ),
        ("temperature=9", "invalid agent.temperature 9.0"),
        ("temperature=", "invalid agent.temperature ''"),
        ("temperature=hot", "invalid agent.temperature 'hot'"),
        ("max_tokens=0", "invalid agent.max_tokens 0"),
        ("reasoning_effort=lots", "invalid agent.reasoning_effort 'lots'"),
    ],
)
def test_wrong_parameters_are_refused(ask, chat_server, given, told):
    """A parameter that cannot be is named with what would be right, and nobody is asked."""
    server = chat_server()
    ran = ask(server, "-o", given, "x")
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert not server.requests
