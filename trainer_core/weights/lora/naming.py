"""The names that the layers of a network have in a new file: as sd-scripts, diffusers and ComfyUI write them, from the recorded names.

A layer has a name in the original code of its family and one in diffusers. The names of sd-scripts and ComfyUI stand for the original layers where
ComfyUI knows no others, those of diffusers for its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.families import load_families
from trainer_core.models.loaders import table
from trainer_core.models.loaders.table import Place
from trainer_core.text import printable

SAME = ""
SD_SCRIPTS, DIFFUSERS, COMFYUI = "sd-scripts", "diffusers", "comfyui"
TITLES: Mapping[str, str] = {
    SD_SCRIPTS: "sd-scripts (lora_unet_...)",
    DIFFUSERS: "diffusers (PEFT)",
    COMFYUI: "ComfyUI, ai-toolkit (diffusion_model....)",
}
# The forms of loaders.json that a naming may use: for the denoiser, and for text encoders the first one that is accepted.
_DENOISER = {SD_SCRIPTS: "k", DIFFUSERS: "p", COMFYUI: "c"}
_TEXT = {SD_SCRIPTS: "k123", DIFFUSERS: "pqr", COMFYUI: "c"}


@dataclass(frozen=True)
class Endings:
    """The endings of the parts of a LoRA's layer. `has_alpha`: alpha is a tensor; otherwise it is multiplied into the matrices."""

    up: str
    down: str
    has_alpha: bool


SD_SCRIPTS_ENDINGS = Endings(".lora_up.weight", ".lora_down.weight", has_alpha=True)
PEFT_ENDINGS = Endings(".lora_B.weight", ".lora_A.weight", has_alpha=False)
COMFYUI_ENDINGS = Endings(".lora_B.weight", ".lora_A.weight", has_alpha=True)
ENDINGS: Mapping[str, Endings] = {SD_SCRIPTS: SD_SCRIPTS_ENDINGS, DIFFUSERS: PEFT_ENDINGS, COMFYUI: COMFYUI_ENDINGS}


def check(naming: str) -> None:
    """Checks that a naming exists.

    Raises:
        WeightsError: it does not.
    """
    if naming not in ENDINGS and naming != SAME:
        raise wrong_use(WeightsError(f"{naming!r:.60} is no naming of LoRAs.", f"Use {', '.join(ENDINGS)}."))


def place_of(key: str, family: str) -> Place | None:
    """What a module's name means; None if the layers of the family, or this one, are not recorded."""
    return table.places(family).get(key) if family in table.families() else None


def same_layer(place: Place) -> tuple[str, str]:
    """What two names of one layer have in common, whichever the form."""
    return place.naming, place.layer


def name(naming: str, family: str, layer: tuple[str, str]) -> str:
    """The name of a layer in a naming; "" if the program of that naming has no such layer."""
    side, bare = layer
    codes = _DENOISER[naming] if side in table.DENOISER else _TEXT[naming]
    known = table.layers(family, side).get(bare)
    if known is None:
        return ""
    comfyui, _, diffusers = known.partition("|")
    accepted = comfyui if naming != DIFFUSERS else "".join(code[0] for code in diffusers.split())
    forms = {form.code: form for form in table.forms(family, side)}
    found = next((code for code in _preferred(codes, side, family) if code in accepted and code in forms), "")
    return forms[found].name(bare) if found else ""


def _preferred(codes: str, side: str, family: str) -> str:
    """The forms in the order in which trainers write them: only a model with one text encoder has lora_te_ without a number."""
    encoders = [each for each in table.table()["families"].get(family, {}) if each not in table.DENOISER]
    if codes == _TEXT[SD_SCRIPTS] and len(encoders) > 1:
        number = {"clip_l": "1", "clip_g": "2", "t5xxl": "3"}.get(side, "")
        return number + codes.replace(number, "")
    return codes


def lacking(naming: str, family: str, keys: Sequence[str]) -> WeightsError:
    """The error for layers that have no name in a naming."""
    title = load_families()[family].title if family in load_families() else "this family"
    some = ", ".join(printable(key, 80) for key in keys[:2])
    return WeightsError(
        f"{len(keys)} layers have no name in the naming of {TITLES[naming]} for {title}, such as {some}.",
        "Keep the naming of the file, or choose another one.",
    )
