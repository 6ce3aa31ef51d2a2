"""What a model predicts, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer_core.families import Denoiser, ModelFamily, Signature

# Source: modelspec 1.0.1 says "epsilon" and "v"; diffusers' schedulers say "epsilon", "v_prediction", "flow_prediction".
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction", "flow_prediction": "flow"}
ZERO_SNR_MARKER = "ztsnr"
# Source: InvokeAI, model_manager configs: what the .ckpt of 2.x for 768 pixels and of its base for 512 note of their training.
SD2_STEPS = {"220000": "v_prediction", "110000": "epsilon"}


@dataclass(frozen=True)
class Predicted:
    """What a model predicts, whether that is certain, whether its noise ends at zero signal, and the sentences why.

    `zero_terminal_snr` is None where nothing is said of it.
    """

    prediction: str | None
    is_certain: bool
    zero_terminal_snr: bool | None
    evidence: tuple[str, ...]


def predicted(denoiser: Denoiser, family: ModelFamily, signature: Signature) -> Predicted:
    """What the model predicts.

    A marker outranks a config, a config outranks metadata; what is outranked and says otherwise is named. What a flow family
    says is not asked: sd-scripts notes "epsilon" in all it saves but FLUX. Source: sd-scripts library/sai_model_spec.py,
    build_metadata_dataclass.
    """
    if signature.prediction:
        title = signature.title or f"{family.title} {signature.variant}"
        return Predicted(signature.prediction, True, False, (f"predicts {signature.prediction}: it is {title}",))
    if not family.prediction:
        return Predicted(None, False, False, ())
    if family.prediction == "flow":
        return Predicted("flow", True, False, (f"predicts flow: every {family.title} does",))
    said = list(_said(denoiser, family))
    zero_snr, zero_evidence = _zero_snr(denoiser, family)
    if not said:
        usual = f"predicts {family.prediction}: usual for {family.title}, nothing in the file says otherwise"
        sentence = "; ".join(filter(None, (usual, family.prediction_note)))
        return Predicted(family.prediction, False, zero_snr, (sentence, *zero_evidence))
    prediction, where = said[0]
    evidence = [f"predicts {prediction}: {where}"]
    evidence += [f"{other} is not believed: {why}" for other, why in said[1:] if other != prediction]
    return Predicted(prediction, True, zero_snr, (*evidence, *zero_evidence))


def _said(denoiser: Denoiser, family: ModelFamily) -> Iterator[tuple[str, str]]:
    """Everything in a file that says what it predicts, what outranks the rest first."""
    header = denoiser.header
    for key, prediction in family.markers.items():
        if denoiser.find(key) is not None:
            yield prediction, f"marked by {key}"
    config = _prediction(header.configs.get("scheduler", {}).get("prediction_type"))
    if config:
        yield config, "said by its scheduler"
    metadata = _prediction(header.metadata.get("modelspec.prediction_type"))
    if metadata:
        yield metadata, "said by its metadata"
    steps = header.metadata.get("global_step", "")
    if family.id == "sd2" and steps in SD2_STEPS:
        yield SD2_STEPS[steps], f"told by its global_step, {steps}"


def _zero_snr(denoiser: Denoiser, family: ModelFamily) -> tuple[bool | None, tuple[str, ...]]:
    """Whether noise ends at zero signal: yes where it is marked, no where only what is predicted is, else None.

    Source: ComfyUI, comfy/supported_models.py, SDXL.model_type: v_pred without ztsnr is sampled without it; diffusers'
    schedulers have rescale_betas_zero_snr off unless their config says otherwise. Metadata of full finetunes never says it.
    """
    header = denoiser.header
    if denoiser.find(ZERO_SNR_MARKER) is not None:
        return True, (f"its noise ends at zero signal: marked by {ZERO_SNR_MARKER}",)
    if header.configs.get("scheduler", {}).get("rescale_betas_zero_snr") is True:
        return True, ("its noise ends at zero signal: said by its scheduler",)
    if header.metadata.get("ss_zero_terminal_snr") in ("True", "true", "1"):
        return True, ("its noise ends at zero signal: said by ss_zero_terminal_snr in its metadata",)
    marked = any(denoiser.find(key) is not None for key in family.markers)
    return (False if marked or "scheduler" in header.configs else None), ()


def _prediction(value: object) -> str | None:
    return PREDICTIONS.get(value) if isinstance(value, str) else None
