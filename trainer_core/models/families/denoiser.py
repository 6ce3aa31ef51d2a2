"""The diffusion model in a header: the prefix of its keys, its modules, and the sizes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer_core.models.header import Header, TensorInfo

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "")
"""The prefixes of the diffusion model's keys in single files, longest first. Source: ComfyUI, model_detection.py."""
COMPONENTS = ("transformer/", "unet/", "prior/")
"""The components of a diffusers folder that may be its diffusion model."""
ANY = "*"
# The first words of the keys of other parts than the diffusion model, and of what trainers leave in a file.
OTHERS = frozenset(
    {
        "first_stage_model",
        "vae",
        "cond_stage_model",
        "conditioner",
        "text_encoders",
        "model_ema",
        "denoiser",
        "scaled_fp8",
    }
)
STRAYS = ("lora_", "lycoris_")
"""The starts of LoRA keys that were merged into a file by mistake: no program reads them there."""
LEFT = frozenset({"optimizer", "optimizers", "optimizer_states", "callbacks", "lr_schedulers", "loops", "state"})
"""Data that trainers leave in a file, in numbered parts like those of a model."""
MARKS = ("edm_vpred.",)
"""The starts of keys that mark a model, besides keys of one word."""
# Source: bitsandbytes functional.py, QuantState.as_dict; ComfyUI comfy/quant_ops.py: two 4-bit numbers in a byte.
PACKED = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", ".absmax")


@dataclass(frozen=True)
class Denoiser:
    """The diffusion model in a header.

    `modules` are the first words of its keys, for example "input_blocks". In a file with a prefix, keys with another
    prefix and numbered blocks without a prefix count too, so that a file of two models matches neither. `blocks` is the
    number of numbered parts of each module, and `last` the largest of these numbers. `others` are the first words of the
    file's other parts, such as "conditioner".
    """

    header: Header
    prefix: str
    modules: frozenset[str]
    blocks: Mapping[str, int] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, header: Header) -> Denoiser:
        """The diffusion model of a header; in a diffusers folder its component."""
        if header.is_folder:
            held = (name for name in COMPONENTS if any(key.startswith(name) for key in header.tensors))
            prefix = next(held, COMPONENTS[0])
            own = (key.removeprefix(prefix) for key in header.tensors if key.startswith(prefix))
            return cls(header, prefix, frozenset(key.partition(".")[0] for key in own))
        modules: dict[str, set[str]] = {prefix: set() for prefix in PREFIXES}
        numbers: dict[str, set[str]] = {}
        stacks: set[str] = set()
        # A prefix, a module and its number have at most four words; most keys start the same.
        for head in {".".join(key.split(".", 4)[:4]) for key in header.tensors}:
            prefix = next(prefix for prefix in PREFIXES if head.startswith(prefix))
            first, *rest = head.removeprefix(prefix).split(".")
            modules[prefix].add(first)
            if rest and rest[0].isdigit():
                numbers.setdefault(prefix + first, set()).add(rest[0])
            if not prefix and any(word.isdigit() for word in rest[:2]):
                stacks.add(first)
        prefix = next((prefix for prefix in PREFIXES if modules[prefix]), "")
        blocks = {name: len(numbers.get(prefix + name, ())) for name in modules[prefix]}
        last = {name: _largest(numbers[prefix + name]) for name in blocks if blocks[name]}
        others = {other + name for other in PREFIXES[:-1] for name in modules[other] if other != prefix}
        if prefix:
            others |= {f"{name} without the prefix" for name in stacks - OTHERS - LEFT}
        own = {name for name in modules[prefix] - OTHERS if not name.startswith(STRAYS)}
        return cls(header, prefix, frozenset(others | own), blocks, last, frozenset(modules[""] & OTHERS))

    def find(self, key: str) -> TensorInfo | None:
        """The tensor with that key after the prefix, or a marker without the prefix; None when missing."""
        found = self.header.tensors.get(self.prefix + key)
        if found is None and ("." not in key or key.startswith(MARKS)):
            return self.header.tensors.get(key)
        return found

    def fits(self, key: str, wanted: Sequence[int | str]) -> bool:
        """Whether there is a tensor with that key and these sizes; "*" matches any size.

        For a packed weight (two numbers in a byte) only the count of its numbers can be checked.
        """
        found = self.find(key)
        if found is None:
            return False
        shape = found.shape
        if not self._is_packed(key, found):
            return len(shape) == len(wanted) and all(
                want in (ANY, size) for size, want in zip(shape, wanted, strict=True)
            )
        numbers = 2 * math.prod(shape)
        known = math.prod(size for size in wanted if isinstance(size, int))
        return known > 0 and (numbers % known == 0 if ANY in wanted else numbers == known)

    def _is_packed(self, key: str, found: TensorInfo) -> bool:
        if found.dtype != "U8":
            return False
        name = self.prefix + key
        signs = (*(name + ending for ending in PACKED), name.removesuffix("weight") + "comfy_quant")
        return any(sign in self.header.tensors for sign in signs)


def _largest(numbers: set[str]) -> int:
    """The largest of numbers read from keys, which may have thousands of digits."""
    return max(int(number[:9]) for number in numbers)


def prefix_of(header: Header) -> str:
    """The prefix of the diffusion model's keys in a file."""
    return "" if header.is_folder else Denoiser.of(header).prefix
