"""Time of `omniagent acp`: the answer to initialize, and the delays of the first token and of a cancellation.

Run: python tests/benchmarks/editors.py
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from acp import Client, connect_to_agent
from acp._transport import memory_transport_pair
from acp.helpers import text_block

from omniagent_cli import Agent, open_store
from omniagent_cli.adapters.acp.server import AcpServer
from omniagent_cli.agent.events import Finished, TextDelta
from omniagent_cli.agent.tools.permissions import PreapprovedTools

RUNS = 15
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}


def seconds(command: list[str], line: str | None, environ: dict[str, str]) -> float:
    """Return the median time until the first line of output; without `line` until the end."""
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            if line is None:
                child.wait()
            else:
                child.stdin.write(line + "\n")
                child.stdin.flush()
                child.stdout.readline()
            taken.append(time.perf_counter() - start)
            child.stdin.close()
            child.wait()
    return statistics.median(taken)


class Timed:
    """An engine and a client that record when a token leaves the one and reaches the other."""

    name = "timed:model"
    allowed = PreapprovedTools()

    def __init__(self, store):
        self.store = store
        self.sent = self.arrived = 0.0
        self.hang = False

    async def stream(self, *_):
        self.arrived, self.sent = 0.0, time.perf_counter()
        yield TextDelta("token")
        if self.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(0.05)
        yield Finished("stop", "token")

    async def aclose(self):
        """Close nothing."""

    def agent(self, request):
        return Agent(self, store=self.store, approve=request.approve)

    def saved_prompts(self, _cwd):
        return []

    def models(self):
        return []


class Editor(Client):
    """A client that records the arrival of the first token."""

    def __init__(self, timed):
        self.timed = timed

    async def session_update(self, session_id, update, **_):
        del session_id
        if update.session_update == "agent_message_chunk" and not self.timed.arrived:
            self.timed.arrived = time.perf_counter()


async def first_tokens(store) -> tuple[list[float], list[float]]:
    """Return the delay of the first token and of a cancellation in each of several turns, in seconds."""
    timed = Timed(store)
    ours, theirs = memory_transport_pair()
    serving = asyncio.create_task(AcpServer(timed, ours).run())
    connection = connect_to_agent(Editor(timed), theirs, use_unstable_protocol=True)
    new = await connection.new_session(cwd="/")
    delays = []
    for number in range(RUNS):
        await connection.prompt(session_id=new.session_id, prompt=[text_block(str(number))])
        delays.append(timed.arrived - timed.sent)
    timed.hang, ends = True, []
    for number in range(RUNS):
        sent = connection.prompt(session_id=new.session_id, prompt=[text_block(str(number))])
        turn = asyncio.create_task(sent)
        timed.arrived = 0.0
        while not timed.arrived:
            await asyncio.sleep(0.001)
        start = time.perf_counter()
        await connection.cancel(session_id=new.session_id)
        await turn
        ends.append(time.perf_counter() - start)
    await theirs.close()
    await connection.close()
    await serving
    return delays, ends


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "HOME": folder}
        python = [sys.executable, "-c"]
        bare = seconds([*python, "pass"], None, environ)
        library = seconds([*python, "import acp"], None, environ)
        command = [sys.executable, "-m", "omniagent_cli", "--store", f"{folder}/a.db", "acp"]
        answer = seconds(command, json.dumps(HELLO), environ)
        bound = 3 * bare + (library - bare)
        print(f"initialize: {answer * 1e3:.0f} ms; bare python {bare * 1e3:.0f} ms,", end=" ")
        print(f"with the library {library * 1e3:.0f} ms; bound {bound * 1e3:.0f} ms")
        with open_store(Path(folder) / "b.db") as store:
            delays, ends = asyncio.run(first_tokens(store))
        print(f"first token: median {statistics.median(delays) * 1e3:.1f} ms,", end=" ")
        print(f"maximum {max(delays) * 1e3:.1f} ms; bound 5 ms")
        print(f"cancel: median {statistics.median(ends) * 1e3:.1f} ms,", end=" ")
        print(f"maximum {max(ends) * 1e3:.1f} ms; bound 100 ms")


if __name__ == "__main__":
    main()
