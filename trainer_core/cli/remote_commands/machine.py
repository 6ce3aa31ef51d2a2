"""`easel remote machine`: machines that ssh reaches."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.remote.machines.book import Entry
    from trainer_core.remote.machines.check import Report

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("machine")
def command() -> None:
    """Look at machines that ssh reaches, and install there.

    NAME is user@host, user@host:port, a name of your ssh configuration, or one that you gave with `save`. Your key is taken from
    the ssh configuration or from the ssh agent.
    """


def reached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a machine is reached."""
    for option in (
        click.option("--ssh-config", type=_FILE, metavar="FILE", help="Use this ssh configuration instead of yours."),
        click.option("--identity", type=_FILE, metavar="FILE", help="Use this private key."),
        click.option("--easel", metavar="FOLDER", help="Where Easel is on the machine. Default: easel"),
    ):
        function = option(function)
    return function


def _entry(name: str, easel: str | None, identity: Path | None, ssh_config: Path | None) -> Entry:
    """The machine, by its name in the list or its address; what the options say counts more than the list."""
    from trainer_core.remote.machines import book

    said = {
        "easel": easel,
        "identity": identity and str(identity.absolute()),
        "config": ssh_config and str(ssh_config.absolute()),
    }
    return dataclasses.replace(book.find(name), **{key: value for key, value in said.items() if value})


@command.command()
@click.argument("name")
@reached
@click.option("--engine", multiple=True, metavar="ENGINE", help="Install this engine there, too; can be repeated.")
@click.option(
    "--source",
    multiple=True,
    metavar="ENGINE=FOLDER_OR_URL",
    help="Where to get the source code of an engine. A folder of this machine is sent there.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def install(
    name: str,
    easel: str | None,
    identity: Path | None,
    ssh_config: Path | None,
    engine: tuple[str, ...],
    source: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Bring this Easel onto a machine with its installer, and engines.

    The machine needs Python 3.8 or newer, or uv, and reaches the package registry itself; it needs no git. If this is cut, the same
    command goes on.
    """
    from trainer_core.cli.asking import agreed
    from trainer_core.remote.machines import engine_there, installing

    machine = _entry(name, easel, identity, ssh_config).machine
    sources = _sources(source, engine)
    engines = f" and the engine {', '.join(engine)}" if engine else ""
    if not yes and not agreed(f"Install Easel{engines} in {machine.easel} on {machine}?", as_json):
        sys.exit(1)
    say = show.notice if as_json else show.line
    installing.install(machine, say)
    for each in engine:
        engine_there.install(machine, each, say, source=sources.get(each, ""))
    if as_json:
        show.as_json({"machine": str(machine), "easel": machine.easel, "engines": list(engine)})
        return
    if not engine:
        show.line(f"Next, an engine: easel remote machine install {name} --engine ENGINE")
    show.line(f"To train there: easel train --on {name} ...")


def _sources(texts: tuple[str, ...], engines: tuple[str, ...]) -> dict[str, str]:
    """The sources by engine, each of which is installed now."""
    from trainer_core.remote.machines import engine_sources

    found = {}
    for text in texts:
        engine, _, where = text.partition("=")
        if not where or engine not in engines:
            named = " or ".join(engines) or "the engine that you name with --engine"
            raise click.UsageError(f"--source takes ENGINE=FOLDER_OR_URL, with {named} as ENGINE.")
        engine_sources.check(engine, where)
        found[engine] = where
    return found


@command.command()
@click.argument("name")
@click.argument("address")
@reached
@click.option(
    "--install",
    "may_install",
    is_flag=True,
    help="Install Easel and engines that are missing there when a run needs them.",
)
@click.option(
    "--when-done",
    metavar="COMMAND",
    help="What the machine runs, without a shell, when the results of a run are fetched, as 'runpodctl stop pod $RUNPOD_POD_ID'.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def save(
    name: str,
    address: str,
    easel: str | None,
    identity: Path | None,
    ssh_config: Path | None,
    may_install: bool,
    when_done: str | None,
    as_json: bool,
) -> None:
    """Give a machine a name, with what is needed to reach it. One with this name is replaced."""
    from trainer_core.jobs.hosts.machine import EASEL
    from trainer_core.remote.machines import book

    words = book.words(when_done) if when_done is not None else ()
    key, config = (str(path.absolute()) if path else "" for path in (identity, ssh_config))
    entry, before = book.Entry(name, address, easel or EASEL, key, config, may_install, words), book.read().get(name)
    book.keep(entry)
    if as_json:
        show.as_json(entry.as_dict())
        return
    if before is not None and before != entry:
        show.line(f"Replaced: {name} was {before.address}, with Easel in {before.easel}.")
    show.line(f"{name} is {address}. Use it with: easel train --on ssh:{name} ...")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_machines(as_json: bool) -> None:
    """List the machines that have a name."""
    from trainer_core.remote.machines import book

    known = list(book.read().values())
    if as_json:
        show.as_json([entry.as_dict() for entry in known])
        return
    rows = (
        (each.name, each.address, each.easel, "yes" if each.may_install else "no", " ".join(each.when_done))
        for each in known
    )
    show.table(("name", "address", "Easel in", "may install", "when done"), rows)


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def forget(name: str, as_json: bool) -> None:
    """Remove a name. Nothing is changed on the machine."""
    from trainer_core.remote.machines import book

    book.forget(name)
    if as_json:
        show.as_json({"removed": name})
        return
    show.line(f"{name} was removed from the list.")


@command.command()
@click.argument("name")
@reached
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def check(name: str, easel: str | None, identity: Path | None, ssh_config: Path | None, as_json: bool) -> None:
    """Show what the machine has, and what it lacks for jobs of Easel. Nothing is changed there.

    The exit code is 1 if jobs cannot be started there.
    """
    from trainer_core.remote.machines import check as checking

    report = checking.check(_entry(name, easel, identity, ssh_config).machine)
    if as_json:
        show.as_json(report.as_dict())
    else:
        _show(report)
    if not report.is_ready:
        sys.exit(1)


def _show(report: Report) -> None:
    from trainer_core.text import size

    gpus = ", ".join(
        f"{gpu.name} ({size(gpu.vram_bytes)}, {size(gpu.free_vram_bytes)} free)" if gpu.vram_bytes else gpu.name
        for gpu in report.gpus
    )
    rows = [
        ("System", f"{report.system}, {report.cpus} CPUs, {size(report.ram_bytes)} of RAM"),
        ("GPU", gpus or "none found"),
        ("Driver", report.driver or ("version not known" if report.gpus else "none found")),
        ("Free disk space", size(report.disk_bytes)),
        ("Python", report.python or "none that is new enough"),
        ("Easel", f"{report.easel} in {report.folder}" if report.easel else f"none in {report.folder}"),
    ]
    show.line(report.address)
    show.table(("what", "found"), rows)
    _show_engines(report)
    for sentence in report.missing:
        show.line(f"Missing: {sentence}")
    for sentence in report.notes:
        show.line(f"Note: {sentence}")
    if report.is_ready:
        show.line("Jobs can be started there.")


def _show_engines(report: Report) -> None:
    """The engines there; what is not known of one says so."""
    if report.engines is None:
        if report.easel:
            show.line("Engines: not known, because the Easel there does not say them.")
        return
    from trainer_core.remote.machines.engine_list import UNKNOWN

    heads = ("engine", "title", "installed", "torch", "installed for")
    rows = [
        (one.id, one.title, one.version or "yes", one.torch or UNKNOWN, one.device or UNKNOWN)
        if one.is_installed
        else (one.id, one.title, "no", "", "")
        for one in report.engines
    ]
    show.table(heads, rows)
