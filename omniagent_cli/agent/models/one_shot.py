"""A single request to a model outside of any turn, without tools and without storing anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from omniagent_cli.agent.events import Engine, Finished, ModelSettings
from omniagent_cli.errors import ModelError, ModelUnreachable
from omniagent_cli.text.sanitize import one_line

_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
"""Thinking that some local models put in front of the answer."""


async def ask_once(
    engine: Engine, messages: Sequence[Mapping[str, Any]], settings: ModelSettings
) -> Finished:
    """Return the complete answer of the model, without its thinking.

    The user's limit on answer length and the schema do not apply here.

    Raises:
        ModelError: the answer is missing or incomplete.
    """
    finished: Finished | None = None
    stream = engine.stream(messages, (), replace(settings, max_tokens=None, schema=None))
    async with aclosing(cast("Any", stream)) as events:
        async for event in events:
            if isinstance(event, Finished):
                finished = event
    name = one_line(engine.name)
    if finished is None or not finished.reason:
        raise ModelUnreachable(f"{name} stopped in the middle of its answer")
    if finished.reason in ("length", "content_filter"):
        why = "its token limit" if finished.reason == "length" else "its provider's content filter"
        raise ModelError(f"{name} was stopped by {why}")
    text = _THOUGHTS.sub("", finished.text).strip()
    if not text:
        raise ModelError(f"{name} returned an empty answer")
    return replace(finished, text=text)
