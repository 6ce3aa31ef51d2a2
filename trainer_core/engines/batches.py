"""Counts the images of each bucket, the batches of an epoch, and the epochs of a plan."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from trainer_core.datasets import buckets
from trainer_core.engines import launcher
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.datasets.buckets import Size
    from trainer_core.engines.manifest import BackendManifest


def processes(plan: TrainingPlan, engine: str) -> int:
    """The number of processes that train at the same time, each with its own batches."""
    launch = plan.native.get(engine, {}).get(launcher.TABLE, {})
    return launcher.processes(launch) if isinstance(launch, Mapping) else 1


def of_buckets(plan: TrainingPlan, sizes: Sequence[Size], manifest: BackendManifest) -> Mapping[str, int] | None:
    """The number of images in each bucket, without repeats; None if it is not known how the engine makes buckets."""
    rules, settings = manifest.dataset, plan.dataset
    claim = manifest.families.get(plan.model.family)
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
        return buckets.rounded(sizes, settings.resolution, claim.cell(plan.model.method).bucket_step)
    least, most = buckets.limits(settings.resolution, settings.bucket_step)
    if given.get("no_upscale"):
        return buckets.shrunk(sizes, settings.resolution, settings.bucket_step)
    return buckets.listed(
        sizes, settings.resolution, settings.bucket_step, given.get("least", least), given.get("most", most)
    )


def _is_valid(name: str, value: object, manifest: BackendManifest) -> bool:
    """Whether a native value is a number in its bounds, or a switch; another rule reports invalid values."""
    low, high = manifest.options.bounds.get(name, (0, 1))
    return isinstance(value, int) and low <= value <= high


def class_uses(
    plan: TrainingPlan, images: int, of_class: int, manifest: BackendManifest | None
) -> list[tuple[int, int]]:
    """How often class images are used in an epoch with so many images, as (number of class images, uses) in their order.

    Each is used `dataset.class_repeats` times, until they are as many as the images with their repeats; with too few, all are
    used once more in turn. Those that are not needed are left out. Empty if no class images are trained.
    Source: sd-scripts 48d368f, library/train_util.py, DreamBoothDataset.
    """
    claim = manifest.families.get(plan.model.family) if manifest else None
    if not of_class or not plan.has_class_images or claim is None or not claim.cell(plan.model.method).class_images:
        return []
    wanted, repeats = images * plan.dataset.repeats, plan.dataset.class_repeats
    if of_class * repeats >= wanted:
        return [(math.ceil(wanted / repeats), repeats)]
    rounds, more = divmod(wanted - of_class * repeats, of_class)
    return [(many, uses) for many, uses in ((more, repeats + rounds + 1), (of_class - more, repeats + rounds)) if many]


def of_epoch(
    plan: TrainingPlan, sizes: Sequence[Size], manifest: BackendManifest, class_sizes: Sequence[Size] = ()
) -> int | None:
    """The number of batches of one epoch, of all processes together; None if unknown."""
    counted = of_buckets(plan, sizes, manifest)
    if counted is None:
        return None
    uses = Counter({name: images * plan.dataset.repeats for name, images in counted.items()})
    first = 0
    for many, each in class_uses(plan, len(sizes), len(class_sizes), manifest):
        found = of_buckets(plan, class_sizes[first : first + many], manifest) or {}
        uses.update({name: images * each for name, images in found.items()})
        first += many
    size = plan.schedule.batch_size
    if manifest.dataset.short_batches == "trained":
        return sum(math.ceil(images / size) for images in uses.values())
    # An incomplete batch is filled up with images of the same bucket.
    return math.ceil(uses.total() / size)


def steps_of_epoch(
    plan: TrainingPlan, sizes: Sequence[Size], manifest: BackendManifest | None, class_sizes: Sequence[Size] = ()
) -> Fraction | None:
    """The number of optimizer steps of one epoch; None without images.

    Each optimizer step takes `gradient_accumulation` batches in each process. If an engine declares no buckets, all images
    count as one bucket. The number is not whole if an engine continues an optimizer step in the next epoch.
    """
    if not sizes:
        return None
    of_class = sum(many * uses for many, uses in class_uses(plan, len(sizes), len(class_sizes), manifest))
    together = math.ceil((len(sizes) * plan.dataset.repeats + of_class) / plan.schedule.batch_size)
    counted = of_epoch(plan, sizes, manifest, class_sizes) if manifest else None
    batches, at_once = counted or together, processes(plan, manifest.id if manifest else "")
    if manifest is not None and manifest.dataset.short_batches == "trained":
        # The end of an epoch also ends an optimizer step. Source: accelerate, Accelerator._do_sync; sd-scripts divides alike.
        return Fraction(math.ceil(math.ceil(batches / at_once) / plan.schedule.gradient_accumulation))
    return Fraction(batches, at_once * plan.schedule.gradient_accumulation)


def epochs(
    plan: TrainingPlan, sizes: Sequence[Size], manifest: BackendManifest | None, class_sizes: Sequence[Size] = ()
) -> float | None:
    """The number of epochs of a plan; None without images."""
    each = steps_of_epoch(plan, sizes, manifest, class_sizes)
    return None if each is None else float(plan.schedule.steps / each)
