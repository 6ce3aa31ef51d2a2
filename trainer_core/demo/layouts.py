"""Names and shapes of the tensors in checkpoints of Stable Diffusion 1.5 and SDXL, from their architecture's numbers.

Source: the published configurations v1-inference.yaml and sd_xl_base.yaml and the modules they name; proved by loading
the result in sd-scripts without a missing or unexpected key. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator

Shape = tuple[int, ...]
Tensor = tuple[str, Shape]
CONV, POINT = (3, 3), (1, 1)


def sd15() -> Iterator[Tensor]:
    """Every tensor of a Stable Diffusion 1.5 checkpoint file."""
    yield from _unet((1, 2, 4, 4), depths=(1, 1, 1, 0), middle=1, context=768, linear=False, labels=0)
    yield from _vae()
    yield from clip_text("cond_stage_model.transformer.text_model.")


def sdxl() -> Iterator[Tensor]:
    """Every tensor of an SDXL checkpoint file."""
    yield from _unet((1, 2, 4), depths=(0, 2, 10), middle=10, context=2048, linear=True, labels=2816)
    yield from _vae()
    yield from clip_text("conditioner.embedders.0.transformer.text_model.")
    yield from _open_clip("conditioner.embedders.1.model.", width=1280, layers=32)


def layer(name: str, out: int, *rest: int) -> Iterator[Tensor]:
    """The weight (out, *rest) and the bias (out,) of one layer."""
    yield f"{name}.weight", (out, *rest)
    yield f"{name}.bias", (out,)


def _unet(
    multipliers: Shape, depths: Shape, middle: int, context: int, linear: bool, labels: int
) -> Iterator[Tensor]:
    root, base, time = "model.diffusion_model.", 320, 1280

    def residual(name: str, inside: int, out: int) -> Iterator[Tensor]:
        yield from layer(f"{name}.in_layers.0", inside)
        yield from layer(f"{name}.in_layers.2", out, inside, *CONV)
        yield from layer(f"{name}.emb_layers.1", out, time)
        yield from layer(f"{name}.out_layers.0", out)
        yield from layer(f"{name}.out_layers.3", out, out, *CONV)
        if inside != out:
            yield from layer(f"{name}.skip_connection", out, inside, *POINT)

    def transformer(name: str, width: int, depth: int) -> Iterator[Tensor]:
        around = () if linear else POINT
        yield from layer(f"{name}.norm", width)
        yield from layer(f"{name}.proj_in", width, width, *around)
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
        yield from layer(f"{name}.proj_out", width, width, *around)

    yield from layer(f"{root}time_embed.0", time, base)
    yield from layer(f"{root}time_embed.2", time, time)
    if labels:
        yield from layer(f"{root}label_emb.0.0", time, labels)
        yield from layer(f"{root}label_emb.0.2", time, time)

    yield from layer(f"{root}input_blocks.0.0", base, 4, *CONV)
    width, skips, index = base, [base], 1
    for level, multiplier in enumerate(multipliers):
        for _ in range(2):
            yield from residual(f"{root}input_blocks.{index}.0", width, base * multiplier)
            width = base * multiplier
            if depths[level]:
                yield from transformer(f"{root}input_blocks.{index}.1", width, depths[level])
            skips.append(width)
            index += 1
        if level < len(multipliers) - 1:
            yield from layer(f"{root}input_blocks.{index}.0.op", width, width, *CONV)
            skips.append(width)
            index += 1

    yield from residual(f"{root}middle_block.0", width, width)
    yield from transformer(f"{root}middle_block.1", width, middle)
    yield from residual(f"{root}middle_block.2", width, width)

    index = 0
    for level in reversed(range(len(multipliers))):
        for turn in range(3):
            yield from residual(f"{root}output_blocks.{index}.0", width + skips.pop(), base * multipliers[level])
            width = base * multipliers[level]
            if depths[level]:
                yield from transformer(f"{root}output_blocks.{index}.1", width, depths[level])
            if turn == 2 and level:
                yield from layer(f"{root}output_blocks.{index}.{2 if depths[level] else 1}.conv", width, width, *CONV)
            index += 1
    yield from layer(f"{root}out.0", width)
    yield from layer(f"{root}out.2", 4, width, *CONV)


def _vae() -> Iterator[Tensor]:
    root, widths = "first_stage_model.", (128, 256, 512, 512)

    def residual(name: str, inside: int, out: int) -> Iterator[Tensor]:
        yield from layer(f"{name}.norm1", inside)
        yield from layer(f"{name}.conv1", out, inside, *CONV)
        yield from layer(f"{name}.norm2", out)
        yield from layer(f"{name}.conv2", out, out, *CONV)
        if inside != out:
            yield from layer(f"{name}.nin_shortcut", out, inside, *POINT)

    def middle(name: str) -> Iterator[Tensor]:
        yield from residual(f"{name}.block_1", 512, 512)
        yield from layer(f"{name}.attn_1.norm", 512)
        for part in ("q", "k", "v", "proj_out"):
            yield from layer(f"{name}.attn_1.{part}", 512, 512, *POINT)
        yield from residual(f"{name}.block_2", 512, 512)

    yield from layer(f"{root}encoder.conv_in", 128, 3, *CONV)
    width = 128
    for level, out in enumerate(widths):
        for block in range(2):
            yield from residual(f"{root}encoder.down.{level}.block.{block}", width, out)
            width = out
        if level < 3:
            yield from layer(f"{root}encoder.down.{level}.downsample.conv", width, width, *CONV)
    yield from middle(f"{root}encoder.mid")
    yield from layer(f"{root}encoder.norm_out", 512)
    yield from layer(f"{root}encoder.conv_out", 8, 512, *CONV)

    yield from layer(f"{root}decoder.conv_in", 512, 4, *CONV)
    yield from middle(f"{root}decoder.mid")
    width = 512
    for level, out in reversed(list(enumerate(widths))):
        for block in range(3):
            yield from residual(f"{root}decoder.up.{level}.block.{block}", width, out)
            width = out
        if level:
            yield from layer(f"{root}decoder.up.{level}.upsample.conv", width, width, *CONV)
    yield from layer(f"{root}decoder.norm_out", 128)
    yield from layer(f"{root}decoder.conv_out", 3, 128, *CONV)
    yield from layer(f"{root}quant_conv", 8, 8, *POINT)
    yield from layer(f"{root}post_quant_conv", 4, 4, *POINT)


def clip_text(root: str, width: int = 768, layers: int = 12, spread: int = 4) -> Iterator[Tensor]:
    """Every tensor of a CLIP text encoder in the naming of transformers; `spread` is the width of its inner layers."""
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
