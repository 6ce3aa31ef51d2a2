"""What the tools for LoRAs share: their inputs, what they will make according to the headers, and the writing of the new file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.models.detection.layouts import LAYOUTS
from trainer_core.models.header.tensors import shown
from trainer_core.text import amount, printable
from trainer_core.tools import making
from trainer_core.tools.making import Meter, Tell
from trainer_core.tools.outlook import Outlook
from trainer_core.weights import dtypes
from trainer_core.weights.lora import grouping, headers, naming
from trainer_core.weights.lora.grouping import Group
from trainer_core.weights.lora.headers import Sizes
from trainer_core.weights.lora.ranks import FIXED
from trainer_core.weights.networks import modules
from trainer_core.weights.networks.modules import Module, Network

if TYPE_CHECKING:
    from trainer_core.weights.lora.making import Layer, Tensor
    from trainer_core.weights.lora.ranks import Rule
    from trainer_core.weights.reading import Weights

BASE_BYTES = 150 << 20
"""The memory of the program itself, in bytes: Python, numpy and the headers."""
WORST = 5
"""How many layers are reported in the log."""
COPIES = 6
"""How many copies of the largest layer, in float32, the arithmetic holds at once."""


def listed(files: Sequence[str], family: str = "") -> list[Network]:
    """The networks in files, from their headers.

    Raises:
        HeaderError: a file cannot be read.
        WeightsError: a file is not a safetensors file, or contains no network.
    """
    return [modules.of(header.read_file(making.source(file)), family) for file in files]


def check_choice(dtype: str, to: str) -> None:
    """Checks a dtype and a naming that a user chose.

    Raises:
        WeightsError: one does not exist.
    """
    dtypes.check(dtype)
    naming.check(to)


def check_plain(network: Network) -> None:
    """Checks that no change of a network depends on the weights of the model.

    Raises:
        WeightsError: one does.
    """
    for module in network.modules:
        if module.needs_base:
            title = "DoRA" if module.kind == "dora" else LAYOUTS[module.layout].title
            sentence = f"{shown(network.header.path)} is a {title}: what it changes depends on the weights of the model"
            raise WeightsError(
                f"{sentence}, so it cannot be computed from the file alone (layer {printable(module.key, 80)}).",
                "Bake it into a checkpoint, and extract a LoRA from the result.",
            )


@dataclass(frozen=True)
class Inputs:
    """Networks whose files are open. `check` raises if a file has changed since it was opened."""

    networks: list[Network]
    check: Callable[[], None]


@contextmanager
def opened(files: Sequence[str], family: str = "") -> Iterator[Inputs]:
    """The networks in files, whose numbers can be read inside the `with` block.

    Raises:
        HeaderError, WeightsError: as `listed`.
    """
    from trainer_core.weights.reading import Weights

    with ExitStack() as stack:
        held: list[Weights] = [stack.enter_context(Weights(making.source(file))) for file in files]

        def check() -> None:
            for each in held:
                each.check_unchanged()

        yield Inputs([modules.read(each, family) for each in held], check)


def outlook(
    groups: Sequence[Group], rule: Rule | None, target: Path, *, kept: Iterable[str] = (), notes: Iterable[str] = ()
) -> Outlook:
    """What will be made of these layers; with a rule that depends on the numbers, the size is the largest possible one.

    Raises:
        WeightsError: the disk or the memory is too small.
    """
    ranks = {group.name: planned_rank(group, rule) for group in groups}
    size = sum(group.size_bytes(ranks[group.name]) for group in groups)
    largest = max((_working_bytes(group) for group in groups), default=0)
    count = sum(1 if group.is_summed else 2 + group.endings.has_alpha for group in groups)
    found = Outlook(
        target=target,
        size_bytes=size,
        memory_bytes=BASE_BYTES + size + COPIES * largest,
        tensors=count + len(tuple(kept)),
        changed=count,
        notes=tuple(notes),
        seconds=None,
        is_most=rule is not None and rule.method != FIXED,
    )
    making.check_room(found)
    return found


def planned_rank(group: Group, rule: Rule | None) -> int:
    """The rank that a layer gets at most, as far as the headers show it."""
    return group.rank if rule is None else min(group.rank, rule.limit(group.is_conv))


def notes_of(groups: Sequence[Group], networks: Sequence[Network], *, drops: bool = False) -> Iterator[str]:
    """Sentences about layers that are no plain LoRA, that only some files have, and about what is left out.

    `drops`: the new file has no tensors that are part of no known layer.
    """
    others = [
        each.module
        for group in groups
        for each in group.members
        if each.module.layout != "lora" and not group.is_summed
    ]
    if others:
        kinds = ", ".join(sorted({each.layout for each in others}))
        yield f"{amount(len(others), 'layer')} of another kind ({kinds}) become plain LoRA layers, from the singular values of their change."
    if len(networks) > 1:
        single = sum(len(group.members) == 1 for group in groups)
        if single:
            yield f"{amount(single, 'layer')} of {len(groups):,} are only in one of the files, and are kept."
    for network in networks:
        if network.unknown and drops:
            yield (
                f"{amount(len(network.unknown), 'tensor')} of {shown(network.header.path)} "
                f"{'is' if len(network.unknown) == 1 else 'are'} no part of a known layer and left out, such as {printable(network.unknown[0], 80)}."
            )
    if not networks[0].family:
        yield "Easel does not recognise the family of these files; they were compared by the names and shapes of their layers."


def unknown(network: Network) -> list[Layer]:
    """The tensors of a network that are part of no known layer, as they are, such as embeddings."""
    from trainer_core.weights.lora import making

    found = (stored(network.modules[0], key) for key in network.unknown)
    return [making.copied(each.name, each.dtype, each.values) for each in found]


def stored(module: Module, name: str) -> Tensor:
    """A tensor of the file of a module, as it is stored.

    Raises:
        WeightsError: it contains numbers that are not finite.
    """
    from trainer_core.weights import numbers
    from trainer_core.weights.lora.making import Tensor

    weights = module.weights
    assert weights is not None, "the network was read from a header alone"
    dtype, values = weights.tensors[name].dtype, weights.read(name)
    if dtype in numbers.FLOATS and not numbers.is_finite(values, dtype):
        raise modules.damaged(name, module.header)
    return Tensor(name, dtype, values)


def compute(groups: Sequence[Group], rule: Rule | None, report: Tell) -> list[Layer]:
    """All layers of the new file, with progress in MiB of the inputs."""
    from trainer_core.weights.lora import making

    report("Computing")
    sizes = [sum(_stored_bytes(each.module) for each in group.members) for group in groups]
    meter, done, found = Meter(report, "Computed", "layers"), 0, []
    for number, (group, size) in enumerate(zip(groups, sizes, strict=True), 1):
        found.append(making.layer(group, rule))
        done += size
        meter(number, len(groups), done, sum(sizes))
    return found


def write(
    target: Path, layers: Sequence[Layer], metadata: Mapping[str, str], report: Tell, check: Callable[[], None]
) -> Mapping[str, str]:
    """Writes the new file, with the hash of its tensors in the metadata; returns that metadata.

    Raises:
        WeightsError: it exists already, the disk is too full, or two layers have the same name.
        OSError: a file cannot be written.
    """
    from trainer_core.weights import writing
    from trainer_core.weights.lora import making

    report("Writing")
    tensors = making.ordered(layers)
    whole = {**metadata, **headers.hashed(making.digest(tensors))}
    entries = [
        writing.Entry(each.name, each.dtype, each.values.shape, lambda values=each.values: [values]) for each in tensors
    ]
    writing.write(target, entries, whole, lambda *_: None, check)
    return whole


def sizes(groups: Sequence[Group], layers: Sequence[Layer]) -> list[Sizes]:
    """The ranks and alphas of the layers of the new file."""
    found = []
    for group, layer in zip(groups, layers, strict=True):
        if layer.rank:
            alpha = next((each.values for each in layer.tensors if each.name.endswith(".alpha")), None)
            value = float(layer.rank) if alpha is None else float(alpha)
            found.append(Sizes(layer.rank, value, group.is_conv))
    return found


def told(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Sentences about the ranks and the error of what was made."""
    from trainer_core.weights.lora import making

    ranks = [each.rank for each in layers if each.rank]
    if not ranks:
        return ()
    span = f"{min(ranks)}" if min(ranks) == max(ranks) else f"{min(ranks)} to {max(ranks)}"
    error = making.total_error(layers)
    worst = max(layers, key=lambda each: each.error)
    if not worst.lost:
        return (f"The new file has rank {span}. Nothing is lost but the rounding of the numbers.",)
    sentence = f"The error is {error:.2%} of the whole change, the least that is possible with these ranks"
    return (
        f"The new file has rank {span}. {sentence}; it is largest in {printable(worst.name, 100)}, {worst.error:.2%}.",
    )


def rows(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """What is reported of each layer, for made.json and the log."""
    return [each.as_dict() for each in layers]


def log(layers: Sequence[Layer], report: Tell) -> None:
    """Reports the layers with the largest errors. All are in made.json, so that nobody must read hundreds of lines."""
    worst = sorted((each for each in layers if each.lost), key=lambda each: -each.error)[:WORST]
    if len(layers) > len(worst) > 0:
        report(f"The largest errors; those of all {len(layers):,} layers are in made.json, in the folder of the job:")
    for each in worst:
        report(f"{printable(each.name, 200)}: rank {each.rank_before} to {each.rank}, error {each.error:.3%}")


def _stored_bytes(module: Module) -> int:
    return sum(module.header.tensors[key].size_bytes for key in module.parts.values())


def _working_bytes(group: Group) -> int:
    """The size of a layer's matrices in float32, in bytes."""
    if len(group.shape) < 2:
        return 0
    inputs = group.shape[1]
    for side in group.shape[2:]:
        inputs *= side
    whole = group.shape[0] * inputs
    rank = sum(grouping.rank_of(each.module) for each in group.members)
    return 4 * (min(whole, rank * (group.shape[0] + inputs)) if rank < group.most_rank else whole)


@dataclass(frozen=True)
class Made:
    """What a tool has made: the file, its layers, and sentences about it."""

    path: Path
    layers: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The content of made.json."""
        return {"path": str(self.path), "notes": self.notes, "layers": self.layers}
