"""A draft: layers of values, and facts about files and machine, from which a plan is made."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer_core.draft import checks
from trainer_core.draft.facts import Facts, zero_terminal_snr
from trainer_core.engines import registry
from trainer_core.errors import PlanError
from trainer_core.models import variants
from trainer_core.plan import fields
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem, blocking

if TYPE_CHECKING:
    from trainer_core.engines.seam import Backend


class Source(enum.IntEnum):
    """Where a value comes from; a higher source overrides a lower one."""

    DEFAULT = 0
    RECOMMENDED = 1
    PROFILE = 2
    PREFILL = 3
    USER = 4


@dataclass(frozen=True)
class Draft:
    """Facts, and for each source its values by dotted path."""

    facts: Facts
    layers: Mapping[Source, Mapping[str, Any]] = field(default_factory=dict)

    def with_values(self, source: Source, values: Mapping[str, Any]) -> Draft:
        """This draft with additional values from one source."""
        return replace(self, layers={**self.layers, source: {**self.layers.get(source, {}), **values}})

    def with_layer(self, source: Source, values: Mapping[str, Any]) -> Draft:
        """This draft with all values of one source replaced."""
        return replace(self, layers={**self.layers, source: dict(values)})

    def without(self, source: Source, *paths: str) -> Draft:
        """This draft without one source's values at these paths."""
        kept = {path: value for path, value in self.layers.get(source, {}).items() if path not in paths}
        return replace(self, layers={**self.layers, source: kept})

    def with_facts(self, facts: Facts) -> Draft:
        """This draft with other facts."""
        return replace(self, facts=facts)

    def source_of(self, path: str) -> Source:
        """The highest source that has a value for the path."""
        return next(
            (source for source in sorted(Source, reverse=True) if path in self.layers.get(source, {})), Source.DEFAULT
        )

    @property
    def values(self) -> dict[str, Any]:
        """The value of every setting by dotted path, and `native` if a layer contains it."""
        return dict(self._values)

    @property
    def usable_values(self) -> dict[str, Any]:
        """The value of every setting, with an invalid value replaced by the next lower valid one; without unknown paths."""
        return dict(self._usable_values)

    # A draft never changes, and trying one fix asks for its values dozens of times.
    @functools.cached_property
    def _values(self) -> dict[str, Any]:
        merged = {path: setting.default for path, setting in fields.all_fields().items()}
        for source in sorted(Source):
            merged.update(self.layers.get(source, {}))
        return merged

    @functools.cached_property
    def _usable_values(self) -> dict[str, Any]:
        found = {path: setting.default for path, setting in fields.all_fields().items()}
        for source in sorted(Source):
            for path, value in self.layers.get(source, {}).items():
                if path == "native":
                    found |= {path: value} if is_native(value) else {}
                elif path in found and not (checked := fields.check(path, value))[1]:
                    found[path] = checked[0]
        return found

    @property
    def below_user(self) -> dict[str, Any]:
        """The values of all sources below the user, by dotted path."""
        found: dict[str, Any] = {}
        for source in sorted(Source)[:-1]:
            found |= self.layers.get(source, {})
        return found

    def text(self, path: str) -> str:
        """The value of a text setting; "" if it has another type, which is a Problem."""
        value = self._values[path]
        return value if isinstance(value, str) else ""

    def value_problems(self) -> list[Problem]:
        """The Problems of unknown paths, and of values outside their declared type or bounds."""
        problems = []
        known, usable = fields.all_fields(), self._usable_values
        for path, value in self._values.items():
            if path == "native":
                if not is_native(value):
                    message = "Native settings must be in a table for each engine: [native.<engine>]."
                    problems.append(Problem("native", "error", message))
            elif path not in known:
                problems.append(Problem(path, "error", f"There is no setting called {path}."))
            elif sentence := fields.check(path, value)[1]:
                fix = Fix(f"Use {usable[path]!r}", {path: usable[path]})
                problems.append(Problem(path, "error", sentence, fix))
        return problems

    def problems(self, backend: Backend | None) -> tuple[Problem, ...]:
        """All Problems of this draft with an engine, errors first; `backend` is None if no engine could be chosen.

        Where a value is invalid, the rules see the next lower valid one, so that Problems of other settings are still found.
        """
        found = self.value_problems()
        invalid, plan = {problem.path for problem in found}, self.sketch()
        others = list(checks.check(checks.Case(plan, self.facts, backend, self.below_user)))
        if backend is not None:
            others += registry.problems_of(backend, plan, self.facts.machine, self.facts.engine(backend.manifest.id))
        found += (problem for problem in (*others, *self._replaced()) if problem.path not in invalid)
        order = ("error", "warning", "info")
        return tuple(sorted(found, key=lambda problem: order.index(problem.severity)))

    def _replaced(self) -> Iterator[Problem]:
        """The Problems of the user's own values that another setting replaces; a profile's are replaced without a word."""
        values = self._usable_values
        for path, setting in fields.all_fields().items():
            one = setting.about.replaces
            if one and values[path] != setting.default and self.source_of(one) is Source.USER:
                yield no_effect(one, f"{setting.title} are set, too, and replace it.")

    def plan(self, backend: Backend) -> TrainingPlan:
        """The plan of this draft.

        Raises:
            PlanError: there is a blocking Problem.
        """
        if stopping := blocking(self.problems(backend)):
            more = f" There {'is' if len(stopping) == 2 else 'are'} {len(stopping) - 1} more." if stopping[1:] else ""
            advice = "Accept the suggested fix, or change the setting." if stopping[0].fix else "Change the setting."
            raise PlanError(stopping[0].message, f"{advice}{more}", stopping)
        return self.sketch()

    def sketch(self) -> TrainingPlan:
        """The plan of this draft, even if there are Problems."""
        values, known = self.usable_values, fields.all_fields()
        for path, setting in known.items():
            # A setting that is replaced is left out, so that a plan does not contradict itself.
            if setting.about.replaces and values[path] != setting.default:
                values[setting.about.replaces] = known[setting.about.replaces].default
        detection = self.facts.detection
        if detection is not None:
            values["model.family"] = values["model.family"] or detection.family or ""
            values["model.prediction"] = values["model.prediction"] or detection.prediction or ""
            values["model.variant"] = values["model.variant"] or variants.likely(values["model.family"], detection)
        if values["model.zero_terminal_snr"] is None and values["model.prediction"] == "v_prediction":
            values["model.zero_terminal_snr"] = zero_terminal_snr(values["model.family"], detection)
        return TrainingPlan.model_validate(fields.nest(values))


def is_native(value: Any) -> bool:
    """Whether a value has the structure of native settings: a table for each engine."""
    return isinstance(value, Mapping) and all(isinstance(table, Mapping) for table in value.values())
