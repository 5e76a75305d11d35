"""Every error a caller can meet, as one tree.

    OmniAgentError                     something expected went wrong; the message says what and what to do
    ├── UsageError                     the call itself is wrong (CLI: exit 2)
    │   ├── InvalidSessionId
    │   ├── InvalidDuration
    │   ├── InvalidRecord              data handed in is not a session or a message
    │   └── ConfigError                a setting is wrong: names key, value, origin, and what would be right
    ├── StoreError
    │   ├── SessionNotFound
    │   │   └── SessionExpired         it was there, and its time to live has passed
    │   ├── SessionExists              rename, fork or restore onto an id that is taken
    │   ├── SessionConflict            someone else changed the session since it was loaded
    │   ├── KeyNotFound                no such key in the session's metadata or state (also a KeyError)
    │   ├── NothingToRestore           the trash holds nothing for that id
    │   ├── CorruptSession             stored bytes of one session are damaged
    │   │   └── DecryptionError        wrong key, or bytes changed, moved or swapped
    │   ├── EncryptedStore             content asked of an encrypted store without its key, or plain text into it
    │   ├── UnsupportedOperation       this backend cannot do that
    │   ├── StoreClosed
    │   └── StoreUnavailable           the whole store cannot be used right now (CLI: exit 3)
    │       ├── StoreUnreachable       no server, no directory, no permission
    │       ├── StoreLocked            another process held it for longer than we wait
    │       ├── StoreReadOnly
    │       ├── StoreFull              the disk or the server's memory is full
    │       ├── StoreCorrupt           damaged as a whole
    │       ├── NotOurStore            it belongs to another program
    │       └── NewerVersion           written by a newer omniagent
    ├── FormatError                    an import cannot be read: carries the location
    └── AgentError
        ├── ToolRoundsExceeded         the model kept calling tools
        └── ModelError                 the provider did not answer properly; partial text was kept
            ├── ModelUnreachable       no answer, time-out, the stream was cut (CLI: exit 3)
            ├── ModelRefused           the key, the model name or the request was refused; carries status
            │   └── ContextLengthExceeded  the request is longer than the model accepts; carries limit_tokens
            └── ModelRateLimited       asked to wait; carries retry_after_seconds

A leaf carries its data as attributes; its text is a sentence with the id and the next step.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self  # slow to import, and TAB imports this module


class OmniAgentError(Exception):
    """Base of everything omniagent raises on purpose."""


class UsageError(OmniAgentError):
    """The call itself is wrong; doing it again the same way cannot work."""


class InvalidSessionId(UsageError):
    """A session id that is blank, too long, or holds control characters."""


class InvalidDuration(UsageError):
    """Text that is not a duration such as ``30m``, ``7d`` or ``never``."""


class InvalidRecord(UsageError):
    """Data handed in is not a session, a message or a JSON value."""


class ConfigError(UsageError):
    """A setting is wrong: key, value, origin, and what would be right."""


class StoreError(OmniAgentError):
    """Something about a store or a session in it.

    Attributes:
        session_id: the session concerned, or None when it is the store as a whole.
    """

    def __init__(self, message: str, *, session_id: str | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id


class SessionNotFound(StoreError):
    """There is no session with this id."""


class SessionExpired(SessionNotFound):
    """The session was there and its time to live has passed."""


class SessionExists(StoreError):
    """The id is taken by another session."""


class SessionConflict(StoreError):
    """The session was changed by someone else since it was loaded."""


class KeyNotFound(StoreError, KeyError):
    """The session has no such metadata or state key; a key that holds null is found.

    Attributes:
        key: the key asked for.
    """

    def __init__(self, message: str, *, session_id: str, key: str) -> None:
        super().__init__(message, session_id=session_id)
        self.key = key

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class NothingToRestore(StoreError):
    """The trash holds nothing that fits."""


class CorruptSession(StoreError):
    """Stored bytes of one session are damaged; nothing was guessed."""


class DecryptionError(CorruptSession):
    """Wrong key, or the encrypted bytes were changed, moved or swapped."""


class EncryptedStore(StoreError):
    """The store is encrypted and no key, or the wrong kind of store, was given."""


class UnsupportedOperation(StoreError):
    """The backend cannot do this; the message names backend and operation."""


class StoreClosed(StoreError):
    """The store object was closed."""


class StoreUnavailable(StoreError):
    """The store as a whole cannot be used right now; nothing in it was lost."""


class StoreUnreachable(StoreUnavailable):
    """No server answers, or a path cannot be opened."""


class StoreLocked(StoreUnavailable):
    """Another process held the store longer than we wait."""


class StoreReadOnly(StoreUnavailable):
    """The store can be read and not written."""


class StoreFull(StoreUnavailable):
    """No room left on the disk or in the server's memory."""


class StoreCorrupt(StoreUnavailable):
    """The store is damaged as a whole."""


class NotOurStore(StoreUnavailable):
    """The file or server holds something another program made."""


class NewerVersion(StoreUnavailable):
    """Written by a newer omniagent than this one."""


class FormatError(OmniAgentError):
    """A file cannot be read as the format it should be.

    Attributes:
        location: file and line, such as ``chats.jsonl:12``; empty when it is the whole file.
    """

    def __init__(self, message: str, *, location: str = "") -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.location = location


class AgentError(OmniAgentError):
    """A turn could not be finished; its messages so far are stored."""


class ToolRoundsExceeded(AgentError):
    """The model kept calling tools for more rounds than allowed."""


class ModelError(AgentError):
    """The provider did not answer properly."""

    def with_hint(self, hint: str) -> Self:
        """Return the same error with one more thing that can be done about it."""
        from copy import copy

        hinted = copy(self)
        hinted.args = (f"{self}; {hint}",)
        return hinted


class ModelUnreachable(ModelError):
    """No connection, a time-out, or a stream that was cut."""


class ModelRefused(ModelError):
    """The provider refused the key, the model or the request.

    Attributes:
        status: the HTTP status of the refusal, when there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ContextLengthExceeded(ModelRefused):
    """The request is longer than the context of the model.

    Attributes:
        limit_tokens: the length of the context, when the provider named it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        limit_tokens: int | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.limit_tokens = limit_tokens


class ModelRateLimited(ModelError):
    """The provider asks to wait.

    Attributes:
        retry_after_seconds: how long, when the provider said so.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
