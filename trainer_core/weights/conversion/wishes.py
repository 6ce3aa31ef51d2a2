"""What a user wants of a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_core.errors import WeightsError
from trainer_core.weights import dtypes
from trainer_core.weights.conversion import pruning

FORMS = {
    "": "one safetensors file",
    "safetensors": "one safetensors file",
    "checkpoint": "one file as torch.save writes it (.ckpt)",
    "diffusers": "a folder in the diffusers layout",
    "parts": "a folder with one file for each part",
    "shards": "a folder with the model in several files",
}
"""The forms of a new model."""
DTYPES = {"": "", **dtypes.NAMED, "fp8": "F8_E4M3", "fp8-scaled": "F8_E4M3"}
"""The dtypes of a new model as a user names them, and as a file does."""
NAMES = {"": "as they are", "original": "those of the original code, which engines read"}
"""The names that the tensors of a new model can have."""
KEPT = ("norms", "vae", "text-encoders")
"""What can stay in the dtype in which it is stored."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a conversion.

    `files` are a model, or a model and parts to put into it. `target` is the new file or folder ("": beside the first file,
    with another name). `form` is one of `FORMS`, `dtype` one of `DTYPES` ("": as it is). `keep` are those of `KEPT` that keep
    their dtype. `prune` is "" (keep everything), "weights" or "ema": without what training left, with the weights or with their
    average. `dequantise` allows weights whose numbers are computed from quantised ones. `family` and `prediction` are for
    a file that does not show them. `shard_gb` is the largest size of a file in gigabytes, for shards. `tokenizers` is a folder
    with the tokenizers for a folder in the diffusers layout, in sub-folders of their names there. `names` is one of `NAMES`.
    """

    files: tuple[str, ...]
    target: str = ""
    form: str = ""
    dtype: str = ""
    keep: tuple[str, ...] = ()
    prune: str = ""
    dequantise: bool = False
    family: str = ""
    prediction: str = ""
    names: str = ""
    shard_gb: float = 5.0
    tokenizers: str = ""


def check(settings: Settings) -> None:
    """Checks the settings by themselves.

    Raises:
        WeightsError: one has a value that it cannot have.
    """
    if not settings.files:
        raise WeightsError("No file is given.", "Choose the model to convert.")
    if not all(file.strip() for file in settings.files):
        raise WeightsError("The name of a file is empty.", "Name a file.")
    asked = (
        ("form", settings.form, FORMS),
        ("dtype", settings.dtype, DTYPES),
        ("prune", settings.prune, pruning.KEEPS),
        ("kind of names", settings.names, NAMES),
        ("prediction", settings.prediction, ("", "epsilon", "v_prediction")),
        *(("keep", each, KEPT) for each in settings.keep),
    )
    for name, value, known in asked:
        if value not in known:
            raise WeightsError(f"{value!r:.60} is no {name}.", f"Choose one of: {', '.join(filter(None, known))}.")
    if not 0.001 <= settings.shard_gb <= 1000:
        raise WeightsError("A shard has between 0.001 and 1000 GB.", "The usual size is 5.")
