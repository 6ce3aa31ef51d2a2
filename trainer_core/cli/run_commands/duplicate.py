"""`easel runs duplicate`: a new run like an earlier one, with changes."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("duplicate")
@click.argument("run")
@click.option(
    "--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change a setting, as for `easel train`."
)
@click.option("--queue", "queued", is_flag=True, help="Put it into the queue, and do not start it now.")
@click.option("--gpu", default="", metavar="GPU", help="The number or unique id of the GPU to use.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, assignments: tuple[str, ...], queued: bool, gpu: str, as_json: bool) -> None:
    """Start a new run like RUN, with changes.

    Its plan is checked again. The same as `easel train --like RUN --detach`. The exit code is 3 when a problem blocks the start.
    """
    from trainer_core.cli import queueing
    from trainer_core.cli.job import assign
    from trainer_core.cli.runs import find_run

    found = find_run(run)
    bench = queueing.bench_like(found)
    assign(bench, assignments)
    wanted = queueing.Wanted(gpu=gpu, like=found.name)
    if found.folder.where:
        from trainer_core.cli import remote_runs
        from trainer_core.remote.runs import starting

        if queued or gpu:
            raise click.UsageError(
                f"{found.name} trained on {found.folder.where}; --queue and --gpu are for this machine."
            )
        remote_runs.shown(starting.like(found, bench, wanted.notes), detach=True, as_json=as_json)
        return
    if queued:
        queueing.queue(bench, wanted, as_json)
    else:
        queueing.start(bench, wanted, as_json)
