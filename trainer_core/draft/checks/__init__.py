"""The rules for every plan, with any engine. Not: rules of a single engine, which its backend checks.

Each rule is a small function that yields Problems, with a fix if there is one.
"""

from __future__ import annotations

from trainer_core.draft.checks import (
    choices,
    claimed,
    class_images,
    controls,
    dataset,
    hub,
    loading,
    memory,
    model,
    network,
    output,
    parts,
    schedule,
    subsets,
)
from trainer_core.draft.checks.case import Case, Rule
from trainer_core.problems import Problem

__all__ = ["RULES", "Case", "check"]

RULES: tuple[Rule, ...] = (
    model.model_is_known,
    model.variant_is_known,
    model.model_is_not_distilled,
    model.prediction_is_confirmed,
    model.zero_snr_suits_model,
    model.model_is_no_blind_link,
    model.files_are_safetensors,
    model.folders_are_read,
    model.single_files_are_read,
    parts.parts_are_there,
    parts.parts_are_what_they_should_be,
    model.paths_are_readable_by_engines,
    model.engine_claims_family,
    model.engine_claims_method,
    model.engine_claims_prediction,
    model.model_is_trained_as_its_family,
    dataset.dataset_is_usable,
    dataset.method_has_its_images,
    dataset.trigger_is_good,
    dataset.repeats_are_those_of_the_folder,
    dataset.images_are_large_enough,
    dataset.captions_are_read_to_the_end,
    dataset.captions_are_read_at_all,
    dataset.masks_are_in_the_images,
    dataset.embedding_has_a_beginning,
    dataset.batches_are_filled,
    subsets.folders_are_usable,
    subsets.folders_are_different,
    subsets.folders_are_trained,
    subsets.class_images_have_partners,
    subsets.selections_are_whole,
    subsets.held_out_images_are_there,
    controls.controls_suit_the_model,
    controls.controls_are_good,
    class_images.class_images_are_usable,
    class_images.class_images_show_others,
    class_images.class_images_are_enough,
    output.name_is_good,
    output.folders_can_be_written,
    output.mirror_can_be_written,
    output.mirror_reaches_the_hub,
    output.output_is_new,
    output.older_checkpoints_go,
    output.checkpoints_can_be_looked_through,
    choices.engine_has_what_is_chosen,
    choices.settings_are_read,
    choices.settings_suit_model,
    claimed.family_is_proved,
    claimed.notes_are_read,
    claimed.settings_are_not_replaced,
    choices.native_tables_are_read,
    choices.native_files_are_there,
    choices.optimizer_works_here,
    hub.hub_files_are_there,
    memory.precision_suits_card,
    memory.blocks_can_be_swapped,
    memory.weights_suit_precision,
    memory.weights_of_file_can_be_trained,
    network.alpha_suits_rank,
    loading.programs_load_the_result,
    schedule.schedule_fits,
    schedule.samples_can_be_drawn,
    schedule.prompts_are_used,
    schedule.learning_rate_suits_optimizer,
    schedule.weight_decay_leaves_weights,
    schedule.curve_fits_scheduler,
)


def check(case: Case) -> list[Problem]:
    """The Problems of a plan from all rules."""
    return [problem for rule in RULES for problem in rule(case)]
