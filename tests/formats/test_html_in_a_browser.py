"""HTML page in headless Chromium: appearance, no scripts, no external requests."""

from __future__ import annotations

import base64
import itertools
import shutil
import zlib

import pytest
from browser import chromium
from conversations import exported
from test_html import BOMBS, PNG, attached

from omniagent_cli.stores import open_store

BACKGROUNDS = {"light": (255, 255, 255), "dark": (13, 17, 23)}

HOSTILE = """<script>window.hacked = 1</script><img src="http://evil.example/i" onerror="window.hacked = 1">
</style></script><svg onload="window.hacked = 1"><link rel="stylesheet" href="http://evil.example/c">
<meta http-equiv="refresh" content="0; url=http://evil.example/m"><base href="http://evil.example/">
<iframe src="http://evil.example/f"></iframe><style>@import "http://evil.example/s"; body { background: red }</style>
<form action="http://evil.example/"><input autofocus onfocus="window.hacked = 1"></form>
![x](http://evil.example/p.png) [x](javascript:window.hacked=1) [x](data:text/html,<script>window.hacked=1</script>)
<video autoplay src="http://evil.example/v"></video><object data="http://evil.example/o"></object>
<p style="background: url(http://evil.example/u)">x</p>"""

ANSWER = """Here is **bold**, `code`, and [a link](https://example.com/a/b).

# A heading

```python
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)  # a long comment, so that a narrow screen has to scroll
```

| name | value | a wide column with lots of words | and another one |
|---|--:|---|---|
| a | 1 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | x |

1. first
2. second

> שלום עולם, and some English
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Start a browser and record its external requests."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium, Debian's package, is not installed")
    with chromium(tmp_path_factory.mktemp("profile")) as both:
        yield both


@pytest.fixture
def browser(opened):
    return opened[0]


def varied(count: int) -> list[dict]:
    """Return messages of all kinds in rotation."""
    call = {"name": "ls", "arguments": '{"path": "' + "x" * 300 + '"}'}
    kinds = [
        {"role": "user", "content": "What about " + "x" * 300 + "?\n\n```\n" + "y" * 300 + "\n```"},
        {"role": "assistant", "content": ANSWER, "model": "openai:gpt-6.1-sol", "extra": {"thinking": "z" * 300}},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": call}]},
        {"role": "tool", "content": "w" * 300, "name": "ls"},
        {"role": "user", "content": "שלום, איך קוראים file.txt?", "status": "failed", "extra": {"error": "e" * 300}},
    ]  # fmt: skip
    return [dict(kind) for kind in itertools.islice(itertools.cycle(kinds), count)]


@pytest.fixture
def saved(tmp_path):
    """Write messages as a page and return its URL."""

    def save(messages: list[dict], *pictures: dict, change=lambda page: page) -> str:
        with open_store("memory:", ttl=None) as store:
            store.append("s", messages)
            store.set_title("s", "A title " + "t" * 200)
            store.set_metadata("s", "key", "v" * 300)
            for one in pictures:
                store.put_attachment("s", one["sha"], one["record"])
            page = tmp_path / "page.html"
            page.write_bytes(change(exported(store, ["s"], "html")))
        return page.as_uri()

    return save


def pixel(page, x: int, y: int) -> tuple[int, ...]:
    """Return the color of a pixel of a screenshot."""
    clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
    png = base64.b64decode(page.call("Page.captureScreenshot", clip=clip)["data"])
    place, data = 8, b""
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += length + 12
    return tuple(zlib.decompress(data)[1:4])


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_the_scheme(browser, saved, width, scheme):
    """The page fits phone and desktop in light and dark; long lines and wide tables scroll separately."""
    page = browser.page()
    page.look(width=width, height=8000, scheme=scheme)
    page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="window.refused = []; document.addEventListener('securitypolicyviolation', e => refused.push(e.violatedDirective))",
    )
    picture = attached(PNG, "image/png")
    page.open(saved([*varied(10), {"role": "user", "content": [picture["part"]]}], picture))
    assert pixel(page, width - 2, 7900) == BACKGROUNDS[scheme]
    assert page.evaluate("refused") == []  # the page keeps to its own policy
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    out = "[...document.querySelectorAll('main *')].filter(e => !e.closest('pre, .wide') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 200))"
    assert page.evaluate(out) == []
    assert page.evaluate(
        "[...document.querySelectorAll('pre')].some(p => p.scrollWidth > p.clientWidth)"
    )
    wide = (
        "document.querySelector('.wide').scrollWidth > document.querySelector('.wide').clientWidth"
    )
    assert page.evaluate(wide) is (width == 400)
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1
    beside = "document.querySelector('nav').getBoundingClientRect().right <= document.querySelector('main').getBoundingClientRect().left"
    assert page.evaluate(beside) is (width == 1400)  # the index, which is above on a phone
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#s1-m4 .plain')).direction")
        == "rtl"
    )


@pytest.mark.parametrize("role", ["user", "assistant", "tool", "system"])
def test_no_script_runs_and_no_request_leaves(opened, saved, role):
    """No message runs a script or causes a request."""
    browser, wanted = opened
    svg = attached(
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1"/>', "image/svg+xml"
    )
    messages = [
        {
            "role": role,
            "content": HOSTILE,
            "name": HOSTILE,
            "model": HOSTILE,
            "extra": {"thinking": HOSTILE},
        }
    ]
    messages += [{"role": role, "content": line} for line in HOSTILE.splitlines()]
    messages += [{"role": "user", "content": [svg["part"]]}]
    _harmless(browser, wanted, saved(messages, svg))


def test_the_policy_holds_where_escaping_would_fail(opened, saved):
    """The content security policy blocks injected markup on its own."""
    browser, wanted = opened
    at = b"<main>"
    page = _harmless(
        browser,
        wanted,
        saved(
            varied(2),
            change=lambda page: page.replace(
                at,
                at
                + HOSTILE.partition("<meta")[0].encode()
                + b"<style>body { background: red }</style><p style='color: red' id='p'>x</p><iframe src='http://evil.example/f'></iframe>",
            ),
        ),
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"


def _harmless(browser, wanted, url):
    before = len(wanted)
    page = browser.page()
    page.look(width=1400, height=4000)
    page.open(url)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.picture()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("location.href") == url
    assert page.requests == []
    assert not any(b"evil" in line for line in wanted[before:])
    return page


def test_these_tests_would_notice(opened, tmp_path):
    """A page that runs a script and loads resources is detected."""
    browser, wanted = opened
    file = tmp_path / "bad.html"
    file.write_text("<script>window.hacked = 1</script><img src='http://evil.example/i'>")
    page = browser.page()
    page.open(file.as_uri())
    assert page.evaluate("window.hacked") == 1
    assert page.requests == ["http://evil.example/i"]
    assert any(b"evil.example" in line for line in wanted)


@pytest.mark.parametrize("width", [400, 1400])
def test_five_thousand_messages(browser, saved, width):
    """A long session has an index and anchors, and only visible messages are laid out."""
    page = browser.page()
    page.look(width=width)
    url = saved(varied(5000))
    page.open(url)
    assert page.evaluate("document.querySelectorAll('article').length") == 5000
    assert page.evaluate("document.querySelectorAll('nav a').length") == 2001
    assert (
        page.evaluate("getComputedStyle(document.querySelector('article')).contentVisibility")
        == "auto"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("document.querySelector('nav a[href=\"#s1-m4320\"]').click()")
    seen = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => { const box = document.getElementById('s1-m4320').getBoundingClientRect(); done(box.bottom > 0 && box.top < innerHeight) })))"
    answer = page.call("Runtime.evaluate", expression=seen, awaitPromise=True, returnByValue=True)
    assert answer["result"]["value"] is True
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_it_prints(browser, saved):
    """The printed page is dark on light, without the index, and with collapsed content."""
    page = browser.page()
    page.look(width=800, scheme="dark")
    page.open(saved(varied(5)))
    page.call(
        "Emulation.setEmulatedMedia",
        media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert (
        page.evaluate("document.querySelector('.thinking > .plain').getBoundingClientRect().height")
        > 0
    )
    pdf = base64.b64decode(page.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF-")


def test_texts_that_are_made_to_take_long_are_pages_too(browser, saved):
    """Crafted expensive input opens in a browser and fits the screen."""
    page = browser.page()
    page.look(width=400)
    page.open(saved([{"role": "assistant", "content": text[:15_000]} for text in BOMBS.values()]))
    assert page.evaluate("document.querySelectorAll('article').length") == len(BOMBS)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
