"""`easel backends`: the engines."""

from __future__ import annotations

import dataclasses

import click

from trainer_core import catalog, hardware, places
from trainer_core.cli import audit, engines_compared, packages_shown, show
from trainer_core.cli.options import JSON_HELP
from trainer_core.engines import registry
from trainer_core.install import environments

ABSENT = {True: "no", False: "runs in Easel's own environment"}
"""What the list shows for an engine without an environment, by whether it needs one."""


@click.group()
def backends() -> None:
    """List, install and check training engines."""


backends.add_command(audit.audit)
backends.add_command(packages_shown.packages)
backends.add_command(engines_compared.compare)


@backends.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_backends(as_json: bool) -> None:
    """List the engines and what they train."""
    rows = []
    for backend in registry.available():
        manifest, found = backend.manifest, environments.installed(backend.manifest.id)
        rows.append(
            {
                "id": manifest.id,
                "title": manifest.title,
                "licence": manifest.licence,
                "families": sorted(manifest.families),
                "refused": dict(manifest.refused),
                "needs_installation": manifest.needs_installation,
                "installed": found.version if found else None,
                "folder": str(environments.engine_home(manifest.id)),
            }
        )
    if as_json:
        show.as_json(rows)
        return
    show.table(
        ("id", "title", "trains", "licence", "installed"),
        (
            (
                r["id"],
                r["title"],
                ", ".join(r["families"]),
                r["licence"],
                r["installed"] or ABSENT[r["needs_installation"]],
            )
            for r in rows
        ),
    )
    for row in rows:
        for family, reason in row["refused"].items():
            show.line(f"{row['id']} does not train {family}: {reason}", "dim")
    for name, error in registry.broken().items():
        show.line(f"{name} cannot be used: {error}", "red")


@backends.command()
@click.argument("name")
@click.option(
    "--accelerator",
    type=click.Choice(["auto", *hardware.KINDS]),
    default="auto",
    show_default=True,
    help="The type of device to install for.",
)
@click.option("--source", default=None, help="A folder or git URL to get the engine's source code from.")
@click.option("--detach", is_flag=True, help="Return at once; `easel jobs follow` shows the installation.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def install(name: str, accelerator: str, source: str | None, detach: bool, as_json: bool) -> None:
    """Install an engine in its own environment.

    With --detach, the installation runs as a job and continues when this terminal is closed.
    """
    if detach:
        from trainer_core.install import job

        found, is_new = job.start(name, accelerator, _absolute(source))
        if as_json:
            show.as_json({"job": found.name, "folder": found.folder.path, "started": is_new})
            return
        show.line(f"{'Started' if is_new else 'Already running'}: {found.name} in {found.folder.path}")
        show.line(f"`easel jobs follow {found.name}` shows it, `easel jobs stop {found.name}` stops it.")
        return
    report = show.notice if as_json else show.line
    done = environments.install(name, accelerator=accelerator, source=source, report=report)
    if as_json:
        show.as_json({**dataclasses.asdict(done), "folder": done.home})


def _absolute(source: str | None) -> str | None:
    """A source with a folder or file made absolute, because a job runs in another folder."""
    if source is None or not places.is_there(places.typed(source)):
        return source
    return str(places.typed(source).absolute())


@backends.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def verify(name: str, as_json: bool) -> None:
    """Check that an engine's environment works."""
    found = environments.verify(name, report=show.notice if as_json else show.line)
    if as_json:
        show.as_json({"engine": name, "works": True, **found})


@backends.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def rollback(name: str, as_json: bool) -> None:
    """Go back to an engine from before its update.

    It is checked again. The one that you leave is kept in its place, so that the same command goes back to it.
    """
    found = environments.rollback(name, report=show.notice if as_json else show.line)
    if as_json:
        show.as_json({**dataclasses.asdict(found), "folder": found.home})


@backends.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def trial(name: str, as_json: bool) -> None:
    """Try every optimizer of an engine on this machine.

    An installation does this too; the demo skips it.
    Each optimizer makes real steps on the real device, in the engine's environment. Optional parts are tried too.
    """
    found = environments.trial(name, report=show.notice if as_json else show.line)
    if as_json:
        show.as_json(found)
        return
    known = catalog.optimizers()
    show.table(
        ("optimizer", "works", "state bytes", "catalogue", "seconds", "reason"),
        (
            (
                optimizer,
                "yes" if record["ok"] else "no",
                record.get("state_bytes_per_parameter", ""),
                known[optimizer].state_bytes if optimizer in known else "",
                record.get("seconds", ""),
                record["reason"],
            )
            for optimizer, record in found.get("optimizers", {}).items()
        ),
    )
    show.line(
        "State bytes are per trained parameter: measured with a weight of 256 x 256, and in Easel's catalogue.", "dim"
    )
    show.table(
        ("part", "works", "version", "reason"),
        (
            (part, "yes" if record["ok"] else "no", record.get("version", ""), record["reason"])
            for part, record in found.get("parts", {}).items()
        ),
    )
