"""`easel doctor`: what works on this machine, what does not, and what to do."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path

import click

from trainer_core import __version__, hardware, places
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.doctor import report
from trainer_core.doctor.case import Case
from trainer_core.doctor.examination import examine
from trainer_core.doctor.finding import Finding, prevents_training
from trainer_core.engines import registry
from trainer_core.errors import EaselError
from trainer_core.files import write_whole

STYLES = {"problem": "bold red", "notice": "yellow", "unknown": "cyan", "good": "", "heading": "bold"}
FAILED = 1


@click.command()
@click.option("--again", is_flag=True, help="Try again what was tried before, such as a step with an 8-bit optimizer.")
@click.option(
    "--report", "wants_report", is_flag=True, help="Print a report to post in an issue, without private data."
)
@click.option("--to", "target", type=click.Path(path_type=Path), help="Write that report to this new file.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@click.pass_context
def doctor(context: click.Context, again: bool, wants_report: bool, target: Path | None, as_json: bool) -> None:
    """Show what works on this machine, what does not, and what to do.

    Each engine computes something on the real device, makes steps with an 8-bit optimizer and calls its attention functions. The
    results are kept until the engine, the driver or the GPU changes. The exit code is 1 if something prevents every training.
    """
    if as_json and wants_report:
        raise click.UsageError(
            "The report is a text: use --report or --json. Only --report leaves out what is private."
        )
    case = Case(again=again, report=show.notice)
    found = examine(case)
    if target is not None:
        _write(target, found)
    if as_json:
        show.as_json(_data(case, found))
    elif wants_report:
        click.echo(report.shareable(found), nl=False)
    elif target is None:
        show.line(report.heading(), "bold")
        for line, state in report.lines(found, brief=True):
            show.line(line, STYLES[state] if not line.startswith(" ") else "dim")
    if prevents_training(found):
        context.exit(FAILED)


def _write(target: Path, found: list[Finding]) -> None:
    """Writes the report.

    Raises:
        EaselError: a file with this name exists, or it cannot be written.
    """
    path = places.typed(target)
    # A link that leads nowhere is one, too.
    if os.path.lexists(path):
        raise EaselError(f"{path} exists already.", "Choose another name.")
    try:
        write_whole(path, report.shareable(found), personal=True)
    except OSError as error:
        raise EaselError(f"{path} cannot be written: {error.strerror or error}.", "Choose another folder.") from error
    show.notice(f"The report is in {path}. Read it before you post it.")


def _data(case: Case, found: list[Finding]) -> dict[str, object]:
    installed = {engine.manifest.id: engine.installed for engine in case.engines}
    return {
        "easel": __version__,
        "python": platform.python_version(),
        "home": places.home(),
        "machine": dataclasses.asdict(hardware.machine(places.home())),
        "engines": {name: each and each.version for name, each in installed.items()},
        "broken": {name: str(error) for name, error in registry.broken().items()},
        "prevented": prevents_training(found),
        "findings": [each.as_dict() for each in found],
    }
