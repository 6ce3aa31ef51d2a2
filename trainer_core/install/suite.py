"""The environment of the suite itself: `.venv` in the checkout, with the notebooks' packages. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainer_core import hardware
from trainer_core.child import child_environment
from trainer_core.errors import InstallError
from trainer_core.files import read_texts, write_whole
from trainer_core.install import interpreters, jupyter
from trainer_core.install.kept import Kept
from trainer_core.install.uv import decisive_line, ensure_uv, run_logged, uv_environment
from trainer_core.places import CHECKOUT, home, resource

Report = Callable[[str], None]

VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
# Best supported first.
PYTHONS = ("3.12", "3.11", "3.13", "3.14")

KEPT = Kept(CHECKOUT, (".venv",), ".venv/easel.json", prefix=".venv-")
"""`.venv`, with the one from before while a new one is made."""
PROOF = ("trainer_core.cli.engines", "trainer_ui.apps", "ipykernel.kernelapp", "jupyterlab.labapp", "anywidget")
"""What must be importable before a new `.venv` is used."""

_STATE = VENV / "easel.json"
_NEEDED_GIB = 1.5


def set_up(wanted: str | None = None, *, dev: bool = False, report: Report = print) -> bool:
    """Whether anything had to be done. Afterwards `.venv` has the pinned packages and the kernel is registered.

    With `dev`, `.venv` has the test tools too. If pins have changed, a new `.venv` is made; the old one is kept until Easel and
    JupyterLab can be imported in the new one, and comes back otherwise.

    Raises:
        InstallError: Easel cannot be set up; the hint says what to do.
    """
    if not KEPT.marker.exists() and _has_all(wanted, dev=dev):
        return jupyter.register(PYTHON)
    with _locked(report) as lock:
        recover(report)
        if _has_all(wanted, dev=dev):
            return jupyter.register(PYTHON)
        present = _state()
        locks = _locks(dev=dev or "dev" in present)
        started = time.monotonic()
        if hardware.free_disk_bytes(CHECKOUT) < _NEEDED_GIB * 1024**3:
            raise InstallError(
                f"Easel needs {_NEEDED_GIB} GiB of free space in {CHECKOUT}.",
                "Free some space, or move the folder to a larger disk.",
            )
        uv = ensure_uv(report)
        if _is_whole(wanted) and not _moved_on(present, locks):
            _fill(uv, present, locks, lock, report)
        else:
            _make_anew(uv, wanted or ".".join(present.get("python", "").split(".")[:2]) or None, locks, lock, report)
    jupyter.register(PYTHON)
    report(f"Easel is set up in {VENV} ({time.monotonic() - started:.0f} s).")
    return True


def due() -> str:
    """What a set-up would do to `.venv`, as a sentence; "" if it has what this checkout pins."""
    present = _state()
    locks = _locks(dev="dev" in present)
    if not is_whole():
        return f"{VENV} is made; it needs up to {_NEEDED_GIB} GiB."
    if _moved_on(present, locks):
        return f"{VENV} is made anew, because other packages are pinned; it needs up to {_NEEDED_GIB} GiB beside the old one."
    if any(present.get(name) != value for name, value in locks.items()):
        return f"Easel is registered in {VENV} again; its packages stay."
    return ""


def recover(report: Report = print) -> None:
    """Brings back the `.venv` from before, if the making of a new one was interrupted. The caller has the lock."""
    if KEPT.marker.exists():
        if KEPT.recover():
            report(f"Making a new {VENV} was interrupted: the one from before is back.")
        KEPT.sweep()


def _make_anew(uv: Path, wanted: str | None, locks: Mapping[str, str], lock: int, report: Report) -> None:
    """Make a new `.venv`; the old one comes back if this fails."""
    this = _python(uv, wanted, report)
    done = False
    try:
        KEPT.set_aside()
        if uv.is_relative_to(VENV):
            uv = KEPT.before / uv.relative_to(CHECKOUT)
        report(f"Creating {VENV} with {this}.")
        _run(uv, "venv", "--quiet", "--clear", "--python", str(this.path), str(VENV), lock=lock)
        _fill(uv, {}, locks, lock, report)
        KEPT.accept()
        done = True
    finally:
        if not done and KEPT.recover():
            report(f"The {VENV.name} from before is back.")
    KEPT.forget()


def _fill(uv: Path, present: Mapping[str, str], locks: Mapping[str, str], lock: int, report: Report) -> None:
    """Install what is missing, check that it can be imported, and write down what there is now."""
    _install_packages(uv, present, locks, lock, report)
    _prove(report)
    version = interpreters.ask(PYTHON)
    record = {**present, **locks, "python": "{}.{}.{}".format(*version.version) if version else ""}
    write_whole(_STATE, json.dumps(record, indent=1) + "\n")


def _is_whole(wanted: str | None) -> bool:
    """Whether `.venv` was completed, with the Python that is wanted."""
    return is_whole() and (wanted is None or _state().get("python", "").startswith(f"{wanted}."))


def _has_all(wanted: str | None, *, dev: bool) -> bool:
    """Whether nothing is to be done for `.venv`."""
    present = _state()
    locks = _locks(dev=dev or "dev" in present)
    return _is_whole(wanted) and all(present.get(name) == value for name, value in locks.items())


def _moved_on(present: Mapping[str, str], locks: Mapping[str, str]) -> bool:
    """Whether packages that are installed are no longer the pinned ones; not, whether some are still to be added."""
    return any(name in present and present[name] != locks.get(name) for name in ("suite", "dev"))


def _prove(report: Report) -> None:
    """Raise InstallError when Easel or JupyterLab cannot be imported in `.venv`."""
    report("Checking that it works.")
    command = [str(PYTHON), "-P", "-c", f"import {', '.join(PROOF)}"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), cwd=CHECKOUT, check=False)
    if done.returncode:
        log = home() / "setup.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(done.stderr)
        raise InstallError(
            f"Easel's own packages do not work here: {decisive_line(done.stderr)}.", f"The full output is in {log}"
        )


@contextlib.contextmanager
def _locked(report: Report) -> Iterator[int]:
    """No other installer changes `.venv` meanwhile; yields the file descriptor that uv inherits, so that it counts, too."""
    with KEPT.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report(f"Another installation changes {VENV}: waiting for it to end.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def is_whole() -> bool:
    """Whether `.venv` was completed, even if its packages are no longer the pinned ones."""
    return PYTHON.exists() and bool(_state())


def tear_down() -> list[Path]:
    """The folders that were removed: `.venv` and the kernel's folders."""
    removed = jupyter.unregister(PYTHON)
    if VENV.exists():
        shutil.rmtree(VENV)
        removed.append(VENV)
    KEPT.forget()
    KEPT.marker.unlink(missing_ok=True)
    KEPT.lock.unlink(missing_ok=True)
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
    return read_texts(_STATE)


def _python(uv: Path, wanted: str | None, report: Report) -> interpreters.Interpreter:
    """The Python for a new `.venv`: the one that runs this if it is suitable."""
    this = interpreters.ask(Path(sys.executable))
    if this is not None and this.minor in PYTHONS and wanted in (None, this.minor):
        return this
    if wanted not in (None, *PYTHONS):
        raise InstallError(f"Easel does not run on Python {wanted}.", f"Supported versions: {', '.join(PYTHONS)}.")
    return interpreters.find([wanted] if wanted else list(PYTHONS), uv, uv_environment(), report)


def _install_packages(
    uv: Path, present: Mapping[str, str], locks: Mapping[str, str], lock: int, report: Report
) -> None:
    """Install what differs from `present`: the pinned packages, then Easel itself as an editable install."""
    put = ("pip", "install", "--python", str(PYTHON))
    requirements = resource("requirements")
    name = "dev" if "dev" in locks else "suite"
    if present.get(name) != locks[name]:
        report("Fetching the packages of the notebooks" + (" and of the tests." if name == "dev" else "."))
        pinned = ("--no-deps", "--require-hashes", "--requirement", str(requirements / f"{name}.txt"))
        _run(uv, *put, *pinned, lock=lock, report=report)
    if present.get("project") != locks["project"]:
        build = ("--no-deps", "--build-constraints", str(requirements / "build.txt"))
        _run(uv, *put, *build, "--editable", str(CHECKOUT), lock=lock)


def _run(uv: Path, *arguments: str, lock: int, report: Report | None = None) -> None:
    """Run uv, with its output in the log; raise InstallError when it fails."""
    log = home() / "setup.log"
    status, output = run_logged([str(uv), *arguments], log, report, keep_open=(lock,), cwd=CHECKOUT)
    if status:
        raise InstallError(
            f"Easel's own environment could not be created: {decisive_line(output)}.",
            f"Fix this and run the same command again. The full output is in {log}",
        )
