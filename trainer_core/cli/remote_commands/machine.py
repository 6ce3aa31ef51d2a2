"""`easel remote machine`: machines that ssh reaches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.remote.machines.check import Report

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("machine")
def command() -> None:
    """Look at machines that ssh reaches.

    NAME is user@host, user@host:port, or a name of your ssh configuration. Your key is taken from there or from the ssh agent.
    """


@command.command()
@click.argument("name")
@click.option("--easel", default="easel", show_default=True, metavar="FOLDER", help="Where Easel is on the machine.")
@click.option("--identity", type=_FILE, metavar="FILE", help="Use this private key.")
@click.option("--ssh-config", type=_FILE, metavar="FILE", help="Use this ssh configuration instead of yours.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def check(name: str, easel: str, identity: Path | None, ssh_config: Path | None, as_json: bool) -> None:
    """Show what the machine has, and what it lacks for jobs of Easel. Nothing is changed there.

    The exit code is 1 if jobs cannot be started there.
    """
    from trainer_core.jobs.hosts.machine import Machine
    from trainer_core.remote.machines import check as checking

    report = checking.check(Machine.named(name, easel, identity=identity, config=ssh_config))
    if as_json:
        show.as_json(report.as_dict())
    else:
        _show(report)
    if not report.is_ready:
        sys.exit(1)


def _show(report: Report) -> None:
    from trainer_core.text import size

    gpus = ", ".join(f"{gpu.name} ({size(gpu.vram_bytes)}, {size(gpu.free_vram_bytes)} free)" for gpu in report.gpus)
    rows = [
        ("System", f"{report.system}, {report.cpus} CPUs, {size(report.ram_bytes)} of RAM"),
        ("GPU", gpus or "none found"),
        ("Driver", report.driver or "none found"),
        ("Free disk space", size(report.disk_bytes)),
        ("Python", report.python or "none that is new enough"),
        ("Easel", f"{report.easel} in {report.folder}" if report.easel else f"none in {report.folder}"),
    ]
    show.line(report.address)
    show.table(("what", "found"), rows)
    for sentence in report.missing:
        show.line(f"Missing: {sentence}")
    for sentence in report.notes:
        show.line(f"Note: {sentence}")
    if report.is_ready:
        show.line("Jobs can be started there.")
