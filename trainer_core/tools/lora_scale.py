"""The tool that multiplies the effect of a LoRA, as a whole or by block, and the kind of job that runs it.

`python -m trainer_core.tools.lora_scale` is the program of such a job: see `making`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.jobs.job import Job
from trainer_core.text import amount
from trainer_core.tools import lora_files, making, weights_job
from trainer_core.tools.lora_files import Made
from trainer_core.tools.lora_merge import check_strength
from trainer_core.tools.outlook import Outlook
from trainer_core.weights.lora import blocks, headers, proportional
from trainer_core.weights.networks.modules import Module, Network

KIND, TITLE = "lora-scale", "Scaling a LoRA"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a scaling: the strength of the whole, and weights by block or group of blocks, such as "IN04", "OUT", "text"."""

    file: str
    strength: float = 1.0
    blocks: Mapping[str, float] = field(default_factory=dict)
    family: str = ""
    target: str = ""


def outlook(settings: Settings) -> Outlook:
    """What a scaling would make.

    Raises:
        HeaderError, WeightsError: the file cannot be read or scaled in this way.
    """
    (network,) = lora_files.listed([settings.file], settings.family)
    planned = factors(network, settings)
    left = [module for module, times in planned if times]
    tensors = network.header.tensors
    size = sum(tensors[key].size_bytes for module in left for key in module.parts.values())
    kept = len(network.unknown) + sum(len(module.parts) for module in left)
    gone = len(planned) - len(left)
    found = Outlook(
        target=weights_job.target(settings, "scaled"),
        size_bytes=size,
        memory_bytes=lora_files.BASE_BYTES + 2 * size,
        tensors=kept,
        changed=sum(times != 1 for _, times in planned if times),
        notes=(f"{amount(gone, 'layer')} with the weight 0 {'is' if gone == 1 else 'are'} left out.",) if gone else (),
        seconds=None,
    )
    making.check_room(found)
    return found


def start(settings: Settings) -> Job:
    """The job that scales a file, started now.

    Raises:
        HeaderError, WeightsError: as `outlook`.
        JobError: the job cannot be started.
    """
    return weights_job.started(KIND, __name__, settings, outlook(settings).target)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Scales the file and returns the path of the new one.

    Raises:
        HeaderError, WeightsError: as `outlook`, or a number is not finite, or would be too large.
        OSError: a file cannot be read or written.
    """
    return made(settings, report).path


def made(settings: Settings, report: Callable[[str], None]) -> Made:
    """As `run`, with what happened to each layer."""
    from trainer_core.weights.lora import scaling

    report("Reading")
    planned = outlook(settings)
    with lora_files.opened([settings.file], settings.family) as inputs:
        (network,) = inputs.networks
        report("Computing")
        layers = []
        for module, times in factors(network, settings):
            tensors = {part: lora_files.stored(module, key) for part, key in module.parts.items()}
            block = blocks.block_of(module.key, network.family)
            layers.append(scaling.layer(scaling.Stored(module, tensors), block, times))
        every = [*layers, *lora_files.unknown(network)]
        lora_files.write(planned.target, every, _metadata(settings, network, planned.target), report, inputs.check)
    return Made(planned.target, tuple(lora_files.rows(layers)), planned.notes)


def factors(network: Network, settings: Settings) -> list[tuple[Module, float]]:
    """What each module's change is multiplied by.

    Raises:
        WeightsError: a number or a block is not possible, or nothing would change or be left.
    """
    for number in (settings.strength, *settings.blocks.values()):
        check_strength(number)
    named = [blocks.block_of(module.key, network.family) for module in network.modules]
    blocks.check(settings.blocks, named, network.family)
    found = [
        (module, settings.strength * blocks.factor(block, settings.blocks, network.family))
        for module, block in zip(network.modules, named, strict=True)
    ]
    if all(times == 1 for _, times in found):
        raise WeightsError("With these weights the LoRA would stay as it is.", "Choose a strength other than 1.")
    if not any(times for _, times in found):
        raise WeightsError("With these weights nothing is left of the LoRA.", "Choose a strength other than 0.")
    for module, times in found:
        proportional.check(module, times)
    return found


def _metadata(settings: Settings, network: Network, path: Path) -> dict[str, str]:
    """The metadata: alpha is that of the trainer, and no longer that of every layer."""
    kept = {key: value for key, value in network.header.metadata.items() if key not in headers.HASHED}
    alpha = kept.get("ss_network_alpha", "")
    if alpha:
        kept["ss_network_alpha"] = headers.DYNAMIC
        if not settings.blocks and settings.strength > 0:
            kept["ss_network_alpha"] = headers.multiplied(alpha, settings.strength)
    return kept | weights_job.recipe_of(KIND, settings, path)


kind = making.WeightsTool(KIND, TITLE, Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, lambda settings, report: made(settings, report).as_dict()))
