"""What `omniagent __complete` answers, and what it costs: no terminal, no shell."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from omniagent_cli import Message, open_store
from omniagent_cli.cli import main as run
from omniagent_cli.cli.reference.completion_table import MAKE, TABLE_FILE, table_text
from omniagent_cli.cli.settings.completion import SHELLS, script
from omniagent_cli.complete import answer, main
from omniagent_cli.complete.bash import BashLine
from omniagent_cli.complete.id_cache import cache_ids
from omniagent_cli.complete.store_pointer import chosen_store, write_pointer
from omniagent_cli.config.project import find_project_file
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import ConfigError
from omniagent_cli.stores import StoreLocation
from omniagent_cli.text.sanitize import one_line

ROOT = Path(__file__).parents[1]


def values(*words, **variables):
    """Return the values offered for the last word, without descriptions."""
    return [value for value, _ in answer(list(words), dict(os.environ) | variables)]


def fill(url, *session_ids, **titles):
    """Make sessions, the last one newest."""
    with open_store(url, ttl=None) as store:
        for session_id in (*session_ids, *titles):
            store.append(session_id, [Message("user", "hello")])
            if session_id in titles:
                store.set_title(session_id, titles[session_id])


@pytest.fixture
def default(home):
    """Return the path of the default store of an empty home."""
    return home / ".local/share/omniagent/sessions.db"


class TestTable:
    def test_it_is_what_the_commands_say(self):
        """The table that is checked in is the one the commands make."""
        assert TABLE_FILE.read_text(encoding="utf-8") == table_text(), f"make it again: {MAKE}"

    @pytest.mark.parametrize("shell", SHELLS)
    def test_scripts_shown_are_those_of_the_repository(self, shell, capsys):
        """'completion show' prints the script as it is checked in."""
        assert run(["completion", "show", shell]) == 0
        assert capsys.readouterr().out == (ROOT / "completions" / SHELLS[shell]).read_text()
        assert script(shell).startswith("#")

    def test_the_shell_is_told_by_its_variable(self, capsys, home):
        """Without a name, SHELL says which script is meant; one that has none is told in one line."""
        assert run(["completion", "show"], environ={"HOME": str(home), "SHELL": "/bin/zsh"}) == 0
        assert capsys.readouterr().out.startswith("#compdef omniagent")
        assert run(["completion", "show"], environ={"HOME": str(home), "SHELL": "/bin/tcsh"}) == 2
        assert "no completion script for your shell 'tcsh'; give bash" in capsys.readouterr().err


class TestPlaces:
    def test_commands(self):
        """Commands are offered by their beginning, with what they do."""
        assert answer(["sess"], {}) == [
            ("sessions", "list, read, search, trim, branch, tag and remove sessions")
        ]
        assert values("sessions", "un") == ["unpin", "unarchive"]
        assert values("models", "") == ["list", "use"]

    def test_options(self):
        """Options come after a dash, long ones after two, and not again once given."""
        assert "--sort" in values("sessions", "list", "-")
        assert "-q" in values("sessions", "list", "-")
        assert "-q" not in values("sessions", "list", "--")
        assert "--sort" not in values("sessions", "list", "--sort", "id", "--")
        assert "--tag" in values("sessions", "list", "--tag", "x", "--")

    def test_values(self):
        """Values of options come from their fixed choices, apart or behind an equals sign."""
        assert values("sessions", "list", "--sort", "") == ["updated", "created", "messages", "id"]
        assert values("sessions", "list", "--sort=c") == ["--sort=created"]
        assert values("sessions", "search", "x", "--role", "u") == ["user"]
        assert values("--color", "a") == ["auto", "always"]
        assert "jsonl" in values("sessions", "export", "--format", "")
        assert "merge" in values("sessions", "import", "x", "--on-conflict", "")
        assert values("completion", "install", "z") == ["zsh"]
        assert values("config", "get", "window.max_m") == ["window.max_messages"]

    def test_files(self):
        """Where a file belongs the shell is told so, with what stands before its name."""
        assert answer(["sessions", "import", "x"], {}) == [("", "files\t")]
        assert answer(["sessions", "export", "--output=x"], {}) == [("", "files\t--output=")]
        assert answer(["chat", "--system", "@x"], {}) == [("", "files\t@")]
        assert answer(["chat", "--system", "x"], {}) == []
        assert answer(["--db", "x"], {}) == [("", "files\t")]

    def test_nothing_after_what_is_no_command(self):
        """After a word that is no command, or where text is free, nothing is made up."""
        assert values("nonsense", "") == []
        assert values("sessions", "list", "") == []
        assert values("sessions", "rename", "a", "") == []

    def test_ids(self, default):
        """Ids come newest first, with titles, wherever one belongs, and each once on a line."""
        fill(default, "one", two="The second")
        assert answer(["sessions", "show", ""], dict(os.environ)) == [
            ("two", "The second"),
            ("one", "hello"),
        ]
        assert values("chat", "-s", "t") == ["two"]
        assert values("chat", "--session=t") == ["--session=two"]
        assert values("sessions", "delete", "-y", "two", "") == ["one"]
        assert values("sessions", "search", "word", "--session", "o") == ["one"]

    def test_ids_that_commands_read_otherwise(self, default):
        """An id that looks like '@' is escaped, one with a leading dash comes after '--' only."""
        fill(default, "@id:", "@", "id:@", "-dash", "@home")
        assert values("sessions", "show", "") == ["@home", "id:id:@", "id:@", "@id:"]
        assert values("sessions", "show", "id:") == ["id:id:@", "id:@"]
        assert values("sessions", "show", "--", "-") == ["-dash"]

    def test_states(self, default):
        """Commands that undo a state offer the sessions that have it; archived ones come when begun to type."""
        fill(default, "a1", "a2", "a3", "a4")
        with open_store(default) as store:
            store.set_metadata("a1", "pinned", True)
            store.set_metadata("a2", "archived", True)
            store.delete("a3")
        assert values("sessions", "unpin", "") == ["a1"]
        assert values("sessions", "unarchive", "") == ["a2"]
        assert values("sessions", "restore", "") == ["a3"]
        assert values("sessions", "show", "") == ["a1", "a4"]
        assert values("sessions", "show", "a") == ["a1", "a4", "a2"]

    def test_expired_sessions_are_not_offered(self, default):
        """What has expired is invisible here too."""
        past = utc_now().replace(year=utc_now().year - 1)
        with open_store(default, ttl="1h", clock=lambda: past) as store:
            store.append("old", [Message("user", "hello")])
        fill(default, "new")
        assert values("sessions", "show", "") == ["new"]

    def test_many(self, default):
        """At most 200 are offered, the newest of those that fit, however many there are."""
        fill(default, "first", *(f"user-{number:04}" for number in range(1200)), "last")
        assert values("sessions", "show", "")[:2] == ["last", "user-1199"]
        found = values("sessions", "show", "user-")
        assert (len(found), found[0], found[-1]) == (200, "user-1199", "user-1000")
        assert values("sessions", "show", "user-000")[::9] == ["user-0009", "user-0000"]
        assert values("sessions", "show", "f") == ["first"]


class TestHostileText:
    def test_titles_cannot_drive_the_terminal(self, default):
        """Titles come on one line, without control characters, and cut."""
        title = "a\x1b[31m\tb\r\nc\u202ed" + "x" * 500
        fill(default, id1=title)
        ((_, description),) = answer(["sessions", "show", ""], dict(os.environ))
        assert description.startswith("a�[31m b c�dxxx")
        assert len(description) <= 72
        assert one_line(description) == description

    def test_ids_that_cannot_be_typed_are_left_out(self, default):
        """An id that would turn the terminal's text around is not offered; other scripts are."""
        fill(default, "evil\u202eid", "Ärger 😀", "👨‍👩‍👧 family", "全角　空白")
        assert values("sessions", "show", "") == ["全角　空白", "👨‍👩‍👧 family", "Ärger 😀"]

    @pytest.mark.parametrize(
        ("line", "words", "value", "inserted"),
        [
            ("o show a", ["show", "a"], "a b", "a\\ b"),
            ("o show 'a b", ["show", "a b"], "a b's", "a b'\\''s"),
            ('o show "a', ["show", "a"], 'a $"`\\', 'a \\$\\"\\`\\\\'),
            ('o show "a', ["show", "a"], "a!", None),
            ("o show te:1", ["show", "te:1"], "te:12", "12"),
            ("o show te\\:1", ["show", "te:1"], "te:12", "te:12"),
            ("o --x=a", ["--x=a"], "--x=a*", "a\\*"),
            ("o show a:'b c", ["show", "a:b c"], "a:b cd", "b cd"),
            ("o show 'a'\\''b'", ["show", "a'b"], "a'bc", "a\\'bc"),
            ("o show $(x) ", ["show", "$(x)", ""], "~", "\\~"),
            ("o show a\\", ["show", "a"], "ab", "ab"),
        ],
    )
    def test_words_of_bash(self, line, words, value, inserted):
        """Quotes are undone without running anything, and put on as the place demands."""
        typed = BashLine(line, " \t\n\"'@><=;|&(:")
        assert (typed.words, typed.inserted(value)) == (words, inserted)

    def test_redirections_of_bash(self):
        """A redirection's target is no word of the program."""
        assert BashLine("o a 2>err b", "").words == ["a", "b"]
        assert BashLine("o a >", "").redirects


class TestStoreChoice:
    URLS = (
        "sqlite:///{0}/x.db",
        "sqlite:///x.db",
        "sqlite:////{0}/x.db",
        "sqlite:{0}/x.db",
        "sqlite:x.db",
        "sqlite:///{0}/a%20b%3F.db",
        "file:///{0}/store",
        "file:store",
        "{0}",
        "{0}/x.db",
        "x.db",
        "x:y",
        "C:\\x.db",
        "new/",
        "memory:",
        "sqlite://host/x",
    )

    @pytest.mark.parametrize("url", URLS)
    def test_urls_are_read_as_the_stores_read_them(self, url, tmp_path, monkeypatch):
        """TAB and the commands mean the same store by the same text."""
        monkeypatch.chdir(tmp_path)
        url = url.format(tmp_path)
        try:
            wanted = StoreLocation(url)
        except ConfigError as error:
            with pytest.raises(ConfigError, match=re.escape(str(error))):
                open_store(url)
            with pytest.raises(ConfigError, match=re.escape(str(error))):
                chosen_store({"--store": url}, os.environ)
            return
        found = chosen_store({"--store": url}, os.environ)
        assert (found.scheme, found.target) == (wanted.scheme, wanted.target)
        with open_store(url) as store:
            assert store.url == (found.canonical if found.is_local else "memory:")

    def test_the_flag_wins_over_the_variable(self, tmp_path, default):
        """--store and --db win over OMNIAGENT_STORE, which wins over the default."""
        fill(default, "in-default")
        fill(tmp_path / "v.db", "in-variable")
        fill(tmp_path / "f.db", "in-flag")
        variable = {"OMNIAGENT_STORE": str(tmp_path / "v.db")}
        assert values("sessions", "show", "in") == ["in-default"]
        assert values("sessions", "show", "in", **variable) == ["in-variable"]
        for flag in ("--store", "--db"):
            assert values(flag, f"{tmp_path}/f.db", "sessions", "show", "in", **variable) == [
                "in-flag"
            ]

    def test_settings_are_remembered_by_commands(self, home, tmp_path):
        """A command leaves a private line from which TAB knows the store; a changed file is read again."""
        config = home / ".config/omniagent/config.toml"
        config.parent.mkdir(parents=True)
        fill(tmp_path / "one.db", "in-one")
        fill(tmp_path / "two.db", "in-two")
        config.write_text(
            f'[store]\nurl = "{tmp_path}/one.db"\n[stores.w]\nurl = "{tmp_path}/two.db"'
        )
        assert values("sessions", "show", "in") == ["in-one"]
        pointers = home / ".cache/omniagent/stores"
        assert not pointers.exists()
        assert run(["sessions", "list"]) == 0
        assert run(["--store", "@w", "sessions", "list"]) == 0
        assert pointers.stat().st_mode & 0o777 == 0o600
        assert pointers.parent.stat().st_mode & 0o777 == 0o700
        assert len(pointers.read_text().splitlines()) == 2
        assert loaded("sessions", "show", "in") == (["in-one"], False)
        assert loaded("--store", "@w", "sessions", "show", "in") == (["in-two"], False)
        config.write_text(f'[store]\nurl = "{tmp_path}/two.db"')
        assert loaded("sessions", "show", "in") == (["in-two"], True)

    def test_nothing_is_remembered_that_nothing_decided(self, home):
        """Without settings there is no line, and passwords are never written."""
        environ = {"HOME": str(home)}
        write_pointer("sqlite:///x/y.db", None, None, environ, str(home))
        write_pointer("redis://me:secret@host/0", "@work", None, environ, str(home))
        write_pointer("sqlite:///x/y.db", "/given.db", None, environ, str(home))
        assert not (home / ".cache").exists()

    def test_the_project_file_is_found_as_settings_find_it(self, home, monkeypatch):
        """A project file counts from where the settings would find it."""
        for place in (home / "p/.omniagent.toml", home / ".omniagent.toml"):
            place.parent.mkdir(exist_ok=True)
            place.write_text("")
        (home / "p/q").mkdir()
        from omniagent_cli.complete.store_pointer import _project_file

        for cwd in (home, home / "p", home / "p/q"):
            expected = find_project_file(cwd, {"HOME": str(home)})
            found = _project_file({"HOME": str(home)}, str(cwd))
            assert found == ("" if expected is None else str(expected))

    def test_file_stores(self, tmp_path):
        """Ids of a JSON-file store come from its directory, titles from its index."""
        url = f"file://{tmp_path}/store"
        fill(url, "Plain 1", "x" * 300, titled="A title")
        with open_store(url) as store:
            store.list()
            store.set_metadata("Plain 1", "archived", True)
            store.list()
        found = answer(["--store", url, "sessions", "show", ""], dict(os.environ))
        assert ("titled", "A title") in found
        assert "x" * 300 in [value for value, _ in found]
        assert values("--store", url, "sessions", "show", "P") == ["Plain 1"]
        assert values("--store", url, "sessions", "unarchive", "") == ["Plain 1"]

    def test_other_stores_have_a_list_in_the_cache(self, home):
        """What TAB cannot ask in time it reads from a private list without passwords."""
        url = "redis://me:secret@host:6379/0"
        with open_store("memory:") as store:
            store.append("r2", [Message("user", "hello")])
            store.set_title("r2", "")
            store.append("r1", [Message("user", "hello")])
            store.set_title("r1", "One\ttitle")
            cache_ids(store, StoreLocation(url), os.environ)
        assert answer(["--store", url, "sessions", "show", "r"], dict(os.environ)) == [
            ("r1", "One title"),
            ("r2", ""),
        ]
        (kept,) = (home / ".cache/omniagent").iterdir()
        assert "secret" not in str(kept) + kept.read_text()


class TestSilence:
    @pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"SQLite format 3\0" + b"\0" * 500])
    def test_what_is_no_store(self, tmp_path, capfd, content):
        """An empty, foreign or torn file offers nothing, says nothing, and is left as it was."""
        (tmp_path / "x.db").write_bytes(content)
        assert main(["--db", str(tmp_path / "x.db"), "sessions", "show", ""]) == 0
        assert capfd.readouterr() == ("", "")
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]

    def test_a_torn_store(self, tmp_path, capfd):
        """A damaged store offers nothing rather than an error."""
        fill(tmp_path / "x.db", *map(str, range(100)))
        data = (tmp_path / "x.db").read_bytes()
        (tmp_path / "x.db").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
        assert main(["--db", str(tmp_path / "x.db"), "sessions", "show", ""]) == 0
        assert capfd.readouterr().err == ""

    def test_nothing_is_created(self, home, tmp_path, capfd):
        """Completing creates neither a store nor directories nor SQLite's side files."""
        fill(tmp_path / "x.db", "one")
        before = sorted(tmp_path.iterdir())
        for words in (
            ["sessions", "show", ""],
            ["--db", str(tmp_path / "x.db"), "sessions", "show", ""],
        ):
            assert main(words) == 0
        assert capfd.readouterr() == ("one\thello\n", "")
        assert sorted(tmp_path.iterdir()) == before
        assert list(home.iterdir()) == []

    def test_a_store_in_use(self, default):
        """While a session is written its store completes, the newest sessions among it."""
        fill(default, "old")
        with open_store(default) as store:
            store.append("new", [Message("user", "hello")])
            assert values("sessions", "show", "") == ["new", "old"]

    def test_a_locked_store(self, default, capfd):
        """A store that another process keeps for itself costs no time and no complaint."""
        fill(default, "one")
        with closing(sqlite3.connect(default, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute("BEGIN EXCLUSIVE")
            assert main(["sessions", "show", ""]) == 0
        assert capfd.readouterr().err == ""

    def test_pipes_and_missing_homes(self, tmp_path, capfd, monkeypatch):
        """A named pipe, a directory that is gone and a home that is none cost nothing but the answer."""
        os.mkfifo(tmp_path / "pipe")
        assert main(["--db", str(tmp_path / "pipe"), "sessions", "show", ""]) == 0
        monkeypatch.setenv("HOME", "/nowhere")
        assert main(["sessions", "show", ""]) == 0
        assert main(["--store", "@unknown", "sessions", "show", ""]) == 0
        assert main(["\udcff", ""]) == 0
        assert main([]) == 0
        assert capfd.readouterr().err == ""

    def test_closed_pipe(self):
        """Whoever stops reading gets no complaint."""
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run(
            [sys.executable, "-m", "omniagent_cli", "__complete", ""],
            cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        os.close(writer)
        assert (result.returncode, result.stderr) == (0, b"")

    def test_huge_titles(self, default):
        """A title of megabytes does not keep anybody waiting; the session is offered without it."""
        fill(default, id1="x" * 2_000_000)
        assert answer(["sessions", "show", ""], dict(os.environ)) == [("id1", "")]


def loaded(*words):
    """Return what a new process offers, and whether it had to read settings for it."""
    code = (
        "import sys; from omniagent_cli.complete import main; main(sys.argv[1:]);"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *lines, modules = result.stdout.split("\n")
    return [line.partition("\t")[0] for line in lines], "omniagent_cli.config.settings" in modules


class TestCost:
    @pytest.mark.parametrize(
        ("loaded_before", "words"),
        [
            ("sqlite3", ["__complete", "sessions", "show", "o"]),
            ("os", ["__complete", "--bash", ":=", "omniagent sess"]),
            ("os", ["--version"]),
        ],
    )
    def test_imports(self, default, loaded_before, words):
        """TAB loads nothing but itself, sqlite3 only for ids, and --version loads nothing at all."""
        fill(default, "one")
        code = (
            f"import sys, os, gc, {loaded_before}; before = set(sys.modules)\n"
            "import omniagent_cli.__main__ as entry\n"
            f"sys.argv[1:] = {words}\n"
            "try: entry.main()\n"
            "except SystemExit: pass\n"
            "print(*{name.partition('.')[0] for name in set(sys.modules) - before}, file=sys.stderr)"
        )
        result = subprocess.run(
            [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert result.stdout
        # atexit is a built-in module
        assert set(result.stderr.split()) <= {"omniagent_cli", "__future__", "atexit"}
