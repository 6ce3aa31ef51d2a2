"""The training engines on this machine: which one is taken for a family, and what of them was tried here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainer_core import environments, hardware, registry, trials
from trainer_core.backend import Backend


def choose(family: str) -> Backend | None:
    """The engine for a family: installed before not installed, then by the rank it gives itself; None when none trains it."""
    claiming = [backend for backend in registry.available() if family in backend.manifest.families]

    def rank(backend: Backend) -> tuple[bool, int, str]:
        manifest = backend.manifest
        missing = manifest.needs_installation and environments.installed(manifest.id) is None
        return missing, manifest.rank, manifest.id

    return min(claiming, key=rank, default=None)


def known_on(machine: hardware.Machine) -> hardware.Machine:
    """The machine's record with the installed engines: their versions, and what of them was tried on this machine.

    `probes` gets "engines" {engine: version}, "optimizers" {engine: {name: record}} and "parts" {engine: {name: record}}.
    """
    probes: dict[str, dict[str, Any]] = {"engines": {}, "optimizers": {}, "parts": {}}
    for backend in registry.available():
        name, engine = backend.manifest.id, environments.installed(backend.manifest.id)
        if engine is not None:
            probes["engines"][name] = engine.version
            tried = trials.load(engine, machine.accelerator.name, backend.manifest.optimizers)
            probes["optimizers"][name], probes["parts"][name] = tried["optimizers"], tried["parts"]
    return replace(machine, probes={**machine.probes, **probes})
