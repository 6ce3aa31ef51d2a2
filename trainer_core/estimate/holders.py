"""Which programs hold a GPU's memory, as its driver lists them, named so that a person knows what to close."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import psutil

from trainer_core.text import printable

TIMEOUT_S = 5
AGAIN_S = 10
"""How long an answer of a driver is taken as it is: a notebook judges anew with every change, and asking takes up to a second."""
MOST_LINES = 500
MOST_BYTES = 2**50
"""What is above is no answer of a driver."""
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
    "sd-scripts": "sd-scripts",
    "kohya_ss": "kohya_ss",
    "simpletuner": "SimpleTuner",
    "onetrainer": "OneTrainer",
    "ai-toolkit": "ai-toolkit",
    "ollama": "Ollama",
    "text-generation-webui": "text-generation-webui",
}
"""What a command line holds, and the program that it is: longer words first."""

_answers: dict[str, tuple[float, str]] = {}
"""The last answer of each driver's program, and until when it holds (time.monotonic)."""


@dataclass(frozen=True)
class Holder:
    """A program that holds memory of a GPU. `name` is safe to show; `bytes` is 0 where the driver does not say."""

    pid: int
    name: str
    bytes: int


def gpu_processes() -> tuple[Holder, ...]:
    """The programs that hold memory of a GPU, the largest first; none where no driver answers.

    A container sees its own processes only, or none.
    """
    for command, read in ((NVIDIA, read_nvidia), (ROCM, read_rocm)):
        answer = _ask(command)
        if answer:
            return tuple(sorted(read(answer), key=lambda holder: holder.bytes, reverse=True))
    return ()


def read_nvidia(text: str) -> list[Holder]:
    """The holders in the CSV answer of nvidia-smi: pid, MiB (or "[N/A]"), and a name that may hold commas."""
    found = []
    for line in text.splitlines()[:MOST_LINES]:
        fields = [field.strip() for field in line.split(",", 2)]
        if len(fields) == 3 and (pid := _number(fields[0])):
            found.append(Holder(pid, program(pid, fields[2]), min((_number(fields[1]) or 0) * _MIB, MOST_BYTES)))
    return found


def read_rocm(text: str) -> list[Holder]:
    """The holders in the JSON answer of rocm-smi: {"system": {"PID12": "name, GPUs, bytes, ..."}}."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return []
    system = table.get("system") if isinstance(table, dict) else None
    found = []
    for key, value in list(system.items())[:MOST_LINES] if isinstance(system, dict) else ():
        fields = [field.strip() for field in value.split(",")] if isinstance(value, str) else []
        if key.startswith("PID") and len(fields) >= 3 and (pid := _number(key[3:])):
            found.append(Holder(pid, program(pid, fields[0]), min(_number(fields[2]) or 0, MOST_BYTES)))
    return found


def program(pid: int, said: str) -> str:
    """What a process is called: a known program by its command line, else what the driver said."""
    short = printable(PurePath(said.replace("\\", "/")).name or said, 60)
    try:
        process = psutil.Process(pid)
        words, folder = process.cmdline(), process.cwd()
    except (psutil.Error, OSError, ValueError, OverflowError):
        return short or f"process {pid}"
    # In a container the driver's numbers may be those of other processes outside.
    if not words or PurePath(words[0]).name[:6] != PurePath(said.replace("\\", "/")).name[:6]:
        return short or f"process {pid}"
    return known_program([*words, folder]) or short


def known_program(words: Sequence[str]) -> str:
    """The program that the words of a command line and its folder speak of; "" for none that is known."""
    line = " ".join(words).lower()[:10_000]
    return next((title for word, title in PROGRAMS.items() if word in line), "")


def _ask(command: Sequence[str]) -> str:
    """What a driver's program answers, or answered a moment ago; "" where there is none or it fails."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    until, text = _answers.get(program, (0.0, ""))
    begun = time.monotonic()
    if begun >= until:
        text = _answer([program, *command[1:]])
        # One that hangs is asked seldom, so that it does not take up most of the time.
        took_s = time.monotonic() - begun
        _answers[program] = begun + took_s + max(AGAIN_S, 10 * took_s), text
    return text


def _answer(command: Sequence[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout[:1_000_000].decode("utf-8", errors="replace") if answer.returncode == 0 else ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
