"""Model files by the names that another machine has for them: this machine need not have them, and reads nothing of them."""

from __future__ import annotations

VOLUME, BUCKET, HUB = "runpod-volume:", "s3://", "hf:"
NAMED = (VOLUME, BUCKET, HUB)
"""How such names begin: a file of a network volume, an object of a bucket, and a file of the Hub."""


def is_named_there(text: str) -> bool:
    """Whether a text is the name of a file that another machine has, or gets by itself."""
    return text.startswith(NAMED)
