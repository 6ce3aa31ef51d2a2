"""The diffusion model within a header: what its names are put behind, its modules, and the sizes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer_core.header import Header, TensorInfo

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "")
"""What single files put in front of the diffusion model's keys, longest first. Source: ComfyUI, model_detection.py."""
COMPONENTS = ("transformer/", "unet/", "prior/")
"""The components of a diffusers folder that may be its diffusion model."""
ANY = "*"
# The parts beside a diffusion model, and what trainers leave at the top of a file.
BESIDE = frozenset(
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
"""What networks are called that somebody merged into a file by mistake: nothing reads them there."""
LEFT = frozenset({"optimizer", "optimizers", "optimizer_states", "callbacks", "lr_schedulers", "loops", "state"})
"""What trainers leave beside a model, in numbered parts as another model has them."""
MARKS = ("edm_vpred.",)
"""What marks a model at the top of its file besides names of one word."""
# Source: bitsandbytes functional.py, QuantState.as_dict; ComfyUI comfy/quant_ops.py: two 4-bit numbers in a byte.
PACKED = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", ".absmax")


@dataclass(frozen=True)
class Denoiser:
    """The diffusion model that a header is asked about.

    `modules` are the first words of its names, as "input_blocks". Where a file puts a prefix in front of them, what
    lies behind another prefix counts too, and numbered blocks behind none: a file of two models is not one of them. `blocks` counts
    the numbered parts of each module; `beside` are the first words of what the file holds beside it, as "conditioner".
    """

    header: Header
    prefix: str
    modules: frozenset[str]
    blocks: Mapping[str, int] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()

    @classmethod
    def of(cls, header: Header) -> Denoiser:
        """The diffusion model of a header, in a diffusers folder that of its component."""
        if header.is_folder:
            held = (name for name in COMPONENTS if any(key.startswith(name) for key in header.tensors))
            prefix = next(held, COMPONENTS[0])
            own = (key.removeprefix(prefix) for key in header.tensors if key.startswith(prefix))
            return cls(header, prefix, frozenset(key.partition(".")[0] for key in own))
        modules: dict[str, set[str]] = {prefix: set() for prefix in PREFIXES}
        numbers: dict[str, set[str]] = {}
        stacks: set[str] = set()
        # A prefix, a module and its number are four words at most; most names begin alike.
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
        others = {other + name for other in PREFIXES[:-1] for name in modules[other] if other != prefix}
        if prefix:
            others |= {f"{name} beside the model" for name in stacks - BESIDE - LEFT}
        own = {name for name in modules[prefix] - BESIDE if not name.startswith(STRAYS)}
        return cls(header, prefix, frozenset(others | own), blocks, frozenset(modules[""] & BESIDE))

    def find(self, key: str) -> TensorInfo | None:
        """The tensor of that name behind the prefix, or a mark at the top of the file."""
        found = self.header.tensors.get(self.prefix + key)
        if found is None and ("." not in key or key.startswith(MARKS)):
            return self.header.tensors.get(key)
        return found

    def fits(self, key: str, wanted: Sequence[int | str]) -> bool:
        """Whether the tensor of that name is there and has these sizes, "*" standing for any.

        Of a weight that is packed, two numbers in a byte, only how many numbers it holds can be asked.
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
        beside = (*(name + ending for ending in PACKED), name.removesuffix("weight") + "comfy_quant")
        return any(other in self.header.tensors for other in beside)


def prefix_of(header: Header) -> str:
    """What a file puts in front of the diffusion model's names."""
    return "" if header.is_folder else Denoiser.of(header).prefix
