"""What programs put in front of every name of a file, as a training framework does that saves its own object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trainer_core.families.denoiser import BESIDE
from trainer_core.header import Header, TensorInfo

# Source: Lightning saves {"state_dict": ...}; torch.nn.DataParallel and torch.compile name what they wrap.
PROGRAMS = ("state_dict.", "module.", "_orig_mod.")
"""Words of frameworks: whatever a file is, they may stand in front of its names."""
# Source: ComfyUI comfy/model_detection.py, unet_prefix_from_state_dict: "model." for all it has no other word for, as AuraFlow;
# "transformer." and "unet." are the components of diffusers, "model_ema." is the averaged copy of a model.
COMPONENTS = ("model.", "transformer.", "unet.", "model_ema.", "ema.")
"""Words for the diffusion model of a file, whose other parts have words of their own."""
MOST = 4
"""How many are taken away at most."""


def levels(header: Header) -> Iterator[tuple[str, Header]]:
    """What stands in front of all names of a file, word by word, with the header without it; nothing where no word does.

    What a checkpoint holds beside its diffusion model ("vae.") and marks of one word need none.
    """
    found, tensors = "", header.tensors
    while found.count(".") < MOST and (word := _word(tensors)):
        tensors = {key.removeprefix(word): info for key, info in tensors.items()}
        found += word
        yield found, replace(header, tensors=tensors)


def is_of_programs(wrapper: str) -> bool:
    """Whether all of it was put there by frameworks."""
    return all(f"{word}." in PROGRAMS for word in wrapper.split(".")[:-1])


def _word(tensors: Mapping[str, TensorInfo]) -> str:
    """The word in front of all names that need one; "" where there is none, or where it would hide one of two names."""
    # Whatever any one name begins with is asked of the others.
    first = next((key for key in tensors if not _needs_none(key)), next(iter(tensors), ""))
    word = next((word for word in (*PROGRAMS, *COMPONENTS) if first.startswith(word)), "")
    if not word or not all(key.startswith(word) or _needs_none(key) for key in tensors):
        return ""
    bare = {key.removeprefix(word) for key in tensors}
    return word if len(bare) == len(tensors) else ""


def _needs_none(key: str) -> bool:
    first, dot, _ = key.partition(".")
    return not dot or first in BESIDE
