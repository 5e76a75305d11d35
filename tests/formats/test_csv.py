"""``csv``: one row per message, complete texts, no formulas."""

from __future__ import annotations

import csv
import io

from conversations import RICH, exported, rich_store
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omniagent_cli.formats.writers.csv import COLUMNS
from omniagent_cli.stores import open_store
from omniagent_cli.text.sanitize import visible

STARTS = "=+-@\t\r＝＋－＠"  # noqa: RUF001  # wide forms are formulas too


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_every_message_is_a_row():
    """A header row, then a row per message, in order, for all sessions."""
    with rich_store() as store:
        data = exported(store, RICH, "csv")
    assert data.startswith(b"\xef\xbb\xbfsession,title,position,")
    found = rows(data)
    assert [(row["session"], row["position"]) for row in found] == [
        *((RICH[0], str(n)) for n in range(6)), *((RICH[1], str(n)) for n in range(2)),
    ]  # fmt: skip
    assert (found[4]["input_tokens"], found[4]["output_tokens"]) == ("12", "5")
    assert found[4]["time_utc"] == "2026-11-21 09:33:00"
    assert found[2]["tool_calls"] == 'ls({"path":"~/.ssh"})'


TEXTS = st.text(st.sampled_from(STARTS + " \n\"',;a1|()") | st.characters(), max_size=20)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=5, max_size=5))
@example(["=1+1", "\n=1", " @x", "\t=x", '-1"'])
def test_no_cell_is_a_formula(said):
    """No text is evaluated by a spreadsheet; without the apostrophe it is unchanged."""
    call = {"id": "c", "type": "function", "function": {"name": said[2], "arguments": said[3]}}
    part = {"type": "file", "file": {"filename": said[4]}}
    content = [{"type": "text", "text": said[0]}, part]
    message = {
        "role": "assistant",
        "content": content,
        "name": said[1],
        "model": said[2],
        "tool_calls": [call],
    }
    message["usage"] = {"input_tokens": -1, "output_tokens": "=1"}
    with open_store("memory:", ttl=None) as store:
        store.append("s", [message])
        store.set_title("s", said[4])
        data = exported(store, ["s"], "csv")
    (row,) = rows(data)
    assert list(row) == list(COLUMNS)
    assert not any(cell.lstrip(" \n").startswith(tuple(STARTS)) for cell in row.values())
    shown = visible(said[0])
    assert row["text"].replace("\r\n", "\n") in (shown, f"'{shown}")
    assert (row["input_tokens"], row["output_tokens"]) == ("", "")
