"""`easel models methods`: how a model can be trained, and what each method makes and takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.prepare.methods import Offer

MIB = 1024**2


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def methods(model: str, as_json: bool) -> None:
    """Show how a model can be trained.

    MODEL is a file or a folder. For each method: what it makes, from how many images, the size of its file, and the memory on
    this machine with the recommended values.
    """
    from trainer_core.prepare.methods import listed, offers
    from trainer_core.prepare.workbench import Workbench

    bench = Workbench()
    bench.set({"model.path": model})
    found = offers(bench.state)
    if as_json:
        show.as_json([offer.as_dict() for offer in found])
        return
    if error := bench.state.facts.detection_error:
        show.line(error, "red")
    for offer in found:
        show.line(f"{offer.method.id}: {offer.method.title}", "bold")
        show.line(f"  {offer.why_not}" if offer.why_not else f"  {offer.method.makes} From {offer.method.images}.")
        if offer.families:
            show.line(f"  Only for {listed(offer.families)}.")
        if takes := _takes(offer):
            show.line(f"  {takes}")


def _takes(offer: Offer) -> str:
    """The size of the file and the memory; "" without an estimate."""
    if offer.estimate is None:
        return ""
    least, most = offer.estimate.vram_gib
    memory = (
        f"{least:.0f} to {most:.0f} GiB of GPU memory" if most else f"{offer.estimate.ram_gib:.0f} GiB of system RAM"
    )
    return f"File: {file_size(offer.estimate.lora_mib)}. Memory: {memory}."


def file_size(size_mib: float) -> str:
    """The size of a result for people: "6.94 GB", "840 MB", "12 kB"."""
    size = size_mib * MIB
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
