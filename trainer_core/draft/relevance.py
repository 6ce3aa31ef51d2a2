"""Which settings apply to a job, according to the catalogue and the engine's claims.

Forms show these settings and those that were changed; the command line shows for each setting what reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.draft.facts import zero_terminal_snr
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines.claim import Controls
from trainer_core.models import variants
from trainer_core.plan import fields
from trainer_core.plan.subsets import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainer_core.engines.claim import FamilyClaim
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.engines.seam import Backend
    from trainer_core.engines.status import Trial
    from trainer_core.models.detection import Detection
    from trainer_core.plan.fields import SettingField
    from trainer_core.plan.setting import Setting


@dataclass(frozen=True)
class Scope:
    """The choices of a job that decide which other settings apply.

    `values` are those of a draft and may be invalid; `claim` is None if the engine does not train the family; `trials` are
    the results of the engine's optimizers on this machine.
    """

    values: Mapping[str, Any]
    manifest: BackendManifest | None = None
    detection: Detection | None = None
    trials: Mapping[str, Trial] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft, backend: Backend | None) -> Scope:
        """The scope of a draft with an engine."""
        manifest = backend.manifest if backend else None
        trials = draft.facts.engine(manifest.id).trials.optimizers if manifest else {}
        return cls(draft.values, manifest, draft.facts.detection, trials)

    @property
    def claim(self) -> FamilyClaim | None:
        """The engine's claim for the family; None if the engine does not train it, or the family is unknown."""
        return self.manifest.families.get(self._family) if self.manifest else None

    @property
    def _family(self) -> str:
        return self._text("model.family") or (self.detection.family if self.detection else "") or ""

    @property
    def _predicts(self) -> str:
        said = self._text("model.prediction") or (self.detection.prediction if self.detection else "") or ""
        possible = self.claim.possible(said) if self.claim else ()
        return possible[0] if len(possible) == 1 else said

    @property
    def controls(self) -> Controls:
        """How many control images the engine shows this model for each image."""
        # What the user or the name of the file says comes first: in one file, no header shows which model edits images.
        seen = self.detection.variant if self.detection else None
        variant = self._text("model.variant") or variants.likely(self._family, self.detection) or seen
        return self.claim.cell(self._text("model.method")).controls_of(variant) if self.claim else Controls()

    def is_set(self, path: str) -> bool:
        """Whether a setting differs from its default."""
        return self.values[path] != fields.all_fields()[path].default

    def shows(self, path: str, source: Source) -> bool:
        """Whether a setting is shown: if it applies or was changed; a changed setting is never hidden."""
        return self.applies(path) or self.is_set(path) or source is Source.USER

    def applies(self, path: str) -> bool:
        """Whether a setting applies to this job."""
        field = fields.all_fields()[path]
        replacing = fields.replaced_by(path)
        is_replaced = bool(replacing) and self.is_set(replacing)
        return not is_replaced and self._suits(field.about) and self._is_claimed(field) and self._is_read(field)

    def why_not(self, path: str) -> str:
        """Why a setting does not apply to this job, as a sentence; "" if it applies."""
        field = fields.all_fields()[path]
        if self.applies(path):
            return ""
        replacing = fields.replaced_by(path)
        if replacing and self.is_set(replacing):
            return f"{fields.all_fields()[replacing].title} is set, and replaces it."
        if not self._suits(field.about):
            return self._unsuited(field.about)
        if not self._is_claimed(field):
            return self._unclaimed(field)
        if field.section == "schedule" and self._is_schedule_free:
            return f"{self._text('optimizer.name')} has a schedule of its own."
        chosen = fields.choosers()[field.section]
        readers = [chosen.chooses[name].title for name in fields.readers(path)]
        many = f"{', '.join(readers[:6])}{' and others' * (len(readers) > 6)}"
        return f"{self._chosen_title(chosen)} does not read it. These do: {many}."

    def unsupported(self, path: str) -> str:
        """Why the engine does not support a setting that would otherwise apply, as a sentence; "" if it does."""
        field = fields.all_fields()[path]
        replacing = fields.replaced_by(path)
        is_replaced = bool(replacing) and self.is_set(replacing)
        if is_replaced or not self._suits(field.about) or not self._is_read(field) or self._is_claimed(field):
            return ""
        return self._unclaimed(field)

    def _unsuited(self, about: Setting) -> str:
        """Why a setting does not suit the method, the model or the other settings."""
        if about.methods and self._text("model.method") not in about.methods:
            titles = fields.all_fields()["model.method"].about.titles
            return f"Only for the method {' or '.join(titles.get(name, name) for name in about.methods)}."
        if about.predictions and self._predicts not in about.predictions:
            suited = " or ".join(filter(None, about.predictions))
            here = f"this one has {self._predicts}" if self._predicts else "that of this one is not known"
            return f"Only for models with the prediction type {suited}; {here}."
        needed = fields.all_fields()[about.only_with]
        return f"Only if {needed.title} is {needed.on}."

    def _unclaimed(self, field: SettingField) -> str:
        """Why the engine does not support a setting for this family."""
        if self.manifest is None or self.claim is None:
            return "Choose a model first: it depends on the model and the engine."
        title = self.manifest.title
        if field.about.part:
            return f"{title} needs no such file for this model."
        if field.about.choices:
            return f"{title} has only one choice for this model."
        return self.manifest.lacks.get(field.about.claim, f"{title} does not support it for this model.")

    def _chosen_title(self, chosen: SettingField) -> str:
        name = self._text(chosen.path)
        entry = chosen.chooses.get(name)
        return entry.title if entry else name or "The chosen one"

    def _suits(self, about: Setting) -> bool:
        """Whether a setting applies to the method, the model and the other settings."""
        return (
            (not about.methods or self._text("model.method") in about.methods)
            and (not about.predictions or self._predicts in about.predictions)
            and (not about.only_with or bool(self.values[about.only_with]))
        )

    def _is_claimed(self, field: SettingField) -> bool:
        """Whether the engine supports a setting for this family; True for settings that every engine supports."""
        claim, about = self.claim, field.about
        if about.part:
            return claim is not None and field.name in claim.parts
        if about.claim == "controls":
            return self.controls.most > (CONTROLS.index(field.name) if field.name in CONTROLS else 0)
        if about.claim:
            return claim is not None and bool(getattr(claim.cell(self._text("model.method")), about.claim))
        if about.choices == "methods":
            return claim is not None and set(claim.methods) != {field.default}
        return about.choices != "algorithms" or len(self.choices(field.path)) > 1

    def _is_read(self, field: SettingField) -> bool:
        """Whether the chosen catalogue entry reads a setting; settings that no entry lists are always read."""
        if not fields.readers(field.path):
            return True
        if field.section == "schedule" and self._is_schedule_free:
            return field.name == "warmup_steps"  # some of these optimizers have their own warm-up
        chosen = fields.choosers()[field.section]
        return self._text(chosen.path) in fields.readers(field.path)

    @property
    def _is_schedule_free(self) -> bool:
        optimizer = catalog.optimizers().get(self._text("optimizer.name"))
        return optimizer is not None and optimizer.schedule_free

    def _text(self, path: str) -> str:
        """The value of a text setting; "" if it has another type, which the draft refuses."""
        value = self.values[path]
        return value if isinstance(value, str) else ""

    def needed_parts(self) -> tuple[str, ...]:
        """The settings (dotted paths) of the companion files that the model needs."""
        claim = self.claim
        if claim is None:
            return ()
        needed = claim.needed_parts(self.detection.parts if self.detection else ())
        return tuple(part.path for part in fields.parts() if part.name in needed)

    def choices(self, path: str) -> dict[str, str]:
        """The choices that the engine supports, and the current one; for each "" or the reason why it cannot be used."""
        field, manifest = fields.all_fields()[path], self.manifest
        offered = self._offered(field.about.choices)
        if not offered or manifest is None:
            return dict.fromkeys(field.choices, "")
        value = self._text(path)
        found = {name: "" for name in field.choices if name in offered or name == value}
        if value in found and value not in offered:
            found[value] = f"not supported by {manifest.title}"
        if field.about.choices == "optimizers":
            found |= {
                name: "does not work on this machine"
                for name in found
                if name in self.trials and not self.trials[name].works
            }
        return found

    def _offered(self, table: str) -> Collection[str]:
        """The choices of a table that the engine supports; () if unknown."""
        if self.claim is None or self.manifest is None:
            return ()
        tables: dict[str, Collection[str]] = {
            "methods": self.claim.methods,
            "algorithms": self.claim.algorithms,
            "optimizers": self.manifest.optimizers,
            "schedulers": self.manifest.schedulers,
        }
        return tables.get(table, ())

    def default(self, path: str) -> Any:
        """What an empty setting means, if the catalogue or the model's file defines it; else None."""
        if path == "model.zero_terminal_snr" and self._predicts == "v_prediction":
            return zero_terminal_snr(self._family, self.detection)
        optimizer = catalog.optimizers().get(self._text("optimizer.name"))
        section, _, name = path.partition(".")
        return optimizer.settings.get(name) if optimizer is not None and section == "optimizer" else None
