"""The tool that adds the changes of networks to the weights of a model, and the kind of job that runs it.

`python -m trainer_core.tools.bake` is the program of such a job: it reads `settings.json` in the current folder, and writes `made.json`
or `failure.json` there. `outlook` says from the headers what it will make, without numpy.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import WeightsError
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models import detection, header
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.tools import bake_strengths, making, recipe
from trainer_core.tools.outlook import Outlook
from trainer_core.weights import dtypes, new_names
from trainer_core.weights.networks import folders, mixing, modules
from trainer_core.weights.networks.mixing import Mix
from trainer_core.weights.networks.modules import Network
from trainer_core.weights.networks.places import Index

if TYPE_CHECKING:
    from trainer_core.weights.networks.baking import Baker
    from trainer_core.weights.reading import Weights
    from trainer_core.weights.writing import Entry

KIND = "bake"
_PROCESS_BYTES = 150 << 20
"""What the program needs without any weights: Python, numpy, the headers and small buffers."""
_MARKS = re.compile(r"[a-z_]+|edm_vpred\..*")
"""The names of tensors that mark a model, such as v_pred; they are copied whatever the dtype."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of baking networks into a model.

    `model` is a checkpoint, one part of it, or a folder in the diffusers layout, of which the result is one, too; `networks` are the networks. `strengths` are those for the denoiser and
    `text_strengths` those for the text encoders, one for each network; () means 1 for each, or the same as for the denoiser. `blocks` has
    factors by block, such as "IN04" or "OUT*", or by the beginning of the name of a layer, for all networks. `target` is the new file, "" for one next to the model.
    `family` is that of the model and the networks, if their headers do not show it. `skip`: leave out modules for which the
    model has no layer. `title` is the title in the metadata, "" for the name of the file. `sha256` are the hashes that the files
    must have, where a recipe is made again.
    """

    model: str
    networks: tuple[str, ...]
    strengths: tuple[float, ...] = ()
    text_strengths: tuple[float, ...] = ()
    blocks: Mapping[str, float] = field(default_factory=dict)
    target: str = ""
    dtype: str = "same"
    family: str = ""
    skip: bool = False
    title: str = ""
    sha256: tuple[str, ...] = ()


def outlook(settings: Settings) -> Outlook:
    """What will be made, from the headers of the model and the networks.

    Raises:
        HeaderError: a file cannot be read.
        WeightsError: a setting is wrong, a network does not fit the model, or the disk or the memory does not suffice.
    """
    model, found, mix = _mix(settings)
    target = _target(settings, model)
    making.check_target(target, [model.path, *(each.path for each in found)])
    infos = [_info(model, name, settings) for name in model.tensors]
    size = folders.size_bytes(model) if model.is_folder else sum(each.size_bytes for each in infos)
    computed = {
        name for name, info in zip(model.tensors, infos, strict=True) if info.dtype != model.tensors[name].dtype
    }
    doubt = making.twice({f"LoRA {number}": each.path for number, each in enumerate(found, 1)})
    made = Outlook(
        target=target,
        size_bytes=size,
        memory_bytes=_PROCESS_BYTES + mixing.largest_memory(model, mix),
        tensors=len(infos),
        changed=len(mix.changed | computed),
        notes=(*filter(None, (doubt,)), *_notes(mix)),
        seconds=making.seconds_for(KIND, size),
        doubt=doubt,
    )
    making.check_room(made)
    return made


def start(settings: Settings) -> Job:
    """The job that bakes, started now.

    Raises:
        HeaderError, WeightsError: as with `outlook`.
        JobError: the job cannot be started.
    """
    found = outlook(settings)
    # The program runs in the folder of its job.
    absolute = dataclasses.replace(
        settings,
        model=str(making.source(settings.model)),
        networks=tuple(str(making.source(each)) for each in settings.networks),
        target=str(found.target),
    )
    return own_program.started(KIND, __name__, absolute)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Bakes, and returns the path of the new file.

    Raises:
        HeaderError, WeightsError: as with `outlook`, a file is damaged or has changed meanwhile, or a number is too large for the dtype.
        OSError: a file cannot be read or written.
    """
    from contextlib import ExitStack

    from trainer_core.weights import writing
    from trainer_core.weights.networks.baking import Baker
    from trainer_core.weights.reading import Weights

    report("Reading the headers")
    made = outlook(settings)
    with ExitStack() as stack:
        model = stack.enter_context(Weights(making.source(settings.model)))
        weights = [stack.enter_context(Weights(making.source(each))) for each in settings.networks]
        networks = [modules.read(each, settings.family) for each in weights]
        mix = _mixed(model.header, networks, settings)
        report("Computing the hashes of the inputs")
        ingredients = [recipe.hashed(each.header) for each in (model, *weights)]
        recipe.check(ingredients, settings.sha256)
        title = settings.title or (made.target.name if model.header.is_folder else made.target.stem)
        own = recipe.of(KIND, _named(settings, title), ingredients)

        def metadata(found: Header) -> dict[str, str]:
            return recipe.metadata(found.metadata, own, title, [each.name for each in ingredients])

        baker, meter, check = Baker(model, mix), making.Meter(report), _checks(model, *weights)
        report("Writing")
        entries = list(_entries(model, baker, mix, settings))
        if model.header.is_folder:
            changed = {entry.name: entry for entry in entries if entry.name in mix.changed}
            folders.write(made.target, model.header, changed, metadata, meter, check)
        else:
            writing.write(made.target, entries, metadata(model.header), meter, check)
    return made.target


def _mix(settings: Settings) -> tuple[Header, list[Header], Mix]:
    if not settings.networks:
        raise WeightsError("There is no network to add.", "Name at least one LoRA.")
    dtypes.check(settings.dtype)
    model = header.read(making.source(settings.model))
    _check_model(model, settings)
    found = [header.read_file(making.source(each)) for each in settings.networks]
    for each in found:
        if each.format != "safetensors":
            raise WeightsError(f"{shown(each.path)} is not a safetensors file.", "Convert it to safetensors first.")
    networks = [modules.of(each, settings.family) for each in found]
    mix = _mixed(model, networks, settings)
    missing = list(mixing.lacking_layers(mix))
    if missing and not settings.skip:
        raise WeightsError(
            " ".join(missing), "Choose a model with these layers, or leave the modules out with --skip-missing."
        )
    if not mix.changed:
        raise WeightsError(
            "The networks change nothing in this model.", "Check that they belong to it, and that a strength is not 0."
        )
    if model.is_folder:
        folders.check(model, mix.changed)
    return model, found, mix


def _mixed(model: Header, networks: Sequence[Network], settings: Settings) -> Mix:
    """What the networks change in the model at their strengths.

    Raises:
        WeightsError: a strength or the name of a block is wrong, or a network does not fit the model.
    """
    chosen = (settings.strengths, settings.text_strengths)
    index = Index(model, settings.family)
    strengths = bake_strengths.of_each(networks, chosen, settings.blocks, index)
    return mixing.mixed(model, list(zip(networks, strengths, strict=True)), settings.family)


def _check_model(model: Header, settings: Settings) -> None:
    if model.is_folder and settings.dtype != "same":
        raise WeightsError(
            "The weights of a folder keep their dtypes.",
            "Leave the dtype out, and convert the result: easel convert --dtype.",
        )
    if model.format not in ("safetensors", "sharded", "diffusers"):
        raise WeightsError(f"{shown(model.path)} is not a safetensors file.", "Convert it to safetensors first.")
    seen = detection.detect(model)
    if seen.role == "lora":
        raise WeightsError(
            f"{shown(model.path)} is a LoRA, not a model.",
            "Name a checkpoint first; `easel lora merge` adds several LoRAs into one file.",
        )
    if seen.scaled or seen.packed_by:
        how = f"packed by {printable(seen.packed_by, 40)}" if seen.packed_by else "divided by scales"
        raise WeightsError(
            f"The weights of {shown(model.path)} are {how}, so that nothing can be added to them.",
            "Convert it to fp16 or bf16 first, or use the original file.",
        )


def _notes(mix: Mix) -> Iterator[str]:
    for network, missing in mix.missing:
        placed = len(network.modules) - len(missing)
        yield f"{shown(network.header.path)} changes {placed} layers."
        if network.unknown:
            yield (
                f"{shown(network.header.path)} has {len(network.unknown)} tensors that are part of no change, "
                f"such as {printable(network.unknown[0], 120)}; they are left out."
            )
    yield from (f"{sentence} They are left out." for sentence in mixing.lacking_layers(mix))


def _info(model: Header, name: str, settings: Settings) -> TensorInfo:
    """The dtype and shape of a tensor in the new file."""
    found = model.tensors[name]
    is_kept = settings.dtype == "same" or found.dtype not in dtypes.FLOATS or _MARKS.fullmatch(name)
    return found if is_kept else TensorInfo(dtypes.CHOICES[settings.dtype], found.shape)


def _entries(model: Weights, baker: Baker, mix: Mix, settings: Settings) -> Iterator[Entry]:
    from trainer_core.weights.writing import Entry

    for name, found in model.tensors.items():
        new = _info(model.header, name, settings)
        if name in mix.changed or new.dtype != found.dtype:
            yield Entry(name, new.dtype, new.shape, lambda name=name, dtype=new.dtype: baker.chunks(name, dtype))
        else:
            yield Entry(name, found.dtype, found.shape, model.place(name))


def _checks(*opened: Weights) -> Callable[[], None]:
    def check() -> None:
        for each in opened:
            each.check_unchanged()

    return check


def _named(settings: Settings, title: str) -> dict[str, Any]:
    """The settings without folders."""
    table = dataclasses.asdict(dataclasses.replace(settings, title=title))
    return {key: value for key, value in table.items() if key not in ("model", "networks", "target", "sha256")}


def _target(settings: Settings, found: Header) -> Path:
    model = making.source(settings.model)
    if settings.target:
        # The new file of a folder is a folder, too.
        return new_names.chosen(settings.target, model.parent, () if found.is_folder else new_names.SAFETENSORS)
    stems = [re.sub(r"[^\w.-]+", "_", Path(each).stem)[:40] for each in (model, *settings.networks)]
    return making.free(model.with_name("-with-".join(stems)[:200] + ("" if found.is_folder else ".safetensors")))


kind = making.WeightsTool(KIND, "Baking networks into a model", Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, run))
