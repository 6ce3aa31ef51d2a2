"""Links to the LoRAs of training versions: the file has the address s3://bucket/key, a link is made when it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_core.errors import RemoteError
from trainer_core.remote import addresses, storage
from trainer_core.remote.credentials import Settings
from trainer_core.remote.storage.bucket import endpoint_of
from trainer_core.remote.styles import Version


@dataclass(frozen=True)
class Link:
    """An address with which everybody can download a LoRA for some time; without one, `problem` says why."""

    link: str = ""
    problem: str = ""


def link_of(version: Version, values: Settings, valid_s: int) -> Link:
    """The link to the LoRA of a version. An address of another form, such as an old link, becomes a new link, too."""
    if not version.lora_url:
        return Link()
    try:
        endpoint = endpoint_of(values)
        address = addresses.parse(addresses.to_s3(version.lora_url, [endpoint] if endpoint else []))
        return Link(storage.link(storage.connect(address, values), address.key, valid_s))
    except RemoteError as error:
        return Link(problem=str(error))
