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
    servers = case.probe.fact("jupyter", lambda: [(jupyter.advice(each), each.lacks()) for each in jupyter.servers()])
    for number, (advice, lacking) in enumerate(servers):
        state = "notice" if lacking else "good"
        said = printable(without_secrets(advice), 1000)
        yield Finding(f"jupyter.{number}", "Jupyter server", state, said if said.endswith(".") else f"{said}.")
    if not servers:
        fix = f"To start one: {'python installer.py lab' if places.in_checkout() else 'easel lab'}"
        yield Finding(
            "jupyter", "Jupyter server", "good", "None runs here.", "The command line works without one.", fix
        )
