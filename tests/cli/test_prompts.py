"""Saved prompts (`prompts`, `ask -p`, `/NAME` in the chat) and skill folders."""

import json
import sys

import pytest

from omniagent_cli.complete import answer as completed
from tests.cli.asking import variables
from tests.repl.talk import Talk
from tests.servers.chat_server import answer, calls
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

REVIEW = """\
---
description: Review a change
model: openai:gpt-prompt
system: You are strict.
tools: false
variables:
  language: English
  depth:
---
Review this {{depth}} in {{language}}; keep {{other}}:

{{input}}
"""


@pytest.fixture
def prompts(home):
    """Return the directory of the user's prompts."""
    place = home / ".config/omniagent/prompts"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def serve(chat_server, monkeypatch):
    """Let a server answer requests with the given answers."""

    def serve(*answers):
        server = chat_server(*answers)
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return server

    return serve


def test_ask_uses_a_prompt(run, prompts, serve):
    """Model, system prompt, tools and text of the prompt are sent; placeholders are replaced, others are kept."""
    (prompts / "review.md").write_text(REVIEW)
    server = serve(answer("Fine."))
    ran = run("ask", "-p", "review", "--var", "depth=closely", "my change", stdin=b"diff\n")
    assert (ran.code, ran.out) == (0, "Fine.\n")
    (body,) = server.chats()
    assert body["model"] == "gpt-prompt"
    assert "tools" not in body
    assert [message["content"] for message in body["messages"]] == [
        "You are strict.",
        "Review this closely in English; keep {{other}}:\n\nmy change\n\ndiff",
    ]


def test_options_win_over_the_prompt(run, prompts, serve):
    """`--model` and `--system` of the command line replace those of the prompt; text follows one without {{input}}."""
    (prompts / "short.md").write_text(
        "---\nmodel: openai:other\nsystem: Long.\n---\nIn one word:\n"
    )
    server = serve(answer("Blue."))
    assert run("ask", "-p", "short", "-m", "openai:mine", "--system", "Mine.", "sky?").code == 0
    (body,) = server.chats()
    assert (body["model"], [m["content"] for m in body["messages"]]) == (
        "mine",
        ["Mine.", "In one word:\n\nsky?"],
    )


def test_a_schema_of_a_prompt(run, prompts, serve):
    """The answer follows the schema of the prompt, inline or in a file beside it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (prompts / "count.schema.json").write_text(json.dumps(schema))
    (prompts / "count.md").write_text("---\nschema: count.schema.json\n---\nCount.\n")
    (prompts / "inline.md").write_text(f"---\nschema: {json.dumps(schema)}\n---\nCount.\n")
    for name in ("count", "inline"):
        server = serve(answer('{"n": 3}'))
        ran = run("ask", "-p", name)
        assert (ran.code, json.loads(ran.out)) == (0, {"n": 3})
        assert server.chats()[0]["response_format"]["json_schema"]["schema"]["required"] == ["n"]


def test_what_is_missing_is_named(run, prompts):
    """An unknown prompt or variable, and a missing value, are errors with the next step."""
    (prompts / "review.md").write_text(REVIEW)
    for words, told in (
        (["-p", "reviw", "x"], "no prompt 'reviw' in"),
        (["-p", "reviw", "x"], "did you mean review?"),
        (["-p", "review", "x"], "the prompt 'review' needs a value: add depth=VALUE (in 'omniagent ask': --var depth=VALUE)"),
        (["-p", "review", "--var", "deep=1", "x"], "the prompt 'review' has no variable 'deep'; did you mean depth?"),
        (["-p", "review", "--var", "depth", "x"], "invalid --var 'depth'; write NAME=VALUE"),
        (["-p", "../x", "x"], "no prompt '../x'"),
        (["--var", "a=b", "x"], "--var needs a saved prompt"),
    ):  # fmt: skip
        ran = run("ask", *words)
        assert (ran.code, ran.out) == (2, "")
        assert told in ran.err


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("modle: x", "bad.md: unknown key 'modle' in the header; did you mean model?"),
        ("model: [x]", "bad.md: model must be text"),
        ("tools: 3", "bad.md: tools must be a list of names, or false for none"),
        ("variables: x", "bad.md: variables must be a list of names, or names with defaults"),
        ("schema: 3", "bad.md: schema must be a JSON schema or the path of one"),
        ("a: [", "bad.md:3: the header is not YAML"),
        ("- a", "bad.md: the header must have lines such as"),
    ],
)
def test_a_bad_header_is_named(run, prompts, header, told):
    """A mistake in the header is an error with file and key; the list still shows the others."""
    (prompts / "bad.md").write_text(f"---\n{header}\n---\ntext\n")
    (prompts / "good.md").write_text("text\n")
    ran = run("ask", "-p", "bad", "x")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    listed = run("prompts", "list")
    assert (listed.code, listed.out) == (0, "good\t\ttext\n")
    assert told in listed.err


def test_list_and_show(run, prompts):
    """`prompts list` and `show` print what is saved."""
    assert run("prompts", "list").out == ""
    (prompts / "review.md").write_text(REVIEW)
    (prompts / "not a name.md").write_text("x")
    assert run("prompts").out == "review\topenai:gpt-prompt\tReview a change\n"
    (one,) = json.loads(run("prompts", "list", "--json").out)
    assert (one["name"], one["tools"], one["variables"]) == (
        "review",
        [],
        {"language": "English", "depth": None},
    )
    assert run("prompts", "show", "review").out == REVIEW
    assert json.loads(run("prompts", "show", "review", "--json").out)["text"].startswith(
        "Review this"
    )
    assert completed(["ask", "-p", "re"], {"HOME": str(prompts.parents[2])}) == [("review", "")]


def test_edit(run, person, prompts, tmp_path):
    """`prompts edit` creates a prompt in the editor; an unchanged template is removed, a mistake is reported."""
    assert run("prompts", "edit", "new").code == 1
    editor = tmp_path / "editor.py"
    command = f"{sys.executable} {editor}"
    for text, code, left in (
        (None, 0, False),
        ("---\nmodle: x\n---\n", 2, True),
        ("Hello", 0, True),
    ):
        editor.write_text(
            "" if text is None else f"import sys; open(sys.argv[1], 'w').write({text!r})"
        )
        with person(
            "prompts", "edit", "new", HOME=str(prompts.parents[2]), EDITOR=command
        ) as terminal:
            assert terminal.wait() == code
        assert (prompts / "new.md").exists() is left
    assert run("prompts", "edit", "a/b").code == 2


def test_project_prompts_need_trust(run, person, prompts, tmp_path, serve):
    """A prompt beside the project file is used once it is trusted, until it changes; the user's own one wins."""
    home = str(prompts.parents[2])
    (tmp_path / ".omniagent.toml").write_text("[window]\nmax_messages = 50\n")
    (tmp_path / "prompts").mkdir()
    own = tmp_path / "prompts/deploy.md"
    own.write_text("Deploy it.\n")
    server = serve(answer("Done."), answer("Done."))
    told = run("ask", "-p", "deploy")
    assert told.code == 2
    assert (
        f"the prompt {own} of this project is not trusted; read it, then run: omniagent config trust"
        in told.err
    )
    with person("config", "trust", columns=250, HOME=home) as terminal:
        terminal.wait_for("with these settings? [y/N]")
        terminal.say("y")
        terminal.wait_for("deploy.md? [y/N]")
        assert "Deploy it." in terminal.shown
        terminal.say("y")
        assert terminal.wait() == 0
    assert run("ask", "-p", "deploy").code == 0
    own.write_text("Deploy it twice.\n")
    assert run("ask", "-p", "deploy").code == 2
    (prompts / "deploy.md").write_text("Mine.\n")
    assert run("ask", "-p", "deploy").code == 0
    assert [body["messages"][-1]["content"] for body in server.chats()] == ["Deploy it.", "Mine."]


def test_a_prompt_in_the_chat(tmp_path, monkeypatch):
    """`/NAME` sends the prompt with its variables; its system prompt applies from then on."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".config/omniagent/prompts"
    place.mkdir(parents=True)
    (place / "say.md").write_text(
        "---\nvariables: [tone]\n---\nSay {{input}} in a {{tone}} tone.\n"
    )
    (place / "poet.md").write_text("---\nsystem: You are a poet.\n---\n")
    (place / "help.md").write_text("never sent\n")
    talk = Talk(tmp_path)
    talk.chat(
        "/poet", "/system", '/say tone="very calm" good  night', "/say hello", "/help say", "/help"
    )
    assert talk.texts() == ["Say good  night in a very calm tone.", "answer 1"]
    assert "You are a poet." in talk.out
    assert "System prompt of 'poet' set for this chat" in talk.err
    assert "the prompt 'say' needs a value: add tone=VALUE" in talk.err
    talk.store.close()


SKILL = """\
---
name: release
description: How to make a release
---
Run the tests, then read notes.md.
"""


def test_skills_are_read_by_the_model(run, home, serve, tmp_path):
    """The model sees name and description, and reads instructions and files with `skill_read`, within the folder."""
    folder = home / ".config/omniagent/skills/release"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    (folder / "notes.md").write_text("Write the date.\n")
    (folder / "picture.bin").write_bytes(b"\xff\xfe\x00")
    (folder.parent / "secret.md").write_text("secret")
    asked = [
        {"skill": "release"}, {"skill": "release", "file": "notes.md"}, {"skill": "release", "file": "../secret.md"},
        {"skill": "release", "file": "picture.bin"}, {"skill": "other"},
    ]  # fmt: skip
    server = serve(calls(*(("skill_read", one) for one in asked)), answer("Released."))
    assert run("ask", "release it").code == 0
    first, second = server.chats()
    (tool,) = [one["function"] for one in first["tools"] if one["function"]["name"] == "skill_read"]
    assert "- release: How to make a release" in tool["description"]
    results = [message["content"] for message in second["messages"] if message["role"] == "tool"]
    assert results[0] == f"{SKILL}\n\nFiles of this skill: notes.md, picture.bin"
    assert results[1] == "Write the date.\n"
    assert "has no file '../secret.md'" in results[2]
    assert "picture.bin is not UTF-8 text" in results[3]
    assert "no skill 'other'; one of release" in results[4]
    listed = run("tools", "list")
    assert "skill_read" in listed.out


def test_skills_of_a_project_need_trust(run, person, home, tmp_path):
    """A skill beside the project file is offered once its SKILL.md is trusted, and only its trusted files are read."""
    (tmp_path / ".omniagent.toml").write_text("")
    folder = tmp_path / "skills/deploy"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    assert "skill_read" not in run("tools", "list").out
    with person("config", "trust", columns=250, HOME=str(home)) as terminal:
        terminal.wait_for("with these settings? [y/N]")
        terminal.say("y")
        terminal.wait_for("SKILL.md? [y/N]")
        terminal.say("y")
        assert terminal.wait() == 0
    assert "skill_read" in run("tools", "list").out
