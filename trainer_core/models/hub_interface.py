"""The interface of huggingface_hub, unless the user has switched the Hub off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.errors import DownloadError
from trainer_core.hub_switch import SWITCHES, is_off

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def refuse_if_off() -> None:
    """Returns if the Hub may be contacted.

    Raises:
        DownloadError: the user has switched it off.
    """
    if is_off():
        message = f"Easel does not contact Hugging Face, because {' or '.join(SWITCHES)} is set."
        raise DownloadError(message, "Unset it, or use files on this machine.", "link")


def opened(**more: Any) -> HfApi:
    """The interface to the Hub, made with these arguments.

    Raises:
        DownloadError: the user has switched the Hub off.
    """
    refuse_if_off()
    from huggingface_hub import HfApi, constants

    # It reads the switch once, when it is loaded; a notebook can be told otherwise later, and must not need a restart.
    constants.HF_HUB_OFFLINE = False
    return HfApi(**more)
