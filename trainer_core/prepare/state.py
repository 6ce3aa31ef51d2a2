"""One training job being prepared, as an immutable value: every change returns a new one.

Nothing here accesses a disk, a clock or a driver: the methods take values that were read before. `prepare.reader` reads the
facts of a job, and `prepare.workbench` holds the job of a notebook or a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from trainer_core.draft import prefill, recommend
from trainer_core.draft.layers import Draft, Source
from trainer_core.draft.relevance import Scope
from trainer_core.engines import parts
from trainer_core.errors import PolicyError
from trainer_core.install import choice
from trainer_core.plan import fields

if TYPE_CHECKING:
    from trainer_core import policies
    from trainer_core.catalog.presets import Preset
    from trainer_core.draft.facts import Facts
    from trainer_core.engines.seam import Backend
    from trainer_core.profiles import Profile


@dataclass(frozen=True)
class State:
    """A draft, its profile, preset, policy and engine, and the values computed from them.

    `engines` are all engines, including hidden ones; `engine` is the one that the user chose, None if Easel chooses.
    `chooses_policy`: Easel chooses the policy. `plain`: the job starts from plain defaults, without recommended values.
    `environment` contains the variables of policies. `adjusted` is the last auto-adjust, until it is undone or another policy
    is chosen. `card` contains the values set by machine, library, preset and, over a profile, a distilled model; `smaller` those
    of them that make samples smaller, so that they fit the GPU of the preset; `prefilled` those of the policy, which override them.
    """

    draft: Draft
    engines: tuple[Backend, ...] = ()
    engine: Backend | None = None
    profile: Profile | None = None
    preset: Preset | None = None
    policy: policies.Policy | None = None
    chooses_policy: bool = True
    plain: bool = False
    adjusted: policies.Adjustment | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    smaller: Mapping[str, int] = field(default_factory=dict)
    prefilled: policies.Prefilled | None = None

    @property
    def facts(self) -> Facts:
        """What is known about the files, the machine and its engines."""
        return self.draft.facts

    @property
    def family(self) -> str:
        """The family of the model: as set, else as detected from its file; "" if unknown."""
        found = self.facts.detection.family if self.facts.detection else None
        return self.draft.text("model.family") or found or ""

    @property
    def backend(self) -> Backend | None:
        """The engine that the user chose, else the one that Easel chooses for the model and the method."""
        if self.engine is not None:
            return self.engine
        method, facts = self.draft.text("model.method"), self.facts
        variant = self.draft.text("model.variant")
        return choice.choose(self.family, self.engines, facts.engines, method, facts.detection, variant)

    @property
    def scope(self) -> Scope:
        """The choices that decide which settings apply."""
        return Scope.of(self.draft, self.backend)

    def with_facts(self, **changes: Any) -> Self:
        """This job with other facts."""
        return self._with(draft=self.draft.with_facts(replace(self.facts, **changes)))

    def set(self, values: Mapping[str, Any]) -> Self:
        """This job with these values of the user, by dotted path."""
        return self._with(draft=self.draft.with_values(Source.USER, values))

    def reset(self, *paths: str) -> Self:
        """This job without the user's values at these paths, so that profile, prefill or default apply again."""
        return self._with(draft=self.draft.without(Source.USER, *paths))

    def use_profile(self, profile: Profile | None, policy: policies.Policy | None, *, plain: bool = False) -> Self:
        """This job with a profile, which the user's values override, and the policy of the profile; None removes each.

        A policy that the user chose is kept if neither the old nor the new profile has one. `plain`: without recommended values.
        """
        draft = self.draft.with_layer(Source.PROFILE, profile.settings if profile else {})
        follows = policy is not None or bool(self.profile and self.profile.policy)
        chosen = {"policy": policy, "chooses_policy": policy is None, "adjusted": None} if follows else {}
        return self._with(draft=draft, profile=profile, plain=plain, **chosen)

    def use_preset(self, preset: Preset | None) -> Self:
        """This job with a memory preset, which overrides the profile and is overridden by the user's values."""
        return self._with(preset=preset)

    def use_policy(self, policy: policies.Policy | None, *, chooses: bool = False) -> Self:
        """This job with a policy, which sets the values that depend on the number of images; None for no policy.

        If Easel `chooses`, the job gets the policy for its family if it has no profile.
        """
        return self._with(policy=policy, chooses_policy=chooses, adjusted=None)

    def use_engine(self, engine: Backend | None) -> Self:
        """This job with an engine; None lets Easel choose."""
        return self._with(engine=engine)

    def auto_adjust(self) -> Self:
        """This job without the user's values for the settings of the policy; `adjusted` contains what was set and cleared.

        Raises:
            PolicyError: no policy is chosen.
        """
        if self.policy is None:
            raise PolicyError(
                "No policy is chosen, so there is nothing to adjust.", "Choose a policy next to the profile."
            )
        from trainer_core import policies

        found = policies.adjust(self.policy, self.draft, self.card, self.environment)
        # A second auto-adjust clears nothing, so the first one is kept for undo.
        kept = found if found.cleared or self.adjusted is None else self.adjusted
        return self._with(draft=found.draft, adjusted=kept)

    def undo_adjust(self) -> Self:
        """This job with the policy's settings as they were before the last auto-adjust."""
        if self.adjusted is None:
            return self
        from trainer_core import policies

        return self._with(draft=policies.undo(self.draft, self.adjusted), adjusted=None)

    def begin_from(self, asked: Mapping[str, Any]) -> Self:
        """This job with the values of another job that differ from its own.

        Settings that are detected from the model's file are not taken over.
        """
        mine = {**self.draft.values, "native": {}}
        follows = {path for path, setting in fields.all_fields().items() if setting.about.said_by_model}
        wanted = (path for path in asked if path in mine and path not in follows)
        return self.set({path: asked[path] for path in wanted if asked[path] != mine[path]})

    def _with(self, **changes: Any) -> Self:
        """This job with changed attributes, and the values computed from them."""
        changed = replace(self, **changes)
        if changed.chooses_policy:
            changed = replace(changed, policy=_policy_for(changed))
        recommended = {} if changed.plain else recommend.values(changed.draft, changed.family)
        changed = replace(changed, draft=changed.draft.with_layer(Source.RECOMMENDED, recommended))
        claim = changed.scope.claim
        precisions = claim.cell(changed.draft.text("model.method")).precisions if claim else ()
        card = prefill.values(changed.facts, precisions)
        card |= {**_companions(changed), **over_profile(changed), **_of_preset(changed)}
        found = _prefilled(changed, card)
        draft = changed.draft.with_layer(Source.PREFILL, {**card, **(found.values if found else {})})
        if not changed.plain:
            draft = draft.with_values(Source.RECOMMENDED, recommend.samples(draft, changed.family))
        smaller = _smaller_samples(replace(changed, draft=draft))
        draft = draft.with_values(Source.PREFILL, smaller)
        return replace(changed, draft=draft, card={**card, **smaller}, smaller=smaller, prefilled=found)


def begun(facts: Facts, engines: tuple[Backend, ...], environment: Mapping[str, str]) -> State:
    """A new job, of which only the facts about the machine are known."""
    return State(Draft(facts), engines, environment=environment).use_preset(None)


def _prefilled(state: State, card: Mapping[str, Any]) -> policies.Prefilled | None:
    """What the policy of a job sets; policies are imported when there is one, so that a notebook opens without them."""
    if state.policy is None:
        return None
    from trainer_core import policies

    return policies.recompute(state.policy, state.draft, card, state.environment)


def _policy_for(state: State) -> policies.Policy | None:
    """The policy that Easel chooses: none beside a profile, which has its own number of steps, or without images."""
    images = state.facts.dataset.images if state.facts.dataset else ()
    if state.profile or state.plain or not state.family or not images:
        return None
    from trainer_core import policies

    return policies.automatic(state.family, state.draft.text("model.method"))


def _smaller_samples(state: State) -> dict[str, int]:
    """Sizes with which the samples fit the GPU of the preset, if the usual ones do not; the estimate is needed with a preset only."""
    if state.preset is None or not state.family:
        return {}
    from trainer_core.prepare import preset_job

    return preset_job.smaller_samples(state.draft, state.preset, state.backend)


def over_profile(state: State) -> dict[str, Any]:
    """What samples of a distilled model need instead of the profile's values, which are for the model that it was made from."""
    needed, given = recommend.of_distilled(state.draft, state.family), state.draft.layers.get(Source.PROFILE, {})
    return {path: value for path, value in needed.items() if path in given and given[path] != value}


def _of_preset(state: State) -> dict[str, Any]:
    """The preset's values for the family, without settings that this engine does not support: models fit without them."""
    chosen = state.preset.values_for(state.family) if state.preset else {}
    known, scope = fields.all_fields(), state.scope
    return {path: value for path, value in chosen.items() if not known[path].about.claim or scope.applies(path)}


def _companions(state: State) -> dict[str, str]:
    """The companion files that the model needs, by setting.

    A part that the engine reads from the model's own file is that file; the others are those that the library has.
    """
    found = state.facts.companions.found if state.facts.companions else {}
    claim = state.scope.claim
    inside = parts.own(state.facts.detection, claim) if claim else ()
    model = state.draft.text("model.path")
    files = {f"model.{part}": str(entry.file) for part, entry in found.items() if entry.file}
    files |= {f"model.{part}": model for part in inside if model}
    return {path: file for path in state.scope.needed_parts() if (file := files.get(path))}
