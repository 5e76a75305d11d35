"""Stores as session services of the Google ADK, beside the service of the ADK itself."""

import asyncio

import pytest

from omniagent_cli import open_store
from tests.stores.test_contract import CASES

pytest.importorskip("google.adk")

from google.adk.agents import BaseAgent
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.events import Event, EventActions
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from omniagent_cli.adapters.google_adk import OmniSessionService
from omniagent_cli.cli import main
from omniagent_cli.errors import SessionNotFound

WHO = {"app_name": "guide", "user_id": "me/you"}


@pytest.fixture(params=["memory", "sqlite", "file", "redis", "postgres", "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


def said(author, *parts, at=0.0, delta=None, invocation="i"):
    role = "user" if author == "user" else "model"
    content = types.Content(
        role=role, parts=[types.Part(text=p) if isinstance(p, str) else p for p in parts]
    )
    return Event(id=f"{author}-{at}", invocation_id=invocation, author=author, content=content, timestamp=1e9 + at, actions=EventActions(state_delta=delta or {}))  # fmt: skip


def events():
    call = types.Part(
        function_call=types.FunctionCall(id="c1", name="height", args={"of": "minster"})
    )
    results = [types.Part(function_response=types.FunctionResponse(id=f"c{n}", name="height", response={"result": f"{n}61 m"})) for n in (1, 2)]  # fmt: skip
    return [
        said("user", "How tall is the minster?", at=1, delta={"n": 1, "user:u": [1], "app:a": {"x": None}, "temp:t": 5}),
        said("guide", "Let me see.", call, at=2),
        said("guide", *results, at=3),
        said("guide", "It has 161 metres.", at=4, delta={"n": 2, "gone": None}),
        Event(id="marker", author="guide", timestamp=1e9 + 5, actions=EventActions(escalate=True)),
    ]  # fmt: skip


async def play(service):
    """Do the same with any service, and return everything it answers, without times and generated ids."""
    found = []

    def add(session):
        found.append(
            session
            and {**session.model_dump(mode="json", exclude_none=True), "last_update_time": 0}
        )

    session = await service.create_session(
        **WHO, session_id=" s ", state={"n": 0, "app:b": 1, "user:c": 2, "temp:d": 3}
    )
    add(session)
    for event in events():
        assert await service.append_event(session, event) is not None
    assert await service.append_event(session, Event(author="guide", partial=True)) is not None
    add(session)
    add(await service.get_session(**WHO, session_id="s"))
    for count in (None, 0, 1, 2, 3, 4, 99):
        for after in (None, 0.0, 1e9 + 3, 1e9 + 3.5, 2e9):
            config = GetSessionConfig(num_recent_events=count, after_timestamp=after)
            add(await service.get_session(**WHO, session_id="s", config=config))
    with pytest.raises(AlreadyExistsError):
        await service.create_session(**WHO, session_id="s")
    other = await service.create_session(app_name="guide", user_id="me", session_id="s")
    add(other)
    await service.append_event(
        other, said("user", "Hi", at=9, delta={"app:b": 7, "user:mine": True})
    )
    for user in ("me/you", "me", None, "nobody"):
        for one in (await service.list_sessions(app_name="guide", user_id=user)).sessions:
            add(one)
    add(await service.get_session(app_name="other", user_id="me", session_id="s"))
    await service.delete_session(**WHO, session_id="s")
    await service.delete_session(**WHO, session_id="s")
    add(await service.get_session(**WHO, session_id="s"))
    add(await service.create_session(**WHO, session_id="s"))
    return found


def test_as_the_service_of_the_adk(store):
    """Creation, events, the three states, filters, lists and deletion are those of the in-memory service of the ADK."""
    expected = asyncio.run(play(InMemorySessionService()))
    assert asyncio.run(play(OmniSessionService(store))) == expected
    assert len(expected) > 40


def test_the_state_of_a_user(store):
    """The state of a user is returned without prefixes and without a session, also after the session is gone."""

    async def use():
        service = OmniSessionService(store)
        await play(service)
        users = ("me/you", "me", "nobody")
        return [await service.get_user_state(app_name="guide", user_id=user) for user in users]

    assert asyncio.run(use()) == [{"c": 2, "u": [1]}, {"mine": True}, {}]


class Echo(BaseAgent):
    async def _run_async_impl(self, context):
        text = context.user_content.parts[0].text
        yield Event(
            invocation_id=context.invocation_id,
            author=self.name,
            content=types.Content(role="model", parts=[types.Part(text=f"You said {text}")]),
            actions=EventActions(state_delta={"last": text, "user:count": context.session.state.get("user:count", 0) + 1}),
        )  # fmt: skip


def test_the_runner_runs_and_rewinds(store):
    """A runner of the ADK keeps turns in the store, another one continues them, and rewinding restores the state."""

    async def turn(runner, text):
        content = types.Content(role="user", parts=[types.Part(text=text)])
        return [e async for e in runner.run_async(user_id="u", session_id="s", new_message=content)]

    async def use():
        runner = Runner(
            app_name="app", agent=Echo(name="echo"), session_service=OmniSessionService(store)
        )
        await runner.session_service.create_session(app_name="app", user_id="u", session_id="s")
        await turn(runner, "one")
        second = await turn(runner, "two")
        runner = Runner(
            app_name="app", agent=Echo(name="echo"), session_service=OmniSessionService(store)
        )
        await turn(runner, "three")
        await runner.rewind_async(
            user_id="u", session_id="s", rewind_before_invocation_id=second[0].invocation_id
        )
        return await runner.session_service.get_session(app_name="app", user_id="u", session_id="s")

    session = asyncio.run(use())
    assert session.state == {"last": "one", "user:count": 3}
    assert len(session.events) == 7
    assert session.events[-1].actions.rewind_before_invocation_id
    assert [m.text for m in store.messages("google-adk/app/u/s")][:4] == [
        "one",
        "You said one",
        "two",
        "You said two",
    ]


def test_what_the_user_sees(tmp_path, capsys, monkeypatch):
    """A session is listed by its question without those of states, shown with its calls, and found by its words."""
    monkeypatch.setenv("OMNIAGENT_STORE", f"sqlite://{tmp_path}/s.db")
    with open_store(tmp_path / "s.db") as store:
        asyncio.run(play_some(OmniSessionService(store)))
        assert store.header("google-adk/guide").ttl_seconds is None
        assert store.header("google-adk/guide/me%2Fyou/s").agent_id == "guide"
    assert main(["sessions", "list"]) == 0
    listed = capsys.readouterr().out
    assert "How tall is the minster?" in listed
    assert len(listed.splitlines()) == 1
    assert main(["sessions", "show", "google-adk/guide/me%2Fyou/s"]) == 0
    shown = capsys.readouterr().out
    assert all(
        text in shown for text in ("Let me see.", "height", "161 m", "261 m", "It has 161 metres.")
    )
    assert main(["sessions", "search", "metres"]) == 0
    assert "google-adk/guide" in capsys.readouterr().out


async def play_some(service):
    session = await service.create_session(**WHO, session_id="s")
    for event in events():
        await service.append_event(session, event)


def test_two_writers_lose_nothing(store):
    """Two session objects of one session append at once: every event and every state value is kept."""

    async def use():
        service = OmniSessionService(store)
        await service.create_session(app_name="a", user_id="u", session_id="s")
        objects = [
            await service.get_session(app_name="a", user_id="u", session_id="s") for _ in range(2)
        ]
        await asyncio.gather(
            *(
                service.append_event(
                    objects[n % 2], said("user", str(n), delta={f"k{n}": n, f"app:k{n}": n})
                )
                for n in range(20)
            )
        )
        return await service.get_session(app_name="a", user_id="u", session_id="s")

    session = asyncio.run(use())
    assert sorted(e.content.parts[0].text for e in session.events) == sorted(map(str, range(20)))
    assert session.state == {f"{prefix}k{n}": n for prefix in ("", "app:") for n in range(20)}


def test_an_event_of_a_deleted_session(store):
    """An event for a session that was deleted is refused, and none of its state changes is stored."""

    async def use():
        service = OmniSessionService(store)
        session = await service.create_session(app_name="a", user_id="u", session_id="s")
        await service.delete_session(app_name="a", user_id="u", session_id="s")
        with pytest.raises(SessionNotFound):
            await service.append_event(
                session, said("user", "x", delta={"user:k": 1, "n": 1, "temp:t": 1})
            )
        return session, await service.get_user_state(app_name="a", user_id="u")

    session, state = asyncio.run(use())
    assert (session.events, session.state, state) == ([], {}, {})
