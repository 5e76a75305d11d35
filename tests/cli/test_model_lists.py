"""The lists of providers: which model they lead to, what ends soon, and names without a provider."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from omniagent_cli.complete.models import read_models, write_models
from tests.servers.chat_server import answer, document, stall, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEY = "sk-secret-of-mine"
DAY = "2026-11-30T00:00:00.000000Z"
SOON = f"{datetime.now(UTC) + timedelta(days=10):%Y-%m-%d}"


@pytest.fixture
def openai(chat_server, monkeypatch):
    """A server in the place of OpenAI, a key for it, and nothing else on this machine."""
    server = chat_server(models=["gpt-6.1-terra", "gpt-5.6-sol", "gpt-6.2-sol", "gpt-image-9"])
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    yield server
    wait_for_lists()


def wait_for_lists():
    for thread in threading.enumerate():
        if thread.name == "omniagent-models":
            thread.join()


def listing(*models):
    """A list of models as OpenAI sends it, with shutdown dates."""
    rows = [
        {"id": name, "object": "model", "created": 1, "owned_by": "x", "shutdown_date": end}
        for name, end in models
    ]
    return document(json.dumps({"object": "list", "data": rows}).encode(), "application/json")


def asked(server):
    return [request.body["model"] for request in server.requests if request.method == "POST"]


def lists(server):
    return [request for request in server.requests if request.method == "GET"]


def test_the_first_question_requests_the_list(run, openai, home):
    """Without a remembered list the first run requests it before the choice, once and with the key."""
    ran = run("ask", "hi")
    assert (ran.code, ran.err) == (0, "Using openai:gpt-6.2-sol because OPENAI_API_KEY is set\n")
    assert run("ask", "hi").code == 0
    wait_for_lists()
    assert asked(openai) == ["gpt-6.2-sol", "gpt-6.2-sol"]
    assert [request.headers["authorization"] for request in lists(openai)] == [f"Bearer {KEY}"]


@pytest.mark.parametrize("reply", [status(500), stall()], ids=["failed", "slow"])
def test_without_a_list_the_first_preference_is_used(run, openai, reply):
    """A list that fails, or does not come within the time for it, costs no answer."""
    openai.models_reply = reply
    assert run("ask", "hi").code == 0
    assert (asked(openai), len(lists(openai))) == (["gpt-6.1-sol"], 1)
    openai.close()


def test_a_provider_that_is_named_alone_has_its_list_requested(run, openai):
    """`-m openai` is the preferred one of the listed models at the first use too."""
    assert run("ask", "-m", "openai:", "hi").code == 0
    assert asked(openai) == ["gpt-6.2-sol"]


def test_a_named_model_requests_no_list(run, openai):
    """A model that is named is used without a request for the list."""
    assert run("ask", "-m", "openai:gpt-6.1-sol", "hi").code == 0
    assert lists(openai) == []


NOT_FOUND = status(
    404,
    {
        "message": "The model does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    },
)


def test_a_chosen_model_that_does_not_exist_is_replaced(run, openai, store):
    """A 404 for the automatic choice leads to the next listed model, which is reported, pinned and remembered."""
    openai.script(NOT_FOUND)
    ran = run("ask", "-s", "x", "--json", "hi")
    assert ran.code == 0
    assert ran.err.splitlines()[1:] == [
        "OpenAI has no model gpt-6.2-sol for this key; using openai:gpt-5.6-sol"
    ]
    assert (ran.json["model"], store.header("x").model) == (
        "openai:gpt-5.6-sol",
        "openai:gpt-5.6-sol",
    )
    assert [message.model for message in store.messages("x")] == [None, "openai:gpt-5.6-sol"]
    assert run("ask", "hi").err == "Using openai:gpt-5.6-sol because OPENAI_API_KEY is set\n"
    assert asked(openai) == ["gpt-6.2-sol", "gpt-5.6-sol", "gpt-5.6-sol"]


def test_the_first_preference_that_does_not_exist_is_replaced(run, openai):
    """Where no list came before the choice, it is requested once the chosen model turns out not to exist."""

    def failing_once(_request):
        openai.models_reply = None
        return status(500)

    openai.models_reply = failing_once
    openai.script(NOT_FOUND)
    ran = run("ask", "hi")
    assert (ran.code, asked(openai)) == (0, ["gpt-6.1-sol", "gpt-6.2-sol"])
    assert "OpenAI has no model gpt-6.1-sol for this key; using openai:gpt-6.2-sol" in ran.err


def test_a_chosen_model_is_replaced_once(run, openai):
    """When the next model does not exist either, the run fails with what to do."""
    openai.script(NOT_FOUND, NOT_FOUND)
    ran = run("ask", "hi")
    assert (ran.code, asked(openai)) == (1, ["gpt-6.2-sol", "gpt-5.6-sol"])
    assert "OpenAI has no model gpt-5.6-sol" in ran.err


def test_a_chat_has_its_prompt_while_the_list_is_requested(person, openai):
    """A list that does not come delays no prompt, and the first question by no more than the time for it."""
    openai.models_reply = stall()
    variables = {"OPENAI_BASE_URL": openai.url, "OPENAI_API_KEY": KEY, "OLLAMA_HOST": "127.0.0.1:9"}
    with person("chat", "-s", "x", **variables) as chat:
        chat.wait_prompt(1)
        chat.say("hi")
        chat.wait_for("Using openai:gpt-6.1-sol because OPENAI_API_KEY is set")
        chat.wait_for("You said: hi")
    assert asked(openai) == ["gpt-6.1-sol"]
    openai.close()


def test_a_chat_continues_with_the_model_that_exists(person, openai):
    """A chat whose chosen model does not exist names the next one and shows it in the toolbar from then on."""
    openai.script(NOT_FOUND)
    variables = {"OPENAI_BASE_URL": openai.url, "OPENAI_API_KEY": KEY, "OLLAMA_HOST": "127.0.0.1:9"}
    with person("chat", "-s", "x", **variables) as chat:
        chat.wait_for("| openai:gpt-6.2-sol |")
        chat.say("hi")
        chat.wait_for("OpenAI has no model gpt-6.2-sol for this key; using openai:gpt-5.6-sol")
        chat.wait_for("| openai:gpt-5.6-sol |")
    assert asked(openai) == ["gpt-6.2-sol", "gpt-5.6-sol"]


@pytest.mark.parametrize("how", ["named", "pinned", "configured"])
def test_a_model_that_was_not_chosen_automatically_is_not_replaced(run, openai, how):
    """A named, pinned or configured model that does not exist is an error; no other model is asked."""
    if how == "pinned":
        run("ask", "-s", "x", "-m", "openai:gpt-9", "hi")
    if how == "configured":
        run("config", "set", "model", "openai:gpt-9")
    openai.requests.clear()
    openai.script(NOT_FOUND)
    ran = run("ask", "-s", "x", *(["-m", "openai:gpt-9"] if how == "named" else []), "hi")
    assert (ran.code, asked(openai)) == (1, ["gpt-9"])


def test_an_old_list_is_used_and_refreshed(run, openai, home):
    """A list older than a day still decides, also when the provider sends none; a new one replaces it."""
    environ = {"HOME": str(home)}
    write_models("openai", openai.url, "2026-01-01T00:00:00Z", ["gpt-6.1-terra"], environ)
    openai.models_reply = document(b'{"error": "no list today"}', "application/json")
    run("ask", "hi")
    wait_for_lists()
    openai.models_reply = None
    run("ask", "hi")
    wait_for_lists()
    run("ask", "hi")
    assert asked(openai) == ["gpt-6.1-terra", "gpt-6.1-terra", "gpt-6.2-sol"]
    assert (home / ".cache" / "omniagent" / "models").stat().st_mode & 0o777 == 0o600


def test_a_list_of_another_address_does_not_count(run, openai, home):
    """The list of one server says nothing about another one."""
    write_models("openai", "http://127.0.0.1:1/v1", DAY, ["gpt-6.9-sol"], {"HOME": str(home)})
    run("ask", "hi")
    assert asked(openai) == ["gpt-6.2-sol"]


def test_offline_requests_no_list(run, openai):
    """--offline leads to no request for a list."""
    run("ask", "--offline", "hi")
    wait_for_lists()
    assert openai.requests == []


def test_a_model_that_ends_is_passed_over(run, openai):
    """A preferred model with a shutdown date comes after those without one."""
    openai.models_reply = listing(("gpt-6.1-sol", "2027-01-14"), ("gpt-6.1-terra", None))
    run("models", "list")
    run("ask", "hi")
    assert asked(openai) == ["gpt-6.1-terra"]


def test_shutdown_dates_are_shown(run, openai, home):
    """`models list` and `doctor` tell when the chosen model is shut down; the other fields of a list are kept."""
    openai.models_reply = listing(("gpt-old", SOON), ("gpt-6.1-sol", None))
    run("config", "set", "model", "openai:gpt-old")
    ran = run("models", "list")
    assert ["openai:gpt-old", f"chosen, shutdown {SOON}"] in [[row[0], row[3]] for row in ran.cells]
    assert run("models", "--json").json[0]["shutdown_date"] == SOON
    warning = f"openai:gpt-old will be shut down on {SOON}; choose another with -m or /model, such as openai:gpt-6.1-sol"
    assert warning in ran.err
    assert warning in run("doctor").out
    fields = {row[0]: row[3] for row in read_models({"HOME": str(home)})}
    assert '"owned_by":"x"' in fields["openai:gpt-6.1-sol"]


def test_a_session_pinned_to_a_model_that_ends_warns_once(run, openai):
    """A session on a model with a shutdown date warns in its next run, and not in those after it."""
    openai.models_reply = listing(("gpt-old", SOON), ("gpt-6.1-sol", None))
    run("models", "list")
    assert "shut down" not in run("ask", "-s", "x", "-m", "openai:gpt-old", "hi").err
    assert f"openai:gpt-old will be shut down on {SOON}" in run("ask", "-s", "x", "hi").err
    assert run("ask", "-s", "x", "hi").err == ""


def test_a_session_pinned_to_a_model_that_ended_says_so(run, openai):
    """After the date the session says once more that the model was shut down, and how to choose another."""
    run("ask", "-s", "x", "-m", "openai:gpt-old", "hi")
    for end in ("2099-12-11", "2020-12-11"):
        openai.models_reply = listing(("gpt-old", end), ("gpt-6.1-sol", None))
        run("models", "list", "--refresh")
        told = run("ask", "-s", "x", "hi").err
        assert run("ask", "-s", "x", "hi").err == ""
    assert told == (
        "openai:gpt-old was shut down on 2020-12-11; choose another with -m or /model, such as openai:gpt-6.1-sol\n"
    )


def test_doctor_says_whether_the_model_is_listed(run, openai):
    """A chosen model that the provider does not list is a problem with the command that helps."""
    ran = run("doctor")
    assert "OpenAI lists openai:gpt-6.2-sol" in ran.out
    run("config", "set", "model", "openai:gpt-5.4-sol")
    ran = run("doctor", "--json")
    assert ran.code == 1
    (found,) = [check for check in ran.json["checks"] if "does not list" in check["what"]]
    assert found == {
        "area": "models",
        "state": "problem",
        "what": "OpenAI does not list openai:gpt-5.4-sol",
        "do": "omniagent models use openai:gpt-6.2-sol",
    }


def test_a_name_without_its_provider(run, openai, home, monkeypatch):
    """A name that one known model has is that model: on the command line, in the variable and in the settings."""
    run("models", "list")
    assert run("ask", "-m", "gpt-6.1-terra", "hi").code == 0
    monkeypatch.setenv("OMNIAGENT_MODEL", "gpt-5.6-sol")
    assert run("ask", "hi").code == 0
    monkeypatch.delenv("OMNIAGENT_MODEL")
    assert run("config", "set", "model", "gpt-6.2-sol").code == 0
    assert run("ask", "hi").code == 0
    assert asked(openai) == ["gpt-6.1-terra", "gpt-5.6-sol", "gpt-6.2-sol"]
    ran = run("ask", "-m", "gpt-6.1-tera", "hi")
    assert ran.code == 2
    assert "unknown model 'gpt-6.1-tera'; did you mean openai:gpt-6.1-terra" in ran.err


def test_a_name_that_several_providers_have(run, openai, home):
    """A name of several models is an error that lists them, and no request is sent."""
    write_models("together", "https://x/v1", DAY, ["openai/gpt-oss-120b"], {"HOME": str(home)})
    ran = run("ask", "-m", "openai/gpt-oss-120b", "hi")
    assert ran.code == 2
    assert ran.err == (
        "omniagent: error: several providers have the model 'openai/gpt-oss-120b': "
        "together:openai/gpt-oss-120b, groq:openai/gpt-oss-120b; choose one\n"
    )
    assert openai.requests == []


def test_a_name_alone_is_a_model_of_the_configured_address(run, chat_server, monkeypatch):
    """With agent.base_url alone, a name without a provider is a model of that server, wherever it is set."""
    server = chat_server()
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert run("config", "set", "agent.base_url", server.url).code == 0
    assert run("ask", "-m", "my-model", "hi").code == 0
    assert run("ask", "-m", "gpt-6.1-sol", "hi").code == 0
    assert run("config", "set", "model", "my-other").code == 0
    assert run("ask", "hi").code == 0
    monkeypatch.setenv("OMNIAGENT_MODEL", "my-third")
    assert run("ask", "hi").code == 0
    assert asked(server) == ["my-model", "gpt-6.1-sol", "my-other", "my-third"]


def test_a_name_of_a_local_model_sends_no_key(run, chat_server, monkeypatch):
    """A name that only a local server has is that model, and the server gets no key."""
    server = chat_server(answer("here"), models=["llama3:8b"])
    monkeypatch.setenv("OLLAMA_HOST", server.url.removesuffix("/v1"))
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    ran = run("ask", "-m", "llama3:8b", "hi")
    assert (ran.code, ran.out) == (0, "here\n")
    assert all("authorization" not in request.headers for request in server.requests)


def test_a_session_that_began_with_recall_uses_the_model_there_is(
    run, chat_server, monkeypatch, store
):
    """Once there is a key the session continues with its model, which is reported and pinned."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert run("ask", "-s", "x", "I am Ann").err == (
        "No API key or local server found; using recall, a stand-in that only searches this session. "
        "Set a key: omniagent keys set openai\n"
    )
    assert (run("ask", "-s", "x", "Who am I?").err, store.header("x").model) == ("", "")
    server = chat_server(answer("You are Ann"), answer("Yes"), models=["gpt-6.1-sol"])
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ran = run("ask", "-s", "x", "Who am I?")
    assert ran.out == "You are Ann\n"
    assert ran.err.startswith("Using openai:gpt-6.1-sol because OPENAI_API_KEY is set")
    assert store.header("x").model == "openai:gpt-6.1-sol"
    assert run("ask", "-s", "x", "Sure?").err == ""
    wait_for_lists()


def test_recall_that_was_named_stays_and_advises_by_the_keys(run, openai, store):
    """A session on `recall` by choice keeps it; with a key set it names a model instead of asking for a key."""
    ran = run("ask", "-s", "x", "-m", "recall", "hello")
    assert (
        "To use a model, choose one: -m openai:gpt-6.1-sol, or /model openai:gpt-6.1-sol" in ran.out
    )
    assert "keys set" not in ran.out
    assert store.header("x").model == "recall"
    assert run("ask", "-s", "x", "and now?").code == 0
    assert openai.requests == []
