"""Citations in answers of ChatGPT: marks in the text become Markdown links."""

from __future__ import annotations

import json
import re
from typing import Any

from omniagent_cli.formats.readers.records import object_of, objects_of, text_of

_MARK = re.compile("\ue200([^\ue200\ue201]*)\ue201|[\ue200-\ue2ff]")
"""Mark of the web page, such as ``\\ue200cite\\ue202turn0search1\\ue201``; not part of the text."""

_REFERENCE_MARK = re.compile("[\ue200-\ue2ff]|\u3010")
"""Character that each mark contains; ``\\u3010`` is the bracket of deep research."""


def with_links(text: str, metadata: dict[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """Return text with links in place of citation marks, and the title and URL of each source that no mark names.

    Args:
        text: text of a message.
        metadata: its metadata, with ``content_references`` or, in older exports, ``citations``.
    """
    references = objects_of(metadata.get("content_references")) + [
        {**object_of(one.get("metadata")), "matched_text": text[one["start_ix"] : one["end_ix"]]}
        for one in objects_of(metadata.get("citations"))
        if isinstance(one.get("start_ix"), int) and isinstance(one.get("end_ix"), int)
    ]
    sources = []
    for reference in references:
        mark = text_of(reference.get("matched_text"))
        if _REFERENCE_MARK.search(mark) and mark in text:
            words = _reference_text(reference)
            separator = f" {words}" if words else ""
            text = separator.join(re.split(rf"\s?{re.escape(mark)}", text))
        else:
            sources += [
                {"title": text_of(one.get("title")), "url": text_of(one.get("url"))}
                for one in [reference, *objects_of(reference.get("sources"))]
                if text_of(one.get("url")) and text_of(one.get("url")) not in text
            ]
    return (text if text.isascii() else _MARK.sub(_mark_text, text)), sources


def markdown_link(title: Any, url: Any) -> str:
    """Return a Markdown link; the title or URL alone if the other is missing."""
    name, target = " ".join(text_of(title).split()), "".join(text_of(url).split())
    if not (name and target):
        return name or target
    name = name.replace("[", "(").replace("]", ")")
    return f"[{name}]({target.replace('(', '%28').replace(')', '%29')})"


def site_name(url: str) -> str:
    """Return the host of a URL without ``www.``; the URL itself if it has none."""
    match = re.match(r"\w+://(?:[^/@]*@)?(?:www\.)?([^/:?#]+)", url)
    return match.group(1) if match else url


def _reference_text(reference: dict[str, Any]) -> str:
    """Return the text for a reference: the export's own, else links to its pages, else the name of its file, else the words of its mark."""
    if alt := text_of(reference.get("alt")).strip():
        return alt
    pages = [reference, *objects_of(reference.get("items"))]
    links = [markdown_link(page.get("title"), page.get("url")) for page in pages if page.get("url")]
    if links:
        return f"({', '.join(dict.fromkeys(links))})"
    name = text_of(reference.get("name")) or text_of(reference.get("title"))
    if name:
        return f"[{name}]"
    return _MARK.sub(_mark_text, text_of(reference.get("matched_text")))


def _mark_text(match: re.Match[str]) -> str:
    """Return the words that a mark without a reference displays."""
    kind, *fields = (match.group(1) or "").split("\ue202")
    if kind == "url" and fields:
        return fields[0]
    if kind != "entity" or not fields:
        return ""
    try:
        names = json.loads(fields[0])
    except (ValueError, RecursionError):
        return ""
    return text_of(names[1]) if isinstance(names, list) and len(names) > 1 else ""
