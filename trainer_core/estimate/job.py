"""One training as input of the estimate: plan, model, engine and device, and values derived from them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trainer_core import catalog
from trainer_core.draft.facts import Facts
from trainer_core.draft.relevance import Scope
from trainer_core.engines import batches
from trainer_core.engines.costs import USUAL, Costs
from trainer_core.estimate import models
from trainer_core.estimate.models import Model, Part
from trainer_core.estimate.networks import Network, network
from trainer_core.hardware import Accelerator
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

GIB = 1024**3


@dataclass(frozen=True)
class Workload:
    """One training with the engine of the id `engine`, which declares the costs `declared`.

    `images` is the number of training images, 0 if unknown; `lora` is the library that creates a plain LoRA.
    """

    plan: TrainingPlan
    model: Model
    engine: str
    declared: Costs | None
    device: Accelerator
    images: int = 0
    cpus: int = 1
    file_dtypes: Mapping[str, str] = field(default_factory=dict)
    state_bytes: float = 8.0
    lora: Literal["own", "lycoris"] = "own"
    sides: Mapping[int, int] = field(default_factory=dict)
    """How many images are used in an epoch at each resolution; empty if the plan has only one."""
    validated: float = 0.0
    """How often the model runs in the whole run to measure the loss of held-out images."""

    @classmethod
    def of(cls, plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> Workload | None:
        """The workload of a plan; None if its family is unknown."""
        detection = facts.detection
        family = plan.model.family or (detection.family if detection else "") or ""
        model = models.find(family, plan.model.variant, detection.variant if detection else "")
        if model is None:
            return None
        if detection is not None and detection.family == family:
            model = model.of_size(detection.size, detection.layout)
        claim = manifest.families.get(model.family) if manifest else None
        dtypes = {name: part.dtype for name, part in facts.parts.items() if not isinstance(part, str)}
        return cls(
            _without_unused(plan, facts, manifest),
            model,
            manifest.id if manifest else "",
            manifest.estimate if manifest else None,
            facts.machine.accelerator,
            _images(plan, facts, manifest),
            facts.machine.cpus,
            dtypes,
            _state_bytes(plan.optimizer.name, facts, manifest),
            claim.cell(plan.model.method).lora if claim else "own",
            _sides(plan, facts, manifest),
            _validated(plan, facts, manifest),
        )

    @property
    def costs(self) -> Costs:
        """What the engine needs in memory and time; cautious guesses if it declares nothing."""
        return self.declared or USUAL

    @property
    def has_gpu(self) -> bool:
        """Whether the training runs on a GPU."""
        return self.device.kind != "cpu"

    @property
    def trains_model(self) -> bool:
        """Whether the model's own weights are trained."""
        return self.plan.model.method in ("full", "dreambooth")

    @property
    def is_network(self) -> bool:
        """Whether a network is trained and the model is frozen."""
        return self.plan.model.method == "lora"

    @property
    def compute_bytes(self) -> int:
        """Bytes per number in computations."""
        return 4 if self.plan.memory.mixed_precision == "no" else 2

    @property
    def trained_bytes(self) -> int:
        """Bytes per trained parameter."""
        if self.costs.follows_precision:
            return self.compute_bytes
        half = self.plan.memory.half_weights and self.compute_bytes == 2
        return 2 if half and self.plan.model.method != "textual_inversion" else self.costs.trained_bytes

    @property
    def optimizer_bytes(self) -> float:
        """Bytes of optimizer state per trained parameter: states in 32 bits follow the dtype of the parameters."""
        if self.trained_bytes == 4 or self.state_bytes < 4:
            return self.state_bytes
        return self.state_bytes / 2 + self.costs.correction_bytes

    @property
    def is_lycoris(self) -> bool:
        """Whether LyCORIS creates the network."""
        other = self.plan.network.algorithm not in self.costs.own_networks
        return self.is_network and (other or self.lora == "lycoris")

    @property
    def _target(self) -> str:
        """The choice of layers that get a network."""
        chosen, costs = self.plan.network, self.costs
        if not self.is_lycoris:
            return "lora"
        reads = "targets" in catalog.algorithms()[chosen.algorithm].settings
        return (reads and chosen.targets) or costs.usual_targets.get(chosen.algorithm, costs.usual_target)

    @property
    def _adds_convolutions(self) -> bool:
        """Whether a network of the engine's own also gets the convolutions, which needs a rank for them."""
        network = self.plan.network
        reads = "conv_rank" in catalog.algorithms()[network.algorithm].settings
        return not self.is_lycoris and reads and bool(network.conv_rank)

    @property
    def caches_captions(self) -> bool:
        """Whether captions are encoded once, so that the text encoders are not in VRAM during training."""
        return self.costs.caches_captions or self.plan.memory.cache_text_encoder

    @property
    def captions_on_cpu(self) -> bool:
        """Whether a native setting makes the engine encode captions on the CPU."""
        return bool(self.costs.captions_on_cpu) and self._native.get(self.costs.captions_on_cpu) is True

    @property
    def _captions_in_8_bits(self) -> bool:
        """Whether native settings make the engine load the large text encoder in 8 bits, whatever the dtype of its file."""
        settings = self.costs.captions_in_8_bits.get(self.model.family, {})
        return bool(settings) and all(self._native.get(name) == value for name, value in settings.items())

    @property
    def _native(self) -> Mapping[str, Any]:
        return self.plan.native.get(self.engine, {})

    @property
    def trained_encoders(self) -> tuple[Part, ...]:
        """The text encoders that are also trained."""
        wanted = self.plan.network.train_text_encoder and not self.costs.caches_captions
        if not wanted or self.plan.model.method == "textual_inversion":
            return ()
        return tuple(models.parts()[name] for name in self.model.trained_encoders)

    @property
    def _layout(self) -> str:
        """The names of the model's layers that the engine uses."""
        return self.costs.layouts.get(self.model.family, self.costs.layout)

    @functools.cached_property
    def network(self) -> Network:
        """The trained network; an empty one if no network is trained."""
        if not self.is_network:
            return network(self.plan.network, {})
        tables = [
            self.model.layers_of(self._layout, self._target),
            *([self.model.convolutions(self._layout)] if self._adds_convolutions else []),
            *(part.layers for part in self.trained_encoders),
        ]
        return network(self.plan.network, models.added(tables)).scaled(*self.model.scale)

    @property
    def trained_parameters(self) -> int:
        """The number of trained parameters."""
        if self.is_network:
            return self.network.trained
        if self.trains_model:
            return self.model.parameters + sum(part.parameters for part in self.trained_encoders)
        return self._embedding_parameters

    @property
    def _embedding_parameters(self) -> int:
        """The number of parameters of the token embedding tables, which textual inversion trains."""
        # Source: train_textual_inversion.py: the whole table of 49,408 tokens has a gradient; after each step, the rows of
        # all other tokens are restored.
        return sum(
            49408 * (1280 if name == "clip_g" else 768) for name in self.model.encoders if name.startswith("clip")
        )

    def encoder_bytes(self, name: str) -> int:
        """The bytes of a text encoder in VRAM."""
        return models.parts()[name].parameters * (1 if self._in_8_bits(name) else self.compute_bytes)

    def _in_8_bits(self, name: str) -> bool:
        if self._captions_in_8_bits and name == max(
            self.model.encoders, key=lambda each: models.parts()[each].parameters
        ):
            return True
        costs, is_base = self.costs, self.plan.memory.fp8_base and self.is_network
        stays = costs.eight_bit_files is None or name in costs.eight_bit_files
        return stays and (is_base or not costs.eight_bits_need_base) and self.file_dtypes.get(name, "").startswith("F8")


def largest_side(job: Workload) -> int:
    """The largest resolution that is trained, which decides about the memory."""
    return max(job.sides, default=job.plan.dataset.resolution)


def side_shares(job: Workload) -> list[tuple[int, float]]:
    """The resolutions with the share of each in the steps."""
    total = sum(job.sides.values())
    return [(side, uses / total) for side, uses in job.sides.items()] or [(job.plan.dataset.resolution, 1.0)]


def seen_side(job: Workload, side: int) -> int:
    """The side of a square with the pixels that the model sees at a time: an image and its control images, all scaled alike."""
    return round(side * (1 + most_controls(job)) ** 0.5)


def most_controls(job: Workload) -> int:
    """How many control images the model is shown for an image at most."""
    return max(len(folder.controls_given) for folder in job.plan.folders)


def mean_area(job: Workload) -> float:
    """The mean of the pixels of an image that is trained, together with its control images."""
    return (1 + most_controls(job)) * sum(share * side**2 for side, share in side_shares(job))


def _without_unused(plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> TrainingPlan:
    """The plan without memory settings that do not apply, such as swapped blocks if the engine cannot swap."""
    if manifest is None:
        return plan
    scope = Scope(fields.flatten(plan.model_dump()), manifest, facts.detection)
    memory = (setting for setting in fields.all_fields().values() if setting.section == "memory")
    unused = {setting.name: setting.default for setting in memory if not scope.applies(setting.path)}
    return plan.model_copy(update={"memory": plan.memory.model_copy(update=unused)}) if unused else plan


def _validated(plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> float:
    """How often the model runs in the whole run to measure the loss of held-out images."""
    claim, images = manifest.families.get(plan.model.family) if manifest else None, facts.dataset
    if claim is None or images is None or not plan.has_validation or plan.model.method not in claim.methods:
        return 0.0
    held_out = sum(len(each.validation.images) for each in images.folders.values() if each.validation is not None)
    times: float = plan.schedule.steps // plan.dataset.validate_every if plan.dataset.validate_every else 0
    if not plan.dataset.validate_every:
        times = batches.epochs(plan, images.sizes, manifest, images.class_sizes, images.more_sizes) or 0
    return held_out * times * claim.cell(plan.model.method).validation


def _sides(plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> dict[int, int]:
    """How many images are used in an epoch at each resolution; {} with one resolution, or if nothing is known of them."""
    folders = {folder.name: folder.resolution for folder in plan.folders}
    if facts.dataset is None or len({*folders.values()}) < 2:
        return {}
    counts = {name: len(found.images) for name, found in facts.dataset.folders.items()}
    found: Counter[int] = Counter()
    for name, used in batches.uses(plan, counts, manifest).items():
        found[folders[name]] += sum(many * times for many, times in used)
    return {side: uses for side, uses in found.items() if uses}


def _images(plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> int:
    """The number of different images that are trained, class images included; 0 if unknown."""
    if facts.dataset is None:
        return 0
    counts = {name: len(found.images) for name, found in facts.dataset.folders.items()}
    return sum(many for used in batches.uses(plan, counts, manifest).values() for many, _ in used)


def _state_bytes(optimizer: str, facts: Facts, manifest: BackendManifest | None) -> float:
    """Bytes of optimizer state per parameter in 32 bits: as measured on this machine, else from the catalog."""
    tried = facts.engine(manifest.id if manifest else "").trials.optimizers.get(optimizer)
    if tried is not None and tried.works and tried.state_bytes is not None:
        return tried.state_bytes
    known = catalog.optimizers().get(optimizer)
    return known.state_bytes if known else 8.0
