"""`/tools`: what the model may use in this session."""

from __future__ import annotations

import pytest

from omniagent_cli import Skill, tool
from omniagent_cli.agent.agent import Agent
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.agent.tools.tool_toggles import ToolToggles
from omniagent_cli.errors import AgentError
from omniagent_cli.testing.scripted import ScriptedModel
from tests.repl.talk import Talk


@tool
def look(at: str) -> str:
    """Look at something.

    More about looking.
    """
    return at


@tool(effect="destroy", description="Smash \x1b[2Jsomething.")
def smash(it: str) -> str:
    """Is told by its description."""
    return it


class Moody(Skill):
    """Cannot be set up the first time."""

    tries = 0

    async def open(self, store):
        self.tries += 1
        if self.tries == 1:
            raise AgentError("not now")
        return [tool(name="sulk")(look.run)]


@pytest.fixture
def model():
    return ScriptedModel(*["ok"] * 5)


@pytest.fixture
def with_skills(talk: Talk, model):
    """Make agents with a skill of two tools."""

    def make(*skills, **options):
        skills = skills or (Skill("hands", [look, smash]),)
        return lambda _tell: Agent(model, store=talk.store, skills=skills, **options)

    return make


def offered(model) -> list[list[str]]:
    return [[tool["function"]["name"] for tool in tools] for tools in model.tools]


def test_tools_are_listed_by_skill(talk: Talk, with_skills) -> None:
    """Each tool stands there with its skill, effect, and whether it is on, harmless to the screen."""
    toggles = ToolToggles(disabled=frozenset({"look"}))
    talk.chat("/tools", open_agent=with_skills(toggles=toggles))
    rows = [line.split() for line in talk.out.splitlines() if "hands" in line]
    assert rows == [
        ["hands", "look", "read", "off:", "tools.disabled", "Look", "at", "something."],
        ["hands", "smash", "destroy", "on", "Smash", "\ufffd[2Jsomething."],
    ]


def test_tools_are_switched_for_the_session(talk: Talk, with_skills, model) -> None:
    """Off holds for this session, before its first message too, and when it is taken up again; on takes it back."""
    talk.chat("/tools off smash", "hi", "/new", "hi", open_agent=with_skills())
    talk.chat("hi", "/tools on smash", "hi", open_agent=with_skills())
    assert offered(model) == [["look"], ["look", "smash"], ["look"], ["look", "smash"]]
    assert "smash is off in this session" in talk.err or "smash is on in this session" in talk.err
    assert talk.store.get_state("user-123", "tools") == {"off": [], "on": ["smash"]}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/tools off", "/tools takes on or off and a name"),
        ("/tools maybe look", "/tools takes on or off and a name"),
        ("/tools off nope", "unknown tool or skill 'nope'; available: hands, look, smash"),
    ],
)
def test_wrong_words_are_told(talk: Talk, with_skills, line: str, told: str) -> None:
    """What cannot be meant is told with what would be right."""
    talk.chat(line, open_agent=with_skills())
    assert told in talk.err


def test_on_tries_a_failed_skill_again(talk: Talk, with_skills, model) -> None:
    """A skill that could not be set up is tried again when the person asks for it."""
    talk.chat("hi", "/tools on moody", "hi", open_agent=with_skills(Moody("moody")))
    assert offered(model) == [[], ["sulk"]]
    assert talk.err.count("Cannot open the skill moody: not now") == 1


def test_recall_is_said_to_use_none(talk: Talk) -> None:
    """With `recall` the list says that it uses no tools; without any it says so."""
    store, skills = talk.store, [Skill("hands", [look])]
    talk.chat("/tools", open_agent=lambda _: Agent(Recall(store), store=store, skills=skills))
    assert "recall uses no tools" in talk.err
    talk.chat("/tools")
    assert "No tools are offered in this chat" in talk.err
