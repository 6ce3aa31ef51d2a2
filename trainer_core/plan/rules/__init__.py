"""The rules every plan must keep, whatever the engine.

Each is a small function that yields Problems, with a fix where one exists. What only one engine stumbles over is checked
by that engine.
"""

from __future__ import annotations

from trainer_core.plan.rules import choices, course, data, memory, model, output
from trainer_core.plan.rules.case import Case, Rule
from trainer_core.problems import Problem

__all__ = ["RULES", "Case", "check"]

RULES: tuple[Rule, ...] = (
    model.model_is_known,
    model.prediction_is_confirmed,
    model.zero_snr_suits_model,
    model.model_is_no_blind_link,
    model.files_are_safetensors,
    model.folders_are_read,
    model.parts_are_there,
    model.parts_are_what_they_should_be,
    model.paths_are_readable_by_engines,
    model.engine_claims_family,
    model.engine_claims_method,
    model.model_is_trained_as_its_family,
    data.dataset_is_usable,
    data.trigger_is_good,
    data.embedding_has_a_beginning,
    output.name_is_good,
    output.folders_can_be_written,
    output.output_is_new,
    choices.engine_has_what_is_chosen,
    choices.settings_are_read,
    choices.native_tables_are_read,
    choices.native_files_are_there,
    choices.optimizer_works_here,
    memory.precision_suits_card,
    memory.blocks_can_be_swapped,
    course.schedule_fits,
    course.samples_can_be_drawn,
    course.learning_rate_suits_optimizer,
    course.curve_fits_scheduler,
)


def check(case: Case) -> list[Problem]:
    """All Problems of a plan under every rule."""
    return [problem for rule in RULES for problem in rule(case)]
