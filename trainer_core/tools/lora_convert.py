"""The tool that writes a LoRA in another form, and the kind of job that runs it: other names, another dtype, a plain LoRA of another network.

`python -m trainer_core.tools.lora_convert` is the program of such a job: see `making`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.jobs.job import Job
from trainer_core.models import loaders
from trainer_core.models.header import Header, TensorInfo
from trainer_core.tools import lora_files, making, weights_job
from trainer_core.tools.lora_files import Made
from trainer_core.tools.making import Meter
from trainer_core.tools.outlook import Outlook
from trainer_core.weights.dtypes import CHOICES
from trainer_core.weights.lora import grouping, headers
from trainer_core.weights.lora.grouping import Group
from trainer_core.weights.lora.ranks import FIXED, Rule
from trainer_core.weights.networks.modules import Network

if TYPE_CHECKING:
    from trainer_core.weights.lora.making import Layer

KIND, TITLE = "lora-convert", "Converting a LoRA"
PLAIN = ("lora", "norm")
"""The layouts that a plain LoRA can have."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a conversion.

    `naming` is one of `weights.lora.naming.TITLES`, "" for that of the file. `plain`: layers of another kind (LoHa, LoKr, full
    difference) become plain LoRA layers, exact or with the rank that `method`, `value`, `rank` and `conv_rank` choose, as for a
    resizing; `rank` 0 and the method "rank" mean exact. `dtype` is "same", "fp32", "fp16" or "bf16".
    """

    file: str
    naming: str = ""
    plain: bool = False
    method: str = FIXED
    value: float = 0.0
    rank: int = 0
    conv_rank: int = 0
    dtype: str = "same"
    family: str = ""
    target: str = ""


def outlook(settings: Settings) -> Outlook:
    """What a conversion would make, with what ComfyUI and diffusers would do with it, as far as Easel has a record.

    Raises:
        HeaderError, WeightsError: the file cannot be read or converted in this way.
    """
    (network,) = lora_files.listed([settings.file], settings.family)
    _check(settings, network)
    path = weights_job.target(settings, settings.naming or "converted")
    if is_cast(settings):
        return _cast_outlook(settings, network, path)
    planned = groups(network, settings)
    wanted = rule(settings)
    notes = [*lora_files.notes_of(planned, [network]), *_loading(planned, wanted, network, path)]
    return lora_files.outlook(planned, wanted, path, kept=network.unknown, notes=notes)


def start(settings: Settings) -> Job:
    """The job that converts a file, started now.

    Raises:
        HeaderError, WeightsError: as `outlook`.
        JobError: the job cannot be started.
    """
    return weights_job.started(KIND, __name__, settings, outlook(settings).target)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Converts the file and returns the path of the new one.

    Raises:
        HeaderError, WeightsError: as `outlook`, or numbers are not finite or too large.
        OSError: a file cannot be read or written.
    """
    return made(settings, report).path


def made(settings: Settings, report: Callable[[str], None]) -> Made:
    """As `run`, with the rank and the error of each layer."""
    report("Reading")
    planned = outlook(settings)
    with lora_files.opened([settings.file], settings.family) as inputs:
        (network,) = inputs.networks
        metadata: Mapping[str, str] = network.header.metadata
        if is_cast(settings):
            layers, notes = _cast(network, settings, report), planned.notes
            metadata = {key: value for key, value in metadata.items() if key not in headers.HASHED}
            every = layers
        else:
            parts = groups(network, settings)
            layers = lora_files.compute(parts, rule(settings), report)
            every = [*layers, *lora_files.unknown(network)]
            is_changed = any(each.module.layout not in PLAIN for group in parts for each in group.members)
            metadata = headers.described(metadata, lora_files.sizes(parts, layers), is_plain=is_changed)
            notes = (*planned.notes, *lora_files.told(layers))
        metadata = {**metadata, **weights_job.recipe_of(KIND, settings, planned.target)}
        lora_files.write(planned.target, every, metadata, report, inputs.check)
    lora_files.log(layers, report)
    return Made(planned.target, tuple(lora_files.rows(layers)), notes)


def is_cast(settings: Settings) -> bool:
    """Whether only the dtype changes, so that every kind of network stays what it is."""
    return not settings.naming and not settings.plain


def groups(network: Network, settings: Settings) -> list[Group]:
    """The layers of the new file.

    Raises:
        WeightsError: a change depends on the model, or a layer has no name in the naming.
    """
    lora_files.check_plain(network)
    return grouping.groups([network], (1.0,), (), settings.naming, settings.dtype, is_plain=settings.plain)


def rule(settings: Settings) -> Rule | None:
    """How the ranks are chosen; None for the exact change.

    Raises:
        WeightsError: the method or its numbers are not possible.
    """
    if settings.method == FIXED and not settings.rank and not settings.conv_rank:
        return None
    found = Rule(settings.method, settings.value, settings.rank, settings.conv_rank)
    found.check()
    return found


def _check(settings: Settings, network: Network) -> None:
    """Raises if the settings change nothing, or do not go with the network."""
    lora_files.check_choice(settings.dtype, settings.naming)
    if is_cast(settings) and settings.dtype == "same":
        raise wrong_use(WeightsError("Nothing would change.", "Choose a naming, a dtype, or a plain LoRA."))
    others = sorted({module.layout for module in network.modules if len(module.shape or ()) > 1} - set(PLAIN))
    if settings.naming and not settings.plain and others:
        raise WeightsError(
            f"The file has layers of the kind {others[0]}, which have only the names of sd-scripts.",
            "Convert it to a plain LoRA at the same time (--plain).",
        )
    if settings.plain and not others and not settings.naming and settings.dtype == "same":
        raise WeightsError("Every layer of this file is a plain LoRA already.", "Choose another naming or dtype.")
    if settings.naming and not network.family:
        raise WeightsError(
            "The file does not show the family of its base model.", "Set it with --family, such as sdxl."
        )


def _loading(planned: list[Group], wanted: Rule | None, network: Network, path: Path) -> list[str]:
    """Sentences about which programs load the new file."""
    if not network.family:
        return []
    tensors = {}
    for group in planned:
        rank = lora_files.planned_rank(group, wanted)
        if not group.is_summed:
            ones = (1,) * len(group.shape[2:])
            tensors[group.name + group.endings.up] = TensorInfo(group.dtype, (group.shape[0], rank, *ones))
            tensors[group.name + group.endings.down] = TensorInfo(group.dtype, (rank, *group.shape[1:]))
            if group.endings.has_alpha:
                tensors[f"{group.name}.alpha"] = TensorInfo("F32", ())
    if not tensors:
        return []
    answers = loaders.judge(Header(path, tensors, {}, "safetensors"), network.family)
    return [f"{answer.program}: {answer.loads}. {answer.reason}".strip() for answer in answers]


def _cast_outlook(settings: Settings, network: Network, path: Path) -> Outlook:
    tensors = network.header.tensors
    dtypes = {key: _new_dtype(key, info, settings.dtype) for key, info in tensors.items()}
    size = sum(TensorInfo(dtypes[key], info.shape).size_bytes for key, info in tensors.items())
    changed = sum(dtypes[key] != info.dtype for key, info in tensors.items())
    if not changed:
        raise WeightsError(f"The file is {settings.dtype} already.", "Choose another dtype.")
    found = Outlook(
        target=path,
        size_bytes=size,
        memory_bytes=lora_files.BASE_BYTES + size + 8 * max(info.size_bytes for info in tensors.values()),
        tensors=len(tensors),
        changed=changed,
        notes=(),
        seconds=None,
    )
    making.check_room(found)
    return found


def _new_dtype(key: str, info: TensorInfo, wanted: str) -> str:
    """The dtype of a tensor in the new file: alpha and what is no floating-point number keep theirs."""
    is_kept = info.dtype not in grouping.FLOATS or key.endswith(".alpha")
    return info.dtype if is_kept else CHOICES[wanted]


def _cast(network: Network, settings: Settings, report: Callable[[str], None]) -> list[Layer]:
    from trainer_core.weights.lora import making

    first = network.modules[0]
    weights = first.weights
    assert weights is not None, "the network was opened"
    total = sum(info.size_bytes for info in weights.tensors.values())
    meter, done, found = Meter(report, "Computed"), 0, []
    report("Computing")
    for number, (key, info) in enumerate(weights.tensors.items(), 1):
        dtype = _new_dtype(key, info, settings.dtype)
        values = (
            lora_files.stored(first, key).values
            if dtype == info.dtype
            else making.stored(key, first.tensor(key), dtype)
        )
        found.append(making.copied(key, dtype, values))
        done += info.size_bytes
        meter(number, len(weights.tensors), done, total)
    return found


kind = making.WeightsTool(KIND, TITLE, Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, lambda settings, report: made(settings, report).as_dict()))
