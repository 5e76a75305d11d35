"""Ids in a pipe: what one command lists, another changes, whatever the ids are."""

from __future__ import annotations

import subprocess

import pytest

from tests import forked
from tests.cli.scene import environment, talk

ODD = ("-y", "--all", "@", "id:@", "a b", "$(touch PWNED)", "*", "Ärger 😀", "'", '"', "a\\tb")


@pytest.fixture
def odd(filled):
    """Ids that a shell, an option parser or `@` would read as something else."""
    for session_id in ODD:
        talk(filled, session_id, "hello")
    return filled


def _listed(run, *words):
    return run("sessions", "list", "--ids", *words).out


def test_a_list_is_deleted_through_a_real_pipe(odd, db):
    """What `list --ids` prints is what `delete --stdin` takes, in a shell, whatever the ids are."""
    program = f"{forked.python()} -m omniagent_cli"
    shell = f"{program} sessions list --ids | {program} sessions delete --stdin -y"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        capture_output=True, env=environment(db), timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"Deleted 14 sessions with 18 messages")
    assert odd.count(archived=None) == 0
    assert len(odd.trash()) == 14


@pytest.mark.parametrize("null", [(), ("-0",)], ids=["lines", "NUL"])
@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (("pin",), lambda summary: summary.pinned),
        (("archive",), lambda summary: summary.archived),
        (("tag", "+x", "+y"), lambda summary: summary.tags == ["x", "y"]),
        (("clear", "-y"), lambda summary: summary.message_count == 0),
        (("trim", "--keep", "0", "-y"), lambda summary: summary.message_count == 0),
        (("touch", "--ttl", "7d"), lambda summary: summary.expires_at is not None),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_command_for_many_takes_them(run, odd, words, holds, null):
    """Each command that changes many sessions changes exactly those that stdin names."""
    ids = _listed(run, *null).encode()
    if words[0] == "tag" and null:
        null = ("--null",)
    ran = run("sessions", words[0], "--stdin", *null, *words[1:], stdin=ids)
    assert (ran.code, ran.out) == (0, "")
    assert all(holds(summary) for summary in odd.list(archived=None))


def test_exported_ids_come_in_their_order(run, odd):
    """`export --stdin` writes the sessions in the order of their ids, as lines."""
    ran = run("sessions", "export", "--stdin", "--format", "jsonl", stdin=b"@\nalice\n--all\n")
    assert ran.code == 0
    ids = [
        line.partition('"id":"')[2].partition('"')[0] for line in ran.lines if '"format"' in line
    ]
    assert ids == ["@", "alice", "--all"]


def test_unpin_and_unarchive(run, odd):
    """What was marked through a pipe is unmarked through one."""
    ids = _listed(run).encode()
    for word in ("pin", "unpin", "archive", "unarchive"):
        ran = run("-q", "sessions", word, "--stdin", stdin=ids)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert not any(summary.pinned or summary.archived for summary in odd.list(archived=None))


def test_blank_lines_and_returns_are_no_ids(run, filled):
    """Blank lines and the carriage returns of other systems do no harm, and names may be given beside."""
    ran = run("sessions", "pin", "carol", "--stdin", stdin=b"\r\nalice\r\n\n  \nbob")
    assert (ran.code, ran.err) == (0, "Changed 3 sessions\n")


@pytest.mark.parametrize("words", [("delete", "-y"), ("pin",), ("tag", "+x"), ("touch",)])
def test_nothing_on_stdin_changes_nothing(run, filled, words):
    """An empty list is no mistake: nothing is done, and nothing has failed."""
    ran = run("sessions", words[0], "--stdin", *words[1:])
    assert (ran.code, ran.out) == (0, "")
    assert filled.count() == 3


def test_one_that_is_missing_stops_all(run, filled):
    """When one of many ids is not there, nothing is changed, and the id is named."""
    ran = run("sessions", "delete", "--stdin", "-y", stdin=b"alice\nnobody\n")
    assert (ran.code, ran.out) == (1, "")
    assert "there is no session 'nobody'" in ran.err
    assert filled.count() == 3


def test_a_pipe_is_not_asked(run, filled):
    """Where stdin is a list nobody can be asked, so --yes is needed and said."""
    ran = run("sessions", "delete", "--stdin", stdin=b"alice\nbob\n")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "omniagent: error: this would delete 2 sessions with 6 messages; use --yes to confirm\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("delete", "-0", "-y"), "-0 needs --stdin"),
        (("list", "-0"), "-0 needs --ids"),
        (("search", "x", "-0"), "-0 needs --ids"),
        (("delete", "--stdin", "--all", "-y"), "use either session ids or filters to choose what to delete, not both"),
        (("export", "--stdin", "--all"), "use either session ids or filters to choose what to export, not both"),
        (("pin",), "no session given; name at least one, or use --stdin"),
        (("tag", "--stdin"), "no tags given; use +work to add a tag and -work to remove it"),
        (("tag",), "no session given; name one, or use --stdin"),
        (("tag", "--stdin", "alice", "+x"), "'alice' has no sign; use +work to add a tag and -work to remove it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_contradicts_itself_is_told(run, filled, words, told):
    """Options that do not go together are exit 2 and one line."""
    ran = run("sessions", *words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_bytes_that_are_no_id_are_refused(run, filled):
    """Bytes that are no UTF-8, and ids that none can have, are refused as they are anywhere."""
    for data in (b"\xff\xfe\n", b"a\x1b[31m\n", b"x" * 600):
        assert run("sessions", "pin", "--stdin", stdin=data).code == 2
    assert not any(summary.pinned for summary in filled.list())


def test_search_prints_ids_for_a_pipe(run, filled):
    """`search --ids` prints each session that has a hit once, by lines or NUL, or as JSON."""
    assert run("sessions", "search", "alice", "--ids").out == "alice\n"
    assert run("sessions", "search", "alice", "--ids", "-0").out == "alice\0"
    assert run("sessions", "search", "alice", "--ids", "--json").json == ["alice"]


def test_ids_end_with_nul(run, odd):
    """`list --ids -0` ends each id with NUL, for xargs -0, also when there is none."""
    ids = _listed(run, "-0").split("\0")
    assert (set(ids), ids[-1]) == ({*ODD, "alice", "bob", "carol", ""}, "")
    assert _listed(run, "-0", "--tag", "nothing has this") == ""


def test_nul_where_lines_are_read_is_told(run, odd):
    """Ids that end with NUL are not one long id for who reads lines; ``-0`` of `tag` takes the tag 0 away."""
    listed = _listed(run, "-0")
    for words in (["delete", "-y"], ["tag", "-0"]):
        ran = run("sessions", *words, "--stdin", stdin=listed.encode())
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "omniagent: error: the ids on stdin end with NUL; use --null\n"
    assert odd.count(archived=None) == 14


def test_tags_of_many_as_json(run, filled):
    """With --json the tags of each session that stdin names are printed."""
    ran = run("sessions", "tag", "--stdin", "+x", "--json", stdin=b"alice\nbob\n")
    assert ran.json == [{"id": "alice", "tags": ["x"]}, {"id": "bob", "tags": ["x"]}]
