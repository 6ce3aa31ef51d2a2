"""Makes a profile from a finished LoRA: what its header contains about the training, and what stays unknown.

Metadata is untrusted text: each value is checked like any other, and an invalid one is left out with a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.errors import ProfileError
from trainer_core.models.detection import Detection
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.plan import fields
from trainer_core.plan.prompts import texts
from trainer_core.profiles import lora_easel, lora_onetrainer, lora_others, lora_sd_scripts, shelf
from trainer_core.profiles.exporting import Draft, checked, plain_id
from trainer_core.profiles.lora_values import Found
from trainer_core.profiles.profile import Profile, Reference
from trainer_core.profiles.reading import bad_text
from trainer_core.text import printable

WANTED = (
    "network.rank",
    "network.alpha",
    "network.train_text_encoder",
    "optimizer.name",
    "optimizer.learning_rate",
    "optimizer.weight_decay",
    "schedule.steps",
    "schedule.batch_size",
    "schedule.scheduler",
    "schedule.warmup_steps",
    "dataset.resolution",
    "dataset.repeats",
)
"""The main settings of a training: those missing in the file are listed as unknown."""
SOURCE = "lora"
OF_ITS_BASE = ("training metadata", "hash")
"""The kinds of evidence that refer to the base model of a LoRA."""


def from_lora(header: Header, detection: Detection, *, wanted_id: str = "", family: str = "") -> Draft:
    """A profile of the settings in the header of a LoRA, with notes about missing settings and left out values.

    `family` is the family of its base model, for a file that does not contain it.

    Raises:
        ProfileError: the file is not a LoRA, or its family is unknown.
    """
    name = printable(header.path.name, 100)
    if detection.role != "lora":
        raise ProfileError(f"{name} is not a LoRA, so a profile cannot be made from it.", "Choose a LoRA file.")
    family = family or detection.base_family or ""
    if family not in load_families():
        message = f"{name} does not contain the family of its base model."
        raise ProfileError(message, f"Set it with --family; known: {', '.join(load_families())}.")
    writer, told = _told(header)
    found = [*_from_tensors(header, detection), *told]
    if writer == "ai-toolkit" and detection.rank and not any(key.endswith(".alpha") for key in header.tensors):
        # Source: ai-toolkit, toolkit/lora_special.py: "no alpha for peft", where alpha is the rank.
        found.append(Found("network.alpha", detection.rank, "the rank, because the file has no alpha"))
    is_flow = load_families()[family].prediction == "flow"
    settings, reasons, notes = _checked(found)
    _drop_unread(settings, reasons, notes, is_flow=is_flow)
    wanted = (*WANTED, *(() if is_flow else _of_noise()))
    unknown = tuple(path for path in wanted if path not in settings)
    stem = _plain_title(header.path.stem)
    profile = Profile(
        id=wanted_id or plain_id(header.path.stem, "lora"),
        title=f"Like {stem}",
        family=family,
        method="lora",
        use="other",
        explanation=f"Read from {stem}, a LoRA made with {writer}. Settings that the file does not contain are listed as unknown.",
        sources=(Reference(SOURCE, f"The header of {stem}", notes=f"written by {writer}"),),
        settings=settings,
        reasons=reasons,
        lineage=_lineage(detection),
        prediction=_prediction(header.metadata, is_flow=is_flow),
        unknown=unknown,
    )
    if profile.lineage and detection.guess:
        notes.append(f"The base model {detection.guess.title} is a guess: {printable(detection.guess.evidence, 200)}.")
    if lora_easel.is_easels(header.metadata) and lora_easel.is_changed(header.metadata):
        notes.append("Easel's plan in the file was changed or damaged after the training: check the values.")
    titles = ", ".join(fields.all_fields()[path].title for path in unknown)
    return Draft(checked(profile), (*notes, *((f"The file does not contain: {titles}.",) if unknown else ())))


def _told(header: Header) -> tuple[str, list[Found]]:
    """The program that made a LoRA, and the settings in its metadata."""
    metadata = header.metadata
    for writer, is_its, read in (
        ("Easel", lora_easel.is_easels, lora_easel.read),
        ("OneTrainer", lora_onetrainer.is_onetrainer, lora_onetrainer.read),
        ("ai-toolkit", lora_others.is_ai_toolkit, lora_others.ai_toolkit),
        ("sd-scripts", lora_sd_scripts.is_sd_scripts, lora_sd_scripts.read),
        ("SimpleTuner", lora_others.is_peft, lora_others.peft),
    ):
        if is_its(metadata):
            return writer, list(read(metadata))
    return "an unknown program", list(lora_others.modelspec(metadata))


def _from_tensors(header: Header, detection: Detection) -> Iterable[Found]:
    """The settings that the tensors show, which count more than the metadata."""
    # A LoRA with convolutions has the layers of a LoCon, also when sd-scripts' own module made it.
    is_plain = detection.variant == "lora" or (
        detection.variant == "locon" and lora_sd_scripts.is_plain(header.metadata)
    )
    if detection.variant in catalog.algorithms() and not is_plain:
        yield Found("network.algorithm", detection.variant, "its layers")
    if detection.rank:
        yield Found("network.rank", detection.rank, "the shapes of its tensors")
    texts = any(key.startswith(("lora_te", "text_encoder", "lycoris_te", "te_")) for key in header.tensors)
    yield Found("network.train_text_encoder", texts, "the names of its tensors")
    if detection.alpha:
        yield Found("network.alpha", detection.alpha, "its alpha")


def _checked(found: Iterable[Found]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The valid values, a reason for each, and notes about the others; the first value of a setting counts."""
    settings: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    notes: list[str] = []
    for path, value, basis in found:
        if path in settings or fields.all_fields()[path].is_the_jobs:
            continue
        taken, sentence = _taken(path, value)
        if sentence:
            notes.append(f"{printable(basis, 60)} was left out: {printable(sentence, 200)}")
        else:
            settings[path], reasons[path] = taken, f"From {printable(basis, 60)} [{SOURCE}]."
    return settings, reasons, notes


def _taken(path: str, value: Any) -> tuple[Any, str]:
    if reason := next(filter(None, map(bad_text, texts(value))), ""):
        return value, reason
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return value, "the number is too large for any setting."
    return fields.check(path, value)


def _drop_unread(settings: dict[str, Any], reasons: dict[str, str], notes: list[str], *, is_flow: bool) -> None:
    """Removes settings that had no effect in this training, although the program saved them."""
    unread = {path: "a flow model is trained without it" for path in _of_noise() if is_flow}
    if not settings.get("network.train_text_encoder"):
        unread["optimizer.text_encoder_learning_rate"] = "the text encoder was not trained"
    for path in settings:
        chosen = fields.choosers().get(fields.all_fields()[path].section)
        read_by = fields.readers(path)
        if chosen and read_by and settings.get(chosen.path, chosen.default) not in read_by:
            unread[path] = "it has no effect with the other settings of the file"
    for path in sorted(unread.keys() & settings.keys()):
        del settings[path], reasons[path]
        notes.append(f"{fields.all_fields()[path].title} was left out: {unread[path]}.")


def _of_noise() -> list[str]:
    """The settings that apply to noise-based models and not to flow models."""
    return [path for path, setting in fields.all_fields().items() if "epsilon" in setting.about.predictions]


def _lineage(detection: Detection) -> str:
    """The lineage of its base model, guessed from the metadata about that model; the LoRA's own name is not evidence."""
    guess = detection.guess
    found = shelf.plain_lineage(guess.id) if guess and guess.basis in OF_ITS_BASE else ""
    return found if found in {profile.lineage for profile in shelf.shipped().values()} else ""


def _prediction(metadata: Mapping[str, str], *, is_flow: bool) -> str:
    if lora_onetrainer.is_onetrainer(metadata):
        return "" if is_flow else lora_onetrainer.prediction(metadata)
    said = metadata.get("modelspec.prediction_type", "").lower()
    return "" if is_flow else {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}.get(said, "")


def _plain_title(stem: str) -> str:
    """A file name as a title: short, and without control characters."""
    clean = "".join(char if char.isprintable() else " " for char in stem)[:60].strip()
    return clean if clean and not bad_text(clean) else "a LoRA"
