"""Makes and opens small models with diffusers, transformers and torch. Run by the Python of an engine that has them.

`make FOLDER` writes a folder in the diffusers layout for each family, with random weights; `open FOLDER` opens the files and
folders that `jobs.json` lists there, and writes the SHA-256 of each tensor to `opened.json`.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import importlib
from typing import Any

# No test imports this file, and Easel's own environment has none of these.
diffusers: Any = importlib.import_module("diffusers")
single_file_utils: Any = importlib.import_module("diffusers.loaders.single_file_utils")
safetensors: Any = importlib.import_module("safetensors.torch")
torch: Any = importlib.import_module("torch")
transformers: Any = importlib.import_module("transformers")

DTYPE = torch.float16


def clip(width, layers, projection, activation, kind):
    config = transformers.CLIPTextConfig(
        vocab_size=100, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=max(width // 64, 1), max_position_embeddings=77, projection_dim=projection, hidden_act=activation,
    )  # fmt: skip
    return kind(config)


def t5(width):
    config = transformers.T5Config(
        vocab_size=100, d_model=width, d_kv=16, d_ff=64, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return transformers.T5EncoderModel(config)


def vae(channels):
    return diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=2,
        block_out_channels=[32, 32, 64, 64], latent_channels=channels, use_quant_conv=channels == 4, use_post_quant_conv=channels == 4,
    )  # fmt: skip


def unet(kind):
    cross, plain = "CrossAttn{}Block2D", "{}Block2D"
    if kind == "sdxl":
        return diffusers.UNet2DConditionModel(
            block_out_channels=[64, 128, 128], down_block_types=[plain.format("Down"), *[cross.format("Down")] * 2],
            up_block_types=[*[cross.format("Up")] * 2, plain.format("Up")], attention_head_dim=[1, 2, 2], cross_attention_dim=192,
            transformer_layers_per_block=[1, 2, 10], use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=1536 + 128,
        )  # fmt: skip
    return diffusers.UNet2DConditionModel(
        block_out_channels=[64, 128, 128, 128], down_block_types=[*[cross.format("Down")] * 3, plain.format("Down")],
        up_block_types=[plain.format("Up"), *[cross.format("Up")] * 3], cross_attention_dim=64,
        attention_head_dim=8 if kind == "sd15" else [1, 2, 2, 2], use_linear_projection=kind == "sd2",
    )  # fmt: skip


def parts(family):
    text, projected = transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection
    if family == "sd15":
        return {"unet": unet(family), "text_encoder": clip(64, 2, 64, "quick_gelu", text), "vae": vae(4)}
    if family == "sd2":
        return {"unet": unet(family), "text_encoder": clip(64, 23, 64, "gelu", text), "vae": vae(4)}
    if family == "sdxl":
        two = {
            "text_encoder": clip(64, 2, 64, "quick_gelu", text),
            "text_encoder_2": clip(128, 2, 128, "gelu", projected),
        }
        return {"unet": unet(family), **two, "vae": vae(4)}
    if family == "sd3":
        three = {
            "text_encoder": clip(64, 2, 64, "quick_gelu", projected),
            "text_encoder_2": clip(128, 2, 128, "gelu", projected),
            "text_encoder_3": t5(32),
        }
        transformer = diffusers.SD3Transformer2DModel(
            sample_size=32, num_layers=3, attention_head_dim=64, num_attention_heads=2, joint_attention_dim=32,
            caption_projection_dim=128, pooled_projection_dim=192, pos_embed_max_size=24, qk_norm="rms_norm", dual_attention_layers=(0, 1),
        )  # fmt: skip
        return {"transformer": transformer, **three, "vae": vae(16)}
    transformer = diffusers.FluxTransformer2DModel(
        num_layers=2, num_single_layers=2, attention_head_dim=128, num_attention_heads=1, joint_attention_dim=32,
        pooled_projection_dim=64, guidance_embeds=True,
    )  # fmt: skip
    return {
        "transformer": transformer,
        "text_encoder": clip(64, 2, 64, "quick_gelu", text),
        "text_encoder_2": t5(32),
        "vae": vae(16),
    }


PIPELINES = {
    "sd15": "StableDiffusionPipeline", "sd2": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline", "flux": "FluxPipeline",
}  # fmt: skip


def make(root):
    torch.manual_seed(0)
    for family in sys.argv[3:]:
        index = {"_class_name": PIPELINES[family], "scheduler": ["diffusers", "DDIMScheduler"]}
        for name, model in parts(family).items():
            model.to(DTYPE).save_pretrained(root / family / name)
            index[name] = [type(model).__module__.partition(".")[0], type(model).__name__]
        scheduler = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
        (root / family / "scheduler").mkdir()
        (root / family / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
        (root / family / "model_index.json").write_text(json.dumps(index))


def told(model):
    held = (
        model if isinstance(model, dict) else model.state_dict() if isinstance(model, torch.nn.Module) else whole(model)
    )
    return {
        name: f"{tensor.dtype} {tuple(tensor.shape)} " + hashlib.sha256(bytes_of(tensor)).hexdigest()
        for name, tensor in held.items()
        if not name.endswith("position_ids")
    }


def bytes_of(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def whole(pipeline):
    """The tensors of all components of a pipeline."""
    models = {name: model for name, model in pipeline.components.items() if isinstance(model, torch.nn.Module)}
    return {f"{name}/{key}": tensor for name, model in models.items() for key, tensor in model.state_dict().items()}


def opened(job):
    if "pickle" in job:
        return torch.load(job["pickle"], weights_only=True, mmap=True)["state_dict"]
    if "tensors" in job:
        dtype = getattr(torch, job["dtype"]) if "dtype" in job else None
        found = safetensors.load_file(job["tensors"])
        return {name: tensor.to(dtype) if dtype and tensor.numel() else tensor for name, tensor in found.items()}
    kind = getattr(diffusers, job["class"], None) or getattr(transformers, job["class"])
    if "file" in job and kind.__module__.startswith("transformers"):
        checkpoint = safetensors.load_file(job["file"])
        make_one = single_file_utils.create_diffusers_clip_model_from_ldm
        return make_one(kind, checkpoint, config=job["config"], torch_dtype=DTYPE, local_files_only=True)
    if "file" in job:
        return kind.from_single_file(job["file"], config=job["config"], torch_dtype=DTYPE, local_files_only=True)
    return kind.from_pretrained(job["folder"], torch_dtype=DTYPE, local_files_only=True)


def main():
    action, root = sys.argv[1], Path(sys.argv[2])
    if action == "make":
        make(root)
        return
    found = {}
    for name, job in json.loads((root / "jobs.json").read_text()).items():
        try:
            found[name] = told(opened(job))
        except (ValueError, TypeError, KeyError, OSError, RuntimeError, AttributeError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    (root / "opened.json").write_text(json.dumps(found))


main()
