"""Rules for the base model, its companion files, and the engine that trains it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from trainer_core.draft.checks.case import Case
from trainer_core.draft.checks.parts import renaming_fix
from trainer_core.engines import parts, registry, trainable
from trainer_core.errors import DownloadError
from trainer_core.plan import fields
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.models.detection import Detection


def model_is_known(case: Case) -> Iterator[Problem]:
    """A model is chosen, exists and is recognised, and no setting contradicts the file."""
    plan, facts = case.plan, case.facts
    if not plan.model.path:
        yield Problem("model.path", "error", "No base model is chosen. Choose a checkpoint file or a diffusers folder.")
        return
    if (seen := case.at("model.path")) is not None and not seen.exists:
        yield _absent(plan.model.path)
        return
    if seen is not None and seen.is_elsewhere:
        if not plan.model.family:
            message = f"The family of {plan.model.path} is not known here, because another machine has the file."
            yield Problem("model.family", "error", f"{message} Set the family.")
        return
    detection = facts.detection
    if detection is None:
        reason = facts.detection_error or "its header was not read"
        yield Problem("model.path", "error", f"The base model could not be recognised: {reason}")
        return
    if detection.role not in ("checkpoint", "diffusion_model"):
        kind = "not recognised" if detection.role == "unknown" else f"a {detection.role.replace('_', ' ')}"
        why = f" ({detection.evidence[0]})" if detection.evidence else ""
        yield Problem("model.path", "error", f"This file is {kind}, not a base model that can be trained on{why}.")
    # The file of a VAE takes the place of the folder's own.
    if lacks := [name for name in detection.lacking if not (name == "vae" and plan.model.vae)]:
        lacking = " and ".join(printable(name, 60) for name in lacks)
        message = f"The folder {plan.model.path} is not complete: it lists {lacking}, and has no such folder. Download it again."
        yield Problem("model.path", "error", message)
    if detection.family and plan.model.family != detection.family:
        fix = Fix("Use the detected family", {"model.family": ""})
        message = f"The family is set to {plan.model.family}, but the file is a model of the family {detection.family}."
        yield Problem("model.family", "error", message, fix)
    said = detection.prediction
    if detection.is_prediction_certain and said and plan.model.prediction and plan.model.prediction != said:
        fix = Fix("Use the detected type", {"model.prediction": ""})
        message = (
            f"The prediction type is {plan.model.prediction}, but the file is marked {said}: the result would be noise."
        )
        yield Problem("model.prediction", "error", message, fix)


def _absent(path: str) -> Problem:
    from trainer_core.models import downloads

    try:
        link = downloads.parse(path)
    except DownloadError as error:
        return Problem("model.path", "error", str(error))
    if link is None:
        return Problem("model.path", "error", f"The base model {path} does not exist.")
    if ":" not in path:  # a path that does not exist, or the name of a repository: org/name
        message = (
            f"The base model {path} does not exist. If it is a repository on Hugging Face, download it first. "
            f"In a terminal: easel models download {path}"
        )
        return Problem("model.path", "error", message)
    message = f"The base model is a link: download it first. In a terminal: easel models download {link.shown}"
    return Problem("model.path", "error", message)


def zero_snr_suits_model(case: Case) -> Iterator[Problem]:
    """Zero terminal SNR is used only for v-prediction models, and only for those that were trained with it.

    Source: Lin et al. 2023, Common Diffusion Noise Schedules and Sample Steps are Flawed, section 3.2: at pure noise a model
    that predicts noise learns nothing. sd-scripts, library/train_util.py, verify_training_args: "training will be unexpected".
    """
    plan, path = case.plan, "model.zero_terminal_snr"
    wanted, fix = plan.model.zero_terminal_snr, Fix("Use the detected value", {path: None})
    said = case.facts.detection.zero_terminal_snr if case.facts.detection else None
    if plan.model.prediction != "v_prediction":
        if wanted is not None:
            message = "Zero terminal SNR is for v-prediction models, and this is none."
            yield Problem(path, "error" if wanted else "info", message, fix)
        return
    if said is not None and wanted is not None and wanted != said:
        message = (
            "The file is marked as trained with zero terminal SNR, but it is set to off: colours and brightness would shift."
            if said
            else "The file is marked as v-prediction without zero terminal SNR, but it is set to on."
        )
        yield Problem(path, "error" if said else "warning", message, fix)
    if wanted and plan.schedule.noise_offset:
        # Source: the same paper, section 1: the offset makes up for noise that does not end in pure noise.
        message = "With zero terminal SNR, a model already learns bright and dark images: a noise offset shifts their brightness."
        fix = Fix("Use no noise offset", {"schedule.noise_offset": 0.0})
        yield Problem("schedule.noise_offset", "warning", message, fix)


def prediction_is_confirmed(case: Case) -> Iterator[Problem]:
    """The user confirms the prediction type of a model that is named like v-prediction but has no marker in its file."""
    detection, prediction = case.facts.detection, case.plan.model.prediction
    if detection is None or not detection.named_prediction or prediction == detection.named_prediction:
        return
    message = (
        "The model is named like a v-prediction model, but its file has no marker for it: "
        f"it would be trained with {prediction}. If it is a v-prediction model, the result would be noise."
    )
    fix = Fix("Use v-prediction", {"model.prediction": detection.named_prediction})
    yield Problem("model.prediction", "warning", message, fix)


def variant_is_known(case: Case) -> Iterator[Problem]:
    """The engine is told the right one of several variants, also where no header can show which one it is."""
    from trainer_core.models.families import load_families

    path, chosen, found = "model.variant", case.plan.model.variant, case.facts.detection
    family = load_families().get(case.plan.model.family)
    if family is None:
        return
    is_own = found is not None and found.family == family.id
    alike = family.alike(found.variant, found.layout) if is_own and found else family.variants
    back = Fix("Use the detected variant", {path: ""})
    flavours = case.claim.cell(case.plan.model.method).flavours if case.claim else {}
    if chosen and chosen not in family.variants:
        known = ", ".join(family.variants) or "none"
        yield Problem(path, "error", f"{family.title} has no variant {chosen!r:.60}. It has: {known}.", back)
    elif chosen and chosen not in alike:
        yield Problem(path, "error", f"The variant is set to {chosen}, but the file is {' or '.join(alike)}.", back)
    elif not chosen and len(of := [each for each in alike if each in flavours]) > 1:
        known = " or ".join(of)
        message = (
            f"Whether this {family.title} is {known} cannot be seen in the file, and its training differs. Set it."
        )
        yield Problem(path, "error", message, Fix(f"Train it as {of[0]}", {path: of[0]}))
    elif is_own and found and found.guess and found.guess.variant == chosen != "" and chosen in flavours:
        other = next((each for each in alike if each != chosen), "")
        if not other:
            # The header shows what the name says.
            return
        message = f"By its name this is {found.guess.title}, and it is trained as such: its layers cannot show it."
        yield Problem(path, "info", message, Fix(f"Train it as {other} instead", {path: other}))


def model_is_not_distilled(case: Case) -> Iterator[Problem]:
    """Training a model that was distilled to few steps takes that back; a network of its base usually works on both."""
    from trainer_core.models import variants

    found, wanted = case.facts.detection, case.plan.model
    said = variants.distilled(wanted.family, found, wanted.variant)
    if not said:
        return
    variant = wanted.variant or variants.likely(wanted.family, found)
    if case.claim and case.claim.cell(wanted.method).adapters.get(variant):
        return  # The engine has a network for it that keeps the distillation, and asks for it itself.
    own = case.plan.native.get(case.backend.manifest.id, {}) if case.backend else {}
    added = [name for name in case.backend.manifest.options.added if own.get(name)] if case.backend else []
    if added and wanted.method != "full":
        message = f"{said}. The network in {added[0]} is added to it while yours is trained: if it is the training adapter of this model, "
        yield Problem("model.path", "info", f"{message}that keeps the distillation.")
        return
    message = f"{said}. Training takes the distillation back, and then it needs many steps"
    yield Problem("model.path", "warning", f"{message}. If the model that it was made from can be had, train that one.")


def model_is_no_blind_link(case: Case) -> Iterator[Problem]:
    """The engine can follow a symbolic link to the model, if its loader for this family checks the link's target."""
    seen, claim = case.at("model.path"), case.claim
    if claim is None or not claim.follows_links or seen is None or not seen.exists or not seen.leads_to:
        return
    path, engine = PurePath(seen.path), case.backend.manifest.title if case.backend else ""
    if PurePath(seen.leads_to).suffix != path.suffix and not seen.is_folder:
        message = f"{path.name} is a symbolic link to a file with another extension, as in a download cache"
        yield Problem(
            "model.path",
            "error",
            f"{message}, so {engine} would not recognise it. Copy the model, or use a hard link.",
        )
    elif seen.is_relative and not claim.relative_links:
        message = (
            f"{path.name} is a symbolic link with a relative target, which {engine} would look for in another folder."
        )
        yield Problem("model.path", "error", message, Fix("Use the target of the link", {"model.path": seen.leads_to}))


def files_are_safetensors(case: Case) -> Iterator[Problem]:
    """Every model file has the extension .safetensors, in lower case, if the engine reads files with other extensions as a pickle.

    Source: sd-scripts, library/model_util.py, load_checkpoint_with_text_encoder_conversion: torch.load of anything else.
    """
    ignored = case.claim.any_ending if case.claim else ()
    for setting in fields.model_files():
        seen = case.at(setting.path)
        if seen is None or not seen.text or not seen.exists or seen.is_folder or setting.name in ignored:
            continue
        path = PurePath(seen.path)
        if path.suffix != ".safetensors":
            message = f"{path.name} is not a .safetensors file. Engines could run code from other files, so Easel refuses them."
            yield Problem(setting.path, "error", f"{message} Convert it, or rename it if only the extension is wrong.")


def folders_are_read(case: Case) -> Iterator[Problem]:
    """The engine reads this family from a folder, if the model is one; an engine that does not declares `folders = false`."""
    claim, found, seen = case.claim, case.facts.detection, case.at("model.path")
    if (
        (found is None or found.layout != "pipeline")
        and claim is not None
        and not claim.folders
        and seen is not None
        and seen.text
        and seen.is_folder
    ):
        title = case.backend.manifest.title if case.backend else "This engine"
        message = trainable.needs_file(case.plan.model.family, title)
        yield Problem("model.path", "error", message, _other_engine(case))


def single_files_are_read(case: Case) -> Iterator[Problem]:
    """The engine reads this family from a single file, if the model is one; an engine that does not declares `single_file = false`.

    Of a file that was recognised as a model of the family, `model_is_trained_as_its_family` says it.
    """
    claim, found, seen, engine = case.claim, case.facts.detection, case.at("model.path"), case.backend
    if claim is None or claim.single_file or seen is None or not seen.text or seen.is_folder or engine is None:
        return
    family = case.plan.model.family
    if found is not None and found.family == family and found.role in trainable.BASES:
        return
    if seen.exists or (seen.is_elsewhere and seen.text.lower().endswith(".safetensors")):
        message = trainable.needs_folder(family, engine.manifest.title, case.plan.model.variant)
        yield Problem("model.path", "error", message, _other_engine(case))


def model_is_trained_as_its_family(case: Case) -> Iterator[Problem]:
    """The engine trains this variant of the family, and can load the layout and format of this file."""
    detection, engine = case.facts.detection, case.backend.manifest if case.backend else None
    if detection is None or engine is None or detection.role not in trainable.BASES or case.claim is None:
        return
    if detection.family == case.plan.model.family and (
        reason := trainable.why_not(detection, engine, case.plan.model.variant)
    ):
        fix = _renamed_model(case, detection, engine) or _other_engine(case)
        # A reason that names the engine is a sentence of its own.
        message = reason if reason.startswith(engine.title) else f"{engine.title} does not train this model. {reason}"
        yield Problem("model.path", "error", message, fix)


def _renamed_model(case: Case, detection: Detection, engine: BackendManifest) -> Fix | None:
    """The fix that renames the model's tensors, if the engine would train the renamed model; else None."""
    to = parts.renamed_model(detection, engine) if case.model_path else None
    return renaming_fix("model.path", case.model_path, detection.family or "", to) if to else None


def paths_are_readable_by_engines(case: Case) -> Iterator[Problem]:
    """The names of model files are UTF-8, like the configuration of an engine."""
    model = case.plan.model
    for path, text in ((setting.path, getattr(model, setting.name)) for setting in fields.model_files()):
        if text != text.encode("utf-8", "ignore").decode():
            message = f"{text!r:.100} is not UTF-8, so it cannot be written into the configuration of an engine. Rename the file."
            yield Problem(path, "error", message)


def engine_claims_family(case: Case) -> Iterator[Problem]:
    """There is an engine, and it trains this family."""
    backend, family, found = case.backend, case.plan.model.family, case.facts.detection
    if not family:
        return
    # Of a family that was recognised, the setting is empty, and must not be taken for one that is missing.
    path = "model.path" if case.model_path and found and found.family == family else "model.family"
    title = trainable.family_title(family)
    if backend is None:
        yield Problem(path, "error", f"No engine in this version of Easel trains {title}.")
    elif reason := backend.manifest.refused.get(family):
        yield Problem(path, "error", f"{backend.manifest.title} does not train {title}: {reason}", _other_engine(case))
    elif family not in backend.manifest.families:
        message = f"{backend.manifest.title} does not train {title}.{_others(family)}"
        yield Problem(path, "error", message, _other_engine(case))


def _other_engine(case: Case) -> Fix | None:
    """The fix that uses an engine which trains this model by this method, an installed one first; None if there is none."""
    wanted, found = case.plan.model, case.facts.detection
    seen, own = case.at("model.path"), case.backend.manifest.id if case.backend else ""

    def reads(one: BackendManifest) -> bool:
        claim = one.families.get(wanted.family)
        if claim is None or wanted.method not in claim.methods or one.id == own:
            return False
        if found is not None and found.family == wanted.family and found.role in trainable.BASES:
            return not trainable.why_not(found, one, wanted.variant)
        if seen is None or not seen.text:
            return True
        return claim.folders if seen.is_folder else claim.single_file

    able = [each.manifest for each in registry.available() if reads(each.manifest)]
    best = min(able, key=lambda one: (not case.facts.engine(one.id).installed, one.rank, one.id), default=None)
    return Fix(f"Use {best.title}", engine=best.id) if best is not None else None


def _others(family: str) -> str:
    """A sentence that names the engines that train a family; "" if there is none."""
    titles = [each.manifest.title for each in registry.available() if family in each.manifest.families]
    return f" Choose another engine: {' or '.join(titles)}." if titles else ""


def engine_claims_prediction(case: Case) -> Iterator[Problem]:
    """The engine trains models of this family with this prediction type."""
    claim, prediction = case.claim, case.plan.model.prediction
    if claim is not None and claim.predictions and prediction and prediction not in claim.predictions:
        fix = Fix("Use the detected type", {"model.prediction": ""})
        message = f"This engine does not support {prediction} for this model family."
        yield Problem("model.prediction", "error", message, fix)


def engine_claims_method(case: Case) -> Iterator[Problem]:
    """The engine trains this family with this method."""
    claim, method = case.claim, case.plan.model.method
    if case.backend is None or claim is None or method in claim.methods:
        return
    titles = {
        "lora": "networks",
        "full": "full finetuning",
        "dreambooth": "DreamBooth",
        "textual_inversion": "textual inversion",
    }
    fix = Fix("Train a LoRA", {"model.method": "lora"}) if "lora" in claim.methods else None
    message = f"{case.backend.manifest.title} does not support {titles[method]} for models of this family."
    yield Problem("model.method", "error", message, fix)
