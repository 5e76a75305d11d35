"""What TAB offers from within sessions, and from stores on servers: bounded, silent, and never a secret."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from omniagent_cli import Message, open_store
from omniagent_cli.cli import main as run
from omniagent_cli.complete import answer, main
from omniagent_cli.stores import with_encryption
from omniagent_cli.stores.backends.sqlite import ids
from omniagent_cli.stores.encryption.cipher import parse_key
from tests.stores.redis_server import RedisServer

HOSTILE = "\x1b[31m$(touch PWNED)\u202e\n"


def values(*words, **variables):
    """Return the values offered for the last word, without descriptions."""
    return [value for value, _ in answer(list(words), dict(os.environ) | variables)]


@pytest.fixture(autouse=True)
def no_stdin(monkeypatch):
    """Let a command that would read stdin find nothing there."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture(params=["sqlite", "file"])
def filled(request, tmp_path, monkeypatch):
    """A store with two sessions that hold data, chosen by the variable."""
    url = f"{tmp_path}/x.db" if request.param == "sqlite" else f"file://{tmp_path}/store"
    monkeypatch.setenv("OMNIAGENT_STORE", url)
    with open_store(url, ttl=None) as store:
        for session_id, tags in {"alice": ["work", "old"], "bob": ["work"]}.items():
            store.append(session_id, [Message("user", "hello")])
            store.tag(session_id, tags)
        store.set_metadata("alice", "project", {"name": "apollo"})
        store.set_metadata("alice", "priority", 3)
        store.set_state("alice", "step", "two")
        store.append("gone", [Message("user", "hello")])
        store.set_title("gone", "A title")
        store.delete("gone")
        store.list()
    return url


class TestWhatSessionsHold:
    def test_keys(self, filled):
        """Keys of metadata and state are offered where one belongs, with their values."""
        assert answer(["sessions", "meta", "get", "alice", "pr"], dict(os.environ)) == [
            ("project", '{"name":"apollo"}' if "file" not in filled else '{"name": "apollo"}'),
            ("priority", "3"),
        ]
        assert "project" in values("sessions", "meta", "set", "alice", "")
        assert values("sessions", "meta", "unset", "alice", "proj") == ["project"]
        assert values("sessions", "state", "get", "alice", "") == ["step"]
        assert values("sessions", "meta", "get", "nobody", "") == []

    def test_keys_of_the_session_used_last(self, filled):
        """``@`` means the session used last here too."""
        assert run(["sessions", "pin", "bob"]) == 0
        assert values("sessions", "meta", "get", "@", "p") == []
        assert run(["ask", "-m", "recall", "-s", "alice", "hello"]) == 0
        assert "project" in values("sessions", "meta", "get", "@", "p")

    def test_half_a_character_hides_nothing(self, filled):
        """A title, a tag and a key that no encoding can write leave all others as they are."""
        with open_store(filled) as store:
            store.set_title("bob", "\ud800 broken")
            store.tag("bob", ["\ud800", "zeal"])
            store.set_metadata("alice", "\udfff", "\udfff")
            store.list()
        shown = dict(answer(["sessions", "show", ""], dict(os.environ)))
        assert list(shown) == ["bob", "alice"] or list(shown) == ["alice", "bob"]
        assert "broken" in shown["bob"]
        assert "zeal" in values("sessions", "list", "--tag", "")
        assert "project" in values("sessions", "meta", "get", "alice", "")
        for words in (["show", ""], ["list", "--tag", ""], ["meta", "get", "alice", ""]):
            out = subprocess.run(
                [sys.executable, "-m", "omniagent_cli", "__complete", "sessions", *words],
                capture_output=True,
                check=True,
            ).stdout
            assert out.decode()

    def test_tags(self, filled):
        """Tags come with how many sessions have them, after --tag, after a plus, and after a minus those it has."""
        assert answer(["sessions", "list", "--tag", ""], dict(os.environ)) == [
            ("work", "2 sessions"),
            ("old", "1 session"),
        ]
        assert values("sessions", "delete", "--tag=w") == ["--tag=work"]
        assert values("sessions", "tag", "bob", "+") == ["+work", "+old"]
        assert values("sessions", "tag", "bob", "+o") == ["+old"]
        assert values("sessions", "tag", "alice", "-") == ["-old", "-work"]
        assert values("sessions", "tag", "bob", "-o") == []
        assert "--json" in values("sessions", "tag", "alice", "--")

    def test_the_trash(self, filled):
        """What can be restored is offered by its id, on any store whose files are here."""
        assert answer(["sessions", "restore", ""], dict(os.environ)) == [("gone", "A title")]
        assert values("sessions", "restore", "x") == []

    def test_help_topics(self):
        """Topics and commands come after help, and below a group its commands."""
        assert values("help", "ex") == ["exit-codes"]
        assert "sessions" in values("help", "")
        assert values("help", "sessions", "tr") == ["trim", "trash", "tree"]
        assert values("help", "json", "sessions", "pr") == ["prune"]
        assert values("help", "environment", "") == []


class TestBounds:
    def test_hostile_keys_and_tags(self, tmp_path, monkeypatch):
        """Names that could drive a terminal are not offered, and values are shown on one harmless line."""
        monkeypatch.setenv("OMNIAGENT_STORE", f"{tmp_path}/x.db")
        with open_store(f"{tmp_path}/x.db", ttl=None) as store:
            store.set_metadata("a", HOSTILE, 1)
            store.set_metadata("a", "key", HOSTILE)
            store.tag("a", [f"tag{HOSTILE}", "fine"])
        found = answer(["sessions", "meta", "get", "a", ""], dict(os.environ))
        assert [key for key, _ in found] == ["key", "tags"]
        assert all(text.isprintable() for _, text in found)
        assert values("sessions", "list", "--tag", "") == ["fine"]

    def test_ten_thousand_tags(self, tmp_path, monkeypatch, capfd):
        """Thousands of tags, and data of megabytes, cost a moment and no word; at most 200 are offered."""
        monkeypatch.setenv("OMNIAGENT_STORE", f"{tmp_path}/x.db")
        monkeypatch.setattr(ids, "_CPU_SECONDS", 5)  # so that a slow machine reads all of them
        with open_store(f"{tmp_path}/x.db", ttl=None) as store:
            for session_id in ("many", "large", "long", "small"):
                store.append(session_id, [Message("user", "hello")])
            store.tag("many", [f"tag-{number:05}" for number in range(10_000)])
            store.set_metadata("large", "big", "x" * 5_000_000)
            store.set_title("long", "y" * 10_000_000)
            store.tag("small", ["one"])
        begun = time.process_time()
        assert len(values("sessions", "list", "--tag", "")) == 200
        assert values("sessions", "meta", "get", "large", "") == []
        assert values("sessions", "show", "l") == ["long", "large"]
        assert main(["sessions", "list", "--tag", "tag-0000"]) == 0
        assert time.process_time() - begun < 5  # measured: below 1 s
        assert capfd.readouterr().err == ""

    def test_a_hundred_thousand_sessions(self, tmp_path, monkeypatch):
        """With 100,000 sessions the newest thousand are looked through for tags."""
        path = tmp_path / "x.db"
        with open_store(path, ttl=None) as store:
            store.append("s", [Message("user", "hello")])
            store.tag("s", ["old"])
        with closing(sqlite3.connect(path)) as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(sessions)")]
            made = {
                "key": "n", "uid": "printf('%022d', n)", "id": "'s' || n",
                "updated_at": "printf('2099-01-01T00:00:00.%06dZ', n)",
                "payload": "CAST(replace(CAST(payload AS TEXT), 'old', 'new') AS BLOB)",
            }  # fmt: skip
            db.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100001) "
                f"INSERT INTO sessions SELECT {', '.join(made.get(c, c) for c in columns)} "
                "FROM sessions, numbers WHERE key = 1"
            )
            db.commit()
        monkeypatch.setattr(ids, "_CPU_SECONDS", 5)  # so that a slow machine reads all of them
        monkeypatch.setenv("OMNIAGENT_STORE", str(path))
        (found,) = answer(["sessions", "list", "--tag", ""], dict(os.environ))
        assert found[0] == "new"
        assert values("sessions", "meta", "get", "s77777", "") == ["tags"]

    @pytest.mark.parametrize("words", [("meta", "get", "a", ""), ("list", "--tag", ""), ("tag", "a", "+"), ("restore", "")])  # fmt: skip
    def test_nothing_is_said_where_nothing_is(self, home, tmp_path, capfd, words):
        """No store, rubbish, an encrypted one: no answer, no complaint, and nothing is made."""
        (tmp_path / "rubbish").write_bytes(os.urandom(5000))
        with with_encryption(open_store(tmp_path / "secret.db", ttl=None), b"k" * 32) as store:
            store.append("a", [Message("user", "hello")])
            store.tag("a", ["private"])
        (tmp_path / "broken/.omniagent").mkdir(parents=True)
        (tmp_path / "broken/.omniagent/index.json").write_text('{"files": [[1]]}')
        (tmp_path / "broken/a.jsonl").write_bytes(b'{"header": 1}\n')
        for name in ("missing.db", "rubbish", "secret.db", "broken"):
            assert main(["--db", str(tmp_path / name), "sessions", *words]) == 0
        assert capfd.readouterr() == ("", "")
        assert list(home.iterdir()) == []


@pytest.fixture
def server():
    """A Redis server of this test's own."""
    server = RedisServer()
    yield server
    server.stop()


class TestServers:
    def test_ids_are_kept_after_commands(self, server, home, capfd):
        """A command that used a store on a server leaves its newest ids and titles in a private file for TAB."""
        url = f"redis://me:hunter2@127.0.0.1:{server.port}/0"
        with closing(server.client()) as client:
            client.execute_command("ACL", "SETUSER", "me", "on", ">hunter2", "~*", "&*", "+@all")
        assert run(["--store", url, "ask", "-q", "-m", "recall", "-s", "first", "My title"]) == 0
        environ = {"OMNIAGENT_STORE": url}
        assert answer(["sessions", "show", "f"], dict(os.environ) | environ) == [("first", "My title")]  # fmt: skip
        (kept,) = [path for path in (home / ".cache/omniagent").iterdir() if path.name.startswith("ids-")]  # fmt: skip
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "hunter2" not in str(kept) + kept.read_text()
        assert run(["--store", url, "sessions", "rename", "first", "second"]) == 0
        assert values("sessions", "show", "", **environ) == ["second"]
        assert run(["--store", url, "sessions", "delete", "second", "-y"]) == 0
        assert values("sessions", "show", "", **environ) == []
        assert values("sessions", "restore", "", **environ) == []
        server.stop()
        assert main(["--store", url, "sessions", "show", ""]) == 0
        assert run(["--store", url, "sessions", "list"]) == 3
        assert "hunter2" not in "".join(capfd.readouterr())

    def test_titles_of_an_encrypted_store_are_not_kept(self, server, home, monkeypatch):
        """The list is plain text, so of an encrypted store it has the ids alone."""
        monkeypatch.setenv("OMNIAGENT_STORE", server.url)
        monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "open sesame")
        with with_encryption(open_store(server.url, ttl=None), parse_key("open sesame")) as store:
            store.append("first", [Message("user", "a private word")])
        assert run(["sessions", "list"]) == 0
        assert answer(["sessions", "show", ""], dict(os.environ)) == [("first", "")]
        assert all(
            b"private" not in path.read_bytes()
            for path in (home / ".cache").rglob("*")
            if path.is_file()
        )

    def test_the_map_of_conversations_is_read(self, tmp_path):
        """Ids of conversations that a provider keeps come from their map, which is here."""
        with open_store(f"{tmp_path}/map.db", ttl=None) as store:
            store.append("talk", [Message("user", "hello")])
        url = f"openai-conversations://{tmp_path}/map.db"
        assert values("--store", url, "sessions", "show", "t") == ["talk"]


def test_side_files_that_found_no_room(tmp_path):
    """A full disk leaves an empty log with an empty index beside the store: TAB still shows what is there."""
    path = tmp_path / "x.db"
    with open_store(path) as store:
        store.append("alice", [Message("user", "hello")])
    for side in ("-wal", "-shm"):
        (tmp_path / f"x.db{side}").touch()
    path.chmod(0o400)
    assert values("sessions", "show", "", OMNIAGENT_STORE=str(path)) == ["alice"]
    assert not (tmp_path / "x.db-shm").stat().st_size
