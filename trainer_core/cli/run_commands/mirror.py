"""`easel runs mirror`: copies what a run has made to another folder, and continues an earlier copy."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("mirror")
@click.argument("name")
@click.option("--to", "folder", default="", help="The folder. Default: the one that the plan of the run names.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, folder: str, as_json: bool) -> None:
    """Copy what a run has made to another folder.

    Checkpoints, samples, finished results and the records of the run; no saved states. What is there already is not copied
    again, and each copy is read again and compared. The run may still be running; with --mirror-to it does this by itself.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.training import mirror, mirror_end

    run = find_run(name)
    named = folder or mirror_end.wanted(run.folder.plan)
    if not named:
        raise click.UsageError("The plan of this run names no folder. Give one: --to FOLDER.")
    done = mirror.mirror(run.folder, named)
    if as_json:
        show.as_json(done.as_dict())
    else:
        show.line(f"{len(done.copied)} files were copied to {done.folder}; {done.there} were there.")
