"""Checkpoints and diffusion models: the one family whose signature fits."""

from __future__ import annotations

from collections.abc import Mapping

from trainer_core.detection import parts, prediction
from trainer_core.detection.result import Detection
from trainer_core.errors import AmbiguousModelError
from trainer_core.families import Denoiser, ModelFamily, Signature
from trainer_core.header import Header

Match = tuple[ModelFamily, Signature, tuple[str, ...]]


def detect(header: Header, families: Mapping[str, ModelFamily], rejected: dict[str, str]) -> Detection | None:
    """The model that a header is of; None when it fits no family. `rejected` then says why of each other.

    Raises:
        AmbiguousModelError: more than one family fits.
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
            f"The model fits {names}.", "Please report it with the output of: easel detect --json"
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
    """The family that a header comes nearest to and what it lacks of it, as a sentence; "" when it is near none."""
    denoiser = Denoiser.of(header)
    passed, reason, title = max((*_asked(family, denoiser)[1], family.title) for family in families.values())
    return f"it is near {title}, but {reason}" if passed > 1 else ""


def _asked(family: ModelFamily, denoiser: Denoiser) -> tuple[list[Match], tuple[int, str]]:
    """The signatures of a family that fit; else how many conditions the nearest one meets and the one it does not."""
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
    return Detection(
        family.id,
        role,
        signature.variant,
        predicts.prediction,
        evidence=(*evidence, holds, *predicts.evidence),
        is_prediction_certain=predicts.is_certain,
        zero_terminal_snr=predicts.zero_terminal_snr,
        prefix="" if header.is_folder else denoiser.prefix,
        parts=tuple(family.parts_of(signature.variant)) if header.is_folder else parts.inside(header),
        apart=signature.apart,
        layout=signature.layout,
    )


def _role(denoiser: Denoiser) -> tuple[str, str]:
    if denoiser.header.is_folder:
        return "checkpoint", "holds all its parts"
    has_vae = any(f"{name}." in parts.VAE_PREFIXES for name in denoiser.beside)
    has_text = any(f"{name}." in parts.TEXT_ENCODER_PREFIXES for name in denoiser.beside)
    if has_vae and has_text:
        return "checkpoint", "holds text encoders and VAE"
    lacking = " and ".join(name for name, there in (("text encoders", has_text), ("VAE", has_vae)) if not there)
    return "diffusion_model", f"holds no {lacking}"
