"""Engine environments: install, verify and remove them. Standard library only; `installer.py` calls this.

<home>/engines/<id>/venv             the engine's own Python packages
<home>/engines/<id>/source           its source code, for an engine that runs from source
<home>/engines/<id>/installed.json   what was installed; written last, by rename, so its presence means a complete environment
<home>/engines/<id>/schema           the engine's own options, as its parsers list them: see `record_options`
<home>/engines/<id>/installing       present while an installation runs, or after one was interrupted
<home>/engines/<id>/before           the environment from before the last update: see `kept`
<home>/engines/<id>/install.log      raw output of the tools
<home>/engines/<id>/trials.json      which optimizers and parts work on this machine: see `trials`
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer_core import hardware, places
from trainer_core.child import child_environment
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install import build, hub_files, torch_choice, trials, upstream
from trainer_core.install.addresses import without_secrets
from trainer_core.install.in_use import refuse_if_used
from trainer_core.install.installed import InstalledEngine, engine_home, installed, kept, marker, read_record
from trainer_core.install.torch_choice import NoTorch
from trainer_core.install.uv import ensure_uv

__all__ = [
    "InstalledEngine",
    "child_environment",
    "engine_home",
    "forget",
    "install",
    "installed",
    "is_current",
    "obtainable",
    "record_options",
    "remove",
    "rollback",
    "trial",
    "verify",
]

Report = Callable[[str], None]

_WAIT_S = 1800


def obtainable(engine: str, source: str | None = None) -> bool:
    """Whether the engine is installed, or what it is installed from can be reached now."""
    table = manifest.read(engine)
    return installed(engine) is not None or not table.has_source or upstream.reachable(table.upstream, source)


def install(
    engine: str,
    accelerator: str = "auto",
    source: str | None = None,
    report: Report = print,
    python: str | None = None,
    tried: bool = True,
    torch: str = "",
) -> InstalledEngine:
    """The installed engine; does nothing when exactly this version is already installed.

    `source` is a folder or git address to get the source code from, `python` the only version of Python ("3.12") to use, `torch` the only build.
    With `tried` False, a later `install` or `trial` tries the optimizers, which takes a minute or two.

    Raises:
        InstallError: the engine cannot be installed; the hint says what to do.
    """
    table = manifest.read(engine)
    if source and not table.has_source:
        report(f"{table.title} comes from the package registry: the source {without_secrets(source)} is not used.")
    device = hardware.chosen(accelerator)
    with _locked(engine, report) as lock:
        _undo_interrupted(table, report)
        found = _up_to_date(table, device, python)
        if found is None:
            refuse_if_used(engine, table.title)
            found = _make(table, device, source, python, torch, lock, report)
    hub_files.prepare(table, report)
    if tried and not trials.are_complete(found, table):
        trials.run(found, table, report)
    return found


def is_current(engine: str) -> bool:
    """Whether the engine is installed as an installation for the same kind of device would make it now."""
    present = installed(engine)
    return (
        present is not None
        and _up_to_date(manifest.read(engine), hardware.chosen(present.accelerator), None) is not None
    )


def verify(engine: str, report: Report = print) -> Mapping[str, Any]:
    """What a thorough check of the installed engine found: its imports, its pinned versions, its GPU.

    Raises:
        InstallError: it is not installed, or something is broken.
    """
    table = manifest.read(engine)
    found = _required(table)
    variant = next((variant for variant in table.environment if variant.version == found.version), None)
    if variant is None:
        raise InstallError(
            f"{table.title} {found.version} is not a version that this release of Easel knows.", _reinstall_hint(engine)
        )
    source = found.source
    if source and (
        upstream.digest(source) != table.upstream.digest or upstream.in_place_of_pinned(source, caches=True)
    ):
        raise InstallError(f"The sources of {table.title} in {source} were changed.", _reinstall_hint(engine))
    report(f"Checking {table.title} {found.version} with {found.python}.")
    seen, failure = build.check_while(
        build.record_options, found.home, table, variant, found.accelerator, report, thorough=True
    )
    if failure:
        raise InstallError(
            f"{table.title} is broken: {failure}.", f"{_reinstall_hint(engine)} Details: {build.log_of(found.home)}"
        )
    report(f"{table.title} {found.version} works: Python {seen['python']}, torch {seen['torch']}{build.on_gpu(seen)}.")
    trials.run(found, table, report)
    return seen


def trial(engine: str, report: Report = print) -> Mapping[str, Any]:
    """The results of trying every optimizer and part of the installed engine on this machine; see `trials`.

    Raises:
        InstallError: it is not installed.
    """
    table = manifest.read(engine)
    return trials.run(_required(table), table, report)


def record_options(engine: str, report: Report = print) -> Path:
    """The folder with the options that the installed engine lists; they are recorded now if they were not before.

    An installation skips this when Easel ships a record of exactly that version.

    Raises:
        InstallError: it is not installed, lists no options, or they could not be recorded.
    """
    table = manifest.read(engine)
    found = _required(table)
    folder = found.home / "schema"
    with _locked(engine, report):
        if not folder.is_dir():
            variant = next((each for each in table.environment if each.version == found.version), table.environment[0])
            said = build.record_options(found.home, table, variant)
            if not folder.is_dir():
                raise InstallError(said or f"{table.title} does not list its options.")
            report(said)
    return folder


def rollback(engine: str, report: Report = print) -> InstalledEngine:
    """The engine from before the last update, checked again; the one that was there is kept in its place.

    Raises:
        InstallError: none is kept, a run needs the engine, or the one from before does not work, and nothing has changed.
    """
    table = manifest.read(engine)
    both = kept(engine)
    with _locked(engine, report):
        _undo_interrupted(table, report)
        if not both.has_before:
            raise InstallError(
                f"No {table.title} from before an update is kept.",
                "Easel keeps one until the next update of the engine.",
            )
        refuse_if_used(engine, table.title)
        done = False
        try:
            both.go_back()
            found, failure = _proved(table, report)
            if failure or found is None:
                raise InstallError(
                    f"The {table.title} from before does not work: {failure}.",
                    f"Nothing has changed. Details: {build.log_of(engine_home(engine))}",
                )
            both.stay_back()
            done = True
        finally:
            if not done:
                both.recover()
    report(
        f"{table.title} {found.version} of {found.installed_at[:10]} is back. The other one is kept: {_kept_hint(engine)}"
    )
    return found


def forget(engine: str) -> None:
    """Delete what is kept from before the last update."""
    with _locked(engine, lambda _: None):
        if not marker(engine).exists():
            kept(engine).forget()


def _proved(table: BackendManifest, report: Report) -> tuple[InstalledEngine | None, str]:
    """The environment at the usual place, and what a thorough check of it finds wrong."""
    found = read_record(engine_home(table.id))
    if found is None or not found.python.exists():
        return None, "its Python is no longer there"
    # The packages of another version are named in a manifest that is no longer there.
    variant = next((each for each in table.environment if each.version == found.version), None)
    imports = [*variant.imports, *variant.imports_thorough] if variant else ["torch"]
    report(f"Checking that {table.title} {found.version} works.")
    return found, build.check(found.home, imports, found.accelerator, table.upstream.packages)[1]


def remove(engine: str, report: Report = print) -> bool:
    """Whether there was something to remove; removes the engine's whole folder.

    Raises:
        InstallError: a run needs it, which the message names, or it is a part of a container's image.
    """
    folder = engine_home(engine)
    if not folder.exists():
        return False
    if folder.is_symlink():
        raise InstallError(
            f"{engine} was not removed: {folder} is a link to {places.real(folder)}.",
            "In a container, engines of the image are linked. Start an image without it to do without it.",
        )
    refuse_if_used(engine)
    with _locked(engine, report):
        (folder / "installed.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
    report(f"Removed {folder}.")
    return True


def _required(table: BackendManifest) -> InstalledEngine:
    found = installed(table.id)
    if found is None:
        raise InstallError(
            f"{table.title} is not installed.", f"Install it with: {places.engine_command('install', table.id)}"
        )
    return found


def _up_to_date(table: BackendManifest, device: hardware.Accelerator, python: str | None) -> InstalledEngine | None:
    """The installed engine, if an installation for `device` would create the same now; else None."""
    present = installed(table.id)
    if present is None or (python is not None and not present.interpreter.startswith(f"{python}.")):
        return None
    for variant in table.environment:
        try:
            wanted = torch_choice.choices(variant.torch, device, table.title)[0]
        except NoTorch:
            continue
        if present.fingerprint == variant.fingerprint(wanted.build, wanted.pins, table.commit):
            return present
    return None


def _make(
    table: BackendManifest,
    device: hardware.Accelerator,
    source: str | None,
    python: str | None,
    torch: str,
    lock: int,
    report: Report,
) -> InstalledEngine:
    """Create a new environment; everything that can be refused is checked before gigabytes are downloaded."""
    started = time.monotonic()
    folder = engine_home(table.id)
    uv = ensure_uv(report)
    settled = build.settle(table, device, python, uv, report)
    variant = settled.variant
    build.require_space(folder, uv, variant.disk_gib, table.title)
    if table.upstream.licence_notice:
        report(table.upstream.licence_notice)
    if device.kind in hardware.UNTRIED:
        report(f"{hardware.UNTRIED[device.kind]} GPUs are experimental: Easel was not run on one yet.")
    report(f"Installing {table.title} {variant.version} on {settled.interpreter} into {folder}.")
    fetched = folder / ".source-new"
    if table.has_source:
        report(f"Fetching the sources of {table.title}.")
    origin = upstream.fetch(table.upstream, fetched, source, report) if table.has_source else ""
    # Until here the installed one works. From here on nothing can be started with it until the new one works, or it is back.
    both, done = kept(table.id), False
    try:
        both.set_aside()
        # The sources took a while: a run may have started meanwhile.
        refuse_if_used(table.id, table.title)
        if table.has_source:
            fetched.rename(folder / "source")
        used, seen = build.fill(folder, settled, device, uv, lock, report, thorough=both.has_before, torch=torch)
        record = _recorded(table, settled, used, seen, device, origin)
        write_whole(folder / "installed.json", json.dumps(asdict(record), indent=2) + "\n")
        both.accept()
        done = True
    finally:
        if not done and both.recover():
            report(f"The {table.title} from before is back.")
    both.sweep()
    report(
        f"{table.title} {variant.version} is ready ({time.monotonic() - started:.0f} s): torch {seen['torch']}{build.on_gpu(seen)}."
    )
    if both.has_before:
        report(f"The one from before is kept: {_kept_hint(table.id)}")
    return record


def _recorded(
    table: BackendManifest,
    settled: build.Build,
    used: torch_choice.TorchChoice,
    seen: Mapping[str, Any],
    device: hardware.Accelerator,
    origin: str,
) -> InstalledEngine:
    """The record of an environment that was just made."""
    best = settled.choices[0]
    return InstalledEngine(
        id=table.id,
        version=settled.variant.version,
        commit=table.commit,
        interpreter=seen["python"],
        torch=used.build,
        torch_reason=used.reason,
        accelerator=device.kind,
        origin=origin,
        fingerprint=settled.variant.fingerprint(best.build, best.pins, table.commit),
        installed_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        details=seen,
    )


@contextlib.contextmanager
def _locked(engine: str, report: Report) -> Iterator[int]:
    """Lock the engine's folder for this process and the tools it starts; yields the file descriptor they inherit.

    If this process is killed, its tools may still be writing: the lock is free only when the last of them has ended.
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
                    raise InstallError(f"Another installation runs in {folder}.", "Wait for it, or stop it.") from error
                if not said:
                    report(f"Another installation runs in {folder}: waiting for it to end.")
                said = True
                time.sleep(0.5)
        yield file.fileno()


def _undo_interrupted(table: BackendManifest, report: Report) -> None:
    """Brings back the environment from before an interrupted installation, or removes what that one has left."""
    if not marker(table.id).exists():
        return
    if kept(table.id).recover():
        report(f"An earlier installation of {table.title} was interrupted: the one from before is back.")
    else:
        report(f"An earlier installation of {table.title} was interrupted: starting again.")
    kept(table.id).sweep()


def _kept_hint(engine: str) -> str:
    size = kept(engine).size / 1e9
    return f"up to {size:.1f} GB. To go back: {places.engine_command('rollback', engine)}."


def _reinstall_hint(engine: str) -> str:
    return f"Reinstall it: {places.engine_command('remove', engine)}, then: {places.engine_command('install', engine)}."
