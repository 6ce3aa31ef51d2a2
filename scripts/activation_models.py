"""The diffusion models whose activations scripts/record_activations.py counts, and their inputs for one image.

Its imports come from the engine's environment.
"""

# pyright: reportMissingImports=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch

META, BF16 = torch.device("meta"), torch.bfloat16


def empty(*shape: int, dtype: Any = BF16) -> torch.Tensor:
    """A tensor that uses no memory."""
    return torch.empty(shape, dtype=dtype, device=META)


def unet(cross: int, **config: Any) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """A U-Net and its inputs for an image with this side length."""
    model = diffusers.UNet2DConditionModel(cross_attention_dim=cross, sample_size=64, **config)
    added = {"text_embeds": (1, 1280), "time_ids": (1, 6)} if config.get("addition_embed_type") else {}

    def inputs(side: int) -> Mapping[str, Any]:
        table = {
            "sample": empty(1, 4, side // 8, side // 8),
            "timestep": empty(1),
            "encoder_hidden_states": empty(1, 77, cross),
        }
        return table | ({"added_cond_kwargs": {key: empty(*shape) for key, shape in added.items()}} if added else {})

    return model, inputs


def sdxl() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """SDXL's U-Net. Source: stabilityai/stable-diffusion-xl-base-1.0, unet/config.json."""
    return unet(
        2048,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def sd3(layers: int, heads: int, **config: Any) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """SD3. Source: tests/data/headers/folder-sd3.json and the models' transformer/config.json."""
    numbers = {"num_layers": layers, "num_attention_heads": heads, "caption_projection_dim": 64 * heads}
    model = diffusers.SD3Transformer2DModel(
        sample_size=128, in_channels=16, joint_attention_dim=4096, pooled_projection_dim=2048, out_channels=16,
        pos_embed_max_size=384, **numbers, **config,
    )  # fmt: skip
    return model, lambda side: {
        "hidden_states": empty(1, 16, side // 8, side // 8),
        "encoder_hidden_states": empty(1, 333, 4096),
        "pooled_projections": empty(1, 2048),
        "timestep": empty(1),
    }


def packed(model: Any, text: int, **more: tuple[int, ...]) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """A model whose input is the image as a sequence of tokens: FLUX and Chroma."""
    return model, lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 64),
        "encoder_hidden_states": empty(1, text, 4096),
        "timestep": empty(1),
        "img_ids": empty((side // 16) ** 2, 3),
        "txt_ids": empty(text, 3),
        **{key: empty(*shape) for key, shape in more.items()},
    }


def lumina2() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Lumina Image 2 with 256 text tokens, none of them masked."""
    model = diffusers.Lumina2Transformer2DModel(cap_feat_dim=2304)
    return model, lambda side: {
        "hidden_states": empty(1, 16, side // 8, side // 8),
        "timestep": empty(1),
        "encoder_hidden_states": empty(1, 256, 2304),
        "encoder_attention_mask": torch.ones((1, 256), dtype=torch.bool, device="cpu"),
    }


def hunyuan_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """HunyuanImage 2.1, whose VAE reduces the image 32 times, with all 1,000 tokens of its first text encoder."""
    model = diffusers.HunyuanImageTransformer2DModel(text_embed_2_dim=None)
    return model, lambda side: {
        "hidden_states": empty(1, 64, side // 32, side // 32),
        "timestep": empty(1),
        "encoder_hidden_states": empty(1, 1000, 3584),
        "encoder_attention_mask": empty(1, 1000, dtype=torch.bool),
    }


def anima() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Anima, with the output of its text adapter as input."""
    from simpletuner.helpers.models.anima.transformer import AnimaTransformerModel

    model = AnimaTransformerModel()
    return model, lambda side: {
        "hidden_states": empty(1, 16, 1, side // 8, side // 8),
        "timestep": empty(1),
        "encoder_hidden_states": empty(1, 512, 1024),
    }


def flux2(row: str) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """FLUX.2, whose latents are packed to 128 channels, with 512 text tokens. Sizes: the row of record_families.py."""
    config = recorded(row)
    model, width = diffusers.Flux2Transformer2DModel(**config), config.get("joint_attention_dim", 15360)
    more = {"guidance": empty(1)} if config.get("guidance_embeds", True) else {}
    return model, lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 128),
        "encoder_hidden_states": empty(1, 512, width),
        "timestep": empty(1),
        "img_ids": empty(1, (side // 16) ** 2, 4),
        "txt_ids": empty(1, 512, 4),
        **more,
    }


def recorded(row: str) -> Mapping[str, Any]:
    """The sizes of a model that are not defaults of its class, from the row of record_families.py."""
    from record_families import ROWS

    return next(each.config for each in ROWS if each.name == row)


def qwen_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Qwen-Image with 512 text tokens, none of them masked."""
    return diffusers.QwenImageTransformer2DModel(), lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 64),
        "encoder_hidden_states": empty(1, 512, 3584),
        "timestep": empty(1),
        "img_shapes": [[(1, side // 16, side // 16)]],
    }


def qwen_image21() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Qwen-Image 2.1 of SimpleTuner with 512 text tokens, none of them masked."""
    from simpletuner.helpers.models.qwen_image.transformer_21 import QwenImage21Transformer2DModel

    # Each slot of an image in the mask stands for four of its positions.
    return QwenImage21Transformer2DModel(), lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 64),
        "encoder_hidden_states": empty(1, 512, 4096),
        "timestep": empty(1),
        "img_shapes": [[(1, side // 16, side // 16)]],
        "img_mask": torch.arange(512 + (side // 32) ** 2, device="cpu")[None] >= 512,
    }


def krea2() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Krea 2 with 512 text tokens from the 12 layers of its text encoder that it reads, none of them masked."""
    return diffusers.Krea2Transformer2DModel(), lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 64),
        "encoder_hidden_states": empty(1, 512, 12, 2560),
        "timestep": empty(1),
        "position_ids": empty(512 + (side // 16) ** 2, 3),
    }


def pixart(row: str) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """PixArt Sigma with 300 text tokens, none of them masked. Sizes: the row of record_families.py."""
    return diffusers.PixArtTransformer2DModel(**recorded(row)), lambda side: {
        "hidden_states": empty(1, 4, side // 8, side // 8),
        "encoder_hidden_states": empty(1, 300, 4096),
        "timestep": empty(1),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }


def kandinsky5_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Kandinsky 5 for images with 256 text tokens."""
    return diffusers.Kandinsky5Transformer3DModel(**recorded("kandinsky5-image")), lambda side: {
        "hidden_states": empty(1, 1, side // 8, side // 8, 16),
        "encoder_hidden_states": empty(1, 256, 3584),
        "pooled_projections": empty(1, 768),
        "timestep": empty(1),
        "visual_rope_pos": [torch.arange(1), torch.arange(side // 16), torch.arange(side // 16)],
        "text_rope_pos": torch.arange(256),
    }


def auraflow(tokens: int) -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """AuraFlow or Pony V7 with as many text tokens. Sizes: the row of record_families.py."""
    return diffusers.AuraFlowTransformer2DModel(**recorded("auraflow")), lambda side: {
        "hidden_states": empty(1, 4, side // 8, side // 8),
        "encoder_hidden_states": empty(1, tokens, 2048),
        "timestep": empty(1),
    }


def ernie_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """ERNIE-Image with 512 text tokens, none of them masked. Sizes: the row of record_families.py."""
    model = diffusers.ErnieImageTransformer2DModel(**recorded("ernie-image"))
    # Its table of positions turns autocast off, which the meta device does not have.
    model.pos_embed.forward = lambda ids: empty(*ids.shape[:2], 1, 128, dtype=torch.float32)
    return model, lambda side: {
        "hidden_states": empty(1, 128, side // 16, side // 16),
        "timestep": empty(1),
        "text_bth": empty(1, 512, 3072),
        "text_lens": torch.full((1,), 512),
    }


def longcat_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """LongCat-Image with 512 text tokens. Sizes: the row of record_families.py."""
    return diffusers.LongCatImageTransformer2DModel(**recorded("longcat-image-6b")), lambda side: {
        "hidden_states": empty(1, (side // 16) ** 2, 64),
        "encoder_hidden_states": empty(1, 512, 3584),
        "timestep": empty(1),
        "img_ids": empty((side // 16) ** 2, 3),
        "txt_ids": empty(512, 3),
    }


class Listed(torch.nn.Module):
    """Z-Image, which takes and returns a list of images, as a model that returns one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = diffusers.ZImageTransformer2DModel()
        self.enable_gradient_checkpointing = self.inner.enable_gradient_checkpointing
        self.disable_gradient_checkpointing = self.inner.disable_gradient_checkpointing

    def forward(self, image: torch.Tensor, text: torch.Tensor, timestep: torch.Tensor, return_dict: bool) -> Any:
        """The first result is the image."""
        return self.inner([image], timestep, [text], return_dict=return_dict)[0]


def z_image() -> tuple[Any, Callable[[int], Mapping[str, Any]]]:
    """Z-Image with 512 text tokens."""
    model = Listed()
    return model, lambda side: {
        "image": empty(16, 1, side // 8, side // 8), "text": empty(512, 2560), "timestep": empty(1),
    }  # fmt: skip
