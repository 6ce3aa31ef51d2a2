"""Finds what a model predicts (epsilon, v, flow), and the evidence for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainer_core.models.families import Denoiser, ModelFamily, Signature

# Source: modelspec 1.0.1 says "epsilon" and "v"; diffusers' schedulers say "epsilon", "v_prediction", "flow_prediction".
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction", "flow_prediction": "flow"}
ZERO_SNR_MARKER = "ztsnr"
STATED = ("True", "true", "1")
# Source: InvokeAI, model_manager configs: global_step of the .ckpt files of 2.x for 768 pixels, and of its base for 512.
SD2_STEPS = {"220000": "v_prediction", "110000": "epsilon"}


@dataclass(frozen=True)
class Predicted:
    """What a model predicts, whether that is certain, whether it uses zero terminal SNR, and the evidence.

    `zero_terminal_snr` is None where the file does not state it.
    """

    prediction: str | None
    is_certain: bool
    zero_terminal_snr: bool | None
    evidence: tuple[str, ...]


def predicted(denoiser: Denoiser, family: ModelFamily, signature: Signature) -> Predicted:
    """What the model predicts.

    A marker takes precedence over a config, and a config over metadata; the evidence names a source that disagrees. Files of
    flow families are not asked: sd-scripts writes "epsilon" into everything it saves except FLUX. Source: sd-scripts
    library/sai_model_spec.py, build_metadata_dataclass.
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
        usual = f"predicts {family.prediction}: usual for {family.title}, and nothing in the file says otherwise"
        sentence = "; ".join(filter(None, (usual, family.prediction_note)))
        return Predicted(family.prediction, False, zero_snr, (sentence, *zero_evidence))
    prediction, where = said[0]
    evidence = [f"predicts {prediction}: {where}"]
    evidence += [f"{other} is ignored: {why}" for other, why in said[1:] if other != prediction]
    return Predicted(prediction, True, zero_snr, (*evidence, *zero_evidence))


def of_network(family: ModelFamily | None, metadata: Mapping[str, str]) -> Predicted:
    """The prediction type of a LoRA for a model of this family, with evidence; empty if its metadata does not state it.

    OneTrainer writes "epsilon" into every LoRA for SDXL, so its own settings are read instead. Source: OneTrainer
    resources/sd_model_spec/sd_xl_base_1.0-lora.json; util/config/TrainConfig.py, force_v_prediction.
    """
    if family is None or not family.prediction:
        return Predicted(None, False, None, ())
    if family.prediction == "flow":
        return Predicted("flow", True, False, (f"predicts flow: every {family.title} does",))
    is_zero = True if metadata.get("ss_zero_terminal_snr") in STATED else None
    if "ot_config" in metadata:
        prediction, where = _forced(metadata["ot_config"]), "set in its OneTrainer configuration"
    else:
        prediction, where = _prediction(metadata.get("modelspec.prediction_type")), "stated in its metadata"
    if prediction is None:
        return Predicted(None, False, is_zero, ())
    return Predicted(prediction, True, is_zero, (f"predicts {prediction}: {where}",))


def _forced(text: str) -> str | None:
    """The prediction type that OneTrainer's configuration sets in place of that of the base model."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    names = {"force_v_prediction": "v_prediction", "force_epsilon_prediction": "epsilon"}
    return next((prediction for name, prediction in names.items() if config.get(name) is True), None)


def _said(denoiser: Denoiser, family: ModelFamily) -> Iterator[tuple[str, str]]:
    """Everything in a file that states what it predicts, most reliable first."""
    header = denoiser.header
    for key, prediction in family.markers.items():
        if denoiser.find(key) is not None:
            yield prediction, f"marked by the tensor {key}"
    config = _prediction(header.configs.get("scheduler", {}).get("prediction_type"))
    if config:
        yield config, "stated in its scheduler config"
    metadata = _prediction(header.metadata.get("modelspec.prediction_type"))
    if metadata:
        yield metadata, "stated in its metadata"
    steps = header.metadata.get("global_step", "")
    if family.id == "sd2" and steps in SD2_STEPS:
        yield SD2_STEPS[steps], f"follows from its global_step, {steps}"


def _zero_snr(denoiser: Denoiser, family: ModelFamily) -> tuple[bool | None, tuple[str, ...]]:
    """Whether the model uses zero terminal SNR: True where marked, False where only the prediction is, else None.

    Source: ComfyUI, comfy/supported_models.py, SDXL.model_type: v_pred without ztsnr is sampled without it; diffusers'
    schedulers have rescale_betas_zero_snr off unless their config sets it. Metadata of full finetunes never states it.
    """
    header = denoiser.header
    if denoiser.find(ZERO_SNR_MARKER) is not None:
        return True, (f"uses zero terminal SNR: marked by the tensor {ZERO_SNR_MARKER}",)
    if header.configs.get("scheduler", {}).get("rescale_betas_zero_snr") is True:
        return True, ("uses zero terminal SNR: stated in its scheduler config",)
    if header.metadata.get("ss_zero_terminal_snr") in STATED:
        return True, ("uses zero terminal SNR: stated by ss_zero_terminal_snr in its metadata",)
    marked = any(denoiser.find(key) is not None for key in family.markers)
    return (False if marked or "scheduler" in header.configs else None), ()


def _prediction(value: object) -> str | None:
    return PREDICTIONS.get(value) if isinstance(value, str) else None
