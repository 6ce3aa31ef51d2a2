"""Fuses a LoRA into a small FLUX transformer with diffusers itself. Run it with a Python that has diffusers and PEFT: FOLDER STRENGTH."""

import sys
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import save_file

folder, strength = Path(sys.argv[1]), float(sys.argv[2])
torch.manual_seed(0)
model = FluxTransformer2DModel(
    patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
    joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8],
)  # fmt: skip
save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
lora = {}
for name, module in model.named_modules():
    if isinstance(module, torch.nn.Linear):
        lora[f"transformer.{name}.lora_A.weight"] = torch.randn(4, module.in_features) * 0.2
        lora[f"transformer.{name}.lora_B.weight"] = torch.randn(module.out_features, 4) * 0.2
save_file(lora, folder / "lora.safetensors")
model.load_lora_adapter(dict(lora), prefix="transformer", adapter_name="own")
model.fuse_lora(lora_scale=strength)
model.unload_lora()
save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "fused.safetensors")
