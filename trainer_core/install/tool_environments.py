"""The environments of tools: virtual environments with pinned packages, made like those of the engines. Standard library only.

<home>/environments/<id>/venv             the packages
<home>/environments/<id>/installed.json   what was installed; written last, so its presence means a complete environment
<home>/environments/<id>/install.log      raw output of the tools
<home>/environments/<id>/before           the environment from before the last update: see `kept`
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import hardware, places
from trainer_core.child import child_environment
from trainer_core.errors import EaselError, InstallError
from trainer_core.files import from_table, read_json, read_rows, write_whole
from trainer_core.hardware import Accelerator
from trainer_core.install import build, interpreters, mirrors
from trainer_core.install.kept import Kept, come_back
from trainer_core.install.uv import decisive_line, ensure_uv, run_logged, uv_environment

Report = Callable[[str], None]

_TABLE = Path(__file__).with_suffix(".toml")
_CHECK_S = 600


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One set of packages of an environment, and the devices that it is for.

    `kind` and `driver` are the device and its lowest driver; "" fits any. `lock` is the name of the requirement file. `torch`
    is "" if there is none, "registry" for the hashed build in `<lock>-torch.txt`, or a name for uv's `--torch-backend` with `pins`.
    """

    lock: str
    reason: str
    disk_gib: float
    kind: str = ""
    driver: str = ""
    torch: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The requirement files that are installed with their hashes."""
        folder = places.resource("requirements")
        with_torch = (f"{self.lock}-torch",) if self.torch == "registry" else ()
        return tuple(folder / f"{name}.txt" for name in (self.lock, *with_torch))

    def suits(self, device: Accelerator) -> bool:
        """Whether it is meant for a device; a driver that is not known counts as new enough."""
        if self.kind not in ("", device.kind):
            return False
        return not (self.driver and device.driver) or _numbers(device.driver) >= _numbers(self.driver)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that a tool needs. `imports` are what `check`, a program in `inside/`, imports there."""

    id: str
    title: str
    python: tuple[str, ...]
    imports: tuple[str, ...]
    check: str
    variants: tuple[Variant, ...]

    @property
    def folder(self) -> Path:
        """Where it is installed."""
        return places.home() / "environments" / self.id

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def kept(self) -> Kept:
        """It, with the one from before its last update."""
        return Kept(self.folder, ("venv", "installed.json"), "installed.json")


@dataclass(frozen=True)
class Installed:
    """What was installed: the variant's lock and device, and what the check found."""

    lock: str
    torch: str
    accelerator: str
    fingerprint: str
    installed_at: str
    seen: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def environments() -> Mapping[str, Environment]:
    """The environments by id."""
    return read_rows(_TABLE, Environment)


def get(name: str) -> Environment:
    """The environment with this id.

    Raises:
        InstallError: there is none.
    """
    if name not in environments():
        raise InstallError(f"There is no environment {name!r:.60}.", f"Known: {', '.join(environments())}.")
    return environments()[name]


def installed(name: str) -> Installed | None:
    """What is installed of an environment; None if it is not there, or its installation was interrupted.

    If an update was interrupted, the environment from before it comes back.
    """
    row = get(name)
    if row.kept.marker.exists() and not come_back(row.kept):
        return None
    try:
        found = from_table(Installed, read_json(row.folder / "installed.json"), "installed.json")
    except (OSError, ValueError, EaselError):
        return None
    return found if row.interpreter.exists() else None


def is_current(name: str) -> bool:
    """Whether an environment is installed with the packages that this version of Easel pins."""
    found = installed(name)
    return found is not None and any(_fingerprint(each) == found.fingerprint for each in get(name).variants)


def interpreter(name: str) -> Path:
    """The Python of an installed environment.

    Raises:
        InstallError: it is not installed.
    """
    row = get(name)
    if installed(name) is None:
        raise InstallError(f"{row.title} is not installed.", "Install it first.")
    return row.interpreter


def install(name: str, accelerator: str = "auto", report: Report = print) -> Installed:
    """The installed environment; does nothing when it is there with the same packages for the same device.

    Raises:
        InstallError: it cannot be installed.
    """
    row, device = get(name), hardware.chosen(accelerator)
    fitting = [each for each in row.variants if each.suits(device)]
    if not fitting:
        raise InstallError(f"{row.title} cannot be installed for {device.name}.", "Choose another device.")
    with _locked(row, report):
        if row.kept.marker.exists():
            row.kept.recover()
        present = installed(name)
        if present is not None and present.accelerator == device.kind and is_current(name):
            return present
        uv = ensure_uv(report)
        python = interpreters.find(list(row.python), uv, uv_environment(), report, row.title)
        build.require_space(row.folder, uv, fitting[0].disk_gib, row.title)
        done = False
        try:
            row.kept.set_aside()
            found = _first_that_works(row, fitting, device, uv, python, report)
            row.kept.accept()
            done = True
        finally:
            if not done and row.kept.recover():
                report(f"{row.title} is as it was before.")
        row.kept.sweep()
        return found


def _first_that_works(
    row: Environment,
    fitting: list[Variant],
    device: Accelerator,
    uv: Path,
    python: interpreters.Interpreter,
    report: Report,
) -> Installed:
    """What was installed: the first variant that can be, and that works.

    Raises:
        InstallError: none works.
    """
    failure = ""
    for position, variant in enumerate(fitting):
        build.require_space(row.folder, uv, variant.disk_gib, row.title)
        report(f"Installing {row.title} on {python} into {row.folder}.")
        report(variant.reason)
        failure, seen = _fill(row, variant, device, uv, python.path, report)
        if not failure:
            return _record(row, variant, device, seen, report)
        if position + 1 < len(fitting):
            report(f"This does not work here ({failure}): trying the next build.")
    log = build.log_of(row.folder)
    raise InstallError(f"{row.title} could not be installed: {failure}.", f"The full output is in {log}")


def remove(name: str) -> bool:
    """Whether there was something to remove; removes the environment's folder."""
    folder = get(name).folder
    if not folder.exists():
        return False
    (folder / "installed.json").unlink(missing_ok=True)
    shutil.rmtree(folder)
    return True


def _fill(
    row: Environment, variant: Variant, device: Accelerator, uv: Path, python: Path, report: Report
) -> tuple[str, Mapping[str, Any]]:
    """What failed, in one line, and what the check found; "" once the environment has the packages and works."""

    def run(*arguments: str, say: Report | None = report, **variables: str) -> str:
        environment = {**uv_environment(), **variables}
        status, output = run_logged([str(uv), *arguments], build.log_of(row.folder), say, environment, cwd=row.folder)
        return decisive_line(output) if status else ""

    put = ("pip", "install", "--python", str(row.interpreter))
    files = [word for file in variant.files for word in ("--requirement", str(file))]
    failure = run("venv", "--quiet", "--clear", "--python", str(python), str(row.folder / "venv"), say=None)
    failure = failure or run(*put, "--no-deps", "--require-hashes", *files)
    if not failure and variant.torch not in ("", "registry"):
        where, variables = mirrors.torch_from(variant.torch, os.environ)
        pins = (f"{package}=={version}" for package, version in variant.pins.items())
        failure = run(*put, *where, *pins, say=report, **variables)
    if failure:
        return failure, {}
    report("Checking that it works.")
    return _check(row, device if device.present and variant.kind else None)


def _check(row: Environment, device: Accelerator | None) -> tuple[str, Mapping[str, Any]]:
    """What the environment's own Python finds wrong, and what it found."""
    task = {"imports": list(row.imports), "device": device.kind if device is not None else ""}
    command = [str(row.interpreter), "-P", str(Path(__file__).parent / "inside" / row.check), json.dumps(task)]
    environment = child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_CHECK_S, env=environment,
            cwd=row.folder, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), {}
    with build.log_of(row.folder).open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
    try:
        seen = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return decisive_line(done.stderr) or f"it exited with status {done.returncode}", {}
    return ("" if seen.pop("ok") else str(seen.pop("failure"))), seen


def _record(
    row: Environment, variant: Variant, device: Accelerator, seen: Mapping[str, Any], report: Report
) -> Installed:
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    found = Installed(variant.lock, variant.torch, device.kind, _fingerprint(variant), when, seen)
    write_whole(row.folder / "installed.json", json.dumps(asdict(found), indent=2) + "\n")
    report(f"{row.title} is ready.")
    return found


def _fingerprint(variant: Variant) -> str:
    """A hash that changes if any pin changes."""
    whole = hashlib.sha256(json.dumps([variant.torch, dict(variant.pins)], sort_keys=True).encode())
    for file in variant.files:
        whole.update(file.read_bytes())
    return whole.hexdigest()


@contextlib.contextmanager
def _locked(row: Environment, report: Report) -> Iterator[None]:
    """No other process installs this environment meanwhile."""
    row.folder.mkdir(parents=True, exist_ok=True)
    with (row.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"Another installation runs in {row.folder}: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
