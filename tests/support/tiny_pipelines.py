"""Writes a tiny diffusers folder of a family with random weights: `<python of an engine> tiny_pipelines.py <family> <folder>`.

It runs in the environment of an engine that has torch, diffusers and transformers. Every class is the real one, and every part as
small as its code allows; the widths by which a family is recognised are the real ones.
Source: the function get_dummy_components in the tests of diffusers, for what each class needs at least.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import diffusers
import tiny_tail
import torch
import transformers
from tokenizers import pre_tokenizers

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SEEING = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
VAE_BLOCKS = 4
LAYERS_OF_KLEIN, LAYERS_OF_KREA = 28, 36
"""The engine reads the hidden states up to these layers."""


def tokenizer(folder: Path) -> int:
    """Writes a tokenizer of bytes with Qwen's special tokens; returns the number of its tokens."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = transformers.Qwen2Tokenizer(
        vocab=letters, merges=[], unk_token=None, pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    return len(fast)


def qwen3(tokens: int, layers: int, width: int) -> transformers.PreTrainedModel:
    """The text encoder of FLUX.2 klein and Z-Image."""
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=tokens, hidden_size=width, intermediate_size=16, num_hidden_layers=layers,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, tie_word_embeddings=True,
        )
    )  # fmt: skip


def image_vae(kind: type, channels: int, **more: object) -> torch.nn.Module:
    """A VAE of images, that makes them eight times smaller."""
    return kind(
        down_block_types=("DownEncoderBlock2D",) * VAE_BLOCKS, up_block_types=("UpDecoderBlock2D",) * VAE_BLOCKS,
        block_out_channels=(8,) * VAE_BLOCKS, layers_per_block=1, latent_channels=channels, norm_num_groups=4, sample_size=64,
        **more,
    )  # fmt: skip


def flux2(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """FLUX.2 klein 4B: by the width of its captions it is recognised."""
    encoder = qwen3(tokens, LAYERS_OF_KLEIN, 2560)
    denoiser = diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=128, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=7680, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=image_vae(diffusers.AutoencoderKLFlux2, 32), text_encoder=encoder,
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder), transformer=denoiser,
    )  # fmt: skip


def z_image(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Z-Image."""
    denoiser = diffusers.ZImageTransformer2DModel(
        in_channels=16, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=image_vae(diffusers.AutoencoderKL, 16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=qwen3(tokens, 2, 16), tokenizer=transformers.AutoTokenizer.from_pretrained(folder), transformer=denoiser,
    )  # fmt: skip


def qwen_vae() -> torch.nn.Module:
    """The VAE of Qwen-Image and Krea 2."""
    return diffusers.AutoencoderKLQwenImage(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def text_config(tokens: int, layers: int, **more: object) -> dict[str, object]:
    """The language model of a Qwen that sees images."""
    return {
        "vocab_size": tokens, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
        "num_key_value_heads": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}, **more,
    }  # fmt: skip


def qwen_encoder(folder: Path, tokens: int) -> transformers.PreTrainedModel:
    """The text encoder of Qwen-Image."""
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text_config(tokens, 2), vision_config=SEEING, **vision_tokens(folder))
    )


def qwen_denoiser() -> torch.nn.Module:
    """The denoiser of Qwen-Image, and of its editions that edit images."""
    return diffusers.QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )  # fmt: skip


def vision_tokens(folder: Path) -> dict[str, int]:
    """The ids of the tokens that stand for images in a caption."""
    ids = transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(list(SPECIAL[3:]))
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, ids, strict=True))


def processor(folder: Path) -> transformers.ProcessorMixin:
    """What makes the input of the text encoder from captions and images."""
    return transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(),
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.Qwen2VLVideoProcessor(),
    )


def qwen_image(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Qwen-Image."""
    return diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=qwen_vae(),
        text_encoder=qwen_encoder(folder, tokens), tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        transformer=qwen_denoiser(),
    )  # fmt: skip


def qwen_image21(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Qwen-Image 2.1, whose tokenizer is in the folder of its processor."""
    encoder = transformers.Qwen3VLForConditionalGeneration(
        transformers.Qwen3VLConfig(
            text_config=text_config(tokens, 2, head_dim=8), vision_config={**SEEING, "deepstack_visual_indexes": [0]}
        )
    )
    denoiser = diffusers.QwenImage21Transformer2DModel(
        num_layers=2, attention_head_dim=16, num_attention_heads=2, context_in_dim=16, axes_dims_rope=(8, 4, 4)
    )
    return diffusers.QwenImage21Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLQwenImage21(base_dim=4, decoder_base_dim=4, num_res_blocks=1), text_encoder=encoder,
        processor=transformers.Qwen3VLProcessor(
            image_processor=transformers.Qwen2VLImageProcessor(),
            tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
            video_processor=transformers.Qwen3VLVideoProcessor(), chat_template=CHAT,
        ),
        transformer=denoiser,
    )  # fmt: skip


def qwen_edit(folder: Path, tokens: int, kind: str = "QwenImageEditPipeline") -> diffusers.DiffusionPipeline:
    """Qwen-Image-Edit."""
    return getattr(diffusers, kind)(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=qwen_vae(),
        text_encoder=qwen_encoder(folder, tokens), tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        processor=processor(folder), transformer=qwen_denoiser(),
    )  # fmt: skip


def qwen_edit_2509(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Qwen-Image-Edit-2509."""
    return qwen_edit(folder, tokens, "QwenImageEditPlusPipeline")


def qwen_edit_2511(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Qwen-Image-Edit-2511, whose control images have the timestep 0."""
    made = qwen_edit_2509(folder, tokens)
    made.transformer.register_to_config(zero_cond_t=True)
    return made


def krea2(folder: Path, tokens: int) -> diffusers.DiffusionPipeline:
    """Krea 2 Raw."""
    encoder = transformers.Qwen3VLModel(
        transformers.Qwen3VLConfig(
            text_config=text_config(tokens, LAYERS_OF_KREA, head_dim=8),
            vision_config={**SEEING, "deepstack_visual_indexes": [0]},
            **vision_tokens(folder),
        )
    )
    denoiser = diffusers.Krea2Transformer2DModel(
        num_layers=2, attention_head_dim=16, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32, timestep_embed_dim=16,
        text_hidden_dim=16, text_num_attention_heads=2, text_num_key_value_heads=2, text_intermediate_size=16,
        num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip
    return diffusers.Krea2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=qwen_vae(), text_encoder=encoder,
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder), transformer=denoiser, is_distilled=False,
    )  # fmt: skip


FAMILIES = {
    "flux2": flux2,
    "z_image": z_image,
    "qwen_image": qwen_image,
    "qwen_image21": qwen_image21,
    "krea2": krea2,
    "qwen_edit": qwen_edit,
    "qwen_edit_2509": qwen_edit_2509,
    "qwen_edit_2511": qwen_edit_2511,
}


def write(family: str, folder: Path) -> dict[str, int]:
    """Writes the folder of a family; returns how many weights each part has."""
    torch.manual_seed(0)
    if family in tiny_tail.FAMILIES:
        pipeline = tiny_tail.FAMILIES[family]()
    else:
        tokens = tokenizer(folder / "tokenizer")
        pipeline = FAMILIES[family](folder / "tokenizer", tokens)
    pipeline.save_pretrained(folder)
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}


def load(folder: Path, network: Path) -> dict[str, object]:
    """Lets diffusers load the file of a LoRA; returns how many layers there are, how many change, and alpha divided by the rank."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.load_lora_weights(network.parent, weight_name=network.name)
    layers = [part for part in pipeline.transformer.modules() if hasattr(part, "lora_B")]
    changed = [part for part in layers if any(each.weight.abs().sum() for each in part.lora_B.values())]
    scales = {scale for part in layers for scale in part.scaling.values()}
    return {"layers": len(layers), "changed": len(changed), "scales": sorted(scales)}


if __name__ == "__main__":
    first, *paths = sys.argv[1:]
    print(json.dumps(load(*map(Path, paths)) if first == "load" else write(first, *map(Path, paths))))
