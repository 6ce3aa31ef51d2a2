"""Records in tests/data/roles the LoRAs that musubi-tuner makes, and its VAE of FLUX.2, of its own classes, without weights or downloads.

workspace/engines/musubi/venv/bin/python scripts/record_musubi_roles.py workspace/engines/musubi/source
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from record_headers import shapes
from record_roles import ALPHA, RANK, lora, write


def _engine(name: str) -> Any:
    return importlib.import_module(f"musubi_tuner.{name}")


def _record(name: str, network: str, base: str, model: Any) -> None:
    found = _engine(f"networks.{network}").create_arch_network(1.0, RANK, ALPHA, None, [], model)
    found.apply_to(None, model, apply_text_encoder=False, apply_unet=True)
    about = f"musubi-tuner networks/{network}.py over {type(model).__name__}."
    lora(f"musubi-{name}", about, shapes(found.state_dict(), "BF16"), base)


def main(source: Path) -> None:
    """Records one LoRA for each family that Easel trains with this engine, and the VAE."""
    sys.path.insert(0, str(source / "src"))
    torch = importlib.import_module("torch")
    flux, flux2 = _engine("flux.flux_models"), _engine("flux_2.flux2_models")
    krea = _engine("krea2.krea2_utils")
    with torch.device("meta"):
        for name, sizes in (("4b", flux2.Klein4BParams()), ("9b", flux2.Klein9BParams())):
            _record(f"flux2-klein-{name}", "lora_flux_2", "flux2", flux2.Flux2(sizes, "torch", False))
        _record("flux-kontext", "lora_flux", "flux", flux.Flux(flux.configs_flux_dev_context.params, "torch", False))
        _record(
            "z-image",
            "lora_zimage",
            "z_image",
            _engine("zimage.zimage_model").create_model("torch", False, torch.bfloat16),
        )
        large = krea.SingleStreamDiT(krea.single_mmdit_large_wide, attn_mode="torch", split_attn=False)
        _record("krea2", "lora_krea2", "krea2", large)
        vae = flux2.AutoEncoder(flux2.AutoEncoderParams())
        about = (
            "AutoEncoder of musubi-tuner flux_2/flux2_models.py, which has the names of the publisher's ae.safetensors."
        )
        write("vae-flux2-original", about, "vae", shapes(vae.state_dict(), "BF16"), kind="vae_flux2")
        qwen = _engine("qwen_image.qwen_image_model")
        _record(
            "qwen-image",
            "lora_qwen_image",
            "qwen_image",
            qwen.create_model("torch", False, False, False, False, torch.bfloat16),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
