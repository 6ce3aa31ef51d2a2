"""The metadata keys that Easel writes into a result."""

from __future__ import annotations

from collections.abc import Mapping

FORMAT = "easel.format"
PLAN = "easel.plan"
PLAN_DIGEST = "easel.plan_sha256"
VERSION = "easel.version"
ENGINE = "easel.engine"
ENGINE_VERSION = "easel.engine_version"
BASE = "easel.base_model"
BASE_DIGEST = "easel.base_model_sha256"
BASE_HEADER_DIGEST = "easel.base_model_header_sha256"
TRIGGER = "easel.trigger"
STEPS = "easel.steps"
CHANGES = "easel.changes"

KEYS: Mapping[str, str] = {
    FORMAT: "the version of these keys",
    PLAN: "the plan as JSON, without paths and without settings that belong to a person",
    PLAN_DIGEST: "the SHA-256 of the text of the plan",
    VERSION: "the version of Easel",
    ENGINE: "the engine that trained",
    ENGINE_VERSION: "its version",
    BASE: "the file name of the base model",
    BASE_DIGEST: "the SHA-256 of the base model's file, if the engine computed it",
    BASE_HEADER_DIGEST: "the SHA-256 of the base model's header, which names its tensors and its metadata",
    TRIGGER: "the trigger word",
    STEPS: "the number of optimizer steps that were really trained",
    CHANGES: "what Easel changed in the engine's file, beside the metadata",
}
"""Every key of Easel's own, and what it contains."""
CURRENT_FORMAT = "1"


def is_easels(metadata: Mapping[str, str]) -> bool:
    """Whether a header contains a plan of Easel's."""
    return PLAN in metadata
