"""Rules for the base model, the files beside it, and who trains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer_core import catalog, places, trainable
from trainer_core.errors import DownloadError
from trainer_core.plan import fields
from trainer_core.plan.rules.case import Case
from trainer_core.plan.sections import MODEL_FILES, PARTS
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.detection import Detection


def model_is_known(case: Case) -> Iterator[Problem]:
    """A model is chosen, exists and is recognised, and nothing said contradicts the file."""
    plan, facts = case.plan, case.facts
    if not plan.model.path:
        yield Problem("model.path", "error", "No base model is chosen. Pick a checkpoint file or a diffusers folder.")
        return
    if not places.is_there(places.typed(plan.model.path)):
        yield _absent(plan.model.path)
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
    if detection.family and plan.model.family != detection.family:
        fix = Fix("Use what the file says", {"model.family": ""})
        message = f"The family is set to {plan.model.family}, but the file is {detection.family}."
        yield Problem("model.family", "error", message, fix)
    said = detection.prediction
    if detection.is_prediction_certain and said and plan.model.prediction and plan.model.prediction != said:
        fix = Fix("Use what the file says", {"model.prediction": ""})
        message = (
            f"Prediction is set to {plan.model.prediction}, but the file is marked {said}: training would yield noise."
        )
        yield Problem("model.prediction", "error", message, fix)


def _absent(path: str) -> Problem:
    from trainer_core import downloads

    try:
        link = downloads.parse(path)
    except DownloadError as error:
        return Problem("model.path", "error", str(error))
    # A path that is not there reads like the name of a repository as well: org/name.
    if link is None or ":" not in path:
        return Problem("model.path", "error", f"The base model {path} does not exist.")
    message = f"The base model is a link. Fetch it first with: easel models download {link.shown}"
    return Problem("model.path", "error", message)


def zero_snr_suits_model(case: Case) -> Iterator[Problem]:
    """Noise up to pure noise is for models that predict v, and for those of them that were trained so.

    Source: Lin et al. 2023, Common Diffusion Noise Schedules and Sample Steps are Flawed, section 3.2: at pure noise a model
    that predicts noise learns nothing. sd-scripts, library/train_util.py, verify_training_args: "training will be unexpected".
    """
    plan, path = case.plan, "model.zero_terminal_snr"
    wanted, fix = plan.model.zero_terminal_snr, Fix("Use what the file says", {path: None})
    said = case.facts.detection.zero_terminal_snr if case.facts.detection else None
    if plan.model.prediction != "v_prediction":
        if wanted is not None:
            message = "Zero terminal SNR is for models that predict v, and this one does not."
            yield Problem(path, "error" if wanted else "info", message, fix)
        return
    if said is not None and wanted is not None and wanted != said:
        message = (
            "The file is marked as trained with zero terminal SNR, and it is set to off: colours and light would shift."
            if said
            else "The file is marked as predicting v without zero terminal SNR, and it is set to on."
        )
        yield Problem(path, "error" if said else "warning", message, fix)
    if wanted and plan.schedule.noise_offset:
        # Source: the same paper, section 1: the offset makes up for noise that does not end in pure noise.
        message = "With zero terminal SNR bright and dark pictures are learnt already: a noise offset shifts them."
        fix = Fix("Use no offset", {"schedule.noise_offset": 0.0})
        yield Problem("schedule.noise_offset", "warning", message, fix)


def prediction_is_confirmed(case: Case) -> Iterator[Problem]:
    """A model that is named like a v-prediction model and carries no marker is not trained on epsilon unasked."""
    detection, prediction = case.facts.detection, case.plan.model.prediction
    if detection is None or not detection.named_prediction or prediction == detection.named_prediction:
        return
    message = (
        "The model is named like a v-prediction model, and its file carries no marker: "
        f"it would be trained on {prediction}. If it predicts v, that yields noise."
    )
    fix = Fix("It predicts v", {"model.prediction": detection.named_prediction})
    yield Problem("model.prediction", "warning", message, fix)


def model_is_no_blind_link(case: Case) -> Iterator[Problem]:
    """A link to a model keeps its ending, for an engine that looks at the ending of what the link leads to."""
    path = places.typed(case.plan.model.path)
    engine = case.backend.manifest if case.backend else None
    if engine is None or not engine.tables.get("model", {}).get("follows_links"):
        return
    if not places.is_there(path) or not path.is_symlink():
        return
    if path.resolve().suffix != path.suffix:
        message = f"{engine.title} follows the link {path.name} to a file without its ending (a download cache has such files)"
        yield Problem(
            "model.path", "error", f"{message} and would not know it. Copy the model, or link it by hard link."
        )


def files_are_safetensors(case: Case) -> Iterator[Problem]:
    """Every model file is called .safetensors, in these very letters: by another ending an engine reads it as a pickle.

    Source: sd-scripts, library/model_util.py, load_checkpoint_with_text_encoder_conversion: torch.load of anything else.
    """
    model = case.plan.model
    for name in MODEL_FILES:
        path = places.typed(getattr(model, name))
        is_file = getattr(model, name) and places.is_there(path) and not places.is_folder(path)
        if is_file and path.suffix != ".safetensors":
            message = (
                f"{path.name} is not called .safetensors. Engines read other files as programs, so Easel does not."
            )
            yield Problem(f"model.{name}", "error", f"{message} Rename or convert it.")


def folders_are_read(case: Case) -> Iterator[Problem]:
    """The engine reads this family from a folder of one component, where one is given; else it declares `folders = false`."""
    claim, path, seen = case.claim, case.plan.model.path, case.facts.detection
    if (
        (seen is None or seen.layout != "pipeline")
        and claim is not None
        and not claim.options.get("folders", True)
        and path
        and places.is_folder(places.typed(path))
    ):
        message = "This engine reads models of this family from one .safetensors file, not from a diffusers folder."
        yield Problem("model.path", "error", message)


def parts_are_there(case: Case) -> Iterator[Problem]:
    """The files a model needs beside it are named and exist, and no file is named that nothing reads."""
    known, claim = fields.all_fields(), case.claim
    detection = case.facts.detection
    needed = claim.needed_parts(detection.parts if detection else ()) if claim else ()
    for part in PARTS:
        path, value = f"model.{part}", getattr(case.plan.model, part)
        title = known[path].title
        if value and claim is not None and part not in claim.parts:
            message = f"{title} has no effect: with this engine, a model of this family has none beside it."
            yield Problem(path, "warning", message, Fix("Name none", {path: ""}))
        elif value and not places.is_there(places.typed(value)):
            yield Problem(path, "error", f"The {title} {value} does not exist.", Fix("Name none", {path: ""}))
        elif claim is None:
            continue
        elif not value and part in needed:
            yield Problem(
                path, "error", f"This model needs a {title} file beside it, and none is named.{_get(case, part)}"
            )


def parts_are_what_they_should_be(case: Case) -> Iterator[Problem]:
    """Each file beside the model is of a kind that the model was made with, as its header says."""
    if not case.facts.parts:
        return
    from trainer_core.families import load_families

    family = load_families().get(case.plan.model.family)
    for part, seen in case.facts.parts.items():
        path, value = f"model.{part}", getattr(case.plan.model, part)
        wanted = family.parts.get(part, ()) if family else ()
        if not value or not wanted or not places.is_there(places.typed(value)):
            continue
        name, fix = places.typed(value).name, Fix("Name none", {path: ""})
        if isinstance(seen, str):
            yield Problem(path, "error", f"{name} could not be recognised: {seen}", fix)
        elif reason := trainable.unread(seen):
            yield Problem(path, "error", f"{name} cannot be used. {reason}", fix)
        elif seen.variant not in wanted:
            kinds = " or ".join(catalog.parts()[kind].title for kind in wanted)
            is_known = seen.role != "unknown" and seen.variant in catalog.parts()
            severity = "error" if is_known or seen.role not in ("vae", "text_encoder") else "warning"
            yield Problem(path, severity, f"{name} is {_kind(seen)}, and this model was made with {kinds}.", fix)


def _kind(seen: Detection) -> str:
    known = catalog.parts().get(seen.variant)
    if known is not None:
        return known.title
    return "not recognised" if seen.role == "unknown" else f"a {seen.role.replace('_', ' ')} of an unknown kind"


def _get(case: Case, part: str) -> str:
    """Where a file that the library has not can be had, as a sentence; "" where that is not known."""
    missing = case.facts.beside.missing if case.facts.beside else ()
    source = next((each.sources[0] for each in missing if each.setting == part and each.sources), None)
    return f" Get it with: easel models download hf:{source.repo}/{source.file}" if source else ""


def model_is_trained_as_its_family(case: Case) -> Iterator[Problem]:
    """The engine trains this variant of the family, and loads it in the form, the layout and the format that it has here."""
    detection, engine = case.facts.detection, case.backend.manifest if case.backend else None
    if detection is None or engine is None or detection.role not in trainable.BASES or case.claim is None:
        return
    if detection.family == case.plan.model.family and (reason := trainable.why_not(detection, engine)):
        yield Problem("model.path", "error", f"{engine.title} does not train this model. {reason}")


def paths_are_readable_by_engines(case: Case) -> Iterator[Problem]:
    """The names of the files an engine is told of are UTF-8, as its configuration is."""
    model = case.plan.model
    for path, text in ((f"model.{name}", getattr(model, name)) for name in MODEL_FILES):
        if text != text.encode("utf-8", "ignore").decode():
            message = f"{text!r:.100} is not UTF-8, so no engine finds it by its configuration. Rename the file."
            yield Problem(path, "error", message)


def engine_claims_family(case: Case) -> Iterator[Problem]:
    """There is an engine, and it trains this family."""
    plan, backend = case.plan, case.backend
    family = plan.model.family
    if not family:
        return
    if backend is None:
        yield Problem("model.family", "error", f"No training engine of Easel trains {family} in this version.")
        return
    manifest = backend.manifest
    if reason := manifest.refused.get(family):
        yield Problem("model.family", "error", f"{manifest.title} does not train {family}: {reason}")
    elif family not in manifest.families:
        yield Problem("model.family", "error", f"{manifest.title} does not train {family}.")


def engine_claims_method(case: Case) -> Iterator[Problem]:
    """The engine trains this family by this method."""
    claim, method = case.claim, case.plan.model.method
    if case.backend is None or claim is None or method in claim.methods:
        return
    words = {
        "lora": "a network beside",
        "full": "the whole of",
        "dreambooth": "DreamBooth on",
        "textual_inversion": "a new word for",
    }
    fix = Fix("Train a network", {"model.method": "lora"}) if "lora" in claim.methods else None
    message = f"{case.backend.manifest.title} does not train {words[method]} a model of this family."
    yield Problem("model.method", "error", message, fix)
