"""Slash commands, titles and context use in an editor."""

import asyncio

import pytest
from acp import RequestError
from acp.helpers import embedded_text_resource, resource_block, text_block

from omniagent_cli import open_store
from omniagent_cli.adapters.acp.host import SavedText
from omniagent_cli.agent.context.window import Window
from omniagent_cli.models import Message
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.adapters.acp_editor import ScriptedHost, editing

COUNTED = Say("four", usage={"input_tokens": 1_000, "output_tokens": 20})


def replies(host, *prompts):
    """Send prompts to a new session; return its id, the reply or error of each, and the editor."""

    async def work():
        async with editing(host) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            found = []
            for prompt in prompts:
                before = len(editor.texts())
                try:
                    await agent.prompt(session_id=new.session_id, prompt=[text_block(prompt)])
                except RequestError as error:
                    found.append(f"error: {error}")
                else:
                    found.append(editor.texts()[before:])
            return new.session_id, found, editor

    return asyncio.run(work())


def texts(store, session_id):
    return [message.text for message in store.messages(session_id)]


def test_the_commands_are_announced(store):
    """An editor receives the names, descriptions and hints of the commands."""

    async def work():
        async with editing(ScriptedHost(store)) as (agent, editor):
            await agent.new_session(cwd="/project")
            await editor.until("available_commands_update")
            return editor.of("available_commands_update")[0].available_commands

    commands = asyncio.run(work())
    hints = {each.name: each.input.root.hint if each.input else None for each in commands}
    assert hints == {
        "title": "title",
        "tag": "+tag -tag",
        "model": "model",
        "compact": "what to keep",
        "undo": None,
        "redo": None,
        "retry": None,
        "continue": None,
        "usage": None,
    }
    assert all(each.description for each in commands)


def test_title_shows_and_sets_the_title_and_the_editor_learns_it(store):
    """The title of a session with messages is set and reported as an update."""
    own_id, found, editor = replies(
        ScriptedHost(store, "yes"), "/title tea", "hello", "/title", "/title  Green tea ", "/title"
    )
    empty = "error: the session has no messages yet"
    assert found == [empty, "yes", "hello", "Green tea", "Green tea"]
    assert store.summary(own_id).title == "Green tea"
    titles = [update.title for update in editor.of("session_info_update")]
    assert titles == ["hello", "hello", "Green tea", "Green tea"]


def test_the_first_words_are_the_title_of_a_failed_turn_too(store):
    """The editor learns the title after each turn, also if the model failed."""
    _, found, editor = replies(ScriptedHost(store, Say(raises=OSError("broken"))), "Where is Oslo?")
    assert found[0].startswith("error: ")
    (update,) = editor.of("session_info_update")
    assert update.title == "Where is Oslo?"
    assert update.updated_at


def test_a_title_written_by_a_model_reaches_the_editor(store):
    """A title that arrives after the turn is sent when it is stored."""
    host = ScriptedHost(store, "yes", titles=ScriptedModel("About Oslo"))

    async def work():
        async with editing(host) as (agent, editor):
            new = await agent.new_session(cwd="/project")
            await agent.prompt(session_id=new.session_id, prompt=[text_block("Where is Oslo?")])
            await editor.until("session_info_update", lambda update: update.title == "About Oslo")

    asyncio.run(work())


def test_context_use_is_sent_if_the_window_has_a_token_budget(store):
    """Used and total tokens are sent after each turn; without a budget the size is unknown and nothing is sent."""
    _, _, editor = replies(ScriptedHost(store, COUNTED, window=Window(max_tokens=8_000)), "2+2?")
    assert [(update.used, update.size) for update in editor.of("usage_update")] == [(1_020, 8_000)]
    _, _, editor = replies(ScriptedHost(store, COUNTED), "2+2?")
    assert editor.of("usage_update") == []


def test_tags_are_shown_added_and_removed(store):
    """Tags take the signs of the command line."""
    own_id, found, _ = replies(
        ScriptedHost(store, "yes"), "hello", "/tag", "/tag +work +old", "/tag -old", "/tag work"
    )
    assert found[1:4] == ["The session has no tags", "old, work", "work"]
    assert found[4].startswith("error: 'work' has no sign")
    assert store.summary(own_id).tags == ["work"]


def test_the_model_is_shown_and_changed_and_the_session_is_pinned_to_it(store):
    """Another model answers from then on; the selector of the editor follows and the terminal resumes with it."""
    own_id, found, editor = replies(
        ScriptedHost(store, "by the first"), "hello", "/model", "/model scripted:other", "again"
    )
    assert found == ["by the first", "scripted:model", "Switched to scripted:other", "by the other"]
    (update,) = editor.of("config_option_update")
    assert update.config_options[0].current_value == "scripted:other"
    assert store.header(own_id).model == "scripted:other"


def test_compact_summarizes_the_older_part(store):
    """The reply names what was summarized; a session without older messages is an error."""
    script = ["one", "two", "three", "what it was about"]
    own_id, found, _ = replies(
        ScriptedHost(store, *script), "a", "/compact", "b", "c", "/compact keep names"
    )
    assert found[1].startswith("error: nothing to compact")
    assert found[4].startswith("Summarized ")
    assert store.last_summary(own_id)["text"] == "what it was about"


def test_undo_removes_turns_and_redo_restores_them_in_order(store):
    """Each undo removes one turn, each redo restores the last removed one; a new turn ends it."""
    own_id, found, _ = replies(
        ScriptedHost(store, "A", "B", "C"),
        *("a", "b", "/undo", "/undo", "/undo", "/redo", "/redo", "/redo"),
        *("/undo", "c", "/redo"),
    )
    removed = "Removed 2 messages from the session. /redo restores them"
    nothing = "error: nothing to redo; to see all removed messages: omniagent sessions trash"
    assert found[2:5] == [removed, removed, "error: nothing to undo: this session has no question"]
    assert found[5:8] == ["Restored 2 messages", "Restored 2 messages", nothing]
    assert found[8:] == [removed, "C", nothing]
    assert texts(store, own_id) == ["a", "A", "c", "C"]


def test_undo_without_a_trash_says_that_it_is_final(tmp_path):
    """With a trash that keeps nothing, undo does not promise a redo."""
    with open_store(tmp_path / "sessions.db", ttl=None, trash_ttl=0) as store:
        _, found, _ = replies(ScriptedHost(store, "A"), "a", "/undo", "/redo")
    assert found[1] == "Removed 2 messages for good, because sessions.trash_ttl is 0"
    assert found[2].startswith("error: nothing to redo")


def test_retry_answers_the_last_question_again(store):
    """The answer is replaced and the question is kept, once."""
    own_id, found, _ = replies(ScriptedHost(store, "wrong", "right"), "/retry", "a", "/retry")
    assert found == ["error: nothing to retry: this session has no question", "wrong", "right"]
    assert texts(store, own_id) == ["a", "right"]


def test_continue_extends_an_answer_that_was_cut(store):
    """The answer stays one message; a complete one is an error."""
    own_id, found, _ = replies(
        ScriptedHost(store, Say("one two", reason="length"), " three"),
        "count",
        "/continue",
        "/continue",
    )
    assert found == ["one two", " three", "error: nothing to continue: the last answer is complete"]
    assert texts(store, own_id) == ["count", "one two three"]


def test_continue_leaves_an_answer_that_another_program_writes(store):
    """An answer without a recorded end is not continued while it may still be written."""
    store.append("s", {"role": "user", "content": "x", "turn_id": "t", "id": "t"})
    store.append(
        "s", {"role": "assistant", "content": "y", "turn_id": "t", "status": "interrupted"}
    )

    async def work():
        async with editing(ScriptedHost(store, "z")) as (agent, _):
            await agent.resume_session(cwd="/project", session_id="s")
            with pytest.raises(RequestError, match="another program may still be writing"):
                await agent.prompt(session_id="s", prompt=[text_block("/continue")])

    asyncio.run(work())
    assert texts(store, "s") == ["x", "y"]


def test_undo_and_retry_leave_the_turns_of_other_programs(store):
    """The last turn of the editor is removed or repeated, not a later one of the terminal."""

    async def work():
        async with editing(ScriptedHost(store, "A", "B")) as (agent, _):
            own_id = (await agent.new_session(cwd="/project")).session_id
            await agent.prompt(session_id=own_id, prompt=[text_block("a")])
            with open_store(store.url) as terminal:
                terminal.append(own_id, [Message("user", "t"), Message("assistant", "T")])
            seen = []
            for command in ("/retry", "/undo", "/redo"):
                await agent.prompt(session_id=own_id, prompt=[text_block(command)])
                seen.append(texts(store, own_id))
            return seen

    assert asyncio.run(work()) == [["a", "t", "T", "B"], ["t", "T"], ["a", "t", "T", "B"]]


def test_usage_sums_tokens_and_cost(store):
    """Tokens of the session and of the last turn are shown, with their cost if the model has a price."""
    prices = {"scripted:model": {"input": 1.0, "output": 10.0}}
    host = ScriptedHost(store, COUNTED, COUNTED, prices=prices)
    _, found, _ = replies(host, "/usage", "a", "b", "/usage")
    assert found[0] == "No token counts in this session"
    assert found[3] == (
        "Session: 2,000 tokens in, 40 out, $0.0024\n\nLast turn: 1,000 tokens in, 20 out, $0.0012"
    )


def test_a_saved_prompt_is_sent_with_its_model_system_prompt_and_attachments(store):
    """A saved prompt is announced and sent as a message; a built-in command of its name wins."""
    host = ScriptedHost(store, "plain")
    host.saved = {
        "review": lambda text: SavedText(f"Review: {text}", "Be strict.", "scripted:other"),
        "undo": lambda _: SavedText("never sent"),
        "role": lambda _: SavedText("", "Be kind."),
    }

    async def work():
        async with editing(host) as (agent, editor):
            own_id = (await agent.new_session(cwd="/project")).session_id
            await editor.until("available_commands_update")
            file = resource_block(embedded_text_resource("file:///p/a.py", "print(1)"))
            await agent.prompt(session_id=own_id, prompt=[text_block("/review it"), file])
            reviewed = editor.texts()
            await agent.prompt(session_id=own_id, prompt=[text_block("/role")])
            await agent.prompt(session_id=own_id, prompt=[text_block("next")])
            (announced,) = editor.of("available_commands_update")
            return own_id, reviewed, announced.available_commands

    own_id, reviewed, announced = asyncio.run(work())
    assert [(c.name, c.description) for c in announced[9:]] == [
        ("review", "about review in /project"),
        ("role", "about role in /project"),
    ]
    assert reviewed == "by the other"
    question = texts(store, own_id)[0]
    assert "Review: it" in question
    assert "print(1)" in question
    assert host.engines[0].requests[0][0] == {"role": "system", "content": "Be kind."}


def test_other_texts_that_begin_with_a_slash_are_messages(store):
    """A path or an unknown command is sent to the model."""
    own_id, found, _ = replies(ScriptedHost(store, "a directory", "what?"), "/etc", "/nothing x")
    assert found == ["a directory", "what?"]
    assert texts(store, own_id)[::2] == ["/etc", "/nothing x"]


def test_a_command_is_canceled_and_excludes_a_turn(store):
    """A summary that is being written can be canceled; it changes nothing."""
    host = ScriptedHost(store, "A", "B", "C", Say("sum", hang=True))

    async def work():
        async with editing(host) as (agent, _):
            new = await agent.new_session(cwd="/project")
            own = new.session_id
            for text in "abc":
                await agent.prompt(session_id=own, prompt=[text_block(text)])
            running = asyncio.create_task(
                agent.prompt(session_id=own, prompt=[text_block("/compact")])
            )
            async with asyncio.timeout(20):
                while len(host.engines[0].requests) < 4:
                    await asyncio.sleep(0.001)
            with pytest.raises(RequestError, match="already running"):
                await agent.prompt(session_id=own, prompt=[text_block("d")])
            await agent.cancel(session_id=own)
            return own, (await running).stop_reason

    own_id, reason = asyncio.run(work())
    assert reason == "cancelled"
    assert texts(store, own_id) == ["a", "A", "b", "B", "c", "C"]
    assert store.last_summary(own_id) is None
