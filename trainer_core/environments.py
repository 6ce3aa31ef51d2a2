"""Engine environments: install, verify and remove them. Standard library only; `installer.py` is thin over this.

<home>/engines/<id>/venv             the engine's own Python packages
<home>/engines/<id>/source           its sources, for an engine that is run from them
<home>/engines/<id>/installed.json   what was installed; written last, by rename, so its presence means a whole environment
<home>/engines/<id>/schema           the engine's own options, as its parsers list them: see trainer_core.engine_options
<home>/engines/<id>/installing       there while an installation is under way, or after one was interrupted
<home>/engines/<id>/install.log      raw output of the tools
<home>/engines/<id>/trials.json      which optimizers and parts work on this machine: see `trials`
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import engine_build, engine_table, hardware, places, torch_choice, trials, upstream
from trainer_core.child import child_environment
from trainer_core.engine_table import EngineTable
from trainer_core.errors import InstallError
from trainer_core.torch_choice import NoTorch
from trainer_core.uv import ensure_uv

__all__ = [
    "InstalledEngine",
    "child_environment",
    "engine_home",
    "install",
    "installed",
    "obtainable",
    "remove",
    "trial",
    "verify",
]

Report = Callable[[str], None]

_WAIT_S = 1800


@dataclass(frozen=True)
class InstalledEngine:
    """An engine's environment as it was installed. `details` are what the check saw: versions, the GPU."""

    id: str
    version: str
    commit: str
    interpreter: str
    torch: str
    torch_reason: str
    accelerator: str
    origin: str
    fingerprint: str
    installed_at: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The engine's folder."""
        return engine_home(self.id)

    @property
    def python(self) -> Path:
        """The Python of the engine's environment."""
        return self.home / "venv" / "bin" / "python"

    @property
    def source(self) -> Path | None:
        """The folder of the engine's sources, for one that is run from them."""
        return self.home / "source" if self.commit else None

    @property
    def checkout(self) -> Path | None:
        """The same as `source`, in the word of `backend.Place`."""
        return self.source


def engine_home(engine: str) -> Path:
    """The folder an engine is installed in."""
    return places.engines() / engine


def installed(engine: str) -> InstalledEngine | None:
    """What is installed of `engine`, or None: nothing, or an installation that was interrupted."""
    folder = engine_home(engine)
    try:
        record = json.loads((folder / "installed.json").read_text("utf-8"))
        found = InstalledEngine(**record)
    except (OSError, ValueError, TypeError):
        return None
    # exists() follows links: the interpreter the environment was made from may be gone.
    return found if found.python.exists() and not _marker(engine).exists() else None


def obtainable(engine: str, source: str | None = None) -> bool:
    """True when the engine is installed, or what its installation starts from can be reached now."""
    table = engine_table.read(engine)
    return installed(engine) is not None or not table.has_source or upstream.reachable(table.upstream, source)


def install(
    engine: str,
    accelerator: str = "auto",
    source: str | None = None,
    report: Report = print,
    python: str | None = None,
    tried: bool = True,
) -> InstalledEngine:
    """The installed engine; does nothing when exactly this is installed already.

    `source` is a folder or git address to take the sources from, `python` the one version of Python ("3.12") to use;
    `tried` False leaves the trial of its optimizers, which takes a minute, to a later `trial`.

    Raises:
        InstallError: what stands in the way, and what to do about it.
    """
    table = engine_table.read(engine)
    if source and not table.has_source:
        report(f"{table.title} comes from the package registry: the source {source} is not used.")
    device = hardware.chosen(accelerator)
    with _alone(engine, report) as lock:
        if (present := _up_to_date(table, device, python)) is not None:
            return present
        if _marker(engine).exists():
            report(f"An earlier installation of {table.title} was interrupted: making it anew.")
            _discard(engine_home(engine))
        made = _make(table, device, source, python, lock, report)
    if tried:
        trials.run(made, table, report)
    return made


def verify(engine: str, report: Report = print) -> Mapping[str, Any]:
    """What a thorough check of the installed engine saw: its imports, its pins, its GPU.

    Raises:
        InstallError: it is not installed, or something is broken.
    """
    table = engine_table.read(engine)
    found = _required(table)
    variant = next((variant for variant in table.variants if variant.version == found.version), None)
    if variant is None:
        raise InstallError(f"{table.title} {found.version} is not a version that this Easel knows.", _mend(engine))
    if found.source and upstream.digest(found.source) != table.upstream["digest"]:
        raise InstallError(f"The sources of {table.title} in {found.source} were changed.", _mend(engine))
    report(f"Checking {table.title} {found.version} with {found.python}.")
    imports = [*variant.imports, *variant.imports_thorough]
    seen, failure = engine_build.check_and_record(found.home, table, variant, imports, found.accelerator, report)
    if failure:
        raise InstallError(
            f"{table.title} is broken: {failure}.", f"{_mend(engine)} Details: {engine_build.log_of(found.home)}"
        )
    report(
        f"{table.title} {found.version} works: Python {seen['python']}, torch {seen['torch']}{engine_build.on_gpu(seen)}."
    )
    trials.run(found, table, report)
    return seen


def trial(engine: str, report: Report = print) -> Mapping[str, Any]:
    """What came of trying every optimizer and part of the installed engine on this machine; see `trials`.

    Raises:
        InstallError: it is not installed.
    """
    table = engine_table.read(engine)
    return trials.run(_required(table), table, report)


def remove(engine: str, report: Report = print) -> bool:
    """True when there was something to remove: the engine's whole folder."""
    folder = engine_home(engine)
    if not folder.exists():
        return False
    with _alone(engine, report):
        (folder / "installed.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
    report(f"Removed {folder}.")
    return True


def _required(table: EngineTable) -> InstalledEngine:
    found = installed(table.id)
    if found is None:
        raise InstallError(
            f"{table.title} is not installed.", f"Install it with: python installer.py backend install {table.id}"
        )
    return found


def _up_to_date(table: EngineTable, device: hardware.Accelerator, python: str | None) -> InstalledEngine | None:
    """What is installed, when it is what an installation for `device` would make now."""
    present = installed(table.id)
    if present is None or (python is not None and not present.interpreter.startswith(f"{python}.")):
        return None
    for variant in table.variants:
        try:
            wanted = torch_choice.choices(variant.torch, device, table.title)[0]
        except NoTorch:
            continue
        if present.fingerprint == variant.fingerprint(wanted.build, wanted.pins, table.commit):
            return present
    return None


def _make(
    table: EngineTable, device: hardware.Accelerator, source: str | None, python: str | None, lock: int, report: Report
) -> InstalledEngine:
    """Make the environment anew: everything that can be refused is looked at before gigabytes move."""
    started = time.monotonic()
    folder = engine_home(table.id)
    uv = ensure_uv(report)
    build = engine_build.settle(table, device, python, uv, report)
    variant = build.variant
    engine_build.require_space(folder, uv, variant.disk_gib, table.title)
    if "licence_notice" in table.upstream:
        report(table.upstream["licence_notice"])
    report(f"Installing {table.title} {variant.version} on {build.interpreter} into {folder}.")
    fetched = folder / ".source-new"
    origin = upstream.fetch(table.upstream, fetched, source, report) if table.has_source else ""
    # Up to here an older installation still works; from here on there is none until the record is written.
    _marker(table.id).touch()
    _discard(folder)
    if table.has_source:
        fetched.rename(folder / "source")
    try:
        used, seen = engine_build.fill(folder, build, device, uv, lock, report)
    except InstallError:
        _discard(folder)
        _marker(table.id).unlink()
        raise
    record = InstalledEngine(
        id=table.id,
        version=variant.version,
        commit=table.commit,
        interpreter=seen["python"],
        torch=used.build,
        torch_reason=used.reason,
        accelerator=device.kind,
        origin=origin,
        fingerprint=variant.fingerprint(build.choices[0].build, build.choices[0].pins, table.commit),
        installed_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        details=seen,
    )
    _write(folder / "installed.json", json.dumps(asdict(record), indent=2) + "\n")
    _marker(table.id).unlink()
    report(
        f"{table.title} {variant.version} is ready ({time.monotonic() - started:.0f} s): torch {seen['torch']}{engine_build.on_gpu(seen)}."
    )
    return record


@contextlib.contextmanager
def _alone(engine: str, report: Report) -> Iterator[int]:
    """Hold the engine's folder for this process and the tools it starts; yields the file descriptor they inherit.

    After a kill the tools may still be writing: the lock is free only when the last of them has ended.
    """
    folder = engine_home(engine)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        until = time.monotonic() + _WAIT_S
        said = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise InstallError(f"Another installation works in {folder}.", "Wait for it, or end it.") from error
                if not said:
                    report(f"Another installation works in {folder}: waiting for it to end.")
                said = True
                time.sleep(0.5)
        yield file.fileno()


def _marker(engine: str) -> Path:
    return engine_home(engine) / "installing"


def _discard(folder: Path) -> None:
    """Take away what an installation makes, but not its log."""
    (folder / "installed.json").unlink(missing_ok=True)
    (folder / "trials.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "venv", ignore_errors=True)
    shutil.rmtree(folder / "source", ignore_errors=True)
    shutil.rmtree(folder / "schema", ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """Write a file by rename: a reader sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def _mend(engine: str) -> str:
    return f"Make it anew: python installer.py backend remove {engine}, then: python installer.py backend install {engine}."
