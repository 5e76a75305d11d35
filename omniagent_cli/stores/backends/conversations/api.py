"""OpenAI's Conversations API through the `openai` library: ascending order, pagination, chunks of 20, translated errors.

Limits: https://platform.openai.com/docs/api-reference/conversations/create (20 items per request, 100 per page, 16
metadata pairs of 64 and 512 characters). Deleting a conversation keeps its items, so those are deleted one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import CorruptSession, SessionNotFound, StoreError, StoreUnreachable
from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.stores.backends.conversations.items import Item

if TYPE_CHECKING:
    import openai

CHUNK_ITEMS = 20
PAGE_ITEMS = 100
_METADATA_CHARACTERS = 512
_SINGLY = 3


class ConversationsApi(ForkAware):
    """The API calls that a store needs.

    Args:
        client: an ``openai.OpenAI``; None creates one with the key from ``OPENAI_API_KEY``. A forked child uses a copy
            with connections of its own, which the library's default HTTP client opens.
        base_url: base URL for a created client.
    """

    def __init__(self, client: openai.OpenAI | None, base_url: str | None) -> None:
        self._given = client
        self._base_url = base_url
        self._in_child = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent: its answers would be read here."""
        keep_forever(vars(self).pop("_client", None))
        self._in_child = True

    @cached_property
    def _client(self) -> openai.OpenAI:
        import openai

        if self._given is not None:
            if self._in_child:
                return self._given.copy(http_client=openai.DefaultHttpxClient())
            return self._given
        try:
            return openai.OpenAI(base_url=self._base_url)
        except openai.OpenAIError as error:
            raise StoreUnreachable(f"OpenAI's Conversations API requires a key: {error}") from error

    def close(self) -> None:
        """Close the client if it was created here."""
        if "_client" in vars(self) and self._client is not self._given:
            self._client.close()

    def create(self, metadata: dict[str, str]) -> str:
        """Create an empty conversation and return its id."""
        with _translate_errors("create a conversation"):
            return self._client.conversations.create(metadata=_fitting(metadata)).id

    def describe(self, conversation: str, metadata: dict[str, str]) -> None:
        """Replace a conversation's metadata."""
        with _translate_errors("name the conversation", conversation):
            self._client.conversations.update(conversation, metadata=_fitting(metadata))

    def metadata(self, conversation: str) -> dict[str, str]:
        """Return a conversation's metadata."""
        with _translate_errors("read the conversation", conversation):
            found = self._client.conversations.retrieve(conversation).metadata
            return dict(found) if isinstance(found, dict) else {}

    def add(self, conversation: str, items: Sequence[Item]) -> list[str]:
        """Add items and return their ids. If a later chunk fails, the earlier ones are deleted again."""
        ids: list[str] = []
        try:
            with _translate_errors("add to the conversation", conversation):
                for start in range(0, len(items), CHUNK_ITEMS):
                    chunk: Any = items[start : start + CHUNK_ITEMS]
                    added = self._client.conversations.items.create(conversation, items=chunk)
                    ids += [item.id or "" for item in added.data]
        except BaseException:
            with contextlib.suppress(StoreError):
                for item in ids:
                    self.delete(conversation, item)
            raise
        return ids

    def items(
        self, conversation: str, *, after: str | None = None, newest: bool = False
    ) -> Iterator[Item]:
        """Yield the items of a conversation, oldest or newest first, page by page."""
        options: dict[str, Any] = {} if after is None else {"after": after}
        with _translate_errors("read the conversation", conversation):
            page = self._client.conversations.items.list(
                conversation, limit=PAGE_ITEMS, order="desc" if newest else "asc", **options
            )
            for item in page:
                yield item.model_dump(mode="json", exclude_unset=True)

    def find(
        self, conversation: str, wanted: Collection[str], *, after: str | None, newest: bool
    ) -> dict[str, Item]:
        """Return items by id.

        Raises:
            CorruptSession: an item was deleted at the provider.
        """
        missing = set(wanted)
        found: dict[str, Item] = {}
        with contextlib.suppress(
            SessionNotFound
        ):  # the `after` item was deleted; each item is fetched by itself then
            if len(missing) > _SINGLY:
                self._list(conversation, missing, found, after=after, newest=newest)
        for item_id in missing:  # only a few, or not at the expected place
            found[item_id] = self._item(conversation, item_id)
        return found

    def _list(
        self,
        conversation: str,
        missing: set[str],
        found: dict[str, Item],
        *,
        after: str | None,
        newest: bool,
    ) -> None:
        for item in self.items(conversation, after=after, newest=newest):
            if item["id"] in missing:
                missing.discard(item["id"])
                found[item["id"]] = item
                if not missing:
                    return

    def _item(self, conversation: str, item_id: str) -> Item:
        try:
            with _translate_errors("read the conversation", conversation):
                item = self._client.conversations.items.retrieve(
                    item_id, conversation_id=conversation
                )
        except SessionNotFound as error:
            self.metadata(conversation)  # raises if the conversation itself was deleted
            raise CorruptSession(
                f"an item of the conversation {conversation} was deleted at the provider"
            ) from error
        return item.model_dump(mode="json", exclude_unset=True)

    def delete(self, conversation: str, item: str | None) -> None:
        """Delete an item, or the conversation itself if item is None; a missing one is not an error."""
        with (
            contextlib.suppress(SessionNotFound),
            _translate_errors("delete from the conversation", conversation),
        ):
            if item is None:
                self._client.conversations.delete(conversation)
            else:
                self._client.conversations.items.delete(item, conversation_id=conversation)


def _fitting(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if 0 < len(value) <= _METADATA_CHARACTERS}


@contextlib.contextmanager
def _translate_errors(what: str, conversation: str = "") -> Iterator[None]:
    """Translate errors of the library."""
    import openai

    name = f"{what} {conversation}".strip()
    try:
        yield
    except openai.NotFoundError as error:
        raise SessionNotFound(
            f"cannot {name}: it does not exist at OpenAI; it was deleted there"
        ) from error
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise StoreUnreachable(
            f"cannot {name}: OpenAI rejected the API key; check OPENAI_API_KEY"
        ) from error
    except openai.RateLimitError as error:
        raise StoreUnreachable(f"cannot {name}: rate limited by OpenAI; try again later") from error
    except openai.APIConnectionError as error:
        raise StoreUnreachable(
            f"cannot {name}: no answer from OpenAI; check the network"
        ) from error
    except openai.APIError as error:
        raise StoreUnreachable(f"cannot {name}: OpenAI returned: {error}") from error
