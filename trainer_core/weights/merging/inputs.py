"""The models of a merge: read by their headers, and checked to fit together. Not: which of their tensors match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.models import detection, header
from trainer_core.models.detection import Detection
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.weights.merging.methods import Method

PREDICTIONS = ("", "epsilon", "v_prediction")
"""What a user can say that a model predicts; "" says nothing."""
LETTERS = ("a", "b", "c")
"""What the models are called in the settings; a user reads A, B and C."""
MORE_CHANNELS = ("inpainting", "instruct_pix2pix")
"""The variants that differ from their base only by more input channels."""
_KINDS = {
    "lora": "a LoRA: `easel lora bake` puts it into a checkpoint, and `easel lora merge` merges several",
    "vae": "a VAE: it can be put into a merge as the VAE file",
    "text_encoder": "a text encoder",
    "controlnet": "a ControlNet",
    "embedding": "an embedding",
}


@dataclass(frozen=True)
class Input:
    """A model of a merge: its letter, its header, and what it is."""

    letter: str
    header: Header
    detection: Detection

    @property
    def label(self) -> str:
        """How it is called in a sentence: its letter and its name."""
        return f"{self.letter.upper()} ({shown(self.header.path)})"


def read(paths: Sequence[Path]) -> list[Input]:
    """The models by their headers.

    Raises:
        HeaderError: one cannot be read.
        WeightsError: one is not a model in a form that can be merged.
    """
    found = []
    for letter, path in zip(LETTERS, paths, strict=False):
        own = header.read(path)
        one = Input(letter, own, detection.detect(own))
        _check_form(one)
        found.append(one)
    return found


def _check_form(one: Input) -> None:
    form, seen = one.header.format, one.detection
    if form == "diffusers":
        raise WeightsError(f"{one.label} is a folder of diffusers.", "Make a single file of it first: easel convert.")
    if form not in ("safetensors", "sharded"):
        raise WeightsError(f"{one.label} is not a safetensors file.", "Convert it first: easel convert.")
    if one.header.shard is not None:
        raise WeightsError(f"{one.label} is one of several files of a model.", "Choose the index or the folder.")
    if seen.role not in ("checkpoint", "diffusion_model"):
        what = _KINDS.get(seen.role, "no model that Easel knows")
        why = f": {seen.evidence[0]}" if seen.role not in _KINDS and seen.evidence else ""
        raise WeightsError(f"{one.label} is {what}{why}.", "Choose a checkpoint or a diffusion model.")
    if seen.scaled or seen.packed_by or any(info.dtype in ("U8", "F4") for info in one.header.tensors.values()):
        raise WeightsError(
            f"{one.label} is quantised: its weights are stored with scales beside them, which cannot be averaged.",
            "Convert it to fp16 or bf16 first, or download it in one of these.",
        )


def check(models: Sequence[Input], method: Method, stated: str, weight: float, is_whole: bool) -> tuple[str, list[str]]:
    """The letter of the model whose prediction type the result has, and sentences for the user.

    `stated` is what the models predict whose files do not say so. `is_whole`: the weight is the same in every block.

    Raises:
        WeightsError: the models do not fit together.
    """
    first = models[0]
    for other in models[1:]:
        _check_family(first, other)
    return _prediction(models, method, stated, weight, is_whole)


def _check_family(first: Input, other: Input) -> None:
    one, two = first.detection, other.detection
    if one.family != two.family:
        titles = [_title(each) for each in (one, two)]
        raise WeightsError(
            f"{first.label} is {titles[0]}, and {other.label} is {titles[1]}: their layers are different.",
            "Only models of the same family can be merged.",
        )
    if one.variant == two.variant or (not one.apart and not two.apart):
        return
    if two.variant in MORE_CHANNELS and not one.apart:
        raise WeightsError(
            f"{other.label} is a model for {two.variant.replace('_', ' ')}, which has more input channels than {first.label}.",
            "Give that model as A: its additional channels are kept.",
        )
    if not (one.variant in MORE_CHANNELS and not two.apart):
        raise WeightsError(
            f"{first.label} is {one.variant.replace('_', ' ')}, and {other.label} is {two.variant.replace('_', ' ')}.",
            "Only models of the same variant can be merged.",
        )


def _title(found: Detection) -> str:
    family = load_families().get(found.family or "")
    return family.title if family else "of an unknown family"


def _prediction(
    models: Sequence[Input], method: Method, stated: str, weight: float, is_whole: bool
) -> tuple[str, list[str]]:
    predicted = {one.letter: predicts(one.detection, stated) for one in models}
    notes = list(_zero_snr_notes(models))
    if len(set(predicted.values())) == 1:
        return "a", notes
    said = ", ".join(said_of(one.label, one.detection, stated) for one in models)
    if method.id in ("add_difference", "train_difference"):
        if predicted["b"] == predicted["c"]:
            return "a", [
                *notes,
                f"{said}. The difference of B and C has no prediction type, so the result predicts as A.",
            ]
        if predicted["a"] == predicted["c"] and method.id == "add_difference" and weight == 1 and is_whole:
            told = f"{said}. The whole difference brings the prediction type with it, so the result predicts as B."
            return "b", [*notes, told]
    raise WeightsError(
        f"{said}. Between two prediction types nothing is right: such a model makes noise.",
        "Add the difference of two models that predict the same instead; or state with --prediction what the models "
        "predict whose files do not say it.",
    )


def predicts(found: Detection, stated: str) -> str:
    """What a model predicts; `stated` counts where its file does not say so."""
    return found.prediction or "" if found.is_prediction_certain or not stated else stated


def said_of(label: str, found: Detection, stated: str) -> str:
    """What a model predicts as part of a sentence, and how sure that is."""
    return f"{label} predicts {_word(predicts(found, stated))}{_surely(found, stated)}"


def _surely(found: Detection, stated: str) -> str:
    if found.is_prediction_certain:
        return ""
    return " (as you say)" if stated else " (as is usual; its file does not say)"


def _word(prediction: str) -> str:
    return {"v_prediction": "v", "": "something unknown"}.get(prediction, prediction)


def _zero_snr_notes(models: Sequence[Input]) -> list[str]:
    said = {one.label: one.detection.zero_terminal_snr for one in models}
    if len({bool(each) for each in said.values()}) == 1:
        return []
    names = ", ".join(label for label, each in said.items() if each)
    return [
        f"Only {names} uses zero terminal SNR; the marker in the result is that of the model whose prediction type it has."
    ]


def markers(family: str) -> Mapping[str, str]:
    """The tensors that mark what a model of a family predicts."""
    found = load_families().get(family)
    return found.markers if found else {}
