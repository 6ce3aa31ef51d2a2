"""What is in the header of a result: all entries, and the few lines that a person reads first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainer_core.errors import HeaderError
from trainer_core.models import header
from trainer_core.models.families import load_families
from trainer_core.text import printable
from trainer_core.training import acceptance, choice
from trainer_core.training.handing_over import finished_file
from trainer_core.training.metadata import keys, result_keys

if TYPE_CHECKING:
    from trainer_core.training.results import Made
    from trainer_core.training.run import Run

HASH_CHARACTERS = 10


def entries(run: Run, one: Made) -> dict[str, str]:
    """The metadata of a result as it is delivered; of one that was not delivered yet, without the hash of its tensors.

    A whole model has that of the engine.

    Raises:
        HeaderError: the file cannot be read.
        RunError: the plan of the run is damaged.
    """
    plan = run.folder.plan
    finished = finished_file(run, one)
    found = header.read_file(finished or one.saved.path).metadata
    if finished is not None or acceptance.kind_of(plan) == "checkpoint":
        return dict(found)
    origin = result_keys.of_run(plan, run.folder.versions)
    return result_keys.for_result(origin, found, one.step, choice.stem_of(run.folder))


def lines(run: Run, one: Made) -> list[tuple[str, str]]:
    """The few lines that a person reads first, as (name, text); what is not known is left out.

    Raises:
        RunError: the plan of the run is damaged.
    """
    plan = run.folder.plan
    try:
        told: Mapping[str, str] = entries(run, one)
    except (HeaderError, OSError):
        told = {}
    model, network, versions = plan.get("model", {}), plan.get("network", {}), run.folder.versions
    family = load_families().get(str(model.get("family") or ""))
    base = told.get(keys.BASE) or ""
    is_network = acceptance.kind_of(plan) == "network"
    noun, alpha = acceptance.noun(plan), network.get("alpha")
    shown = f"{alpha:g}" if isinstance(alpha, int | float) else alpha
    kind = f"{noun if noun == 'LoRA' else network.get('algorithm')}, rank {network.get('rank')}, alpha {shown}"
    total, side = plan.get("schedule", {}).get("steps"), plan.get("dataset", {}).get("resolution")
    images = versions.get("images")
    hashed = told.get(result_keys.HASH, "").removeprefix("0x")
    found = [
        ("Base model", ", ".join(filter(None, (family.title if family else "", base)))),
        ("Network", kind if is_network else ""),
        ("Trained", f"{one.step:,} of {total:,} steps" if one.step and isinstance(total, int) else ""),
        ("Images", f"{images:,}{f', at {side} px' if side else ''}" if isinstance(images, int) else ""),
        ("Engine", " ".join(str(versions.get(name) or "") for name in ("engine", "engine_version")).strip()),
        ("Hash", hashed[:HASH_CHARACTERS]),
    ]
    return [(name, printable(text, 200)) for name, text in found if text]
