"""Cases for the rules about which model it is, its companion files, the weights in its files, and the network."""

from __future__ import annotations

from tests.support.rule_cases import Fires, companion_files, seen
from trainer_core.draft.checks import loading, memory, model, network, parts
from trainer_core.models.detection import Detection
from trainer_core.models.detection.result import Guess

FIRES = {
    "a model that is named as distilled": Fires(
        model.model_is_not_distilled,
        "model.path",
        "warning",
        facts=seen(
            guess=Guess("sdxl_distilled", "an SDXL distilled to few steps", "file name", "its name", distilled=True)
        ),
        has_fix=False,
    ),
    "a variant that the family does not have": Fires(
        model.variant_is_known, "model.variant", "error", {"model.variant": "rusty"}
    ),
    "a variant that the file is not": Fires(
        model.variant_is_known, "model.variant", "error", {"model.variant": "schnell"}, family="flux"
    ),
    "an alpha far above the root of the rank": Fires(
        network.alpha_suits_rank,
        "network.alpha",
        "warning",
        {
            "network.algorithm": "locon",
            "network.rank": 64,
            "network.alpha": 64.0,
            "network.rank_stabilized": True,
        },
    ),
    "a network that no program loads": Fires(
        loading.programs_load_the_result, "network.algorithm", "warning", {"network.algorithm": "ia3"}
    ),
    "a network that only ComfyUI loads": Fires(
        loading.programs_load_the_result, "network.algorithm", "info", {"network.algorithm": "loha"}
    ),
    "a companion file of another kind": Fires(
        parts.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=companion_files(vae=Detection(None, "text_encoder", "t5xxl")),
    ),
    "a companion file that cannot be read": Fires(
        parts.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=companion_files(vae="it is empty."),
    ),
    "a companion file with scaled weights": Fires(
        parts.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=companion_files(vae=Detection(None, "vae", "vae_sd", scaled=True)),
    ),
    "a companion file of an unknown kind": Fires(
        parts.parts_are_what_they_should_be,
        "model.vae",
        "warning",
        {"model.vae": __file__},
        facts=companion_files(vae=Detection(None, "vae")),
    ),
    "a companion file whose tensors have names that the engine does not read": Fires(
        parts.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=companion_files(vae=Detection(None, "vae", "vae_sd", layout="diffusers")),
        has_fix=False,
        tool="rename",
    ),
    "weights in E5M2 that are kept in 8 bits": Fires(
        memory.weights_suit_precision,
        "memory.fp8_base",
        "error",
        {"memory.fp8_base": True},
        family="flux",
        facts=seen(dtype="F8_E5M2"),
    ),
    "an unused companion file": Fires(
        parts.parts_are_there, "model.clip_l", "warning", {"model.clip_l": "/a/clip.safetensors"}
    ),
    "a companion file that does not exist": Fires(
        parts.parts_are_there, "model.vae", "error", {"model.vae": "/a/vae.safetensors"}
    ),
    "a missing companion file": Fires(
        parts.parts_are_there, "model.clip_l", "error", {"model.clip_l": ""}, family="flux", has_fix=False
    ),
}
