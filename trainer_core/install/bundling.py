"""A bundle: a folder with all that a machine without a connection needs to install Easel and engines. Standard library only.

<folder>/wheels                packages, as they are in the registry, and uv, which installs them
<folder>/sources/<id>.tar.gz   the source code of an engine, at its commit
<folder>/hub/<name>            files of the Hub that an engine needs
<folder>/bundle.json           for which machine it is, and the hash of each file; until all are there, only what is to be there

Nothing in the folder is deleted or overwritten that its record does not list, and no link in it is followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import __version__, hardware
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install import (
    build,
    bundle_files,
    hub_files,
    interpreters,
    mirrors,
    packed_uv,
    suite,
    upstream,
    wheelhouse,
)
from trainer_core.install.bundle_files import HUB, RECORD, SCHEMA, SOURCES, WHEELS
from trainer_core.install.installed import installed
from trainer_core.install.torch_choice import REGISTRY, TorchChoice
from trainer_core.install.uv import ensure_uv, uv_environment
from trainer_core.places import resource
from trainer_core.text import printable

Report = Callable[[str], None]

_LOG, _SCRATCH = "bundle.log", ".easel-making"
# What `write_whole` leaves behind if it is killed.
_LEFT_OVER = re.compile(r"\.easel-\d+-[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class _Bundle:
    """What is being made, and with what."""

    folder: Path
    uv: Path
    report: Report
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def claim(self, names: Iterable[str]) -> None:
        """Lists files as those of this bundle, before they are written: the same call again may replace them."""
        self.listed.update({name: {} for name in names if name not in self.listed})
        record = {"schema": SCHEMA, "easel": __version__, "unfinished": True, "files": self.listed}
        write_whole(self.folder / RECORD, json.dumps(record, indent=1) + "\n")

    def packages(
        self,
        python: Path,
        requirements: Sequence[Path],
        options: Sequence[str] = ("--no-deps",),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Adds the packages of requirement files, and what builds those that are sources."""
        log, wheels = self.folder / _LOG, self.folder / WHEELS
        files = wheelhouse.wanted(self.uv, python, requirements, log, options=options, variables=variables)
        self.claim(f"{WHEELS}/{name}" for file in files for name in (file.name, wheelhouse.part_of(file)))
        wheelhouse.fetch(files, wheels, self.report)
        if needed := wheelhouse.build_requirements(wheels / file.name for file in files if file.is_source):
            with tempfile.TemporaryDirectory() as scratch:
                builders = Path(scratch, "builders.txt")
                builders.write_text("\n".join(needed), encoding="utf-8")
                # With what they need themselves.
                self.packages(python, [builders], ())


def make(
    folder: Path,
    engines: Sequence[str],
    accelerator: str = "auto",
    sources: Mapping[str, str] | None = None,
    python: str | None = None,
    report: Report = print,
) -> Path:
    """The folder with the bundle of Easel and these engines, for machines like this one with this kind of device.

    Raises:
        InstallError: the folder has other files, or something cannot be fetched; the same call again continues.
    """
    tables, device = [manifest.read(engine) for engine in engines], hardware.chosen(accelerator)
    with _writing(folder), _alone(folder):
        listed = prepare(folder)
        making = _Bundle(folder, ensure_uv(report), report, listed)
        making.claim([_LOG])
        found = interpreters.find([python] if python else list(suite.PYTHONS), making.uv, uv_environment(), report)
        report(f"Packages of Easel for {found}:")
        requirements = resource("requirements")
        making.packages(found.path, [packed_uv.requirements()])
        packed_uv.check(folder / WHEELS)
        making.packages(found.path, [requirements / "suite.txt"])
        making.packages(found.path, [requirements / "build.txt"])
        about = {table.id: _add_engine(making, table, device, (sources or {}).get(table.id)) for table in tables}
        write_record(folder, found.minor, about)
    return folder


def write_record(folder: Path, python: str, engines: Mapping[str, Mapping[str, str]]) -> None:
    """Completes a bundle: what it is for, and the hash of each file."""
    (folder / _LOG).unlink(missing_ok=True)
    record = {
        "schema": SCHEMA,
        "easel": __version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "python": python,
        "engines": engines,
        "files": _files(folder),
    }
    write_whole(folder / RECORD, json.dumps(record, indent=1) + "\n")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the system refuses is said in a sentence."""
    try:
        yield
    except OSError as error:
        where = f" ({printable(str(error.filename))})" if error.filename else ""
        raise InstallError(
            f"The bundle cannot be made in {folder}: {error.strerror or error}{where}.",
            "Choose a folder that you can write to, on a disk with enough room.",
        ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other command makes a bundle in this folder meanwhile: both would write the same files."""
    if folder.exists() and not folder.is_dir():
        raise InstallError(f"{folder} is no folder.", "Choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems have no locks.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise InstallError(f"Another bundle is being made in {folder}.", "Wait for it to end.") from error
        yield
    finally:
        os.close(handle)


def prepare(folder: Path) -> dict[str, dict[str, Any]]:
    """What the folder has of an earlier bundle; only packages are kept. It must be empty, or have nothing that its record does not list.

    Raises:
        InstallError: it has other files.
    """
    record = bundle_files.read_record(folder)
    listed = dict(record["files"]) if record else {}
    if _SCRATCH in listed:
        _drop_scratch(folder / _SCRATCH)
    there = list(bundle_files.names(folder))
    others = [name for name in there if name not in listed and not (record and _is_own(name))]
    if others:
        named = ", ".join(printable(name, 200) for name in others[:5])
        raise InstallError(f"{folder} has other files: {named}.", "Choose a new folder.")
    for name in there:
        if name.split("/")[0] in (SOURCES, HUB) or name.endswith(".part"):
            (folder / name).unlink()
    return {name: {} for name in listed if os.path.lexists(folder / name)}


def _is_own(name: str) -> bool:
    return name == RECORD or _LEFT_OVER.fullmatch(name) is not None


def _drop_scratch(scratch: Path) -> None:
    if scratch.is_dir() and not scratch.is_symlink():
        shutil.rmtree(scratch)


def _add_engine(
    making: _Bundle, table: BackendManifest, device: hardware.Accelerator, source: str | None
) -> dict[str, str]:
    """What the record says of an engine, once its parts are in the bundle."""
    settled = build.settle(table, device, None, making.uv, making.report)
    making.report(f"{table.title} {settled.variant.version} for {settled.interpreter}:")
    making.packages(settled.interpreter.path, [settled.variant.lock])
    torch = _add_torch(making, settled)
    if table.has_source:
        _add_source(making, table, source)
    _add_hub_files(making, table)
    return {
        "version": settled.variant.version,
        "python": settled.interpreter.minor,
        "accelerator": device.kind,
        "torch": torch,
    }


def _add_torch(making: _Bundle, settled: build.Build) -> str:
    """The first build of torch that can be had; its packages are in the bundle."""
    for position, choice in enumerate(settled.choices):
        making.report(choice.reason)
        try:
            _add_build(making, settled, choice)
        except InstallError as error:
            if position == len(settled.choices) - 1:
                raise
            making.report(f"torch for {choice.build} cannot be had ({error.message}): taking the next build.")
        else:
            return choice.build
    raise AssertionError("torch_choice.choices is never empty")


def _add_build(making: _Bundle, settled: build.Build, choice: TorchChoice) -> None:
    if choice.build == REGISTRY:
        making.packages(settled.interpreter.path, [settled.variant.torch_lock])
        return
    where, variables = mirrors.torch_from(choice.build, uv_environment())
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch, "torch.txt")
        pins.write_text("\n".join(f"{name}=={number}" for name, number in choice.pins.items()), encoding="utf-8")
        # Not --no-deps: torch of this index names the libraries that it needs.
        making.packages(settled.interpreter.path, [pins], where, {**variables, "UV_HTTP_RETRIES": "0"})


def _add_source(making: _Bundle, table: BackendManifest, source: str | None) -> None:
    """The source code of an engine, as an archive that differs only if the files do."""
    present = installed(table.id)
    if source is None and present is not None and present.source and present.commit == table.commit:
        source = str(present.source)
    name = f"{SOURCES}/{table.id}.tar.gz"
    making.claim([_SCRATCH, name])
    scratch, archive = making.folder / _SCRATCH, making.folder / name
    try:
        tree, part = scratch / "source", scratch / "part.tar.gz"
        upstream.fetch(table.upstream, tree, source, making.report)
        upstream.pack(tree, part)
        archive.parent.mkdir(exist_ok=True)
        part.replace(archive)
    finally:
        _drop_scratch(scratch)


def _add_hub_files(making: _Bundle, table: BackendManifest) -> None:
    """The tokenizers that an installation brings, as far as they can be had here."""
    for row in hub_files.common(table):
        try:
            if not hub_files.is_there(row):
                hub_files.bring(row, table, making.report)
        except InstallError as error:
            making.report(f"Without {row.title}: {error.message}")
            continue
        _add_folder(making, hub_files.folder_of(row), f"{HUB}/{row.folder_name}")


def _add_folder(making: _Bundle, folder: Path, name: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    inside = {f"{name}/{path.relative_to(folder).as_posix()}": path for path in files}
    making.claim(inside)
    for each, path in inside.items():
        target = making.folder / each
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": wheelhouse.sha256_of(folder / name)}
        for name in bundle_files.names(folder)
        if name != RECORD and not _is_own(name)
    }
