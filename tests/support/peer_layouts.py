"""Layers of models in the names of other trainers, where no recorded header has them. Each row names its source.

A row lists the layers of one block with "input>output"; a number in braces is the number of blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Layers = Mapping[str, tuple[int, int]]
"""The inputs and outputs of each layer, by module name."""


def _attention(place: str, names: str, width: int) -> str:
    return " ".join(f"{place}.{name}={width}>{width}" for name in names.split())


def _wan(blocks: int, width: int, inner: int, names: str = "q k v o") -> str:
    self_attention, cross = _attention("self_attn", "q k v o", width), _attention("cross_attn", names, width)
    return f"blocks.{{{blocks}}}: {self_attention} {cross} ffn.0={width}>{inner} ffn.2={inner}>{width}"


def _kandinsky(blocks: int, width: int) -> str:
    names = "to_query to_key to_value out_layer"
    ff = f"feed_forward.in_layer={width}>{4 * width} feed_forward.out_layer={4 * width}>{width}"
    attention = _attention("self_attention", names, width)
    visual = f"{attention} {_attention('cross_attention', names, width)} {ff}"
    return f"text_transformer_blocks.{{2}}: {attention} {ff}\nvisual_transformer_blocks.{{{blocks}}}: {visual}"


def _streams(names: str) -> str:
    """The layers of both streams of a double block, written once with "%" for the stream."""
    return " ".join(names.replace("%", stream) for stream in ("img", "txt"))


HV = "%_attn_qkv=3072>9216 %_attn_proj=3072>3072 %_mlp.fc1=3072>12288 %_mlp.fc2=12288>3072"
HV_COMFY = "%_attn.qkv=3072>9216 %_attn.proj=3072>3072 %_mlp.0=3072>12288 %_mlp.2=12288>3072"
HV15 = "%_attn_q=2048>2048 %_attn_k=2048>2048 %_attn_v=2048>2048 %_attn_proj=2048>2048 %_mlp.fc1=2048>8192 %_mlp.fc2=8192>2048"
HV15_COMFY = "%_attn.qkv=2048>6144 %_attn.proj=2048>2048 %_mlp.0=2048>8192 %_mlp.2=8192>2048"
SINGLE = "linear1=3072>21504 linear2=15360>3072"
QWEN3_8B = (
    "self_attn.q_proj=4096>4096 self_attn.k_proj=4096>1024 self_attn.v_proj=4096>1024 self_attn.o_proj=4096>4096 "
    "mlp.gate_proj=4096>12288 mlp.up_proj=4096>12288 mlp.down_proj=12288>4096"
)
OMNIGEN2 = (
    "attn.to_q=2520>2520 attn.to_k=2520>840 attn.to_v=2520>840 attn.to_out.0=2520>2520 "
    "feed_forward.linear_1=2520>10240 feed_forward.linear_2=10240>2520 feed_forward.linear_3=2520>10240"
)
COSMOS = (
    "self_attn.q_proj=5120>5120 self_attn.k_proj=5120>5120 self_attn.v_proj=5120>5120 self_attn.output_proj=5120>5120 "
    "cross_attn.q_proj=5120>5120 cross_attn.k_proj=1024>5120 cross_attn.v_proj=1024>5120 mlp.layer1=5120>20480 mlp.layer2=20480>5120"
)

ROWS: Mapping[str, tuple[str, str, str]] = {
    "wan-14b": ("wan", "musubi-tuner wan/modules/model.py, configs/wan_t2v_14B.py", _wan(40, 5120, 13824)),
    "wan-1.3b": ("wan", "musubi-tuner wan/modules/model.py, configs/wan_t2v_1_3B.py", _wan(30, 1536, 8960)),
    "wan-i2v-14b": ("wan", "musubi-tuner wan/modules/model.py, WanI2VCrossAttention", _wan(40, 5120, 13824, "q k v o k_img v_img")),
    "wan22-5b": ("wan", "ai-toolkit wan22/wan22_5b_model.py; ComfyUI comfy/model_detection.py", _wan(30, 3072, 14336)),
    "hunyuan-video": ("hunyuan_video", "musubi-tuner networks/lora.py, HUNYUAN_TARGET_REPLACE_MODULES",
        f"double_blocks.{{20}}: {_streams(HV)}\nsingle_blocks.{{40}}: {SINGLE}"),
    "hunyuan-video-comfy": ("hunyuan_video", "ComfyUI comfy/lora.py, HunyuanVideo",
        f"double_blocks.{{20}}: {_streams(HV_COMFY)}\nsingle_blocks.{{40}}: {SINGLE}"),
    "hunyuan-video15": ("hunyuan_video15", "musubi-tuner hunyuan_video_1_5/hunyuan_video_1_5_modules.py", f"double_blocks.{{54}}: {_streams(HV15)}"),
    "hunyuan-video15-comfy": ("hunyuan_video15", "musubi-tuner networks/convert_hunyuan_video_1_5_lora_to_comfy.py",
        f"double_blocks.{{54}}: {_streams(HV15_COMFY)}"),
    "kandinsky5-image": ("kandinsky5_image", "musubi-tuner kandinsky5/configs.py, k5-lite-t2i-hd", _kandinsky(50, 2560)),
    "kandinsky5-lite": ("kandinsky5", "musubi-tuner kandinsky5/configs.py, k5-lite-t2v-5s-sd", _kandinsky(32, 1792)),
    "kandinsky5-pro": ("kandinsky5", "musubi-tuner kandinsky5/configs.py, k5-pro-t2v-5s-sd", _kandinsky(60, 4096)),
    "ideogram4-original": ("ideogram4", "musubi-tuner ideogram4/ideogram4_model.py; OneTrainer modules/model/IdeogramModel.py",
        ("layers.{34}: attention.qkv=4608>13824 attention.o=4608>4608 feed_forward.w1=4608>12288 feed_forward.w2=12288>4608 "
        "feed_forward.w3=4608>12288")),
    "hidream-o1": ("hidream_o1", "musubi-tuner networks/lora_hidream_o1.py; hidream_o1/qwen3_vl_transformers.py",
        f"language_model.layers.{{36}}: {QWEN3_8B}"),
    "hidream-o1-musubi": ("hidream_o1", "musubi-tuner networks/lora_hidream_o1.py; hidream_o1/qwen3_vl_transformers.py",
        f"model.language_model.layers.{{36}}: {QWEN3_8B}"),
    "omnigen2": ("omnigen2", "ai-toolkit omnigen2/src/models/transformers/transformer_omnigen2.py; ComfyUI comfy/model_detection.py",
        f"layers.{{32}}: {OMNIGEN2}\nnoise_refiner.{{2}}: {OMNIGEN2}"),
    "f-lite": ("f_lite", "ai-toolkit f_light/src/model.py, DiT; the sizes from memory",
        ("blocks.{40}: self_attn.qkv=3072>9216 self_attn.proj=3072>3072 cross_attn.q=3072>3072 cross_attn.context_kv=4096>6144 "
        "cross_attn.proj=3072>3072 mlp.0=3072>12288 mlp.2=12288>3072")),
    "zeta-chroma": ("zeta_chroma", "ai-toolkit zeta_chroma/zeta_chroma_transformer.py, ZImageDCT",
        ("layers.{30}: attention.to_q=3840>3840 attention.to_k=3840>3840 attention.to_v=3840>3840 attention.to_out.0=3840>3840 "
        "feed_forward.w1=3840>10240 feed_forward.w2=10240>3840 feed_forward.w3=3840>10240\n"
        "dec_net.res_blocks.{4}: mlp.0=3840>3840 mlp.2=3840>3840")),
    "cosmos-predict2-14b": ("cosmos", "ComfyUI comfy/model_detection.py, cosmos_predict2 with 5120 channels", f"blocks.{{36}}: {COSMOS}"),
    "mochi-original": ("mochi", "ComfyUI comfy/ldm/genmo/joint_model/asymm_models_joint.py; comfy/lora.py, GenmoMochi",
        "blocks.{48}: attn.qkv_x=3072>9216 attn.qkv_y=1536>9216 attn.proj_x=3072>3072 attn.proj_y=3072>1536"),
    "hunyuan-dit-original": ("hunyuan_dit", "ComfyUI comfy/ldm/hydit/attn_layers.py; comfy/lora.py, HunyuanDiT",
        "blocks.{40}: attn1.Wqkv=1408>4224 attn1.out_proj=1408>1408 attn2.q_proj=1408>1408 attn2.kv_proj=1024>2816 attn2.out_proj=1408>1408"),
    "ltx2-original": ("ltx2", "ai-toolkit ltx2/convert_ltx2_to_diffusers.py: the blocks keep the names of diffusers",
        ("transformer_blocks.{48}: attn1.to_q=4096>4096 attn1.to_k=4096>4096 attn1.to_v=4096>4096 attn1.to_out.0=4096>4096 "
        "attn2.to_q=4096>4096 attn2.to_k=4096>4096 attn2.to_v=4096>4096 audio_attn1.to_q=2048>2048 audio_attn1.to_k=2048>2048 "
        "audio_attn1.to_v=2048>2048 audio_to_video_attn.to_q=4096>2048 video_to_audio_attn.to_k=4096>2048 "
        "ff.net.0.proj=4096>16384 ff.net.2=16384>4096 audio_ff.net.0.proj=2048>8192")),
    "ltx-video-13b": ("ltx_video", "diffusers scripts/convert_ltx_to_diffusers.py, version 0.9.7",
        ("transformer_blocks.{48}: attn1.to_q=4096>4096 attn1.to_k=4096>4096 attn1.to_v=4096>4096 attn1.to_out.0=4096>4096 "
        "attn2.to_q=4096>4096 attn2.to_k=4096>4096 attn2.to_v=4096>4096 ff.net.0.proj=4096>16384 ff.net.2=16384>4096")),
    "hunyuan-image-comfy": ("hunyuan_image", "sd-scripts networks/convert_hunyuan_image_lora_to_comfy.py",
        "double_blocks.{20}: " + _streams("%_attn.qkv=3584>10752 %_attn.proj=3584>3584 %_mlp.0=3584>14336 %_mlp.2=14336>3584")
        + "\nsingle_blocks.{40}: linear1=3584>25088 linear2=17920>3584"),
    "pixart-original": ("pixart", "ComfyUI comfy/ldm/pixart/pixartms.py",
        ("blocks.{28}: attn.qkv=1152>3456 attn.proj=1152>1152 cross_attn.q_linear=1152>1152 cross_attn.kv_linear=1152>2304 "
        "cross_attn.proj=1152>1152 mlp.fc1=1152>4608 mlp.fc2=4608>1152")),
    "flux-fused": ("flux", "OneTrainer modules/model/FluxModel.py, fusion_groups",
        ("transformer_blocks.{19}: attn.qkv=3072>9216 attn.added_qkv=3072>9216 attn.to_out.0=3072>3072 ff.net.0.proj=3072>12288 "
        "norm1.linear=3072>18432\nsingle_transformer_blocks.{38}: qkv_mlp=3072>21504 proj_out=15360>3072")),
    "sd35-fused": ("sd3", "OneTrainer modules/model/StableDiffusion3Model.py, fusion_groups",
        "transformer_blocks.{38}: attn.qkv=2432>7296 attn.added_qkv=2432>7296 attn.to_out.0=2432>2432 ff.net.0.proj=2432>9728"),
}  # fmt: skip
"""By name: the family, the source, and the layers."""


def layers(name: str) -> Layers:
    """The layers of one row."""
    return dict(_layers(ROWS[name][2]))


def _layers(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for line in text.splitlines():
        place, _, rows = line.partition(": ")
        stack, count = re.fullmatch(r"(.+)\.\{(\d+)\}", place).groups()  # pyright: ignore[reportOptionalMemberAccess]
        for block in range(int(count)):
            for row in rows.split():
                module, _, sizes = row.partition("=")
                one, _, other = sizes.partition(">")
                yield f"{stack}.{block}.{module}", (int(one), int(other))
