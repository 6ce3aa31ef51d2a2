"""The programs that use VRAM, from the list of the GPU driver, with names that tell users what to close."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import psutil

from trainer_core.engines import registry
from trainer_core.probe import HERE, Probe
from trainer_core.text import printable

TIMEOUT_S = 5
REUSE_S = 10
"""How long an answer of a driver is reused: a notebook checks the fit after every change, and a query takes up to a second."""
MOST_LINES = 500
MOST_BYTES = 2**50
"""Larger values in a driver's answer are errors."""
_MIB = 1024**2
NVIDIA = ("nvidia-smi", "--query-compute-apps=pid,used_memory,process_name", "--format=csv,noheader,nounits")
ROCM = ("rocm-smi", "--showpids", "--json")
PROGRAMS = {
    "comfyui": "ComfyUI",
    "stable-diffusion-webui-forge": "Forge",
    "sd-webui-forge": "Forge",
    "stable-diffusion-webui": "Stable Diffusion web UI",
    "invokeai": "InvokeAI",
    "fooocus": "Fooocus",
    "swarmui": "SwarmUI",
    "kohya_ss": "kohya_ss",
    "onetrainer": "OneTrainer",
    "ai-toolkit": "ai-toolkit",
    "ollama": "Ollama",
    "text-generation-webui": "text-generation-webui",
}
"""A text in a command line, and the program it belongs to: longer texts first. Engines have theirs in their manifests."""

_answers: dict[str, tuple[float, str]] = {}
"""By driver program: until when its last answer is reused (time.monotonic), and the answer."""


@dataclass(frozen=True)
class GpuProcess:
    """A program that uses VRAM. `name` is safe to show; `bytes` is 0 if the driver does not report it."""

    pid: int
    name: str
    bytes: int


def find_gpu_processes(probe: Probe = HERE) -> tuple[GpuProcess, ...]:
    """The programs that use VRAM, the largest first; none if no driver answers.

    In a container, only its own processes are visible, or none.
    """
    for command, read in ((NVIDIA, read_nvidia), (ROCM, read_rocm)):
        answer = _ask(command, probe)
        if answer:
            return tuple(sorted(read(answer), key=lambda process: process.bytes, reverse=True))
    return ()


def read_nvidia(text: str) -> list[GpuProcess]:
    """The processes in the CSV answer of nvidia-smi: pid, MiB (or "[N/A]"), and a name that may contain commas."""
    found = []
    for line in text.splitlines()[:MOST_LINES]:
        fields = [field.strip() for field in line.split(",", 2)]
        if len(fields) == 3 and (pid := _number(fields[0])):
            found.append(GpuProcess(pid, program(pid, fields[2]), min((_number(fields[1]) or 0) * _MIB, MOST_BYTES)))
    return found


def read_rocm(text: str) -> list[GpuProcess]:
    """The processes in the JSON answer of rocm-smi: {"system": {"PID12": "name, GPUs, bytes, ..."}}."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return []
    system = table.get("system") if isinstance(table, dict) else None
    found = []
    for key, value in list(system.items())[:MOST_LINES] if isinstance(system, dict) else ():
        fields = [field.strip() for field in value.split(",")] if isinstance(value, str) else []
        if key.startswith("PID") and len(fields) >= 3 and (pid := _number(key[3:])):
            found.append(GpuProcess(pid, program(pid, fields[0]), min(_number(fields[2]) or 0, MOST_BYTES)))
    return found


def program(pid: int, reported: str) -> str:
    """The name of a process: that of a known program by its command line, else the name that the driver reports."""
    short = printable(PurePath(reported.replace("\\", "/")).name or reported, 60)
    try:
        process = psutil.Process(pid)
        words, folder = process.cmdline(), process.cwd()
    except (psutil.Error, OSError, ValueError, OverflowError):
        return short or f"process {pid}"
    # In a container, the driver may report process ids of the host, which belong to other processes here.
    if not words or PurePath(words[0]).name[:6] != PurePath(reported.replace("\\", "/")).name[:6]:
        return short or f"process {pid}"
    return known_program([*words, folder]) or short


def known_program(words: Sequence[str]) -> str:
    """The known program that the words of a command line and its folder contain; "" if there is none."""
    line = " ".join(words).lower()[:10_000]
    names = (backend.manifest.upstream.name for backend in registry.available())
    known = {**PROGRAMS, **{name.lower(): name for name in names if name}}
    return next((title for word, title in known.items() if word in line), "")


def _ask(command: Sequence[str], probe: Probe) -> str:
    """The answer of a driver program, or its last answer if that is recent; "" if it is missing or fails."""
    program = probe.program(command[0], "usr/lib/wsl/lib")
    if not program:
        return ""
    until, text = _answers.get(program, (0.0, ""))
    begun = time.monotonic()
    if begun >= until:
        text = probe.ask(program, *command[1:], limit_s=TIMEOUT_S)
        # A slow program is called less often, so that it does not take most of the time.
        took_s = time.monotonic() - begun
        _answers[program] = begun + took_s + max(REUSE_S, 10 * took_s), text
    return text


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
