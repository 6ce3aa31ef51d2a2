"""Model files of real layouts in every form that a user may have: other names, other prefixes, parts inside a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support import recorded_headers, recorded_roles

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def model(name: str) -> Tensors:
    """A recorded model in bf16, which the loaders need not convert, so that they read no weights."""
    return {key: ("BF16", shape) for key, (_, shape) in recorded_headers.load(name)["tensors"].items()}


def part(name: str) -> Tensors:
    """A recorded part."""
    return {key: ("BF16", tuple(info.shape)) for key, info in recorded_roles.sized(name).items()}


def under(prefix: str, tensors: Tensors) -> Tensors:
    """These tensors with a prefix."""
    return {prefix + key: row for key, row in tensors.items()}


def replaced(old: str, new: str, tensors: Tensors) -> Tensors:
    """These tensors with a piece of their names replaced."""
    return {key.replace(old, new): row for key, row in tensors.items()}


DENOISER, GEMMA = "model.diffusion_model.", "text_encoders.gemma2_2b."


def forms() -> dict[str, Tensors]:
    """The forms by name; the name of a form begins with the kind of file."""
    vae, clip_l, flux, gemma = model("vae-flux"), model("clip-l"), model("flux-dev"), model("gemma2-2b")
    t5, sd_vae = model("t5xxl"), model("vae-sd")
    neta = {**under(DENOISER, model("lumina2")), **under(f"{GEMMA}transformer.", gemma), **under("vae.", vae)}
    return {
        "vae-ldm": vae,
        "vae-diffusers": part("vae-16ch-diffusers"),
        "vae-with-prefix": under("vae.", vae),
        "sd-vae-ldm": sd_vae,
        "sd-vae-diffusers": part("vae-sd-diffusers"),
        "sd-vae-with-prefix": under("first_stage_model.", sd_vae),
        "hunyuan-vae-original": model("vae-hunyuan-image"),
        "hunyuan-vae-diffusers": part("vae-hunyuan-image-diffusers"),
        "qwen-vae-original": model("vae-qwen-image"),
        "qwen-vae-diffusers": model("vae-qwen-image-diffusers"),
        "clip-l": clip_l,
        "clip-l-openclip": part("te-open-clip-l"),
        "clip-l-bare": replaced("text_model.", "", clip_l),
        "clip-l-with-prefix": under("text_encoders.clip_l.transformer.", clip_l),
        "clip-g": model("clip-g"),
        "clip-g-openclip": part("te-open-clip-g"),
        "t5": t5,
        "t5-without-shared": {key: row for key, row in t5.items() if key != "shared.weight"},
        "t5-with-prefix": under("text_encoders.t5xxl.transformer.", t5),
        "gemma": gemma,
        "gemma-bare": replaced("model.", "", gemma),
        "gemma-with-head": {"lm_head.weight": ("BF16", (8, 8)), **gemma},
        "flux": flux,
        "flux-of-comfyui": replaced("_norm.scale", "_norm.weight", flux),
        "flux-with-prefix": under(DENOISER, flux),
        "flux-all-in-one": {**under(DENOISER, flux), **under("vae.", vae), **under("text_encoders.t5xxl.", {})},
        "flux-after-its-vae": {**under(DENOISER, flux), **under("first_stage_model.", vae)},
        "sd3-bare": replaced(DENOISER, "", model("sd3-medium")),
        "anima-with-prefix": under(DENOISER, replaced("net.", "", model("anima"))),
        "qwen25-of-transformers-5": replaced("model.", "model.language_model.", model("qwen25-vl-7b")),
        "chroma-of-comfyui": replaced("_norm.scale", "_norm.weight", model("chroma")),
        "neta": {f"{GEMMA}logit_scale": ("F32", ()), **neta},
        "neta-without-scale": neta,
    }


def write(name: str, folder: Path) -> Path:
    """Writes a form as a file whose weights are a hole, so that it takes no room."""
    return recorded_headers.write_file(folder / f"{name}.safetensors", forms()[name])
