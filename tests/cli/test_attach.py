"""`-a FILE`: what goes over the wire, what is on disk, and what comes out of the store again."""

import hashlib
import json
import os
import signal
import subprocess
from base64 import b64encode

import pytest

from omniagent_cli.stores import open_store
from tests.cli.asking import Program, variables
from tests.servers.chat_server import answer, stall, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PDF = b"%PDF-1.7\n\xe2\xe3\n%%EOF\n"
SHA = hashlib.sha256(PNG).hexdigest()
CODE = b64encode(PNG).decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODE}"}}


@pytest.fixture
def ask(run, monkeypatch, tmp_path):
    """Ask in this process with a server that answers, in a directory with files to attach."""
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "a.pdf").write_bytes(PDF)
    (tmp_path / "notes.txt").write_text("buy milk\n")

    def ask(server, *argv, **options):
        for name, value in variables(server).items():
            monkeypatch.setenv(name, value)
        return run("ask", *argv, **options)

    return ask


def test_pictures_and_pdfs_are_sent_as_parts(ask, chat_server, tmp_path):
    """The model is sent one text with the words and text files, then pictures and PDFs as the protocol has them."""
    server = chat_server()
    ran = ask(server, "What", "is", "this?", "-a", "cat.png", "-a", "notes.txt", "-a", "a.pdf")
    assert (ran.code, ran.err) == (0, "")
    (message,) = server.chats()[0]["messages"]
    assert message["content"] == [
        {"type": "text", "text": "What is this?\n\nnotes.txt:\n```txt\nbuy milk\n```"},
        IMAGE,
        {
            "type": "file",
            "file": {
                "filename": "a.pdf",
                "file_data": f"data:application/pdf;base64,{b64encode(PDF).decode()}",
            },
        },
    ]


def test_a_picture_alone_is_a_question(ask, chat_server, store):
    """Nothing has to be said beside a picture; it gives the session its title."""
    server = chat_server()
    assert ask(server, "-s", "x", "-a", "cat.png").code == 0
    assert server.chats()[0]["messages"][0]["content"] == [IMAGE]
    assert store.summary("x").title == "[image: cat.png]"


def test_the_question_is_on_disk_with_its_picture_before_the_model_answers(
    db, chat_server, tmp_path
):
    """Killed while the model is silent, a turn loses neither words nor picture, and the next turn sends both."""
    (tmp_path / "cat.png").write_bytes(PNG)
    server = chat_server(stall("so"), answer("a cat"))
    argv = ("ask", "-s", "x", "-a", str(tmp_path / "cat.png"), "What is this?")
    with Program(db, *argv, **variables(server)) as program:
        program.wait_for("so")
        program.signal(signal.SIGKILL)
        assert program.wait()[0] == -signal.SIGKILL
    with open_store(db) as store:
        assert store.messages("x")[0].text == "What is this?\n[image: cat.png]"
        assert store.attachment("x", SHA)["data"] == CODE
    with Program(db, "ask", "-s", "x", "Well?", **variables(server)) as program:
        program.wait_for("a cat")
        program.wait()
    assert IMAGE in server.chats()[-1]["messages"][0]["content"]


def test_the_data_of_a_picture_is_shown_nowhere(ask, run, chat_server, store):
    """Lists, messages, search, titles and exports to read name a picture and leave its data out."""
    ask(chat_server(answer("a cat")), "-s", "x", "-a", "cat.png", "What is this?")
    shown = [
        run("sessions", "show", "x").out,
        run("sessions", "show", "x", "--json").out,
        run("sessions", "list", "--json").out,
        run("sessions", "search", "cat.png").out,
        run("sessions", "export", "x", "--format", "markdown").out,
        run("sessions", "export", "x", "--format", "text").out,
    ]
    assert not [text for text in shown if CODE in text or "base64" in text]
    assert "[image: cat.png]" in shown[0]
    assert f"attachment:sha256:{SHA}" in shown[1]
    assert "[image: cat.png]" in shown[3]
    assert r"*\[image: cat.png, 16 bytes\]*" in shown[4]
    assert "    [image: cat.png, 16 bytes]\n" in shown[5]


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_an_export_brings_its_attachments_along(ask, run, chat_server, tmp_path, form):
    """What was exported and imported is equal, and the next turn sends the picture from there."""
    server = chat_server(answer("a cat"), answer("yes"))
    ask(server, "-s", "x", "-a", "cat.png", "-a", "a.pdf", "What is this?")
    run("sessions", "export", "x", "--format", form, "-o", "out")
    other = tmp_path / "logs"
    other.mkdir()
    assert run("sessions", "import", "out", store=other).code == 0
    assert run("sessions", "import", "out", store=other).code == 0
    again = run("sessions", "export", "x", "--format", form, store=other).out
    assert again == (tmp_path / "out").read_text()
    assert ask(server, "-s", "x", "Sure?", store=other).out == "yes\n"
    assert IMAGE in server.chats()[-1]["messages"][0]["content"]


def test_an_openai_export_holds_the_data_and_comes_back(ask, run, chat_server, store, tmp_path):
    """A fine-tuning file has data URLs; imported, they are kept apart again; redacted, they are left out."""
    ask(chat_server(answer("a cat")), "-s", "x", "-a", "cat.png", "What is this?")
    out = run("sessions", "export", "x", "--format", "openai")
    said = [{"type": "text", "text": "What is this?"}, IMAGE]
    assert out.json["messages"][0] == {"role": "user", "content": said}
    (tmp_path / "in.jsonl").write_text(out.out)
    for _ in range(2):
        assert run("sessions", "import", "in.jsonl", "--as", "y", "--format", "openai").code == 0
    assert store.attachments("y") == [SHA]
    assert CODE not in repr(store.messages("y"))
    assert run("sessions", "export", "y", "--format", "openai").out == out.out
    redacted = run("sessions", "export", "x", "--format", "openai", "--redact")
    assert "left out" in redacted.json["messages"][0]["content"]


def test_migration_and_encryption_keep_them(ask, run, chat_server, db, tmp_path):
    """A migrated store, and one that is encrypted where it is, send the picture as before."""
    server = chat_server(*(answer("a cat") for _ in range(3)))
    ask(server, "-s", "x", "-a", "cat.png", "What is this?")
    other = tmp_path / "other"
    other.mkdir()
    assert run("store", "migrate", str(db), str(other), store=None).code == 0
    assert ask(server, "-s", "x", "Sure?", store=other).code == 0
    assert run("store", "encrypt", "--generate-key", "k", store=other).code == 0
    assert PNG not in b"".join(path.read_bytes() for path in other.rglob("*") if path.is_file())
    os.environ["OMNIAGENT_ENCRYPTION_KEY_FILE"] = str(tmp_path / "k")
    try:
        assert ask(server, "-s", "x", "Still?", store=other).code == 0
    finally:
        del os.environ["OMNIAGENT_ENCRYPTION_KEY_FILE"]
    for chat in server.chats():
        assert IMAGE in chat["messages"][0]["content"]


@pytest.mark.parametrize("command", ["ask", "chat"])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("pipe", os.mkfifo),
        ("folder", os.mkdir),
        ("none", lambda _: None),
        ("/dev/zero", lambda _: None),
        ("program", lambda path: path.write_bytes(b"\x7fELF\0")),
        ("large", lambda path: path.write_bytes(b"x" * 1_000_001)),
    ],
)
def test_what_cannot_be_attached_is_one_line_and_exit_2(run, tmp_path, db, command, name, make):
    """Nothing hangs, nothing is asked, nothing is made."""
    make(tmp_path / name)
    ran = run(command, "-a", name, *(["hi"] if command == "ask" else []), stdin=b"hi\n")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"omniagent: error: cannot attach '{name}': ")
    assert len(ran.err.splitlines()) == 1
    assert not db.exists()


def test_a_refused_picture_is_told_in_one_line(ask, chat_server, store):
    """A model without eyes answers 400 (or 500, as local servers do); one line says how to go on."""
    server = chat_server(
        status(400, "Invalid content type. image_url is only supported by certain models."),
        status(500, "image input is not supported - hint: you may need to provide the mmproj"),
    )
    for session_id in ("x", "y"):
        ran = ask(server, "-s", session_id, "-a", "cat.png", "What is this?")
        assert ran.code == 1
        assert len(ran.err.splitlines()) == 1
        assert (
            "the request had 1 image, which openai:fake-1 may not support: choose another model"
            in ran.err
        )
        assert store.attachments(session_id) == [SHA]
    assert len(server.chats()) == 2  # nobody asks again what cannot work


def test_attachments_of_a_chat_go_with_its_first_line(program, chat_server, tmp_path):
    """`chat -a` without a terminal: the first turn has the files, the second only sees them in its history."""
    (tmp_path / "cat.png").write_bytes(PNG)
    server = chat_server()
    ran = program("chat", "-s", "x", "-a", "cat.png", stdin=b"What?\nSure?\n", **variables(server))
    assert ran.returncode == 0
    first, second = server.chats()
    assert first["messages"][0]["content"] == [{"type": "text", "text": "What?"}, IMAGE]
    assert second["messages"][0]["content"] == first["messages"][0]["content"]
    assert second["messages"][2]["content"] == "Sure?"


def test_an_ephemeral_question_takes_a_picture(ask, chat_server, db):
    """What is kept nowhere is sent all the same."""
    server = chat_server()
    assert ask(server, "--ephemeral", "-a", "cat.png", "What?").code == 0
    assert IMAGE in server.chats()[0]["messages"][0]["content"]
    assert not db.exists()


def test_a_path_in_a_question_is_only_a_path(ask, chat_server, tmp_path):
    """Nothing is attached that nobody asked for."""
    server = chat_server()
    ask(server, "What", "is", str(tmp_path / "cat.png"))
    assert server.chats()[0]["messages"][0]["content"] == f"What is {tmp_path}/cat.png"


def test_a_file_named_after_a_dash_completes_in_the_shell():
    """-a takes files, in both commands."""
    from omniagent_cli.complete.table import TABLE

    for command in ("ask", "chat"):
        kinds = {names: kind for names, kind, *_ in TABLE[command][1]}
        assert kinds["--attach", "-a"] == "file"


def test_json_of_a_session_is_json(ask, run, chat_server):
    """A part with a reference is read by whoever knows the published shape alone."""
    ask(chat_server(answer("a cat")), "-s", "x", "-a", "cat.png", "What?")
    shown = json.loads(run("sessions", "show", "x", "--json").out)
    part = shown["messages"][0]["content"][1]
    assert (part["type"], sorted(part["image_url"])) == ("image_url", ["url"])


def test_a_process_substitution_is_no_file(db, chat_server):
    """A pipe in the place of a file is told at once, also when somebody writes to it."""
    with Program(
        db, "ask", "-a", "/dev/stdin", "hi", stdin=subprocess.PIPE, **variables(chat_server())
    ) as program:
        code, _, err = program.wait()
    assert code == 2
    assert "it is a pipe; pass it on stdin" in err
