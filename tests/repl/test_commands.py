"""Slash commands, typed into the real loop."""

from __future__ import annotations

import json
import re

import pytest

from omniagent_cli.errors import ModelUnreachable
from omniagent_cli.formats.file_names import file_name
from omniagent_cli.models import Message
from omniagent_cli.repl.commands import commands
from omniagent_cli.stores import open_store
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.repl.talk import Talk


def test_lines_become_turns(talk: Talk) -> None:
    """Each line is a turn of the session, and its answer is shown."""
    shown = talk.chat("hello", "how are you")
    assert talk.texts() == ["hello", "answer 1", "how are you", "answer 2"]
    assert "answer 2" in shown
    assert talk.code == 0


@pytest.mark.parametrize("word", ["exit", "quit", "q", " q ", "/quit", "/exit"])
def test_words_that_leave(talk: Talk, word: str) -> None:
    """exit, quit and q alone leave, and are no message."""
    talk.chat(word, "never said")
    assert not talk.store.exists("user-123")


def test_nothing_is_created_by_looking(talk: Talk) -> None:
    """A session comes into being with its first message, not by opening the chat or by commands."""
    talk.chat("/history", "/meta", "/title", "/usage", "/sessions", "/switch nothing", "/new other")
    assert talk.store.count(archived=None) == 0
    assert talk.used == []


def test_a_chat_without_an_id_gets_one_of_its_own(talk: Talk) -> None:
    """Without an id a new session is begun, and how to go on with it is told at the end."""
    shown = talk.chat("hello", session_id=None)
    (summary,) = talk.store.list()
    assert f"omniagent chat -s {summary.id}" in shown
    assert talk.used == [summary.id]


def test_help_lists_every_command(talk: Talk) -> None:
    """/help has a line for each command, and /help NAME its usage."""
    shown = talk.chat("/help", "/help fork")
    assert all(f"/{name}" in shown for name in commands())
    assert "/fork [NEW] [--at N]" in shown
    assert sorted(re.findall(r"^  /(\S+)  ", shown, re.MULTILINE)) == sorted(commands())
    assert "\nSessions\n  /new " in shown


def test_every_command_explains_itself() -> None:
    """Help comes from the function: each has a docstring of one sentence or more, and a usage that parses."""
    for name, found in commands().items():
        assert found.summary.endswith((".", ":")), name
        assert found.usage.startswith(f"/{name}")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/swich x", "did you mean /switch"),
        ("/foobar", "/help lists the commands"),
        ("/trim", "N is missing; usage: /trim N"),
        ("/trim two", "'two' is not a whole number"),
        ("/trim 1 2", "unexpected argument '2'"),
        ("/fork --wrong 3", "--wrong is not an option of this command"),
        ("/fork --at", "--at needs N"),
        ("/switch user", "no session 'user'"),
        ("/switch -", "no previous session"),
        ("/undo", "nothing to undo"),
        ("/retry", "nothing to retry"),
        ("/delete", "has no messages yet"),
        ("/clear", "'user-123' has no messages yet"),
        ("/meta set", "needs an action and a key"),
        ("/meta set k", "needs a value"),
        ("/system @/no/such/file", "cannot read the system prompt"),
        ("/", "unknown command /"),
    ],
)
def test_wrong_commands_get_one_line(talk: Talk, typed: str, told: str) -> None:
    """What cannot be done is told in one line, and the chat goes on."""
    talk.chat(typed, "still here")
    (line,) = [line for line in talk.err.splitlines() if "error:" in line]
    assert told in line
    assert talk.texts()[0] == "still here"


def test_two_slashes_send_one(talk: Talk) -> None:
    """A text that begins with a slash is sent by typing two."""
    talk.chat("//etc/hosts is what?")
    assert talk.texts()[0] == "/etc/hosts is what?"


def test_switch_goes_between_sessions(talk: Talk) -> None:
    """/switch goes on with a session that exists, by the beginning of its id too, and - goes back."""
    talk.store.append("holiday-plans", Message("user", "where to"))
    shown = talk.chat("/switch holi", "to Rome", "/switch -", "/switch holidya-plans")
    assert talk.texts("holiday-plans") == ["where to", "to Rome", "answer 1"]
    assert "did you mean 'holiday-plans'" in shown
    assert not talk.store.exists("user-123")


def test_switch_brings_the_sessions_model(talk: Talk) -> None:
    """A session that another model answered goes on with it."""
    talk.models["scripted:other"] = ScriptedModel("from the other", name="scripted:other")
    talk.store.append("a", Message("user", "hi"))
    talk.store.set_model("a", "scripted:other")
    assert "from the other" in talk.chat("/switch a", "again")


def test_undo_takes_back_the_last_turn(talk: Talk) -> None:
    """/undo takes back a question with its answer; they can be restored."""
    shown = talk.chat("one", "two", "/undo")
    assert talk.texts() == ["one", "answer 1"]
    assert "2 messages undone; /redo restores it" in shown
    talk.store.restore("user-123")
    assert talk.texts() == ["one", "answer 1", "two", "answer 2"]


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (["/undo", "/undo"], []),
        (["/undo", "/redo"], ["one", "answer 1", "two", "answer 2"]),
        (["/undo", "/undo", "/redo"], ["one", "answer 1"]),
        (["/undo", "/undo", "/redo", "/redo", "/redo"], ["one", "answer 1", "two", "answer 2"]),
        (["/undo", "three", "/redo"], ["one", "answer 1", "three", "answer 3"]),
        (["/clear", "/undo", "/undo", "/redo"], ["one", "answer 1", "two", "answer 2"]),
    ],
)
def test_undo_and_redo_go_step_by_step(talk: Talk, typed: list[str], left: list[str]) -> None:
    """Each /undo removes one turn more and each /redo restores one, without a question, until the next turn."""
    shown = talk.chat("one", "two", *typed)
    assert talk.texts() == left
    assert "?" not in shown.replace("/help", "")
    talk.chat("/redo")
    assert "nothing to redo; to see all removed messages: omniagent sessions trash" in talk.err


@pytest.mark.parametrize("taking", ["/clear", "/trim 1", "/delete\ry"])
def test_undo_brings_back_what_a_command_took(talk: Talk, taking: str) -> None:
    """After clear, trim or delete, /undo brings everything back and the chat goes on there."""
    shown = talk.chat("one", "two", taking, "/undo", "three")
    assert talk.texts() == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]
    assert "/undo restores it" in shown


def test_delete_asks(talk: Talk) -> None:
    """Nothing is deleted without a yes."""
    shown = talk.chat("one", "/delete", "", "two")
    assert "Nothing deleted" in shown
    assert len(talk.texts()) == 4


def test_retry_replaces_the_answer(talk: Talk) -> None:
    """/retry asks the last question again; the question is there once, the old answer in the trash."""
    talk.chat("one", "/retry")
    assert talk.texts() == ["one", "answer 2"]
    assert [entry.message_count for entry in talk.store.trash()] == [1]


def test_retry_after_a_failure_does_not_double(talk: Talk) -> None:
    """A question that got no answer is asked again, not stored again."""
    model = ScriptedModel(Say(raises=ModelUnreachable("nobody there")), "now")
    shown = talk.chat("one", "/retry", model=model)
    assert "nobody there" in shown
    assert (
        "The question is saved; /retry sends it again, /model NAME chooses another model" in shown
    )
    assert talk.texts() == ["one", "now"]


def test_retry_with_another_model(talk: Talk) -> None:
    """/retry -m asks another model once; the next turn is the first one's again."""
    talk.models["big"] = ScriptedModel("from big", name="scripted:big")
    talk.chat("one", "/retry -m big", "two")
    assert talk.texts() == ["one", "from big", "two", "answer 2"]


def test_edit_asks_on_a_fork(talk: Talk) -> None:
    """/edit asks an earlier question in other words in a copy; the session stays."""
    talk.chat("one", "two", "/edit 2 two point five")
    assert talk.texts() == ["one", "answer 1", "two", "answer 2"]
    (copy,) = [s.id for s in talk.store.list() if s.id != "user-123"]
    assert talk.texts(copy) == ["one", "answer 1", "two point five", "answer 3"]


def test_edit_offers_the_old_text(talk: Talk) -> None:
    """/edit N without a text puts the old one at the prompt."""
    talk.chat("one", "/edit 0", " more")
    (copy,) = [s.id for s in talk.store.list() if s.id != "user-123"]
    assert talk.texts(copy) == ["one more", "answer 2"]


def test_fork_and_rename(talk: Talk) -> None:
    """/fork goes on in a copy, /rename gives the session another id."""
    talk.chat("one", "two", "/fork copy --at 1", "in the copy", "/rename better")
    assert talk.texts("better") == ["one", "answer 1", "in the copy", "answer 3"]
    assert not talk.store.exists("copy")
    assert talk.used[-1] == "better"


def test_rename_before_the_first_message(talk: Talk) -> None:
    """A session that is not there yet is renamed too, but not onto one that is."""
    talk.store.append("taken", Message("user", "x"))
    shown = talk.chat("/rename taken", "/rename mine", "hello")
    assert "a session already exists: 'taken'" in shown
    assert talk.texts("mine") == ["hello", "answer 1"]


def test_metadata(talk: Talk) -> None:
    """/meta sets JSON or text, shows it, and takes it away."""
    shown = talk.chat(
        "one",
        '/meta set prefs {"a": 1}',
        "/meta set name Al the Cat",
        "/meta",
        "/meta get name",
        "/meta unset prefs",
    )
    assert talk.store.header("user-123").metadata == {"name": "Al the Cat"}
    assert '{"a": 1}' in shown or '{"a":1}' in shown
    assert shown.count("Al the Cat") == 2


def test_title_and_history(talk: Talk) -> None:
    """/title names the session, /history shows the messages with their numbers."""
    shown = talk.chat("one", "/title My plans for May", "/history 1", "/title")
    assert talk.store.summary("user-123").title == "My plans for May"
    assert "assistant · #1" in shown
    assert "The last 1 of 2 messages" in shown


def test_model_changes_default_model(talk: Talk) -> None:
    """/model NAME lets another model answer from now on, also after a restart."""
    talk.models["big"] = ScriptedModel("from big", name="scripted:big")
    shown = talk.chat("one", "/model", "/model big", "two")
    assert talk.texts()[-1] == "from big"
    assert talk.store.header("user-123").model == "scripted:big"
    assert "scripted:model" in shown


def test_system_is_told_first(talk: Talk) -> None:
    """/system TEXT and @FILE change what the model is told first."""
    (talk.home / "prompt.txt").write_text("Speak like a pirate.\n")
    model = ScriptedModel("aye", "yes")
    talk.chat(f"/system @{talk.home}/prompt.txt", "one", "/system Be brief.", "two", model=model)
    assert model.requests[0][0]["content"] == "Speak like a pirate."
    assert model.requests[1][0] == {"role": "system", "content": "Be brief."}


def test_usage_counts_tokens(talk: Talk) -> None:
    """/usage sums the tokens of the session by model."""
    shown = talk.chat("one", "two", "/usage")
    assert "scripted:model" in shown
    assert "20" in shown


def test_search_and_sessions(talk: Talk) -> None:
    """/search finds messages in all sessions, /sessions sessions by id, title and tag."""
    talk.store.append("other", Message("user", "the blue whale"))
    talk.store.tag("other", ["work"])
    shown = talk.chat("/search BLUE whale", "/sessions --tag work", "/sessions zebra")
    assert "\n  user #0 · " in shown
    assert "\n    the blue whale\n" in shown
    assert shown.count("other") >= 2
    assert "No session matches" in shown


def test_hostile_text_is_harmless(talk: Talk) -> None:
    """Control characters in ids, titles, messages and metadata never reach the terminal."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    talk.store.append("e\u202evil", [Message("user", f"hi {evil}"), Message("assistant", evil)])
    talk.store.set_title("e\u202evil", evil)
    talk.store.set_metadata("e\u202evil", "k\x1b[31m", evil)
    shown = talk.chat(
        "/sessions",
        "/search hi",
        "/switch e\u202evil",
        "/history",
        "/meta",
        "/title",
        f"/nope{evil}",
    )
    assert not set("\x1b\x07\u202e") & set(shown)


def test_an_error_of_the_model_is_one_line(talk: Talk) -> None:
    """A turn that fails is told, and the next one works."""
    talk.chat("one", "two", model=ScriptedModel(Say(raises=ModelUnreachable("no one; wait")), "ok"))
    assert "omniagent: error: no one; wait" in talk.err
    assert talk.texts() == ["one", "two", "ok"]


def test_what_others_write_is_shown_before_the_next_turn(talk: Talk) -> None:
    """Messages another process added are shown before the next turn, once, and are sent with it."""
    path = talk.home / "shared.db"
    talk.store.close()
    talk.store = open_store(path)
    other = open_store(path)

    class Interfering(ScriptedModel):
        async def stream(self, *args):
            if len(self.requests) == 1:
                other.append("user-123", Message("user", "from the other terminal"))
            async for event in super().stream(*args):
                yield event

    shown = talk.chat("one", "two", "three", "four", model=Interfering("1", "2", "3", "4"))
    other.close()
    assert shown.count("from the other terminal") == 1
    assert "New messages from another program" in talk.err


def test_a_failing_store_loses_nothing(talk: Talk) -> None:
    """When the store fails in the middle of a turn, it is told and the text is kept in a private file."""

    class Breaking(ScriptedModel):
        async def stream(self, *args):
            async for event in super().stream(*args):
                yield event
                talk.store.close()

    shown = talk.chat("my question", model=Breaking("a long answer"))
    (kept,) = (talk.home / ".local/state/omniagent/recovered").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "my question" in kept.read_text()
    assert "a long answer" in kept.read_text()
    assert str(kept) in shown


def test_an_agent_that_cannot_be_made_ends_the_chat(talk: Talk) -> None:
    """A model that cannot be opened is an error of the command, not of a turn."""

    def refuse(_tell):
        raise ModelUnreachable("the session's model is not there")

    with pytest.raises(ModelUnreachable):
        talk.chat(keys="", open_agent=refuse)


def test_a_bug_keeps_the_words(talk: Talk) -> None:
    """An error nobody foresaw leaves the turn in a file before it goes up."""
    with pytest.raises(ZeroDivisionError):
        talk.chat("one", model=ScriptedModel(Say("partial", raises=ZeroDivisionError())))
    (kept,) = (talk.home / ".local/state/omniagent/recovered").iterdir()
    assert "partial" in kept.read_text()


def test_save_writes_a_private_file(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """/save writes the session to read; the name comes from the id, and nothing is replaced unasked."""
    monkeypatch.chdir(talk.home)
    shown = talk.chat("my words", "/save", "/save", "n", "/save notes.txt", session_id="a/../b c")
    (saved,) = talk.home.glob("*.md")
    assert saved.name == file_name("a/../b c", ".md")
    assert "my words" in saved.read_text()
    assert saved.stat().st_mode & 0o777 == 0o600
    assert (talk.home / "notes.txt").exists()
    assert "Nothing was written" in shown


def test_export_shows_or_writes(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """/export shows the session, made harmless, or writes it to a file in the format of its ending."""
    monkeypatch.chdir(talk.home)
    shown = talk.chat(
        "one", "/export text", "/export out.json", "/export openai o.jsonl", "/export nope"
    )
    assert "answer 1" in shown
    assert json.loads((talk.home / "out.json").read_text())
    assert json.loads((talk.home / "o.jsonl").read_text())["messages"][0]["content"] == "one"
    assert "unknown format 'nope'" in shown


def test_pages_and_tables(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """/save x.html writes a page for browsers, and so does /export html, under the session's name; csv is a table."""
    monkeypatch.chdir(talk.home)
    talk.chat("one", "/save x.HTML", "/export html", "/save t.csv", session_id="mine")
    for name in ("x.HTML", "mine.html"):
        assert (talk.home / name).read_text().startswith("<!DOCTYPE html>")
    assert "answer 1" in (talk.home / "mine.html").read_text()
    assert (talk.home / "t.csv").read_bytes().startswith(b"\xef\xbb\xbfsession,")


@pytest.mark.parametrize("typed", ["/save", "/export", "/save /no/such/dir/x.md"])
def test_nothing_to_write_is_told(talk: Talk, typed: str) -> None:
    """A session without messages, or a place that is not there, is told and leaves no file."""
    talk.chat(typed)
    assert talk.err.count("omniagent: error:") == 1
    assert not list(talk.home.glob("*.md"))
