"""`omniagent ask`: one turn with a real server on this machine, well or badly, and what is stored each time."""

import json
import os
import signal
import subprocess
import sys

import pytest

from omniagent_cli.stores import open_store
from tests.cli.asking import Program, variables
from tests.cli.conftest import environment
from tests.servers.chat_server import (
    answer,
    calls,
    cut,
    document,
    stall,
    status,
    stream,
)
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


@pytest.fixture
def ask(run, monkeypatch):
    """Ask in this process with a server that answers."""

    def ask(server, *argv, **options):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return run("ask", *argv, **options)

    return ask


def stored(store, session_id=None):
    """Return (role, text, status) of the messages of the newest session, or of one."""
    if session_id is None:
        (summary, *_) = store.list(limit=1)
        session_id = summary.id
    return [(m.role, m.text, m.status) for m in store.messages(session_id)]


def test_an_answer_is_printed_and_kept(ask, chat_server, store):
    """The answer goes to stdout, nothing else; both messages are in a session of their own."""
    server = chat_server(answer("It is ", "blue."))
    ran = ask(server, "Why", "is", "the sky", "blue?")
    assert (ran.code, ran.out, ran.err) == (0, "It is blue.\n", "")
    assert stored(store) == [
        ("user", "Why is the sky blue?", "complete"),
        ("assistant", "It is blue.", "complete"),
    ]


def test_the_first_answer_pins_the_model(ask, run, chat_server, store, monkeypatch):
    """A session goes on with the model that answered first, whatever is configured later."""
    server = chat_server()
    ask(server, "-s", "x", "one")
    assert store.header("x").model == "openai:fake-1"
    monkeypatch.setenv("OMNIAGENT_MODEL", "openai:other")
    assert run("ask", "-s", "x", "two").code == 0
    assert run("ask", "-s", "x", "-m", "openai:third", "three").code == 0
    assert [chat["model"] for chat in server.chats()] == ["fake-1", "fake-1", "third"]
    assert store.header("x").model == "openai:fake-1"


def test_a_pinned_model_that_is_gone_is_exit_3(ask, run, chat_server, store, monkeypatch):
    """No other provider answers in the place of a session's model."""
    server = chat_server()
    ask(server, "-s", "x", "one")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OMNIAGENT_MODEL", "recall")
    ran = run("ask", "-s", "x", "two")
    assert ran.code == 3
    assert ran.out == ""
    monkeypatch.delenv("OPENAI_BASE_URL")
    ran = run("ask", "-s", "x", "--offline", "two")
    assert ran.code == 3
    assert "offline" in ran.err


def test_continue_goes_on_with_the_session_used_last(ask, chat_server, store):
    """-c and @ send what was said before."""
    server = chat_server(answer("Hello Alice"), answer("Alice"), answer("Still Alice"))
    ask(server, "I am Alice")
    assert ask(server, "-c", "Who am I?").out == "Alice\n"
    assert ask(server, "-s", "@", "And now?").out == "Still Alice\n"
    sent = [message["content"] for message in server.chats()[2]["messages"]]
    assert sent == ["I am Alice", "Hello Alice", "Who am I?", "Alice", "And now?"]
    assert store.count() == 1


def test_continue_with_nothing_is_one_line(ask, chat_server, db):
    """-c on a machine where nothing was said is told, and makes nothing."""
    server = chat_server()
    ran = ask(server, "-c", "hi")
    assert ran.code == 1
    assert ran.err.startswith("omniagent: error: no session to continue in")
    assert len(ran.err.splitlines()) == 1
    assert not db.exists()


def test_ephemeral_and_ask_keep_false_store_nothing(ask, chat_server, db, monkeypatch):
    """What should not be kept never reaches a disk."""
    server = chat_server()
    assert ask(server, "--ephemeral", "hi").out == "You said: hi\n"
    monkeypatch.setenv("OMNIAGENT_ASK_KEEP", "false")
    assert json.loads(ask(server, "--json", "hi").out)["session"] is None
    assert not db.exists()


def test_json_is_one_document(ask, chat_server, store):
    """--json prints answer, session, model, usage and status, on one line in a pipe."""
    ran = ask(chat_server(answer("Hi\n", "there")), "--json", "-s", "x", "hi")
    assert ran.lines == [ran.out.strip()]
    assert ran.json == {
        "answer": "Hi\nthere",
        "session": "x",
        "model": "openai:fake-1",
        "usage": {"input_tokens": 9, "output_tokens": 3},
        "status": "complete",
    }


def test_a_system_prompt_is_sent_and_not_stored(ask, chat_server, store, tmp_path):
    """--system gives text or a file; it goes first and stays out of the session."""
    server = chat_server()
    (tmp_path / "system.md").write_text("Be kind.\n")
    ask(server, "--system", "Be brief.", "-s", "x", "hi")
    ask(server, "--system", f"@{tmp_path}/system.md", "-s", "x", "hi")
    assert [chat["messages"][0]["content"] for chat in server.chats()] == ["Be brief.", "Be kind."]
    assert {role for role, _, _ in stored(store, "x")} == {"user", "assistant"}
    missing = ask(server, "--system", "@nowhere", "hi")
    assert missing.code == 2
    assert "nowhere" in missing.err


def test_settings_reach_the_model(ask, chat_server, monkeypatch):
    """Window and model settings of the configuration are used."""
    monkeypatch.setenv("OMNIAGENT_WINDOW_MAX_MESSAGES", "1")
    monkeypatch.setenv("OMNIAGENT_AGENT_TEMPERATURE", "0.5")
    server = chat_server()
    ask(server, "-s", "x", "one")
    ask(server, "-s", "x", "two")
    last = server.chats()[-1]
    assert [m["content"] for m in last["messages"]] == ["two"]
    assert last["temperature"] == 0.5


def test_aliases_name_models(ask, run, chat_server, monkeypatch):
    """--model takes an alias of the configuration."""
    server = chat_server()
    assert run("config", "set", "models.aliases.fast", "openai:quick-1").code == 0
    assert ask(server, "-m", "fast", "hi").code == 0
    assert server.chats()[-1]["model"] == "quick-1"
    assert ask(server, "-m", "nonsense", "hi").code == 2


# Where the question comes from.


def test_stdin_and_attachments_are_added(ask, chat_server, tmp_path):
    """Words, stdin and files make one question, files in a fence that nothing in them closes."""
    server = chat_server()
    (tmp_path / "code.py").write_text("x = '''\n```\n'''\n")
    ask(server, "Explain", "-a", str(tmp_path / "code.py"), stdin=b"some\r\noutput\n")
    (message,) = server.chats()[-1]["messages"]
    assert message["content"] == (
        "Explain\n\nsome\noutput\n\ncode.py:\n````py\nx = '''\n```\n'''\n````"
    )


def test_stdin_alone_is_a_question(program, chat_server):
    """A pipe without words is the question; - asks for it by name."""
    server = chat_server()
    assert program("ask", stdin=b"hello\n", **variables(server)).stdout == b"You said: hello\n"
    ran = program("ask", "-", "and this", stdin=b"hello\n", **variables(server))
    assert ran.stdout == b"You said: and this\n\nhello\n"


def test_a_pipe_that_says_nothing_is_given_up(db, chat_server):
    """A pipe somebody left open beside a question is waited for a second, and that is told."""
    with Program(db, "ask", "hi", stdin=subprocess.PIPE, **variables(chat_server())) as program:
        program.wait_for("You said: hi\n")
        code, _, err = program.wait()
    assert code == 0
    assert "stdin" in err


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\x7fELF\0\0", "only UTF-8 text, pictures"), (b"caf\xe9", "only UTF-8 text")],
)
def test_what_cannot_be_attached_is_told(ask, chat_server, tmp_path, content, told, db):
    """Something else than text, a picture or a PDF is refused in one line, and nothing was asked."""
    server = chat_server()
    (tmp_path / "file").write_bytes(content)
    ran = ask(server, "-a", str(tmp_path / "file"), "What is this?")
    assert ran.code == 2
    assert told in ran.err
    assert not server.chats()
    assert ask(server, "-a", str(tmp_path), "x").code == 2
    assert ask(server, "-a", str(tmp_path / "none"), "x").code == 2


def test_stdin_that_is_no_text_is_sent_readable(ask, chat_server):
    """Bytes that are not UTF-8 do not stop a question, and that is told."""
    server = chat_server()
    ran = ask(server, "What?", stdin=b"caf\xe9")
    assert ran.code == 0
    assert "not UTF-8" in ran.err
    assert server.chats()[-1]["messages"][0]["content"] == "What?\n\ncaf\ufffd"


def test_no_question_is_a_usage_error(run, person):
    """Without anything to ask there is one line with an example, and exit 2."""
    ran = run("ask")
    assert ran.code == 2
    assert "omniagent ask '" in ran.err
    with person("ask") as at_terminal:
        assert at_terminal.wait() == 2


def test_options_that_contradict_each_other_are_refused(run):
    """-s with -c, and --ephemeral with either, are usage errors before anything is read."""
    for options in (("-s", "x", "-c"), ("--ephemeral", "-s", "x"), ("--ephemeral", "-c")):
        assert run("ask", *options, "hi").code == 2
        assert run("chat", *options).code == 2


@pytest.mark.parametrize("bad", ["", " ", "x" * 513, "a\x1bb"])
def test_impossible_ids_are_usage_errors(run, bad, db):
    """An id no session can have is refused, and nothing is asked or made."""
    ran = run("ask", "-s", bad, "hi")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert not db.exists()


# No model.


def test_recall_answers_without_key_and_network(run, store):
    """On a machine with nothing every question gets an answer, and why recall gives it is told once."""
    first = run("ask", "-s", "x", "My cat is called Tom")
    assert first.code == 0
    assert first.err.startswith("No API key or local server found; using recall, a stand-in ")
    second = run("ask", "-s", "x", "What is my cat called?")
    assert second.out.startswith("You said ")
    assert "Tom" in second.out
    assert second.err == ""
    assert store.header("x").model == ""
    assert run("-q", "ask", "-s", "y", "hi").err == ""


def test_offline_means_this_machine_only(run, store, db):
    """--offline refuses a model elsewhere that was named, and passes over a configured one."""
    assert run("ask", "--offline", "-m", "openai:gpt-6.1-sol", "hi").code == 2
    assert not db.exists()
    assert run("config", "set", "model", "openai:gpt-6.1-sol").code == 0
    ran = run("ask", "--offline", "-s", "x", "hi")
    assert ran.code == 0
    assert store.header("x").model == ""


def test_words_that_are_no_unicode_are_kept(process, chat_server, store):
    """An argument of odd bytes is asked and stored without a crash, here and in the answer."""
    odd = os.fsdecode(b"caf\xe9")
    ran = process("ask", "-s", "x", odd, **variables(chat_server(answer("\ud83d alone"))))
    assert ran.returncode == 0, ran.stderr
    assert [text for _, text, _ in stored(store, "x")] == [odd, "\ud83d alone"]


# What goes wrong.


@pytest.mark.parametrize(
    ("replies", "code", "out", "question", "partial"),
    [
        ([cut("part ", "of")], 3, "part of\n", "complete", "failed"),
        ([stream(b"data: {broken\n\n")], 1, "", "failed", None),
        ([document(b"garbage", "text/plain")], 1, "", "failed", None),
        ([document(b"<html>", "text/html")], 1, "", "failed", None),
        ([status(401, "no")], 1, "", "failed", None),
        ([status(404, "no such model")], 1, "", "failed", None),
        ([status(500, retry_after="0")] * 3, 3, "", "failed", None),
    ],
)
def test_a_failing_server_is_told_and_recorded(
    ask, chat_server, store, replies, code, out, question, partial
):
    """Each failure is one error line and its exit code; the question stays, and what came of the answer."""
    ran = ask(chat_server(*replies), "-s", "x", "hi")
    assert (ran.code, ran.out) == (code, out)
    errors = [line for line in ran.err.splitlines() if line.startswith("omniagent: error: ")]
    assert len(errors) == 1
    assert "Traceback" not in ran.err
    assert "sk-of-a-test" not in ran.err
    expected = [("user", "hi", question)]
    if partial:
        expected.append(("assistant", out.strip(), partial))
    assert stored(store, "x") == expected


def test_a_failed_question_asked_again_is_stored_once(ask, chat_server, store):
    """A retry does not double the question."""
    server = chat_server(status(401), answer("now"))
    ask(server, "-s", "x", "hi")
    assert ask(server, "-s", "x", "hi").out == "now\n"
    assert stored(store, "x") == [("user", "hi", "complete"), ("assistant", "now", "complete")]


def test_waiting_as_asked_is_told(ask, chat_server):
    """A 429 is waited out, with a line on stderr, and the answer comes."""
    ran = ask(chat_server(status(429, retry_after="0"), answer("ok")), "hi")
    assert (ran.code, ran.out) == (0, "ok\n")
    assert "retrying in" in ran.err


def test_a_server_that_hangs_is_left(ask, chat_server, store, monkeypatch):
    """Silence has an end: it is told how long it lasted, and what came is kept."""
    monkeypatch.setenv("OMNIAGENT_AGENT_TOKEN_TIMEOUT", "1s")
    ran = ask(chat_server(stall("part")), "-s", "x", "hi")
    assert (ran.code, ran.out) == (3, "part\n")
    assert "for 1 s" in ran.err
    assert stored(store, "x")[-1] == ("assistant", "part", "failed")


def test_nobody_listening_is_exit_3(ask, store):
    """A refused connection is told with the address, and the question is kept."""
    ran = ask("http://127.0.0.1:9/v1", "-s", "x", "hi")
    assert ran.code == 3
    assert "127.0.0.1:9" in ran.err
    assert stored(store, "x") == [("user", "hi", "failed")]


def test_json_tells_a_failure_too(ask, chat_server):
    """With --json a failed turn still says where its question is."""
    ran = ask(chat_server(cut("part")), "--json", "-s", "x", "hi")
    assert ran.code == 3
    assert (ran.json["status"], ran.json["answer"], ran.json["session"]) == ("failed", "part", "x")


def test_a_tool_nobody_has_is_answered_and_told(ask, chat_server, store):
    """A model that calls an unknown tool is told so, on stderr too, and the turn goes on."""
    ran = ask(chat_server(calls(("rm", {"a": 1}), text="Let me"), answer("Sorry")), "-s", "x", "hi")
    assert (ran.code, ran.out) == (0, "Let me\nSorry\n")
    assert "failed" in ran.err
    assert [role for role, _, _ in stored(store, "x")] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_an_interrupt_keeps_what_came(db, chat_server, store, number, code):
    """Ctrl-C, SIGTERM and a closed terminal stop the model; the partial answer is printed and kept."""
    server = chat_server(stall("part ", "of it"))
    with Program(db, "ask", "-s", "x", "hi", **variables(server)) as program:
        program.wait_for("part of it")
        program.signal(number)
        assert program.wait() == (code, "part of it\n", "interrupted\n")
    assert server.wait_hangup()
    assert stored(store, "x") == [
        ("user", "hi", "complete"),
        ("assistant", "part of it", "interrupted"),
    ]


def test_an_interrupt_before_the_first_word_keeps_the_question(db, chat_server, store):
    """Nothing came, so the question stands there, marked."""
    server = chat_server(stall())
    with Program(db, "ask", "-s", "x", "hi", **variables(server)) as program:
        while not server.chats():
            assert program._process.poll() is None
        program.signal(signal.SIGINT)
        assert program.wait()[0] == 130
    assert stored(store, "x") == [("user", "hi", "interrupted")]


def test_kill_9_in_the_middle_of_an_answer_loses_at_most_a_second(db, chat_server, store):
    """After kill -9 the question is there, and of the answer all but the last second, marked interrupted."""
    server = chat_server(answer(*(f"word{n} " for n in range(200)), delay=0.02))
    with Program(db, "ask", "-s", "x", "hi", **variables(server)) as program:
        program.wait_for("word90 ")
        killed = program.times[-1][0]
        program.signal(signal.SIGKILL)
        assert program.wait()[0] == -signal.SIGKILL
    (asked, said) = stored(store, "x")
    assert asked == ("user", "hi", "complete")
    assert said[2] == "interrupted"
    seen = max((size for at, size in program.times if at < killed - 1.2), default=0)
    assert seen > 0
    assert len(said[1]) >= seen
    assert said[1] == program.out.decode()[: len(said[1])]


def test_a_reader_that_leaves_ends_it_quietly(db, chat_server, store):
    """``ask | head`` says nothing and leaves no traceback; what came is kept."""
    server = chat_server(answer(*(f"line {n}\n" for n in range(500)), delay=0.005))
    with Program(db, "ask", "-s", "x", "hi", **variables(server)) as program:
        program.wait_for("line 0\n")
        program.hang_up()
        code, _, err = program.wait()
    assert code == 141
    assert err == ""
    (_, said) = stored(store, "x")
    assert said[1].startswith("line 0\n")
    assert said[2] == "interrupted"


def test_a_session_deleted_meanwhile_keeps_the_answer_elsewhere(ask, chat_server, store):
    """What was said in a session that somebody deleted is in a recovered one, and that is told."""

    def deletes(_request):
        store.delete("x")
        return answer("still here")

    ran = ask(chat_server(answer("one"), deletes), "--json", "-s", "x", "first")
    ran = ask(chat_server(deletes), "--json", "-s", "x", "second")
    assert ran.code == 0
    assert "deleted during the turn" in ran.err
    assert ran.json["session"] != "x"
    assert stored(store, ran.json["session"])[-1] == ("assistant", "still here", "complete")


def test_an_expired_session_begins_afresh_and_says_so(ask, chat_server, db):
    """The old messages of an expired session are gone, one line tells it, and the new ones are there."""
    from datetime import UTC, datetime

    with open_store(db, ttl=60, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as old:
        old.append("x", {"role": "user", "content": "long ago"})
    server = chat_server(answer("hello"))
    ran = ask(server, "-s", "x", "hi")
    assert (ran.code, ran.out) == (0, "hello\n")
    assert "had expired" in ran.err
    assert [m["content"] for m in server.chats()[0]["messages"]] == ["hi"]


def test_a_store_that_cannot_be_written_is_exit_3(ask, chat_server, tmp_path):
    """A store that is no store is told, and nobody is asked."""
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0 but not ours" * 100)
    server = chat_server()
    ran = ask(server, "hi", store=tmp_path / "other.db")
    assert ran.code == 3
    assert not server.chats()


# On a terminal.


def test_an_answer_on_a_terminal_is_laid_out_once(person, chat_server):
    """A person sees Markdown laid out, once, and nothing of what moved while it came."""
    text = "# Head\n\nSome **strong** text.\n\n- one\n- two\n\n```\ncode\n```\n\nEnd."
    pieces = [text[i : i + 4] for i in range(0, len(text), 4)]
    with person("ask", "hi", **variables(chat_server(answer(*pieces, delay=0.01)))) as seen:
        assert seen.wait() == 0
        lines = [line.strip() for line in seen.shown.splitlines() if line.strip()]
    assert lines == ["Head", "Some strong text.", "• one", "• two", "code", "End."]


def test_a_small_window_that_changes_its_size_loses_nothing(person_at_pty, chat_server):
    """Every line of a long answer is there once, on six rows, though the window shrinks meanwhile."""
    lines = [f"- item number {n} of a list" for n in range(60)]
    text = "\n".join(lines) + "\n\n```\n" + "\n".join(f"code {n};" for n in range(60)) + "\n```\n"
    pieces = [text[i : i + 12] for i in range(0, len(text), 12)]
    server = chat_server(answer(*pieces, delay=0.004))
    with person_at_pty("ask", "hi", columns=60, rows=6, **variables(server)) as seen:
        seen.wait_for("item number 9 ")
        seen.resize(45, 6)
        assert seen.wait() == 0
        shown = seen.shown
    assert [shown.count(f"item number {n} ") for n in range(60)] == [1] * 60
    assert [shown.count(f"code {n};") for n in range(60)] == [1] * 60


def test_ctrl_c_on_a_terminal_keeps_what_came(person_at_pty, chat_server, store):
    """The answer so far stays on the screen, and in the store, marked interrupted."""
    with person_at_pty(
        "ask", "-s", "x", "hi", **variables(chat_server(stall("part of it")))
    ) as seen:
        seen.wait_for("part of it")
        seen.send("\x03")
        assert seen.wait() == 130
        assert (
            seen.shown.split() == ["part", "of", "it", "interrupted"] or "interrupted" in seen.shown
        )
        assert seen.shown.count("part of it") == 1
    assert stored(store, "x")[-1] == ("assistant", "part of it", "interrupted")


def test_a_closed_window_keeps_what_came(person_at_pty, chat_server, store):
    """When the terminal goes away in the middle of an answer, what came is stored."""
    server = chat_server(stall("part of it"))
    with person_at_pty("ask", "-s", "x", "hi", **variables(server)) as seen:
        seen.wait_for("part of it")
        seen.hang_up()
        assert seen.wait() != 0
    assert stored(store, "x")[-1] == ("assistant", "part of it", "interrupted")


def test_keys_typed_into_an_answer_do_not_disturb_it(person_at_pty, chat_server):
    """What is typed while the answer comes is not shown in it."""
    pieces = [f"word{n} " for n in range(40)]
    server = chat_server(answer(*pieces, delay=0.01))
    with person_at_pty("ask", "hi", **variables(server)) as seen:
        seen.wait_for("word3 ")
        seen.send("zzz\r")
        assert seen.wait() == 0
        assert seen.shown.split() == "".join(pieces).split()


def test_hostile_answers_reach_no_terminal(person, chat_server, store):
    """Escape sequences of a model are shown as signs, and stored as they were."""
    evil = "a\x1b]0;owned\x07b\x1b[31mc\u202ed"
    with person("ask", "-s", "x", "hi", **variables(chat_server(answer(evil)))) as seen:
        assert seen.wait() == 0
        assert b"\x1b]0" not in seen.raw
        assert b"\x1b[31m" not in seen.raw
        assert "\u202e".encode() not in seen.raw
    assert stored(store, "x")[-1][1] == evil


def test_ask_is_light(db):
    """Refusing a question loads neither the model library nor rich."""
    code = (
        "import sys\nfrom omniagent_cli.cli import main\nmain(['ask'])\n"
        "print([m for m in ('openai', 'rich', 'prompt_toolkit') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(db, PYTHONPATH=os.pathsep.join(sys.path)),
        check=True,
    )
    assert ran.stdout == b"[]\n"
