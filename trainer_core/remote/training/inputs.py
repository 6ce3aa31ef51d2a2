"""The images and captions of a request, as addresses of objects in a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer_core.errors import RemoteError
from trainer_core.remote import addresses
from trainer_core.text import printable

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
CAPTION = ".txt"


@dataclass(frozen=True)
class Listed:
    """The objects of a request: all of them as s3://bucket/key, each caption after its image, and how many are images."""

    urls: tuple[str, ...]
    images: int
    captions: int


def listed(urls: Iterable[str], endpoints: Sequence[str] = ()) -> Listed:
    """The images and captions in a list of addresses of any form of S3.

    A worker puts all files into one folder, so two of them must not have the same name. Either every image has a caption or none
    has: with captions, the trigger token is in them; without, it is the caption of every image.

    Raises:
        ValueError: an address is none, is listed twice, or is neither an image nor a caption; or the captions do not fit the images.
    """
    if isinstance(urls, str):
        # The document's callers expect a ValueError for whatever is wrong in a configuration.
        raise ValueError("The images must be a list of addresses, and not one text.")  # noqa: TRY004
    found: dict[str, str] = {}
    for url in urls:
        address = _address(url, endpoints)
        name = PurePosixPath(address).name
        if PurePosixPath(name).suffix.lower() not in {*IMAGES, CAPTION}:
            known = ", ".join(sorted(IMAGES))
            raise ValueError(f"{_shown(address)} is neither an image ({known}) nor a caption ({CAPTION}).")
        if name in found:
            same = "is listed twice" if found[name] == address else f"and {_shown(found[name])} have the same file name"
            raise ValueError(f"{_shown(address)} {same}.")
        found[name] = address
    return _paired(found)


def _address(url: object, endpoints: Sequence[str]) -> str:
    if not isinstance(url, str):
        raise ValueError("The images must be a list of addresses: one of them is no text.")  # noqa: TRY004 - as above
    try:
        return addresses.to_s3(url, endpoints)
    except RemoteError as error:
        raise ValueError(str(error)) from None


def _paired(found: dict[str, str]) -> Listed:
    images = {name: url for name, url in found.items() if PurePosixPath(name).suffix.lower() in IMAGES}
    captions = {PurePosixPath(name).stem: url for name, url in found.items() if name not in images}
    stems: dict[str, str] = {}
    for name in images:
        stem = PurePosixPath(name).stem
        if captions and stem in stems:
            raise ValueError(
                f"{_shown(stems[stem])} and {_shown(name)} would have the same caption. Rename one of them."
            )
        stems[stem] = name
    if not images:
        raise ValueError("There is no image: list at least one address of an image.")
    if alone := next((url for stem, url in captions.items() if stem not in stems), ""):
        raise ValueError(f"{_shown(alone)} is the caption of no image in the list.")
    without = next((url for name, url in images.items() if PurePosixPath(name).stem not in captions), "")
    if captions and without:
        raise ValueError(
            f"{_shown(without)} has no caption, but other images do. List a caption for each image, or none."
        )
    urls: list[str] = []
    for name, url in images.items():
        caption = captions.get(PurePosixPath(name).stem)
        urls += [url, caption] if caption else [url]
    return Listed(tuple(urls), len(images), len(captions))


def _shown(text: str) -> str:
    return printable(text, 200)
