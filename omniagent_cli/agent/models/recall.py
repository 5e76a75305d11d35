"""The built-in `recall` engine: not a language model, but a search in the messages of the session, offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.events import EngineEvent, Finished, ModelSettings, TextDelta
from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.json_format import parse_time
from omniagent_cli.models import content_text
from omniagent_cli.text.sanitize import cut
from omniagent_cli.text.tokenize import words

if TYPE_CHECKING:
    from omniagent_cli.keys import KeyChain
    from omniagent_cli.stores.store import SessionStore

NAME = "recall"

SET_UP = (
    "To chat with a model, set a key (`omniagent keys set openai`) or start a local server such as"
    " Ollama, then ask again. See `omniagent models`."
)

# Words too common to search for, in the languages of most sessions.
_COMMON = frozenset(
    """
    a an and are as at be but by can could did do does for from had has have he her him his how i if in into is it
    its me my no not of on or our she so than that the their them then there they this to us was we were what when
    where which who whom whose why will with would you your s t m re ve ll d tell remember recall said say know
    please about
    der die das den dem ein eine einen ist sind war wer wie wo wann warum ich du er sie es wir ihr mein meine dein
    le la les un une des est que qui quoi ou et je tu il elle nous vous mon ma mes el los las una y mi
    """.split()  # noqa: SIM905  # a list of 138 lines is not easier to read
)
_PER_WORD = 20
_QUOTE_LENGTH = 300


class Recall:
    """An engine that answers from the user's earlier messages in one session; see `events.Engine`.

    Args:
        store: the store of the session; None for a stateless question, which has nothing to search.
        session_id: the session.
        named: the user chose `recall`; only then is the session pinned to it.
        keys: the API keys; a model with a key is suggested instead of setting one.
    """

    name = NAME
    uses_tools = False

    def __init__(
        self,
        store: SessionStore | None = None,
        session_id: str = "",
        *,
        named: bool = False,
        keys: KeyChain | None = None,
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._keys = keys
        self.pins_sessions = named

    def in_session(self, store: SessionStore | None, session_id: str) -> Recall:
        """Return the same engine for another session."""
        return Recall(store, session_id, named=self.pins_sessions, keys=self._keys)

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],  # unused; the signature is the same for every engine
        settings: ModelSettings,
    ) -> AsyncIterator[EngineEvent]:
        """Answer the last message."""
        del tools, settings
        text = self._answer(messages)
        for piece in text.splitlines(keepends=True):
            yield TextDelta(piece)
        yield Finished("stop", text, model=NAME)

    async def aclose(self) -> None:
        """Close nothing."""

    def _answer(self, messages: Sequence[Mapping[str, Any]]) -> str:
        asked = messages[-1] if messages else {}
        question = content_text(asked.get("content", ""))
        first = not any(message.get("role") == "assistant" for message in messages)
        found = self._find(question, asked.get("id"))
        if found is not None:
            text, said = found
            return f'You said {describe_age(said, utc_now())}: "{cut(" ".join(text.split()), _QUOTE_LENGTH)}"'
        if first:
            return (
                "I am recall, not a language model: I save your messages and search them when you ask a question.\n"
                f"{self._advice()}"
            )
        if "?" in question:
            return f"Found nothing about that in this session. {self._advice()}"
        return "Saved. Ask about it at any time."

    def _advice(self) -> str:
        """Return advice on using a model: set a key, or choose the model of an existing key."""
        from omniagent_cli.agent.models.discovery import choose_model

        choice = choose_model(keys=self._keys, probe=list)
        if choice.model == NAME:
            return SET_UP
        return f"To use a model, choose one: -m {choice.model}, or /model {choice.model} in a chat."

    def _find(self, question: str, asked_id: str | None) -> tuple[str, Any] | None:
        """Return the message that shares most words with the question, ignoring common words; the newest among equals."""
        scores: Counter[tuple[str, str]] = Counter()
        times: dict[tuple[str, str], str] = {}
        for word in dict.fromkeys(word for word in words(question) if word not in _COMMON):
            for key, text, created_at in self._said_with(word, asked_id):
                if text.rstrip().endswith("?") or text.strip() == question.strip():
                    continue
                scores[key, text] += 1
                times[key, text] = created_at
        if not scores:
            return None
        best = max(scores, key=lambda said: (scores[said], times[said], said))
        return best[1], parse_time(times[best])

    def _said_with(self, word: str, asked_id: str | None) -> Iterator[tuple[str, str, str]]:
        if self._store is None:
            return
        hits = self._store.search(word, session_id=self._session_id, role="user", limit=_PER_WORD)
        for hit in hits:
            if hit.message_id != asked_id:
                (message,) = self._store.messages(
                    self._session_id, after=hit.position - 1, before=hit.position + 1
                )
                yield hit.message_id, message.text, message.record["created_at"]
