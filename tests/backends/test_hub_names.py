"""Every repository that an engine's code names is in its hub.toml for the families that load it, or it is said why it is not loaded.

tests/data/hub_names.json has the names; scripts/record_hub_names.py records them from the engine's code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts import record_hub_names
from trainer_core.engines import registry
from trainer_core.install import environments
from trainer_core.install.installed import InstalledEngine

RECORDED = json.loads(record_hub_names.TARGET.read_text("utf-8"))
# Why no run that Easel starts loads it.
MODEL = "the model itself, which is read from the folder or the file of the plan"
PREVIEW = "the small decoder of previews during sampling, which no plan switches on"
ADAPTER = "a training adapter, which is read from a file or switched off: backends/simpletuner/adapter_rules.py"
UNUSED = "no training script reads it"
FOLDERS = "read only to save a model as a diffusers folder, which no plan asks for: save_model_as is always safetensors"
SINGLE = "the configuration of a model that is a single file: of these families the claims have folders only, or none"
DECIDED: Mapping[str, Mapping[str, str | tuple[str, ...]]] = {
    "kohya": {
        "library/hunyuan_image_text_encoder.py BYT5_TOKENIZER_PATH": ("hunyuan_image",),
        "library/hunyuan_image_text_encoder.py QWEN_2_5_VL_IMAGE_ID": ("hunyuan_image",),
        "library/lumina_util.py GEMMA2_CONFIG": "a note in a configuration that is written out there",
        "library/model_util.py DIFFUSERS_REF_MODEL_ID_V1": FOLDERS,
        "library/model_util.py DIFFUSERS_REF_MODEL_ID_V2": FOLDERS,
        "library/sdxl_model_util.py DIFFUSERS_REF_MODEL_ID_SDXL": FOLDERS,
        "library/sdxl_train_util.py TOKENIZER1_PATH": UNUSED,
        "library/sdxl_train_util.py TOKENIZER2_PATH": UNUSED,
        "library/strategy_flux.py CLIP_L_TOKENIZER_ID": ("flux", "chroma"),
        "library/strategy_flux.py T5_XXL_TOKENIZER_ID": ("flux", "chroma"),
        "library/strategy_lumina.py GEMMA_ID": ("lumina2",),
        "library/strategy_sd.py TOKENIZER_ID": ("sd15",),
        "library/strategy_sd.py V2_STABLE_DIFFUSION_ID": ("sd2",),
        "library/strategy_sd3.py CLIP_G_TOKENIZER_ID": ("sd3",),
        "library/strategy_sd3.py CLIP_L_TOKENIZER_ID": ("sd3",),
        "library/strategy_sd3.py T5_XXL_TOKENIZER_ID": ("sd3",),
        "library/strategy_sdxl.py TOKENIZER1_PATH": ("sdxl",),
        "library/strategy_sdxl.py TOKENIZER2_PATH": ("sdxl",),
        "networks/lora_interrogator.py TOKENIZER_PATH": UNUSED,
        "networks/lora_interrogator.py V2_STABLE_DIFFUSION_PATH": UNUSED,
    },
    "musubi": {
        "caption_images_by_qwen_vl.py from_pretrained()": "a program of its own, which writes captions",
        "flux/flux_utils.py CLIP_L_TOKENIZER_ID": ("flux",),
        "flux/flux_utils.py T5_XXL_TOKENIZER_ID": ("flux",),
        "flux_2/flux2_utils.py M3_TOKENIZER_ID": "of FLUX.2 dev, which Easel does not train with it",
        "flux_2/flux2_utils.py tokenizer_id": ("flux2",),
        "krea2/krea2_encoder.py QWEN3_VL_4B_INSTRUCT_REPO_ID": ("krea2",),
        "qwen_image/qwen_image_utils.py QWEN_IMAGE_EDIT_ID": ("qwen_image",),
        "qwen_image/qwen_image_utils.py QWEN_IMAGE_ID": ("qwen_image",),
        "zimage/zimage_utils.py ZIMAGE_ID": ("z_image",),
    },
    "simpletuner": {
        **{
            f"helpers/models/{family}/model.py HUGGINGFACE_PATHS": MODEL
            for family in (
                "anima", "auraflow", "chroma", "ernie", "flux", "flux2", "kandinsky5_image", "krea2", "longcat_image", "lumina2", "pixart",
                "qwen_image", "sd3", "sdxl", "z_image",
            )
        },
        **{
            f"helpers/models/{family}/model.py repo_id=": PREVIEW
            for family in ("auraflow", "chroma", "flux", "kandinsky5_image", "longcat_image", "pixart", "sd3", "sdxl", "z_image")
        },
        "helpers/models/auraflow/model.py TEXT_ENCODER_CONFIGURATION": "a link in the run folder with this name leads to the folder of the model",
        "helpers/models/anima/loading.py _ANIMA_REPO": "the parts of an Anima that is a single file: Easel's plans have a folder",
        "helpers/models/anima/loading.py _TEXT_ENCODER_CONFIG_REPO": "the same",
        "helpers/models/anima/model.py SINGLE_FILE_LAYOUT_PATHS": MODEL,
        "helpers/models/common.py upstream_config_sources[sdxl]": ("sdxl",),
        **{
            f"helpers/models/common.py upstream_config_sources[{family}]": SINGLE
            for family in (
                "chroma", "flux", "flux2", "hunyuanvideo", "ideogram", "infinitetalk", "kolors", "krea2", "ltxvideo", "ltxvideo2",
                "minimaxh3", "sana", "sd1x", "sd2x", "sd3", "wan",
            )
        },
        "helpers/models/flux/model.py ASSISTANT_LORA_PATH": "only with the flavour schnell, which Easel does not choose",
        "helpers/models/flux2/model.py MISTRAL_PATH": "of FLUX.2 dev, which the claim leaves out",
        "helpers/models/krea2/model.py PROCESSOR_PATH": "only with control images, which the claim does not have",
        "helpers/models/qwen_image/model.py ASSISTANT_LORA_PATHS": ADAPTER,
        "helpers/models/qwen_image/model.py TEXTURE_FIX_VAE_REPO": "only without a VAE: the plan names the model's own",
        "helpers/models/z_image/model.py ASSISTANT_LORA_PATH": ADAPTER,
        "helpers/models/z_image/model.py TRANSFORMER_PATH_OVERRIDES": "only with the flavour ostris-de-turbo, which Easel does not choose",
    },
}  # fmt: skip
"""For each place in the code, the families that load what it names, or why none does."""


@pytest.mark.parametrize("engine", DECIDED)
def test_every_name_in_the_code_is_decided(engine):
    assert set(RECORDED[engine]) == set(DECIDED[engine])
    families = {name for decision in DECIDED[engine].values() if not isinstance(decision, str) for name in decision}
    assert families <= set(registry.get(engine).manifest.families)


@pytest.mark.parametrize("engine", DECIDED)
def test_the_table_of_the_hub_has_what_the_code_loads_and_nothing_else(engine):
    manifest = registry.get(engine).manifest
    for family, claim in manifest.families.items():
        loaded = {
            name
            for place, decision in DECIDED[engine].items()
            if family in decision and not isinstance(decision, str)
            for name in RECORDED[engine][place]
        }
        table = {*claim.hub, *(name for names in claim.variant_hub.values() for name in names)}
        assert table == loaded, family
        source = DECIDED[engine].get(f"helpers/models/common.py upstream_config_sources[{family}]")
        assert not (claim.single_file and source == SINGLE), family
    assert set(manifest.hub) == {
        name
        for claim in manifest.families.values()
        for names in (claim.hub, *claim.variant_hub.values())
        for name in names
    }


@pytest.mark.parametrize("engine", DECIDED)
def test_the_recorded_names_are_those_of_the_installed_code(engine):
    found = environments.installed(engine)
    if found is None:
        pytest.skip(f"{engine} is not installed here (python installer.py backend install {engine})")
    assert record_hub_names.named(engine, _code(engine, found)) == RECORDED[engine], record_hub_names.__doc__


def _code(engine: str, found: InstalledEngine) -> Path:
    """The folder of the engine's code: its package, or the sources that it runs from."""
    if found.source is not None:
        package = found.source / "src" / "musubi_tuner"
        return package if package.is_dir() else found.source
    (package,) = found.python.parent.parent.glob(f"lib/python*/site-packages/{engine}")
    return package
