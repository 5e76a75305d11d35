"""The question to ask before the first message is sent to an automatically discovered server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FirstUse:
    """A yes-or-no question to ask before an engine is first used.

    Attributes:
        question: the text of the question.
        agree: called when the answer is yes.
    """

    question: str
    agree: Callable[[], None]
