"""The environment of the suite itself: `.venv` in the checkout, with the notebooks' packages. Standard library only."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer_core import hardware
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install import interpreters, jupyter
from trainer_core.install.uv import decisive_line, ensure_uv, run_logged, uv_environment
from trainer_core.places import CHECKOUT, home, resource

Report = Callable[[str], None]

VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
# Best supported first.
PYTHONS = ("3.12", "3.11", "3.13", "3.14")

_STATE = VENV / "easel.json"
_NEEDED_GIB = 1.5


def set_up(wanted: str | None = None, *, dev: bool = False, report: Report = print) -> bool:
    """Whether anything had to be done. Afterwards `.venv` has the pinned packages and the kernel is registered.

    With `dev`, `.venv` has the test tools too.

    Raises:
        InstallError: Easel cannot be set up; the hint says what to do.
    """
    locks = _locks(dev=dev)
    present = _state()
    same_python = wanted is None or present.get("python", "").startswith(f"{wanted}.")
    whole = PYTHON.exists() and bool(present) and same_python
    if whole and all(present.get(name) == value for name, value in locks.items()):
        return jupyter.register(PYTHON)
    started = time.monotonic()
    if hardware.free_disk_bytes(CHECKOUT) < _NEEDED_GIB * 1024**3:
        raise InstallError(
            f"Easel needs {_NEEDED_GIB} GiB of free space in {CHECKOUT}.",
            "Free some space, or move the folder to a larger disk.",
        )
    uv = ensure_uv(report)
    _STATE.unlink(missing_ok=True)
    if not whole:
        _make_venv(uv, wanted, report)
    _install_packages(uv, present if whole else {}, locks, dev=dev, report=report)
    version = interpreters.ask(PYTHON)
    record = {
        **({} if not whole else present),
        **locks,
        "python": "{}.{}.{}".format(*version.version) if version else "",
    }
    write_whole(_STATE, json.dumps(record, indent=1) + "\n")
    jupyter.register(PYTHON)
    report(f"Easel is set up in {VENV} ({time.monotonic() - started:.0f} s).")
    return True


def is_whole() -> bool:
    """Whether `.venv` was completed, even if its packages are no longer the pinned ones."""
    return PYTHON.exists() and bool(_state())


def tear_down() -> list[Path]:
    """The folders that were removed: `.venv` and the kernel's folders."""
    removed = jupyter.unregister(PYTHON)
    if VENV.exists():
        shutil.rmtree(VENV)
        removed.append(VENV)
    return removed


def _locks(*, dev: bool) -> dict[str, str]:
    """What `.venv` must be created from: the digests of the requirement files and of the project's own metadata."""
    files = {
        "suite": [resource("requirements") / "suite.txt"],
        "project": [CHECKOUT / "pyproject.toml", CHECKOUT / "trainer_core/__init__.py"],
    }
    if dev:
        files["dev"] = [resource("requirements") / "dev.txt"]
    return {
        name: hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest() for name, paths in files.items()
    }


def _state() -> dict[str, str]:
    """What `.venv` was created from; empty when it was never completed."""
    try:
        return json.loads(_STATE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _make_venv(uv: Path, wanted: str | None, report: Report) -> None:
    """Create an empty `.venv`, with the Python that runs this if it is suitable."""
    this = interpreters.ask(Path(sys.executable))
    if this is None or this.minor not in PYTHONS or wanted not in (None, this.minor):
        if wanted not in (None, *PYTHONS):
            raise InstallError(f"Easel does not run on Python {wanted}.", f"Supported versions: {', '.join(PYTHONS)}.")
        this = interpreters.find([wanted] if wanted else list(PYTHONS), uv, uv_environment(), report)
    report(f"Creating {VENV} with {this}.")
    _run(uv, "venv", "--quiet", "--clear", "--python", str(this.path), str(VENV))


def _install_packages(uv: Path, present: dict[str, str], locks: dict[str, str], *, dev: bool, report: Report) -> None:
    """Install what differs from `present`: the pinned packages, then Easel itself as an editable install."""
    put = ("pip", "install", "--python", str(PYTHON))
    requirements = resource("requirements")
    lock = "dev" if dev else "suite"
    if present.get(lock) != locks[lock]:
        report("Fetching the packages of the notebooks" + (" and of the tests." if dev else "."))
        _run(
            uv, *put, "--no-deps", "--require-hashes", "--requirement", str(requirements / f"{lock}.txt"), report=report
        )
    if present.get("project") != locks["project"]:
        _run(uv, *put, "--no-deps", "--build-constraints", str(requirements / "build.txt"), "--editable", str(CHECKOUT))


def _run(uv: Path, *arguments: str, report: Report | None = None) -> None:
    """Run uv, with its output in the log; raise InstallError when it fails."""
    log = home() / "setup.log"
    status, output = run_logged([str(uv), *arguments], log, report, cwd=CHECKOUT)
    if status:
        raise InstallError(
            f"Easel's own environment could not be created: {decisive_line(output)}.",
            f"Fix this and run the same command again. The full output is in {log}",
        )
