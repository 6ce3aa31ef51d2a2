"""What stands in place of a path and is none of this machine: names that another machine has for model files, and a mirror on the Hub."""

from __future__ import annotations

from trainer_core.models import hub_repository

VOLUME, BUCKET, HUB = "runpod-volume:", "s3://", "hf:"
NAMED = (VOLUME, BUCKET, HUB)
"""How such names begin: a file of a network volume, an object of a bucket, and a file of the Hub."""
MIRROR = "output.mirror_to"


def is_named_there(text: str) -> bool:
    """Whether a text is the name of a file that another machine has, or gets by itself."""
    return text.startswith(NAMED)


def is_on_hub(setting: str, text: str) -> bool:
    """Whether the value of a setting is the mirror's place on the Hub, of which no path is made."""
    return setting == MIRROR and hub_repository.is_place(text)
