"""Names and shapes of the tensors in checkpoints of Stable Diffusion 1.5 and SDXL, computed from the architecture.

Source: the published configurations v1-inference.yaml and sd_xl_base.yaml and the modules they name; verified by loading
the result in sd-scripts without a missing or unexpected key. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]
Tensor = tuple[str, Shape]
CONV, POINT = (3, 3), (1, 1)


def sd15() -> Iterator[Tensor]:
    """Every tensor of a Stable Diffusion 1.5 checkpoint file."""
    yield from _UNet((1, 2, 4, 4), (1, 1, 1, 0), middle=1, context=768, linear=False, labels=0).tensors()
    yield from _vae()
    yield from clip_text("cond_stage_model.transformer.text_model.")


def sdxl() -> Iterator[Tensor]:
    """Every tensor of an SDXL checkpoint file."""
    yield from _UNet((1, 2, 4), (0, 2, 10), middle=10, context=2048, linear=True, labels=2816).tensors()
    yield from _vae()
    yield from clip_text("conditioner.embedders.0.transformer.text_model.")
    yield from _open_clip("conditioner.embedders.1.model.", width=1280, layers=32)


def layer(name: str, out: int, *rest: int) -> Iterator[Tensor]:
    """The weight (out, *rest) and the bias (out,) of one layer."""
    yield f"{name}.weight", (out, *rest)
    yield f"{name}.bias", (out,)


@dataclass(frozen=True)
class _UNet:
    """The dimensions of a U-Net: width multipliers and transformer depths by level, from the outermost to the innermost."""

    multipliers: Shape
    depths: Shape
    middle: int
    context: int
    linear: bool
    labels: int
    root: str = "model.diffusion_model."
    base: int = 320
    time: int = 1280

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of the U-Net."""
        yield from layer(f"{self.root}time_embed.0", self.time, self.base)
        yield from layer(f"{self.root}time_embed.2", self.time, self.time)
        if self.labels:
            yield from layer(f"{self.root}label_emb.0.0", self.time, self.labels)
            yield from layer(f"{self.root}label_emb.0.2", self.time, self.time)
        skips: list[int] = []
        yield from self._inputs(skips)
        width = skips[-1]
        yield from self._residual(f"{self.root}middle_block.0", width, width)
        yield from self._transformer(f"{self.root}middle_block.1", width, self.middle)
        yield from self._residual(f"{self.root}middle_block.2", width, width)
        yield from self._outputs(skips)
        yield from layer(f"{self.root}out.0", self.base)
        yield from layer(f"{self.root}out.2", 4, self.base, *CONV)

    def _inputs(self, skips: list[int]) -> Iterator[Tensor]:
        """The input blocks; `skips` gets the width of each, which the output blocks take back."""
        yield from layer(f"{self.root}input_blocks.0.0", self.base, 4, *CONV)
        skips.append(self.base)
        for level, multiplier in enumerate(self.multipliers):
            out = self.base * multiplier
            for _ in range(2):
                block = f"{self.root}input_blocks.{len(skips)}"
                yield from self._residual(f"{block}.0", skips[-1], out)
                yield from self._transformer(f"{block}.1", out, self.depths[level])
                skips.append(out)
            if level < len(self.multipliers) - 1:
                yield from layer(f"{self.root}input_blocks.{len(skips)}.0.op", out, out, *CONV)
                skips.append(out)

    def _outputs(self, skips: list[int]) -> Iterator[Tensor]:
        """The output blocks, from the innermost level."""
        width, index = skips[-1], 0
        for level in reversed(range(len(self.multipliers))):
            out = self.base * self.multipliers[level]
            for turn in range(3):
                block = f"{self.root}output_blocks.{index}"
                yield from self._residual(f"{block}.0", width + skips.pop(), out)
                yield from self._transformer(f"{block}.1", out, self.depths[level])
                if turn == 2 and level:
                    yield from layer(f"{block}.{2 if self.depths[level] else 1}.conv", out, out, *CONV)
                width, index = out, index + 1

    def _residual(self, name: str, inside: int, out: int) -> Iterator[Tensor]:
        yield from layer(f"{name}.in_layers.0", inside)
        yield from layer(f"{name}.in_layers.2", out, inside, *CONV)
        yield from layer(f"{name}.emb_layers.1", out, self.time)
        yield from layer(f"{name}.out_layers.0", out)
        yield from layer(f"{name}.out_layers.3", out, out, *CONV)
        if inside != out:
            yield from layer(f"{name}.skip_connection", out, inside, *POINT)

    def _transformer(self, name: str, width: int, depth: int) -> Iterator[Tensor]:
        """The attention of a block; no tensors at a level without attention."""
        if not depth:
            return
        around = () if self.linear else POINT
        yield from layer(f"{name}.norm", width)
        yield from layer(f"{name}.proj_in", width, width, *around)
        yield from transformer_blocks(name, width, depth, self.context)
        yield from layer(f"{name}.proj_out", width, width, *around)


def transformer_blocks(name: str, width: int, depth: int, context: int) -> Iterator[Tensor]:
    """The blocks in an attention module: self-attention, cross-attention to the text (`context` wide), and feed-forward."""
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for attention, source in (("attn1", width), ("attn2", context)):
            yield f"{block}.{attention}.to_q.weight", (width, width)
            yield f"{block}.{attention}.to_k.weight", (width, source)
            yield f"{block}.{attention}.to_v.weight", (width, source)
            yield from layer(f"{block}.{attention}.to_out.0", width, width)
        yield from layer(f"{block}.ff.net.0.proj", 8 * width, width)
        yield from layer(f"{block}.ff.net.2", width, 4 * width)
        for norm in ("norm1", "norm2", "norm3"):
            yield from layer(f"{block}.{norm}", width)


VAE, VAE_WIDTHS, VAE_INNER = "first_stage_model.", (128, 256, 512, 512), 512


def _vae() -> Iterator[Tensor]:
    yield from layer(f"{VAE}encoder.conv_in", VAE_WIDTHS[0], 3, *CONV)
    width = VAE_WIDTHS[0]
    for level, out in enumerate(VAE_WIDTHS):
        for block in range(2):
            yield from _vae_residual(f"{VAE}encoder.down.{level}.block.{block}", width, out)
            width = out
        if level < 3:
            yield from layer(f"{VAE}encoder.down.{level}.downsample.conv", width, width, *CONV)
    yield from _vae_middle(f"{VAE}encoder.mid")
    yield from layer(f"{VAE}encoder.norm_out", VAE_INNER)
    yield from layer(f"{VAE}encoder.conv_out", 8, VAE_INNER, *CONV)
    yield from _vae_decoder()
    yield from layer(f"{VAE}quant_conv", 8, 8, *POINT)
    yield from layer(f"{VAE}post_quant_conv", 4, 4, *POINT)


def _vae_decoder() -> Iterator[Tensor]:
    yield from layer(f"{VAE}decoder.conv_in", VAE_INNER, 4, *CONV)
    yield from _vae_middle(f"{VAE}decoder.mid")
    width = VAE_INNER
    for level, out in reversed(list(enumerate(VAE_WIDTHS))):
        for block in range(3):
            yield from _vae_residual(f"{VAE}decoder.up.{level}.block.{block}", width, out)
            width = out
        if level:
            yield from layer(f"{VAE}decoder.up.{level}.upsample.conv", width, width, *CONV)
    yield from layer(f"{VAE}decoder.norm_out", width)
    yield from layer(f"{VAE}decoder.conv_out", 3, width, *CONV)


def _vae_residual(name: str, inside: int, out: int) -> Iterator[Tensor]:
    yield from layer(f"{name}.norm1", inside)
    yield from layer(f"{name}.conv1", out, inside, *CONV)
    yield from layer(f"{name}.norm2", out)
    yield from layer(f"{name}.conv2", out, out, *CONV)
    if inside != out:
        yield from layer(f"{name}.nin_shortcut", out, inside, *POINT)


def _vae_middle(name: str) -> Iterator[Tensor]:
    yield from _vae_residual(f"{name}.block_1", VAE_INNER, VAE_INNER)
    yield from layer(f"{name}.attn_1.norm", VAE_INNER)
    for part in ("q", "k", "v", "proj_out"):
        yield from layer(f"{name}.attn_1.{part}", VAE_INNER, VAE_INNER, *POINT)
    yield from _vae_residual(f"{name}.block_2", VAE_INNER, VAE_INNER)


def clip_text(root: str, width: int = 768, layers: int = 12, spread: int = 4) -> Iterator[Tensor]:
    """Every tensor of a CLIP text encoder named as in transformers; `spread` is the factor of the inner width."""
    yield f"{root}embeddings.token_embedding.weight", (49408, width)
    yield f"{root}embeddings.position_embedding.weight", (77, width)
    for index in range(layers):
        block = f"{root}encoder.layers.{index}"
        for part in ("q", "k", "v", "out"):
            yield from layer(f"{block}.self_attn.{part}_proj", width, width)
        yield from layer(f"{block}.layer_norm1", width)
        yield from layer(f"{block}.mlp.fc1", spread * width, width)
        yield from layer(f"{block}.mlp.fc2", width, spread * width)
        yield from layer(f"{block}.layer_norm2", width)
    yield from layer(f"{root}final_layer_norm", width)


def _open_clip(root: str, width: int, layers: int) -> Iterator[Tensor]:
    yield f"{root}positional_embedding", (77, width)
    yield f"{root}text_projection", (width, width)
    yield f"{root}token_embedding.weight", (49408, width)
    yield f"{root}logit_scale", ()
    for index in range(layers):
        block = f"{root}transformer.resblocks.{index}"
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        yield from layer(f"{block}.attn.out_proj", width, width)
        yield from layer(f"{block}.ln_1", width)
        yield from layer(f"{block}.ln_2", width)
        yield from layer(f"{block}.mlp.c_fc", 4 * width, width)
        yield from layer(f"{block}.mlp.c_proj", width, 4 * width)
    yield from layer(f"{root}ln_final", width)
