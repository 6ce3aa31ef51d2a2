"""Tries something with an engine's own Python on this machine, in a process with a time limit, and keeps the result.

<home>/cache/doctor.json   {"<engine> <what>": {"key": hash of what it depends on, "result": {...}}}
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_core import bounded, places
from trainer_core.child import child_environment
from trainer_core.doctor.answers import is_whole
from trainer_core.files import read_json, write_whole
from trainer_core.install.inside import proof
from trainer_core.install.installed import InstalledEngine
from trainer_core.install.uv import decisive_line
from trainer_core.text import size, without_secrets

Report = Callable[[str], None]
Result = Mapping[str, Any]
LIMIT_S = 240
"""The time limit of one program; importing torch takes seconds, on a slow disk minutes."""
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION")
"""The variables that decide which GPUs torch finds."""
TITLES = {
    "kernel": "Computing something on each device",
    "bitsandbytes": "Making a step with an 8-bit optimizer",
    "attention": "Trying the attention functions",
}


def store() -> Path:
    """The file of what was tried."""
    return places.cache() / "doctor.json"


def result(engine: InstalledEngine, what: str, depends: Mapping[str, Any], report: Report, *, again: bool) -> Result:
    """The kept result if it depends on nothing that has changed; else a new one. Not to be tried `again` is the default.

    A process that failed to say anything is a result with `failure`, and is not kept.
    """
    key = _key(engine, what, depends)
    name = f"{engine.id} {what}"
    kept = _kept()
    entry = kept.get(name)
    if not again and isinstance(entry, dict) and entry.get("key") == key and is_whole(entry.get("result"), what):
        return {**entry["result"], "kept": True}
    report(f"{TITLES[what]} with the Python of {engine.id}.")
    found = _run(engine, what)
    if "failure" not in found:
        kept[name] = {"key": key, "result": found}
        # A folder that cannot be written only makes the next call slower.
        with contextlib.suppress(OSError):
            write_whole(store(), json.dumps(kept, indent=1) + "\n")
    return found


def _key(engine: InstalledEngine, what: str, depends: Mapping[str, Any]) -> str:
    """What a result depends on: the pins of the engine, the device with its driver, and the program that tries it."""
    program = hashlib.sha256(Path(proof.__file__).read_bytes()).hexdigest()
    parts = [what, engine.fingerprint, engine.installed_at, engine.details, depends, program]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _kept() -> dict[str, Any]:
    try:
        found = read_json(store())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _run(engine: InstalledEngine, what: str) -> dict[str, Any]:
    """What the program says in its last line; {"failure": a sentence} if it does not."""
    command = [str(engine.python), proof.__file__, what, str(os.getpid()), str(LIMIT_S)]
    environment = child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
    try:
        done = bounded.run(command, LIMIT_S, environment=environment, folder=engine.home)
    except OSError as error:
        return {"failure": f"The Python of the engine cannot be started: {error.strerror or error}."}
    if done.ended == "time" or done.returncode == -signal.SIGALRM:
        return {"failure": f"It did not end within {LIMIT_S} seconds."}
    if done.ended:
        return {"failure": f"It was stopped: it printed more than {size(bounded.MOST_BYTES)}."}
    if done.returncode < 0:
        return {"failure": f"It crashed ({_name(-done.returncode)})."}
    if done.returncode == 0 and done.stdout.strip():
        return _answer(what, done.stdout)
    last = without_secrets(decisive_line(done.stderr)) or f"status {done.returncode}"
    return {"failure": f"It ended with an error: {last[:300].rstrip('.')}."}


def _answer(what: str, printed: str) -> dict[str, Any]:
    found: object = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(printed.splitlines()[-1])
    if is_whole(found, what):
        return found
    return {"failure": "It ended without an answer that is whole."}


def _name(number: int) -> str:
    """The name of a signal; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
