"""Whether the user has switched the Hugging Face Hub off."""

from __future__ import annotations

import os

SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Each of them switches the Hub off for an engine. Source: huggingface_hub/constants.py; transformers/utils/hub.py."""
ON = ("1", "true", "yes", "on")


def is_off() -> bool:
    """Whether the user has switched the Hub off."""
    return any(os.environ.get(name, "").strip().lower() in ON for name in SWITCHES)
