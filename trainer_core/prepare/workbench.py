"""The job that a notebook or a command prepares: its state, and the reader that updates its facts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import hardware, places
from trainer_core.catalog import methods, presets
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft
from trainer_core.engines import registry
from trainer_core.errors import PlanError, ProfileError, wrong_use
from trainer_core.plan import fields, subsets
from trainer_core.prepare import problems as job_problems
from trainer_core.prepare.reader import FactsReader
from trainer_core.prepare.state import State, begun
from trainer_core.problems import Problem
from trainer_core.text import nearest
from trainer_core.training import amd
from trainer_core.training import gpu as gpus
from trainer_core.training.run import Run, method_of

if TYPE_CHECKING:
    from trainer_core import policies, profiles
    from trainer_core.engines.seam import Backend
    from trainer_core.engines.status import EngineStatus
    from trainer_core.models.library import Library
    from trainer_core.training.folder import OnTrainer, RunFolder

PLAIN = "plain"
"""In the place of the id of a profile: the plain defaults, without recommended values."""
HUB_S = 5.0
"""How long a start waits at most for the answer whether the Hub can be reached."""
SHARE = "dataset.validation_share"
NO_POLICY = "none"
"""In the place of the id of a policy: no policy."""


class Workbench:
    """Holds one `State`, which each method replaces by a new one. Nothing is written before `start`."""

    def __init__(self, machine: hardware.Machine | None = None, engine: str = "", quick: bool = True) -> None:
        """`machine` replaces the facts about this machine; `quick` as for `FactsReader`, but `start` reads whole images."""
        self.is_measured = machine is None
        """Whether the machine is this one, and not a recorded one."""
        self.is_known = True
        """Whether anything is known of the machine that trains."""
        self.methods: tuple[str, ...] = ()
        """The training methods that this workbench prepares; () for all."""
        self.reader = FactsReader(quick)
        engines = registry.available(include_hidden=True)
        facts = Facts(machine or hardware.machine(places.home()))
        asked = registry.get(engine) if engine else None
        self.state = self.reader.look(begun(facts, engines, os.environ).use_engine(asked))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All Problems of the job."""
        return job_problems.problems(self.state)

    def set(self, values: Mapping[str, Any]) -> None:
        """Sets values of the user, by dotted path, and reads the files they refer to.

        Raises:
            PlanError: one of them is a training method that this workbench does not prepare.
        """
        if (method := values.get("model.method")) is not None:
            self._refuse(str(method), "This notebook does not train by", "Use")
        files = {setting.path for setting in fields.paths()}
        values = {
            path: places.unquoted(value) if path in files and isinstance(value, str) else value
            for path, value in values.items()
        }
        if SHARE in values:
            values[SHARE] = subsets.of_percent(values[SHARE])
        self.state = self.reader.read(self.state.set(values), fields.decided_by(values))

    def _refuse(self, method: str, said: str, what_to_do: str) -> None:
        made = methods.shipped().get(method)
        if self.methods and made is not None and method not in self.methods:
            raise PlanError(f"{said} {made.title}.", f"{what_to_do} {made.notebook}.")

    def reset(self, *paths: str) -> None:
        """Removes the user's values at these paths, so that profile, prefill or default apply again."""
        self.state = self.reader.read(self.state.reset(*paths), fields.decided_by(paths))

    def use_profile(self, chosen: str) -> None:
        """Uses a profile, by id or by the path of its file, which the user's values override; "" removes it.

        PLAIN removes the recommended values, too.

        Raises:
            ProfileError: there is no such profile, or the file is invalid.
        """
        if chosen == PLAIN:
            self.state = self.state.use_profile(None, None, plain=True)
            return
        profile = _profile(chosen) if chosen else None
        self.state = self.state.use_profile(profile, _policy_of(profile))

    def use_preset(self, chosen: str) -> None:
        """Uses a memory preset (by id), which overrides the profile and is overridden by the user's values; "" removes it.

        Raises:
            EaselError: there is no such preset.
        """
        self.state = self.state.use_preset(presets.get(chosen) if chosen else None)

    def use_policy(self, chosen: str) -> None:
        """Uses a policy (by id), which sets the values that depend on the number of images.

        NO_POLICY removes it; with "" Easel chooses one if there is no profile.

        Raises:
            PolicyError: there is no such policy.
        """
        from trainer_core import policies

        policy = policies.get(chosen) if chosen not in ("", NO_POLICY) else None
        self.state = self.state.use_policy(policy, chooses=not chosen)

    def use_engine(self, name: str) -> None:
        """Uses an engine (by id); "" lets Easel choose.

        Raises:
            BackendError: there is no such engine.
        """
        self.state = self.reader.read(self.state.use_engine(registry.get(name) if name else None), ("engine",))

    def auto_adjust(self) -> str:
        """Clears the user's values for the settings of the policy, and returns what was set, why, and what was cleared.

        Raises:
            PolicyError: no policy is chosen.
        """
        self.state = self.state.auto_adjust()
        return self.state.adjusted.message if self.state.adjusted else ""

    def undo_adjust(self) -> None:
        """Undoes the last auto-adjust: restores the user's values."""
        self.state = self.state.undo_adjust()

    def put_away_misfits(self) -> tuple[str, ...]:
        """Removes a profile or preset for another family than the model's, and returns a sentence about each one removed."""
        self.state, said = job_problems.without_misfits(self.state)
        return said

    def begin_from(self, run: Run) -> None:
        """Takes over the settings of a run: engine, profile, preset and policy if Easel has them, and the values that differ.

        Values that are detected from the files are not taken over.

        Raises:
            PlanError: the run trained with a method that this workbench does not prepare.
        """
        self._refuse(method_of(run), "This run is a training by", "Open it in")
        from trainer_core import policies, profiles

        versions = run.folder.versions
        if (engine := str(versions.get("engine", ""))) in {one.manifest.id for one in self.state.engines}:
            # Another one would train something else, or would not train this at all.
            self.use_engine(engine)
        profile, preset, policy = (str(versions.get(name, "")) for name in ("profile", "preset", "policy"))
        self.use_profile(profile if profile in {PLAIN, *profiles.known()} else "")
        # TOML has no null: a plan leaves an empty setting out.
        empty = {path: None for path, setting in fields.all_fields().items() if setting.optional}
        asked = {**empty, **fields.flatten(run.folder.plan)}
        # The values of a preset depend on the family, so the model is set first.
        self.set({"model.path": asked.get("model.path", "")})
        self.use_preset(preset if preset in presets.shipped() else "")
        self.use_policy(policy if policy in policies.shipped() else NO_POLICY)
        before, after = self.state.draft.values, self.state.begin_from(asked)
        changed = [path for path, value in after.draft.values.items() if value != before.get(path)]
        self.state = self.reader.read(after, fields.decided_by(changed))

    def use_library(self, found: Library) -> None:
        """Searches companion files in this library."""
        self.reader.library = found
        self.state = self.reader.read(self.state, ("library",))

    def use_machine(self, machine: hardware.Machine) -> None:
        """Updates the facts about the machine, such as its free memory."""
        self.state = self.state.with_facts(machine=machine)

    def look(self, wait_s: float = 0.0) -> None:
        """Reads again what can change from outside: the job's paths, the installed engines, and the Hub, for which it waits so long."""
        self.state = self.reader.look(self.state, wait_s)

    def start(self, folder: Path | None = None, notes: Mapping[str, str] | None = None) -> Run:
        """Starts the job as a run in its own process, which continues when this process ends.

        `notes` are more entries for the run's versions.json, such as the run that it retries.

        Raises:
            PlanError: there is a blocking Problem.
            JobError: the run folder cannot be written.
        """
        run = prepare_run(self, folder, notes=notes)
        run.launch()
        return run


def use_own_machine(bench: Workbench) -> None:
    """Has a workbench prepare a run for this machine again, after `for_trainer`."""
    bench.reader.is_elsewhere, bench.is_known, bench.is_measured = False, True, True
    bench.reader.engines_there = None
    bench.use_machine(hardware.machine(places.home()))
    bench.look()


def for_trainer(
    bench: Workbench, machine: hardware.Machine | None, engines: Mapping[str, EngineStatus] | None = None
) -> None:
    """Has a workbench prepare a run for another machine with these engines, by id; None for what is not known of it.

    Of a machine that is not known, much is assumed, and engines that are not known count as installed: the trainer checks the
    plan again.
    """
    bench.reader.is_elsewhere, bench.is_known, bench.is_measured = True, machine is not None, False
    bench.reader.engines_there = engines
    bench.use_machine(machine or hardware.ASSUMED)
    bench.look()


def prepare_run(
    bench: Workbench,
    folder: Path | None = None,
    gpu: str | None = None,
    notes: Mapping[str, str] | None = None,
    into: RunFolder | None = None,
    remote: OnTrainer | None = None,
) -> Run:
    """The job of a workbench as a run that is ready to launch or to wait in the queue, in a new folder or the empty one `into`.

    With `gpu`, its programs see only this GPU; otherwise those that the environment leaves visible. `notes` are more entries
    of its versions.json, such as "like" and "sweep". With `remote`, the engine is on another machine (`for_trainer`).

    Raises:
        PlanError: there is a blocking Problem.
        JobError: the run folder cannot be written.
    """
    # Every image is decoded now, which takes longer than the answer whether the Hub can be reached.
    bench.state = state = bench.reader.read_images(bench.reader.look(bench.state, HUB_S), quick=False)
    backend = _ready_backend(state)
    plan, dataset, machine = job_problems.plan(state, backend), state.facts.dataset, state.facts.machine
    assert dataset is not None  # dataset_is_usable blocks a plan without one
    return Run.prepare(
        plan,
        backend,
        dataset,
        machine=machine if bench.is_known else None,
        folder=folder or places.runs(),
        chosen={
            "profile": state.profile.id if state.profile else PLAIN if state.plain else "",
            "preset": state.preset.id if state.preset else "",
            "policy": state.policy.id if state.policy else "",
            **({} if remote else {"gpu": gpus.usual(machine) if gpu is None else gpu}),
            **(notes or {}),
        },
        environment={
            **({} if remote else amd.variables(machine)),
            **(gpus.visible_only(gpu, machine.accelerator.kind) if gpu is not None else {}),
        },
        into=into,
        remote=remote,
    )


def setting_rows(draft: Draft) -> dict[str, dict[str, Any]]:
    """Every value with its source: {path: {"value", "source"}}."""
    values = draft.values
    paths = [*fields.all_fields(), *(path for path in values if path not in fields.all_fields())]
    return {path: {"value": values[path], "source": draft.source_of(path).name} for path in paths}


def _ready_backend(state: State) -> Backend:
    backend = state.backend
    stopping = [problem for problem in job_problems.engine_problems(state) if problem.severity == "error"]
    if backend is None or stopping:
        sentence = stopping[0].message if stopping else f"No engine trains {state.family or 'an unknown model'}."
        hint = stopping[0].fix.label if stopping and stopping[0].fix else ""
        raise PlanError(sentence, hint, stopping or job_problems.problems(state))
    return backend


def _policy_of(profile: profiles.Profile | None) -> policies.Policy | None:
    """The policy that a profile names; None if it names none, or one that Easel does not have."""
    if profile is None or not profile.policy:
        return None
    from trainer_core import policies

    return policies.shipped().get(profile.policy)


def _profile(chosen: str) -> profiles.Profile:
    """The known profile with this id, or the one in this file."""
    from trainer_core import profiles

    if Path(chosen).suffix == ".toml":
        return profiles.load(places.typed(chosen))
    known = profiles.known()
    if chosen not in known:
        near = nearest(chosen, known)
        all_of_them = "`easel profiles list` lists all."
        said = f"Did you mean {near}? {all_of_them}" if near else all_of_them
        raise wrong_use(ProfileError(f"There is no profile called {chosen!r:.80}.", said))
    return known[chosen]
