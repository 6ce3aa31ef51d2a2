"""`easel remote attach`: follow a remote run that was started on another computer."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("attach")
@click.argument("where")
@click.argument("run", default="")
@click.option("--detach", is_flag=True, help="Return at once; `easel runs follow` shows the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's folder, or its result, as JSON.")
def command(where: str, run: str, detach: bool, as_json: bool) -> None:
    """Follow a remote run on this computer, too.

    It was started on another one, or its folder here is gone. WHERE and RUN are printed when the run is started. WHERE alone can be the file remote.json of a run folder. Its result is
    delivered on this computer, too.
    """
    from trainer_core.cli import remote_runs
    from trainer_core.errors import JobError, wrong_use
    from trainer_core.remote.runs import attaching, target
    from trainer_core.remote.runs.known import read_json

    if run:
        found, wanted = target.named(where), run
    else:
        data = read_json(Path(where))
        if data is None:
            raise wrong_use(JobError(f"{where!r:.200} is no file remote.json.", "Give WHERE and the id of the RUN."))
        remote = target.Remote.from_dict(data)
        found, wanted = remote.target, remote.id
    remote_runs.shown(attaching.attach(found, wanted), detach=detach, as_json=as_json)
