"""Tests the connection to RunPod and the bucket before money is spent: the checklist of the document "LoRA Training System", one line each.

The only thing that is written is a small object in the bucket, which is deleted again. No job is started.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from trainer_core.errors import RemoteError
from trainer_core.remote import addresses, credentials, storage, style_places, styles
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Settings
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import webhook
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.storage import Bucket, Work
from trainer_core.remote.storage.bucket import ENDPOINTS, REGIONS, endpoint_of
from trainer_core.remote.storage.uploading import put_bytes
from trainer_core.remote.training.client import ENDPOINT_NAME, KEY_NAMES, PUBLIC_NAMES
from trainer_core.text import amount, printable

State = Literal["ok", "wrong", "not used", "not tested"]
"""A thing is "not tested" when another line says already what is wrong: each cause is said, and counted, once."""
BRIEF = Patience(attempts=2, first_wait_s=0.5, longest_wait_s=3.0, connect_s=10.0, read_s=20.0)
_WEB_S = 10.0
BUCKET_NAME = style_places.BUCKET_NAME
ACCESS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
REQUIRED = (KEY_NAMES, (ENDPOINT_NAME,), (BUCKET_NAME,), *((name,) for name in ACCESS))
"""The settings that a training needs; of several names one."""
OPTIONAL = (REGIONS, ENDPOINTS, PUBLIC_NAMES)


@dataclass(frozen=True)
class Line:
    """What was found: a sentence, and what to do if something is wrong."""

    what: str
    state: State
    said: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON data."""
        return {"what": self.what, "state": self.state, "said": self.said, "advice": self.advice}


@dataclass(frozen=True)
class Wanted:
    """What is tested: an endpoint and a storage other than those that are set, and the selection set of a style, if one is named."""

    endpoint: str = ""
    storage: str = ""
    style: str = ""
    selection: str = ""
    styles_at: str = ""


def lines(wanted: Wanted, values: Settings) -> Iterator[Line]:
    """What is found, one line after the other. A line that is wrong does not end it."""
    yield from _environment(wanted, values)
    yield _line("endpoint", lambda: _endpoint(wanted, values))
    yield from _storage(wanted, values)
    yield _line("selection set", lambda: _selection(wanted, values))
    yield _line("webhook", lambda: _webhook(values))


def _line(what: str, find: Callable[[], Line]) -> Line:
    try:
        return find()
    except RemoteError as error:
        return Line(what, "wrong", error.message, error.hint)


def _environment(wanted: Wanted, values: Settings) -> Iterator[Line]:
    """Which settings are there, and where they come from; never what they are."""
    given = {ENDPOINT_NAME: wanted.endpoint, BUCKET_NAME: wanted.storage}
    for names in REQUIRED:
        what = " or ".join(names)
        source = "the command line" if given.get(names[0]) else _source(values, *names)
        if source:
            yield Line(what, "ok", f"It comes from {source}.")
        else:
            yield Line(
                what,
                "wrong",
                f"{credentials.titled(names[-1])} is not set.",
                credentials.where_to_set(names[-1]),
            )
    for names in OPTIONAL:
        source = _source(values, *names)
        said = f"It comes from {source}." if source else "It is not set."
        yield Line(" or ".join(names), "ok" if source else "not used", said)


def _source(values: Settings, *names: str) -> str:
    try:
        return next((found for name in names if (found := values.source(name))), "")
    except RemoteError:
        return ""


def _not_tested(what: str, lacking: Mapping[str, bool]) -> Line:
    """A line for what cannot be tried; what is missing for it has a line of its own."""
    names = [name for name, is_missing in lacking.items() if is_missing]
    return Line(
        what,
        "not tested",
        f"It was not tested, because {' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing.",
    )


def _endpoint(wanted: Wanted, values: Settings) -> Line:
    key, endpoint = values.first(*KEY_NAMES), wanted.endpoint or values.text(ENDPOINT_NAME)
    if key is None or not endpoint:
        return _not_tested("endpoint", {"the API key": key is None, "the endpoint": not endpoint})
    with Client(endpoint, key, patience=BRIEF) as client:
        found = client.health()
    ready = found.workers.get("ready", found.workers.get("idle", 0)) + found.workers.get("running", 0)
    queued = found.jobs.get("inQueue", 0)
    said = f"RunPod answers: {amount(ready, 'worker')} ready or running, {amount(queued, 'job')} in the queue."
    # An endpoint that scales to zero has no worker until a job comes.
    if not ready and not found.workers.get("initializing", 0):
        said += " A worker starts when a job arrives."
    if found.workers.get("throttled", 0):
        return Line(
            "endpoint",
            "wrong",
            f"{said} RunPod has no free GPU of its kind now.",
            "Allow other GPUs or data centres in the endpoint's settings.",
        )
    return Line("endpoint", "ok", said)


# ---- the bucket ----
def _lacking(wanted: Wanted, values: Settings) -> dict[str, bool]:
    """What is needed to ask the bucket at all, and whether it is missing."""
    has_key = all(_source(values, name) for name in ACCESS)
    return {"the bucket": not (wanted.storage or _source(values, BUCKET_NAME)), "the access key": not has_key}


def _storage(wanted: Wanted, values: Settings) -> Iterator[Line]:
    """Writes, reads and deletes a small object, and lists the folder."""
    if any((lacking := _lacking(wanted, values)).values()):
        yield _not_tested("bucket", lacking)
        return
    try:
        bucket, root = _bucket(wanted, values)
    except RemoteError as error:
        yield Line("bucket", "wrong", error.message, error.hint)
        return
    key, data = f"{root}easel/test-{secrets.token_hex(8)}.txt", b"Easel tests whether it may write here.\n"
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("bucket: write", lambda: put_bytes(bucket, key, data, {})),
        ("bucket: read", lambda: _read(bucket, key, data)),
        ("bucket: list", lambda: next(storage.items(bucket, f"{root}easel/"), None)),
        ("bucket: delete", lambda: bucket.ask("delete_object", key)),
    )
    is_written, causes = True, set()
    for what, do in steps:
        if not is_written and what in {"bucket: read", "bucket: delete"}:
            yield Line(what, "not tested", "It was not tested, because nothing could be written.")
            continue
        found = _line(what, lambda do=do, what=what: _done(what, do, bucket))
        is_written = is_written and not (what == "bucket: write" and found.state == "wrong")
        if found.state == "wrong" and found.said in causes:
            found = Line(what, "not tested", "It fails for the reason above.")
        causes.add(found.said)
        yield found


def _done(what: str, do: Callable[[], object], bucket: Bucket) -> Line:
    do()
    return Line(what, "ok", f"s3://{bucket.name} at {bucket.service} allows it.")


def _bucket(wanted: Wanted, values: Settings) -> tuple[Bucket, str]:
    name = wanted.storage or values.text(BUCKET_NAME)
    if not name:
        raise RemoteError("No bucket is set.", credentials.where_to_set(BUCKET_NAME), "setting")

    endpoint = endpoint_of(values)
    address: Address = addresses.parse(name if "://" in name else f"s3://{name}", [endpoint] if endpoint else [])
    root = address.key if not address.key or address.key.endswith("/") else f"{address.key}/"
    return storage.connect(address, values, Work(patience=BRIEF)), root


def _read(bucket: Bucket, key: str, data: bytes) -> None:
    found = bucket.ask("get_object", key)["Body"].read(len(data) + 1)
    if hashlib.sha256(found).digest() != hashlib.sha256(data).digest():
        message = f"{bucket.service} returns something else than what was written."
        raise RemoteError(
            message, "Check S3_ENDPOINT_URL, and whether something changes objects on the way.", "content"
        )


# ---- styles ----
def _selection(wanted: Wanted, values: Settings) -> Line:
    if not wanted.style:
        return Line("selection set", "not used", "No style was named: --style ID --selection SET tests one.")
    if any((lacking := _lacking(wanted, values)).values()):
        return _not_tested("selection set", lacking)
    place = style_places.opened(wanted.styles_at, values, Work(patience=BRIEF))
    sets = place.styles.sets(wanted.style)
    if not sets:
        message = f"The style {printable(wanted.style, 80)} in {place.address} has no selection set."
        raise RemoteError(message, "Save a selection of its images as a set first.", "missing")
    chosen = style_places.selection_set(place.styles, wanted.style, wanted.selection) if wanted.selection else sets[0]
    bucket, _ = _bucket(wanted, values)
    uris = styles.uris(bucket.name, wanted.style, chosen)
    missing = [uri for uri in uris if _is_missing(bucket, uri)]
    named = f"{printable(chosen.name, 60)} of the style {wanted.style}: {amount(len(chosen.images), 'image')}"
    if missing:
        shown = printable(missing[0], 200)
        said = f"{named}. {amount(len(missing), 'object')} of {len(uris)} are missing, such as {shown}."
        return Line("selection set", "wrong", said, "Upload the images with their captions (.txt), or change the set.")
    return Line("selection set", "ok", f"{named}, each with its caption.")


def _is_missing(bucket: Bucket, uri: str) -> bool:

    address = addresses.parse(uri)
    return address.bucket == bucket.name and storage.look(bucket, address.key) is None


# ---- the webhook ----
def _webhook(values: Settings) -> Line:
    base = values.text(*PUBLIC_NAMES)
    if not base:
        return Line("webhook", "not used", "No public address is set, so Easel asks RunPod for the state by itself.")
    url = webhook.checked_base(base)
    host = urlsplit(url).hostname or ""
    if _is_private(host):
        message = (
            f"{printable(host, 100)} is an address of this machine or of a private network, which RunPod cannot reach."
        )
        raise RemoteError(message, "Open a tunnel, and set its public address.", "address")
    status = _asked(url)
    return Line(
        "webhook",
        "ok",
        f"{printable(host, 100)} answers from here (status {status}). Whether RunPod reaches it cannot be tested from here.",
    )


def _asked(url: str) -> int:
    """The status with which a web address answers.

    Raises:
        RemoteError: it does not answer.
    """
    import httpx2

    host = printable(urlsplit(url).netloc, 100)
    try:
        return httpx2.get(url, timeout=_WEB_S, follow_redirects=False).status_code
    except httpx2.HTTPError as error:
        message = f"{host} does not answer ({type(error).__name__})."
        raise RemoteError(
            message, "Start the receiver and its tunnel: easel remote serve. Or remove the setting.", "offline"
        ) from None


def _is_private(host: str) -> bool:
    try:
        found = [ipaddress.ip_address(host)]
    except ValueError:
        if host.casefold() == "localhost" or "." not in host:
            return True
        try:
            found = [ipaddress.ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, None)]
        except (OSError, UnicodeError):
            message = f"There is no host {printable(host, 100)}."
            raise RemoteError(message, "Check the public address.", "offline") from None
    return bool(found) and not any(each.is_global for each in found)
