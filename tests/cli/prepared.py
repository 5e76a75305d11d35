"""A home in which every example of the help works: sessions, stores, keys, files, and a server in OpenAI's place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from omniagent_cli import Message, open_store
from omniagent_cli.config.last_used_session import LastUsedSession
from omniagent_cli.config.paths import default_store_path

KEY = "sk-secret-of-mine"


def make_stores(place: Path) -> None:
    """Make the stores once; tests get copies, because making them waits for the disk."""
    with open_store(place / "default.db", ttl=None) as store:
        for session_id in ("user-123", "notes"):
            turns = [Message(role, f"{role} says time zone") for role in ("user", "assistant")]
            store.append(session_id, turns * 40)
            store.set_metadata(session_id, "project", {"name": "apollo"})
            store.set_state(session_id, "step", 3)
        store.tag("user-123", ["work", "old"])
        store.trim("user-123", 78)
        paid = Message("assistant", "paid, in the time zone of Postgres")
        store.append("user-123", [Message("user", "an invoice"), paid])
    for name in ("sessions.db", "work.db"):
        with open_store(place / name, ttl=None) as store:
            store.append(f"of-{name}", [Message("user", "hello")])


def prepare(home: Path, cwd: Path, stores: Path) -> None:
    """Fill an empty home, and the directory that commands are run in; HOME is that home."""
    default = Path(default_store_path(os.environ))
    default.parent.mkdir(parents=True, mode=0o700)
    for source, target in (
        ("default.db", default), ("sessions.db", cwd / "sessions.db"), ("work.db", cwd / "work.db"),
    ):  # fmt: skip
        shutil.copy(stores / source, target)
    LastUsedSession(f"sqlite://{default}", os.environ).remember("user-123")
    (cwd / "chats.jsonl").write_text(
        '{"id": "alice", "messages": [{"role": "user", "content": "hello"}]}\n'
    )
    config = home / ".config/omniagent"
    config.mkdir(parents=True, mode=0o700)
    (config / "config.toml").write_text(
        f'model = "openai:gpt-6-luna"\n[stores.work]\nurl = "{cwd}/work.db"\n'
        "[window]\nmax_messages = 40\n"
        '[prices."openai:gpt-6-luna"]\ninput = 1.0\noutput = 2.0\n'
    )
    (config / "prompts").mkdir()
    (config / "prompts/review.md").write_text(
        "---\nvariables: {language: English}\n---\nReview this in {{language}}:\n"
    )
    keys = config / "keys.json"
    keys.write_text(f'{{"openai": "{KEY}", "anthropic": "{KEY}"}}')
    for path in (config / "config.toml", keys):
        path.chmod(0o600)
    for name in ("base", "ours", "theirs"):
        (cwd / f"{name}.jsonl").write_text(
            '{"format":"omniagent-session","version":2,"uid":"00000000000001","id":"x",'
            '"created_at":"2026-01-01T12:00:00.000000Z"}\n'
        )
    (cwd / "key.txt").write_text(f"{KEY}\n")
    (cwd / ".omniagent.toml").write_text('[store]\nurl = "mine.db"\n')
    for name in ("my.key", "new.key"):
        (home / name).write_text(f"the passphrase in {name}\n")
    _programs(home / "bin")


def _programs(directory: Path) -> None:
    """Put programs of others in place that examples call."""
    directory.mkdir()
    for name, script in {
        "pass": f"echo {KEY}",
        "nano": "exit 0",
        "git": "echo '+a line'",
        "ssh": 'for last; do :; done; exec sh -c "$last"',
    }.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
