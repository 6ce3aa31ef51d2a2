"""One training job being prepared: what the notebook and the command line have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import (
    engines,
    environments,
    hardware,
    origins,
    places,
    policies,
    prefill,
    presets,
    registry,
)
from trainer_core.backend import Backend, JobSpec
from trainer_core.errors import DatasetError, EaselError, PlanError, PolicyError, ProfileError
from trainer_core.plan import fields
from trainer_core.plan.applies import Scope
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import PARTS
from trainer_core.problems import Problem
from trainer_core.runs.place import place_for
from trainer_core.runs.run import Run

if TYPE_CHECKING:
    from trainer_core import profiles
    from trainer_core.detection import Detection
    from trainer_core.library import Library

READ_AGAIN = ("dataset.path", "dataset.caption_extension", "dataset.trigger", "model.path", "model.family")
"""Settings the dataset's facts stand on: the model too, for it decides by which engine's rules the folder is read."""

ONE_ENGINES = frozenset({"memory.blocks_to_swap"})
"""What a preset sets only where the engine declares it for the family: elsewhere the model fits without."""


class Workbench:
    """A draft over the facts of one model, one dataset and this machine, and the engine that would run it.

    Facts are read again when the setting they stand on changes. Nothing is written before `start`.
    """

    def __init__(self, machine: hardware.Machine | None = None, engine: str = "", quick: bool = True) -> None:
        self.engine = engine
        self.quick = quick
        """Whether a scan only reads picture headers; a start always reads every picture whole."""
        self.profile: profiles.Profile | None = None
        self.preset: presets.Preset | None = None
        self.policy: policies.Policy | None = None
        self.prefilled: policies.Prefilled | None = None
        """What the policy sets for the job as it stands."""
        self.adjusted: policies.Adjustment | None = None
        """The last auto-adjust, until it is undone or another policy is chosen."""
        self._card: dict[str, Any] = {}
        self.library: Library | None = None
        """Where the files beside a model are looked for; scanned when the first model needs some."""
        self.is_measured = machine is None
        """Whether the machine is this one, and not a record that somebody gave."""
        self.draft = Draft(Facts(engines.known_on(machine or hardware.machine(places.home()))))
        self._prefill()

    @property
    def facts(self) -> Facts:
        """What is known about the files and the machine."""
        return self.draft.facts

    @property
    def family(self) -> str:
        """The family that would be trained: as set, else as the file says."""
        found = self.facts.detection.family if self.facts.detection else None
        return self._text("model.family") or found or ""

    @property
    def backend(self) -> Backend | None:
        """The engine asked for, else the best one for the family: an installed one before others."""
        if self.engine:
            return registry.get(self.engine)
        return engines.choose(self.family)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything wrong with the job as it stands."""
        notes = self.prefilled.notes if self.prefilled else ()
        own = (*self._engine_problems(), *self._preset_problems(), *self._profile_problems())
        return (*own, *notes, *self.draft.problems(self.backend))

    def set(self, values: Mapping[str, Any]) -> None:
        """Takes values from the user, by dotted path, and reads the files they name."""
        self.draft = self.draft.with_values(Source.USER, values)
        self._read_again(values)
        self._prefill()

    def begin_from(self, run: Run) -> None:
        """Takes what a run was asked for: its profile and preset, where those ship with Easel, and the values that differ.

        What is so by itself, and what follows from the files, is left to them.
        """
        from trainer_core import profiles

        profile, preset, policy = (
            str(run.directory.versions.get(name, "")) for name in ("profile", "preset", "policy")
        )
        self.use_profile(profile if profile in profiles.known() else "")
        # TOML has no word for an empty setting: a plan leaves it out.
        empty = {path: None for path, setting in fields.all_fields().items() if setting.optional}
        asked = {**empty, **fields.flatten(run.directory.plan)}
        # What a preset sets depends on the family, which follows from the model.
        self.set({"model.path": asked.get("model.path", "")})
        self.use_preset(preset if preset in presets.shipped() else "")
        self.use_policy(policy if policy in policies.shipped() else "")
        mine = {**self.draft.values, "native": {}}
        follows = ("model.family", "model.prediction", "model.zero_terminal_snr")
        self.set(
            {path: asked[path] for path in asked if path in mine and path not in follows and asked[path] != mine[path]}
        )

    def reset(self, *paths: str) -> None:
        """Drops the user's values at these paths, so that profile, prefill or default show again."""
        self.draft = self.draft.without(Source.USER, *paths)
        self._read_again(paths)
        self._prefill()

    def use_profile(self, chosen: str) -> None:
        """Puts a shipped profile (by id) or a profile file (by path) under the user's values; "" takes it away.

        Raises:
            ProfileError: there is no such profile, or the file is refused.
        """
        followed = bool(self.profile and self.profile.policy)
        self.profile = _profile(chosen) if chosen else None
        self.draft = self.draft.with_layer(Source.PROFILE, self.profile.settings if self.profile else {})
        wanted = self.profile.policy if self.profile else ""
        # A policy that was chosen by hand outlives a change to a profile that names none.
        if (wanted and wanted in policies.shipped()) or followed:
            self.use_policy(wanted if wanted in policies.shipped() else "")
        self._prefill()

    def use_policy(self, chosen: str) -> None:
        """Has a prefill policy (by id) set what follows from the number of pictures; "" takes it away.

        Raises:
            PolicyError: there is no such policy.
        """
        self.policy = policies.get(chosen) if chosen else None
        self.adjusted = None
        self._prefill()

    def auto_adjust(self) -> str:
        """Clears the user's values where the policy decides, and returns what was set, why, and what was cleared.

        Raises:
            PolicyError: no policy is chosen.
        """
        if self.policy is None:
            raise PolicyError(
                "No policy is chosen, so there is nothing to adjust by.", "Choose one beside the profile."
            )
        found = policies.adjust(self.policy, self.draft, self._card, os.environ)
        self.draft = found.draft
        # Asked for twice, the second time clears nothing: what can be undone is the first.
        if found.cleared or self.adjusted is None:
            self.adjusted = found
        self._prefill()
        return found.message

    def undo_adjust(self) -> None:
        """Takes the last auto-adjust back: the user's values are as they were."""
        if self.adjusted is not None:
            self.draft = policies.undo(self.draft, self.adjusted)
            self.adjusted = None
            self._prefill()

    def origin(self, path: str) -> origins.Origin:
        """Where the value of a setting comes from, in words."""
        return origins.origin(self.draft, path, self.profile, self.preset, self.prefilled)

    def use_preset(self, chosen: str) -> None:
        """Puts a memory preset (by id) over the profile and under the user's values; "" takes it away.

        Raises:
            EaselError: there is no such preset.
        """
        self.preset = presets.get(chosen) if chosen else None
        self._prefill()

    def use_engine(self, name: str) -> None:
        """Takes an engine, "" leaving the choice to Easel: it needs other files beside the model, and reads a dataset its own way."""
        self.engine = name
        self._look_beside()
        self.read_dataset()

    def read_model(self) -> None:
        """Recognises the chosen model from its header."""
        path = self._text("model.path")
        found, error = recognise(Path(path)) if path else (None, "")
        self._learn(detection=found, detection_error=error, beside=None)
        self._look_beside()

    def use_library(self, found: Library) -> None:
        """Takes the files beside the model from this library."""
        self.library = found
        self._look_beside()

    def use_machine(self, machine: hardware.Machine) -> None:
        """Takes what is free on this machine from a newer look at it; its engines stay as they are known."""
        self._learn(machine=replace(machine, probes=self.facts.machine.probes))

    def read_parts(self) -> None:
        """Recognises the files named beside the model from their headers."""
        named = {part: path for part in PARTS if (path := self._text(f"model.{part}"))}
        seen = {part: recognise(Path(path)) for part, path in named.items()}
        self._learn(parts={part: found or error for part, (found, error) in seen.items()})

    def read_dataset(self, quick: bool | None = None) -> None:
        """Scans the chosen dataset by the rules of the engine that would read it."""
        from trainer_core.datasets import scan

        path, backend = self._text("dataset.path"), self.backend or engines.choose("sdxl")
        dataset, reason = None, ""
        if path and backend is not None:
            try:
                dataset = scan.scan(
                    places.typed(path),
                    backend.manifest.dataset,
                    caption_extension=self._text("dataset.caption_extension"),
                    trigger=self._text("dataset.trigger"),
                    quick=self.quick if quick is None else quick,
                )
            except DatasetError as error:
                reason = str(error)
        self._learn(dataset=dataset, dataset_error=reason)

    def preview(self) -> JobSpec | None:
        """The native files and command as they would be, at a place that does not exist yet; None without an engine."""
        from trainer_core.datasets.stage import expected_captions

        backend = self.backend
        if backend is None:
            return None
        plan = self.draft.plan(backend)
        shown = expected_captions(self.facts.dataset, plan.dataset.trigger) if self.facts.dataset else {}
        return backend.render(plan, place_for(backend, places.runs() / "preview", shown))

    def start(self, folder: Path | None = None) -> Run:
        """Starts the job as a run of its own, which goes on when this process ends.

        Raises:
            PlanError: a blocking Problem stands.
            RunError: the run folder cannot be written.
        """
        self.read_dataset(quick=False)
        plan, backend, dataset = self.draft.plan(self._ready_backend()), self._ready_backend(), self.facts.dataset
        assert dataset is not None  # dataset_is_usable blocks a plan without one
        return Run.start(
            plan,
            backend,
            dataset,
            machine=self.facts.machine,
            folder=folder or places.runs(),
            chosen={
                "profile": self.profile.id if self.profile else "",
                "preset": self.preset.id if self.preset else "",
                "policy": self.policy.id if self.policy else "",
            },
        )

    def _read_again(self, changed: Iterable[str]) -> None:
        changed = set(changed)
        if "model.path" in changed:
            self.read_model()
        if changed.intersection(f"model.{part}" for part in PARTS):
            self.read_parts()
        if changed.intersection(READ_AGAIN):
            self.read_dataset()

    def _look_beside(self) -> None:
        """Finds the files that the model needs beside it, as far as nobody has named them."""
        found = self.facts.detection
        if found is None or not Scope.of(self.draft, self.backend).needed_parts():
            return
        from trainer_core import library

        self.library = self.library or library.scan()
        self._learn(beside=self.library.parts_for(found))
        self.read_parts()

    def _text(self, path: str) -> str:
        """The value of a setting that is text; "" for one of another type, which the draft refuses."""
        value = self.draft.values[path]
        return value if isinstance(value, str) else ""

    def _ready_backend(self) -> Backend:
        backend = self.backend
        stopping = [problem for problem in self._engine_problems() if problem.severity == "error"]
        if backend is None or stopping:
            sentence = stopping[0].message if stopping else f"No engine trains {self.family or 'an unknown model'}."
            raise PlanError(sentence, "", stopping or self.problems)
        return backend

    def _engine_problems(self) -> list[Problem]:
        backend = self.backend
        if backend is None or not backend.manifest.needs_installation or environments.installed(backend.manifest.id):
            return []
        title, name = backend.manifest.title, backend.manifest.id
        message = f"{title} is not installed. Install it with: python installer.py backend install {name}"
        return [Problem("", "error", message)]

    def _preset_problems(self) -> list[Problem]:
        if self.preset is None or not self.family or self.preset.suits(self.family):
            return []
        families = " and ".join(self.preset.families)
        return [Problem("", "warning", f"The preset {self.preset.id} is for {families}, not for {self.family}.")]

    def _profile_problems(self) -> list[Problem]:
        """Where the profile was made for other models of the family than this one."""
        profile, found = self.profile, self.facts.detection
        if profile is None or found is None or not self.family:
            return []
        predicts = self._text("model.prediction") or found.prediction or ""
        if profile.family != self.family:
            return [
                Problem("", "warning", f"The profile {profile.title} is for {profile.family}, not for {self.family}.")
            ]
        if profile.prediction and predicts and profile.prediction != predicts:
            message = f"The profile {profile.title} is for models that predict {profile.prediction}; this one predicts {predicts}."
            return [Problem("", "warning", message)]
        return []

    def _prefill(self) -> None:
        chosen = self.preset.values_for(self.family) if self.preset else {}
        scope = Scope.of(self.draft, self.backend)
        fitting = {path: value for path, value in chosen.items() if path not in ONE_ENGINES or scope.applies(path)}
        self._card = {**prefill.values(self.facts), **self._parts_beside(scope), **fitting}
        self.prefilled = policies.recompute(self.policy, self.draft, self._card, os.environ) if self.policy else None
        self.draft = self.draft.with_layer(Source.PREFILL, policies.layered(self._card, self.prefilled))

    def _parts_beside(self, scope: Scope) -> dict[str, str]:
        """The files of the library that the model needs beside it, by their settings."""
        found = self.facts.beside.found if self.facts.beside else {}
        entries = {f"model.{part}": entry.file for part, entry in found.items()}
        return {path: str(file) for path in scope.needed_parts() if (file := entries.get(path))}

    def _learn(self, **facts: Any) -> None:
        self.draft = self.draft.with_facts(replace(self.facts, **facts))
        self._prefill()


def _profile(chosen: str) -> profiles.Profile:
    """The shipped profile of this id, or the one in this file."""
    from trainer_core import profiles

    if Path(chosen).suffix == ".toml":
        return profiles.load(places.typed(chosen))
    known = profiles.known()
    if chosen not in known:
        raise ProfileError(f"There is no profile called {chosen!r:.80}.", f"Known: {', '.join(sorted(known))}.")
    return known[chosen]


def recognise(path: Path) -> tuple[Detection | None, str]:
    """What a model file or folder is, and "" or the sentence why that cannot be told."""
    from trainer_core import detection, header

    try:
        return detection.detect(header.read(places.typed(path))), ""
    except EaselError as error:
        return None, str(error)


def setting_rows(draft: Draft) -> dict[str, dict[str, Any]]:
    """Every value with its source: {path: {"value", "source"}}."""
    values = draft.values
    paths = [*fields.all_fields(), *(path for path in values if path not in fields.all_fields())]
    return {path: {"value": values[path], "source": draft.source_of(path).name} for path in paths}
