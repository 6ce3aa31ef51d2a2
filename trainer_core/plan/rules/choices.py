"""Rules for what is chosen from the catalogue: the engine has it, it works on this machine, and its settings are read."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core import catalog, places, registry
from trainer_core.plan import fields
from trainer_core.plan.rules.case import Case
from trainer_core.plan.sections import NetworkSettings, Section
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable


def engine_has_what_is_chosen(case: Case) -> Iterator[Problem]:
    """Optimizer, schedule and network algorithm are ones that the engine has; nothing else is put in their place."""
    if case.backend is None or case.claim is None:
        return
    manifest, plan = case.backend.manifest, case.plan
    chosen: list[tuple[str, str, Container[str], str]] = [
        ("optimizer.name", plan.optimizer.name, manifest.optimizers, _fallback(plan.optimizer.name))
    ]
    if manifest.schedulers:
        chosen.append(("schedule.scheduler", plan.schedule.scheduler, manifest.schedulers, "cosine"))
    if plan.model.method == "lora":
        chosen.append(("network.algorithm", plan.network.algorithm, case.claim.algorithms, "lora"))
    for path, name, known, instead in chosen:
        if name in known:
            continue
        fix = Fix(f"Use {instead}", {path: instead}) if instead in known else None
        what = "for this family" if path == "network.algorithm" else "in this version"
        yield Problem(path, "error", f"{manifest.title} does not have {name} {what}.", fix)


def settings_are_read(case: Case) -> Iterator[Problem]:
    """Every setting that was changed is read by the optimizer, schedule or algorithm that was chosen."""
    plan = case.plan
    optimizer, scheduler = catalog.optimizers()[plan.optimizer.name], catalog.schedulers()[plan.schedule.scheduler]
    yield from _unread("optimizer", plan.optimizer, _all_settings(catalog.optimizers()), optimizer)
    curve = _all_settings(catalog.schedulers()) - {"warmup_steps"}
    yield from _unread("schedule", plan.schedule, curve, optimizer if optimizer.schedule_free else scheduler)
    if plan.model.method == "lora":
        algorithm = catalog.algorithms()[plan.network.algorithm]
        yield from _unread("network", plan.network, _all_settings(catalog.algorithms()), algorithm)
        return
    for name in ("algorithm", *sorted(_all_settings(catalog.algorithms()))):
        if getattr(plan.network, name) != NetworkSettings.model_fields[name].default:
            yield _no_effect(f"network.{name}", "when no network is trained")


def native_tables_are_read(case: Case) -> Iterator[Problem]:
    """Native settings are those of an engine that is known, and of the one that trains."""
    if case.backend is None:
        return
    known = [backend.manifest.id for backend in registry.available(include_hidden=True)]
    for name in case.plan.native:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            yield Problem(f"native.{name}", "error", f"There is no training engine called {name!r:.60}.{hint}")
        elif name != case.backend.manifest.id and case.plan.native[name]:
            message = f"These settings are for {name}; this training is done by {case.backend.manifest.title}."
            yield Problem(f"native.{name}", "info", message)


def native_files_are_there(case: Case) -> Iterator[Problem]:
    """The files of weights that native settings name exist; an engine does not stand where the user stood."""
    if case.backend is None or case.claim is None:
        return
    engine = case.backend.manifest.id
    given, options = case.plan.native.get(engine, {}), case.backend.manifest.tables.get("options", {})
    for name in options.get("weights", ()):
        value = given.get(name, ())
        for file in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
            path = Path(str(file))
            if not path.is_absolute():
                message = f"{printable(str(file))!r:.100} must be a whole path, from / on."
            elif not places.is_there(path):
                message = f"{printable(str(file))!r:.100} does not exist."
            else:
                continue
            yield Problem(f"native.{engine}.{name}", "error", message)


def optimizer_works_here(case: Case) -> Iterator[Problem]:
    """The optimizer passed its trial in the engine's own environment on this machine, where one was made.

    The trial is one real step after the installation; its record is in the machine's probes.
    """
    if case.backend is None:
        return
    manifest, name = case.backend.manifest, case.plan.optimizer.name
    trials = case.facts.machine.probes.get("optimizers", {}).get(manifest.id, {})
    trial = trials.get(name)
    if trial is None or trial.get("ok"):
        return
    instead = _fallback(name)
    works = instead in manifest.optimizers and trials.get(instead, {"ok": True}).get("ok")
    fix = Fix(f"Use {instead}", {"optimizer.name": instead}) if works else None
    reason = str(trial.get("reason", ""))[:200]
    yield Problem("optimizer.name", "error", f"{name} does not work on this machine: {reason}", fix)


def _fallback(optimizer: str) -> str:
    return catalog.optimizers()[optimizer].fallback


def _all_settings(entries: Mapping[str, Any]) -> set[str]:
    return {name for entry in entries.values() for name in entry.settings}


def _unread(section: str, values: Section, known: Container[str], entry: catalog.Entry) -> Iterator[Problem]:
    read = getattr(entry, "settings", ())
    for name, info in type(values).model_fields.items():
        if name in known and name not in read and getattr(values, name) != info.default:
            yield _no_effect(f"{section}.{name}", f"with {entry.title}")


def _no_effect(path: str, when: str) -> Problem:
    field = fields.all_fields()[path]
    return Problem(path, "warning", f"{field.title} has no effect {when}.", Fix("Leave it out", {path: field.default}))
