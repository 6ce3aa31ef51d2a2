"""The engines: installed or not, with which pins, and whether a build of torch runs on this device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.doctor.case import Case, Engine
from trainer_core.doctor.finding import Finding
from trainer_core.engines import registry
from trainer_core.engines.manifest import BackendManifest, TorchBuild, Variant
from trainer_core.hardware import Accelerator
from trainer_core.install import torch_choice
from trainer_core.install.installed import InstalledEngine
from trainer_core.install.torch_choice import REGISTRY, NoTorch
from trainer_core.text import printable

NAMED = 5
"""The most packages that are named."""
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)([^\n\\]*)", re.MULTILINE)


def engines(case: Case) -> Iterator[Finding]:
    """Each engine, and the packages of others that cannot be used."""
    for engine in case.engines:
        if not engine.manifest.needs_installation:
            found = "It runs in Easel's own environment."
            yield Finding(_name(engine.manifest), engine.manifest.title, "good", found, engine=engine.manifest.id)
        elif engine.installed is None:
            yield _absent(engine.manifest, case.devices[0])
        else:
            yield _present(engine, engine.installed, case.devices[0])
    for name, error in registry.broken().items():
        found = f"{name} cannot be used: {error.message}"
        yield Finding(f"engine.{name}", name, "problem", found, fix=error.hint, engine=name)


def install_command(manifest: BackendManifest) -> str:
    """The command that installs an engine, or installs it again."""
    return places.engine_command("install", manifest.id)


def build_of(manifest: BackendManifest, device: Accelerator) -> str:
    """The build of torch that an installation of an engine would take first on this device; "" if none."""
    for variant in manifest.environment:
        try:
            return torch_choice.choices(variant.torch, device, manifest.title)[0].build
        except NoTorch:
            continue
    return ""


def _name(manifest: BackendManifest) -> str:
    return f"engine.{manifest.id}"


def _absent(manifest: BackendManifest, device: Accelerator) -> Finding:
    """Whether an engine that is not installed could be, and with which build of torch."""
    refused: list[NoTorch] = []
    for variant in manifest.environment:
        try:
            choice = torch_choice.choices(variant.torch, device, f"{manifest.title} {variant.version}")[0]
        except NoTorch as error:
            refused.append(error)
            continue
        found = " ".join(["It is not installed.", *(error.message for error in refused)])
        would = f"Version {variant.version} would be installed, with {choice.reason}"
        if refused:
            would += f" For version {manifest.environment[0].version}: {refused[0].hint}"
        return Finding(_name(manifest), manifest.title, "notice", found, would, install_command(manifest), manifest.id)
    message = " ".join(error.message for error in refused)
    hint = refused[0].hint if refused else ""
    return Finding(_name(manifest), manifest.title, "problem", message, "It cannot train here.", hint, manifest.id)


def _present(engine: Engine, found: InstalledEngine, device: Accelerator) -> Finding:
    """Whether the installation is what this release of Easel pins, and is for this device."""
    manifest = engine.manifest
    name, again = _name(manifest), install_command(manifest)
    torch = printable(str(found.details.get("torch", "")), 60) or "not known"
    about = f"Version {printable(found.version, 60)}, torch {torch}, installed for {found.accelerator}."
    if found.accelerator != device.kind:
        means = f"This machine has {printable(device.name, 100)} ({device.kind}), for which this build of torch is not made."
        state = "problem" if device.kind != "cpu" else "notice"
        return Finding(name, manifest.title, state, about, means, again, manifest.id)
    row = _build(manifest, found)
    if row is None:
        about += " Its pins are not those of this release of Easel."
        means = "Easel's checks and option lists are made for the pinned packages."
        return Finding(name, manifest.title, "notice", about, means, again, manifest.id)
    variant, build = row
    if device.kind in ("cuda", "rocm") and not _runs(build, device, manifest.title):
        means = "This build of torch has no kernels for the GPU, or needs a newer driver."
        return Finding(name, manifest.title, "problem", about, means, again, manifest.id)
    if wrong := changed(found, variant, build):
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        about += f" These packages are not as pinned: {', '.join(wrong[:NAMED])}{more}."
        means = "Somebody has installed packages into its environment. It may fail, or train differently."
        fix = f"{places.engine_command('remove', manifest.id)}, then {again}"
        return Finding(name, manifest.title, "notice", about, means, fix, manifest.id)
    return Finding(name, manifest.title, "good", f"{about} All packages are as pinned.", engine=manifest.id)


def _build(manifest: BackendManifest, found: InstalledEngine) -> tuple[Variant, TorchBuild] | None:
    """The version and the build of torch in the manifest that were installed; None if the pins have changed since.

    The fingerprint is that of the build which was wanted; `found.torch` is the one that could be got.
    """
    for variant in manifest.environment:
        wanted = {variant.fingerprint(each.build, each.pins, manifest.commit) for each in variant.torch}
        got = [each for each in variant.torch if (each.build, each.kind) == (found.torch, found.accelerator)]
        if variant.version == found.version and found.fingerprint in wanted and got:
            return variant, got[0]
    return None


def _runs(build: TorchBuild, device: Accelerator, title: str) -> bool:
    try:
        torch_choice.choices([build], device, title)
    except NoTorch:
        return False
    return True


def changed(found: InstalledEngine, variant: Variant, build: TorchBuild) -> list[str]:
    """The packages whose version is not the pinned one, or that are missing, each with both versions."""
    have = _packages(found.home / "venv")
    pins = _pins(variant.lock)
    if build.build == REGISTRY:
        pins |= _pins(variant.torch_lock)
    else:
        pins |= {_canonical(name): (version, False) for name, version in build.pins.items()}
    wrong = []
    for name, (version, is_conditional) in sorted(pins.items()):
        present = have.get(name)
        if present is None and not is_conditional:
            wrong.append(f"{name} (missing, pinned {version})")
        elif present is not None and present.partition("+")[0] != version.partition("+")[0]:
            wrong.append(f"{name} ({printable(present, 40)}, pinned {version})")
    return wrong


def _pins(lock: Path) -> dict[str, tuple[str, bool]]:
    """By package: the pinned version, and whether it is installed on some machines only."""
    return {_canonical(name): (version, ";" in rest) for name, version, rest in _PIN.findall(lock.read_text("utf-8"))}


def _packages(venv: Path) -> dict[str, str]:
    """The versions of the packages in an environment, by name, from the names of their folders."""
    folders = venv.glob("lib/python3.*/site-packages/*.dist-info")
    pairs = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in folders)
    return {_canonical(name): version for name, _, version in pairs}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
