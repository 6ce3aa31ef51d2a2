"""What the commands for runs on other machines share: to start one, to go on with one, and to follow it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.runs import follow_run, run_result

if TYPE_CHECKING:
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.training.run import Run

NOT_THERE = {"gpu": "--gpu", "queued": "--queue", "sweeps": "--sweep"}
"""The options of `easel train` that only make sense on this machine."""


def start(
    bench: Workbench, options: Mapping[str, Any], notes: Mapping[str, str], *, detach: bool, as_json: bool
) -> None:
    """Starts the job of a workbench on the machine that `--on` names, and follows it.

    Raises:
        PlanError: a Problem blocks the start.
        JobError: there is no such trainer, or it cannot train.
    """
    from trainer_core.remote.runs import starting, target

    if wrong := [option for name, option in NOT_THERE.items() if options[name]]:
        raise click.UsageError(f"{wrong[0]} is for this machine; leave it out, or leave out --on.")
    at = {**target.named(options["where"]), **({"sends_models": True} if options["send_models"] else {})}
    run = starting.start(bench, at, notes=notes)
    if not as_json:
        _say_what_is_sent(bench, run)
    shown(run, detach=detach, as_json=as_json)


def resume(run: Run, step: int | None, added: int, *, queued: bool, dry_run: bool, detach: bool, as_json: bool) -> None:
    """Goes on with a remote run where its states are, and follows it.

    Raises:
        JobError: it cannot go on.
    """
    from trainer_core.remote.runs import starting

    if step is not None or queued:
        raise click.UsageError(f"A run on {run.folder.where} goes on from its newest state, and at once.")
    if dry_run:
        sentence = f"{run.name} goes on from its newest state, which is on {run.folder.where}."
        show.as_json({"run": run.name, "where": run.folder.where}) if as_json else show.line(sentence)
        return
    shown(starting.resume(run, added=added), detach=detach, as_json=as_json)


def shown(run: Run, *, detach: bool, as_json: bool) -> None:
    """Says which run this is; follows it to its end unless `detach`, and exits as `easel train` does."""
    if detach:
        facts = {"run": run.name, "folder": run.folder.path, "where": run.folder.where, "attach": _attaching(run)}
        show.as_json(facts) if as_json else _say(run)
        return
    if not as_json:
        _say(run)
    follow_run(run, quiet=as_json)
    sys.exit(run_result(run, as_json))


def _say_what_is_sent(bench: Workbench, run: Run) -> None:
    """What goes to the trainer, before it has gone: Ctrl+C and `easel runs stop` end that, too."""
    from trainer_core.prepare.problems import engine_problems
    from trainer_core.remote import outlook
    from trainer_core.remote.runs.target import Remote
    from trainer_core.remote.trainers import Trainer

    trainer = Trainer(f"{Remote.of(run.folder.path).target['kind']}:", run.folder.where, "")
    for what, sentence in outlook.look(bench.state, trainer).told:
        if what in ("Images", "Model", "Keys"):
            show.line(f"{what}: {sentence}")
    # One that stops the start has stopped it; what remains is installed there now.
    show.problems(engine_problems(bench.state))


def _say(run: Run) -> None:
    show.line(f"Run {run.name} on {run.folder.where}, followed in {run.folder.path}")
    show.line(f"On another computer: {_attaching(run)}")


def _attaching(run: Run) -> str:
    from trainer_core.remote.runs.target import Remote

    return Remote.of(run.folder.path).attaching
