"""The machine of the trainer in a second home: `python -m tests.support.second_home_machine SOCKET`.

It runs the trainer's program for whoever asks at its socket, each time in a process of its own, which need not import Easel again.
"""

from __future__ import annotations

import os
import pickle
import socketserver
import sys

from trainer_core.prepare import workbench  # noqa: F401 - what the trainer's program imports to begin a run
from trainer_core.remote.runs import there_command
from trainer_core.training import resume  # noqa: F401 - as above


class Handler(socketserver.StreamRequestHandler):
    """One call: the words and the input; the answer is the exit code, the output and the errors."""

    def handle(self) -> None:
        words, given = pickle.load(self.rfile)
        files = [os.fdopen(os.memfd_create(name), "w+b") for name in ("in", "out", "errors")]
        files[0].write(given)
        files[0].seek(0)
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        code = there_command.main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        for file in files:
            file.seek(0)
        pickle.dump((code, files[1].read(), files[2].read()), self.wfile)


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 64


if __name__ == "__main__":
    Server(sys.argv[1], Handler).serve_forever(poll_interval=0.1)
