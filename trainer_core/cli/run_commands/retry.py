"""`easel runs retry`: starts a run again, with a change that its diagnosis offers."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, Whole


@click.command("retry")
@click.argument("name")
@click.option("--fix", "number", type=Whole(), help="The number of a fix that `easel diagnose` lists.")
@click.option("--queue", "queued", is_flag=True, help="Put it into the queue, and do not start it now.")
@click.option("--detach", is_flag=True, help="Return at once; `easel runs follow` shows the run.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, number: int | None, queued: bool, detach: bool, as_json: bool) -> None:
    """Start a run again, unchanged or with a fix.

    The earlier run and its files stay as they are. The new run's versions.json names it. The exit code is 3 when a problem
    blocks the start, 1 when the run did not complete.
    """
    from trainer_core.cli import queueing
    from trainer_core.cli.runs import find_run, follow_run, run_result
    from trainer_core.prepare import mending
    from trainer_core.prepare.queued import gpu_like, use_gpu
    from trainer_core.prepare.workbench import prepare_run
    from trainer_core.remote.runs import starting

    earlier = find_run(name)
    fix = None
    if number is not None:
        known = mending.fixes_for(earlier)
        if number > len(known):
            said = f"`easel diagnose {earlier.name}` lists {len(known) or 'none'}."
            raise click.BadParameter(f"There is no fix {number}. {said}", param_hint="--fix")
        fix = known[number - 1]
    bench, notes = mending.bench_again(earlier, fix), {mending.RETRIES: earlier.name}
    if queued and earlier.folder.where:
        raise click.UsageError(f"{earlier.name} trained on {earlier.folder.where}; the queue is for this machine.")
    if queued:
        gpu = gpu_like(earlier, bench.state.facts.machine)
        queueing.queued([prepare_run(bench, gpu=use_gpu(bench, gpu), notes=notes)], as_json)
        return
    run = starting.like(earlier, bench, notes)
    if as_json and detach:
        show.as_json({"run": run.name, "folder": run.folder.path, mending.RETRIES: earlier.name})
        return
    if not as_json:
        changed = f" with: {fix.title}" if fix else ""
        where = f" on {run.folder.where}" if run.folder.where else ""
        show.line(f"Run {run.name} repeats {earlier.name}{where}{changed}.")
    if not detach:
        follow_run(run, quiet=as_json)
        sys.exit(run_result(run, as_json))
