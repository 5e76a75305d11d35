"""The question to settle before a message goes to a server that was found automatically."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FirstUse:
    """A question to settle before an engine is asked.

    Attributes:
        question: what the person is asked, to end in yes or no.
        agree: called when they say yes.
    """

    question: str
    agree: Callable[[], None]
