"""The Jupyter servers that run here, and whether they can show Easel's notebooks."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core import places
from trainer_core.doctor.case import Case
from trainer_core.doctor.finding import Finding
from trainer_core.install import jupyter
from trainer_core.text import printable, without_secrets


def jupyter_servers(case: Case) -> Iterator[Finding]:
    """One finding for each server; one if none runs."""
    servers = case.probe.fact("jupyter", _servers)
    for number, (advice, lacking, paths) in enumerate(servers):
        state = "notice" if lacking else "good"
        said = printable(without_secrets(advice), 1000)
        said = said if said.endswith(".") else f"{said}."
        yield Finding(f"jupyter.{number}", "Jupyter server", state, said, private=tuple(paths))
    if not servers:
        fix = f"To start one: {'python installer.py lab' if places.in_checkout() else 'easel lab'}"
        yield Finding(
            "jupyter", "Jupyter server", "good", "None runs here.", "The command line works without one.", fix
        )


def _servers() -> list[tuple[str, list[str], list[str]]]:
    """What is said of each server, what it lacks, and the paths in that."""
    return [
        (jupyter.advice(each), each.lacks(), [printable(path) for path in (each.root, str(each.prefix or "")) if path])
        for each in jupyter.servers()
    ]
