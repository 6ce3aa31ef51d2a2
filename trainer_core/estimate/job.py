"""One training as the estimate sees it: plan, model, engine and device, and what follows from them at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.estimate import models
from trainer_core.estimate.habits import Habits, habits
from trainer_core.estimate.models import Model, Part
from trainer_core.estimate.networks import Network, network
from trainer_core.hardware import Accelerator
from trainer_core.plan import fields
from trainer_core.plan.applies import Scope
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest

GIB = 1024**3
SAVING = ("memory.fp8_base", "memory.fused_backward", "memory.blocks_to_swap", "memory.offload_checkpointing")
"""Settings that only some engines and models have."""


@dataclass(frozen=True)
class Job:
    """One training. `images` is how many pictures are trained, 0 where that is not known."""

    plan: TrainingPlan
    model: Model
    habits: Habits
    device: Accelerator
    images: int = 0
    cpus: int = 1
    file_dtypes: Mapping[str, str] = field(default_factory=dict)
    state_bytes: float = 8.0

    @classmethod
    def of(cls, plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> Job | None:
        """The job of a plan; None for a family that nothing is known of."""
        detection = facts.detection
        family = plan.model.family or (detection.family if detection else "") or ""
        model = models.find(family, detection.variant if detection else "")
        if model is None:
            return None
        dtypes = {name: part.dtype for name, part in facts.parts.items() if not isinstance(part, str)}
        return cls(
            _meant(plan, facts, manifest),
            model,
            habits(manifest),
            facts.machine.accelerator,
            len(facts.dataset.pictures) if facts.dataset else 0,
            facts.machine.cpus,
            dtypes,
            _state_bytes(plan.optimizer.name, facts, manifest),
        )

    @property
    def has_gpu(self) -> bool:
        """Whether the job runs on a device of its own."""
        return self.device.kind != "cpu"

    @property
    def trains_model(self) -> bool:
        """Whether the model's own weights are trained."""
        return self.plan.model.method in ("full", "dreambooth")

    @property
    def is_network(self) -> bool:
        """Whether a network beside the model is trained."""
        return self.plan.model.method == "lora"

    @property
    def compute_bytes(self) -> int:
        """Of each number of the computation."""
        return 4 if self.plan.memory.mixed_precision == "no" else 2

    @property
    def trained_bytes(self) -> int:
        """Of each number that is trained."""
        if self.habits.follows_precision:
            return self.compute_bytes
        half = self.plan.memory.half_weights and self.compute_bytes == 2
        return 2 if half and self.plan.model.method != "textual_inversion" else self.habits.trained_bytes

    @property
    def optimizer_bytes(self) -> float:
        """What the optimizer keeps for each number: moments in 32 bits have the format of what is trained."""
        if self.trained_bytes == 4 or self.state_bytes < 4:
            return self.state_bytes
        return self.state_bytes / 2 + self.habits.correction_bytes

    @property
    def is_lycoris(self) -> bool:
        """Whether LyCORIS makes the network."""
        other = self.plan.network.algorithm not in self.habits.own_networks
        return self.is_network and (other or self.model.family in self.habits.lycoris_families)

    @property
    def target(self) -> str:
        """Which layers the network is put on."""
        chosen, usual = self.plan.network, self.habits
        if not self.is_lycoris:
            return "lora"
        reads = "targets" in catalog.algorithms()[chosen.algorithm].settings
        return (reads and chosen.targets) or usual.usual_targets.get(chosen.algorithm, usual.usual_target)

    @property
    def caches_captions(self) -> bool:
        """Whether captions are encoded once, so that text encoders leave the device."""
        return self.habits.caches_captions or self.plan.memory.cache_text_encoder

    @property
    def captions_on_cpu(self) -> bool:
        """Whether captions are encoded on the computer, by a native setting."""
        return bool(self.habits.captions_on_cpu) and self._native.get(self.habits.captions_on_cpu) is True

    @property
    def captions_in_8_bits(self) -> bool:
        """Whether the engine takes the large text encoder in 8 bits by its native settings, whatever its file has."""
        asked = self.habits.captions_in_8_bits.get(self.model.family, {})
        return bool(asked) and all(self._native.get(name) == value for name, value in asked.items())

    @property
    def _native(self) -> Mapping[str, Any]:
        return self.plan.native.get(self.habits.id, {})

    @property
    def trained_encoders(self) -> tuple[Part, ...]:
        """The text encoders that are trained too."""
        wanted = self.plan.network.train_text_encoder and not self.habits.caches_captions
        if not wanted or self.plan.model.method == "textual_inversion":
            return ()
        return tuple(models.parts()[name] for name in self.model.trained_encoders)

    @functools.cached_property
    def network(self) -> Network:
        """The network that is trained; empty where there is none."""
        if not self.is_network:
            return network(self.plan.network, {})
        tables = [
            self.model.layers_of(self.habits.layout, self.target),
            *(part.layers for part in self.trained_encoders),
        ]
        return network(self.plan.network, models.added(tables))

    @property
    def trained_parameters(self) -> int:
        """How many numbers are trained."""
        if self.is_network:
            return self.network.trained
        if self.trains_model:
            return self.model.parameters + sum(part.parameters for part in self.trained_encoders)
        return self.embedding_parameters

    @property
    def embedding_parameters(self) -> int:
        """How many numbers the vectors of a new word have, with what of the table of words moves with them."""
        # Source: train_textual_inversion.py: the whole table of 49,408 words has a gradient; the others are put back.
        return sum(
            49408 * (1280 if name == "clip_g" else 768) for name in self.model.encoders if name.startswith("clip")
        )

    def encoder_bytes(self, name: str) -> int:
        """What a text encoder takes on the device."""
        return models.parts()[name].parameters * (1 if self._in_8_bits(name) else self.compute_bytes)

    def _in_8_bits(self, name: str) -> bool:
        if self.captions_in_8_bits and name == max(
            self.model.encoders, key=lambda each: models.parts()[each].parameters
        ):
            return True
        usual, is_base = self.habits, self.plan.memory.fp8_base and self.is_network
        stays = usual.eight_bit_files is None or name in usual.eight_bit_files
        return stays and (is_base or not usual.eight_bits_need_base) and self.file_dtypes.get(name, "").startswith("F8")

    @property
    def vae_number_bytes(self) -> int:
        """Of each number of the VAE."""
        return 4 if self.model.family in self.habits.vae_in_32_bits else self.compute_bytes

    @property
    def file_number_bytes(self) -> int:
        """Of each number of what is saved."""
        if self.habits.follows_precision:
            return self.compute_bytes
        return 4 if self.plan.output.save_precision == "float" else 2

    @property
    def result_bytes(self) -> int:
        """The size of the file or folder that is trained."""
        if self.is_network:
            return self.network.file_bytes(self.file_number_bytes)
        if not self.trains_model:
            widths = [1280 if name == "clip_g" else 768 for name in self.model.encoders if name.startswith("clip")]
            return self.plan.embedding.vectors * sum(widths) * self.file_number_bytes + 500
        numbers = self.model.parameters
        if self.model.kind in self.habits.whole_checkpoints:
            numbers += sum(models.parts()[name].parameters for name in (*self.model.encoders, self.model.vae))
        return numbers * self.file_number_bytes


def _meant(plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None) -> TrainingPlan:
    """The plan without what has no meaning for the job, such as swapped blocks where the engine cannot swap."""
    if manifest is None:
        return plan
    scope = Scope(fields.flatten(plan.model_dump()), manifest, facts.detection)
    known = fields.all_fields()
    idle = {path.partition(".")[2]: known[path].default for path in SAVING if not scope.applies(path)}
    return plan.model_copy(update={"memory": plan.memory.model_copy(update=idle)}) if idle else plan


def _state_bytes(optimizer: str, facts: Facts, manifest: BackendManifest | None) -> float:
    """What the optimizer keeps for each number in 32 bits: as it was counted on this machine, else as the catalogue says."""
    tried = facts.machine.probes.get("optimizers", {}).get(manifest.id if manifest else "", {}).get(optimizer, {})
    counted = tried.get("state_bytes_per_parameter") if isinstance(tried, Mapping) and tried.get("ok") else None
    known = catalog.optimizers().get(optimizer)
    return float(counted) if isinstance(counted, int | float) else (known.state_bytes if known else 8.0)
