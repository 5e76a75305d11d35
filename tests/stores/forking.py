"""Runs one program many times at once, each in a forked process of its own; all of them begin at the same moment.

`main` prints a JSON list of [exit code, stdout, stderr].
"""

import json
import os
import sys
import tempfile
import traceback


def run(code, arguments, streams, start):
    """Wait for the start, run the program with its streams, and end this process."""
    os.read(start, 1)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
    sys.argv = ["-c", *arguments]
    status = 0
    try:
        exec(code, {"__name__": "__main__"})
    except BaseException:  # noqa: BLE001  # reported by the exit code
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(code, many, *arguments):
    start, ready = os.pipe()
    children = []
    for number in range(int(many)):
        streams = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # the process ends soon
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            run(code, [*arguments, str(number)], streams, start)
        children.append((pid, streams))
    os.close(ready)
    ended = []
    for pid, streams in children:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for stream in streams:
            stream.seek(0)
            texts.append(stream.read().decode())
        ended.append([status, *texts])
    json.dump(ended, sys.stdout)
