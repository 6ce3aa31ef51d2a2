"""`easel presets`: the memory presets, and which of them fits this machine's GPU."""

from __future__ import annotations

import dataclasses

import click

from trainer_core import hardware, places
from trainer_core.catalog import methods
from trainer_core.catalog import presets as preset_data
from trainer_core.cli import show
from trainer_core.cli.options import known_family


@click.command()
@click.argument("family", default="", callback=known_family)
@click.option(
    "--method", type=click.Choice(list(methods.shipped())), default="lora", help="With FAMILY: what is trained."
)
@click.option("--json", "as_json", is_flag=True, help="Print all values and sources as JSON.")
def presets(family: str, method: str, as_json: bool) -> None:
    """List memory presets for GPUs of different sizes.

    With FAMILY, list those for its models. `easel train` uses one with --preset.
    """
    found = preset_data.for_family(family, method) if family else list(preset_data.shipped().values())
    machine = hardware.machine(places.home())
    if as_json:
        show.as_json([{**dataclasses.asdict(preset), "fits": preset.fits(machine)} for preset in found])
        return
    best = preset_data.best(found, machine) if family else None
    show.table(
        ("id", "for", "VRAM", "title", ""),
        (
            (
                preset.id,
                ", ".join(preset.families) or "any",
                f"{preset.vram_gib:g} GB",
                preset.title,
                "best for this GPU" if preset is best else "",
            )
            for preset in found
        ),
    )
