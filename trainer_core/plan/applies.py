"""Which settings have a meaning for a job, by the catalogue and by what the engine claims.

Forms show these and what was set beside them; the command line says of each setting who reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.plan import fields
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.facts import zero_terminal_snr
from trainer_core.plan.sections import PARTS

if TYPE_CHECKING:
    from trainer_core.backend import Backend, BackendManifest, FamilyClaim
    from trainer_core.detection import Detection

CATALOGUED = {
    "network": ("network.algorithm", catalog.algorithms),
    "optimizer": ("optimizer.name", catalog.optimizers),
    "schedule": ("schedule.scheduler", catalog.schedulers),
}
"""Sections with a choice from the catalogue: the setting that chooses, and the entries to choose from."""
NETWORK_ONLY = frozenset({"memory.fp8_base"})
WEIGHTS_ONLY = frozenset({"memory.fused_backward"})
"""What is for networks only, and for the model's own weights only, as their declarations say."""
NOISE_ONLY = frozenset({"schedule.min_snr_gamma", "schedule.noise_offset"})
FLOW_ONLY = frozenset({"schedule.flow_shift"})
"""What is defined for models that predict noise or velocity, and for flow models. Source: Hang et al. 2023, Min-SNR."""

DECLARED = {
    "model.clip_skip": "clip_skip",
    "memory.blocks_to_swap": "swap",
    "memory.offload_checkpointing": "offload_checkpointing",
    "network.conv_rank": "convolutions",
    "network.conv_alpha": "convolutions",
    "network.tucker": "convolutions",
}
"""What only some models have, and the word by which an engine's claim declares it."""


@dataclass(frozen=True)
class Scope:
    """What a job has chosen so far, as far as other settings' meaning depends on it.

    `values` are those of a draft and may be wrong; `claim` is None where no engine trains the family; `trials` are the
    engine's optimizers as they were tried on this machine.
    """

    values: Mapping[str, Any]
    manifest: BackendManifest | None = None
    detection: Detection | None = None
    trials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft, backend: Backend | None) -> Scope:
        """The scope of a draft for an engine."""
        manifest = backend.manifest if backend else None
        trials = draft.facts.machine.probes.get("optimizers", {}).get(manifest.id, {}) if manifest else {}
        return cls(draft.values, manifest, draft.facts.detection, trials)

    @property
    def claim(self) -> FamilyClaim | None:
        """What the engine does with the family; None when it does not train it, or none is known."""
        return self.manifest.families.get(self._family) if self.manifest else None

    @property
    def _family(self) -> str:
        return self._text("model.family") or (self.detection.family if self.detection else "") or ""

    @property
    def is_flow(self) -> bool:
        """Whether the model is a flow model."""
        return self._predicts == "flow"

    @property
    def _predicts(self) -> str:
        return self._text("model.prediction") or (self.detection.prediction if self.detection else "") or ""

    def is_set(self, path: str) -> bool:
        """Whether a setting is not at its default."""
        return self.values[path] != fields.all_fields()[path].default

    def shows(self, path: str, source: Source) -> bool:
        """Whether a setting is shown: it applies, or it was set; nothing that is set is hidden."""
        return self.applies(path) or self.is_set(path) or source is Source.USER

    def applies(self, path: str) -> bool:
        """Whether a setting has a meaning for this job."""
        section, _, name = path.partition(".")
        method = self._text("model.method")
        if path in NETWORK_ONLY or path in WEIGHTS_ONLY:
            return (method == "lora") == (path in NETWORK_ONLY)
        if path in NOISE_ONLY or path in FLOW_ONLY:
            return self.is_flow == (path in FLOW_ONLY)
        if path in DECLARED and not (self.claim and self.claim.cell(method).get(DECLARED[path])):
            return False
        if path == "optimizer.text_encoder_learning_rate":
            return self.values["network.train_text_encoder"] is True
        if path == "model.zero_terminal_snr":
            return self._predicts == "v_prediction"
        if section == "model":
            return self._is_model_setting(name)
        if section == "network" and method != "lora":
            return name == "train_text_encoder" and method != "textual_inversion"
        if section == "embedding":
            return method == "textual_inversion"
        return self._is_read(section, name) and (path != "network.algorithm" or len(self.choices(path)) > 1)

    def _is_model_setting(self, name: str) -> bool:
        claim = self.claim
        if name in PARTS:
            return claim is not None and name in claim.parts
        return name != "method" or (claim is not None and set(claim.methods) != {"lora"})

    def _is_read(self, section: str, name: str) -> bool:
        """Whether what was chosen from the catalogue reads a setting; those no entry names are always read."""
        if section not in CATALOGUED or name not in _catalogued(section):
            return True
        if section == "schedule" and self._is_schedule_free:
            return name == "warmup_steps"  # some of these optimizers warm up by themselves
        chosen, entries = CATALOGUED[section]
        return name in getattr(entries().get(self._text(chosen)), "settings", ())

    @property
    def _is_schedule_free(self) -> bool:
        optimizer = catalog.optimizers().get(self._text("optimizer.name"))
        return optimizer is not None and optimizer.schedule_free

    def _text(self, path: str) -> str:
        """The value of a setting that is text; "" for one of another type, which the draft refuses."""
        value = self.values[path]
        return value if isinstance(value, str) else ""

    def needed_parts(self) -> tuple[str, ...]:
        """The settings (dotted paths) of the files that must lie beside the model."""
        claim = self.claim
        if claim is None:
            return ()
        needed = claim.needed_parts(self.detection.parts if self.detection else ())
        return tuple(f"model.{part}" for part in PARTS if part in needed)

    def choices(self, path: str) -> dict[str, str]:
        """What a choice can be set to: those the engine has, and what is set; "" or the reason why one cannot be taken."""
        names, claim, manifest = fields.all_fields()[path].choices, self.claim, self.manifest
        offered = {
            "model.method": claim and claim.methods,
            "network.algorithm": claim and claim.algorithms,
            "optimizer.name": claim and manifest and manifest.optimizers,
            "schedule.scheduler": claim and manifest and manifest.schedulers,
        }.get(path)
        if not offered or manifest is None:
            return dict.fromkeys(names, "")
        value = self._text(path)
        found = {name: "" for name in names if name in offered or name == value}
        if value in found and value not in offered:
            found[value] = f"not with {manifest.title}"
        if path == "optimizer.name":
            found |= {
                name: "not on this machine" for name in found if not self.trials.get(name, {"ok": True}).get("ok")
            }
        return found

    def default(self, path: str) -> Any:
        """What an empty setting stands for, where the catalogue or the model's file says it; else None."""
        if path == "model.zero_terminal_snr" and self._predicts == "v_prediction":
            return zero_terminal_snr(self._family, self.detection)
        optimizer = catalog.optimizers().get(self._text("optimizer.name"))
        section, _, name = path.partition(".")
        return optimizer.settings.get(name) if optimizer is not None and section == "optimizer" else None


def entry(path: str, name: str) -> catalog.Entry | None:
    """The entry of the catalogue that a choice names, where its choices come from there."""
    return next((entries().get(name) for chosen, entries in CATALOGUED.values() if chosen == path), None)


def readers(path: str) -> tuple[str, ...]:
    """The names in the catalogue that read a setting; () for one that does not depend on a choice."""
    section, _, name = path.partition(".")
    if section not in CATALOGUED:
        return ()
    return tuple(known for known, found in CATALOGUED[section][1]().items() if name in getattr(found, "settings", ()))


@functools.cache
def _catalogued(section: str) -> set[str]:
    return {name for found in CATALOGUED[section][1]().values() for name in getattr(found, "settings", ())}
