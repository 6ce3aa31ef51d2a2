"""What `easel runs resume` and `easel runs extend` share: they show what will happen, ask if necessary, and start."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.errors import RunError
from trainer_core.training.proposal import PICKLES

if TYPE_CHECKING:
    from trainer_core.training.resume import Proposal

PROBLEMS = 3


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that both commands have."""
    for name, text in (
        ("--trust-state", f"Use a state that Easel did not record itself. {PICKLES}"),
        ("--yes", "Do not ask about warnings. A state that was not recorded still needs --trust-state."),
        ("--queue", "Put it into the queue, and do not start it now."),
        ("--detach", "Return at once; `easel runs follow` shows the run."),
        ("--json", "Print the result as JSON, and with --dry-run what would be done."),
        ("--dry-run", "Show what would be done, and start nothing."),
    ):
        declared = {"--json": (name, "as_json"), "--queue": (name, "queued")}.get(name, (name,))
        function = click.option(*declared, is_flag=True, help=text)(function)
    return function


def continue_run(
    name: str,
    step: int | None,
    added: int,
    *,
    trust_state: bool,
    yes: bool,
    queued: bool,
    detach: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Continues the run with this name, and exits as `easel train` does.

    A dry run exits with 3 if the state needs the user's trust.

    Raises:
        JobError: it cannot be continued.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.training import resume

    run = find_run(name)
    if run.folder.where:
        from trainer_core.cli import remote_runs

        remote_runs.resume(run, step, added, queued=queued, dry_run=dry_run, detach=detach, as_json=as_json)
        return
    found = resume.propose(run, step, added)
    if dry_run and as_json:
        show.as_json(found.as_dict())
    if not as_json:
        _show(found)
    if dry_run:
        sys.exit(PROBLEMS if found.distrust and not trust_state else 0)
    _continue(found, trust_state=trust_state, yes=yes, queued=queued, detach=detach, as_json=as_json)


def _continue(found: Proposal, *, trust_state: bool, yes: bool, queued: bool, detach: bool, as_json: bool) -> None:
    """Starts what was proposed, or puts it into the queue.

    Raises:
        RunError: the state needs the user's trust, or the user declines.
    """
    from trainer_core import hardware, places
    from trainer_core.cli import queueing
    from trainer_core.cli.runs import follow_run, run_result
    from trainer_core.prepare.queued import gpu_like
    from trainer_core.training import resume

    if found.distrust and not trust_state:
        raise RunError(f"{found.distrust} {PICKLES}", "If you know where it comes from, add --trust-state.")
    if found.warnings and not yes:
        _ask(found, as_json)
    machine = hardware.machine(places.home())
    gpu = gpu_like(found.run, machine) if queued else ""
    run = resume.start(found, trusted=trust_state, machine=machine, gpu=gpu)
    if queued:
        queueing.queued([run], as_json)
        return
    run.launch()
    if not as_json:
        show.line(f"Run {run.name} in {run.folder.path}")
    if detach:
        if as_json:
            show.as_json({"run": run.name, "folder": run.folder.path, **found.as_dict()})
        return
    follow_run(run, quiet=as_json)
    sys.exit(run_result(run, as_json))


def _show(found: Proposal) -> None:
    from trainer_core.training import proposal

    show.line(proposal.headline(found), "bold")
    for label, text in proposal.lines(found):
        if label == proposal.WARNING:
            show.line(f"  {text}", "yellow")
        else:
            show.line(f"  {text}" if label in ("learning rate", "exact") else f"  {label.capitalize()}: {text}")


def _ask(found: Proposal, as_json: bool) -> None:
    """Asks whether to continue in spite of the warnings.

    Raises:
        RunError: the user declines, or nobody can be asked.
    """
    if as_json or not sys.stdin.isatty():
        raise RunError(" ".join(found.warnings), "Add --yes to continue all the same.")
    if not click.confirm("Continue?", default=False):
        raise RunError("Nothing was started.")
