"""The tool that adds several LoRAs into one file, and the kind of job that runs it: exactly, or with a smaller rank.

`python -m trainer_core.tools.lora_merge` is the program of such a job: see `making`.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.jobs.job import Job
from trainer_core.models.header.tensors import shown
from trainer_core.tools import lora_files, making, weights_job
from trainer_core.tools.lora_files import Made
from trainer_core.tools.outlook import Outlook
from trainer_core.training.metadata import keys
from trainer_core.weights.lora import blocks, grouping, headers
from trainer_core.weights.lora.grouping import Group
from trainer_core.weights.lora.ranks import FIXED, METHODS, Rule
from trainer_core.weights.networks.modules import Network

KIND, TITLE = "lora-merge", "Merging LoRAs"
EXACT = "exact"
MOST_STRENGTH = 100.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a merge.

    The result is the sum of the changes of `files`, each multiplied by its strength (() for 1) and by the weights of `blocks` (one
    mapping a file, by block or group of blocks). `method` is "exact" (the ranks add up), or one of `weights.lora.ranks.METHODS`
    with its `value`, the largest `rank` and that of layers with a kernel. `naming` is that of the first file if it is "". `dtype` is "same" as the
    first file, "fp32", "fp16" or "bf16".
    """

    files: tuple[str, ...]
    strengths: tuple[float, ...] = ()
    blocks: tuple[Mapping[str, float], ...] = ()
    method: str = EXACT
    value: float = 0.0
    rank: int = 0
    conv_rank: int = 0
    naming: str = ""
    dtype: str = "same"
    family: str = ""
    target: str = ""


def outlook(settings: Settings) -> Outlook:
    """What a merge would make.

    Raises:
        HeaderError, WeightsError: a file cannot be read, or the files cannot be merged in this way.
    """
    networks = lora_files.listed(settings.files, settings.family)
    planned = groups(networks, settings)
    strengths = settings.strengths or (1.0,) * len(networks)
    used = [network for network, strength in zip(networks, strengths, strict=True) if strength]
    left = [
        f"{shown(network.header.path)} has strength 0 and is left out."
        for network, strength in zip(networks, strengths, strict=True)
        if not strength
    ]
    doubt = making.twice({f"LoRA {number}": each.header.path for number, each in enumerate(networks, 1)})
    notes = [*filter(None, (doubt,)), *left, *lora_files.notes_of(planned, used, drops=True)]
    found = lora_files.outlook(planned, rule(settings), weights_job.target(settings, "merged"), notes=notes)
    return dataclasses.replace(found, doubt=doubt)


def start(settings: Settings) -> Job:
    """The job that merges files, started now.

    Raises:
        HeaderError, WeightsError: as `outlook`.
        JobError: the job cannot be started.
    """
    return weights_job.started(KIND, __name__, settings, outlook(settings).target)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Merges the files and returns the path of the new one.

    Raises:
        HeaderError, WeightsError: as `outlook`, or numbers are not finite, or the disk is too full.
        OSError: a file cannot be read or written.
    """
    return made(settings, report).path


def made(settings: Settings, report: Callable[[str], None]) -> Made:
    """As `run`, with the rank and the error of each layer."""
    report("Reading")
    planned = outlook(settings)
    with lora_files.opened(settings.files, settings.family) as inputs:
        parts = groups(inputs.networks, settings)
        layers = lora_files.compute(parts, rule(settings), report)
        metadata = _metadata(settings, inputs.networks, parts, layers, planned.target)
        lora_files.write(planned.target, layers, metadata, report, inputs.check)
    lora_files.log(layers, report)
    return Made(planned.target, tuple(lora_files.rows(layers)), (*planned.notes, *lora_files.told(layers)))


def groups(networks: list[Network], settings: Settings) -> list[Group]:
    """The layers of the sum.

    Raises:
        WeightsError: the files or the settings do not fit together.
    """
    strengths = _checked(settings)
    for network in networks:
        lora_files.check_plain(network)
    for network, weights in zip(networks, settings.blocks, strict=False):
        found = (blocks.block_of(module.key, network.family) for module in network.modules)
        blocks.check(weights, found, network.family)
    planned = grouping.groups(
        networks, strengths, settings.blocks, settings.naming, settings.dtype, is_plain=settings.method != EXACT
    )
    if not planned:
        raise WeightsError("With these strengths nothing is left of the LoRAs.", "Choose a strength other than 0.")
    _check_common(networks, planned)
    return planned


def _check_common(networks: list[Network], planned: list[Group]) -> None:
    """Raises if a file of a family that is not known shares no layer with another one: they may be for different models."""
    files = [{each.file for each in group.members} for group in planned]
    used = set().union(*files)
    shared = set().union(*(each for each in files if len(each) > 1))
    for number in sorted(used - shared):
        if len(used) > 1 and not networks[number].family:
            raise WeightsError(
                f"{shown(networks[number].header.path)} shares no layer with the other files, and Easel does not recognise its family: "
                "they may be for different models.",
                "If they are for one family, set it with --family, such as sdxl.",
            )


def rule(settings: Settings) -> Rule | None:
    """How the ranks are chosen; None for the exact sum.

    Raises:
        WeightsError: the method or its numbers are not possible.
    """
    if settings.method == EXACT:
        if settings.rank or settings.conv_rank or settings.value:
            raise wrong_use(WeightsError("An exact merge has no other rank.", f"Choose one of {', '.join(METHODS)}."))
        return None
    found = Rule(settings.method, settings.value, settings.rank, settings.conv_rank)
    found.check()
    if settings.method == FIXED and settings.value:
        raise wrong_use(WeightsError("A fixed rank has no value.", "Leave it out."))
    return found


def _checked(settings: Settings) -> tuple[float, ...]:
    """The strengths, after a check of the settings."""
    count = len(settings.files)
    if count < 2:
        raise wrong_use(WeightsError("A merge needs at least two files.", "Name another LoRA."))
    for values, what in ((settings.strengths, "strengths"), (settings.blocks, "block weights")):
        if values and len(values) != count:
            raise wrong_use(
                WeightsError(f"There are {count} files and {len(values)} {what}.", "Give one for each file.")
            )
    lora_files.check_choice(settings.dtype, settings.naming)
    strengths = settings.strengths or (1.0,) * count
    for number in (*strengths, *(each for row in settings.blocks for each in row.values())):
        check_strength(number)
    return strengths


def check_strength(number: float) -> None:
    """Checks that a strength is possible.

    Raises:
        WeightsError: it is not.
    """
    if not math.isfinite(number) or abs(number) > MOST_STRENGTH:
        raise wrong_use(
            WeightsError(f"The strength {number:g} is not possible.", f"Use -{MOST_STRENGTH:g} to {MOST_STRENGTH:g}.")
        )


def _metadata(
    settings: Settings, networks: list[Network], parts: list[Group], layers: list[Any], path: Path
) -> dict[str, str]:
    metadatas = [network.header.metadata for network in networks]
    first = headers.merged(metadatas, keys.KEYS, path.stem)
    described = headers.described(first, lora_files.sizes(parts, layers), is_plain=True)
    return described | weights_job.recipe_of(KIND, settings, path)


kind = making.WeightsTool(KIND, TITLE, Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, lambda settings, report: made(settings, report).as_dict()))
