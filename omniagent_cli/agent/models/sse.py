"""Server-sent events: the JSON values in the body of a streamed answer.

The `openai` library parses the data of every frame, also of control frames that have none (``retry:``, ``id:``,
``event: ping``), and so fails on streams that https://html.spec.whatwg.org/multipage/server-sent-events.html allows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

DONE = object()
"""Yielded for ``[DONE]``, the end mark of a stream."""

_BOM = b"\xef\xbb\xbf"
_REST_SECONDS = 0.1


async def document_or_events(
    body: AsyncIterable[bytes], *, is_document: bool = False
) -> AsyncGenerator[Any, None]:
    """Yield the events of a stream, or one JSON document and `DONE` if the server does not stream.

    Args:
        body: the bytes of the response, in pieces of any size.
        is_document: the content type is JSON; otherwise the first character decides, because some send JSON as text.

    Raises:
        ValueError: the document or a complete event is not JSON or not UTF-8.
    """
    pieces = aiter(body)
    start = b""
    async for piece in pieces:
        start += piece
        if start.strip():
            break
    if is_document or start.lstrip().startswith(b"{"):
        yield json.loads(b"".join([start, *[piece async for piece in pieces]]))
        yield DONE
        return
    async for event in events(_chained(start, pieces)):
        yield event


async def _chained(start: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield start
    async for piece in rest:
        yield piece


async def events(body: AsyncIterable[bytes]) -> AsyncGenerator[Any, None]:
    """Yield the JSON value of each event, and `DONE` at the end mark.

    A comment, or a frame without data, yields None as a keep-alive.

    Args:
        body: the bytes of the response, in pieces of any size.

    Raises:
        ValueError: a complete event is not JSON or not UTF-8.
    """
    chunks = aiter(body)
    data: list[str] = []
    async for line in _lines(chunks):
        if line:
            field, _, value = line.decode().partition(":")
            if field == "data":
                data.append(value.removeprefix(" "))
            elif not field:
                yield None
            continue
        text, data = "\n".join(data), []
        if text.startswith("[DONE]"):
            yield DONE
            await _skip(chunks)
            return
        yield json.loads(text) if text.strip() else None
    if (text := "\n".join(data)).startswith("[DONE]"):
        yield DONE
        return
    with suppress(ValueError):  # a closed connection leaves half an event
        yield json.loads(text)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a body without their ends (CR, LF or both), and without a byte order mark."""
    held: list[bytes] = []
    first, after_cr = True, False
    async for chunk in chunks:
        for number, piece in enumerate(chunk.splitlines(keepends=True)):
            if number == 0 and after_cr and piece == b"\n":
                continue  # a CRLF split over two chunks is one line end
            held.append(piece)
            if piece.endswith((b"\r", b"\n")):
                line = _joined(held, first=first)
                held, first = [], False
                yield line
        after_cr = chunk.endswith(b"\r") or (after_cr and not chunk)
    if held:
        yield _joined(held, first=first)


def _joined(pieces: Iterable[bytes], *, first: bool) -> bytes:
    line = b"".join(pieces).rstrip(b"\r\n")
    return line.removeprefix(_BOM) if first else line


async def _skip(chunks: AsyncIterator[bytes]) -> None:
    """Read the rest of a body for a short time, which frees its connection for the next request."""
    import httpx2

    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_REST_SECONDS):
            async for _ in chunks:
                pass
