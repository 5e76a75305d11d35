"""Directories, zip archives and compressed files: content is read, hostile content is reported."""

from __future__ import annotations

import gzip
import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
from test_account_exports import EDITED

from omniagent_cli.formats.importer import import_path, import_stream
from omniagent_cli.stores import SessionStore, open_store


@pytest.fixture
def store():
    with open_store("memory:") as opened:
        yield opened


def zipped(members: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    out.seek(0)
    return out


def export(number: int) -> bytes:
    return json.dumps([{**EDITED, "id": f"c-{number}"}]).encode()


class Pipe(io.RawIOBase):
    """Stream that is not seekable."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(buffer)


def test_an_account_export_in_pieces_in_its_zip(store: SessionStore) -> None:
    """Only the conversation files of an account export are read, all parts of them, at any path."""
    members = {
        "user.json": b"{}",
        "../../conversations-001.json": export(1),
        "deep/conversations-000.json": export(0),
        "chat.html": b"<html>",
    }
    report = import_stream(store, zipped(members), name="export.zip")
    assert (report.imported, report.ok) == (2, True)


def test_a_zip_from_a_pipe(store: SessionStore) -> None:
    """A zip archive can be read from a pipe."""
    pipe = io.BufferedReader(Pipe(zipped({"conversations.json": export(0)}).getvalue()))
    assert import_stream(store, pipe, name="stdin").imported == 1


def test_packed_files(store: SessionStore, tmp_path: Path) -> None:
    """Gzip and zstd input is decompressed while it is read."""
    from backports import zstd

    (tmp_path / "a.json.gz").write_bytes(gzip.compress(export(0)))
    (tmp_path / "b.json.zst").write_bytes(zstd.compress(export(1)))
    report = import_path(store, tmp_path)
    assert (report.imported, report.ok) == (2, True)


@pytest.mark.parametrize("suffix", ["gz", "zst", "zip"])
def test_a_packed_file_that_is_cut_or_broken_is_told(
    store: SessionStore, tmp_path: Path, suffix: str
) -> None:
    """Damage in a compressed file is reported with its location, and no partial session is imported."""
    from backports import zstd

    pack = {
        "gz": gzip.compress,
        "zst": zstd.compress,
        "zip": lambda data: zipped({"conversations.json": data}).getvalue(),
    }[suffix]
    whole = pack(export(0))
    for data in (whole[:-40], whole[:60] + b"\xff" * 40 + whole[100:]):
        path = tmp_path / f"x.json.{suffix}"
        path.write_bytes(data)
        report = import_path(store, path)
        assert report.problem_count >= 1, data
        assert not report.ok
    assert store.count() <= 1


def test_a_directory_is_gone_through_and_strangers_are_passed_over(
    store: SessionStore, tmp_path: Path
) -> None:
    """Unrecognized files in a directory are ignored, and links are not followed."""
    (tmp_path / "2026" / "11").mkdir(parents=True)
    (tmp_path / "2026" / "11" / "one.json").write_bytes(export(1))
    (tmp_path / "settings.json").write_bytes(b'{"a": 1}')
    (tmp_path / "note.txt").write_bytes(export(2))
    (tmp_path / "etc").symlink_to("/etc")
    (tmp_path / "two.json").symlink_to(tmp_path / "2026" / "11" / "one.json")
    report = import_path(store, tmp_path)
    assert (report.imported, report.skipped, report.ok) == (1, 0, True)


def test_a_directory_without_conversations_is_told(store: SessionStore, tmp_path: Path) -> None:
    """A directory without conversations is an error."""
    assert not import_path(store, tmp_path).ok
    (tmp_path / "settings.json").write_bytes(b'{"a": 1}')
    assert not import_path(store, tmp_path).ok


def test_encrypted_links_and_bombs_are_refused_by_name(store: SessionStore) -> None:
    """Hostile members of a zip archive are reported by name, and the rest is imported."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations-0.json", export(0))
        link = zipfile.ZipInfo("conversations-1.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("conversations-2.json", b"[]")
        archive.writestr("conversations-3.json", b" " * 5_000_000)
    data = bytearray(out.getvalue())
    place = data.rfind(b"conversations-2.json") - 46
    data[place + 8] |= 1  # says that it is encrypted
    place = data.rfind(b"conversations-3.json") - 46
    data[place + 24 : place + 28] = (4_000_000_000).to_bytes(4, "little")  # says how large it gets
    report = import_stream(store, io.BytesIO(bytes(data)), name="x.zip")
    assert report.imported == 1
    assert [p.location.rpartition(":")[2] for p in report.problems] == [
        f"conversations-{n}.json" for n in (1, 2, 3)
    ]


def test_strict_takes_nothing_of_a_directory_with_a_problem(
    store: SessionStore, tmp_path: Path
) -> None:
    """With --strict, one bad file imports nothing; without it, the others are imported."""
    (tmp_path / "a.json").write_bytes(export(0))
    (tmp_path / "b.json").write_bytes(export(1)[:-200])
    assert import_path(store, tmp_path, strict=True).stopped
    assert store.count() == 0
    (tmp_path / "b.json").unlink()
    assert import_path(store, tmp_path, strict=True).imported == 1
