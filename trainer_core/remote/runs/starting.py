"""Starts a run whose engine is on another machine: a plan that is checked here, and a local run that follows the remote one."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from trainer_core import places
from trainer_core.child import ADDRESSES
from trainer_core.errors import EaselError, JobError, RunError
from trainer_core.jobs.spec import Step
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare import mending
from trainer_core.prepare.mending import Mended
from trainer_core.prepare.workbench import NO_POLICY, PLAIN, Workbench, for_trainer, prepare_run
from trainer_core.remote.runs import carrier, outgoing
from trainer_core.remote.runs.carrier import CarrierKind, Target
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.request import new_id, stays
from trainer_core.remote.runs.target import Remote
from trainer_core.training.folder import RESUMES, OnTrainer, RunFolder
from trainer_core.training.resume import going_on
from trainer_core.training.run import Run

FOLLOWER = "trainer_core.remote.runs.follower"
STEP = "follow"


def start(
    bench: Workbench | TrainingPlan, target: Target, *, engine: str = "", notes: Mapping[str, str] | None = None
) -> Run:
    """A run on the trainer, started: its local folder is here, and a follower that begins the remote run.

    `bench` has the job, or is a plan for `engine`. `notes` are more entries of the run's versions.json.

    Raises:
        PlanError: there is a blocking Problem.
        JobError: the trainer cannot train or is not known, or the run folder cannot be written.
    """
    run = prepared(
        bench if isinstance(bench, Workbench) else bench_of(engine, bench.model_dump(exclude_none=True)),
        target,
        notes=notes,
    )
    run.launch()
    return run


def prepared(bench: Workbench, target: Target, *, notes: Mapping[str, str] | None = None) -> Run:
    """The same, ready to launch.

    Raises:
        PlanError: there is a blocking Problem.
        JobError: as `start`.
    """
    kind = carrier.get(str(target["kind"]))
    look(bench, target)
    made = RunFolder.create(
        places.runs(), bench.state.draft.text("output.prefix") + bench.state.draft.text("output.name")
    )
    with contextlib.ExitStack() as undo:
        undo.callback(made.remove)
        Remote(new_id(made.path.name), target).write(made.path)
        run = prepare_run(bench, notes=notes, into=made, remote=on(kind, target))
        plan = TrainingPlan.model_validate(run.folder.plan)
        outgoing.write(made.path, plan, bench.state.facts.dataset)
        undo.pop_all()
    return run


def again(run: Run, fix: Mended | None = None) -> Run:
    """A new run like an earlier one, with the changes of a fix, started where the earlier one trained.

    Raises:
        RunError: the run has not ended, another run repeats it now, or its plan is damaged.
        PlanError: there is a blocking Problem.
        JobError: the trainer cannot train or is not known, or the run folder cannot be written.
    """
    return like(run, mending.bench_again(run, fix), {mending.RETRIES: run.name})


def like(run: Run, bench: Workbench, notes: Mapping[str, str] | None = None) -> Run:
    """A run with the job of a workbench, started where an earlier run trained: here, or on its trainer.

    Raises:
        PlanError: there is a blocking Problem.
        JobError: as `start`.
    """
    if not run.folder.where:
        return bench.start(notes=notes)
    return start(bench, Remote.of(run.folder.path).target, notes=notes)


def stop_there(run: Run) -> None:
    """Asks the trainer of a run that is lost here to stop it.

    Raises:
        JobError: the trainer cannot be asked, so it may still train.
    """
    remote = Remote.of(run.folder.path)
    try:
        reached = remote.carrier(run.folder.path)
        with contextlib.closing(reached):
            reached.stop("now")
    except EaselError as error:
        has_ended = Known.read(run.folder.path).phase == "ended"
        fate = "Its training had ended there." if has_ended else "It may still train there."
        told = f"{remote.where} could not be asked to stop the run. {fate} {error.message}"
        raise JobError(told, f"{error.hint} To follow it again: {remote.attaching}".strip()) from error


def look(bench: Workbench, target: Target) -> None:
    """Prepares the job of a workbench for a trainer: its Problems are then those of this trainer, as far as it is known here.

    Raises:
        JobError: the trainer cannot train, or cannot be reached.
    """
    for_trainer(bench, *carrier.look(carrier.get(str(target["kind"])), target))


def on(kind: CarrierKind, target: Target) -> OnTrainer:
    """How a run on a trainer is followed here. The values of the variables that its carrier reads are written nowhere."""
    step = Step(STEP, (sys.executable, "-P", "-m", FOLLOWER))
    return OnTrainer(step, ("PYTHONPATH", *ADDRESSES, *kind.variables), kind.shown(target))


def resume(run: Run, *, added: int = 0) -> Run:
    """A new run that goes on with a remote run from its last state, which is on the trainer; started.

    Raises:
        JobError: it is no remote run, or it cannot go on, for the reason in the sentence.
    """
    before = Remote.of(run.folder.path)
    if added:
        raise RunError(
            f"A run on {before.where} cannot be extended from here.",
            f"Extend it in the Easel there: its run is {before.id}.",
        )
    if run.is_live:
        raise RunError(f"The run {run.name} has not ended.", f"Stop it first: easel runs stop {run.name}")
    if others := going_on(run, RESUMES):
        other = others[0].name
        raise RunError(
            f"{other} continues this run already. Both would train the same steps.",
            f"Stop it first: easel runs stop {other}",
        )
    made = RunFolder.create(places.runs(), str(run.folder.plan.get("output", {}).get("name", "")))
    with contextlib.ExitStack() as undo:
        undo.callback(made.remove)
        after = dataclasses.replace(Remote(new_id(made.path.name), before.target), resumes=before.id)
        after.write(made.path)
        again = local_run(made, after, str(run.folder.spec.details.get("backend")), run.folder.plan, run.folder)
        undo.pop_all()
    again.launch()
    return again


def local_run(
    made: RunFolder, remote: Remote, engine: str, tables: Mapping[str, Any], like: RunFolder | None = None
) -> Run:
    """The local run of a remote run that needs nothing brought to it; its folder is `made`, its images stay there.

    `tables` are those of its plan; `like` is the run that it continues.

    Raises:
        JobError: this Easel does not know the engine, or the plan is not valid.
    """
    from pydantic import ValidationError

    from trainer_core.engines import registry
    from trainer_core.training.facts import facts
    from trainer_core.training.numbers import of_new
    from trainer_core.training.run import rendered
    from trainer_core.training.staged import staged

    try:
        plan = TrainingPlan.model_validate(tables)
        plan, spec, _ = rendered(plan, registry.get(engine), made.path, {})
    except ValidationError as error:
        raise RunError(
            f"The plan of the run does not fit this Easel: {error.errors()[0]['msg']}.", "Update Easel."
        ) from error
    except EaselError as error:
        raise JobError(f"The run cannot be followed here. {error.message}", error.hint) from error
    about = facts(plan, len(staged(like)) if like else 0)
    about |= of_new(made.path, about["about"])
    chosen = (
        {name: value for name, value in like.versions.items() if name in ("profile", "preset", "policy")}
        if like
        else {}
    )
    continued = {"resumes": {"run": like.path.name}} if like else {}
    versions = {**about, "engine": engine, **chosen, **continued}
    made.write_job(plan.model_dump(exclude_none=True), spec, versions, {}, remote=on(remote.kind, remote.target))
    return Run(made)


def bench_of(engine: str, tables: Mapping[str, Any]) -> Workbench:
    """A workbench with exactly the values of a plan: what it leaves out is empty, and not what Easel would set.

    Raises:
        BackendError: there is no such engine.
    """
    bench = Workbench(engine=engine, quick=False)
    bench.use_profile(PLAIN)
    bench.use_policy(NO_POLICY)
    known = fields.all_fields()
    empty = {path: None for path, setting in known.items() if setting.optional}
    values = {**empty, **fields.flatten(tables)}
    bench.set({path: value for path, value in values.items() if not stays(path)})
    return bench
