"""The JSON files of a diffusers folder: the configs of its components, with the sizes that the shapes of the tensors show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from trainer_core.models.detection import Detection
from trainer_core.weights.conversion import pipelines
from trainer_core.weights.conversion.pipelines import Component, Pipeline

Shapes = Mapping[str, tuple[int, ...]]
VERSION = "0.32.1"
"""The version of diffusers that a folder names: the oldest one that has all these classes. Newer ones read it, too."""
HEAD = 64
"""The width of an attention head of CLIP and of the UNets of Stable Diffusion 2 and XL."""


def component(part: Component, shapes: Shapes) -> dict[str, Any]:
    """The config of a component whose tensors, in the names of a folder, have these shapes."""
    sizes = _SIZES[part.config.partition("_")[0]](shapes)
    known = pipelines.config(part.config)
    named = {"architectures": [part.type]} if part.library == "transformers" else {"_diffusers_version": VERSION}
    return dict(sorted({**known, **part.values, **sizes, **named}.items()))


def scheduler(pipeline: Pipeline, found: Detection, shapes: Shapes) -> dict[str, Any]:
    """The config of the scheduler, with what the model predicts. `shapes` are those of the denoiser."""
    is_plain = pipeline.scheduler == "flow_dynamic" and not _has(shapes, "time_text_embed.guidance_embedder.")
    config = pipelines.scheduler("flow_plain" if is_plain else pipeline.scheduler)
    if found.prediction in ("epsilon", "v_prediction"):
        config["prediction_type"] = found.prediction
        config["rescale_betas_zero_snr"] = bool(found.zero_terminal_snr)
        if found.zero_terminal_snr:
            # Without it the first step, at which a model with zero terminal SNR has only noise, would be left out.
            config["timestep_spacing"] = "trailing"
    return {**config, "_diffusers_version": VERSION}


def model_index(pipeline: Pipeline, held: Mapping[str, Component], tokenizers: Mapping[str, str]) -> dict[str, Any]:
    """The model_index.json of a folder with these components and these tokenizers; those that are missing are null there."""
    index: dict[str, Any] = {"_class_name": pipeline.pipeline, "_diffusers_version": VERSION, **pipeline.values}
    for part in pipeline.parts:
        index[part.component] = [part.library, part.type] if part.component in held else [None, None]
    for name, kind in pipeline.tokenizers.items():
        index[name] = ["transformers", pipelines.tokenizers()[kind].type] if name in tokenizers else [None, None]
    index["scheduler"] = ["diffusers", pipelines.scheduler(pipeline.scheduler)["_class_name"]]
    if pipeline.pipeline == "StableDiffusionPipeline":
        index |= {
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "requires_safety_checker": False,
        }
    return index


def _unet(shapes: Shapes) -> dict[str, Any]:
    widths = _widths(shapes, "down_blocks.{}.resnets.0.conv1.weight")
    context = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), 768)
    found: dict[str, Any] = {
        "block_out_channels": widths,
        "cross_attention_dim": context,
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
    }
    if len(shapes.get("down_blocks.1.attentions.0.proj_in.weight", (0,) * 4)) == 2:
        # The key has the number of heads, in spite of its name.
        found["attention_head_dim"] = [max(width // HEAD, 1) for width in widths]
    if added := shapes.get("add_embedding.linear_1.weight"):
        found["projection_class_embeddings_input_dim"] = added[1]
    return found


def _sd3(shapes: Shapes) -> dict[str, Any]:
    width = shapes["pos_embed.proj.weight"][0]
    blocks = _count(shapes, "transformer_blocks.{}.")
    return {
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "dual_attention_layers": [
            block for block in range(blocks) if f"transformer_blocks.{block}.attn2.to_q.weight" in shapes
        ],
        "in_channels": shapes["pos_embed.proj.weight"][1],
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "num_attention_heads": width // 64,
        "num_layers": blocks,
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed.pos_embed"][1]),
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in shapes else None,
    }


def _flux(shapes: Shapes) -> dict[str, Any]:
    return {
        "guidance_embeds": _has(shapes, "time_text_embed.guidance_embedder."),
        "in_channels": shapes["x_embedder.weight"][1],
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "num_attention_heads": shapes["x_embedder.weight"][0] // 128,
        "num_layers": _count(shapes, "transformer_blocks.{}."),
        "num_single_layers": _count(shapes, "single_transformer_blocks.{}."),
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
    }


def _clip(shapes: Shapes) -> dict[str, Any]:
    words, width = shapes["text_model.embeddings.token_embedding.weight"]
    found = {
        "hidden_size": width,
        "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
        "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
        "num_attention_heads": max(width // HEAD, 1),
        "num_hidden_layers": _count(shapes, "text_model.encoder.layers.{}."),
        "vocab_size": words,
    }
    projection = shapes.get("text_projection.weight")
    return found | ({"projection_dim": projection[0]} if projection else {})


def _t5xxl(shapes: Shapes) -> dict[str, Any]:
    words, width = shapes.get("shared.weight") or shapes["encoder.embed_tokens.weight"]
    heads = shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"][1]
    return {
        "d_ff": shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        "d_kv": shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][0] // heads,
        "d_model": width,
        "num_heads": heads,
        "num_layers": _count(shapes, "encoder.block.{}."),
        "vocab_size": words,
    }


def _vae(shapes: Shapes) -> dict[str, Any]:
    return {
        "block_out_channels": _widths(shapes, "encoder.down_blocks.{}.resnets.0.conv1.weight"),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
    }


def _widths(shapes: Shapes, name: str) -> list[int]:
    """The first size of each numbered tensor of this name, from 0 on."""
    found = (shapes.get(name.format(number)) for number in itertools.count())
    return [shape[0] for shape in itertools.takewhile(bool, found) if shape]


def _count(shapes: Shapes, start: str) -> int:
    """How many numbered blocks there are, from 0 on."""
    return next(number for number in itertools.count() if not _has(shapes, start.format(number)))


def _has(shapes: Shapes, start: str) -> bool:
    return any(name.startswith(start) for name in shapes)


_SIZES: Mapping[str, Callable[[Shapes], dict[str, Any]]] = {
    "unet": _unet, "sd3": _sd3, "flux": _flux, "clip": _clip, "t5xxl": _t5xxl, "vae": _vae,
}  # fmt: skip
"""The sizes that each kind of config takes from the shapes, by the first word of its name."""
