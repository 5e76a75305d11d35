"""`omniagent sessions export`: which sessions, which messages, and into what; and `sessions show --format`."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess

import pytest
import yaml

from omniagent_cli.stores import open_store
from tests import forked
from tests.cli.scene import environment, talk


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines() if '"omniagent-session"' in line]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def chosen(filled):
    """Sessions that differ in what they can be chosen by."""
    filled.set_metadata("alice", "tags", ["work"])
    filled.set_metadata("bob", "project", "apollo")
    filled.set_metadata("carol", "archived", True)
    return filled


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--all",), {"alice", "bob", "carol"}),
        (("--tag", "work"), {"alice"}),
        (("--meta", "project=apollo"), {"bob"}),
        (("--since", "2000-01-01"), {"alice", "bob"}),
        (("--until", "2000-01-01"), set()),
        (("--archived",), {"carol"}),
        (("--all", "--since", "2000-01-01"), {"alice", "bob", "carol"}),
        (("--all", "--older-than", "1d"), {"alice", "bob", "carol"}),
    ],
)
def test_the_filters_are_those_of_list(run, chosen, words, expected):
    """An export is made of the sessions that `list` shows with the same words."""
    ran = run("sessions", "export", *words)
    assert (ran.code, set(ids(ran.out))) == (0, expected)
    listed = run("sessions", "list", "--ids", *words)
    assert set(listed.lines) == expected
    assert ran.err == ("" if expected else "No session matches\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tag", "x", "alice"), "use either session ids or filters to choose what to export, not both"),
        ((), "no sessions given; name them, or use --all, --tag, --meta or --since"),
        (("--all", "--archived"), "use either --all or --archived, not both"),
        (("--until", "1d", "--older-than", "1d"), "use either --until or --older-than, not both"),
        (("alice", "--only", "robot"), "invalid --only 'robot': must be system, user, assistant or tool"),
        (("alice", "-o", "a.docx"), "unknown file extension '.docx'; use one of .csv, .html, .json, .jsonl, .md, .txt, or give --format"),
        (("--all", "--format", "codex"), "codex holds one session per file; export one, or into a directory: -o DIR/"),
        (("alice", "-o", ""), "-o is empty; give a file, or a directory as DIR/"),
        (("alice", "--front-matter"), "json does not support front matter; use markdown"),
        (("--all", "--front-matter", "--format", "markdown"), "--front-matter needs one session per file; export one session, or into a directory: -o DIR/"),
    ],
)  # fmt: skip
def test_what_contradicts_itself(run, chosen, words, told):
    """Words that do not go together are exit 2 and one line, and nothing is written."""
    ran = run("sessions", "export", *words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_only_some_roles(run, filled):
    """--only takes the messages of the roles it names."""
    ran = run("sessions", "export", "alice", "--format", "csv", "--only", "user")
    rows = list(csv.DictReader(io.StringIO(ran.out.removeprefix("\ufeff"))))
    assert {row["role"] for row in rows} == {"user"}
    both = run(
        "sessions", "export", "alice", "--format", "csv", "--only", "user", "--only", "assistant"
    )
    assert len(both.out.splitlines()) > len(ran.out.splitlines())


def test_a_directory_gets_a_file_for_each_session(run, filled, tmp_path):
    """Every file is private, the names are told and the same each time; what stood there is replaced."""
    ran = run("sessions", "export", "--all", "--format", "html", "-o", "out/deep/")
    folder = tmp_path / "out/deep"
    assert ran.code == 0
    assert ran.err == "Exported 7 messages to 3 files in out/deep\n"
    assert {row[0]: row[1] for row in ran.cells} == {
        name: f"out/deep/{name}.html" for name in ("alice", "bob", "carol")
    }
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "alice.html").stat().st_mode & 0o777 == 0o600
    assert "My name is Alice" in (folder / "alice.html").read_text()
    index = (folder / "index.html").read_text()
    assert all(f'<a href="{name}.html">' in index for name in ("alice", "bob", "carol"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = "sessions", "export", "--all", "--format", "html", "-o", str(folder)
    assert run(*again).code == 0
    (folder / "bob.html").write_text("edited")
    ran = run(*again)
    assert ran.code == 1
    assert f"would replace {folder}/bob.html; use --yes to confirm" in ran.err
    assert (folder / "bob.html").read_text() == "edited"
    assert run(*again, "--yes").code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_of_the_user_is_not_replaced(run, filled, person, tmp_path):
    """A file that no export wrote is replaced after a yes only; one that an export wrote, as often as wanted."""
    notes = tmp_path / "notes.md"
    notes.write_text("my notes")
    export = "sessions", "export", "alice", "-o", "notes.md"
    assert (
        run(*export).err == "omniagent: error: this would replace notes.md; use --yes to confirm\n"
    )
    assert run("sessions", "show", "alice", "-o", "notes.md").code == 1
    assert notes.read_text() == "my notes"
    with person(*export, columns=100) as terminal:
        terminal.wait_for("Replace notes.md? [y/N]")
        terminal.say("n")
        assert terminal.wait() == 1
    assert notes.read_text() == "my notes"
    assert run("sessions", "show", "alice", "-o", "notes.md", "-y").code == 0
    assert "My name is Alice" in notes.read_text()
    assert run(*export).code == 0
    (tmp_path / "empty.md").touch()
    assert run("sessions", "export", "alice", "-o", "empty.md").code == 0


def test_ids_that_are_no_file_names(run, store, tmp_path):
    """No id leaves the directory, hides, is a device, or takes another's file where case does not count."""
    odd = ["../../etc/x", "/etc/passwd", "..", ".hidden", "CON", "nul", "Trip", "trip", "TRIP", "a/b", "a:b", "-rf",
           "Ä" * 200, "😀", "a.", " x"]  # fmt: skip
    for session_id in odd:
        talk(store, session_id, "Hello.")
    assert run("sessions", "export", "--all", "--format", "text", "-o", "out/").code == 0
    found = names(tmp_path / "out")
    assert len({name.casefold() for name in found}) == len(odd)
    assert all(len(name.encode()) <= 200 and name[0] not in ".-" for name in found)
    assert not {"con.txt", "nul.txt"} & {name.casefold() for name in found}
    assert not (tmp_path.parent / "etc").exists()


def test_a_directory_is_no_way_around(run, filled, tmp_path):
    """A link in the directory is replaced and not followed; a file, a store and the store itself are not written over."""
    out, precious = tmp_path / "out", tmp_path / "precious"
    out.mkdir()
    precious.write_text("precious")
    (out / "alice.jsonl").symlink_to(precious)
    assert run("sessions", "export", "alice", "-o", "out").code == 0
    assert precious.read_text() == "precious"
    assert not (out / "alice.jsonl").is_symlink()
    with open_store(f"file://{tmp_path}/kept", ttl=None) as kept:
        kept.append("alice", {"role": "user", "content": "mine"})
    for target, told in (
        ("precious/", "precious is a file; choose a directory"),
        ("kept", "kept is the directory of a store; choose another directory"),
        ("sessions.db", "sessions.db is the store itself; choose another file"),
    ):
        ran = run("sessions", "export", "alice", "-o", target)
        assert (ran.code, ran.err) == (1, f"omniagent: error: {told}\n")
    assert precious.read_text() == "precious"


def test_a_file_that_cannot_take_its_name_leaves_nothing(run, filled, tmp_path):
    """One line, exit 1, and no rest of a file that was not finished."""
    (tmp_path / "out/bob.jsonl/x").mkdir(parents=True)
    ran = run("sessions", "export", "bob", "-o", "out")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert names(tmp_path / "out") == ["bob.jsonl"]


def test_stopping_leaves_whole_files(store, db, tmp_path):
    """Ctrl-C in the middle of many: what is there is whole, nothing half-written stands beside it."""
    for number in range(40):
        talk(store, f"s{number}", "Hello.", "*slow* " * 6_000)  # all of them take many seconds
    program = ["-m", "omniagent_cli", "sessions", "export", "--all"]
    out = tmp_path / "out"
    with forked.start(
        [*program, "-o", "out/", "--format", "html"],
        cwd=tmp_path,
        env=environment(db),
        stdout=subprocess.PIPE,
    ) as process:
        while not (out.is_dir() and len(names(out)) > 2):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert 0 < len(names(out)) < 40
    assert all(name.endswith(".html") for name in names(out))
    assert all((out / name).read_text().endswith("</html>\n") for name in names(out))


def test_front_matter_is_yaml(run, store, tmp_path):
    """The facts before a session come back from any YAML reader as they are, whatever they hold."""
    hostile = "a: b\n---\n\x1b[31m 'x' \"y\" \\ # \u2028 \U0001f600 \uffff"
    talk(store, "s", "Hello.")
    store.set_title("s", hostile)
    store.set_metadata("s", "tags", ["work", "yes", "1"])
    store.set_metadata("s", "deep", {hostile: [None, True, 1.5, "no"]})
    ran = run("sessions", "export", "s", "--front-matter", "-o", "s.md")
    assert (ran.code, ran.err) == (0, "")
    _, head, body = (tmp_path / "s.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts["title"] == hostile
    assert (facts["id"], facts["tags"]) == ("s", ["work", "yes", "1"])
    assert facts["metadata"] == {"deep": {hostile: [None, True, 1.5, "no"]}}
    assert body.startswith("\n# a: b")


def test_attachments_left_out_of_a_masked_export_are_counted(run, store):
    """--redact says how many attachments it left out, in each format."""
    talk(store, "s", "Hello.")
    store.put_attachment("s", "a" * 64, {"data": "eA=="})
    for name in ("jsonl", "openai", "markdown", "html", "csv"):
        ran = run("sessions", "export", "s", "--format", name, "--redact")
        assert (
            ran.err == "Masked: nothing\nSkipped 1 attachment, which cannot be masked\n"
        )  # whatever the format


def test_show_writes_what_an_export_would(run, filled, tmp_path):
    """`show --format` and `show -o` are the short way to one session in a format."""
    for name in ("html", "markdown", "text"):
        shown = run("sessions", "show", "ali", "--format", name)
        assert shown.out == run("sessions", "export", "alice", "--format", name).out
    assert run("sessions", "show", "alice", "-o", "a.html").code == 0
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    for words in (("--last", "1"), ("--raw",), ("--follow",), ("--json",), ("--whole",)):
        ran = run("sessions", "show", "alice", "--format", "html", *words)
        told = f"--format and -o write the whole session and cannot be combined with {words[0]}"
        assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_names_are_the_same_on_every_machine():
    """What a session's file is called is pinned: who exports again finds the same files."""
    from omniagent_cli.formats.file_names import file_name

    assert file_name("user-123", ".md") == "user-123.md"
    assert file_name("Trip to Rome", ".md") == "Trip_to_Rome~tyxiocheddv5ugghihkfpyyp.md"
    assert os.sep not in file_name("a/b", ".md")
