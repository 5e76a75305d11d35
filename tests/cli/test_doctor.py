"""`omniagent doctor`: everything that is wrong is told with what to do, nothing is changed, nothing is given away."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from omniagent_cli.cli.doctor import models as models_check
from omniagent_cli.stores import Passphrase, open_store, with_encryption
from tests.cli.asking import Program
from tests.cli.scene import environment, talk
from tests.servers.chat_server import status
from tests.servers.fixtures import chat_server
from tests.servers.guardian import GUARDIAN

__all__ = ["chat_server"]

KEY = "sk-secret-of-mine"
SERVERS = Path(__file__).parents[1] / "servers"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No server of models, no shell and no locale of this machine."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("SHELL", raising=False)


@pytest.fixture
def config(home):
    """Write the person's settings file."""
    path = home / ".config/omniagent/config.toml"
    path.parent.mkdir(parents=True, mode=0o700)

    def config(text):
        path.write_text(text)
        path.chmod(0o600)
        return path

    return config


def told(ran, area):
    """Return what was told of an area: state, what, what to do."""
    return [cells[1:] for cells in ran.cells if cells[0] == area]


def wrong(ran):
    return [cells for cells in ran.cells if cells[1] not in ("ok", "info")]


def tree(*places):
    """Return everything about the files below places that a change would change."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_size)
        for place in places
        for path in sorted(place.rglob("*"))
    }


def test_an_empty_home_has_no_problem(run, home, tmp_path):
    """Where nothing was set up nothing is a problem, exit 0, and nothing comes into being."""
    ran = run("doctor", store=None)
    assert ran.code == 0
    assert [cells[0] for cells in ran.cells if cells[1] == "problem"] == []
    assert ran.err == "1 warning\n"
    (recall,) = wrong(ran)
    assert recall[2].startswith("the default model is recall, which only searches the session: ")
    assert recall[3].startswith("run 'omniagent keys set openai'")
    areas = list(dict.fromkeys(cells[0] for cells in ran.cells))
    assert areas == ["configuration", "store", "models", "extras", "mcp", "terminal", "completion", "versions"]  # fmt: skip
    assert tree(home, tmp_path) == {}


def test_a_store_in_use_is_left_as_it_is(run, filled, db, home):
    """What a store holds is counted, and not a byte of it or beside it changes, log and all."""
    filled.delete("bob")
    before = tree(db.parent, home)
    ran = run("doctor", "--offline")
    assert tree(db.parent, home) == before
    (opens,) = [what for _, what, _ in told(ran, "store") if "opens" in what]
    assert opens.startswith(f"the store {db} opens (sqlite, format 3): 2 sessions, ")
    assert ["ok", "the trash holds 1 entry", "'omniagent sessions trash --empty' deletes them permanently"] in told(ran, "store")  # fmt: skip
    filled.close()
    before = tree(db.parent, home)
    assert run("doctor", "--offline").code == 0
    assert tree(db.parent, home) == before


def test_every_mistake_of_a_settings_file_is_told(run, config):
    """Not the first mistake alone: each, with its line and what to do; and everything else is looked at too."""
    path = config('modle = "x"\n[display]\ncolor = "pink"\n[window]\nmax_messages = -1\n')
    ran = run("doctor")
    assert ran.code == 1
    assert told(ran, "configuration") == [
        ["problem", f"{path}:1: unknown setting modle", "did you mean model?"],
        ["problem", f"invalid display.color 'pink' ({path}:3): must be auto, always or never", ""],
        ["problem", f"invalid window.max_messages -1 ({path}:5): must be a whole number of at least 1", ""],
    ]  # fmt: skip
    assert told(ran, "store")[0][:2] == ["warning", "not checked: the settings are invalid"]  # fmt: skip
    assert told(ran, "versions")
    assert ran.err.startswith("3 problems and ")


@pytest.mark.parametrize(
    ("text", "what"),
    [("[", "invalid TOML"), ("\0\udcff", "not UTF-8"), ("x = 1\n" * 200_000, "is larger than")],
    ids=["torn", "binary", "huge"],
)
def test_a_settings_file_that_is_none(run, config, text, what):
    """A broken file is a problem in a line, and no traceback."""
    config("").write_bytes(text.encode("utf-8", "surrogateescape"))
    ran = run("doctor")
    assert (ran.code, "Traceback" in ran.err) == (1, False)
    assert any(what in cells[2] for cells in wrong(ran))


def test_a_project_file_and_variables(run, tmp_path, monkeypatch, config):
    """An untrusted project file, what variables set, and a variable that is mistyped are told."""
    config('model = "recall"\n')
    (tmp_path / ".omniagent.toml").write_text('[store]\nurl = "/tmp/elsewhere.db"\n')
    monkeypatch.setenv("OMNIAGENT_MODEL", "recall")
    monkeypatch.setenv("OMNIAGENT_MODLE", "openai:gpt-6.1-sol")
    ran = run("doctor", store=None)
    found = told(ran, "configuration")
    assert ["warning", f"{tmp_path}/.omniagent.toml is not trusted, so it does not set store.url", "run 'omniagent config trust' to allow it"] in found  # fmt: skip
    assert ["ok", "OMNIAGENT_MODEL sets model", ""] in found
    assert ["warning", "unknown environment variable OMNIAGENT_MODLE", "did you mean OMNIAGENT_MODEL?"] in found  # fmt: skip
    assert ran.code == 0


def test_a_key_that_is_taken_and_one_that_is_not(run, chat_server, monkeypatch, home):
    """Each provider with a key is asked; a refused key is a problem, and no key is ever shown."""
    good, bad = chat_server(models=["gpt-6.1-sol", "gpt-6"]), chat_server()
    bad.models_reply = status(401, f"the key {KEY} is wrong")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", good.url)
    ran = run("doctor")
    assert ran.code == 0
    assert ["ok", "found a key for OpenAI (OPENAI_API_KEY)", ""] in told(ran, "models")
    assert ["ok", f"OpenAI accepts the key: 2 models at {good.url}", ""] in told(ran, "models")  # fmt: skip
    assert good.requests[0].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("OPENAI_BASE_URL", bad.url)
    refused = run("doctor", "--json")
    assert refused.code == 1
    assert {
        "area": "models",
        "state": "problem",
        "what": "OpenAI rejected the key (OPENAI_API_KEY)",
        "do": "omniagent keys set openai",
    } in refused.json["checks"]
    assert refused.json["problems"] == 1
    assert KEY not in ran.out + ran.err + refused.out + refused.err
    assert tree(home) == {}


def test_a_provider_that_does_not_answer_is_not_waited_for(run, monkeypatch):
    """A server that takes the question and never answers costs a moment, and is told."""
    monkeypatch.setattr(models_check, "_LIST_SECONDS", 0.2)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        ran = run("doctor")
    assert ran.code == 1
    assert any("OpenAI" in cells[2] for cells in wrong(ran))


def test_offline_asks_nobody_on_the_net(run, monkeypatch):
    """With --offline a provider elsewhere is not asked, and that is said."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ran = run("doctor", "--offline")
    assert ["info", "OpenAI: not checked (--offline)", ""] in told(ran, "models")
    assert ran.code == 0


def test_a_model_without_its_key(run, config):
    """A model that is chosen and whose provider has no key is a problem with its remedy."""
    config('model = "openai:gpt-6.1-sol"\n[models.aliases]\nfast = "opnai:x"\n')
    ran = run("doctor", "--offline", store=None)
    assert ran.code == 1
    assert any("opnai" in cells[2] and cells[1] == "problem" for cells in ran.cells)
    ran = run("doctor", store=None)
    (found,) = [cells for cells in ran.cells if "OpenAI has no key" in cells[2]]
    assert found[1] == "problem"
    assert "omniagent keys set openai" in found[3]


def test_a_local_server_is_found(run, chat_server, monkeypatch):
    """A server of models on this machine is told with its address, and that it would answer."""
    server = chat_server(models=["llama3.2"])
    monkeypatch.setenv("OLLAMA_HOST", server.url.removesuffix("/v1"))
    ran = run("doctor")
    assert ["ok", f"Ollama is running at {server.url} with 1 model", ""] in told(ran, "models")
    assert any("the default model is ollama:llama3.2" in c[2] for c in ran.cells)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://user:hunter2@127.0.0.1:9/0", "127.0.0.1:9"),
        ("postgresql://user:hunter2@127.0.0.1:9/x?connect_timeout=1", "127.0.0.1"),
        ("foo://user:hunter2@x", "unknown store scheme 'foo'"),
        ("@work", "unknown store @work"),
        ("sqlite:///{}", "{}"),
        ("{}/missing/x.db", "no directory {}/missing"),
        ("{}/notes.txt", "{}/notes.txt"),
    ],
)
def test_stores_that_do_not_open(run, tmp_path, url, what):
    """A store that cannot be reached, or is none, is a problem; a URL's password is not shown."""
    (tmp_path / "notes.txt").write_text("these are my notes, " * 20)
    ran = run("doctor", store=url.format(tmp_path))
    assert ran.code == 1
    assert any(what.format(tmp_path) in cells[2] + cells[3] for cells in wrong(ran))
    assert "hunter2" not in ran.out + ran.err
    assert "Traceback" not in ran.err


def test_a_newer_and_a_damaged_store(run, filled, db):
    """A store of a newer version and one that is damaged are told as what they are."""
    import sqlite3
    from contextlib import closing

    filled.close()
    whole = db.read_bytes()
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert any("newer" in cells[2] for cells in wrong(run("doctor")))
    db.write_bytes(whole[:4096] + os.urandom(8192))
    ran = run("doctor")
    assert (ran.code, any("damaged" in cells[2] for cells in wrong(ran))) == (1, True)


def test_what_others_may_read(run, filled, db, home):
    """Files that other users of this machine can read are named, with the command that mends it."""
    filled.close()
    db.chmod(0o644)
    keys = home / ".config/omniagent/keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text('{"openai": "sk-x"}')
    keys.chmod(0o640)
    ran = run("doctor", "--offline")
    assert ["warning", f"other users of this machine can read {db}", f"chmod go= {db}"] in told(ran, "store")  # fmt: skip
    assert ["warning", f"other users of this machine can read {keys}", f"chmod 600 {keys}"] in told(ran, "models")  # fmt: skip
    assert (ran.code, "sk-x" in ran.out) == (0, False)


def test_encryption_and_its_key(run, db, tmp_path, monkeypatch, config):
    """Whether a store is encrypted, its key is here, and it is the right one, is told; nobody is asked."""
    with with_encryption(open_store(db, ttl=None), Passphrase("open sesame")) as store:
        talk(store, "alice", "hello")
    ran = run("doctor")
    assert any("its key is not available" in cells[2] for cells in wrong(ran))
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "open sesame")
    ran = run("doctor")
    assert ["ok", "the store is encrypted, and the key is correct", ""] in told(ran, "store")
    assert ran.code == 0
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "another")
    assert run("doctor").code == 1
    monkeypatch.delenv("OMNIAGENT_ENCRYPTION_KEY")
    config("[store]\nencrypt = true\n")
    with open_store(tmp_path / "plain.db", ttl=None) as store:
        talk(store, "alice", "hello")
    ran = run("doctor", store=tmp_path / "plain.db")
    what = "but the store is not encrypted: it can be read, not written"
    wrong_setting = ["problem", f"store.encrypt is set, {what}", "run 'omniagent store encrypt'"]
    assert wrong_setting in told(ran, "store")
    config("")
    assert run("doctor", store=tmp_path / "plain.db").code == 0
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "open sesame")
    ran = run("doctor", store=tmp_path / "plain.db")
    wrong_key = ["problem", f"a key is set, {what}", "run 'omniagent store encrypt'"]
    assert wrong_key in told(ran, "store")


def test_mcp_servers(run, config, tmp_path):
    """A server whose program is not there is a problem; with --deep servers are started, and the tools counted."""
    good = [sys.executable, str(SERVERS / "mcp_server.py")]
    config(
        f'[mcp.servers.kind]\ncommand = {good}\nenv.NOTES = "{tmp_path}/notes"\n'
        '[mcp.servers.gone]\ncommand = "no-such-program"\n'
    )
    ran = run("doctor")
    assert ["problem", "the program no-such-program of gone was not found", "install it, or 'omniagent config unset mcp.servers.gone'"] in told(ran, "mcp")  # fmt: skip
    assert ["ok", "the program of kind was found", "'omniagent doctor --deep' starts it"] in told(ran, "mcp")  # fmt: skip
    deep = told(run("doctor", "--deep"), "mcp")
    assert [row[0] for row in deep] == ["problem", "ok"]
    assert deep[1][1].startswith("kind starts, with ")


def test_completion(run, monkeypatch, home):
    """Whether TAB is set up in this shell, and as this version has it, is told."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    (missing,) = told(run("doctor"), "completion")
    assert missing[0] == "warning"
    assert run("completion", "install").code == 0
    (there,) = told(run("doctor"), "completion")
    script = home / ".config/fish/completions/omniagent.fish"
    assert there == ["ok", f"completion is installed for fish: {script}", ""]
    script.write_text("# older\n")
    assert told(run("doctor"), "completion") == [["warning", f"{script} belongs to another version", "omniagent completion install fish"]]  # fmt: skip


def test_nowhere_to_write_and_no_home(db, filled):
    """In a home that nobody may write, and without any, it says so and ends as ever."""
    import shutil
    import subprocess

    filled.close()
    place = GUARDIAN.make_directory("omniagent-test-")
    try:
        shutil.copyfile(db, place / "sessions.db")
        place.chmod(0o555)
        # What is imported later may lie where only root may read, so everything is loaded first.
        code = (
            "import os, sys; from omniagent_cli.cli import main\n"
            "import omniagent_cli.cli.doctor.commands, omniagent_cli.cli.models.model_catalog, omniagent_cli.stores.backends.sqlite.store\n"
            "import omniagent_cli.cli.talk.agent_factory, omniagent_cli.cli.framework.command_groups, difflib, shutil, typer.main, jsonschema\n"
            "import omniagent_cli.config.settings, omniagent_cli.config.resolution, omniagent_cli.repl.clipboard\n"
            "main(['doctor', '--offline'])\n"
            "os.geteuid() == 0 and (os.setgid(65534), os.setuid(65534))\n"
            "print('--', flush=True)\n"
            "sys.exit(main(['doctor', '--offline']))"
        )
        for home in (str(place), "/nonexistent", ""):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, cwd="/", timeout=60, check=False,
                env=environment(place / "sessions.db", HOME=home, OLLAMA_HOST="127.0.0.1:9"),
            )  # fmt: skip
            shown = done.stdout.decode().partition("--\n")[2]
            assert b"Traceback" not in done.stderr
            assert "is read-only: new messages cannot be saved" in shown
            assert "store\tok\tthe store" in shown
            assert len(list(place.iterdir())) == 1
    finally:
        place.chmod(0o755)
        shutil.rmtree(place)


@pytest.mark.parametrize("columns", [100, 40])
def test_a_person_sees_what_to_do(person, filled, columns):
    """On a terminal problems stand with their remedy, wrapped to its width, by areas."""
    with person("doctor", "--offline", columns=columns, TERM="xterm") as terminal:
        assert terminal.wait() == 0
        shown = terminal.shown
    assert "\nstore\n  ok      " in shown
    assert f"{columns} columns, 24 rows" in " ".join(shown.split())
    assert "  warning the default model is recall" in shown
    assert "-> run 'omniagent keys set openai', or start Ollama" in " ".join(shown.split())


def test_ctrl_c_ends_it(db):
    """Ctrl-C while a provider is asked ends it at once, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with Program(db, "doctor", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url) as program:
            connection, _ = silent.accept()
            program.signal(signal.SIGINT)
            code, _, err = program.wait()
            assert code == 130
            assert "Traceback" not in err
            connection.close()
