"""Checkpoints and diffusion models: the one family whose signature fits."""

from __future__ import annotations

from collections.abc import Mapping

from trainer_core.detection import parts, prediction
from trainer_core.detection.result import Detection
from trainer_core.errors import AmbiguousModelError
from trainer_core.families import ModelFamily, Signature, prefix_of
from trainer_core.header import Header


def detect(header: Header, families: Mapping[str, ModelFamily], rejected: dict[str, str]) -> Detection | None:
    """The model that a header is of; None when it fits no family, and `rejected` then says why of each.

    Raises:
        AmbiguousModelError: more than one family fits.
    """
    matches: list[tuple[ModelFamily, Signature, tuple[str, ...]]] = []
    for family in families.values():
        found = [(family, signature, facts) for signature in family.signatures if (facts := _holds(signature, header))]
        matches += found
        if not found:
            rejected[family.id] = _refusal(family, header)
    if len(matches) > 1:
        names = " and ".join(f"{family.id} {signature.variant}".strip() for family, signature, _ in matches)
        raise AmbiguousModelError(
            f"The model fits {names}.", "Please report it with the output of: easel detect --json"
        )
    if not matches:
        return None
    family, signature, evidence = matches[0]
    predicts, is_certain, reason = prediction.predicted(header, family)
    role, holds = _role(header)
    return Detection(
        family.id,
        role,
        signature.variant,
        predicts,
        evidence=(*evidence, holds, reason),
        is_prediction_certain=is_certain,
        prefix=prefix_of(header) if not header.is_folder else "",
        parts=parts.inside(header),
    )


def _holds(signature: Signature, header: Header) -> tuple[str, ...]:
    """The sentences of a signature whose conditions all hold; empty when one does not."""
    sentences = []
    for holds, sentence in signature.check(header):
        if not holds:
            return ()
        sentences.append(sentence)
    return tuple(sentences)


def _refusal(family: ModelFamily, header: Header) -> str:
    """Why a header is not of a family: what it is instead, or the first failed condition of the nearest signature."""
    for other in family.lookalikes:
        if sentences := _holds(other, header):
            return f"it is {other.title}: {sentences[-1]}"
    nearest = (-1, "")
    for signature in family.signatures:
        for passed, (holds, sentence) in enumerate(signature.check(header)):
            if not holds:
                nearest = max(nearest, (passed, sentence), key=lambda pair: pair[0])
                break
    return nearest[1]


def _role(header: Header) -> tuple[str, str]:
    if header.is_folder:
        return "checkpoint", "holds all its parts"
    has_vae = any(key.startswith(parts.VAE_PREFIXES) for key in header.tensors)
    has_text = any(key.startswith(parts.TEXT_ENCODER_PREFIXES) for key in header.tensors)
    if has_vae and has_text:
        return "checkpoint", "holds text encoders and VAE"
    lacking = " and ".join(name for name, there in (("text encoders", has_text), ("VAE", has_vae)) if not there)
    return "diffusion_model", f"holds no {lacking}"
