"""The lists of providers: which model they lead to, what ends soon, and names without a provider."""

from __future__ import annotations

import json
import threading

import pytest

from omniagent_cli.complete.models import read_models, write_models
from tests.servers.chat_server import answer, document
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEY = "sk-secret-of-mine"
DAY = "2026-11-30T00:00:00.000000Z"


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


def test_the_first_question_has_no_list_and_the_next_one_has(run, openai, home):
    """Without a list the first preference is used and the list is requested once; the next run goes by it."""
    assert run("ask", "hi").code == 0
    wait_for_lists()
    listed = [request for request in openai.requests if request.method == "GET"]
    assert [request.headers["authorization"] for request in listed] == [f"Bearer {KEY}"]
    ran = run("ask", "hi")
    wait_for_lists()
    assert asked(openai) == ["gpt-6.1-sol", "gpt-6.2-sol"]
    assert ran.err.startswith("openai:gpt-6.2-sol answers, because a key for OpenAI is set")
    assert len([request for request in openai.requests if request.method == "GET"]) == 1


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
    write_models("openai", "http://127.0.0.1:1/v1", DAY, ["gpt-6.2-sol"], {"HOME": str(home)})
    run("ask", "hi")
    assert asked(openai) == ["gpt-6.1-sol"]


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
    openai.models_reply = listing(("gpt-old", "2026-12-11"), ("gpt-6.1-sol", None))
    run("config", "set", "model", "openai:gpt-old")
    ran = run("models", "list")
    assert ["openai:gpt-old", "chosen, shutdown 2026-12-11"] in [
        [row[0], row[3]] for row in ran.cells
    ]
    assert run("models", "--json").json[0]["shutdown_date"] == "2026-12-11"
    warning = (
        "openai:gpt-old will be shut down on 2026-12-11; choose another, such as openai:gpt-6.1-sol"
    )
    assert warning in ran.err
    assert warning in run("doctor").out
    fields = {row[0]: row[3] for row in read_models({"HOME": str(home)})}
    assert '"owned_by":"x"' in fields["openai:gpt-6.1-sol"]


def test_a_session_pinned_to_a_model_that_ends_warns_once(run, openai):
    """A session on a model with a shutdown date warns in its next run, and not in those after it."""
    openai.models_reply = listing(("gpt-old", "2026-12-11"), ("gpt-6.1-sol", None))
    run("models", "list")
    assert "shut down" not in run("ask", "-s", "x", "-m", "openai:gpt-old", "hi").err
    assert "openai:gpt-old will be shut down on 2026-12-11" in run("ask", "-s", "x", "hi").err
    assert run("ask", "-s", "x", "hi").err == ""


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
    assert 'unknown model "gpt-6.1-tera"; did you mean openai:gpt-6.1-terra' in ran.err


def test_a_name_that_several_providers_have(run, openai, home):
    """A name of several models is an error that lists them, and no request is sent."""
    write_models("together", "https://x/v1", DAY, ["openai/gpt-oss-120b"], {"HOME": str(home)})
    ran = run("ask", "-m", "openai/gpt-oss-120b", "hi")
    assert ran.code == 2
    assert ran.err == (
        'omniagent: error: several providers have the model "openai/gpt-oss-120b": '
        "together:openai/gpt-oss-120b, groq:openai/gpt-oss-120b; name one\n"
    )
    assert openai.requests == []


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
    assert run("ask", "-s", "x", "I am Ann").err.startswith("recall answers, because ")
    assert (run("ask", "-s", "x", "Who am I?").err, store.header("x").model) == ("", "")
    server = chat_server(answer("You are Ann"), answer("Yes"))
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ran = run("ask", "-s", "x", "Who am I?")
    assert ran.out == "You are Ann\n"
    assert ran.err.startswith("openai:gpt-6.1-sol answers, because a key for OpenAI is set")
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
