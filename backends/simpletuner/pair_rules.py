"""Problems that SimpleTuner would have with control images, beside their number, which the core compares with the claims."""

from __future__ import annotations

from collections.abc import Iterator

from backends.simpletuner.cell import SimpleTunerCell
from trainer_core.plan import more_folders
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST
from trainer_core.problems import Fix, Problem


def check(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    """The Problems of a plan with control images."""
    if not plan.has_controls:
        return
    if cell.one_pair_a_step and plan.schedule.batch_size > 1:
        # Source: helpers/models/qwen_image/model.py, _prepare_edit_batch_v2: it takes the images of a batch for those of the first.
        message = "With control images SimpleTuner trains this model only with a batch size of 1: more stop it."
        advice = "Gradient accumulation has the same effect."
        yield Problem("schedule.batch_size", "error", f"{message} {advice}", Fix("Use 1", {"schedule.batch_size": 1}))
    if cell.captions_see_controls:
        yield from _seen_by_the_text_encoder(plan)


def _seen_by_the_text_encoder(plan: TrainingPlan) -> Iterator[Problem]:
    """The Problems of a model whose text encoder is shown the control images, too."""
    for folder in plan.folders:
        if folder.shuffle_captions and folder.controls_given:
            # Source: TextEmbedCacheKey.DATASET_AND_FILENAME: the encoding is stored by the name of the image.
            path, is_in_list = "dataset.shuffle_captions", folder.setting == LIST
            message = "SimpleTuner keeps one encoded caption for each pair, so the tags stay in one order."
            fix = Fix("Turn it off", {path: False})
            if is_in_list:
                fix = Fix("Turn it off", more_folders.changed(plan, folder, {"shuffle_captions": False}))
            start = f"{folder.label}: " if is_in_list else ""
            yield Problem(LIST if is_in_list else path, "error", f"{start}{message}", fix)
    # Source: helpers/models/common.py, _resolve_qwen_processor_path: it is read from the folder of the text encoder, if that is set.
    if plan.model.qwen:
        message = (
            "The text encoder is shown the control images, too. SimpleTuner reads its image processor from this folder"
        )
        yield Problem("model.qwen", "info", f"{message}, so it must have the file preprocessor_config.json.")
