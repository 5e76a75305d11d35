"""Markdown to HTML by markdown-it: HTML, images and unsafe URLs in the text have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from omniagent_cli.formats.writers.html.code import code_block
from omniagent_cli.formats.writers.html.escaping import escape_text, sanitize
from omniagent_cli.formats.writers.html.links import (
    is_safe,
    link_start,
    link_target_note,
    link_urls,
)
from omniagent_cli.formats.writers.html.math import mathml
from omniagent_cli.text.markdown_rules import add_rules
from omniagent_cli.text.sanitize import cut

_NAME_LENGTH = 200
_BLOCKS = frozenset(
    {"paragraph_open", "heading_open", "blockquote_open", "bullet_list_open", "ordered_list_open"}
    | {"th_open", "td_open"}
)


def render(text: str) -> str:
    """Return Markdown as HTML."""
    parser = _parser()
    env: dict[str, Any] = {}
    tokens = parser.parse(text, env)
    for token in tokens:
        _adapt_block(token)
    html: str = parser.renderer.render(tokens, parser.options, env)
    return html


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    add_rules(parser)
    renderer = parser.renderer
    assert isinstance(renderer, _Renderer)  # noqa: S101  # given above
    for name in ("footnote_ref", "footnote_reference_open", "footnote_reference_close"):
        renderer.rules[name] = getattr(renderer, name)  # in place of the links of the plugin
    parser.validateLink = is_safe  # type: ignore[method-assign]  # as in its documentation
    return parser


def _adapt_block(token: Token) -> None:
    """Set the text direction of a block, lower its heading level, and replace styles by classes."""
    if token.type in _BLOCKS:
        token.attrSet("dir", "auto")
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    if "style" in token.attrs:
        token.attrs["class"] = str(token.attrs.pop("style")).removeprefix("text-align:")
    if token.children:
        _adapt_inline(token.children)


def _adapt_inline(tokens: Sequence[Token]) -> None:
    """Attach its target to the end of each link, and mark text inside of links.

    Character references are resolved at this point, so the text is sanitized again.
    """
    link: Token | None = None
    texts: list[str] = []
    for token in tokens:
        token.content = sanitize(token.content)
        if token.type == "link_open":
            link, texts = token, []
        elif token.type == "link_close" and link is not None:
            token.meta["to"] = link_target_note(str(link.attrs["href"]), "".join(texts))
            link = None
        elif link is not None:
            token.meta["linked"] = True
            texts.append(token.content)


class _Renderer(RendererHTML):
    """HTML renderer with one overridden method per token type."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        return escape_text(token.content) if token.meta.get("linked") else link_urls(token.content)

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"<code>{escape_text(tokens[idx].content)}</code>"

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return code_block(tokens[idx].content.removesuffix("\n"))

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        language = (tokens[idx].info.split() or [""])[0]
        if language == "math":
            return mathml(tokens[idx].content.strip(), block=True)
        return code_block(tokens[idx].content.removesuffix("\n"), language)

    def html_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return escape_text(tokens[idx].content)

    def html_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return escape_text(tokens[idx].content)

    def math_block(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return mathml(tokens[idx].content, block=True)

    def math_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return mathml(tokens[idx].content, block=False)

    def script(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        return f"<{token.tag}>{escape_text(token.content)}</{token.tag}>"

    def footnote_ref(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"<sup>[{escape_text(tokens[idx].meta['label'])}]</sup>"

    def footnote_reference_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        label = escape_text(tokens[idx].meta["label"])
        return f'<div class="footnote" dir="auto"><sup>[{label}]</sup>\n'

    def footnote_reference_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return "</div>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Name an external image; loading it would reveal that the page is read."""
        token = tokens[idx]
        name, source = cut(token.content, _NAME_LENGTH), cut(str(token.attrs["src"]), _NAME_LENGTH)
        return f'[image: {escape_text(name)}] <span class="to">({escape_text(source)})</span>'

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return link_start(str(tokens[idx].attrs["href"]))

    def link_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return f"</a>{tokens[idx].meta.get('to', '')}"

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return '<div class="wide"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return "</table></div>\n"
