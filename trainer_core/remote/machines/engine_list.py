"""The engines of a machine that ssh reaches: `own` says them there, without starting one, and `parsed` reads the answer here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainer_core import __version__
from trainer_core.engines.status import EngineStatus
from trainer_core.text import printable

UNKNOWN = "not known"
_DEVICES = {"cuda": "NVIDIA GPU", "rocm": "AMD GPU", "xpu": "Intel GPU", "mps": "Apple GPU", "cpu": "CPU"}
_MOST, _LONGEST = 100, 120


@dataclass(frozen=True)
class EngineThere:
    """An engine as the Easel of a machine knows it, from the record of its installation; a text that is not known is "".

    `torch` is its build, such as 2.10.0+cu128; `device` is what it was installed for and checked on. `is_hidden`: it is for tests.
    """

    id: str
    title: str
    is_installed: bool
    version: str = ""
    torch: str = ""
    device: str = ""
    is_hidden: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The engine as JSON data; null is what is not known."""
        found = {name: value if value != "" else None for name, value in asdict(self).items()}
        del found["is_hidden"]
        return found

    @property
    def sentence(self) -> str:
        """Whether it is installed, with what is known of it."""
        if not self.is_installed:
            return f"{self.title} is not installed."
        version = self.version or f"version {UNKNOWN}"
        return f"{self.title} {version} (torch {self.torch or UNKNOWN}; for: {self.device or UNKNOWN})."


def own() -> list[dict[str, Any]]:
    """The engines of this machine, as an answer to another one."""
    from trainer_core.engines import registry
    from trainer_core.install.installed import installed

    found = []
    for backend in registry.available(include_hidden=True):
        manifest = backend.manifest
        if not manifest.needs_installation:
            one = EngineThere(manifest.id, manifest.title, True, __version__, is_hidden=manifest.hidden)
        elif (there := installed(manifest.id)) is None:
            one = EngineThere(manifest.id, manifest.title, False, is_hidden=manifest.hidden)
        else:
            torch, device = there.details.get("torch"), _device(there.accelerator, there.details)
            one = EngineThere(
                manifest.id, manifest.title, True, there.version, str(torch or ""), device, manifest.hidden
            )
        found.append(asdict(one))
    return found


def _device(kind: str, details: Mapping[str, Any]) -> str:
    """The device that an engine was installed for; the name of the GPU if the check of the installation has run on one."""
    if kind not in _DEVICES:
        return ""
    program = {"cuda": ("CUDA", "cuda"), "rocm": ("ROCm", "hip")}.get(kind)
    version = f" with {program[0]} {details[program[1]]}" if program and details.get(program[1]) else ""
    return f"{details.get('gpu') or _DEVICES[kind]}{version}"


def parsed(answer: object) -> tuple[EngineThere, ...] | None:
    """The engines of an answer, which may say anything; None if it names none, as that of an older Easel."""
    if not isinstance(answer, list):
        return None
    found = [_parsed(row) for row in answer[:_MOST] if isinstance(row, dict) and row.get("id")]
    return tuple(found) or None


def _parsed(row: Mapping[str, Any]) -> EngineThere:
    id_, title, version, torch, device = (
        printable(str(row.get(name) or ""), _LONGEST) for name in ("id", "title", "version", "torch", "device")
    )
    return EngineThere(
        id_, title or id_, row.get("is_installed") is True, version, torch, device, row.get("is_hidden") is True
    )


def statuses(found: Iterable[EngineThere], machine: str, *, may_install: bool) -> dict[str, EngineStatus]:
    """The status of each engine that is known here, on a machine with these. `may_install`: the start of a run installs what is missing."""
    from trainer_core.engines import registry

    there = {one.id: one.version for one in found if one.is_installed}

    def status(engine: str, *, comes_with_easel: bool) -> EngineStatus:
        if engine in there or (comes_with_easel and not there):
            return EngineStatus(True, there.get(engine, ""))
        return EngineStatus(machine=machine, command=command(machine, engine), is_coming=may_install)

    known = [one.manifest for one in registry.available(include_hidden=True)]
    return {one.id: status(one.id, comes_with_easel=not one.needs_installation) for one in known}


def command(machine: str, engine: str) -> str:
    """The command that installs an engine there."""
    return f"easel remote machine install {machine} --engine {engine}"
