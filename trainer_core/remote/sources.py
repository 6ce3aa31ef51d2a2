"""What can be trained on another machine: the settings that another notebook has kept, or a plan in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import PlanError, wrong_use
from trainer_core.files import read_toml
from trainer_core.plan import fields
from trainer_core.prepare import kept_form
from trainer_core.prepare.workbench import Workbench

NOTEBOOKS = {"lora_trainer": "LoRA Trainer", "finetuning_trainer": "Finetuning Trainer"}
"""The notebooks whose settings can be taken over, by the names of their forms."""
_TOPS = ("profile", "preset", "policy", "engine")
"""The entries at the top of a plan, beside its tables."""


def take_form(bench: Workbench, app: str) -> tuple[str, ...]:
    """Takes over the settings that a notebook has kept, in place of those in the workbench; returns what the user should read.

    Raises:
        PlanError: it has kept none, or they are damaged.
    """
    kept = kept_form.read(kept_form.kept_in(app))
    if kept is None or kept.form.is_empty:
        title = NOTEBOOKS.get(app, app)
        raise PlanError(
            f"{title} has no settings here.", f"Set a model and images in {title} first, in this home of Easel."
        )
    kept_form.clear(bench)
    bench.use_engine("")
    return (*kept.said, *kept_form.use(bench, kept.form))


def take_plan(bench: Workbench, path: str | Path) -> None:
    """Takes over the plan in a file, such as the plan.toml of a run, in place of what is in the workbench.

    Raises:
        PlanError: there is no such file, it is no plan, or its method is none of this workbench.
        BackendError: this Easel does not have its engine.
    """
    file = places.typed(path)
    if not file.is_file():
        raise wrong_use(
            PlanError(f"There is no file {str(file)!r:.300}.", "Name the plan.toml of a run, or a plan of your own.")
        )
    tables = read_toml(file, PlanError, "It must be a plan, such as the plan.toml of a run.")
    tables.pop("schema_version", None)
    tops = {name: str(tables.pop(name, "")) for name in _TOPS}
    plan: dict[str, Any] = tables
    if not plan or not all(isinstance(table, dict) for table in plan.values()):
        raise wrong_use(PlanError(f"{file.name} is no plan.", "A plan has tables such as [model] and [dataset]."))
    flat = fields.flatten(plan)
    if unknown := [name for name in flat if name not in fields.all_fields() and name != "native"]:
        raise wrong_use(PlanError(f"{file.name} has a setting that Easel does not know: {unknown[0]!r:.80}."))
    kept_form.clear(bench)
    bench.use_engine(tops["engine"])
    bench.use_profile(tops["profile"])
    # The values of a preset depend on the family, so the model is set first.
    bench.set({path: flat[path] for path in ("model.path",) if path in flat})
    bench.use_preset(tops["preset"])
    bench.use_policy(tops["policy"])
    bench.set(flat)
