"""Sessions and messages, and the versioned records in which they are stored and exported.

A record is a JSON object with the keys of this module; a missing key means its default, unknown keys are kept. The
first message keys (role, content, tool_calls, tool_call_id, name) are the OpenAI chat-completions shape.
Times are RFC 3339 in UTC with microseconds, such as ``2026-11-21T09:30:00.000000Z``.
"""

from omniagent_cli.models.ids import (
    MAX_ID_BYTES,
    check_session_id,
    check_sha256,
    new_session_id,
    new_uid,
    new_uids,
)
from omniagent_cli.models.message import (
    ROLES,
    STATUSES,
    Message,
    ToolCall,
    check_message_record,
)
from omniagent_cli.models.parts import (
    Content,
    content_text,
    detached,
    inlined,
    other_parts,
    part_label,
    plain_text,
    published,
    reworded,
    size_text,
)
from omniagent_cli.models.session import (
    ASK_PROGRAM,
    FORMAT_VERSION,
    SESSION_FORMAT,
    Session,
    SessionSummary,
    check_version,
    messages_from,
)

__all__ = [
    "ASK_PROGRAM",
    "FORMAT_VERSION",
    "MAX_ID_BYTES",
    "ROLES",
    "SESSION_FORMAT",
    "STATUSES",
    "Content",
    "Message",
    "Session",
    "SessionSummary",
    "ToolCall",
    "check_message_record",
    "check_session_id",
    "check_sha256",
    "check_version",
    "content_text",
    "detached",
    "inlined",
    "messages_from",
    "new_session_id",
    "new_uid",
    "new_uids",
    "other_parts",
    "part_label",
    "plain_text",
    "published",
    "reworded",
    "size_text",
]
