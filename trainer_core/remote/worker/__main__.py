"""`python -m trainer_core.remote.worker`: the worker of a serverless endpoint of RunPod. Its library is in the worker's own environment only."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from trainer_core.remote import credentials
from trainer_core.remote.worker import guard, room
from trainer_core.remote.worker.handler import Handler

LIBRARY = "runpod"


def main() -> int:
    """Works until RunPod ends it; the exit code."""
    try:
        library: Any = importlib.import_module(LIBRARY)
    except ImportError:
        print(
            f"The library {LIBRARY} is not installed. The worker's packages are in requirements/worker.txt.",
            file=sys.stderr,
        )
        return 1
    if left := room.sweep():
        print(f"An earlier worker left {left} unfinished request(s), which were cleared.", flush=True)
    guard.start()
    keep_keys()
    library.serverless.start({"handler": Handler(library.serverless.progress_update)})
    return 0


def keep_keys() -> None:
    """Takes the keys out of the environment, which engines inherit, into the memory of this process."""
    for name, known in credentials.KNOWN.items():
        if known.is_secret and (text := os.environ.pop(name, "").strip()):
            credentials.remember(name, text)


if __name__ == "__main__":
    sys.exit(main())
