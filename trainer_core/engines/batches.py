"""Counts the images of each bucket, the batches of an epoch, and the epochs of a plan."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from trainer_core.datasets import buckets
from trainer_core.engines import launcher
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.datasets.buckets import Size
    from trainer_core.engines.manifest import BackendManifest

NONE: Mapping[str, Sequence[Size]] = MappingProxyType({})


def processes(plan: TrainingPlan, engine: str) -> int:
    """The number of processes that train at the same time, each with its own batches."""
    launch = plan.native.get(engine, {}).get(launcher.TABLE, {})
    return launcher.processes(launch) if isinstance(launch, Mapping) else 1


def of_buckets(
    plan: TrainingPlan, sizes: Sequence[Size], manifest: BackendManifest, resolution: int = 0
) -> Mapping[str, int] | None:
    """The number of images in each bucket, without repeats; None if it is not known how the engine makes buckets.

    `resolution` is that of another image folder than the first.
    """
    rules, settings = manifest.dataset, plan.dataset
    claim, side = manifest.families.get(plan.model.family), resolution or plan.dataset.resolution
    if not rules.buckets or claim is None or not sizes:
        return None
    if not settings.bucketing:
        return buckets.square(sizes)
    native = plan.native.get(manifest.id, {})
    given = {meaning: native[name] for name, meaning in rules.bucket_options.items() if name in native}
    if "" in given or not all(
        _is_valid(name, native[name], manifest) for name in rules.bucket_options if name in native
    ):
        return None
    if rules.buckets == "rounded":
        return buckets.rounded(sizes, side, claim.cell(plan.model.method).bucket_step)
    least, most = buckets.limits(side, settings.bucket_step)
    if given.get("no_upscale"):
        return buckets.shrunk(sizes, side, settings.bucket_step)
    return buckets.listed(sizes, side, settings.bucket_step, given.get("least", least), given.get("most", most))


def _is_valid(name: str, value: object, manifest: BackendManifest) -> bool:
    """Whether a native value is a number in its bounds, or a switch; another rule reports invalid values."""
    low, high = manifest.options.bounds.get(name, (0, 1))
    return isinstance(value, int) and low <= value <= high


Uses = list[tuple[int, int]]
"""How often the images of a folder are used in an epoch, as (number of images, uses) in their order."""


def balanced(wanted: int, folders: Sequence[tuple[int, int]]) -> list[Uses]:
    """How often class images are used beside `wanted` images, for each folder as (number of images, repeats).

    Each is used as often as its repeats, until they are as many as the images; with too few, all are used once more in turn. Those
    that are not needed are left out. Source: sd-scripts 48d368f, library/train_util.py, DreamBoothDataset.
    """
    total, rest, found = sum(images * repeats for images, repeats in folders), wanted, []
    every = sum(images for images, _ in folders)
    rounds, more = divmod(max(wanted - total, 0), every) if every else (0, 0)
    for images, repeats in folders:
        if total >= wanted:
            used = min(images, max(0, math.ceil(rest / repeats)))
            rest -= used * repeats
            found.append([(used, repeats)] if used else [])
            continue
        first = min(more, images)
        more -= first
        uses = ((first, repeats + rounds + 1), (images - first, repeats + rounds))
        found.append([(many, each) for many, each in uses if many])
    return found


def uses(plan: TrainingPlan, counts: Mapping[str, int], manifest: BackendManifest | None) -> dict[str, Uses]:
    """How often the images of each folder are used in an epoch, by the name of the folder.

    `counts` are the numbers of images. Class images that the engine does not train are left out.
    """
    claim = manifest.families.get(plan.model.family) if manifest else None
    trains_class = claim is not None and claim.cell(plan.model.method).class_images
    found: dict[str, Uses] = {}
    of_group: Counter[tuple[int, bool]] = Counter()
    for folder in plan.folders:
        images = counts.get(folder.name, 0)
        if images and not folder.is_regularisation:
            found[folder.name] = [(images, folder.repeats)]
            of_group[folder.group] += images * folder.repeats
    of_class = [each for each in plan.folders if each.is_regularisation and counts.get(each.name) and trains_class]
    if manifest is not None and not manifest.dataset.balances_class_images:
        return found | {each.name: [(counts[each.name], each.repeats)] for each in of_class}
    for group in dict.fromkeys(each.group for each in of_class):
        own = [each for each in of_class if each.group == group]
        asked = balanced(of_group[group], [(counts[each.name], each.repeats) for each in own])
        found |= {each.name: used for each, used in zip(own, asked, strict=True) if used}
    return found


def class_uses(plan: TrainingPlan, images: int, of_class: int, manifest: BackendManifest | None) -> Uses:
    """How often the images of `dataset.class_path` are used in an epoch, if there are no further image folders."""
    alone = plan.model_copy(update={"dataset": plan.dataset.model_copy(update={"subsets": ()})})
    return uses(alone, {"dataset": images, "class_images": of_class}, manifest).get("class_images", [])


def in_buckets(
    plan: TrainingPlan,
    sizes: Sequence[Size],
    manifest: BackendManifest,
    class_sizes: Sequence[Size] = (),
    more: Mapping[str, Sequence[Size]] = NONE,
) -> Mapping[tuple[object, str], int] | None:
    """How many images are used in an epoch in each bucket of each group of folders that share batches; None if unknown.

    `more` are the sizes of the images of further folders, by the name of the folder.
    """
    every = {"dataset": sizes, "class_images": class_sizes, **more}
    used = uses(plan, {name: len(found) for name, found in every.items()}, manifest)
    counted: Counter[tuple[object, str]] = Counter()
    for folder in plan.folders:
        first = 0
        # Images of different folders share batches only with an engine that makes buckets for all of them.
        group = folder.group if manifest.dataset.short_batches == "trained" else folder.name
        for many, times in used.get(folder.name, ()):
            found = of_buckets(plan, every[folder.name][first : first + many], manifest, folder.resolution)
            if found is None:
                return None
            counted.update({(group, name): images * times for name, images in found.items()})
            first += many
    return counted


def of_epoch(
    plan: TrainingPlan,
    sizes: Sequence[Size],
    manifest: BackendManifest,
    class_sizes: Sequence[Size] = (),
    more: Mapping[str, Sequence[Size]] = NONE,
) -> int | None:
    """The number of batches of one epoch, of all processes together; None if unknown."""
    counted = in_buckets(plan, sizes, manifest, class_sizes, more)
    if not counted:
        return None
    size = plan.schedule.batch_size
    if manifest.dataset.short_batches == "trained":
        return sum(math.ceil(images / size) for images in counted.values())
    # An incomplete batch is filled up with images of the same bucket.
    of_folder: Counter[object] = Counter()
    for (folder, _), images in counted.items():
        of_folder[folder] += images
    return sum(math.ceil(images / size) for images in of_folder.values())


def steps_of_epoch(
    plan: TrainingPlan,
    sizes: Sequence[Size],
    manifest: BackendManifest | None,
    class_sizes: Sequence[Size] = (),
    more: Mapping[str, Sequence[Size]] = NONE,
) -> Fraction | None:
    """The number of optimizer steps of one epoch; None without images.

    Each optimizer step takes `gradient_accumulation` batches in each process. If an engine declares no buckets, all images
    count as one bucket. The number is not whole if an engine continues an optimizer step in the next epoch.
    """
    if not sizes:
        return None
    counts = {
        "dataset": len(sizes),
        "class_images": len(class_sizes),
        **{name: len(each) for name, each in more.items()},
    }
    used = uses(plan, counts, manifest)
    together = math.ceil(sum(many * times for each in used.values() for many, times in each) / plan.schedule.batch_size)
    counted = of_epoch(plan, sizes, manifest, class_sizes, more) if manifest else None
    batches, at_once = counted or together, processes(plan, manifest.id if manifest else "")
    if manifest is not None and manifest.dataset.short_batches == "trained":
        # The end of an epoch also ends an optimizer step. Source: accelerate, Accelerator._do_sync; sd-scripts divides alike.
        return Fraction(math.ceil(math.ceil(batches / at_once) / plan.schedule.gradient_accumulation))
    return Fraction(batches, at_once * plan.schedule.gradient_accumulation)


def epochs(
    plan: TrainingPlan,
    sizes: Sequence[Size],
    manifest: BackendManifest | None,
    class_sizes: Sequence[Size] = (),
    more: Mapping[str, Sequence[Size]] = NONE,
) -> float | None:
    """The number of epochs of a plan; None without images."""
    each = steps_of_epoch(plan, sizes, manifest, class_sizes, more)
    return None if each is None else float(plan.schedule.steps / each)
