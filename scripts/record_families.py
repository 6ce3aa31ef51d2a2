"""Records headers of whole pipelines and of original layouts from diffusers' own classes, built without weights.

Run it with SimpleTuner's Python, which has diffusers. Nothing is downloaded:

    workspace/engines/simpletuner/venv/bin/python scripts/record_families.py

A published size is the default of a class, or a config whose source is named in its row. The record of a config that no
available file confirms contains "config inferred". An original layout is made by renaming the keys of diffusers. It is
recorded only when diffusers' own converter turns it back into exactly the keys and shapes of the class.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from header_folding import fold, unfold

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "headers"
DENOISERS = ("transformer", "unet", "prior", "decoder")


SIMPLETUNER = "simpletuner.helpers.models."


class Row(NamedTuple):
    """One pipeline: `config` are the values of its diffusion model that are not defaults, `basis` is their source, `options`
    are those of the pipeline itself, which its model_index.json contains.

    A model without a pipeline in diffusers is named by its class: "module:Class", or a class of diffusers.
    """

    name: str
    family: str
    pipeline: str
    config: Mapping[str, Any] = {}
    basis: str = "defaults of the class"
    variant: str = ""
    denoiser: str = ""
    options: Mapping[str, Any] = {}


INFERRED = "config inferred"
SD3 = {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192}
PIXART = {"caption_channels": 4096, "use_additional_conditions": False}
KOLORS = {
    "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 5632,
    "encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj", "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True, "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
}  # fmt: skip
HIDREAM = {
    "patch_size": 2, "in_channels": 16, "caption_channels": [4096, 4096], "llama_layers": [*range(32), *[31] * 16],
}  # fmt: skip
CASCADE_B = {
    "in_channels": 4, "out_channels": 4, "conditioning_dim": 1280, "block_out_channels": (320, 640, 1280, 1280),
    "num_attention_heads": (0, 0, 20, 20), "down_num_layers_per_block": (2, 6, 28, 6), "up_num_layers_per_block": (6, 28, 6, 2),
    "down_blocks_repeat_mappers": (1, 1, 1, 1), "up_blocks_repeat_mappers": (3, 3, 2, 2), "patch_size": 2,
    "block_types_per_layer": (
        ("SDCascadeResBlock", "SDCascadeTimestepBlock"), ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
        ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
    ),
    "clip_text_pooled_in_channels": 1280, "effnet_in_channels": 16, "pixel_mapper_in_channels": 3,
    "timestep_conditioning_type": ("sca",), "dropout": (0, 0, 0.1, 0.1), "switch_level": None,
}  # fmt: skip
SDXL = {key: value for key, value in KOLORS.items() if not key.startswith("encoder_hid")} | {
    "projection_class_embeddings_input_dim": 2816
}
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
CHANNELS = "channels by which diffusers tells it (loaders/single_file_utils.py)"
SD35 = "sizes of diffusers' own converter, to which the recorded original of sd-scripts leads"
KLEIN = "blocks as SimpleTuner counts them (helpers/models/flux2/model.py), widths as in ComfyUI's model_detection.py"
ROWS = (
    Row("sd35-medium", "sd3", "StableDiffusion3Pipeline",
        {**SD3, "pos_embed_max_size": 384, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))}, SD35, "3.5-medium"),
    Row("sd35-large", "sd3", "StableDiffusion3Pipeline",
        {**SD3, "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "qk_norm": "rms_norm"}, SD35, "3.5-large"),
    Row("flux-fill", "flux", "FluxFillPipeline", {"in_channels": 384, "out_channels": 64, "guidance_embeds": True}, CHANNELS, "fill"),
    Row("flux-control", "flux", "FluxControlPipeline", {"in_channels": 128, "out_channels": 64, "guidance_embeds": True}, CHANNELS, "control"),
    Row("flux-lite", "flux", "FluxTransformer2DModel", {"num_layers": 8, "guidance_embeds": True},
        "8 of 19 double blocks, as Freepik/flux.1-lite-8B and ostris/Flex.1-alpha have", "pruned"),
    Row("flux-kontext", "flux", "FluxKontextPipeline", {"guidance_embeds": True}, "the sizes of dev", "kontext"),
    Row("sd15-inpainting-unet", "sd15", "StableDiffusionInpaintPipeline", {"cross_attention_dim": 768, "in_channels": 9}, CHANNELS, "inpainting"),
    Row("sd15-pix2pix", "sd15", "StableDiffusionInstructPix2PixPipeline", {"cross_attention_dim": 768, "in_channels": 8}, CHANNELS, "instruct_pix2pix"),
    Row("sd2-inpainting", "sd2", "StableDiffusionInpaintPipeline", {**SD2, "in_channels": 9}, CHANNELS, "inpainting"),
    Row("sd2-depth", "sd2", "StableDiffusionDepth2ImgPipeline", {**SD2, "in_channels": 5}, INFERRED, "depth"),
    Row("sdxl-inpainting-unet", "sdxl", "StableDiffusionXLInpaintPipeline", {**SDXL, "in_channels": 9}, CHANNELS, "inpainting"),
    Row("sdxl-pix2pix", "sdxl", "StableDiffusionXLInstructPix2PixPipeline", {**SDXL, "in_channels": 8}, CHANNELS, "instruct_pix2pix"),
    Row("flux2-dev", "flux2", "Flux2Pipeline", variant="dev"),
    Row("flux2-klein-9b", "flux2", "Flux2KleinPipeline",
        {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288, "guidance_embeds": False},
        KLEIN, "klein-9b"),
    Row("flux2-klein-4b", "flux2", "Flux2KleinPipeline",
        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680, "guidance_embeds": False},
        KLEIN, "klein-4b"),
    Row("qwen-image", "qwen_image", "QwenImagePipeline", variant="image"),
    Row("qwen-image-edit", "qwen_image", "QwenImageEditPipeline", variant="edit"),
    Row("qwen-image-edit-2509", "qwen_image", "QwenImageEditPlusPipeline", variant="edit-2509"),
    Row("qwen-image-edit-2511", "qwen_image", "QwenImageEditPlusPipeline", {"zero_cond_t": True}, "option of the class", "edit-2511"),
    Row("qwen-image-layered", "qwen_image", "QwenImageLayeredPipeline", {"use_additional_t_cond": True},
        "option of the class", "layered"),
    Row("z-image", "z_image", "ZImagePipeline", variant="base"),
    Row("z-image-omni", "z_image", "ZImageOmniPipeline", {"siglip_feat_dim": 1152}, INFERRED, "omni"),
    Row("pixart-alpha", "pixart", "PixArtAlphaPipeline", {**PIXART, "use_additional_conditions": True}, INFERRED, "alpha"),
    Row("pixart-sigma", "pixart", "PixArtSigmaPipeline", PIXART, INFERRED, "sigma"),
    Row("pixart-900m", "pixart", "PixArtSigmaPipeline", {**PIXART, "num_layers": 42}, INFERRED, "900m"),
    Row("sana-1600m", "sana", "SanaPipeline", variant="1.6b"),
    Row("sana-600m", "sana", "SanaPipeline",
        {"num_attention_heads": 36, "num_layers": 28, "num_cross_attention_heads": 16, "cross_attention_head_dim": 72, "cross_attention_dim": 1152},
        INFERRED, "0.6b"),
    Row("sana-sprint", "sana", "SanaSprintPipeline", {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}, INFERRED, "sprint"),
    Row("auraflow", "auraflow", "AuraFlowPipeline", {"pos_embed_max_size": 4096}, "positions as in fal/AuraFlow, transformer/config.json", "auraflow"),
    Row("kolors", "kolors", "KolorsPipeline", KOLORS, INFERRED),
    Row("hidream", "hidream", "HiDreamImagePipeline", HIDREAM, INFERRED),
    Row("wan", "wan", "WanImageToVideoPipeline"),
    Row("hunyuan-video", "hunyuan_video", "HunyuanVideoPipeline"),
    Row("hunyuan-video15", "hunyuan_video15", "HunyuanVideo15Pipeline"),
    Row("cosmos", "cosmos", "CosmosTextToWorldPipeline"),
    Row("cosmos-predict2", "cosmos", "Cosmos2TextToImagePipeline",
        {"num_attention_heads": 16, "num_layers": 28, "extra_pos_embed_type": None, "concat_padding_mask": True, "in_channels": 16},
        INFERRED),
    Row("stable-cascade", "stable_cascade", "StableCascadePriorPipeline"),
    Row("stable-cascade-c", "stable_cascade", "StableCascadeUNet",
        {"clip_image_in_channels": 768, "clip_text_in_channels": 1280, "clip_text_pooled_in_channels": 1280}, INFERRED, "stage-c"),
    Row("stable-cascade-b", "stable_cascade", "StableCascadeUNet", CASCADE_B, INFERRED, "stage-b"),
    Row("hunyuan-dit", "hunyuan_dit", "HunyuanDiTPipeline",
        {"in_channels": 4, "patch_size": 2, "num_layers": 40, "hidden_size": 1408, "attention_head_dim": 88, "num_attention_heads": 16,
         "mlp_ratio": 4.3637}, INFERRED),
    Row("ltx-video", "ltx_video", "LTXPipeline"),
    Row("ltx2", "ltx2", "LTX2Pipeline"),
    Row("mochi", "mochi", "MochiPipeline"),
    Row("krea2", "krea2", "Krea2Pipeline"),
    Row("krea2-raw", "krea2", "Krea2Pipeline", variant="raw", options={"is_distilled": False}),
    Row("krea2-turbo", "krea2", "Krea2Pipeline", variant="turbo", options={"is_distilled": True}),
    Row("omnigen", "omnigen", "OmniGenPipeline",
        {"rope_scaling": {"long_factor": [1.0] * 48, "short_factor": [1.0] * 48, "type": "su"}}, INFERRED),
    Row("cogview3", "cogview", "CogView3PlusPipeline"),
    Row("cogview4", "cogview", "CogView4Pipeline"),
    Row("cogvideox", "cogvideox", "CogVideoXPipeline"),
    Row("bria", "bria", "BriaPipeline"),
    Row("bria-fibo", "bria_fibo", "BriaFiboPipeline"),
    Row("ovis-image", "ovis_image", "OvisImagePipeline"),
    Row("longcat-image", "longcat_image", "LongCatImagePipeline"),
    Row("longcat-image-6b", "longcat_image", "LongCatImagePipeline", {"num_layers": 10, "num_single_layers": 20},
        "config inferred: the blocks with which it has the 6 billion weights that SimpleTuner names"),
    Row("ernie-image", "ernie_image", "ErnieImagePipeline",
        {"hidden_size": 4096, "num_attention_heads": 32, "num_layers": 36, "ffn_hidden_size": 12288, "text_in_dim": 3072},
        "sizes of baidu/ERNIE-Image, transformer/config.json, and of ComfyUI comfy/ldm/ernie/model.py", "base"),
    Row("glm-image", "glm_image", "GlmImagePipeline"),
    Row("ideogram4", "ideogram4", "Ideogram4Pipeline"),
    Row("kandinsky5", "kandinsky5", "Kandinsky5T2VPipeline"),
    Row("kandinsky5-image", "kandinsky5_image", "Kandinsky5T2IPipeline",
        {"in_visual_dim": 16, "out_visual_dim": 16, "model_dim": 2560, "ff_dim": 10240, "num_visual_blocks": 50, "axes_dims": (32, 48, 48)},
        "sizes of musubi-tuner kandinsky5/configs.py, k5-lite-t2i-hd"),
    Row("prx", "prx", "PRXPipeline"),
    Row("qwen-image21", "qwen_image21", "QwenImage21Pipeline"),
    Row("nucleus-image", "nucleus_image", "NucleusMoEImagePipeline"),
    Row("allegro", "allegro", "AllegroPipeline"),
    Row("sana-video", "sana_video", "SanaVideoPipeline"),
    Row("kandinsky3", "kandinsky3", "Kandinsky3Pipeline"),
    Row("stable-video", "stable_video", "StableVideoDiffusionPipeline"),
    Row("dreamlite", "dreamlite", "DreamLitePipeline"),
    Row("lumina-next", "lumina_next", "LuminaPipeline",
        {"patch_size": 2, "sample_size": 128, "num_kv_heads": 8, "ffn_dim_multiplier": 1.0}, INFERRED),
    Row("flux3", "flux3", "Flux3Transformer2DModel"),
    Row("mage-flow", "mage_flow", SIMPLETUNER + "mageflow.transformer:MageFlowTransformer2DModel"),
    Row("moss-image", "moss_image", SIMPLETUNER + "moss_image.transformer:MOSSImageTransformer"),
    Row("zlab-i1", "zlab_i1", SIMPLETUNER + "zlab_i1.transformer:ZlabI1Transformer2DModel"),
    Row("minimax-h3", "minimax_h3", SIMPLETUNER + "minimaxh3.transformer:MiniMaxH3Transformer3DModel"),
    Row("cosmos3", "cosmos3", SIMPLETUNER + "cosmos3.transformer:Cosmos3OmniTransformer"),
    Row("longcat-video", "longcat_video", SIMPLETUNER + "longcat_video.transformer:LongCatVideoTransformer3DModel"),
    Row("ace-step", "ace_step", SIMPLETUNER + "ace_step.transformer:ACEStepTransformer2DModel"),
    Row("boogu", "boogu", SIMPLETUNER + "boogu_image.transformer:BooguImageTransformer2DModel", {"axes_dim_rope": (32, 32, 32)}, INFERRED),
)  # fmt: skip

Rename = tuple[tuple[str, str], ...]
# The original code's keys for diffusers' keys, by pattern; "QKV" marks three tensors that are one in the original code.
ORIGINALS: dict[str, tuple[str, Rename]] = {
    "flux2-dev": ("convert_flux2_transformer_checkpoint_to_diffusers", (
        (r"^x_embedder\.", "img_in."), (r"^context_embedder\.", "txt_in."), (r"^proj_out\.", "final_layer.linear."),
        (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."), (r"_modulation(_img|_txt|)\.linear\.", r"_modulation\1.lin."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
        (r"^time_guidance_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
        (r"^time_guidance_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
        (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj\.", r"single_blocks.\1.linear1."),
        (r"^single_transformer_blocks\.(\d+)\.attn\.to_out\.", r"single_blocks.\1.linear2."),
        (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
        (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
        (r"^transformer_blocks\.", "double_blocks."),
        (r"\.attn\.QKV\.", ".img_attn.qkv."), (r"\.attn\.ADDED\.", ".txt_attn.qkv."),
        (r"\.attn\.norm_q\.weight", ".img_attn.norm.query_norm.scale"), (r"\.attn\.norm_k\.weight", ".img_attn.norm.key_norm.scale"),
        (r"\.attn\.norm_added_q\.weight", ".txt_attn.norm.query_norm.scale"),
        (r"\.attn\.norm_added_k\.weight", ".txt_attn.norm.key_norm.scale"),
        (r"\.attn\.to_out\.0\.", ".img_attn.proj."), (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
        (r"\.ff\.linear_in\.", ".img_mlp.0."), (r"\.ff\.linear_out\.", ".img_mlp.2."),
        (r"\.ff_context\.linear_in\.", ".txt_mlp.0."), (r"\.ff_context\.linear_out\.", ".txt_mlp.2."))),
    "z-image": ("convert_z_image_transformer_checkpoint_to_diffusers", (
        (r"^all_final_layer\.2-1\.", "final_layer."), (r"^all_x_embedder\.2-1\.", "x_embedder."),
        (r"\.attention\.QKV\.", ".attention.qkv."), (r"\.attention\.norm_k\.", ".attention.k_norm."),
        (r"\.attention\.norm_q\.", ".attention.q_norm."), (r"\.attention\.to_out\.0\.", ".attention.out."))),
    "auraflow": ("convert_auraflow_transformer_checkpoint_to_diffusers", (
        (r"^time_step_proj\.linear_1\.", "t_embedder.mlp.0."), (r"^time_step_proj\.linear_2\.", "t_embedder.mlp.2."),
        (r"^context_embedder\.", "cond_seq_linear."), (r"^norm_out\.linear\.", "modF.1."), (r"^proj_out\.", "final_linear."),
        (r"^pos_embed\.pos_embed", "positional_encoding"), (r"^pos_embed\.proj\.", "init_x_linear."),
        (r"^single_transformer_blocks\.(\d+)\.ff\.", r"single_layers.\1.mlp."),
        (r"^single_transformer_blocks\.(\d+)\.norm1\.linear\.", r"single_layers.\1.modCX.1."),
        (r"^single_transformer_blocks\.(\d+)\.attn\.to_(q|k|v)\.", r"single_layers.\1.attn.w1\2."),
        (r"^single_transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"single_layers.\1.attn.w1o."),
        (r"^joint_transformer_blocks\.", "double_layers."), (r"\.ff_context\.", ".mlpC."), (r"\.ff\.", ".mlpX."),
        (r"linear_1\.", "c_fc1."), (r"linear_2\.", "c_fc2."), (r"out_projection\.", "c_proj."),
        (r"\.norm1\.linear\.", ".modX.1."), (r"\.norm1_context\.linear\.", ".modC.1."),
        (r"\.attn\.to_(q|k|v)\.", r".attn.w2\1."), (r"\.attn\.to_out\.0\.", ".attn.w2o."),
        (r"\.attn\.add_(q|k|v)_proj\.", r".attn.w1\1."), (r"\.attn\.to_add_out\.", ".attn.w1o."))),
    "sana-1600m": ("convert_sana_transformer_to_diffusers", (
        (r"^patch_embed\.proj\.", "x_embedder.proj."), (r"^time_embed\.emb\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
        (r"^time_embed\.emb\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."), (r"^time_embed\.linear\.", "t_block.1."),
        (r"^caption_projection\.linear_(1|2)\.", r"y_embedder.y_proj.fc\1."), (r"^caption_norm\.", "attention_y_norm."),
        (r"^proj_out\.", "final_layer.linear."), (r"^scale_shift_table", "final_layer.scale_shift_table"),
        (r"^transformer_blocks\.", "blocks."), (r"\.attn1\.QKV\.", ".attn.qkv."), (r"\.attn1\.to_out\.0\.", ".attn.proj."),
        (r"\.attn2\.to_q\.", ".cross_attn.q_linear."), (r"\.attn2\.KV\.", ".cross_attn.kv_linear."),
        (r"\.attn2\.to_out\.0\.", ".cross_attn.proj."), (r"\.ff\.conv_inverted\.", ".mlp.inverted_conv.conv."),
        (r"\.ff\.conv_depth\.", ".mlp.depth_conv.conv."), (r"\.ff\.conv_point\.", ".mlp.point_conv.conv."))),
    "krea2": ("convert_krea2_transformer_checkpoint_to_diffusers", (
        (r"^img_in\.", "first."), (r"^time_embed\.linear_1\.", "tmlp.0."), (r"^time_embed\.linear_2\.", "tmlp.2."),
        (r"^time_mod_proj\.", "tproj.1."), (r"^txt_in\.norm\.weight", "txtmlp.0.scale"), (r"^txt_in\.linear_1\.", "txtmlp.1."),
        (r"^txt_in\.linear_2\.", "txtmlp.3."), (r"^text_fusion\.", "txtfusion."), (r"^transformer_blocks\.", "blocks."),
        (r"^final_layer\.linear\.", "last.linear."), (r"^final_layer\.norm\.weight", "last.norm.scale"),
        (r"^final_layer\.scale_shift_table", "last.modulation.lin"), (r"\.attn\.to_(q|k|v)\.", r".attn.w\1."),
        (r"\.attn\.to_out\.0\.", ".attn.wo."), (r"\.attn\.to_gate\.", ".attn.gate."),
        (r"\.attn\.norm_(q|k)\.weight", r".attn.qknorm.\1norm.scale"), (r"\.ff\.", ".mlp."), (r"\.norm1\.weight", ".prenorm.scale"),
        (r"\.norm2\.weight", ".postnorm.scale"), (r"\.scale_shift_table", ".mod.lin"))),
}  # fmt: skip
ORIGINALS["flux2-klein-9b"] = ORIGINALS["flux2-klein-4b"] = ORIGINALS["flux2-dev"]
ORIGINALS["sana-600m"] = ORIGINALS["sana-1600m"]
ONE: dict[str, dict[str, tuple[str, ...]]] = {
    "flux2": {"transformer_blocks.%.attn.QKV": ("to_q", "to_k", "to_v"), "transformer_blocks.%.attn.ADDED": ("add_q_proj", "add_k_proj", "add_v_proj")},
    "z_image": {"%.attention.QKV": ("to_q", "to_k", "to_v")},
    "sana": {"%.attn1.QKV": ("to_q", "to_k", "to_v"), "%.attn2.KV": ("to_k", "to_v")},
}  # fmt: skip
"""The tensors that are joined in the original code, by family."""


def record() -> None:
    """Records the header of every row, and of every original layout that diffusers converts back."""
    diffusers = importlib.import_module("diffusers")
    only = set(sys.argv[1:])
    for row in ROWS:
        if only and row.name not in only:
            continue
        part, model = _built(diffusers, row)
        state = model.state_dict()
        _folder(diffusers, row, part, model, state)
        if row.name in ORIGINALS:
            _original(row, state)
    if not only or "sd35" in only:
        _same_as_recorded(diffusers)


def _built(diffusers: Any, row: Row) -> tuple[str, Any]:
    """The component of the diffusion model, and the model on the meta device."""
    torch = importlib.import_module("torch")
    kind = _class(diffusers, row.pipeline)
    hints = get_type_hints(kind.__init__) if "Pipeline" in row.pipeline else {"transformer": kind}
    part = row.denoiser or next(name for name in DENOISERS if name in hints)
    with torch.device("meta"):
        return part, hints[part](**row.config)


def _class(diffusers: Any, name: str) -> Any:
    module, _, kind = name.rpartition(":")
    return getattr(importlib.import_module(module) if module else diffusers, kind)


def _simpletuner() -> str:
    return importlib.import_module("importlib.metadata").version("simpletuner")


def _shapes(state: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{key}": f"BF16 {'x'.join(map(str, value.shape))}" for key, value in state.items()}


def _folder(diffusers: Any, row: Row, part: str, model: Any, state: Mapping[str, Any]) -> None:
    kind = _class(diffusers, row.pipeline)
    version = diffusers.__version__
    config = json.loads(model.to_json_string())
    configs: dict[str, Any] = {part: config}
    if "Pipeline" in row.pipeline:
        scheduler = get_type_hints(kind.__init__)["scheduler"]
        unknown = row.options.keys() - inspect.signature(kind.__init__).parameters
        assert not unknown, f"{row.name}: {row.pipeline} has no {unknown}"
        index = {"_class_name": row.pipeline, "_diffusers_version": version, **row.options}
        configs |= {"": index | {part: ["diffusers", type(model).__name__]}}
        if inspect.isclass(scheduler) and scheduler.__name__.endswith("Scheduler"):
            made: Any = scheduler()
            configs["scheduler"] = json.loads(made.to_json_string())
            configs[""]["scheduler"] = ["diffusers", scheduler.__name__]
        about = f"diffusers folder: {row.pipeline} of diffusers {version}, {row.basis}."
        _write(f"folder-{row.name}", about, row, "checkpoint", _shapes(state, f"{part}/"), configs)
    else:
        owner = f"diffusers {version}" if kind.__module__.startswith("diffusers.") else f"SimpleTuner {_simpletuner()}"
        about = f"Diffusion model alone: {kind.__name__} of {owner}, {row.basis}."
        _write(f"{row.name}-diffusers", about, row, "diffusion_model", _shapes(state), {})


def _original(row: Row, state: Mapping[str, Any]) -> None:
    """The original layout, after a check that diffusers' converter turns it back into the model's own keys and shapes."""
    torch = importlib.import_module("torch")
    utils = importlib.import_module("diffusers.loaders.single_file_utils")
    name, renames = ORIGINALS[row.name]
    found = {_renamed(key, renames): value for key, value in _joined(torch, row.family, state).items()}
    extra: dict[str, Any] = {}
    with torch.device("meta"):
        if row.family == "sana":  # the converter drops these two; their sizes are not asked for
            extra = {
                "pos_embed": torch.empty(1, 1024, state["scale_shift_table"].shape[1]),
                "y_embedder.y_embedding": torch.empty(300, 2304),
            }
        if row.family == "krea2":
            found = {
                key: value.flatten() if re.match(r"blocks\.\d+\.mod\.lin", key) else value
                for key, value in found.items()
            }
        back = getattr(utils, name)({**found, **extra})
    wrong = {
        key for key in {*back, *state} if key not in back or key not in state or back[key].shape != state[key].shape
    }
    assert not wrong, f"{row.name}: {sorted(wrong)[:4]}"
    about = f"Bare diffusion model, original layout: {name} of diffusers leads it to its class, {row.basis}."
    _write(row.name, about, row, "diffusion_model", _shapes({**found, **extra}), {})


def _joined(torch: Any, family: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors, with those joined that are one in the original code."""
    found = dict(state)
    for pattern, names in ONE.get(family, {}).items():
        stem = re.escape(pattern.rpartition(".")[0]).replace("%", r".+" if pattern.startswith("%") else r"\d+")
        for key in [key for key in state if re.fullmatch(rf"{stem}\.{names[0]}\.(weight|bias)", key)]:
            place, _, leaf = key.rpartition(f".{names[0]}.")
            parts = [found.pop(f"{place}.{name}.{leaf}") for name in names]
            found[f"{place}.{pattern.rpartition('.')[2]}.{leaf}"] = torch.cat(parts)
    return found


def _renamed(key: str, renames: Iterable[tuple[str, str]]) -> str:
    for old, new in renames:
        key = re.sub(old, new, key)
    return key


def _same_as_recorded(diffusers: Any) -> None:
    """Compares the classes of SD3.5 with diffusers' conversion of the recorded original layouts."""
    torch = importlib.import_module("torch")
    convert: Callable[..., Any] = importlib.import_module(
        "diffusers.loaders.single_file_utils"
    ).convert_sd3_transformer_checkpoint_to_diffusers
    for name in ("sd35-medium", "sd35-large"):
        kept = json.loads((FOLDER / f"{name}.json").read_text())["tensors"]
        sizes = {key.removeprefix("model.diffusion_model."): value for key, value in unfold(kept)}
        with torch.device("meta"):
            tensors = {
                key: torch.empty([int(size) for size in value.partition(" ")[2].split("x") if size])
                for key, value in sizes.items()
                if not key.startswith(("first_stage_model.", "text_encoders."))
            }
            back = convert(tensors)
        model = _built(diffusers, next(row for row in ROWS if row.name == name))[1].state_dict()
        same = {key: tuple(value.shape) for key, value in back.items()} == {
            key: tuple(value.shape) for key, value in model.items()
        }
        assert same, f"{name}: {sorted(set(back) ^ set(model))[:4]}"
        print(f"{name}: the class has what diffusers makes of the original")


def _write(name: str, about: str, row: Row, role: str, tensors: Mapping[str, str], configs: Mapping[str, Any]) -> None:
    recorded = {"about": about, "family": row.family, "variant": row.variant, "role": role, "metadata": {}}
    if configs:
        recorded["configs"] = configs
    recorded["tensors"] = fold(tensors)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(recorded, separators=(",", ":")))
    print(f"{name}: {len(tensors)} tensors in {path.stat().st_size} bytes")


if __name__ == "__main__":
    record()
