"""Checks native settings that an engine uses only together with another setting: [needs] of its `options.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.engines import arguments
from trainer_core.engines.option_rules import OptionRules
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem


def set_native(plan: TrainingPlan, engine: str, name: str, value: Any) -> dict[str, Any]:
    """The changes of a fix that sets a native setting of an engine; None takes it out."""
    table = {**plan.native.get(engine, {}), name: value}
    return {"native": {**plan.native, engine: {key: each for key, each in table.items() if each is not None}}}


def leave_out(plan: TrainingPlan, engine: str, name: str) -> Fix:
    """The fix that takes a native setting out."""
    return Fix(f"Leave {name} out", set_native(plan, engine, name, None))


def remove_entry(plan: TrainingPlan, engine: str, option: str, key: str) -> Fix:
    """The fix that takes one key out of a native setting that is a list of key=value."""
    own = plan.native.get(engine, {}).get(option)
    kept = arguments.with_entry(own, key, None, many=not isinstance(own, str))
    return Fix(f"Remove {key:.40}", set_native(plan, engine, option, kept))


def unmet(
    engine: str, plan: TrainingPlan, native: Mapping[str, Any], rules: OptionRules, fixed: Mapping[str, Any]
) -> Iterator[Problem]:
    """The Problems of native settings that have no effect, because the setting that they need is off or has another value.

    `native` are the valid native settings of the plan. `fixed` are other options that Easel always sets, by name.
    """
    own = {**fixed, **plan.native.get(engine, {})}
    for name, (other, *choices) in rules.needs.items():
        if not native.get(name):
            continue
        assert isinstance(other, str)
        section, _, setting = other.rpartition(".")
        given = getattr(getattr(plan, section), setting) if section else own.get(other)
        if not given or (choices and given not in choices[0]):
            is_switch = section and given is False and not choices
            on = Fix(f"Turn {fields.all_fields()[other].title} on", {other: True}) if is_switch else None
            message = f"{name} has no effect {_why(other, given, choices)}"
            yield Problem(f"native.{engine}.{name}", "error", message, on or leave_out(plan, engine, name))


def _why(other: str, given: Any, choices: list[Any]) -> str:
    """The end of the sentence: the value with which it has no effect, or the setting that is missing."""
    chosen = fields.choosers().get(other.partition(".")[0])
    if choices and chosen is not None and chosen.path == other:
        return f"with {other} {given}: it works only with {', '.join(choices[0])}."
    return f"without {other} as {' or '.join(choices[0])}." if choices else f"without {other}."
