"""Which optimizers and parts of an installed engine work on this machine, found by trying each. Standard library only.

<home>/engines/<id>/trials.json   {"version", "torch", "device", "optimizers": {name: record}, "parts": {name: record}}
<home>/engines/<id>/trials.log    what the libraries printed during the trials

A record has `ok`, `reason` (one sentence, or ""), `device`, `seconds`. An optimizer's record also has `spelled` and
`state_bytes_per_parameter`, a part's record also has `version`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from trainer_core import catalog, hardware
from trainer_core.child import child_environment
from trainer_core.engines.manifest import BackendManifest
from trainer_core.files import read_json, write_whole
from trainer_core.install.inside import trial
from trainer_core.install.installed import InstalledEngine

Record = dict[str, Any]
Item = tuple[str, str, Mapping[str, Any]]

ALWAYS = ("weight_decay=0.01",)
"""What every plan passes to the optimizer unless it is changed."""

ITEM_S = 300
"""Time limit of one item. torchao compiles code at its first step: 6 s on an idle machine, ten times that on a busy one."""
PROCESS_S = 1800
_SCRIPT = "try_optimizers.py"


def run(engine: InstalledEngine, table: BackendManifest, report: Callable[[str], None]) -> Mapping[str, Any]:
    """The results of trying all that the engine supports, also written to a file; {} without a `try_optimizers.py`."""
    script, kept = table.folder / _SCRIPT, engine.home / "trials.json"
    kept.unlink(missing_ok=True)
    if not script.is_file():
        return {}
    report(f"Trying the optimizers of {table.title} on this machine.")
    started = time.monotonic()
    items = [*_parts(), *optimizers_of(table)]
    with (engine.home / "trials.log").open("w", encoding="utf-8") as log:
        about, records = _try_all(engine, script, items, log)
    found: dict[str, Any] = {
        "version": engine.version,
        "torch": engine.details.get("torch", ""),
        "device": hardware.accelerators()[0].name,
        "seconds": round(time.monotonic() - started, 1),
    }
    for kind in ("optimizers", "parts"):
        found[kind] = {name: {**record, **about} for (of, name), record in records.items() if of == kind}
    for name, record in found["optimizers"].items():
        record["spelled"] = table.optimizers[name]
    write_whole(kept, json.dumps(found, indent=1) + "\n")
    _report(found["optimizers"], report)
    return found


def load(engine: InstalledEngine, device: str, spelled: Mapping[str, str]) -> Mapping[str, Mapping[str, Record]]:
    """{"optimizers": {name: record}, "parts": {name: record}} of trials on `device` with this installation; else both empty.

    An item without a record was not tried yet: it is not known whether it works. A record of an optimizer that the engine's
    table now spells differently is left out.
    """
    nothing = {"optimizers": {}, "parts": {}}
    try:
        found = read_json(engine.home / "trials.json")
        of = (found["version"], found["torch"], found["device"])
        tried = {name: record for name, record in found["optimizers"].items() if spelled.get(name) == record["spelled"]}
        mine = {"optimizers": tried, "parts": dict(found["parts"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return nothing
    return mine if of == (engine.version, engine.details.get("torch", ""), device) else nothing


def are_complete(engine: InstalledEngine, table: BackendManifest) -> bool:
    """Whether nothing is left to try: a record of this engine on this device exists, or it has no `try_optimizers.py`."""
    known = load(engine, hardware.accelerators()[0].name, table.optimizers)
    return bool(known["optimizers"]) or not (table.folder / _SCRIPT).is_file()


def _parts() -> list[Item]:
    return [("parts", name, {}) for name in trial.PARTS]


def optimizers_of(table: BackendManifest) -> list[Item]:
    """What is tried of the optimizers of an engine."""
    known = catalog.optimizers()
    return [
        (
            "optimizers",
            name,
            {
                "spelled": spelled,
                "arguments": [*table.optimizer_arguments.get(name, ()), *ALWAYS],
                "learning_rate": 1.0 if name in known and known[name].adapts else 1e-3,
            },
        )
        for name, spelled in table.optimizers.items()
    ]


def _try_all(
    engine: InstalledEngine, script: Path, items: Sequence[Item], log: IO[str]
) -> tuple[Mapping[str, str], dict[tuple[str, str], Record]]:
    """({"device": torch's name for it}, the record of every item). If a process dies, another one tries the remaining items."""
    about: dict[str, str] = {}
    records: dict[tuple[str, str], Record] = {}
    rest = list(items)
    while rest:
        lines, ending = _process(engine, script, rest, log)
        before, trying = len(records), None
        for line in lines:
            if "trying" in line:
                trying = tuple(line["trying"])
            elif "tried" in line:
                records[tuple(line.pop("tried"))], trying = line, None
            else:
                about = {"device": str(line.get("device", ""))}
        if trying is not None:
            records[trying] = _failed(ending)
        elif len(records) == before:
            records |= {(kind, name): _failed(ending) for kind, name, _ in rest}
        rest = [item for item in rest if (item[0], item[1]) not in records]
    return about, records


def _failed(ending: str) -> Record:
    return {"ok": False, "reason": ending}


def _process(engine: InstalledEngine, script: Path, items: Sequence[Item], log: IO[str]) -> tuple[list[Record], str]:
    """(what one process reported, one record a line, and how it ended, as a sentence)."""
    path = str(engine.source) if engine.source else None
    task = {"build": str(script), "path": path, "limit_s": ITEM_S, "items": items}
    command = [str(engine.python), trial.__file__, json.dumps(task)]
    environment = child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
    start = log.tell()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as answers:
        try:
            status = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=answers,
                stderr=log,
                timeout=PROCESS_S,
                env=environment,
                cwd=engine.home,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        answers.seek(0)
        lines = [json.loads(line) for line in answers if line.endswith("\n")]
    log.seek(0, os.SEEK_END)
    return lines, _ending(status, Path(log.name), start)


def _ending(status: int, log: Path, start: int) -> str:
    if status == -signal.SIGALRM:
        return "it did not finish in time."
    if status < 0:
        return f"it crashed ({signal.Signals(-status).name})."
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        from trainer_core.install.uv import decisive_line

        last = decisive_line(file.read())
    return f"it ended the process ({(last or f'status {status}')[:160].rstrip('.')})."


def _report(records: Mapping[str, Record], report: Callable[[str], None]) -> None:
    broken = {name: record["reason"] for name, record in records.items() if not record["ok"]}
    report(f"{len(records) - len(broken)} of {len(records)} optimizers work here.")
    for name, why in broken.items():
        report(f"{name} does not work: {why}")
