"""A draft: layers of values over facts about files and machine, on its way to a plan."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer_core.errors import PlanError
from trainer_core.plan import fields, rules
from trainer_core.plan.facts import Facts, zero_terminal_snr
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem, blocking

if TYPE_CHECKING:
    from trainer_core.backend import Backend


class Source(enum.IntEnum):
    """Where a value comes from; a higher one covers a lower one."""

    DEFAULT = 0
    PROFILE = 1
    PREFILL = 2
    USER = 3


@dataclass(frozen=True)
class Draft:
    """Facts, and for each source a flat mapping of dotted path to value."""

    facts: Facts
    layers: Mapping[Source, Mapping[str, Any]] = field(default_factory=dict)

    def with_values(self, source: Source, values: Mapping[str, Any]) -> Draft:
        """This draft with more values from one source."""
        return replace(self, layers={**self.layers, source: {**self.layers.get(source, {}), **values}})

    def with_layer(self, source: Source, values: Mapping[str, Any]) -> Draft:
        """This draft with all values of one source replaced."""
        return replace(self, layers={**self.layers, source: dict(values)})

    def without(self, source: Source, *paths: str) -> Draft:
        """This draft without one source's values at these paths."""
        kept = {path: value for path, value in self.layers.get(source, {}).items() if path not in paths}
        return replace(self, layers={**self.layers, source: kept})

    def with_facts(self, facts: Facts) -> Draft:
        """This draft over other facts."""
        return replace(self, facts=facts)

    def source_of(self, path: str) -> Source:
        """The highest source that has a value for the path."""
        return next(
            (source for source in sorted(Source, reverse=True) if path in self.layers.get(source, {})), Source.DEFAULT
        )

    @property
    def values(self) -> dict[str, Any]:
        """The value of every setting by dotted path, and `native` when any layer has it."""
        merged = {path: setting.default for path, setting in fields.all_fields().items()}
        for source in sorted(Source):
            merged.update(self.layers.get(source, {}))
        return merged

    def value_problems(self) -> list[Problem]:
        """Paths nobody knows and values outside their declared type or bounds."""
        problems = []
        known = fields.all_fields()
        for path, value in self.values.items():
            if path == "native":
                if not is_native(value):
                    problems.append(Problem("native", "error", "Native settings are tables by engine: [native.kohya]."))
            elif path not in known:
                problems.append(Problem(path, "error", f"There is no setting called {path}."))
            elif sentence := fields.check(path, value)[1]:
                fix = Fix(f"Use {known[path].default!r}", {path: known[path].default})
                problems.append(Problem(path, "error", sentence, fix))
        return problems

    def problems(self, backend: Backend | None) -> tuple[Problem, ...]:
        """Everything wrong with this draft for an engine, worst first; `backend` None when no engine could be chosen."""
        found = self.value_problems()
        if not found:
            plan = self.sketch()
            found = rules.check(rules.Case(plan, self.facts, backend))
            if backend is not None:
                found += backend.problems(plan, self.facts.machine)
        order = ("error", "warning", "info")
        return tuple(sorted(found, key=lambda problem: order.index(problem.severity)))

    def plan(self, backend: Backend) -> TrainingPlan:
        """The plan of this draft.

        Raises:
            PlanError: a blocking Problem stands.
        """
        if stopping := blocking(self.problems(backend)):
            raise PlanError(stopping[0].message, "Mend it, or accept the fix that is offered.", stopping)
        return self.sketch()

    def sketch(self) -> TrainingPlan:
        """The plan as it stands, Problems and all; every value must be valid."""
        values = {
            path: fields.check(path, value)[0] if path != "native" else value for path, value in self.values.items()
        }
        detection = self.facts.detection
        if detection is not None:
            values["model.family"] = values["model.family"] or detection.family or ""
            values["model.prediction"] = values["model.prediction"] or detection.prediction or ""
        if values["model.zero_terminal_snr"] is None and values["model.prediction"] == "v_prediction":
            values["model.zero_terminal_snr"] = zero_terminal_snr(values["model.family"], detection)
        return TrainingPlan.model_validate(fields.nest(values))


def is_native(value: Any) -> bool:
    """Whether a value has the shape of native settings: tables by engine."""
    return isinstance(value, Mapping) and all(isinstance(table, Mapping) for table in value.values())
