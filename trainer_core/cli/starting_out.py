"""`easel setup`, `easel lab`, `easel demo`: what `python installer.py` does in a checkout, for an Easel that pip has installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from trainer_core import places
from trainer_core.child import full_environment
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.engines import manifest
from trainer_core.install import environments, jupyter, notebooks, offer
from trainer_core.install.uv import kept_settings


@click.command()
@click.option(
    "--notebooks", "folder", default=None, metavar="FOLDER", help="Where to put the notebooks.  [default: ~/Easel]"
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def setup(folder: str | None, as_json: bool) -> None:
    """Register the Jupyter kernel, bring the notebooks.

    Afterwards it names the engines that can be installed. In a checkout, `python installer.py` does this and makes `.venv`.
    """
    brought, is_new = _set_up(places.typed(folder) if folder else None)
    engines = [_engine(table) for table in manifest.shipped()]
    if as_json:
        show.as_json(
            {
                "home": places.home(),
                "notebooks": brought.folder,
                "copied": brought.copied,
                "changed": brought.changed,
                "kernel_is_new": is_new,
                "engines": engines,
            }
        )
        return
    show.line(
        'The Jupyter kernel "Easel" is registered.' if is_new else 'The Jupyter kernel "Easel" was registered already.'
    )
    show.line(f"Notebooks: {brought.folder}" + (f" ({len(brought.copied)} copied)" if brought.copied else ""))
    for name in brought.changed:
        show.line(
            f"You have changed {name}, so it stays as it is. To get this Easel's: rename yours, and run this again."
        )
    show.line(f"Models, datasets, runs and results: {places.home()}")
    for engine in engines:
        if engine["installed"]:
            show.line(f"{engine['title']} {engine['installed']} is installed.")
        else:
            show.line(f"{engine['trains']} {engine['takes']} To install it: {engine['command']}")
    show.line(f"Next: {places.command('lab')}, or: {places.command('demo')}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def lab(options: tuple[str, ...]) -> None:
    """Open the notebooks in JupyterLab, on this machine only.

    It sets Easel up first if that was not done. Other options are passed to JupyterLab.
    """
    _set_up(None)
    root, words = notebooks.lab_command(Path(sys.executable))
    os.chdir(root)
    _become(*words, *options)


@click.command()
@click.option("--backend", default=None, metavar="ENGINE", help="The engine to train with.")
@click.option(
    "--accelerator",
    type=click.Choice(["auto", "cuda", "rocm", "xpu", "cpu"]),
    default="auto",
    show_default=True,
    help="The type of device to install the engine for.",
)
@click.option(
    "--source", multiple=True, metavar="ENGINE=FOLDER_OR_URL", help="Where to get the source code of an engine."
)
def demo(backend: str | None, accelerator: str, source: tuple[str, ...]) -> None:
    """Train a small LoRA with a real engine, from nothing."""
    words = ["--accelerator", accelerator, *(["--backend", backend] if backend else [])]
    # A program of its own: the demo uses the command line, which therefore does not import it.
    _become(
        sys.executable, "-P", "-m", "trainer_core.demo", *words, *(w for text in source for w in ("--source", text))
    )


def _set_up(folder: Path | None) -> tuple[notebooks.Brought, bool]:
    """Where the notebooks are, and whether the kernel was registered now."""
    places.home().mkdir(parents=True, exist_ok=True)
    brought = notebooks.bring(folder)
    return brought, jupyter.register(Path(sys.executable))


def _engine(table: manifest.BackendManifest) -> dict[str, Any]:
    found = environments.installed(table.id)
    return {
        "id": table.id,
        "title": table.title,
        "installed": found.version if found else None,
        "trains": offer.trains(table),
        "takes": offer.takes(table)[0],
        "command": places.engine_command("install", table.id),
    }


def _become(*words: str) -> NoReturn:
    """Replaces this process with a program; the terminal is its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    sys.stdout.flush()
    os.execve(words[0], list(words), {**full_environment(), "PATH": path, **kept_settings()})  # noqa: S606 - a list, no shell
