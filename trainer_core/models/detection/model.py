"""Detects checkpoints and diffusion models: finds the one family whose signature matches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from trainer_core.errors import AmbiguousModelError
from trainer_core.models import renaming
from trainer_core.models.detection import parts, prediction
from trainer_core.models.detection.result import Detection, ModelSize
from trainer_core.models.families import Denoiser, ModelFamily, Signature
from trainer_core.models.families.denoiser import OTHERS
from trainer_core.models.header import Header

Match = tuple[ModelFamily, Signature, tuple[str, ...]]


def detect(header: Header, families: Mapping[str, ModelFamily], rejected: dict[str, str]) -> Detection | None:
    """The model with this header; None when it matches no family. `rejected` gets the reason of each family that does not match.

    Raises:
        AmbiguousModelError: more than one family matches.
    """
    denoiser = Denoiser.of(header)
    matches: list[Match] = []
    nearest: dict[str, tuple[int, str]] = {}
    for family in families.values():
        found, nearest[family.id] = _asked(family, denoiser)
        matches += found
    if len(matches) > 1:
        names = " and ".join(f"{family.id} {signature.variant}".strip() for family, signature, _ in matches)
        raise AmbiguousModelError(
            f"The model matches {names}.", "Please report it with the output of: easel detect --json"
        )
    rejected.update({name: reason for name, (_, reason) in nearest.items()})
    if not matches:
        return None
    family, signature, evidence = matches[0]
    del rejected[family.id]
    what = signature.title or family.title
    rejected.update({name: f"it is {what}: {reason}" for name, reason in rejected.items()})
    return _described(denoiser, family, signature, evidence)


def nearest(families: Mapping[str, ModelFamily], header: Header) -> str:
    """A sentence with the family that a header matches best, and what does not match; "" when it is close to none."""
    denoiser = Denoiser.of(header)
    passed, reason, title = max((*_asked(family, denoiser)[1], family.title) for family in families.values())
    return f"it is similar to {title}, but {reason}" if passed > 1 else ""


def _asked(family: ModelFamily, denoiser: Denoiser) -> tuple[list[Match], tuple[int, str]]:
    """The matching signatures of a family, and for the closest other one how many conditions it meets and which fails."""
    found: list[Match] = []
    near = (-1, "")
    for signature in family.signatures:
        sentences: list[str] = []
        for holds, sentence in signature.check(denoiser):
            if not holds:
                near = max(near, (len(sentences), sentence), key=lambda pair: pair[0])
                break
            sentences.append(sentence)
        else:
            found.append((family, signature, tuple(sentences)))
    return found, near


def _described(denoiser: Denoiser, family: ModelFamily, signature: Signature, evidence: tuple[str, ...]) -> Detection:
    header = denoiser.header
    predicts = prediction.predicted(denoiser, family, signature)
    role, holds = _role(denoiser)
    inside = dict.fromkeys(family.parts_of(signature.variant), "") if header.is_folder else parts.inside(header)
    form = None if header.is_folder else renaming.form_of(family.id, header.tensors, denoiser.prefix)
    return Detection(
        family.id,
        role,
        signature.variant,
        predicts.prediction,
        evidence=(*evidence, holds, *predicts.evidence),
        is_prediction_certain=predicts.is_certain,
        zero_terminal_snr=predicts.zero_terminal_snr,
        prefix="" if header.is_folder else denoiser.prefix,
        parts=tuple(inside),
        part_prefixes={} if header.is_folder else inside,
        apart=signature.apart,
        layout=form.layout if form else signature.layout,
        size=_size(denoiser),
    )


def _size(denoiser: Denoiser) -> ModelSize | None:
    """The size of the diffusion model; None if the header belongs to one of several files, or the weights are packed."""
    header, prefix = denoiser.header, denoiser.prefix
    if header.shard is not None or any(info.dtype == "U8" for info in header.tensors.values()):
        return None
    own = ((key.removeprefix(prefix), info.shape) for key, info in header.tensors.items() if key.startswith(prefix))
    size = ModelSize.of(shape for key, shape in own if prefix or key.partition(".")[0] not in OTHERS)
    every = sum(math.prod(info.shape) for info in header.tensors.values())
    return replace(size, others=every - size.parameters)


def _role(denoiser: Denoiser) -> tuple[str, str]:
    if denoiser.header.is_folder:
        return "checkpoint", "contains all its parts"
    has_vae = any(f"{name}." in parts.VAE_PREFIXES for name in denoiser.others)
    has_text = any(f"{name}." in parts.TEXT_ENCODER_PREFIXES for name in denoiser.others)
    if has_vae and has_text:
        return "checkpoint", "contains text encoders and VAE"
    lacking = " and ".join(name for name, there in (("text encoders", has_text), ("VAE", has_vae)) if not there)
    return "diffusion_model", f"contains no {lacking}"
