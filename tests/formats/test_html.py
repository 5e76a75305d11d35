"""HTML page: its content, and that message text stays text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from conversations import exported
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagent_cli.formats.writers.html import code
from omniagent_cli.formats.writers.html import markdown as html_markdown
from omniagent_cli.formats.writers.html.markup import render
from omniagent_cli.formats.writers.html.style import SHEET
from omniagent_cli.stores import open_store

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'

ATTRIBUTES = {
    "html": {"lang"}, "meta": {"charset", "http-equiv", "content", "name"}, "link": {"rel", "href"},
    "a": {"href", "rel", "class", "aria-label"}, "section": {"id", "aria-labelledby"}, "h1": {"id"},
    "article": {"id", "class"}, "nav": {"id", "aria-label"}, "time": {"datetime"}, "pre": {"data-language", "class"},
    "img": {"src", "alt", "loading"}, "ol": {"start", "class"}, "th": {"class"}, "td": {"class"}, "div": {"class"},
    "span": {"class"}, "p": {"class"}, "dl": {"class"}, "details": {"class"}, "ul": {"class"}, "li": {"class"},
    "input": {"class", "disabled", "type", "checked"}, "code": {"class"}, "math": {"xmlns", "display", "alttext"},
    "mo": {"stretchy", "fence", "form", "separator", "accent", "lspace", "rspace", "symmetric", "movablelimits", "maxsize", "minsize"},
    "mi": {"mathvariant"}, "mspace": {"width", "height", "depth", "linebreak"}, "mfrac": {"linethickness"},
    "mtable": {"displaystyle", "rowspacing", "columnspacing", "rowlines", "columnlines", "columnalign"}, "mtd": {"columnalign"},
    "mstyle": {"displaystyle", "scriptlevel"}, "mover": {"accent"}, "mpadded": {"width", "height", "depth", "voffset"},
}  # fmt: skip
PLAIN = {
    "head", "body", "title", "style", "main", "header", "h2", "h3", "h4", "h5", "h6", "bdi", "b", "code", "ul", "li",
    "mrow", "mn", "mtext", "msub", "msup", "msubsup", "msqrt", "mroot", "munder", "munderover", "mtr", "menclose",
    "mphantom", "sub", "sup", "blockquote", "hr", "br", "em", "strong", "s", "figure", "figcaption", "dt", "dd", "summary", "table", "thead",
    "tbody", "tr",
}  # fmt: skip
EMPTY = {"meta", "link", "hr", "br", "img", "input"}


class Reader(HTMLParser):
    """HTML parser that accepts only the markup we write."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.sheets = ""
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert tag in ATTRIBUTES or tag in PLAIN, tag
        allowed = ATTRIBUTES.get(tag, set()) | {"dir"}
        given_ = dict(attrs)
        assert set(given_) <= allowed, (tag, given_)
        assert len(given_) == len(attrs)
        if "id" in given_:
            self.ids.append(given_["id"])
        if tag == "a":
            assert re.match(r"https?://|mailto:|#s\d+", given_["href"]), given_
            assert given_["href"].startswith("#") or given_["rel"] == "noreferrer noopener"
            self.links.append(given_["href"])
        if tag == "link":
            assert given_ == {"rel": "icon", "href": "data:,"}
        if tag == "img":
            assert re.match(
                r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+\Z", given_["src"]
            )
            self.pictures.append(given_["src"])
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.sheets += data
        else:
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_pi = unknown_decl = handle_comment


def read(page: bytes) -> Reader:
    """Parse a page and verify that it is complete."""
    reader = Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    assert reader.open == []
    assert reader.sheets == SHEET
    assert len(set(reader.ids)) == len(reader.ids)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.decode())
    return reader


def page(*messages: dict, **facts) -> bytes:
    with open_store("memory:", ttl=None) as store:
        store.append("s", list(messages))
        for key, value in facts.items():
            getattr(store, f"set_{key}")("s", *value)
        return exported(store, ["s"], "html")


FRAGMENTS = [
    "<script>alert(1)</script>", "</script>", "</style>", "</title>", "</pre></code></details></article>", "<!--", "-->",
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<![CDATA[", "<?php", "<base href=//evil.example>", "]]>",
    "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](&#106;avascript:alert(1))", "[x](java\nscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)", "[x](vbscript:x)", "[x](file:///etc/passwd)", "[x](//evil.example)",
    "![x](http://evil.example/x.png)", "![x](javascript:alert(1))", "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "[x]: javascript:alert(1)\n", "[x]", '[a](http://a/"onmouseover="alert(1))', "[a](http://a 'x\" onclick=\"y')",
    '<http://a/"onclick=alert(1)>', "<javascript:alert(1)>", 'http://a/"onclick=alert(1)', "https://a/<b>&amp;",
    "`", "```", "```js\n", '```"><script>\n', "~~~", "**", "_", "~~", "|", "|-|\n", "|a|b|\n|:-|-:|\n|c|d|\n", "# ", "> ",
    "- ", "1. ", "    ", "\n", "\n\n", "\t", "\\", "&lt;", "&#0;", "&#x202e;", "&quot;", "\x00", "\x1b[31m", "\x7f", "\x85",
    "$", "$$\n", "\\(", "\\)", "\\[\n", "\\begin{align}", "\\text{", "\\frac", "\\href{javascript:a}", "\\unicode{x3c}", "&lt;", "_", "^",
    "<sub>", "</sub>", "<sup>", "</sup>", "[^1]", "[^1]: ", "- [x] ", "```math\n", "}", "{",
    "\u202e", "\u2066", "\u200f", "\ud800", "\udfff", "\ufeff", "\u2028", "\r", "\r\n", "ü", "漢", "😀", "שלום", "a", " ", '"', "'",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=12).map("".join)


@settings(deadline=None)
@given(st.lists(HOSTILE, min_size=9, max_size=9))
def test_nothing_that_was_said_becomes_more_than_text(said):
    """No text, name, title, argument or metadata becomes a tag, attribute, URL or control character."""
    call = {"id": "c", "type": "function", "function": {"name": said[3], "arguments": said[4]}}
    part = {"type": "image_url", "image_url": {"url": said[5]}, "name": said[6], "size": 3}
    data = page(
        {"role": "user", "content": said[0], "name": said[7]},
        {"role": "assistant", "content": said[1], "model": said[7], "extra": {"thinking": said[2]}},
        {"role": "assistant", "content": "", "tool_calls": [call], "extra": {"error": said[8]}},
        {"role": "tool", "content": said[2], "name": said[3]},
        {"role": "user", "content": [{"type": "text", "text": said[8]}, part]},
        title=[said[6]],
        metadata=[said[7] if said[7].strip() else "k", said[8]],
    )
    assert read(data).ids == ["s1", "s1-title", *(f"s1-m{n}" for n in range(5)), "index"]


@settings(deadline=None)
@given(HOSTILE)
def test_an_answer_stays_inside_its_place(said):
    """Every element opened by an answer is closed, and its links are safe."""
    for html in (
        html_markdown.render_markdown(prose_text(said)),
        html_markdown.render_plain(prose_text(said)),
    ):
        reader = Reader()
        reader.feed(html)
        reader.close()
        assert reader.open == []
        assert not any(link.startswith("#") for link in reader.links)


def prose_text(text: str) -> str:
    from omniagent_cli.formats.writers.html.escaping import sanitize

    return sanitize(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab .,:;!?#>&=-+1)(\"'\n\n漢ü"), max_size=40))
def test_the_short_way_for_prose_is_the_long_way(text):
    """The fast path for prose renders the same as the Markdown parser."""
    short, long = (
        re.sub(r"\s+(?=</p>|\n)", "", html)
        for html in (html_markdown.render_markdown(text), render(text))
    )
    assert short == long


@pytest.mark.parametrize(
    "language", ["python", "sh", "json", "html", "diff", "sql", "yaml", "c", "js"]
)
@settings(deadline=None)
@given(st.lists(st.sampled_from(["def ", "x", '"', "'", "<", ">", "&", "\n", "  ", "#", "/*", "0x1", "-", "\\"])).map("".join))  # fmt: skip
def test_code_is_coloured_and_not_changed(language, text):
    """Highlighting does not change the text of code."""
    reader = Reader()
    reader.feed(code.code_block(text, language))
    assert reader.text == text + "\n"


BOMBS = {
    "quotes": ">" * 50_000, "brackets": "[" * 20_000, "pictures": "![" * 10_000, "backticks": "`a" * 25_000,
    "rising backticks": " ".join("`" * n for n in range(300)), "stars": "*a **a " * 7_000, "lists": "- " * 20_000,
    "nested lists": "".join("  " * n + "- a\n" for n in range(220)), "links": "[a](" * 12_000, "entities": "&amp" * 12_000,
    "references": "[a]: b\n" * 7_000, "wide table": "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|a" * 1_000 + "|\n",
    "empty rows": "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|\n" * 600, "addresses": "http://" * 9_000,
    "unclosed math": "$$a\n" * 12_000, "unclosed inline math": "\\(" * 24_000, "deep math": "$" + "{" * 1_900 + "$",
    "notes": "[^1]: a\n\n" + "[^a" * 16_000, "definitions": "[^a]: b\n" * 6_000, "scripts": "<sub>" * 10_000,
    "formulas": "$a_1$ " * 8_000, "items of math": "- $$a\n" * 8_000,
    "code": "```c\n" + " \n" * 9_000, "quoted code": "```awk\n" + '"\\' * 9_000, "fences": "```\n" * 20_000,
    "huge": "*" * 3_000_000, "one line": "a" * 3_000_000,
}  # fmt: skip


def test_every_listed_language_has_a_lexer():
    """Each name in `LANGUAGES` is highlighted; a name that Pygments does not have is plain text, not an error."""
    assert [name for name in code.LANGUAGES if code._lexer(name) is None] == []
    assert code._lexer("no-such-language") is None


@pytest.mark.parametrize("name", BOMBS)
def test_texts_that_are_made_to_take_long(name):
    """Crafted input with quadratic cost is rendered or shown verbatim, completely."""
    reader = read(page({"role": "assistant", "content": BOMBS[name]}))
    assert reader.ids[2:] == ["s1-m0", "index"]


def test_a_page_has_what_a_session_has():
    """The page contains properties, tags, metadata, authors, times, models, thinking, tool calls and status."""
    call = {"id": "c", "type": "function", "function": {"name": "ls", "arguments": '{"path": "/"}'}}
    data = page(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where?\n\n```sh\nls *.pem\n```\nand __init__"},
        {"role": "assistant", "content": "", "tool_calls": [call], "extra": {"thinking": "hm"}},
        {"role": "tool", "content": "key.pem", "name": "ls"},
        {"role": "assistant", "content": "# In `x`", "model": "openai:gpt-6.1-sol", "status": "interrupted"},
        {"role": "user", "content": "?", "status": "failed", "extra": {"error": "no route"}},
        title=["Keys"],
        metadata=["tags", ["work", "other"]],
    )  # fmt: skip
    text = data.decode()
    assert "<title>Keys</title>" in text
    assert "<dt>Tags</dt><dd><bdi>work</bdi>, <bdi>other</bdi></dd>" in text
    assert '<pre data-language="sh"><code>ls *.pem</code></pre>' in text
    assert "and __init__</div>" in text  # what a person wrote is not taken for Markdown
    assert '<h3 dir="auto">In <code>x</code></h3>' in text
    assert '<details class="thinking"><summary>Thinking</summary>' in text
    assert "<summary>Tool call <b><bdi>ls</bdi></b>" in text
    assert "<summary><b>Result</b> 7 characters</summary>" in text
    assert '<span>openai:gpt-6.1-sol</span><span class="status">interrupted</span>' in text
    assert '<span class="status">failed</span>' in text
    assert "no route" in text
    assert '<li><a href="#s1-m1">Where?</a></li>' in text
    assert read(data).ids == ["s1", "s1-title", *(f"s1-m{n}" for n in range(6)), "index"]


def test_links_say_where_they_lead():
    """A link whose text differs from its target shows the target."""
    text = page(
        {"role": "assistant", "content": "[good.example](https://evil.example/x) https://\u0430pple.com [me](mailto:a@b.example)"}
    ).decode()  # fmt: skip
    assert '>good.example</a> <span class="to">(https://evil.example/x)</span>' in text
    assert '<span class="to">(https://xn--pple-43d.com)</span>' in text
    assert '<span class="to">(mailto:a@b.example)</span>' in text


def attached(data: bytes, media_type: str, name: str = "cat.png") -> dict:
    sha = hashlib.sha256(data).hexdigest()
    url = {"url": f"attachment:sha256:{sha}"}
    return {
        "part": {"type": "image_url", "image_url": url, "name": name, "media_type": media_type, "size": len(data)},
        "sha": sha,
        "record": {"name": name, "media_type": media_type, "size": len(data), "data": base64.b64encode(data).decode()},
    }  # fmt: skip


def test_pictures_are_in_the_page_once_and_only_such():
    """An image is embedded at its first occurrence; invalid, missing and external images are named."""
    cat = attached(PNG, "text/html")  # what it says it is counts for nothing
    bad = attached(SVG, "image/png", "x.svg")
    lost = attached(b"\x89PNG\r\n\x1a\nother", "image/png", "lost.png")
    elsewhere = {"type": "image_url", "image_url": {"url": "https://evil.example/pixel.png"}}
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERg=="}, "size": 80_000}
    parts = [cat["part"], bad["part"], lost["part"], elsewhere, pdf, cat["part"]]
    with open_store("memory:", ttl=None) as store:
        store.append("s", [{"role": "user", "content": parts}])
        for one in (cat, bad):
            store.put_attachment("s", one["sha"], one["record"])
        reader = read(exported(store, ["s"], "html"))
        assert reader.pictures == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]
        assert "#s1-m0" in reader.links
        for name in (
            "[image: x.svg, 59 bytes]",
            "[image: lost.png, 13 bytes]",
            "[file: a.pdf, 80 kB]",
        ):
            assert name in reader.text
        assert "(https://evil.example/pixel.png)" in reader.text
        masked = read(exported(store, ["s"], "html", redact=True))
        assert masked.pictures == []
        assert "[image: cat.png, 70 bytes] (left out of this export)" in masked.text


def test_anchors_are_positions():
    """Anchors stay valid in exports of a trimmed session or a selection of roles."""
    with open_store("memory:", ttl=None) as store:
        store.append(
            "s", [{"role": ("user", "assistant")[n % 2], "content": f"{n}"} for n in range(6)]
        )
        store.put_summary("s", 3, {"text": "so far"})
        whole = read(exported(store, ["s"], "html")).ids
        assert whole[2:] == [
            "s1-m0", "s1-m1", "s1-m2", "s1-m3", "s1-summary3", "s1-m4", "s1-m5", "index",
        ]  # fmt: skip
        assert read(exported(store, ["s"], "html", only=["user"])).ids[2:] == [
            "s1-m0", "s1-m2", "s1-m4", "index",
        ]  # fmt: skip
        store.trim("s", 2)
        assert read(exported(store, ["s"], "html")).ids[2:] == ["s1-m4", "s1-m5", "index"]


def test_no_sessions_are_a_page_too():
    """An empty export is a page with a note."""
    with open_store("memory:") as store:
        assert "There are no sessions in this export." in read(exported(store, [], "html")).text
