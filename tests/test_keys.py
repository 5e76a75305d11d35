"""Keys: three places in order, never shown."""

from __future__ import annotations

import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from omniagent_cli.errors import ConfigError, OmniAgentError, UsageError
from omniagent_cli.keys import KEYRING_ORIGIN, Key, KeyChain, check_key

VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")

WORKING = """
import json, pathlib
BOX = pathlib.Path(__file__).with_suffix(".box")
def _all(): return json.loads(BOX.read_text()) if BOX.exists() else {}
def get_password(service, name): return _all().get(f"{service}/{name}")
def set_password(service, name, password): BOX.write_text(json.dumps({**_all(), f"{service}/{name}": password}))
def delete_password(service, name):
    left = _all(); del left[f"{service}/{name}"]; BOX.write_text(json.dumps(left))
"""
FAILING = """
def _fail(*_): raise RuntimeError("no backend on this machine")
get_password = set_password = delete_password = _fail
"""
NULL = "def get_password(*_): return None\nset_password = delete_password = get_password\n"
STUBBORN = (
    "def get_password(*_): return 'k'\ndef delete_password(*_): raise RuntimeError('locked')\n"
)
BROKEN = "raise OSError('its backend does not load')"


@pytest.fixture
def keyring(tmp_path, monkeypatch):
    """Put a library of that name on the path, in place of the real one."""

    def install(source):
        folder = tmp_path / "libraries"
        folder.mkdir()
        (folder / "keyring.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "keyring", raising=False)

    yield install
    sys.modules.pop("keyring", None)


def chain(tmp_path, **environ):
    return KeyChain(tmp_path / "private" / "keys.json", environ=environ)


def test_environment_then_keyring_then_file(tmp_path, keyring):
    """The first place that has a key gives it, and says which it was."""
    keyring(WORKING)
    path = tmp_path / "private" / "keys.json"
    KeyChain(path, environ={}, use_keyring=False).set("gemini", "in-file")
    places = [chain(tmp_path).find("gemini", VARIABLES)]
    import keyring as box

    box.set_password("omniagent", "gemini", "in-ring")
    places.append(chain(tmp_path).find("gemini", VARIABLES))
    places.append(chain(tmp_path, GOOGLE_API_KEY=" in-env\n").find("gemini", VARIABLES))
    assert places == [
        Key("gemini", str(path), "in-file"),
        Key("gemini", KEYRING_ORIGIN, "in-ring"),
        Key("gemini", "GOOGLE_API_KEY", "in-env"),
    ]
    assert chain(tmp_path).get("openai", ("OPENAI_API_KEY",)) is None


def test_set_prefers_the_keyring(tmp_path, keyring):
    """With a keyring nothing lies in a file, not even an older key."""
    keyring(WORKING)
    keys = chain(tmp_path)
    KeyChain(tmp_path / "private" / "keys.json", environ={}, use_keyring=False).set("openai", "old")
    assert keys.set("openai", " sk-1 ") == KEYRING_ORIGIN
    assert keys.get("openai") == "sk-1"
    assert json.loads((tmp_path / "private" / "keys.json").read_text()) == {}
    assert keys.remove("openai") == (KEYRING_ORIGIN,)
    assert keys.get("openai") is None


@pytest.mark.parametrize("source", [FAILING, NULL, BROKEN], ids=["failing", "null", "broken"])
def test_without_a_working_keyring_a_private_file(tmp_path, keyring, source):
    """A keyring that fails or forgets is none: the file takes the key, whatever the umask is."""
    keyring(source)
    before = os.umask(0)
    try:
        place = chain(tmp_path).set("openai", "sk-1")
    finally:
        os.umask(before)
    path = tmp_path / "private" / "keys.json"
    assert place == str(path)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)] == [0o600, 0o700]
    assert chain(tmp_path).get("openai") == "sk-1"
    assert list(path.parent.iterdir()) == [path]


def test_every_place_is_told_and_no_key(tmp_path):
    """All places that hold a key are told, the one in use first; no text form shows a key."""
    keys = KeyChain(tmp_path / "k", environ={"OPENAI_API_KEY": "sk-env"}, use_keyring=False)
    keys.set("openai", "sk-file")
    keys.set("mine", "own-file")
    found = keys.places("openai", ("OPENAI_API_KEY",))
    assert [(key.where, key.origin) for key in found] == [
        ("environment", "OPENAI_API_KEY"),
        ("file", str(tmp_path / "k")),
    ]
    assert keys.names_in_file() == ("openai", "mine")
    assert not any(secret in repr(found) for secret in ("sk-env", "sk-file", "own-file"))


def test_many_who_set_keys_at_once_lose_none(tmp_path):
    """Each key set at the same time as others is there afterwards."""
    path = tmp_path / "new" / "k"

    def keep(number):
        KeyChain(path, environ={}, use_keyring=False).set(f"p{number}", f"sk-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(16)))
    assert json.loads(path.read_text()) == {f"p{n}": f"sk-{n}" for n in range(16)}


def test_a_link_to_the_file_stays_one(tmp_path):
    """Who keeps the key file elsewhere finds the new key there."""
    (tmp_path / "vault").mkdir()
    (tmp_path / "k").symlink_to(tmp_path / "vault" / "keys")
    KeyChain(tmp_path / "k", environ={}, use_keyring=False).set("xai", "x")
    assert (tmp_path / "k").is_symlink()
    assert json.loads((tmp_path / "vault" / "keys").read_text()) == {"xai": "x"}


def test_remove_says_what_was_there(tmp_path):
    """Removing names the places it was removed from; a variable is not ours to unset."""
    keys = KeyChain(tmp_path / "k", environ={"X": "env"}, use_keyring=False)
    assert keys.remove("xai") == ()
    keys.set("xai", "x")
    assert keys.remove("xai") == (str(tmp_path / "k"),)
    assert keys.get("xai", ("X",)) == "env"


def test_a_keyring_that_does_not_let_go_is_told(tmp_path, keyring):
    """A key that could not be removed is never said to be gone."""
    keyring(STUBBORN)
    with pytest.raises(OmniAgentError, match="did not remove the key of openai"):
        chain(tmp_path).remove("openai")


@pytest.mark.parametrize("content", ["{", "[]", '{"openai": 1}', "\ufffd"])
def test_a_damaged_file_is_told_and_not_overwritten(tmp_path, content):
    """Damage is an error with the path, not a loss of the other keys, and shows nothing of the file."""
    path = tmp_path / "k"
    path.write_text(content)
    keys = KeyChain(path, environ={}, use_keyring=False)
    for use in (lambda: keys.get("openai"), lambda: keys.set("openai", "k")):
        with pytest.raises(ConfigError) as told:
            use()
        assert str(told.value) == (
            f"the key file {path} is damaged; remove it and set the keys again"
        )
    assert path.read_text() == content


def test_files_that_cannot_be_used(tmp_path):
    """A folder in place of the file, or of its parent, is a configuration error with the path."""
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyChain(tmp_path, environ={}, use_keyring=False).get("openai")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be"):
        KeyChain(tmp_path / "file" / "k", environ={}, use_keyring=False).set("openai", "k")


def test_nowhere_to_keep_a_key():
    """Without keyring and file, setting says so."""
    with pytest.raises(ConfigError, match="no system keyring and no key file"):
        KeyChain(environ={}, use_keyring=False).set("openai", "k")


@pytest.mark.parametrize("key", ["", "  ", "two words", "sk-\u201cquoted\u201d", "a\nb", "a\x00"])
def test_what_cannot_be_a_key(key):
    """A key that no header can carry is refused when it is set, without repeating it."""
    with pytest.raises(UsageError) as told:
        check_key(key)
    assert not key.strip() or key not in str(told.value)
