"""Sessions whose text OpenAI keeps, against a local server with the published API."""

import openai
import pytest

from omniagent_cli import Agent, migrate, open_store
from omniagent_cli.errors import (
    CorruptSession,
    SessionExists,
    SessionNotFound,
    StoreUnreachable,
    UnsupportedOperation,
)
from omniagent_cli.stores import with_compression, with_encryption
from omniagent_cli.stores.backends.conversations.store import ConversationsStore
from omniagent_cli.stores.operations.rollover import RolledOverSession
from omniagent_cli.testing import SharedPlaceContract, StoreCase, StoreContract
from omniagent_cli.testing.contract_model import ModelContract
from omniagent_cli.testing.contract_turns import CheckpointContract
from omniagent_cli.testing.contract_writing import WritingContract
from tests.agent.responses_asking import WEATHER, engine_for
from tests.servers.conversations_server import KEY, ConversationsServer
from tests.servers.fixtures import responses_server
from tests.servers.responses_server import call, output, reasoning, text
from tests.stores.migrating import content, fill

__all__ = ["responses_server"]


@pytest.fixture
def server():
    with ConversationsServer() as running:
        yield running


@pytest.fixture(scope="module")
def connection():
    """A client is costly to make; its copies share what is."""
    with openai.OpenAI(api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def client(connection, server):
    return connection.with_options(base_url=server.url)


@pytest.fixture
def opened(client, tmp_path):
    stores = []

    def opened(name="map", **options):
        stores.append(
            ConversationsStore(
                f"openai-conversations:{tmp_path}/{name}.db", client=client, **options
            )
        )
        return stores[-1]  # fmt: skip

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(opened):
    return opened()


@pytest.fixture
def case(client):
    return StoreCase(
        lambda place, **options: ConversationsStore(place / "map.db", client=client, **options)
    )


class TestContract(WritingContract, CheckpointContract, ModelContract):
    """What is written there comes back, and any series of operations gives what the memory store gives."""


@pytest.mark.soak
class TestContractInFull(StoreContract):
    """Every promise of one handle holds, but for being wrapped."""


class TestSharedPlaces(SharedPlaceContract):
    """Several objects can use one map."""


CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"a": 1}'}},
    {"id": "c2", "type": "function", "function": {"name": "pwd", "arguments": "{}"}},
]


def test_what_is_sent(store, server):
    """Messages become items with their roles and types, calls and results with names and call ids, in order."""
    store.append(
        "s",
        [
            {"role": "user", "content": "list"},
            {"role": "assistant", "content": "I look.", "tool_calls": CALLS},
            {"role": "tool", "content": "file", "tool_call_id": "c1", "name": "ls"},
            {"role": "assistant", "content": "Done."},
        ],
    )
    ((name, conversation),) = server.conversations.items()
    assert conversation["metadata"] == {"session_id": "s", "uid": store.header("s").uid}
    sent = [
        {k: v for k, v in item.items() if k not in ("id", "status")} for item in server.items(name)
    ]
    for item in sent:
        for part in item.get("content", ()):
            part.pop("annotations", None)
            part.pop("logprobs", None)
    assert sent == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "pwd", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "file"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    ]  # fmt: skip
    assert store.messages("s")[1].tool_calls == CALLS
    assert store.messages("s")[2].name == "ls"


def test_the_text_is_not_in_the_map(store, tmp_path):
    """The map holds what the API has no place for; beyond titles and previews no text; it is private."""
    store.append(
        "s",
        [{"role": "user", "content": "first"}, {"role": "user", "content": "x" * 200 + "needle"}],
    )
    store.append("s", {"role": "user", "content": "last"})
    assert b"needle" not in b"".join(path.read_bytes() for path in tmp_path.glob("map.db*"))
    assert (tmp_path / "map.db").stat().st_mode & 0o777 == 0o600  # fmt: skip


def test_the_map_outlives_the_program(opened, server):
    """Another object with the same map finds the same sessions; with another map it finds none."""
    opened().append("s", {"role": "user", "content": "hello"})
    assert [m.text for m in opened().messages("s")] == ["hello"]
    assert opened("other").list() == []


def test_long_sessions(store, server):
    """Long batches go in chunks of 20, and come back in order over pages of 100; the newest cost one page."""
    store.append("s", [{"role": "user", "content": str(n)} for n in range(250)])
    assert [m.text for m in store.messages("s")] == [str(n) for n in range(250)]
    adds = [target for method, target in server.requests if method == "POST"]
    assert len(adds) == 1 + 13
    before = len(server.requests)
    assert [m.text for m in store.messages("s", last=50)] == [str(n) for n in range(200, 250)]
    assert len(server.requests) == before + 1
    assert "limit=100" in server.requests[-1][1]
    assert [m.text for m in store.messages("s", after=150)] == [str(n) for n in range(151, 250)]
    assert len(server.requests) <= before + 3


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_failure_in_the_middle(store, server, after):
    """An append that fails at any request leaves nothing in the session, and no items at the provider."""
    store.append("s", {"role": "user", "content": "first"})
    server.fail(500, after=after)
    batch = [{"role": "user", "content": str(n)} for n in range(75)]
    with pytest.raises(StoreUnreachable, match="OpenAI returned"):
        store.append("s", batch)
    assert [m.text for m in store.messages("s")] == ["first"]
    (name,) = server.conversations
    assert len(server.items(name)) == 1
    store.append("s", batch)
    assert store.count_messages("s") == 76


def test_deleting_deletes_there(store, server):
    """What is purged is deleted at the provider: items first, because a conversation's deletion leaves them."""
    store.append("s", [{"role": "user", "content": str(n)} for n in range(5)])
    store.trim("s", 2)
    (first, binned) = server.conversations
    assert (len(server.items(first)), len(server.items(binned))) == (2, 3)
    store.delete("s", purge=True)
    store.empty_trash()
    assert server.conversations == {}
    assert [items for items in server.contents.values() if items] == []


def test_what_could_not_be_deleted(store, server):
    """A purge that the provider did not do says where a copy is; it is done with the next write."""
    store.append("s", {"role": "user", "content": "a"})
    server.fail(500, times=2)
    with pytest.raises(StoreUnreachable, match="is deleted with the next write"):
        store.delete("s", purge=True)
    assert not store.exists("s")
    assert store.info()["to_delete"] == 2
    store.append("other", {"role": "user", "content": "b"})
    assert [c["metadata"]["session_id"] for c in server.conversations.values()] == ["other"]
    assert store.info()["to_delete"] == 0


def test_a_late_deletion_is_no_failure(store, server):
    """What is done here is done, although the provider deletes later."""
    store.append("s", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    server.broken["DELETE"] = 500
    assert store.pop("s").text == "b"
    assert store.info()["to_delete"] == 1
    server.broken.clear()
    store.touch("s")
    assert store.info()["to_delete"] == 0
    assert sorted(len(items) for items in server.contents.values()) == [1, 1]


def test_what_the_api_does_not_take(store, server):
    """Empty text, NULs and half characters stay in the map, and come back all the same."""
    given = ["", "a\x00b", "half \ud83d"]
    store.append("s", [{"role": "user", "content": text} for text in given])
    assert [m.text for m in store.messages("s")] == given
    assert server.conversations == {}


def test_the_name_is_kept_there(store, server):
    """A renamed session's conversation knows its new name."""
    store.append("s", {"role": "user", "content": "a"})
    store.rename("s", "t")
    ((_, conversation),) = server.conversations.items()
    assert conversation["metadata"]["session_id"] == "t"


def test_facts_do_not_send_text_again(store, server):
    """Marking a message changes the map alone."""
    store.append("s", {"role": "assistant", "content": "a"})
    before = [item["id"] for items in server.contents.values() for item in items.values()]
    store.set_message_status("s", 0, "failed", {"why": "x"})
    assert store.messages("s")[0].status == "failed"
    assert [item["id"] for items in server.contents.values() for item in items.values()] == before


def test_rebuilt_from_the_conversation(opened, server, client):
    """A conversation that the map lost comes back under the name its metadata has, and goes on."""
    opened().append(
        "s",
        [
            {"role": "user", "content": "list"},
            {"role": "assistant", "content": "I look.", "tool_calls": CALLS},
            {"role": "tool", "content": "file", "tool_call_id": "c1"},
        ],
    )
    (name,) = server.conversations
    other = opened("other")
    assert other.adopt(name) == "s"
    messages = other.messages("s")
    assert [(m.role, m.text) for m in messages] == [
        ("user", "list"),
        ("assistant", "I look."),
        ("tool", "file"),
    ]
    assert messages[1].tool_calls == CALLS
    other.append("s", {"role": "user", "content": "more"})
    assert len(server.items(name)) == 6
    with pytest.raises(SessionExists):
        other.adopt(name)
    foreign = client.conversations.create(
        items=[{"type": "message", "role": "developer", "content": "Hi"}]
    )
    assert other.adopt(foreign.id) == foreign.id
    assert [(m.role, m.text) for m in other.messages(foreign.id)] == [("system", "Hi")]
    with pytest.raises(SessionNotFound):
        other.adopt("conv_missing")  # fmt: skip


def test_removed_at_the_provider(store, server):
    """A conversation that was deleted there is not found; an item that was is damage; neither reads as empty."""
    store.append("s", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    (name,) = server.conversations
    server.contents[name].popitem()
    with pytest.raises(CorruptSession):
        store.messages("s")
    del server.conversations[name]
    server.contents[name].clear()
    with pytest.raises(SessionNotFound):
        store.messages("s")


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "rejected the API key"), (403, "rejected the API key"), (429, "rate limited"), (500, "OpenAI returned"), (400, "OpenAI returned")],
)  # fmt: skip
def test_refusals_are_told(store, server, status, text):
    """A wrong key, a rate limit and a server's failure are each told as that, and never look empty."""
    store.append("s", {"role": "user", "content": "a"})
    server.fail(status)
    with pytest.raises(StoreUnreachable, match=text):
        store.messages("s")
    assert [m.text for m in store.messages("s")] == ["a"]


def test_a_rate_limit_is_waited_for(server, tmp_path):
    """A client that may retry gets over rate limits and failures without anything sent twice."""
    with (
        openai.OpenAI(api_key=KEY, base_url=server.url, max_retries=2) as client,
        ConversationsStore(tmp_path / "map.db", client=client) as store,
    ):
        for status in (429, 500):
            server.fail(status, times=2)
            store.append("s", {"role": "user", "content": str(status)})
        assert [m.text for m in store.messages("s")] == ["429", "500"]
        (name,) = server.conversations
        assert len(server.items(name)) == 2


def test_nobody_answers(tmp_path):
    """A server that is not there is told as that; what needs no text works without it."""
    with openai.OpenAI(api_key=KEY, base_url="http://127.0.0.1:9/v1", max_retries=0) as client:
        with ConversationsStore(tmp_path / "map.db", client=client) as store:
            with pytest.raises(StoreUnreachable, match="no answer"):
                store.append("s", {"role": "user", "content": "a"})
            assert store.list() == []
            store.set_metadata("t", "k", 1)
            assert store.get_metadata("t", "k") == 1


def test_it_is_not_wrapped(store):
    """Compression and encryption are refused by name."""
    with pytest.raises(UnsupportedOperation):
        with_compression(store)
    with pytest.raises(UnsupportedOperation):
        with_encryption(store, bytes(16))


def test_migration_there_and_back(opened):
    """A store moves to the provider and back unchanged."""
    with open_store("memory:") as source, open_store("memory:") as back:
        fill(source)
        target = opened()
        migrate(source, target)
        assert content(target) == content(source)
        migrate(target, back)
        assert content(back) == content(source)


def test_opened_by_its_url(server, tmp_path, monkeypatch):
    """`open_store` opens it; the key and the address come from the variables of the library."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    url = f"openai-conversations:{tmp_path}/map.db"
    with open_store(url) as store:
        assert store.list() == []
        with pytest.raises(StoreUnreachable, match="requires a key"):
            store.append("s", {"role": "user", "content": "a"})
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        store.append("s", {"role": "user", "content": "a"})
        assert (store.url, store.capabilities.atomic_append) == (url, False)
        assert [m.text for m in store.messages("s")] == ["a"]


def test_the_map_has_a_place_of_its_own(home, monkeypatch):
    """Without a path the map is in the person's data directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    with open_store("openai-conversations:") as store:
        assert store.url == f"openai-conversations:{home}/data/omniagent/conversations.db"


def test_a_conversation_is_set_aside(store):
    """A session that rolls over keeps its conversation under another id, and begins another one."""
    store.append("s", {"role": "user", "content": "before"})
    assert store.roll_over(
        "s", lambda *_: RolledOverSession("s@before", "daily")
    ) == RolledOverSession("s@before", "daily")
    store.append("s", {"role": "user", "content": "after"})
    assert [m.text for m in store.messages("s@before")] == ["before"]
    assert [m.text for m in store.messages("s")] == ["after"]


def test_a_refusal_that_was_adopted(opened, client):
    """What a model said when it refused, in a conversation made elsewhere, is its message."""
    part = {"type": "refusal", "refusal": "I cannot."}
    items = [{"type": "message", "role": "assistant", "content": [part]}]
    foreign = client.conversations.create(items=items)
    store = opened()
    store.adopt(foreign.id, "s")
    assert [(m.role, m.text) for m in store.messages("s")] == [("assistant", "I cannot.")]


def test_turns_through_the_responses_api(store, server, responses_server):
    """Reasoning stays in the map on this machine, and goes back to the model; the conversation has what was said."""
    models = responses_server(
        output(reasoning("Hm."), call("weather", {"city": "Paris"})),
        output(reasoning(), text("Rain.")),
        output(text("Bye.")),
    )
    with Agent(engine_for(models), store=store, tools=[WEATHER]) as agent:
        agent.process_with_session("s", "Weather?")
        agent.process_with_session("s", "Thanks")
    sent = models.chats()[2]["input"]
    assert [item["type"] for item in sent].count("reasoning") == 2
    assert [m.text for m in store.messages("s")] == [
        "Weather?",
        "",
        "Paris: rain",
        "Rain.",
        "Thanks",
        "Bye.",
    ]
    (name,) = server.conversations
    kinds = [item["type"] for item in server.items(name)]
    assert kinds == ["message", "function_call", "function_call_output", *["message"] * 3]
