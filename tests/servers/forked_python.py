"""Python for shells of tests: hands its arguments, streams, environment and directory to the fork server.

    python -SI forked_python.py SOCKET (-m MODULE | -c CODE) [ARGUMENTS]

It passes signals on, and ends as the process does.
"""

import marshal
import os
import signal
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
cwd = os.getcwd()  # noqa: PTH109  # pathlib takes as long to import as all else
request = marshal.dumps({"argv": sys.argv[2:], "env": dict(os.environ), "cwd": cwd})
socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
connection.sendall(request)
pid = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(pid, number))
code = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
