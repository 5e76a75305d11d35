"""Content parts: named as text, stored as references, and whole again."""

import hashlib
from base64 import b64encode

import pytest

from omniagent_cli.models import (
    content_text,
    detached,
    inlined,
    other_parts,
    part_label,
    plain_text,
    published,
    reworded,
)

CAT = b"\x89PNG\r\n\x1a\n cat"
SHA = hashlib.sha256(CAT).hexdigest()
CODE = b64encode(CAT).decode()
URL = f"data:image/png;base64,{CODE}"


def image(url=URL, **keys):
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}, **keys}


def pdf(data=f"data:application/pdf;base64,{CODE}", **keys):
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": data}, **keys}


def sound(data=CODE):
    return {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}


@pytest.mark.parametrize(
    ("part", "label"),
    [
        (image(name="cat.png", size=120_400), "[image: cat.png, 120 kB]"),
        (image(), "[image]"),
        (pdf(size=999), "[file: a.pdf, 999 bytes]"),
        (pdf(name="b.pdf", size=3_449_000), "[file: b.pdf, 3.4 MB]"),
        (sound(), "[audio]"),
        ({"type": "video", "name": " a\n b ", "size": True}, "[video: a b]"),
        ({"type": "file", "name": "x" * 500}, f"[file: {'x' * 119}…]"),
        ({"type": ["odd"], "name": 5, "file": {"filename": None}}, "[attachment]"),
        ({}, "[attachment]"),
    ],
)
def test_a_part_has_a_name_of_one_line(part, label):
    """What a part is, what it is called and how large it is; never its data."""
    assert part_label(part, sized=True) == label
    assert "\n" not in part_label(part)


def test_a_content_as_text():
    """Parts that are no text stand between the texts by name, or are left out."""
    content = [{"type": "text", "text": "a"}, image(name="cat.png"), {"type": "text", "text": ""}]
    assert content_text(content) == "a\n[image: cat.png]"
    assert plain_text(content) == "a"
    assert content_text([{"type": "refusal", "refusal": "no"}]) == "no"
    assert (content_text("x"), plain_text("x"), other_parts("x")) == ("x", "x", [])


@pytest.mark.parametrize("part", [image(name="cat.png"), pdf(), sound()])
def test_data_is_kept_apart_once_and_comes_back(part):
    """The stored form refers to the data by SHA-256, twice the same once, and becomes the same again."""
    stored, records = detached([part, {"type": "text", "text": "hi"}, part])
    assert list(records) == [SHA]
    assert records[SHA]["data"] == CODE
    assert CODE not in repr(stored)
    assert repr(stored).count(f"attachment:sha256:{SHA}") == 2
    whole, lost = inlined(stored, records.get)
    assert (whole[0][part["type"]], lost) == (part[part["type"]], [])
    assert detached(whole)[0] == stored
    assert published(whole)[0] == {key: part[key] for key in ("type", part["type"])}


def test_the_facts_of_a_part_are_told():
    """Name, media type and size stand in the part and in the record."""
    (stored,), records = detached([image(name="cat.png")])
    facts = {"name": "cat.png", "media_type": "image/png", "size": len(CAT)}
    assert {key: stored[key] for key in facts} == facts
    assert records[SHA] == {**facts, "data": CODE}
    ((bare, *_), _) = detached([sound()])
    assert (bare["media_type"], "name" in bare) == ("audio/mp3", False)


@pytest.mark.parametrize(
    "part",
    [
        image("https://example.org/cat.png"),
        image("data:image/png;base64,*not base64*"),
        image("data:image/png;base64,"),
        image("data:image/png,plain"),
        image(f"attachment:sha256:{SHA}"),
        pdf("see above"),
        {"type": "image_url", "image_url": URL},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": ["image_url"]},
        {"type": "custom", "custom": {"data": CODE}},
    ],
)
def test_what_holds_no_data_stays(part):
    """Addresses, references and what nobody can read are stored as they are."""
    assert detached([part]) == ([part], {})


@pytest.mark.parametrize(
    "record", [None, {}, "x", {"data": 5}, {"data": "*"}, {"data": b64encode(b"other").decode()}]
)
def test_a_lost_attachment_becomes_a_text_that_says_so(record):
    """No record, a damaged one, or one of something else: whoever reads on is told."""
    stored, _ = detached([image(name="cat.png")])
    whole, lost = inlined(stored, lambda _: record)
    assert lost == ["[image: cat.png]"]
    assert "lost" in published(whole)
    assert published(whole).startswith("[image: cat.png]")


def test_what_is_only_text_is_sent_as_text():
    """Parts of nothing but text are one text; a text with a provider's mark stays as it is."""
    text = {"type": "text", "text": "a"}
    marked = {**text, "cache_control": {"type": "ephemeral"}}
    assert published([text, text]) == "a\na"
    assert published([text, marked]) == [text, marked]
    assert published("a") == "a"


def test_other_words_keep_the_attachments():
    """A question in other words goes with the same parts."""
    assert reworded("a", "b") == "b"
    assert reworded([image(), {"type": "text", "text": "a"}], "b") == [
        {"type": "text", "text": "b"},
        image(),
    ]
