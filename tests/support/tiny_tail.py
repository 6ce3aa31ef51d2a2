"""Tiny pipelines of more families that SimpleTuner trains; `tiny_pipelines.py` writes them.

Their tokenizers are made here, because T5, CLIP and Qwen each need their own.
"""

# pyright: reportMissingImports=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import diffusers
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
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLIP_PIECES = {
    piece: number
    for number, piece in enumerate(
        ("<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS))
    )
}
VAE_BLOCKS = 4


def kl_vae(channels: int, **more: object) -> torch.nn.Module:
    """A VAE of images, that makes them eight times smaller."""
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * VAE_BLOCKS, up_block_types=("UpDecoderBlock2D",) * VAE_BLOCKS,
        block_out_channels=(8,) * VAE_BLOCKS, layers_per_block=1, latent_channels=channels, norm_num_groups=4, sample_size=64,
        **more,
    )  # fmt: skip


def awake(model: torch.nn.Module) -> torch.nn.Module:
    """The model with random weights where it begins with zeros: behind those nothing would be learnt in a few steps."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return model


def t5() -> tuple[transformers.PreTrainedTokenizer, transformers.PreTrainedModel]:
    """A T5 that knows single letters, with its tokenizer."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0)
    config = transformers.T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=16, num_layers=2, num_heads=4)
    return tokenizer, transformers.T5EncoderModel(config)


def clip(kind: type) -> tuple[transformers.PreTrainedTokenizer, transformers.PreTrainedModel]:
    """A CLIP that knows single letters, with its tokenizer."""
    tokenizer = transformers.CLIPTokenizer(vocab=CLIP_PIECES, merges=[])
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=16, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return tokenizer, kind(config)


def sd3() -> diffusers.DiffusionPipeline:
    """Stable Diffusion 3: both CLIPs together are as wide as its T5."""
    (first, clip_l), (second, clip_g) = (clip(transformers.CLIPTextModelWithProjection) for _ in range(2))
    third, t5xxl = t5()
    denoiser = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, pos_embed_max_size=16,
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=awake(denoiser), vae=kl_vae(16, scaling_factor=1.5305, shift_factor=0.0609),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), text_encoder=clip_l, tokenizer=first,
        text_encoder_2=clip_g, tokenizer_2=second, text_encoder_3=t5xxl, tokenizer_3=third,
    )  # fmt: skip


def lumina2() -> diffusers.DiffusionPipeline:
    """Lumina Image 2.0: by its width and that of its captions it is recognised."""
    letters = {letter: number for number, letter in enumerate(("<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS))}
    tokenizer = transformers.GemmaTokenizer(vocab=letters, merges=[])
    encoder = transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=len(tokenizer), hidden_size=2304, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8,
        )
    )  # fmt: skip
    denoiser = diffusers.Lumina2Transformer2DModel(
        in_channels=16, hidden_size=2304, cap_feat_dim=2304, num_layers=2, num_refiner_layers=1, num_attention_heads=24,
        num_kv_heads=8, multiple_of=16, ffn_dim_multiplier=0.001, axes_dim_rope=(32, 32, 32), axes_lens=(300, 64, 64),
    )  # fmt: skip
    return diffusers.Lumina2Pipeline(
        transformer=awake(denoiser), vae=kl_vae(16, scaling_factor=0.3611, shift_factor=0.1159),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0), text_encoder=encoder, tokenizer=tokenizer,
    )  # fmt: skip


def pixart() -> diffusers.DiffusionPipeline:
    """PixArt Sigma: by the number of its blocks it is recognised."""
    tokenizer, encoder = t5()
    denoiser = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16, caption_channels=32, sample_size=8,
        use_additional_conditions=False,
    )  # fmt: skip
    return diffusers.PixArtSigmaPipeline(
        tokenizer=tokenizer, text_encoder=encoder, vae=kl_vae(4), transformer=denoiser,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )  # fmt: skip


def qwen_tokenizer() -> transformers.PreTrainedTokenizer:
    """A tokenizer of bytes with Qwen's special tokens."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = transformers.Qwen2Tokenizer(
        vocab=letters, merges=[], unk_token=None, pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    return fast


def qwen_processor(fast: transformers.PreTrainedTokenizer) -> transformers.ProcessorMixin:
    """The tokenizer, with what prepares images for the same text encoder."""
    return transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(), tokenizer=fast,
        video_processor=transformers.Qwen2VLVideoProcessor(),
    )  # fmt: skip


def qwen_vl(tokens: int) -> transformers.PreTrainedModel:
    """The text encoder of Kandinsky 5 and LongCat-Image."""
    text = {
        "vocab_size": tokens, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    seeing = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=seeing)
    )


def kandinsky5_image() -> diffusers.DiffusionPipeline:
    """Kandinsky 5 for images."""
    fast = qwen_tokenizer()
    short, encoder = clip(transformers.CLIPTextModel)
    denoiser = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=16, in_text_dim=16, in_text_dim2=16, time_dim=16, out_visual_dim=16, model_dim=16, ff_dim=32,
        num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 2, 2),
    )  # fmt: skip
    return diffusers.Kandinsky5T2IPipeline(
        transformer=awake(denoiser), vae=kl_vae(16, scaling_factor=0.3611), text_encoder=qwen_vl(len(fast)),
        tokenizer=qwen_processor(fast), text_encoder_2=encoder, tokenizer_2=short,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


def ernie_image() -> diffusers.DiffusionPipeline:
    """ERNIE-Image; the engine requires the real width of the captions."""
    fast = qwen_tokenizer()
    text = {
        "model_type": "ministral3", "vocab_size": len(fast), "hidden_size": 3072, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    seeing = {
        "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    encoder = transformers.Mistral3Model(transformers.Mistral3Config(text_config=text, vision_config=seeing))
    denoiser = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=32,
        text_in_dim=3072,
        rope_axes_dim=(8, 4, 4),
    )
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * VAE_BLOCKS, up_block_types=("UpDecoderBlock2D",) * VAE_BLOCKS,
        block_out_channels=(8,) * VAE_BLOCKS, layers_per_block=1, latent_channels=32, norm_num_groups=4, sample_size=64,
    )  # fmt: skip
    return diffusers.ErnieImagePipeline(
        transformer=awake(denoiser), vae=vae, text_encoder=encoder, tokenizer=fast,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


def auraflow() -> diffusers.DiffusionPipeline:
    """AuraFlow, whose text encoder is a UMT5 with a tokenizer of Llama."""
    letters = {letter: number for number, letter in enumerate(("<pad>", "<s>", "</s>", "<unk>", "▁", *LETTERS))}
    tokenizer = transformers.LlamaTokenizerFast(vocab=letters, merges=[], pad_token="<pad>")
    encoder = transformers.UMT5EncoderModel(
        transformers.UMT5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=16, num_layers=2, num_heads=4)
    )
    denoiser = diffusers.AuraFlowTransformer2DModel(
        sample_size=8, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=32, pos_embed_max_size=256,
    )  # fmt: skip
    return diffusers.AuraFlowPipeline(
        tokenizer=tokenizer, text_encoder=encoder, vae=kl_vae(4), transformer=awake(denoiser),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
    )  # fmt: skip


def longcat_image() -> diffusers.DiffusionPipeline:
    """LongCat-Image."""
    fast = qwen_tokenizer()
    denoiser = diffusers.LongCatImageTransformer2DModel(
        num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        pooled_projection_dim=16, axes_dims_rope=[8, 4, 4],
    )  # fmt: skip
    return diffusers.LongCatImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=kl_vae(16, scaling_factor=0.3611, shift_factor=0.1159), text_encoder=qwen_vl(len(fast)), tokenizer=fast,
        text_processor=qwen_processor(fast), transformer=denoiser,
    )  # fmt: skip


FAMILIES = {
    "sd3": sd3,
    "lumina2": lumina2,
    "pixart": pixart,
    "kandinsky5_image": kandinsky5_image,
    "ernie_image": ernie_image,
    "auraflow": auraflow,
    "longcat_image": longcat_image,
}
