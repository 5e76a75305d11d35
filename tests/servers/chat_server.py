"""A Chat Completions server on 127.0.0.1 that answers as a script says, well or badly.

    with ChatServer(answer("Hello"), status(500)) as server:
        ...                      # POST server.url + "/chat/completions"
        server.requests[0].body  # what it was sent

Replies are used up in order; after the last one it repeats what the user said. A strict one refuses a history that
chat templates and providers refuse, before it looks at its script. It runs in threads of this
process, so subprocesses reach it by `server.port`.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.servers.strict_chat import complaint

STALL = float("inf")
"""A part of a reply: say nothing until the client hangs up or the server closes."""


class Cut:
    """A part of a reply: close the connection in the middle of the body."""


@dataclass(frozen=True)
class Reply:
    """What one request gets.

    Attributes:
        parts: of a stream: a chunk (dict, sent as an event), bytes (sent as they are), seconds to wait, `STALL`, `Cut()`.
        body: sent whole instead of parts.
        done: end the stream with ``data: [DONE]``.
        before: seconds to wait before the headers.
    """

    parts: Sequence[Any] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    done: bool = True
    before: float = 0.0


@dataclass(frozen=True)
class Request:
    """What the server was sent; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None
    raw: bytes = b""


Script = Reply | Callable[[Request], Reply]

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def chunk(finish: str | None = None, *, model: str = "fake-1", **delta: Any) -> dict[str, Any]:
    """Make one well-formed chunk."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def usage_chunk(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Make the chunk without choices that closes a stream with its counts."""
    return {**chunk(), "choices": [], "usage": dict(usage)}


def answer(
    *texts: str,
    delay: float = 0.0,
    thinking: Sequence[str] = (),
    finish: str | None = "stop",
    usage: Mapping[str, Any] | None = USAGE,
    before: float = 0.0,
) -> Reply:
    """Answer with these pieces of text, `delay` seconds apart."""
    parts: list[Any] = [chunk(role="assistant", content="")]
    parts += [chunk(reasoning_content=piece) for piece in thinking]
    for text in texts:
        parts += [delay, chunk(content=text)] if delay else [chunk(content=text)]
    return Reply([*parts, *_ending(finish, usage)], before=before)


def calls(
    *wanted: tuple[str, Mapping[str, Any]],
    text: str = "",
    usage: Mapping[str, Any] | None = USAGE,
) -> Reply:
    """Call tools, given as (name, arguments), the arguments cut in two pieces as servers do."""
    parts: list[Any] = [chunk(role="assistant", content=text or None)]
    for index, (name, arguments) in enumerate(wanted):
        whole = json.dumps(arguments)
        half = len(whole) // 2
        first = {"name": name, "arguments": whole[:half]}
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": first}
        tail = {"index": index, "function": {"arguments": whole[half:]}}
        parts += [chunk(tool_calls=[head]), chunk(tool_calls=[tail])]
    return Reply([*parts, *_ending("tool_calls", usage)])


def stream(*parts: Any, done: bool = True) -> Reply:
    """Send exactly these parts."""
    return Reply(parts, done=done)


def stall(*texts: str) -> Reply:
    """Say these texts (or nothing), then nothing more."""
    return Reply([*(chunk(content=text) for text in texts), STALL])


def cut(*texts: str) -> Reply:
    """Say these texts, then break the connection."""
    return Reply([*(chunk(content=text) for text in texts), Cut()])


def status(code: int, error: Any = "it went wrong", **headers: str) -> Reply:
    """Refuse with an HTTP status; header names are written with underscores."""
    body = json.dumps({"error": {"message": error} if isinstance(error, str) else error})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=code, headers=named, body=body.encode())


def document(body: bytes, content_type: str, code: int = 200) -> Reply:
    """Send a body of another kind: a web page, garbage, a completion that is not streamed."""
    return Reply(status=code, headers={"Content-Type": content_type}, body=body)


def completion(text: str) -> dict[str, Any]:
    """Make a whole completion, as servers send that do not stream."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**chunk(), "object": "chat.completion", "choices": [choice], "usage": USAGE}


class ChatServer:
    """The server; a context manager, or `start` and `close`. Servers of other protocols are made of it."""

    stream_type = "text/event-stream"

    def __init__(
        self, *script: Script, models: Sequence[str] = ("fake-1",), strict: bool = False
    ) -> None:
        self.strict = strict
        self.requests: list[Request] = []
        self.connections = 0
        self.models_reply: Script | None = None
        self.models = list(models)
        self._script = deque(script)
        self._hung_up = threading.Event()
        self._closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *replies: Script) -> None:
        """Add replies to the end of the script."""
        self._script.extend(replies)

    def wait_hangup(self, timeout: float = 60.0) -> bool:
        """Wait until a client hung up in the middle of a reply; tell whether one did."""
        return self._hung_up.wait(timeout)

    def chats(self) -> list[Any]:
        """Return the bodies of the questions asked so far."""
        return [request.body for request in self.requests if request.method == "POST"]

    def start(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop, also in the middle of replies, and wait for every thread."""
        self._closing.set()
        self._server.shutdown()
        for connection in list(self._connections):
            _shut(connection)
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def knows(self, path: str) -> bool:
        """Tell whether there is such a page; for the handler."""
        return path in ("/v1/chat/completions", "/v1/models")

    def streams(self, request: Request) -> bool:
        """Tell whether a request wants its answer piece by piece; for the handler."""
        return not isinstance(request.body, dict) or bool(request.body.get("stream"))

    def read(self, raw: bytes) -> Any:
        """Return the body of a request; for the handler."""
        return json.loads(raw)

    def frame(self, event: Any) -> bytes:
        """Return an event as it is in a stream; for the handler."""
        return _event(event)

    def echo(self, body: Any) -> Reply:
        """Answer when the script is used up."""
        return answer(f"You said: {_last_said(body)}")

    def reply_to(self, request: Request) -> Reply:
        """Choose the reply; for the handler."""
        if request.method == "GET":
            listed = self.models_reply or self._models()
            return listed(request) if callable(listed) else listed
        if self.strict and (wrong := complaint(request.raw)):
            return status(400, wrong)
        try:
            scripted = self._script.popleft()
        except IndexError:
            return self.echo(request.body)
        return scripted(request) if callable(scripted) else scripted

    def _models(self) -> Reply:
        data = [{"id": name, "object": "model", "owned_by": "tests"} for name in self.models]
        body = json.dumps({"object": "list", "data": data}).encode()
        return document(body, "application/json")


class _Server(ThreadingHTTPServer):
    owner: ChatServer
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.owner._hung_up.set()  # the only thing that goes wrong here is a client that left


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.owner._connections.add(self.connection)
        self.server.owner.connections += 1

    def finish(self) -> None:
        self.server.owner._connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._handle(self.server.owner.read(raw), raw)

    def _handle(self, body: Any, raw: bytes = b"") -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, raw)
        self.server.owner.requests.append(request)
        if not self.server.owner.knows(self.path.partition("?")[0]):
            self._send_whole(status(404, "no such page"))
            return
        reply = self.server.owner.reply_to(request)
        if reply.before and not self._pause(reply.before):
            return
        if reply.body is not None:
            self._send_whole(reply)
        elif not self.server.owner.streams(request):
            whole = json.dumps(_collapsed(reply.parts)).encode()
            self._send_whole(document(whole, "application/json"))
        else:
            self._send_stream(reply)

    def _send_whole(self, reply: Reply) -> None:
        body = reply.body or b""
        headers = {"Content-Type": "application/json", **reply.headers}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_stream(self, reply: Reply) -> None:
        self.send_response(reply.status)
        kind = {"Content-Type": self.server.owner.stream_type}
        for name, value in {**kind, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in reply.parts:
            if isinstance(part, Cut):
                self.close_connection = True
                _shut(self.connection)
                return
            if isinstance(part, int | float):
                if not self._pause(part):
                    return
            else:
                self._write(part if isinstance(part, bytes) else self.server.owner.frame(part))
        if reply.done:
            self._write(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _pause(self, seconds: float) -> bool:
        """Wait while watching the client; tell whether it is still there."""
        owner, end = self.server.owner, time.monotonic() + seconds
        while not owner._closing.is_set() and (left := end - time.monotonic()) > 0:
            if select.select([self.connection], [], [], min(left, 0.02))[0]:
                self.close_connection = True
                owner._hung_up.set()
                return False
        self.close_connection = self.close_connection or owner._closing.is_set()
        return not owner._closing.is_set()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was closed already


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _ending(finish: str | None, usage: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    parts = [chunk(finish)] if finish else []
    return [*parts, usage_chunk(usage)] if usage else parts


def _collapsed(parts: Sequence[Any]) -> dict[str, Any]:
    """Make one completion of the text in a stream's chunks, for a client that does not stream."""
    deltas = [
        part["choices"][0]["delta"]
        for part in parts
        if isinstance(part, dict) and part.get("choices")
    ]
    return completion("".join(delta.get("content") or "" for delta in deltas))


def _last_said(body: Any) -> str:
    messages = body.get("messages", []) if isinstance(body, dict) else []
    said = [m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    return str(said[-1]) if said else ""
