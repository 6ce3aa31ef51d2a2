"""The training engines on this machine: the status of each, and which one is chosen for a family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainer_core.engines.seam import Backend
from trainer_core.engines.status import NOT_KNOWN, EngineStatus, Trial, Trials
from trainer_core.install.installed import installed


def choose(
    family: str, engines: Iterable[Backend], statuses: Mapping[str, EngineStatus], method: str = ""
) -> Backend | None:
    """The engine for a family, an installed one first, then by the rank in its manifest; None when none trains it.

    With a `method`, an engine that trains the family with it comes before one that does not. Hidden engines are never chosen.
    """
    claiming = [engine for engine in engines if family in engine.manifest.families and not engine.manifest.hidden]

    def rank(engine: Backend) -> tuple[bool, bool, int, str]:
        manifest = engine.manifest
        lacks = bool(method) and method not in manifest.families[family].methods
        return lacks, not statuses.get(manifest.id, NOT_KNOWN).installed, manifest.rank, manifest.id

    return min(claiming, key=rank, default=None)


def installations(engines: Iterable[Backend]) -> dict[str, EngineStatus]:
    """Which engines are installed, by id, without their trials: enough to choose one."""
    return {
        engine.manifest.id: EngineStatus(
            not engine.manifest.needs_installation or installed(engine.manifest.id) is not None
        )
        for engine in engines
    }


def statuses(engines: Iterable[Backend], device: str) -> dict[str, EngineStatus]:
    """The status of each engine on this machine, by id; `device` is the name of the device that it trains on."""
    return {engine.manifest.id: _status(engine, device) for engine in engines}


def _status(engine: Backend, device: str) -> EngineStatus:
    """The status of an engine; one that needs no installation counts as installed."""
    manifest = engine.manifest
    if not manifest.needs_installation:
        return EngineStatus(installed=True)
    found = installed(manifest.id)
    if found is None:
        return NOT_KNOWN
    from trainer_core.install import trials

    tried = trials.load(found, device, manifest.optimizers)
    kept = Trials(_trials(tried["optimizers"]), _trials(tried["parts"]))
    return EngineStatus(True, found.version, kept)


def _trials(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Trial]:
    return {name: _trial(record) for name, record in records.items()}


def _trial(record: Mapping[str, Any]) -> Trial:
    counted = record.get("state_bytes_per_parameter")
    state_bytes = float(counted) if isinstance(counted, int | float) else None
    takes = record.get("takes")
    return Trial(
        bool(record.get("ok")), str(record.get("reason", "")), state_bytes, takes if isinstance(takes, dict) else None
    )
