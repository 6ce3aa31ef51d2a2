"""What a model predicts, and how that is known."""

from __future__ import annotations

from trainer_core.families import ModelFamily
from trainer_core.header import Header

# Source: modelspec 1.0.1 says "epsilon" and "v"; diffusers' schedulers say "epsilon", "v_prediction", "flow_prediction".
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction", "flow_prediction": "flow"}


def predicted(header: Header, family: ModelFamily) -> tuple[str, bool, str]:
    """What the model predicts, whether that is certain, and the reason.

    A marker outranks a config, a config outranks metadata. What a flow family says is not asked: sd-scripts notes "epsilon"
    in all it saves but FLUX. Source: sd-scripts library/sai_model_spec.py, build_metadata_dataclass.
    """
    if family.prediction == "flow":
        return "flow", True, f"predicts flow: every {family.title} does"
    for key, prediction in family.markers.items():
        if key in header.tensors:
            extra = ", with zero terminal SNR (ztsnr)" if "ztsnr" in header.tensors else ""
            return prediction, True, f"predicts {prediction}: marked by {key}{extra}"
    said = header.configs.get("scheduler", {}).get("prediction_type")
    noted = header.metadata.get("modelspec.prediction_type")
    for value, where in ((said, "its scheduler"), (noted, "its metadata")):
        prediction = PREDICTIONS.get(value) if isinstance(value, str) else None
        if prediction is not None:
            return prediction, True, f"predicts {prediction}: said by {where}"
    usual = f"predicts {family.prediction}: usual for {family.title}, nothing in the file says otherwise"
    return family.prediction, False, "; ".join(filter(None, (usual, family.prediction_note)))
