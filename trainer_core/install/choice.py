"""The training engines on this machine: the status of each, and which one is chosen for a family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.engines import parts, preference, trainable
from trainer_core.engines.seam import Backend
from trainer_core.engines.status import NOT_KNOWN, EngineStatus, Trial, Trials
from trainer_core.install.installed import installed

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.models.detection import Detection


def choose(
    family: str,
    engines: Iterable[Backend],
    statuses: Mapping[str, EngineStatus],
    method: str = "",
    found: Detection | None = None,
    variant: str = "",
) -> Backend | None:
    """The engine for a family by the rule of `engines.preference`; None when none trains it. Hidden engines are never chosen.

    Files and memory do not count here, so that the engine does not change while somebody fills in a form. With a `method`, an
    engine that trains the family with it comes before one that does not; with `found`, the recognised model, one that can
    load it, as it is or renamed; `variant` is the one that the user named.
    """
    claiming = {engine.manifest.id: engine for engine in engines if not engine.manifest.hidden}
    known = [
        standing(engine.manifest, family, statuses.get(name, NOT_KNOWN), method, found, variant)
        for name, engine in claiming.items()
        if family in engine.manifest.families
    ]
    best = preference.preferred(known)
    return claiming[best.id] if best is not None else None


def standing(
    manifest: BackendManifest,
    family: str,
    status: EngineStatus,
    method: str = "",
    found: Detection | None = None,
    variant: str = "",
) -> preference.Standing:
    """What is known of an engine for a family without looking at files and memory."""
    claim = manifest.families.get(family)
    blocks = ""
    if claim is None:
        blocks = f"{manifest.title} does not train {trainable.family_title(family)}."
    elif method and method not in claim.methods:
        blocks = f"{manifest.title} does not train {trainable.family_title(family)} with this method."
    elif found is not None and (reason := trainable.why_not(found, manifest, variant)):
        # A file that is not recognised, or no base model, is not the engine's matter; a copy with other names may be.
        is_its_matter = found.family == family and found.role in trainable.BASES
        blocks = reason if is_its_matter and not parts.renamed_model(found, manifest) else ""
    return preference.Standing(
        manifest.id,
        manifest.title,
        manifest.rank,
        trains=claim is not None,
        blocks=blocks,
        installed=status.installed,
    )


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
