"""A store full of telling words, what can be read of it, and where in its files the words still stand."""

from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from omniagent_cli.stores.backends.redis.store import RedisStore
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from tests.stores.postgres_server import place_url as postgres_url
from tests.stores.redis_server import place_url as redis_url

KEY = bytes(range(32))
OTHER = bytes(range(100, 124))
# Long enough that random bytes in base64 do not contain one by chance, as they did one of six letters.
WORDS = (
    b"pademelon",
    b"bandicoot",
    b"thylacine",
    b"cassowary",
    b"currawong",
    b"kookaburra",
    b"budgerigar",
    b"honeyeater",
)

PLACES = {
    "sqlite": lambda place, **options: SqliteStore(place / "sessions.db", **options),
    "file": lambda place, **options: JsonlFilesStore(place / "sessions", **options),
}
BACKENDS = {
    "memory": lambda place, **options: MemoryStore(**options),
    **PLACES,
    "redis": lambda place, **options: RedisStore(redis_url(place), **options),
    "postgres": lambda place, **options: PostgresStore(postgres_url(place), **options),
}


def fill(store, sessions=6, messages=12):
    """Put a word into everything that a store keeps, also what was replaced, trimmed and deleted."""
    for number in range(sessions):
        texts = [f"pademelon {number}.{n} " + "bandicoot " * (n % 40) for n in range(messages)]
        store.append(f"s{number}", [Message("user", text) for text in texts])
    store.set_title("s0", "thylacine")
    store.set_metadata("s0", "animal", "cassowary")
    store.set_state("s0", "animal", "currawong")
    store.put_attachment("s0", "a" * 64, {"name": "kookaburra"})
    store.put_summary("s0", 1, {"text": "budgerigar"})
    answer = Message("assistant", "honeyeater")
    uid = store.header("s1").uid
    for text in ("honeyeater 1", "honeyeater 2"):
        answer.content = text
        answer = store.checkpoint("s1", answer, uid=uid).messages[0]
    store.checkpoint("s1", answer, uid=uid, final=True)
    store.trim("s2", 3)
    store.delete("s3")
    store.append("mark me", Message("user", "pademelon"))
    store.rename("mark me", "a")
    store.list()
    store.search("pademelon")


def contents(store):
    """Return everything that can be read of a store."""
    sessions = {}
    for summary in store.list(archived=None):
        session = store.get(summary.id)
        records = [
            (kind, *record)
            for kind in ("attachment", "summary")
            for record in store.iter_records(summary.id, kind)
        ]
        sessions[summary.id] = (session, records, summary)
    return sessions, store.trash(), [hit.snippet for hit in store.search("pademelon", limit=None)]


def readable(directory):
    """Return where in the files below a directory one of the words stands."""
    return [
        f"{path.relative_to(directory)}: {word.decode()}"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for word in WORDS
        if word in path.read_bytes().lower()
    ]
