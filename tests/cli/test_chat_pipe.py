"""`omniagent chat` without a terminal on stdin: each line a turn, the answers on stdout."""

import contextlib
import signal
import subprocess

import pytest

from omniagent_cli.cli.framework.exits import raised_on
from tests.cli.asking import Program, variables
from tests.servers.chat_server import answer, cut, stall, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


def texts(store, session_id):
    return [(message.role, message.text, message.status) for message in store.messages(session_id)]


def test_each_line_is_a_turn(program, chat_server, store):
    """Answers come in order on stdout, blank lines are no turns, and both turns are in one session."""
    server = chat_server(answer("A"), answer("B\n"))
    ran = program("chat", "-s", "x", stdin=b"a\n\n   \nb", **variables(server))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"A\nB\n", b"")
    assert [text for _, text, _ in texts(store, "x")] == ["a", "A", "b", "B\n"]
    assert [m["content"] for m in server.chats()[1]["messages"]] == ["a", "A", "b"]


def test_words_that_leave(program, chat_server, store):
    """exit, quit and q alone on a line leave; in a sentence they are said."""
    for word in (b"exit", b"quit", b" q "):
        server = chat_server()
        ran = program(
            "chat", "-s", "x", stdin=b"how do I quit vi\n" + word + b"\nlost\n", **variables(server)
        )
        assert ran.returncode == 0
        assert len(server.chats()) == 1


def test_a_turn_that_fails_is_told_and_the_rest_goes_on(program, chat_server, store):
    """Each failing line has its error line; the exit code is that of the worst."""
    server = chat_server(answer("one"), status(401), cut("part"), answer("four"))
    ran = program("chat", "-s", "x", stdin=b"a\nb\nc\nd\n", **variables(server))
    assert ran.returncode == 3
    assert ran.stdout == b"one\npart\nfour\n"
    assert ran.stderr.count(b"omniagent: error: ") == 2
    assert texts(store, "x") == [
        ("user", "a", "complete"),
        ("assistant", "one", "complete"),
        ("user", "b", "failed"),
        ("user", "c", "complete"),
        ("assistant", "part", "failed"),
        ("user", "d", "complete"),
        ("assistant", "four", "complete"),
    ]
    server = chat_server(status(401), answer("two"))
    assert program("chat", "-s", "y", stdin=b"a\nb\n", **variables(server)).returncode == 1


def test_a_chat_of_its_own_is_gone_on_with(program, chat_server, store):
    """Without -s a chat gets a session, and -c finds it again."""
    assert program("chat", stdin=b"a\n", **variables(chat_server())).returncode == 0
    assert program("chat", "-c", stdin=b"b\n", **variables(chat_server())).returncode == 0
    (summary,) = store.list()
    assert summary.message_count == 4


def test_an_empty_chat_makes_nothing(program, chat_server, db):
    """A session comes into being with its first message."""
    assert program("chat", "-s", "x", stdin=b"\n\n", **variables(chat_server())).returncode == 0
    assert not db.exists()


def test_an_ephemeral_chat_remembers_while_it_lasts(program, chat_server, db):
    """--ephemeral sends what was said before and leaves nothing behind."""
    server = chat_server(answer("A"), answer("B"))
    ran = program("chat", "--ephemeral", stdin=b"a\nb\n", **variables(server))
    assert ran.stdout == b"A\nB\n"
    assert [m["content"] for m in server.chats()[1]["messages"]] == ["a", "A", "b"]
    assert not db.exists()


def test_recall_chats_without_key_and_network(program, store):
    """With no key and no network a chat works, offline and at once."""
    ran = program("chat", "-s", "x", stdin=b"My cat is called Tom\nWhat is my cat called?\n")
    assert ran.returncode == 0
    assert b"Tom" in ran.stdout.splitlines()[-1]
    assert ran.stderr.count(b"using recall") == 1
    assert store.count_messages("x") == 4


def test_an_answer_comes_before_the_next_line_is_there(db, chat_server):
    """A program can talk with it: an answer is written at once, not at the end."""
    with Program(
        db, "chat", "-s", "x", stdin=subprocess.PIPE, **variables(chat_server())
    ) as program:
        for word in ("one", "two"):
            program.say(word)
            program.wait_for(f"You said: {word}\n")
        code, out, _ = program.wait()
    assert (code, out) == (0, "You said: one\nYou said: two\n")


def test_an_interrupt_stops_the_turn_and_the_chat(db, chat_server, store):
    """Ctrl-C in a turn keeps what came; no further line is said."""
    server = chat_server(answer("one"), stall("part"))
    with Program(db, "chat", "-s", "x", stdin=subprocess.PIPE, **variables(server)) as program:
        program.say("a\nb\nc")
        program.wait_for("part")
        program.signal(signal.SIGINT)
        code, out, _ = program.wait()
    assert (code, out) == (130, "one\npart\n")
    assert texts(store, "x")[-1] == ("assistant", "part", "interrupted")
    assert len(server.chats()) == 2


def test_an_interrupt_between_turns_is_130(db, chat_server, store):
    """Ctrl-C while it waits for a line ends it; everything said is stored."""
    with Program(
        db, "chat", "-s", "x", stdin=subprocess.PIPE, **variables(chat_server())
    ) as program:
        program.say("a")
        program.wait_for("You said: a\n")
        program.signal(signal.SIGINT)
        code, _, err = program.wait()
    assert code == 130
    assert "Traceback" not in err
    assert store.count_messages("x") == 2


def test_a_dropped_interrupt_is_raised_at_the_end():
    """An interrupt in a place where Python drops exceptions still ends the command."""
    dropped = contextlib.suppress(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt), raised_on(signal.SIGINT, KeyboardInterrupt), dropped:
        signal.raise_signal(signal.SIGINT)


def test_a_session_deleted_between_turns_begins_again(program, chat_server, store):
    """A turn in a session that went meanwhile is kept in a new one, where the next turn goes too."""

    def deletes(_request):
        store.delete("x")
        return answer("two")

    server = chat_server(answer("one"), deletes, answer("three"))
    ran = program("chat", "-s", "x", stdin=b"a\nb\nc\n", **variables(server))
    assert ran.returncode == 0
    assert b"was deleted during the turn" in ran.stderr
    (summary,) = store.list()
    assert summary.id != "x"
    assert [text for _, text, _ in texts(store, summary.id)][-2:] == ["c", "three"]


def test_picking_needs_a_terminal(program, store):
    """--pick without a terminal, or beside another way to name a session, is one line and exit 2."""
    for more in ((), ("-s", "x"), ("-c",), ("--ephemeral",)):
        ran = program("chat", "--pick", *more, stdin=b"a\n")
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert ran.stderr.count(b"\n") == 1
        assert b"--pick" in ran.stderr
