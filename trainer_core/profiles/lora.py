"""A profile out of a finished LoRA: what its header says of how it was trained, and what nobody can know.

Metadata is text that strangers wrote: each value is checked as any other, and one that no setting takes is dropped and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.detection import Detection
from trainer_core.errors import ProfileError
from trainer_core.families import load_families
from trainer_core.header import Header
from trainer_core.plan import fields
from trainer_core.profiles import lora_kohya, lora_onetrainer, lora_others, shelf
from trainer_core.profiles.exporting import Draft, checked, plain_id
from trainer_core.profiles.lora_values import Found
from trainer_core.profiles.profile import JOB_FIELDS, Profile, Reference
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
"""What a training is known by: those that a file does not tell are marked as unknown."""
NOISE = ("schedule.min_snr_gamma", "schedule.noise_offset")
SOURCE = "lora"
OF_ITS_BASE = ("kohya metadata", "hash")
"""The grounds of a guess that speak of the model a LoRA was trained on."""


def from_lora(header: Header, detection: Detection, *, wanted_id: str = "", family: str = "") -> Draft:
    """A profile of what the header of a LoRA tells, with notes on what it does not and on what was dropped.

    `family` is what it was made for, where the file does not tell.

    Raises:
        ProfileError: the file is no LoRA, or nothing tells what it was made for.
    """
    name = printable(header.path.name, 100)
    if detection.role != "lora":
        raise ProfileError(f"{name} is no LoRA, so it does not tell how it was trained.", "Give a LoRA file.")
    family = family or detection.base_family or ""
    if family not in load_families():
        message = f"Nothing in {name} tells for which family of models it was made."
        raise ProfileError(message, f"Say it with --family; known: {', '.join(load_families())}.")
    writer, told = _told(header)
    found = [*_from_tensors(header, detection), *told]
    if writer == "ai-toolkit" and detection.rank and not any(key.endswith(".alpha") for key in header.tensors):
        # Source: ai-toolkit, toolkit/lora_special.py: "no alpha for peft", where alpha is the rank.
        found.append(Found("network.alpha", detection.rank, "the rank, there being no alpha"))
    is_flow = load_families()[family].prediction == "flow"
    settings, reasons, notes = _checked(found)
    _drop_unread(settings, reasons, notes, is_flow=is_flow)
    wanted = (*WANTED, *(() if is_flow else NOISE))
    unknown = tuple(path for path in wanted if path not in settings)
    stem = _plain_title(header.path.stem)
    profile = Profile(
        id=wanted_id or plain_id(header.path.stem, "lora"),
        title=f"As {stem}",
        family=family,
        method="lora",
        use="other",
        explanation=f"Read out of {stem}, a LoRA that {writer} made. What it does not tell is listed as unknown.",
        sources=(Reference(SOURCE, f"The header of {stem}", notes=f"written by {writer}"),),
        settings=settings,
        reasons=reasons,
        lineage=_lineage(detection),
        prediction=_prediction(header.metadata, is_flow=is_flow),
        unknown=unknown,
    )
    if profile.lineage and detection.guess:
        notes.append(
            f"That it was made for {detection.guess.title} is a guess: {printable(detection.guess.evidence, 200)}."
        )
    titles = ", ".join(fields.all_fields()[path].title for path in unknown)
    return Draft(checked(profile), (*notes, *((f"The file does not tell: {titles}.",) if unknown else ())))


def _told(header: Header) -> tuple[str, list[Found]]:
    """The program that made a LoRA, and what its metadata says."""
    metadata = header.metadata
    for writer, is_its, read in (
        ("OneTrainer", lora_onetrainer.is_onetrainer, lora_onetrainer.read),
        ("ai-toolkit", lora_others.is_ai_toolkit, lora_others.ai_toolkit),
        ("sd-scripts", lora_kohya.is_kohya, lora_kohya.read),
        ("SimpleTuner", lora_others.is_simpletuner, lora_others.simpletuner),
    ):
        if is_its(metadata):
            return writer, list(read(metadata))
    return "an unknown program", list(lora_others.modelspec(metadata))


def _from_tensors(header: Header, detection: Detection) -> Iterable[Found]:
    """What the weights themselves tell, which outranks what anybody wrote."""
    if detection.variant in catalog.algorithms() and detection.variant != "lora":
        yield Found("network.algorithm", detection.variant, "its layers")
    if detection.rank:
        yield Found("network.rank", detection.rank, "the sizes of its layers")
    texts = any(key.startswith(("lora_te", "text_encoder", "lycoris_te", "te_")) for key in header.tensors)
    yield Found("network.train_text_encoder", texts, "the names of its layers")
    if detection.alpha:
        yield Found("network.alpha", detection.alpha, "what it says of alpha")


def _checked(found: Iterable[Found]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The values that settings take, a reason for each, and the sentences about the others; the first of a setting counts."""
    settings: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    notes: list[str] = []
    for path, value, basis in found:
        if path in settings or path in JOB_FIELDS:
            continue
        taken, sentence = _taken(path, value)
        if sentence:
            notes.append(f"{printable(basis, 60)} was left out: {printable(sentence, 200)}")
        else:
            settings[path], reasons[path] = taken, f"Told by {printable(basis, 60)} [{SOURCE}]."
    return settings, reasons, notes


def _taken(path: str, value: Any) -> tuple[Any, str]:
    if isinstance(value, str) and bad_text(value):
        return value, bad_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return value, "the number is larger than any setting takes."
    return fields.check(path, value)


def _drop_unread(settings: dict[str, Any], reasons: dict[str, str], notes: list[str], *, is_flow: bool) -> None:
    """Takes out what the training that the file tells of did not read, whatever the program wrote down."""
    unread = {path: "a flow model is trained without it" for path in NOISE if is_flow}
    if not settings.get("network.train_text_encoder"):
        unread["optimizer.text_encoder_learning_rate"] = "the text encoder was not trained"
    for section, chooser, entries in (
        ("network", "network.algorithm", catalog.algorithms()),
        ("optimizer", "optimizer.name", catalog.optimizers()),
        ("schedule", "schedule.scheduler", catalog.schedulers()),
    ):
        every = {f"{section}.{name}" for entry in entries.values() for name in entry.settings}
        entry = entries.get(str(settings.get(chooser, fields.all_fields()[chooser].default)))
        read = {f"{section}.{name}" for name in entry.settings} if entry else set()
        unread |= dict.fromkeys(every - read, "what the file names does not read it")
    for path in sorted(unread.keys() & settings.keys()):
        del settings[path], reasons[path]
        notes.append(f"{fields.all_fields()[path].title} was left out: {unread[path]}.")


def _lineage(detection: Detection) -> str:
    """What its base model is guessed to be, by what was noted of that model; the LoRA's own name tells nothing of it."""
    guess = detection.guess
    found = shelf.plain_lineage(guess.id) if guess and guess.basis in OF_ITS_BASE else ""
    return found if found in {profile.lineage for profile in shelf.shipped().values()} else ""


def _prediction(metadata: Mapping[str, str], *, is_flow: bool) -> str:
    if lora_onetrainer.is_onetrainer(metadata):
        return "" if is_flow else lora_onetrainer.prediction(metadata)
    said = metadata.get("modelspec.prediction_type", "").lower()
    return "" if is_flow else {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}.get(said, "")


def _plain_title(stem: str) -> str:
    """A file's name as a title: without what could steer a terminal, and not too long."""
    clean = "".join(char if char.isprintable() else " " for char in stem)[:60].strip()
    return clean if clean and not bad_text(clean) else "a LoRA"
