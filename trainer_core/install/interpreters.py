"""Find a CPython to create an environment from. Standard library only, and Python 3.8 syntax.

The installer uses it before it runs on a Python that Easel itself supports.
The search order is: PATH, pyenv's versions, Pythons that uv downloaded before, a new download by uv. A candidate counts only
after it was run: PATH has a pyenv shim for every version that pyenv knows, and it fails when that version is not selected.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

from trainer_core.child import child_environment
from trainer_core.errors import InstallError
from trainer_core.providers import detection

# `_base_executable` is the program behind shims and virtual environments: an environment must depend on neither.
_QUESTION = (
    "import sys, sysconfig\n"
    "print(sys.implementation.name, sysconfig.get_config_var('Py_GIL_DISABLED') or 0)\n"
    "print(*sys.version_info[:3])\n"
    "print(getattr(sys, '_base_executable', sys.executable) or sys.executable)"
)
_ANSWER_S = 15
_DOWNLOAD_S = 600


@dataclass(frozen=True)
class Interpreter:
    """A CPython that was run: `path` is the real program, `version` what it reported."""

    path: Path
    version: Tuple[int, int, int]

    @property
    def minor(self) -> str:
        """The version without its patch number, such as "3.12"."""
        return "{}.{}".format(*self.version[:2])

    def __str__(self) -> str:
        return "Python {}.{}.{}".format(*self.version)


def ask(program: Path) -> Optional[Interpreter]:
    """The interpreter behind `program`, or None when it is no regular CPython (broken shim, PyPy, free-threaded build)."""
    try:
        answer = subprocess.run(
            [str(program), "-I", "-S", "-c", _QUESTION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_ANSWER_S,
            env=child_environment(),
            check=False,
        )
        kind, numbers, path = answer.stdout.decode("utf-8", "replace").splitlines()[:3]
        major, minor, patch = (int(number) for number in numbers.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0 or kind.split() != ["cpython", "0"]:
        return None
    # If that path no longer exists (an environment whose Python was removed), use the program that answered.
    return Interpreter(Path(path) if os.access(path, os.X_OK) else Path(program), (major, minor, patch))


def on_path(minor: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Programs on PATH that may be Python `minor`, in the order of PATH."""
    names = ("python" + minor, "python3", "python")
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    for name in names:
        for folder in folders:
            program = folder / name
            if os.access(program, os.X_OK) and not program.is_dir():
                yield program


def pyenv_roots(environ: Mapping[str, str]) -> List[Path]:
    """The folders with pyenv's `versions`: $PYENV_ROOT, ~/.pyenv, and the parent of each `shims` folder on PATH."""
    roots = [Path(environ["PYENV_ROOT"])] if environ.get("PYENV_ROOT") else []
    if environ.get("HOME"):
        roots.append(Path(environ["HOME"], ".pyenv"))
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    roots.extend(folder.parent for folder in folders if folder.name == "shims")
    return list(dict.fromkeys(roots))


def under_pyenv(minor: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Programs of Python `minor` among pyenv's versions, the newest patch release first."""

    def patch_number(folder: Path) -> int:
        tail = folder.name[len(minor) + 1 :]
        return int(tail) if tail.isdigit() else -1

    for root in pyenv_roots(environ):
        for folder in sorted(root.glob("versions/" + minor + ".*"), key=patch_number, reverse=True):
            program = folder / "bin" / ("python" + minor)
            if os.access(program, os.X_OK):
                yield program


def managed_by_uv(minor: str, uv: Optional[Path], environ: Mapping[str, str]) -> Iterator[Path]:
    """The Python `minor` that uv downloaded before, if any."""
    if uv is None:
        return
    command = [str(uv), "python", "find", "--managed-python", "--no-python-downloads", "--no-project", minor]
    try:
        found = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_S,
            env=dict(environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if found.returncode == 0 and found.stdout.strip():
        yield Path(found.stdout.decode().strip())


def find_local(
    wanted: Sequence[str], uv: Optional[Path] = None, environ: Optional[Mapping[str, str]] = None
) -> Optional[Interpreter]:
    """The first installed Python among `wanted` (such as ["3.12", "3.13"], best first), or None."""
    environ = os.environ if environ is None else environ
    seen = {}
    for minor in wanted:
        for source in (on_path(minor, environ), under_pyenv(minor, environ), managed_by_uv(minor, uv, environ)):
            for program in source:
                if program not in seen:
                    seen[program] = ask(program)
                answer = seen[program]
                if answer is not None and answer.minor == minor:
                    return answer
    return None


def download(minor: str, uv: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> Optional[Interpreter]:
    """Python `minor` downloaded by uv, or None when that fails."""
    report("Downloading Python " + minor + " with uv, because none that can be used was found here.")
    # Only one retry: behind a firewall each attempt may take its whole timeout.
    quick = dict(environ, UV_HTTP_RETRIES="1")
    command = [str(uv), "python", "install", "--no-bin", minor]
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_DOWNLOAD_S, env=quick, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return next((answer for program in managed_by_uv(minor, uv, environ) for answer in [ask(program)] if answer), None)


def _of_uv(wanted: Sequence[str], uv: Path, environ: Mapping[str, str]) -> Optional[Interpreter]:
    """The first Python among `wanted` that uv downloaded before, or None."""
    answers = (ask(program) for minor in wanted for program in managed_by_uv(minor, uv, environ))
    return next((answer for answer in answers if answer is not None and answer.minor in wanted), None)


def find(
    wanted: Sequence[str],
    uv: Path,
    environ: Mapping[str, str],
    report: Callable[[str], None] = print,
    purpose: str = "Easel",
) -> Interpreter:
    """A Python among `wanted`, best first: an installed one, else a download of the best one.

    Where the Pythons on PATH are those of the platform's own programs, as on Colab and Kaggle, one of uv comes first: theirs
    may lack headers and change with the image. Source: vllm-project/vllm issue 33069.

    Raises:
        InstallError: none is installed and none can be downloaded.
    """
    if detection.current().has_own_python:
        report("The Python of this platform is left to the platform.")
        answer = (
            _of_uv(wanted, uv, environ) or download(wanted[0], uv, environ, report) or find_local(wanted, uv, environ)
        )
    else:
        answer = find_local(wanted, uv, environ) or download(wanted[0], uv, environ, report)
    if answer is None:
        raise InstallError(
            f"{purpose} needs Python {' or '.join(wanted)}: none was found on PATH, in pyenv or among uv's downloads, "
            "and none could be downloaded.",
            f"Install Python {wanted[0]} (for example with the system's package manager or pyenv) and run this again.",
        )
    return answer
