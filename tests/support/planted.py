"""Secrets that a test plants in every place where Easel takes one, and where it looks for them afterwards."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.support.checkout import ROOT


def secret(number: int, start: str = "") -> str:
    """A secret that no other text contains, in the form of a site's tokens."""
    return f"{start}p1antedSECRET{number:02d}" + "q7Zx" * 6


def in_files(secrets: Mapping[str, str], folders: Iterable[Path], own: Iterable[Path] = ()) -> list[tuple[str, Path]]:
    """(name of the secret, file) for each file that contains one; `own` are files that are there to contain them."""
    found, skipped = [], set(own)
    for path in (each for folder in folders for each in folder.rglob("*")):
        if path in skipped or path.is_symlink() or not path.is_file():
            continue
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            found += [(name, path) for name, value in secrets.items() if value.encode() in data or value in path.name]
    return found


def in_text(secrets: Mapping[str, str], *texts: object) -> list[str]:
    """The names of the secrets that texts contain."""
    said = "\n".join(map(str, texts))
    return [name for name, value in secrets.items() if value in said]


class Processes:
    """What the processes that work in a folder show of themselves, looked at again and again while something runs."""

    def __init__(self, secrets: Mapping[str, str], folder: Path) -> None:
        self.secrets = secrets
        self.folder = str(folder).encode()
        self.in_arguments: set[tuple[str, str]] = set()
        """(name of the secret, command line) of each process that shows one to everybody."""
        self.inherited: dict[int, tuple[str, frozenset[str]]] = {}
        """By process: its command line, and the names of the secrets in its environment."""

    def look(self) -> None:
        # Not the children: a supervisor is nobody's child.
        for place in Path("/proc").glob("[0-9]*"):
            if int(place.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                line, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
                if self.folder not in line + environment:
                    continue
                self.in_arguments |= {
                    (name, line.decode()) for name, value in self.secrets.items() if value.encode() in line
                }
                held = frozenset(name for name, value in self.secrets.items() if value.encode() in environment)
                self.inherited[int(place.name)] = (line.replace(b"\0", b" ").decode(), held)

    def until(self, is_over: Callable[[], object], longest_s: float = 60.0) -> None:
        """Looks until something is over."""
        end = time.monotonic() + longest_s
        while not is_over():
            assert time.monotonic() < end, "it takes too long"
            self.look()
            time.sleep(0.1)

    def held_by(self, pattern: str) -> set[str]:
        """The secrets that the processes inherited whose command line has this pattern; there must be such a process."""
        found = [held for line, held in self.inherited.values() if re.search(pattern, line)]
        assert found, (pattern, [line for line, _ in self.inherited.values()])
        return {name for held in found for name in held}


def typed(arguments: list[str], answers: list[str], folder: Path, processes: Processes) -> tuple[int, str]:
    """Runs `easel` at a terminal of its own, where a person types the answers; the exit code and all that the terminal showed."""
    master, slave = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "trainer_core.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown, end = b"", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            processes.look()
            if select.select([master], [], [], 0.05)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break
                if not data:
                    break
                shown += data
                # A person types when the question is there: before, the terminal would show it.
                if answers and shown.rstrip().endswith(b":"):
                    time.sleep(0.1)
                    os.write(master, answers.pop(0).encode() + b"\n")
                    shown += b"\n"
        return program.wait(10), shown.decode(errors="replace")
    finally:
        program.kill()
        program.wait()
        os.close(master)
