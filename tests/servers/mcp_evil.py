"""MCP servers that go wrong on purpose, by hand and without the SDK: `python mcp_evil.py KIND`.

Each speaks newline-delimited JSON-RPC as https://modelcontextprotocol.io/specification/2025-11-25 says, but for one thing.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TOOL = {"name": "go", "description": "Go.", "inputSchema": {"type": "object"}}
OWNED = "\x1b]0;owned\x07"


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(request, result):
    send({"jsonrpc": "2.0", "id": request["id"], "result": result})


def refuse(request, message="no such method"):
    send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": message}})


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def initialize(request):
    answer(
        request,
        {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "evil", "version": "0"},
        },
    )


def serve(tools=(TOOL,), call=lambda request: answer(request, text("went")), listed=None):
    """Answer until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue
        if request["method"] == "initialize":
            initialize(request)
        elif request["method"] == "tools/list":
            (listed or (lambda request: answer(request, {"tools": list(tools)})))(request)
        elif request["method"] == "tools/call":
            call(request)
        else:
            refuse(request)


def dies_at_start():
    print("Traceback: no \x1b[31mdatabase", file=sys.stderr)
    sys.exit(3)


def dies_mid_call():
    def call(request):
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(9)

    serve(call=call)


def dies_once():
    """Die in the first call; the next life answers."""

    def call(request):
        mark = Path(os.environ["MARK"])
        if mark.exists():
            answer(request, text(f"alive as {os.getpid()}"))
        else:
            mark.touch()
            os._exit(9)

    serve(call=call)


def chatters():
    """Print what is no message, blank lines and broken JSON between the messages."""
    print('Starting up...\n\n{\n[1,2]\n"x"\n' + "[" * 5000 + "\nnull", flush=True)
    sys.stdout.buffer.write(b"\xff\xfe\x00\n")
    serve()


def counts():
    """Count the calls of this life, by a tool that says it only reads."""

    def call(request):
        nonlocal made
        made += 1
        answer(request, text(str(made)))

    made = 0
    serve([{**TOOL, "name": "count", "annotations": {"readOnlyHint": True}}], call)


def floods_stderr():
    for n in range(2000):
        sys.stderr.write(f"line {n} " + "x" * 5000 + "\n")
    serve()


def floods_stdout():
    """Say something nobody asked for, 50,000 times, before each answer."""
    note = {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "info", "data": "x" * 50},
    }
    flood = (json.dumps(note) + "\n") * 5000

    def call(request):
        sys.stdout.write(flood)
        answer(request, text("went"))

    serve(call=call)


def asks_for_ever():
    """Send 30,000 pings and read none of the answers before the call is answered."""

    def call(request):
        for n in range(30_000):
            sys.stdout.write(f'{{"jsonrpc": "2.0", "id": "ping {n}", "method": "ping"}}\n')
        answer(request, text("went"))

    serve(call=call)


def changes_for_ever():
    """Say without end that the tools have changed."""

    def call(request):
        for _ in range(2000):
            send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        answer(request, text(f"listed {lists}"))

    lists = 0

    def listed(request):
        nonlocal lists
        lists += 1
        answer(request, {"tools": [TOOL]})

    serve(call=call, listed=listed)


def never_answers():
    for _ in sys.stdin:
        pass


def other_version():
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("method") == "initialize":
            answer(
                request,
                {
                    "protocolVersion": "1999-01-01",
                    "capabilities": {},
                    "serverInfo": {"name": "e", "version": "0"},
                },
            )
        else:
            refuse(request)


def huge():
    """Answer with 50 MB; "tail" puts the id last, "lost" has none that can be found."""

    def call(request):
        how = request["params"]["arguments"].get("how")
        body = '{"content": [{"type": "text", "text": "' + "x" * 50_000_000 + '"}]}'
        line = {
            "tail": f'{{"result": {body}, "jsonrpc": "2.0", "id": {request["id"]}}}',
            "lost": f'{{"result": {body}, "id": {request["id"]}, "jsonrpc": "2.0"}}',
            "small": json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": text("small")}),
        }.get(how, f'{{"jsonrpc": "2.0", "id": {request["id"]}, "result": {body}}}')
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    serve(
        [{**TOOL, "inputSchema": {"type": "object", "properties": {"how": {"type": "string"}}}}],
        call,
    )


def lies():
    """Offer tools that are broken, hostile, doubled and too many; one is right."""
    tools = [
        TOOL,
        {"name": "schema", "inputSchema": "object"},
        {"name": "array", "inputSchema": {"type": "array"}},
        {"name": "properties", "inputSchema": {"type": "object", "properties": [1]}},
        {"name": "required", "inputSchema": {"type": "object", "required": "all"}},
        {
            "name": "huge",
            "inputSchema": {"type": "object", "properties": {"a": {"enum": ["x" * 1000] * 100}}},
        },
        {"name": 7, "inputSchema": {}},
        {"inputSchema": {}},
        "nothing",
        {
            "name": f"evil{OWNED}name",
            "description": f"hello{OWNED}",
            "inputSchema": {"type": "object", "properties": {"a": {"description": OWNED}}},
        },
        {"name": "go", "description": "another", "inputSchema": {}},
        {
            "name": "g" * 300,
            "inputSchema": {"type": "object"},
            "annotations": "read only",
            "outputSchema": 7,
            "icons": "x",
        },
        {
            "name": "pattern",
            "inputSchema": {"type": "object"},
            "outputSchema": {"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}},
        },
    ]

    def call(request):
        if request["params"]["name"] == "pattern":
            answer(request, {**text("ok"), "structuredContent": {"a": "a" * 60 + "!"}})
        else:
            answer(request, {"content": [{"type": "no such type"}], "structuredContent": []})

    serve(tools, call)


def deep():
    """Answer with arrays in arrays."""

    def call(request):
        line = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"content": "HERE"}})
        sys.stdout.write(line.replace('"HERE"', "[" * 100_000 + "]" * 100_000) + "\n")
        sys.stdout.flush()

    serve(call=call)


def doubles():
    """Offer one tool 200 times over, and one that is broken."""
    serve([*[TOOL] * 200, {"name": "broken"}])


def endless_list():
    """List tools page after page, for ever."""

    def listed(request):
        page = int((request.get("params") or {}).get("cursor") or 0)
        tool = {**TOOL, "name": f"go{page}"}
        answer(request, {"tools": [tool], "nextCursor": str(page + 1)})

    serve(listed=listed)


def asks():
    """Ask the client for a model, the person and files, and tell what it said to that."""

    def call(request):
        said = []
        for n, method in enumerate(["sampling/createMessage", "elicitation/create", "roots/list"]):
            params = (
                {"messages": [], "maxTokens": 1}
                if n == 0
                else {
                    "message": "password?",
                    "requestedSchema": {"type": "object", "properties": {}},
                }
            )
            send(
                {
                    "jsonrpc": "2.0",
                    "id": f"mine-{n}",
                    "method": method,
                    "params": params if n < 2 else {},
                }
            )
            reply = json.loads(sys.stdin.readline())
            said.append("error" if "error" in reply else "result")
        answer(request, text(f"{' '.join(said)} {json.dumps(capabilities)}"))

    capabilities = None

    for line in sys.stdin:
        request = json.loads(line)
        if request.get("method") == "initialize":
            capabilities = request["params"]["capabilities"]
            initialize(request)
        elif request.get("method") == "tools/list":
            answer(request, {"tools": [TOOL]})
        elif request.get("method") == "tools/call":
            call(request)
        elif "id" in request:
            refuse(request)


def stays():
    """Ignore every polite request to end, and so does the program it started; both pids go to $MARK."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    Path(os.environ["MARK"]).write_text(f"{os.getpid()} {child.pid}")
    serve()
    time.sleep(600)


def hangs():
    """Never answer a call, and do not end when asked to; the pid goes to $MARK when a call has come."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(call=lambda _request: leave_pid())
    time.sleep(600)


def never_starts():
    """Answer nothing at all, and do not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_pid()
    time.sleep(600)


def leave_pid():
    """Write the pid in one go, so that nobody reads half of it."""
    mark = Path(os.environ["MARK"])
    part = mark.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.rename(mark)


def waits_once():
    """Leave the first call unanswered, and answer the others with how often this life was called."""
    made = 0

    def call(request):
        nonlocal made
        made += 1
        if made == 1:
            Path(os.environ["MARK"]).touch()
        else:
            answer(request, text(f"call {made} of one life"))

    serve(call=call)


def leaves_child():
    """End as it should, and leave a program behind that holds the pipes."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["MARK"]).write_text(f"{os.getpid()} {child.pid}")
    serve()


def deaf():
    """Take nothing after the list of tools."""
    served = 0
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("method") == "initialize":
            initialize(request)
        elif request.get("method") == "tools/list":
            answer(request, {"tools": [TOOL]})
            served = 1
        elif "id" in request:
            refuse(request)
        if served:
            time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
