"""Rules for choices from the catalogue: the engine supports them, they work on this machine, and their settings are read."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from trainer_core import catalog
from trainer_core.draft.checks.case import Case
from trainer_core.plan import effect, fields
from trainer_core.plan.section import Section
from trainer_core.plan.sections import NetworkSettings
from trainer_core.plan.subsets import CLASS
from trainer_core.problems import Fix, Problem
from trainer_core.text import nearest, printable


def engine_has_what_is_chosen(case: Case) -> Iterator[Problem]:
    """The engine supports the optimizer, the schedule and the network algorithm; Easel never replaces one by another."""
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
        yield Problem(path, "error", f"{manifest.title} does not support {name} {what}.", fix)


def settings_are_read(case: Case) -> Iterator[Problem]:
    """The chosen optimizer, schedule or algorithm reads every changed setting."""
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
            yield _no_effect(f"network.{name}", "because no network is trained")


def settings_suit_model(case: Case) -> Iterator[Problem]:
    """Every changed setting suits the model's prediction type and the engine, and the setting that it depends on is on.

    Settings that a model's file contains are compared with the file instead, by the rules for models.
    """
    plan, claim = case.plan, case.claim
    if claim is None or plan.model.method not in claim.methods:
        return
    values = fields.flatten(plan.model_dump())
    # Further image folders can have what the first one has not.
    of_folders = {
        CLASS: plan.has_class_images,
        "dataset.validation_share": plan.has_validation,
        "dataset.controls": plan.has_controls,
    }
    for path, setting in fields.all_fields().items():
        about = setting.about
        if values[path] != setting.default and about.claim and about.methods and plan.model.method not in about.methods:
            titles = fields.all_fields()["model.method"].about.titles
            yield effect.no_effect(path, f"it is for {' and '.join(titles.get(name, name) for name in about.methods)}.")
        if values[path] == setting.default or about.said_by_model or not _is_chosen(setting, values):
            continue
        if why := claim.ignores(about, plan.model.method, plan.model.prediction):
            yield effect.no_effect(path, why)
        elif of_folders.get(about.only_with):
            continue
        elif about.only_with and not values[about.only_with]:
            needed = fields.all_fields()[about.only_with]
            yield effect.no_effect(path, f'"{needed.title}" is not {needed.on}.', "info")


def _is_chosen(setting: fields.SettingField, values: Mapping[str, Any]) -> bool:
    """Whether the method and the chosen catalogue entry use a setting; `settings_are_read` reports unused ones."""
    about, readers = setting.about, fields.readers(setting.path)
    if about.methods and values["model.method"] not in about.methods:
        return False
    return not readers or values[fields.choosers()[setting.section].path] in readers


def native_tables_are_read(case: Case) -> Iterator[Problem]:
    """Native settings belong to a known engine, and to the one that is used."""
    if case.backend is None:
        return
    own = case.backend.manifest
    known = {own.id, *case.facts.engines}
    for name in case.plan.native:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean {near}?" if near else ""
            yield Problem(f"native.{name}", "error", f"There is no training engine called {name!r:.60}.{hint}")
        elif name != own.id and case.plan.native[name]:
            message = f"These settings have no effect: they are for {name}, and this training uses {own.title}."
            yield Problem(f"native.{name}", "info", message)


def native_files_are_there(case: Case) -> Iterator[Problem]:
    """Weight files in native settings have absolute paths and exist, because an engine runs in another folder than the user."""
    if case.backend is None or case.claim is None:
        return
    engine = case.backend.manifest.id
    given, options = case.plan.native.get(engine, {}), case.backend.manifest.options
    for name in options.weights:
        setting = f"native.{engine}.{name}"
        for key, file in native_paths(setting, given.get(name)):
            seen = case.facts.at(key, file)
            if not PurePath(file).is_absolute():
                message = f"{printable(file)!r:.100} must be an absolute path, which begins with /."
            elif seen is not None and not seen.exists:
                message = f"{printable(file)!r:.100} does not exist."
            else:
                continue
            yield Problem(setting, "error", message)


def native_paths(setting: str, value: Any) -> Iterator[tuple[str, str]]:
    """(name in the facts, path) of each file in a native setting: a text, or a list of texts."""
    if isinstance(value, str):
        yield setting, value
    elif isinstance(value, list | tuple):
        yield from ((f"{setting}.{place}", str(file)) for place, file in enumerate(value))


def optimizer_works_here(case: Case) -> Iterator[Problem]:
    """The optimizer passed its trial on this machine: one real step in the engine's environment.

    Without a trial, Easel does not know whether an optimizer works, except for the last fallback of all others, which is
    plain torch.
    """
    if case.backend is None:
        return
    manifest, name = case.backend.manifest, case.plan.optimizer.name
    status = case.facts.engine(manifest.id)
    trials = status.trials.optimizers
    trial, instead = trials.get(name), _fallback(name)
    if trial is None:
        # An engine without an environment of its own has no trials.
        may_be_tried = manifest.needs_installation and status.installed
        if may_be_tried and name in manifest.optimizers and instead != name:
            message = f"{name} was not tried on this machine yet. To try all optimizers, run: easel backends trial {manifest.id}"
            yield Problem("optimizer.name", "info", message)
        return
    if trial.works:
        return
    may_work = instead in manifest.optimizers and (instead not in trials or trials[instead].works)
    fix = Fix(f"Use {instead}", {"optimizer.name": instead}) if may_work else None
    yield Problem("optimizer.name", "error", f"{name} does not work on this machine: {trial.reason[:200]}", fix)


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
    message = f"{fields.all_fields()[path].title} has no effect {when}."
    return Problem(path, "warning", message, effect.leave_out(path))
