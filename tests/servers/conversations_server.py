"""OpenAI's Conversations API on 127.0.0.1, as its published types and limits describe it.

    with ConversationsServer() as server:
        openai.OpenAI(api_key="sk-test", base_url=server.url)
        server.fail(500)          # the next request fails so; fail(429, after=2) lets two pass first
        server.items("conv_...")  # what it holds

Lists are newest first unless asked otherwise, 20 to a page unless asked for 1 to 100; a request adds at most 20 items;
metadata is 16 pairs of 64 and 512 characters; deleting a conversation leaves its items.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

KEY = "sk-test"


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ConversationsServer:
    """What the provider keeps, and a log of what it was asked."""

    def __init__(self) -> None:
        self.conversations: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, dict[str, dict[str, Any]]] = {}
        self.requests: list[tuple[str, str]] = []
        self._number = 0
        self._failures: list[tuple[int, int]] = []
        self.broken: dict[str, int] = {}  # method -> status of every request of it
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def fail(self, status: int, *, after: int = 0, times: int = 1) -> None:
        """Let requests fail, after some that pass; retries are requests too."""
        with self._lock:
            at = len(self.requests) + after
            self._failures = [(at + number, status) for number in range(times)]

    def items(self, conversation: str) -> list[dict[str, Any]]:
        return list(self.contents[conversation].values())

    def answer(self, method: str, target: str, body: Any, key: str | None) -> dict[str, Any]:
        with self._lock:
            at = len(self.requests)
            self.requests.append((method, target))
            for number, status in self._failures:
                if number == at:
                    raise Refused(status, f"scripted {status}")
            if method in self.broken:
                raise Refused(self.broken[method], f"scripted {self.broken[method]}")
            if key != f"Bearer {KEY}":
                raise Refused(401, "Incorrect API key provided")
            url = urlsplit(target)
            parts = url.path.removeprefix("/v1/").split("/")
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            return self._route(method, parts, query, body or {})

    def _route(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Any:
        if parts[0] != "conversations":
            raise Refused(404, "Invalid URL")
        match method, len(parts):
            case "POST", 1:
                return self._create(body)
            case "GET", 2:
                return self._found(parts[1])
            case "POST", 2:
                self._found(parts[1])["metadata"] = self._metadata(body)
                return self._found(parts[1])
            case "DELETE", 2:
                self._found(parts[1])
                del self.conversations[parts[1]]
                return {"id": parts[1], "deleted": True, "object": "conversation.deleted"}
            case "POST", 3:
                return self._page(self._add(parts[1], body), more=False)
            case "GET", 3:
                return self._list(parts[1], query)
            case "GET", 4:
                return self._item(parts[1], parts[3])
            case "DELETE", 4:
                self._item(parts[1], parts[3])
                del self.contents[parts[1]][parts[3]]
                return self._found(parts[1])
        raise Refused(405, "Method not allowed")

    def _found(self, conversation: str) -> dict[str, Any]:
        if conversation not in self.conversations:
            raise Refused(404, f"Conversation with id '{conversation}' not found.")
        return self.conversations[conversation]

    def _item(self, conversation: str, item: str) -> dict[str, Any]:
        if item not in self.contents.get(conversation, {}):
            raise Refused(404, f"Item with id '{item}' not found.")
        return self.contents[conversation][item]

    def _create(self, body: Any) -> dict[str, Any]:
        metadata = self._metadata(body)
        self._number += 1
        made = {"id": f"conv_{self._number:040x}", "object": "conversation"}
        self.conversations[made["id"]] = {
            **made, "created_at": int(time.time()), "metadata": metadata,
        }  # fmt: skip
        self.contents[made["id"]] = {}
        if body.get("items"):
            self._add(made["id"], body)
        return self.conversations[made["id"]]

    def _metadata(self, body: Any) -> dict[str, str]:
        metadata = body.get("metadata") or {}
        if len(metadata) > 16:
            raise Refused(400, "Invalid 'metadata': too many properties")
        for key, value in metadata.items():
            if not isinstance(value, str) or len(key) > 64 or len(value) > 512:
                raise Refused(400, f"Invalid 'metadata.{key}'")
        return metadata

    def _add(self, conversation: str, body: Any) -> list[dict[str, Any]]:
        self._found(conversation)
        items = body.get("items")
        if not isinstance(items, list) or not items:
            raise Refused(400, "Missing required parameter: 'items'.")
        if len(items) > 20:
            raise Refused(400, "Invalid 'items': array too long. Expected at most 20.")
        made = [self._made(item) for item in items]
        self.contents[conversation].update({item["id"]: item for item in made})
        return made

    def _made(self, item: Any) -> dict[str, Any]:
        kind = item.get("type", "message")
        prefixes = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}
        if kind not in prefixes:
            raise Refused(400, f"Invalid value: '{kind}'.")
        needed = {
            "message": ("role", "content"),
            "function_call": ("call_id", "name", "arguments"),
            "function_call_output": ("call_id", "output"),
        }
        for key in needed[kind]:
            if not item.get(key):
                raise Refused(400, f"Missing required parameter: 'items[0].{key}'.")
        if kind == "message":
            item = {**item, "content": self._content(item["role"], item["content"])}
        self._number += 1
        return {
            "id": f"{prefixes[kind]}_{self._number:040x}",
            **{key: value for key, value in item.items() if key != "id"},
            "type": kind,
            "status": "completed",
        }

    def _content(self, role: str, content: Any) -> list[dict[str, Any]]:
        if role not in ("user", "assistant", "system", "developer"):
            raise Refused(400, f"Invalid value: '{role}'.")
        kind = "output_text" if role == "assistant" else "input_text"
        parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
        known = (kind, "refusal") if role == "assistant" else (kind, "input_image", "input_file")
        for part in parts:
            if part.get("type") not in known:
                raise Refused(400, f"Invalid value: '{part.get('type')}'.")
        more = {"annotations": [], "logprobs": []} if role == "assistant" else {}
        return [{**part, **more} for part in parts]

    def _list(self, conversation: str, query: dict[str, str]) -> dict[str, Any]:
        self._found(conversation)
        limit, order = query.get("limit", "20"), query.get("order", "desc")
        if not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise Refused(400, "Invalid 'limit': expected 1 to 100.")
        if order not in ("asc", "desc"):
            raise Refused(400, f"Invalid value: '{order}'.")
        items = self.items(conversation)
        if order == "desc":
            items.reverse()
        if "after" in query:
            places = [n for n, item in enumerate(items) if item["id"] == query["after"]]
            if not places:
                raise Refused(404, f"Item with id '{query['after']}' not found.")
            items = items[places[0] + 1 :]
        return self._page(items[: int(limit)], more=len(items) > int(limit))

    def _page(self, items: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
        ends = ends or {"first_id": "", "last_id": ""}
        return {"object": "list", "data": items, "has_more": more, **ends}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def _do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(size)
                status, headers = 200, {}
                try:
                    body = json.loads(data) if data else None
                    key = self.headers.get("Authorization")
                    told = server.answer(self.command, self.path, body, key)
                except Refused as refused:
                    status = refused.status
                    headers = {"retry-after-ms": "1"}
                    told = {"error": {"message": str(refused), "type": "error", "code": None}}
                out = json.dumps(told).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)
                self.wfile.flush()

            do_GET = do_POST = do_DELETE = _do  # noqa: N815  # names of http.server

        return Handler
