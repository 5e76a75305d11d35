"""`omniagent sessions compact`, what it cost, and sessions that roll over, from the command line."""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.asking import Program, variables
from tests.servers.chat_server import answer, stall, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


@pytest.fixture
def served(run, monkeypatch):
    """Run a command in this process with a server that answers."""

    def served(server, *argv, **options):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return run(*argv, **options)

    return served


@pytest.fixture
def spoken(store):
    """A session of three turns."""
    for number in range(3):
        store.append(
            "s",
            [
                {"role": "user", "content": f"question {number}"},
                {"role": "assistant", "content": f"answer {number}"},
            ],
        )
    return store


def test_the_summary_is_printed_kept_and_sent(served, spoken, chat_server):
    """The summary goes to stdout, what it stands for to stderr, and the next question is asked with it."""
    server = chat_server(answer("They ", "counted."), answer("fine"))
    ran = served(server, "sessions", "compact", "s", "keep", "the", "numbers")
    assert (ran.code, ran.out) == (0, "They counted.\n")
    assert ran.err == (
        "This summary is sent instead of the messages of 's' up to #3 (4 messages). "
        "No message was removed; 9 tokens in, 3 out\n"
    )
    served(server, "ask", "-s", "s", "next")
    first, second = server.chats()
    assert first["messages"][0]["content"].endswith("instructions: keep the numbers")
    assert "tools" not in first
    texts = [message["content"] for message in second["messages"]]
    assert texts[0].endswith("They counted.")
    assert texts[2:] == ["question 2", "answer 2", "next"]
    assert spoken.count_messages("s") == 8


def test_json_and_cost(served, spoken, chat_server, run):
    """--json is one document; with a price for the model there is what it cost, as in `ask` and `stats`."""
    run("config", "set", 'prices."openai:fake-1".input', "2")
    run("config", "set", 'prices."openai:fake-1".output', "10")
    server = chat_server(answer("sum"), answer("fine"))
    assert served(server, "sessions", "compact", "s", "--json").json == {
        "id": "s",
        "up_to": 3,
        "messages": 4,
        "added": 4,
        "summary": "sum",
        "model": "openai:fake-1",
        "usage": {"input_tokens": 9, "output_tokens": 3, "cost": 0.000048},
    }
    assert served(server, "ask", "-s", "s", "--json", "next").json["cost"] == 0.000048
    (row,) = (r for r in run("sessions", "stats", "--json").json["models"] if r["model"])
    assert row == {
        "model": "openai:fake-1",
        "answers": 1,
        "input_tokens": 18,
        "output_tokens": 6,
        "cost": 0.000096,
    }
    assert ["model", "openai:fake-1", "1", "18", "6", "9.6e-05"] in run("sessions", "stats").cells


def test_what_cannot_be_summed_up_is_one_line(served, spoken, chat_server, run, monkeypatch):
    """No such session, recall, a refused key and a session of one turn: each says what, and changes nothing."""
    server = chat_server(status(401, "no"))
    assert served(server, "sessions", "compact", "nobody").code == 1
    ran = served(server, "sessions", "compact", "s")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    ran = served(server, "sessions", "compact", "s", "-m", "recall")
    assert (ran.code, ran.err) == (
        2,
        "omniagent: error: recall is not a language model and cannot summarize; choose another: -m MODEL\n",
    )
    spoken.append("one", {"role": "user", "content": "q"})
    ran = served(server, "sessions", "compact", "one")
    assert "nothing to compact in 'one'" in ran.err
    assert spoken.last_summary("s") is None


def test_ctrl_c_leaves_everything_as_it_was(spoken, chat_server, db):
    """Interrupted while the model writes, the command says so and exits with 130."""
    server = chat_server(stall("half a summ"))
    with Program(db, "sessions", "compact", "s", **variables(server)) as program:
        end = time.monotonic() + 20
        while not server.chats():
            assert time.monotonic() < end, "the model was not asked"
            time.sleep(0.005)
        program.signal(signal.SIGINT)
        code, out, err = program.wait()
    assert (code, out) == (130, "")
    assert "Nothing was summarized; the session is unchanged" in err
    assert spoken.last_summary("s") is None


def test_a_summary_goes_out_and_comes_back(served, spoken, chat_server, run, store, tmp_path):
    """Both of our own formats carry it, at its place, also when positions do not begin at 0."""
    served(chat_server(answer("sum")), "sessions", "compact", "s")
    store.trim("s", 5)
    store.put_summary("s", 3, {"text": "of what is left"})
    for name in ("jsonl", "json"):
        out = run("sessions", "export", "s", "--format", name).out
        assert run("sessions", "import", "-", "--as", f"from-{name}", stdin=out.encode()).code == 0
        summary = store.last_summary(f"from-{name}")
        assert (summary["up_to"], summary["text"]) == (2, "of what is left")


def test_a_session_rolls_over_when_configured(served, chat_server, run, store, monkeypatch):
    """After the idle time `ask` begins anew under the id, says so once, and both sessions name each other."""
    long_ago = datetime.now(UTC) - timedelta(hours=30)
    store.append("s", {"role": "user", "content": "old", "created_at": long_ago.isoformat()})
    monkeypatch.setenv("OMNIAGENT_ROLLOVER_IDLE", "8h")
    monkeypatch.setenv("OMNIAGENT_ROLLOVER_TIMEZONE", "UTC")
    server = chat_server(answer("one"), answer("two"))
    aside = f"s@{long_ago.date().isoformat()}"
    ran = served(server, "ask", "-s", "s", "new")
    assert ran.out == "one\n"
    assert ran.err == (
        f"Started a new conversation after a long pause; the previous one is {aside}\n"
    )
    assert served(server, "ask", "-s", "s", "more").err == ""
    assert [m["content"] for m in server.chats()[0]["messages"]] == ["new"]
    assert run("sessions", "meta", "get", "s", "continues").out == f"{aside}\n"
    assert run("sessions", "meta", "get", aside, "continued_in").out == "s\n"
    assert (
        json.loads(run("sessions", "show", aside, "--json").out)["metadata"]["rollover"] == "idle"
    )
