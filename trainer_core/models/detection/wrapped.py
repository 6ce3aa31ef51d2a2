"""Removes the prefixes that programs add to every key of a file, like a training framework that saves its own object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trainer_core.models.families.denoiser import OTHERS
from trainer_core.models.header import Header, TensorInfo

# Source: Lightning saves {"state_dict": ...}; torch.nn.DataParallel and torch.compile name what they wrap.
PROGRAMS = ("state_dict.", "module.", "_orig_mod.")
"""Prefixes of frameworks. They may be in front of the keys of any file."""
# Source: ComfyUI comfy/model_detection.py, unet_prefix_from_state_dict: "model." for models without another prefix, such as AuraFlow;
# "transformer." and "unet." are the components of diffusers, "model_ema." is the averaged copy of a model.
COMPONENTS = ("model.", "transformer.", "unet.", "model_ema.", "ema.")
"""Prefixes of the diffusion model in a file whose other parts have their own prefixes."""
MOST = 4
"""How many prefixes are removed at most."""


def levels(header: Header) -> Iterator[tuple[str, Header]]:
    """The prefixes before all keys of a file, one more at each step, with the header without them; empty without prefix.

    The other parts of a checkpoint ("vae.") and markers of one word do not need the prefix.
    """
    found, tensors = "", header.tensors
    while found.count(".") < MOST and (word := _word(tensors)):
        tensors = {key.removeprefix(word): info for key, info in tensors.items()}
        found += word
        yield found, replace(header, tensors=tensors)


def is_of_programs(wrapper: str) -> bool:
    """Whether frameworks add all of this prefix."""
    return all(f"{word}." in PROGRAMS for word in wrapper.split(".")[:-1])


def _word(tensors: Mapping[str, TensorInfo]) -> str:
    """The first prefix of all keys that need one; "" without one, or where two keys would become the same without it."""
    # The prefix of one key is checked on all others.
    first = next((key for key in tensors if not _needs_none(key)), next(iter(tensors), ""))
    word = next((word for word in (*PROGRAMS, *COMPONENTS) if first.startswith(word)), "")
    if not word or not all(key.startswith(word) or _needs_none(key) for key in tensors):
        return ""
    bare = {key.removeprefix(word) for key in tensors}
    return word if len(bare) == len(tensors) else ""


def _needs_none(key: str) -> bool:
    first, dot, _ = key.partition(".")
    return not dot or first in OTHERS
