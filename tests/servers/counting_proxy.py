"""A TCP proxy that counts the round trips a client waits for, and can go silent or cut connections."""

import asyncio
import threading


class CountingProxy:
    """A proxy on a free port of this machine, in a thread of its own.

    Each answer is delivered `delay` seconds after it came. An answer that nobody waits for is therefore not delivered
    yet when the client's operation has ended, and does not count.

    Args:
        target: port, or path of a Unix socket, of the server.
        delay: seconds.

    Attributes:
        round_trips: number of answers delivered to a client that had sent something since the answer before.
        silent: nothing is forwarded any more, while TCP still acknowledges.
        trap: bytes that a client sends, and what happens then, once: ``cut`` closes its connection as soon as the
            server has answered, without the answer; ``drop`` closes it and does not forward the bytes; ``silence``
            withholds everything on it from then on, and ``silence all`` on every connection.
        on_cut, on_withheld: called when a connection is cut, and when something was withheld.
    """

    def __init__(self, target, delay=0.0):
        self.round_trips = 0
        self._tasks = []
        self.silent = False
        self.trap = None
        self.on_cut = self.on_withheld = lambda: None
        self._waiting, self._changed = set(), threading.Condition()
        self._target, self._delay = target, delay
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[ready], daemon=True)
        self._thread.start()
        ready.wait()

    def settle(self):
        """Wait until every answer was delivered, so that none counts for the next operation."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._waiting, 60)

    def note(self, client, *, waiting):
        """Record that a client has sent something, or that the answer was delivered."""
        with self._changed:
            (self._waiting.add if waiting else self._waiting.discard)(client)
            self._changed.notify_all()

    def close(self):
        """End the proxy and its connections."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def _run(self, ready):
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready):
        self._done = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._done.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader, writer):
        # A task of asyncio's own would report that it was cancelled.
        self._tasks.append(asyncio.ensure_future(self._connect(reader, writer)))

    async def _connect(self, reader, writer):
        try:
            if isinstance(self._target, int):
                server = await asyncio.open_connection("127.0.0.1", self._target)
            else:
                server = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        client = _Client(self, (reader, writer), server)
        try:
            await asyncio.gather(client.send(), client.receive(), return_exceptions=True)
        finally:
            self.note(client, waiting=False)
            writer.close()
            server[1].close()


class _Client:
    """One connection of a client."""

    def __init__(self, proxy, client, server):
        self._proxy = proxy
        self._reader, self._writer = client
        self._from_server, self._to_server = server
        self._requested = False
        self._trapped = None

    async def send(self):
        """Forward what the client sends."""
        while data := await self._reader.read(65536):
            self._spring(data)
            if self._is_silent:
                self._proxy.on_withheld()
                continue
            if self._trapped == "drop":
                self._writer.close()
                break
            self._requested = True
            self._proxy.note(self, waiting=True)
            self._to_server.write(data)
            await self._to_server.drain()
        self._to_server.close()

    def _spring(self, data):
        """Set off the trap, if the client has sent its bytes."""
        if self._proxy.trap is not None and self._proxy.trap[0] in data:
            self._trapped, self._proxy.trap = self._proxy.trap[1], None
            self._proxy.silent |= self._trapped == "silence all"

    @property
    def _is_silent(self):
        return self._proxy.silent or self._trapped in ("silence", "silence all")

    async def receive(self):
        """Deliver what the server answers, each part after the delay."""
        loop = asyncio.get_running_loop()
        while data := await self._from_server.read(65536):
            if self._is_silent:
                continue
            if self._trapped == "cut":
                self._proxy.on_cut()
                break
            counts, self._requested = self._requested, False
            if self._proxy._delay:
                loop.call_later(self._proxy._delay, self._deliver, data, counts)
            else:
                self._deliver(data, counts)
        if self._proxy._delay and self._trapped is None:
            await asyncio.sleep(self._proxy._delay)
        self._writer.close()

    def _deliver(self, data, counts):
        if not self._writer.is_closing():
            self._proxy.round_trips += counts
            self._writer.write(data)
        self._proxy.note(self, waiting=self._requested)
