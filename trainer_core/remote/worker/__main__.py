"""`python -m trainer_core.remote.worker`: the worker of a serverless endpoint of RunPod. Its library is in the worker's own environment only."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from trainer_core.engines import registry
from trainer_core.install import choice
from trainer_core.remote import credentials
from trainer_core.remote.worker import guard, room, working
from trainer_core.remote.worker.handler import Handler
from trainer_core.text import printable

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
    if lack := lack_of_engines():
        print(lack, flush=True)
    guard.start()
    keep_keys()
    library.serverless.start({"handler": Handler(library.serverless.progress_update)})
    return 0


def lack_of_engines() -> str:
    """What requests will fail for, as a sentence: a worker without an engine takes them all the same. "" if nothing is missing."""
    named = os.environ.get(working.ENGINE, "").strip()
    # A hidden one, as tests have it, is used only if it is named.
    engines = [each for each in registry.available(True) if not each.manifest.hidden or each.manifest.id == named]
    there = sorted(name for name, status in choice.installations(engines).items() if status.installed)
    build = "Build the image with --build-arg ENGINE=..., or install one in the volume (docs/guide/remote-worker.md)."
    if not there:
        return f"No engine is installed in this worker, so every request will fail. {build}"
    if named and named not in there:
        has = f"This worker has {', '.join(there)}."
        return f"{working.ENGINE} names {printable(named, 100)}, which is not installed. {has} {build}"
    return ""


def keep_keys() -> None:
    """Takes the keys out of the environment, which engines inherit, into the memory of this process."""
    for name, known in credentials.KNOWN.items():
        if known.is_secret and (text := os.environ.pop(name, "").strip()):
            credentials.remember(name, text)


if __name__ == "__main__":
    sys.exit(main())
