"""The JSON-file store under real crashes and real crowds."""

import signal
import subprocess
from pathlib import Path

import pytest

from omniagent_cli.errors import StoreCorrupt, StoreReadOnly
from omniagent_cli.stores.backends.jsonl.journal import Step, commit_journal
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from tests import forked
from tests.stores.crashing import OPERATIONS
from tests.stores.place import run, start, together

TOP = Path(__file__).parents[2]

APPENDING = """
import sys
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
store = JsonlFilesStore(sys.argv[1])
place, count, name = sys.argv[1:]
for number in range(int(count)):
    store.append("a", [{"role": "user", "content": f"{name}:{number}:{part}"} for part in "xy"])
    print(number, flush=True)
"""


def user(text):
    return {"role": "user", "content": text}


def appending(place, name, count):
    return forked.start(
        ["-c", APPENDING, place, str(count), name],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_step(tmp_path, operation):
    """A process killed at any step of an operation leaves all of it or nothing, and the store goes on."""
    code = "import sys, tests.stores.crashing as c; c.main(*sys.argv[1:])"
    assert int(run(code, tmp_path, operation, cwd=TOP)) > 3


def test_killed_while_appending(tmp_path):
    """Fifteen times kill -9 at any moment: everything acknowledged is there, whole turns only, in order."""
    acknowledged = 0
    for number in range(15):
        with appending(tmp_path / "s", str(number), 10_000) as process:
            for _ in range(number * 7 % 20 + 1):
                process.stdout.readline()
                acknowledged += 1
            process.send_signal(signal.SIGKILL)
            acknowledged += len(process.stdout.readlines())
    with JsonlFilesStore(tmp_path / "s") as store:
        messages = store.messages("a")
        assert len(messages) == store.count_messages("a")
        assert len(messages) >= 2 * acknowledged
        turns = [message.content.rsplit(":", 1)[0] for message in messages]
        assert turns[::2] == turns[1::2]
        assert len(messages) <= 2 * (acknowledged + 15)


def test_sixteen_processes_on_one_session(tmp_path):
    """Sixteen first starts on an empty place, all appending to one session, lose nothing and keep their order."""
    for printed in together(APPENDING, 16, tmp_path / "s", 12):
        assert len(printed.splitlines()) == 12
    with JsonlFilesStore(tmp_path / "s") as store:
        messages = store.messages("a")
        assert [message.position for message in messages] == list(range(16 * 12 * 2))
        for number in range(16):
            own = [m.content for m in messages if m.content.startswith(f"{number}:")]
            assert own == [f"{number}:{turn}:{part}" for turn in range(12) for part in "xy"]


def test_renaming_while_others_list_and_read(tmp_path):
    """A session that is renamed again and again is always there under one of its names."""
    place = tmp_path / "s"
    script = (
        "import sys\nfrom omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore\n"
        "store = JsonlFilesStore(sys.argv[1])\n"
        "for _ in range(60):\n    store.rename('a', 'b'); store.rename('b', 'a')\n"
    )
    with JsonlFilesStore(place) as store:
        store.append("a", user("one"))
        store.append("z", user("other"))
        with start(script, place) as process:
            while process.poll() is None:
                names = [summary.id for summary in store.list(sort="id")]
                assert names in (["a", "z"], ["b", "z"])
                store.exists("a")
                store.exists("b")
        assert process.returncode == 0


def test_a_reader_never_misses_an_answer_that_ends(tmp_path):
    """While answers grow and end in another process, a reader sees each of them from its first checkpoint on."""
    place = tmp_path / "s"
    script = (
        "import sys\nfrom omniagent_cli.models import Message\n"
        "from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore\n"
        "store = JsonlFilesStore(sys.argv[1])\nuid = store.header('a').uid\n"
        "for number in range(80):\n"
        "    answer = store.checkpoint('a', Message('assistant', 'x'), uid=uid).messages[0]\n"
        "    answer.status = 'complete'\n"
        "    store.checkpoint('a', answer, uid=uid, final=True)\n"
    )
    with JsonlFilesStore(place) as store:
        store.append("a", user("one"))
        seen = 1
        with start(script, place) as process:
            while process.poll() is None:
                count = len(store.messages("a"))
                assert count >= seen
                assert store.count_messages("a") >= count
                seen = count
        assert process.returncode == 0
        assert store.count_messages("a") == len(store.messages("a")) == 81


def test_a_journal_cannot_reach_out_of_the_store(tmp_path):
    """A journal that was tampered with is refused, and nothing it names is touched."""
    place = tmp_path / "s"
    outside = tmp_path / "outside.jsonl"
    with JsonlFilesStore(place) as store:
        store.append("a", user("one"))
        outside.write_bytes((place / "a.jsonl").read_bytes())
        step = Step("remove", "../outside.jsonl", store.header("a").uid)
        commit_journal(Layout(place), [step])
        for attempt in (lambda: store.get("a"), lambda: store.append("a", user("two"))):
            with pytest.raises(StoreCorrupt, match=r"journal\.json"):
                attempt()
    assert outside.exists()


def test_a_journal_in_a_place_that_cannot_be_written(tmp_path):
    """What a crash left half done is told where it cannot be finished, and finished where it can."""
    place = tmp_path / "s"
    with JsonlFilesStore(place) as store:
        store.append("a", user("one"))
        layout = Layout(place)
        commit_journal(layout, [Step("remove", "a.jsonl", store.header("a").uid)])
    with (
        JsonlFilesStore(place, read_only=True) as store,
        pytest.raises(StoreReadOnly, match="interrupted change"),
    ):
        store.list()
    with JsonlFilesStore(place) as store:
        assert store.list() == []


def test_a_journal_of_old_does_no_harm(tmp_path):
    """Steps that were done are not done again to what stands there now."""
    place = tmp_path / "s"
    with JsonlFilesStore(place) as store:
        uid = store.write("a", user("one")).uid
        store.rename("a", "b")
        store.append("a", user("another session"))
        size = (place / "b.jsonl").stat().st_size
        store.append("b", user("two"))
        steps = [
            Step("append", "b.jsonl", uid, at=size - 10, data=b"old\n"),
            Step("move", "a.jsonl", uid, to="c.jsonl"),
            Step("remove", "a.jsonl", uid),
        ]
        commit_journal(Layout(place), steps)
        assert [m.content for m in store.messages("b")] == ["one", "two"]
        assert [m.content for m in store.messages("a")] == ["another session"]
        assert not Layout(place).journal.exists()


def test_a_store_crosses_a_fork(tmp_path):
    """A child process can go on using the store object of its parent."""
    script = (
        "import os, sys\nfrom omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore\n"
        "store = JsonlFilesStore(sys.argv[1])\n"
        "store.append('a', {'role': 'user', 'content': 'parent'})\n"
        "child = os.fork()\n"
        "store.append('a', {'role': 'user', 'content': 'either'})\n"
        "if child:\n    sys.exit(os.waitpid(child, 0)[1])\n"
        "os._exit(0)\n"
    )
    run(script, tmp_path / "s")
    with JsonlFilesStore(tmp_path / "s") as store:
        assert [m.content for m in store.messages("a")] == ["parent", "either", "either"]
