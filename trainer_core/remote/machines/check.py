"""What a machine that ssh reaches has, and what it lacks for jobs of Easel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__
from trainer_core.errors import JobError
from trainer_core.hardware import UNTRIED, Accelerator, amd_gpu, read_nvidia_smi
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_connection import run
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines import engine_list
from trainer_core.remote.machines.answering import MODULE
from trainer_core.remote.machines.engine_list import EngineThere
from trainer_core.text import printable, size

NEEDED = (3, 11)
"""The oldest Python for Easel."""
LEAST_DISK_BYTES = 1 << 30
"""With less free space not even Easel can be installed."""
USUAL_DISK_BYTES = 20 << 30
"""An engine's environment and one base model take about this much."""
LIMIT_S = 60.0
_PRINTED_BYTES = 256 << 10
_LONGEST = 300


@dataclass(frozen=True)
class Report:
    """What was found. Sizes are in bytes, 0 if the machine does not tell; a version is "" if there is none.

    `missing` is what a job cannot start without, `notes` what may matter later; both are sentences. `python` is the newest one
    that is new enough, `pythons` are all by their path. `engines` is None if no Easel there says which ones it has.
    """

    address: str
    system: str
    cpus: int
    ram_bytes: int
    disk_bytes: int
    pythons: Mapping[str, str]
    python: str
    gpus: tuple[Accelerator, ...]
    driver: str
    folder: str
    easel: str
    engines: tuple[EngineThere, ...] | None
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Whether jobs can be started there."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """What matters of it in a few sentences: GPU, free disk space, Easel and its engines, what is missing and what may matter."""
        gpus = "".join(f"{gpu.name}{f' with {size(gpu.vram_bytes)}' * bool(gpu.vram_bytes)}, " for gpu in self.gpus)
        easel = f"Easel {self.easel}" if self.easel else "no Easel yet"
        found = f"It has {gpus}{size(self.disk_bytes)} of free disk space, and {easel}."
        installed = [one for one in self.engines or () if one.is_installed]
        # That there is none at all is a note.
        told = [one.sentence for one in self.engines or ()] if installed else []
        return " ".join((found, *told, *self.missing, *self.notes))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        engines = None if self.engines is None else [one.as_dict() for one in self.engines]
        return {**asdict(self), "engines": engines, "is_ready": self.is_ready}


def check(machine: Machine, limit_s: float = LIMIT_S) -> Report:
    """What the machine has. Nothing is changed there.

    Raises:
        MachineError: it cannot be reached, did not answer within `limit_s` seconds, or has no POSIX shell.
    """
    script = Path(__file__).with_name("probe.sh").read_bytes()
    words = ("sh", "-s", "--", machine.folder)
    printed = run(machine, words, script, limit_s, _PRINTED_BYTES).decode("utf-8", "replace")
    facts = _facts(printed)
    if "end" not in facts:
        raise MachineError(f"{machine} did not say what it has.", "Easel needs a POSIX shell, sh, there.", "broken")
    engines, unanswered = _engines(machine, limit_s) if facts.get("easel") else (None, "")
    return _report(machine, facts, engines, unanswered)


def _facts(printed: str) -> dict[str, list[str]]:
    """The lines of the probe by their first word; what a shell printed before is left out."""
    found: dict[str, list[str]] = {}
    _, _, told = printed.partition("easel-probe 1\n")
    for line in told.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(printable(value.strip(), _LONGEST))
    return found


def _engines(machine: Machine, limit_s: float) -> tuple[tuple[EngineThere, ...] | None, str]:
    """The engines that the Easel there knows, None if it does not say them; and why it cannot be asked, "" if it can."""
    questions = Questions(machine, limit_s, MODULE)
    try:
        answer, _ = questions.ask({"do": "machine"})
    except (JobError, OSError) as error:
        return None, str(error)
    finally:
        questions.close()
    found = engine_list.parsed(answer.get("engines"))
    return None if found is None else tuple(one for one in found if not one.is_hidden), ""


def _report(
    machine: Machine, facts: Mapping[str, list[str]], engines: tuple[EngineThere, ...] | None, unanswered: str
) -> Report:
    rows = [row.split(" ", 1) for row in facts.get("python", ()) if re.match(r"\d\S* ", row)]
    pythons = {path: version for version, path in rows}
    fitting = [version for version in pythons.values() if _parts(version) >= NEEDED]
    gpus = _gpus(facts)
    easel = _first(facts, "easel")
    disk_bytes = _number(facts, "disk_kib") << 10
    python = max(fitting, key=_parts, default="")
    return Report(
        str(machine),
        _first(facts, "system"),
        _number(facts, "cpus"),
        _number(facts, "ram_kib") << 10,
        disk_bytes,
        pythons,
        python,
        gpus,
        next((gpu.driver for gpu in gpus), ""),
        machine.easel,
        easel,
        engines,
        tuple(_missing(machine, facts, python, easel, disk_bytes, unanswered)),
        tuple(_notes(facts, gpus, easel, engines, disk_bytes)),
    )


def _gpus(facts: Mapping[str, list[str]]) -> tuple[Accelerator, ...]:
    """The GPUs in the order in which Easel there would list them."""
    rows = [row.split(" ", 4) for row in facts.get("amd", ())]
    numbers = [
        (*map(int, row[:4]), row[4:]) for row in rows if all(re.fullmatch(r"[0-9]{1,15}", one) for one in row[:4])
    ]
    amd = [amd_gpu(gfx, total, used, " ".join(title)) for _, gfx, total, used, title in sorted(numbers)]
    intel = [Accelerator("xpu", f"Intel GPU at {row}") for row in facts.get("intel", ())[:1]]
    apple = [Accelerator("mps", "Apple silicon")] if _first(facts, "system") == "Darwin arm64" else []
    return (*read_nvidia_smi("\n".join(facts.get("nvidia", ()))), *amd, *intel, *apple)


def _missing(
    machine: Machine, facts: Mapping[str, list[str]], python: str, easel: str, disk_bytes: int, unanswered: str
) -> Iterator[str]:
    wanted = ".".join(map(str, NEEDED))
    if not python and not easel:
        yield f"There is no Python {wanted} or newer on the PATH: install one, such as with: apt install python{wanted}"
    if "easel_broken" in facts:
        yield f"The Easel in {machine.easel} does not start: run its installer again."
    elif not easel:
        yield f"There is no Easel in {machine.easel}: install it there, or name its folder with --easel."
    if unanswered:
        yield unanswered
    if "read_only" in facts:
        yield f"The user may not write to {_first(facts, 'read_only')}: name another folder with --easel."
    if "disk_kib" in facts and disk_bytes < LEAST_DISK_BYTES:
        yield f"The disk is full: {size(disk_bytes)} are free. Delete files there."


def _notes(
    facts: Mapping[str, list[str]],
    gpus: tuple[Accelerator, ...],
    easel: str,
    engines: tuple[EngineThere, ...] | None,
    disk_bytes: int,
) -> Iterator[str]:
    if "nvidia_broken" in facts:
        yield "There is an NVIDIA GPU or its program, but the driver does not answer: install the driver there again."
    elif not gpus:
        yield "No GPU was found that an engine can use: neither NVIDIA, nor AMD with its compute driver, nor Intel with the driver xe."
    if "amd_closed" in facts:
        yield "The user cannot open /dev/kfd, without which no program can use the AMD GPU: add the user to the groups render and video there, or give the container the device."
    for maker in dict.fromkeys(UNTRIED[gpu.kind] for gpu in gpus if gpu.kind in UNTRIED):
        yield f"Easel was not run on {maker} GPUs yet: what it says of them is from documents and sources."
    if LEAST_DISK_BYTES <= disk_bytes < USUAL_DISK_BYTES:
        yield f"Only {size(disk_bytes)} of disk space are free. An engine and a base model need about {size(USUAL_DISK_BYTES)}."
    if easel and easel != __version__:
        yield f"Easel is {easel} there and {__version__} here."
    if engines and not any(one.is_installed for one in engines):
        yield "No engine is installed there."


def _first(facts: Mapping[str, list[str]], name: str) -> str:
    return next(iter(facts.get(name, ())), "")


def _number(facts: Mapping[str, list[str]], name: str) -> int:
    text = _first(facts, name)
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def _parts(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; a preview such as 3.15.0a1 counts as its version."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    return (int(found[1]), int(found[2])) if found else ()
