"""The Hub is asked or not as the user's switch is now, whatever it was when huggingface_hub was loaded."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from tests.support import misbehaving as bad
from tests.support.downloading import QUICK, server, shared_server
from trainer_core import hub_switch
from trainer_core.errors import DownloadError
from trainer_core.models import downloads

__all__ = ["server", "shared_server"]


def resolved() -> downloads.Remote:
    return downloads.resolve(downloads.parse("hf:org/lora"), patience=QUICK)


def test_the_switch_of_the_hub_counts_as_it_is_now(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("org/lora", {"mika.safetensors": bad.model()})
    # As if it had been set when the library was loaded, which reads it then.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolved().name == "mika.safetensors"
    for name in hub_switch.SWITCHES:
        monkeypatch.setenv(name, "1")
        with pytest.raises(DownloadError, match="does not contact Hugging Face"):
            resolved()
        monkeypatch.delenv(name)
