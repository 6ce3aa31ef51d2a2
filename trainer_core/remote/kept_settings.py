"""Settings for remote training that are no secrets, kept in `remote.toml` of Easel's home: an endpoint, a bucket, prices.

`credentials` looks here last, so that an endpoint and a bucket that were typed once are known to the notebook, the command line
and the process that follows a run. A key is never written here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import RemoteError, wrong_use
from trainer_core.files import read_toml, write_whole
from trainer_core.text import printable

FILE = "remote.toml"
VERSION = 1
NAMES = ("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", "S3_USER_BUCKET", "S3_REGION", "S3_ENDPOINT_URL", "GATEWAY_BASE_URL")
"""The settings that can be kept, by the names that they have in the environment."""
TEXTS = {"styles": "The place of the styles", "gpu": "The GPU", "on": "The trainer"}
LONGEST = 300
HINT = "Correct the file, or remove it."
MOST_PRICE = 10_000.0
_LARGEST_BYTES = 1 << 20
_PLACE = re.compile(r"[a-z][a-z0-9_-]{0,40}(?::[^\s:][^\n]{0,300})?")


@dataclass(frozen=True)
class Kept:
    """What is kept. `settings` are values by their names in `NAMES`; `styles` is the place of the styles, "" for the usual one.

    `prices` are what an hour costs by the trainer, as `runpod` or `ssh:gpu-box`; `gpu` is the GPU of the endpoint, and `on` the
    trainer that was chosen last.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    styles: str = ""
    gpu: str = ""
    on: str = ""
    prices: Mapping[str, float] = field(default_factory=dict)


def path() -> Path:
    """The file."""
    return places.home() / FILE


def read() -> Kept:
    """What is kept; nothing if there is no file.

    Raises:
        RemoteError: the file cannot be read, or is damaged.
    """
    if not os.path.lexists(path()):
        return Kept()
    try:
        return _of(read_toml(path(), RemoteError, HINT, _LARGEST_BYTES, is_own=True))
    except (ValueError, TypeError) as error:
        raise RemoteError(f"{path()} cannot be used: {error}.", HINT, "content") from error


def keep_setting(name: str, value: str) -> Kept:
    """Keeps a setting; "" removes it. Returns what is kept then.

    Raises:
        RemoteError: it is a secret or no setting, or the file cannot be written.
    """
    before = read()
    value = _text(name, value)
    if name not in NAMES:
        raise wrong_use(
            RemoteError(f"{printable(name, 80)!r} is not kept in {FILE}.", f"Kept are: {', '.join(NAMES)}.")
        )
    settings = {**before.settings, name: value}
    return _keep(replace(before, settings={key: text for key, text in settings.items() if text}))


def keep(**texts: str) -> Kept:
    """Keeps `styles`, `gpu` or `on`, whichever are given. Returns what is kept then.

    Raises:
        RemoteError: a value cannot be kept, or the file cannot be written.
    """
    return _keep(replace(read(), **{name: _text(TEXTS[name], text) for name, text in texts.items()}))


def keep_price(place: str, price: float | None) -> Kept:
    """Keeps what an hour of training costs at a place; None removes it. Returns what is kept then.

    Raises:
        RemoteError: it is no price, or the file cannot be written.
    """
    before = read()
    if not _PLACE.fullmatch(place):
        raise wrong_use(
            RemoteError(f"{printable(place, 80)!r} is no place that trains.", "Such as runpod or ssh:gpu-box.")
        )
    if price is not None and not (math.isfinite(price) and 0 <= price <= MOST_PRICE):
        raise wrong_use(RemoteError("A price per hour is a number from 0 to 10,000.", "Such as 0.69."))
    prices = {**before.prices, place: price}
    return _keep(replace(before, prices={key: float(each) for key, each in prices.items() if each is not None}))


def _text(what: str, value: str) -> str:
    """A value without spaces around it.

    Raises:
        RemoteError: it cannot be kept. It is not in the message: it may be a key.
    """
    from trainer_core.profiles.reading import holds_token

    value = value.strip()
    if len(value) > LONGEST or not value.isprintable():
        message = f"{what} is too long, or has characters that cannot be shown."
        raise wrong_use(RemoteError(message, "Copy it again from where it was shown."))
    if holds_token(value) or re.search(r"://[^/\s]*@|[?&](?:X-Amz-|AWSAccessKeyId)", value):
        message = f"{what} looks like a key or holds one, and keys are not written to {FILE}."
        raise wrong_use(RemoteError(message, "Enter a key in its own field: it is kept in memory only."))
    return value


def _keep(kept: Kept) -> Kept:
    import tomli_w

    texts = {name: text for name in TEXTS if (text := getattr(kept, name))}
    tables = {"version": VERSION, **texts, "settings": dict(kept.settings), "prices": dict(kept.prices)}
    try:
        write_whole(path(), tomli_w.dumps(tables), personal=True)
    except OSError as error:
        message = f"{path()} cannot be written: {error.strerror or error}."
        raise RemoteError(message, "Check its permissions and the free disk space.", "disk") from error
    return kept


def _of(tables: Mapping[str, Any]) -> Kept:
    """What the file has.

    Raises:
        ValueError: it is another version, or a value is of another type.
    """
    if tables.get("version") != VERSION:
        raise ValueError(f"its version is not {VERSION}")
    settings, prices = tables.get("settings", {}), tables.get("prices", {})
    texts = [tables.get(name, "") for name in TEXTS]
    if not isinstance(settings, dict) or not isinstance(prices, dict):
        raise TypeError("settings and prices must be tables")
    if not all(isinstance(text, str) for text in (*settings.values(), *texts)):
        raise TypeError("a setting is not text")
    if not all(isinstance(price, int | float) and math.isfinite(price) for price in prices.values()):
        raise TypeError("a price is no number")
    known = {name: text for name, text in settings.items() if name in NAMES}
    return Kept(known, texts[0], texts[1], texts[2], {place: float(price) for place, price in prices.items()})
