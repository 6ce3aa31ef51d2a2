"""The metadata of one result: what the engine wrote, Easel's plan and versions, and the fields of the Model Specification."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__
from trainer_core.errors import EaselError
from trainer_core.models.families import load_families
from trainer_core.models.header import LONGEST_HEADER_BYTES
from trainer_core.text import without_secrets
from trainer_core.training.metadata import keys, privacy
from trainer_core.training.metadata.shared import canonical, digest, shared

HASH = "modelspec.hash_sha256"
"""The SHA-256 of the tensors, which is computed while the file is written. Source: Model Specification 1.0.1, SHOULD."""
OF_THE_TENSORS = ("sshs_model_hash", "sshs_legacy_hash")
"""Hashes of an engine's own, wrong after the tensors changed. Source: sd-scripts library/train_util.py, precalculate_safetensors_hashes."""
BASE_HASH = "ss_new_sd_model_hash"
"""The SHA-256 of the base model's file. Source: sd-scripts train_network.py, calculate_sha256."""
SPECIFICATION = "1.0.1"
SUFFIX = {"lora": "/lora", "textual_inversion": "/textual-inversion"}
"""The ending of the architecture by method. Source: sd-scripts library/sai_model_spec.py, determine_architecture."""
PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}
"""Only these have a name in the Model Specification."""


@dataclass(frozen=True)
class Origin:
    """What is the same for all results of a run: the plan's tables, the engine, and the digests of the base model."""

    plan: Mapping[str, Any]
    engine: str = ""
    engine_version: str = ""
    base_header: str = ""

    def setting(self, section: str, name: str) -> Any:
        """A value of the plan; None if the plan does not set it."""
        table = self.plan.get(section)
        return table.get(name) if isinstance(table, Mapping) else None


def of_run(plan: Mapping[str, Any], versions: Mapping[str, Any]) -> Origin:
    """The origin of a run's results; `versions` are the contents of its versions.json."""
    origin = Origin(plan, str(versions.get("engine", "")), str(versions.get("engine_version", "")))
    base = str(origin.setting("model", "path") or "")
    return Origin(plan, origin.engine, origin.engine_version, header_digest(Path(base)) if base else "")


def for_result(origin: Origin, engines_own: Mapping[str, str], steps: int, title: str) -> dict[str, str]:
    """The metadata of a result: that of the engine without paths and tokens, and above it Easel's own."""
    kept = {key: privacy.without_paths(value) for key, value in engines_own.items() if key not in keys.KEYS}
    text = canonical(shared(origin.plan))
    trigger = without_secrets(str(origin.setting("dataset", "trigger") or ""))
    own = {
        keys.FORMAT: keys.CURRENT_FORMAT,
        keys.PLAN: text,
        keys.PLAN_DIGEST: digest(text),
        keys.VERSION: __version__,
        keys.ENGINE: origin.engine,
        keys.ENGINE_VERSION: origin.engine_version,
        keys.BASE: privacy.file_name(str(origin.setting("model", "path") or "")),
        keys.BASE_DIGEST: engines_own.get(BASE_HASH, ""),
        keys.BASE_HEADER_DIGEST: origin.base_header,
        keys.TRIGGER: trigger,
        keys.STEPS: str(steps) if steps else "",
    }
    spec = _specification(origin, engines_own, title, trigger)
    return {**kept, **{key: value for key, value in {**own, **spec}.items() if value}}


def _specification(origin: Origin, engines_own: Mapping[str, str], title: str, trigger: str) -> dict[str, str]:
    """The fields of the Model Specification. What the engine wrote stays where Easel knows nothing better.

    Source: https://github.com/Stability-AI/ModelSpec, version 1.0.1.
    """
    stated = engines_own.get("modelspec.architecture", "")
    side = origin.setting("dataset", "resolution")
    found = {
        "modelspec.sai_model_spec": SPECIFICATION,
        "modelspec.architecture": _architecture(origin, stated),
        "modelspec.implementation": engines_own.get("modelspec.implementation") or "diffusers",
        "modelspec.title": title,
        "modelspec.resolution": engines_own.get("modelspec.resolution") or (f"{side}x{side}" if side else ""),
        "modelspec.date": engines_own.get("modelspec.date") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.prediction_type": PREDICTIONS.get(_prediction(origin), ""),
        "modelspec.trigger_phrase": trigger,
        HASH: "",
    }
    return {key: value for key, value in found.items() if value}


def _architecture(origin: Origin, stated: str) -> str:
    """The architecture with the ending of the method; a more precise one that the engine wrote stays."""
    family = load_families().get(str(origin.setting("model", "family") or ""))
    named = family.architecture if family else {}
    known = named.get(_prediction(origin)) or named.get("", "")
    if not known or stated.startswith(known):
        return stated
    return known + SUFFIX.get(str(origin.setting("model", "method") or "lora"), "")


def _prediction(origin: Origin) -> str:
    return str(origin.setting("model", "prediction") or "")


def header_digest(path: Path) -> str:
    """The SHA-256 of the header of a safetensors file, which takes no time; "" for anything else."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            start = file.read(8)
            (length,) = struct.unpack("<Q", start)
            if path.suffix != ".safetensors" or length > LONGEST_HEADER_BYTES:
                return ""
            return hashlib.sha256(start + file.read(length)).hexdigest()
    except (OSError, struct.error, EaselError):
        return ""
