"""All errors, as one tree.

    OmniAgentError                     an expected failure; the message says what failed and what to do
    ├── UsageError                     the call itself is wrong (CLI: exit 2)
    │   ├── InvalidSessionId
    │   ├── InvalidDuration
    │   ├── InvalidRecord              the data is not a valid session or message
    │   └── ConfigError                a setting is invalid; names key, value, origin, and valid values
    ├── StoreError
    │   ├── StoreNotFound              the command line names a store that does not exist
    │   ├── SessionNotFound
    │   │   └── SessionExpired         it existed, and its time to live has passed
    │   ├── SessionExists              rename, fork or restore onto an existing id
    │   ├── SessionConflict            another writer changed the session since it was loaded
    │   ├── KeyNotFound                no such key in the session's metadata or state (also a KeyError)
    │   ├── NothingToRestore           the trash has no entry for that id
    │   ├── CorruptSession             stored bytes of one session are damaged
    │   │   └── DecryptionError        wrong key, or bytes changed, moved or swapped
    │   ├── EncryptedStore             content of an encrypted store was requested without its key
    │   ├── UnsupportedOperation       the backend does not support the operation
    │   ├── StoreClosed
    │   └── StoreUnavailable           the whole store cannot be used right now (CLI: exit 3)
    │       ├── StoreUnreachable       no server, no directory, no permission
    │       ├── SyncError              the other side of a synchronization failed or sent invalid data
    │       ├── StoreLocked            another process held it longer than the timeout
    │       ├── StoreReadOnly
    │       ├── StoreFull              the disk or the server's memory is full
    │       ├── StoreCorrupt           damaged as a whole
    │       ├── NotOurStore            the file or server belongs to another program
    │       └── NewerVersion           written by a newer omniagent
    ├── FormatError                    an import cannot be read: carries the location
    └── AgentError
        ├── ToolRoundsExceeded         the model kept calling tools
        └── ModelError                 the provider failed to answer; partial text was kept
            ├── ModelUnreachable       no answer, timeout, or a broken stream (CLI: exit 3)
            ├── ModelRefused           the key, the model name or the request was refused; carries status
            │   ├── ModelNotFound      the provider has no such model, or not for this key
            │   └── ContextLengthExceeded  the request is longer than the model accepts; carries limit_tokens
            └── ModelRateLimited       rate limited; carries retry_after_seconds

A leaf carries its data as attributes; its message is a sentence with the id and the next step.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self  # slow to import, and TAB imports this module


class OmniAgentError(Exception):
    """Base class of all errors of omniagent.

    Attributes:
        details: lines to show below the message, such as an example.
    """

    details: tuple[str, ...] = ()


class UsageError(OmniAgentError):
    """The call is wrong; repeating it cannot succeed."""


class InvalidSessionId(UsageError):
    """A session id that is blank, too long, or contains control characters."""


class InvalidDuration(UsageError):
    """Text that is not a duration such as ``30m``, ``7d`` or ``never``."""


class InvalidRecord(UsageError):
    """The data is not a valid session, message or JSON value."""


class ConfigError(UsageError):
    """A setting is invalid; the message names key, value, origin, and valid values."""

    def __init__(self, message: str = "", *, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details


class StoreError(OmniAgentError):
    """A failure of a store or a session in it.

    Attributes:
        session_id: the session, or None if the whole store is concerned.
    """

    def __init__(self, message: str, *, session_id: str | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id


class StoreNotFound(StoreError):
    """The store named on the command line does not exist, and the command does not create one."""


class SessionNotFound(StoreError):
    """No session has this id."""


class SessionExpired(SessionNotFound):
    """The session existed, and its time to live has passed."""


class SessionExists(StoreError):
    """The id is taken by another session."""


class SessionConflict(StoreError):
    """The session was changed by another writer since it was loaded."""


class KeyNotFound(StoreError, KeyError):
    """The session has no such metadata or state key; a key that holds null is found.

    Attributes:
        key: the requested key.
    """

    def __init__(self, message: str, *, session_id: str, key: str) -> None:
        super().__init__(message, session_id=session_id)
        self.key = key

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class NothingToRestore(StoreError):
    """The trash has no matching entry."""


class CorruptSession(StoreError):
    """Stored bytes of a session are damaged."""


class DecryptionError(CorruptSession):
    """Wrong key, or the encrypted bytes were changed, moved or swapped."""


class EncryptedStore(StoreError):
    """The store is encrypted and no key was given."""


class UnsupportedOperation(StoreError):
    """The backend does not support the operation; the message names both."""


class StoreClosed(StoreError):
    """The store object was closed."""


class StoreUnavailable(StoreError):
    """The store as a whole cannot be used right now; nothing in it was lost."""


class StoreUnreachable(StoreUnavailable):
    """No server answers, or a path cannot be opened."""


class SyncError(StoreUnavailable):
    """The other side of a synchronization cannot be reached, failed, or sent invalid data."""


class StoreLocked(StoreUnavailable):
    """Another process held the store longer than the timeout."""


class StoreReadOnly(StoreUnavailable):
    """The store is read-only."""


class StoreFull(StoreUnavailable):
    """No space left on the disk or in the memory of the server."""


class StoreCorrupt(StoreUnavailable):
    """The store is damaged as a whole."""


class NotOurStore(StoreUnavailable):
    """The file or server contains data of another program."""


class NewerVersion(StoreUnavailable):
    """The data was written by a newer version of omniagent."""


class FormatError(OmniAgentError):
    """A file does not have the expected format.

    Attributes:
        location: file and line, such as ``chats.jsonl:12``; empty for the whole file.
    """

    def __init__(self, message: str, *, location: str = "") -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.location = location


class AgentError(OmniAgentError):
    """A turn failed; its messages so far are stored."""


class ToolRoundsExceeded(AgentError):
    """The model kept calling tools for more rounds than allowed."""


class ModelError(AgentError):
    """The provider failed to answer."""

    def with_hint(self, hint: str) -> Self:
        """Return the error with an additional remedy in its message."""
        from copy import copy

        hinted = copy(self)
        hinted.args = (f"{self}; {hint}",)
        return hinted


class ModelUnreachable(ModelError):
    """No connection, a timeout, or a broken stream."""


class ModelRefused(ModelError):
    """The provider rejected the key, the model or the request.

    Attributes:
        status: the HTTP status, if there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ModelNotFound(ModelRefused):
    """The provider has no such model, or not for this key."""


class ContextLengthExceeded(ModelRefused):
    """The request is longer than the context of the model.

    Attributes:
        limit_tokens: the context length, if the provider named it.
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
    """The provider limits the request rate.

    Attributes:
        retry_after_seconds: the requested wait, if the provider named it.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
