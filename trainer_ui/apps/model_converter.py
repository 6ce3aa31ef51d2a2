"""The converter: format, precision and layout of model files, and a check for damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.models.detection import ROLES
from trainer_core.weights.conversion import wishes
from trainer_ui.apps.utility import UtilityApp
from trainer_ui.panels.tools.weights_report import WeightsReport
from trainer_ui.tool_fields import Card, Choice, File, Files, Number, Switch, Words
from trainer_ui.tool_session import Utility

if TYPE_CHECKING:
    from trainer_ui.tool_session import Module, Values

PAGE = "converting"
FORMS = (
    ("One safetensors file", "safetensors"),
    ("A folder in the diffusers layout", "diffusers"),
    ("One file for each part: UNet or transformer, text encoders, VAE", "parts"),
    ("Several files of a limited size (shards)", "shards"),
    ("One .ckpt file, as torch.save writes it", "checkpoint"),
)
TOLD = {
    "checkpoint": "The old, less safe form: a program that opens it without care runs what is in it. Only for programs that read nothing else.",
    "diffusers": "For SD 1.5, SD 2, SDXL, SD 3 and FLUX.",
}
PRECISIONS = (
    ("As it is", ""),
    ("16 bits, fp16", "fp16"),
    ("16 bits, bf16", "bf16"),
    ("32 bits, fp32", "fp32"),
    ("8 bits, fp8 (e4m3)", "fp8"),
    ("8 bits with scales, fp8 scaled", "fp8-scaled"),
)
KEPT = {
    "norms": "Norms keep their precision",
    "vae": "The VAE keeps its precision",
    "text-encoders": "Text encoders keep their precision",
}


def model_converter() -> None:
    """Displays the converter."""
    ModelConverter().present()


def _convert(module: Module, values: Values) -> Any:
    del module
    return wishes.Settings(
        files=tuple(row["path"] for row in values["files"] if row["path"]),
        target=values["target"],
        form=values["form"],
        dtype=values["dtype"],
        keep=tuple(name for name in KEPT if values["dtype"] and values[f"keep.{name}"]),
        prune=values["prune"],
        names=values["names"],
        dequantise=values["dequantise"],
        prediction=values["prediction"],
        shard_gb=values["shard_gb"],
    )


def _check(module: Module, values: Values) -> Any:
    return module.Settings(file=values["file"])


CONVERT = Utility(
    id="convert",
    title="Convert",
    verb="Convert",
    about="Writes a model in another form: safetensors, diffusers folder, parts, shards; with another precision; without what training left in it.",
    module="trainer_core.tools.convert",
    made=_convert,
    kinds=("convert",),
    guide=(PAGE, "what-it-reads-and-makes"),
    takes="files",
    cards=(
        Card(
            "Model",
            (Files(name="files", title="File or folder", roles=ROLES),),
            text="A checkpoint (.safetensors, .ckpt, .gguf), a folder in the diffusers layout, or the folder (or index) of a model in several files. Files below the first are parts to put into it.",
        ),
        Card(
            "Form",
            (
                Choice(name="form", title="Form", default="safetensors", options=FORMS, told=TOLD),
                Number(
                    name="shard_gb",
                    title="Largest file (GB)",
                    default=5.0,
                    low=0.001,
                    high=1000,
                    when=lambda values: values["form"] == "shards",
                ),
                Choice(name="dtype", title="Precision", options=PRECISIONS, default=""),
                *(
                    Switch(name=f"keep.{name}", title=title, when=lambda values: bool(values["dtype"]))
                    for name, title in KEPT.items()
                ),
            ),
        ),
        Card(
            "Contents",
            (
                Choice(
                    name="prune",
                    title="What training left in it",
                    options=(
                        ("Keep everything", ""),
                        ("Leave it out, keep the weights", "weights"),
                        ("Leave it out, keep their average (EMA)", "ema"),
                    ),
                    default="",
                ),
                Choice(
                    name="names",
                    title="Tensor names",
                    options=(("As they are", ""), ("As engines read them", "original")),
                    default="",
                    help="Norms, prefixes and layers get the names of the original code. What is renamed is said before the start.",
                ),
                Switch(
                    name="dequantise",
                    title="Compute weights from quantised ones",
                    help="Not exact: what quantising has rounded away does not come back.",
                ),
                Choice(
                    name="prediction",
                    title="Prediction type, where the file does not say it",
                    options=(
                        ("As its family usually has it", ""),
                        ("epsilon", "epsilon"),
                        ("v-prediction", "v_prediction"),
                    ),
                    default="",
                ),
            ),
            folds=True,
        ),
        Card(
            "Output",
            (
                Words(
                    name="target",
                    title="New file or folder",
                    placeholder="empty: beside the first file, with another name",
                    help="What exists is never replaced.",
                ),
            ),
        ),
    ),
)
CHECK = Utility(
    id="check",
    title="Check",
    verb="Check",
    about="Reads every number of a model: is one not a number or infinite, is a tensor empty, is one stored twice?",
    module="trainer_core.tools.check_weights",
    made=_check,
    kinds=("check-weights",),
    guide=(PAGE, "is-a-file-damaged"),
    takes="file",
    makes=False,
    cards=(Card("Model", (File(name="file", title="File or folder", roles=ROLES),)),),
)


class ModelConverter(UtilityApp):
    """Converts and checks model files."""

    id, title = "model_converter", "Model Converter"
    guide_page = PAGE
    utilities = (CONVERT, CHECK)
    results = (WeightsReport,)
