"""The tool that gives a LoRA another rank, and the kind of job that runs it.

`python -m trainer_core.tools.lora_resize` is the program of such a job: see `making`. The new file is the nearest one of its ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.jobs.job import Job
from trainer_core.tools import lora_files, making, weights_job
from trainer_core.tools.lora_files import Made
from trainer_core.tools.outlook import Outlook
from trainer_core.weights.lora import grouping, headers
from trainer_core.weights.lora.grouping import Group
from trainer_core.weights.lora.ranks import FIXED, Rule
from trainer_core.weights.networks.modules import Network

KIND, TITLE = "lora-resize", "Resizing a LoRA"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a resizing.

    `method` is one of `weights.lora.ranks.METHODS` with its `value`. `rank` is the rank, or with another method than "rank" the
    largest one (0 for any), and `conv_rank` that of layers with a kernel (0 for the same). `dtype` is "same", "fp32", "fp16" or
    "bf16".
    """

    file: str
    method: str = FIXED
    value: float = 0.0
    rank: int = 0
    conv_rank: int = 0
    dtype: str = "same"
    family: str = ""
    target: str = ""


def outlook(settings: Settings) -> Outlook:
    """What a resizing would make.

    Raises:
        HeaderError, WeightsError: the file cannot be read or resized in this way.
    """
    networks = lora_files.listed([settings.file], settings.family)
    planned, wanted = groups(networks, settings), rule(settings)
    notes = [*lora_files.notes_of(planned, networks), *_kept(planned, wanted)]
    return lora_files.outlook(
        planned, wanted, weights_job.target(settings, "resized"), kept=networks[0].unknown, notes=notes
    )


def start(settings: Settings) -> Job:
    """The job that resizes a file, started now.

    Raises:
        HeaderError, WeightsError: as `outlook`.
        JobError: the job cannot be started.
    """
    return weights_job.started(KIND, __name__, settings, outlook(settings).target)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Resizes the file and returns the path of the new one.

    Raises:
        HeaderError, WeightsError: as `outlook`, or numbers are not finite, or the disk is too full.
        OSError: a file cannot be read or written.
    """
    return made(settings, report).path


def made(settings: Settings, report: Callable[[str], None]) -> Made:
    """As `run`, with the rank and the error of each layer."""
    report("Reading")
    planned = outlook(settings)
    with lora_files.opened([settings.file], settings.family) as inputs:
        parts = groups(inputs.networks, settings)
        layers = lora_files.compute(parts, rule(settings), report)
        metadata = headers.described(
            inputs.networks[0].header.metadata, lora_files.sizes(parts, layers), is_plain=_is_plain(parts)
        )
        metadata |= weights_job.recipe_of(KIND, settings, planned.target)
        every = [*layers, *lora_files.unknown(inputs.networks[0])]
        lora_files.write(planned.target, every, metadata, report, inputs.check)
    lora_files.log(layers, report)
    return Made(planned.target, tuple(lora_files.rows(layers)), (*planned.notes, *lora_files.told(layers)))


def groups(networks: list[Network], settings: Settings) -> list[Group]:
    """The layers of the file.

    Raises:
        WeightsError: a change depends on the model, or the dtype does not exist.
    """
    lora_files.check_choice(settings.dtype, "")
    lora_files.check_plain(networks[0])
    return grouping.groups(networks, (1.0,), (), dtype=settings.dtype, is_plain=True)


def rule(settings: Settings) -> Rule:
    """How the ranks are chosen.

    Raises:
        WeightsError: the method or its numbers are not possible.
    """
    found = Rule(settings.method, settings.value, settings.rank, settings.conv_rank)
    found.check()
    return found


def _kept(planned: list[Group], wanted: Rule) -> list[str]:
    """A sentence about layers that stay as they are."""
    if wanted.method != FIXED:
        return []
    small = [group for group in planned if not group.is_summed and group.rank <= wanted.limit(group.is_conv)]
    if len(small) == len(planned):
        raise WeightsError(
            f"No layer of this file has a rank above {wanted.most}.",
            "Choose a smaller rank: a larger one adds nothing.",
        )
    return [f"{len(small)} of {len(planned)} layers have no larger rank, and stay as they are."] if small else []


def _is_plain(parts: list[Group]) -> bool:
    return any(each.module.layout not in ("lora", "norm") for group in parts for each in group.members)


kind = making.WeightsTool(KIND, TITLE, Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, lambda settings, report: made(settings, report).as_dict()))
