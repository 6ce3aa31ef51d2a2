"""What an engine trains, and what its installation takes: sentences for somebody who decides whether to install it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.hardware import free_disk_bytes

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

GIB = 1024**3
DURATION = "It takes about a minute on a fast connection, and longer where a few GB take longer to download."
"""Source: docs/records/2026-11-20-fresh-machine.md and 2026-11-28-quick-start.md, on the demo: 57 to 198 s."""


def takes(manifest: BackendManifest) -> tuple[str, bool]:
    """What the installation of an engine takes, as sentences; and whether there is enough space on the disk."""
    if not manifest.environment:
        return f"{manifest.title} needs no installation.", True
    needed, free = manifest.environment[0].disk_gib * GIB, free_disk_bytes(places.engines())
    space = f"It needs up to {needed / 1e9:.0f} GB in {places.engines()}, where {free / 1e9:.0f} GB are free."
    return f"{space} {DURATION}", needed <= free


def trains(manifest: BackendManifest) -> str:
    """What an engine trains, as a sentence: how many families, and by which methods."""
    from trainer_core.catalog import methods

    known = methods.shipped()
    by = [one.title for one in known.values() if any(one.id in claim.methods for claim in manifest.families.values())]
    many = len(manifest.families)
    families = "1 family of models" if many == 1 else f"{many} families of models"
    return f"{manifest.title} trains {families}: {', '.join(by)}."
