"""Imports a profile from a file, a URL, or a Hugging Face repository."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from trainer_core import places
from trainer_core.errors import DownloadError, EaselError
from trainer_core.profiles import shelf
from trainer_core.profiles.difference import Change, diff
from trainer_core.profiles.profile import Profile
from trainer_core.profiles.reading import LARGEST_FILE_BYTES, read
from trainer_core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.models.downloads.http import Asked, Patience
    from trainer_core.models.downloads.links import Link

LONGEST_LISTING_BYTES = 1024 * 1024
LONGEST_FETCH_S = 60.0
OK = 200
HUB = "hub:"


@dataclass(frozen=True)
class Incoming:
    """A profile that can be imported: where it comes from, and what it changes.

    `present` is the user's own profile with the same id, which it would replace. Without one, `changes` are relative to
    the defaults.
    """

    profile: Profile
    origin: str
    present: Profile | None
    changes: tuple[Change, ...]


def incoming(text: str, wanted_id: str = "", patience: Patience | None = None) -> Incoming:
    """The profile at a path, a link or hub:owner/name[/file]; nothing is written.

    `wanted_id` is the id to give it, "" to keep its own.

    Raises:
        ProfileError: it is refused.
        DownloadError: it cannot be downloaded.
    """
    return uploaded(*_fetched(text.strip(), patience), wanted_id)


def uploaded(raw: bytes, name: str, origin: str = "a file of yours", wanted_id: str = "") -> Incoming:
    """The profile in the bytes of a file, whose name is only for messages; nothing is written.

    Raises:
        ProfileError: it is refused.
    """
    profile = shelf.loads(raw, name)
    if wanted_id:
        profile = shelf.loads(shelf.dumps(replace(profile, id=wanted_id)), name)
    shelf.refuse_shipped_id(profile, name)
    present = shelf.own()[0].get(profile.id)
    return Incoming(profile, origin, present, diff(profile, present.settings if present else None))


def _fetched(text: str, patience: Patience | None) -> tuple[bytes, str, str]:
    """The bytes of a profile file, its name, and where it comes from."""
    from trainer_core.models.downloads import links

    if text.lower().startswith(HUB):
        text = f"hf:{text[len(HUB) :]}"
    path = places.typed(text)
    # A text that ends in .toml and names no site is a path, even if the file does not exist.
    is_path = text.lower().endswith(".toml") and (places.is_there(path) or ":" not in text)
    link = None if is_path else links.parse(text)
    if link is None:
        return read(path), path.name, str(path)
    if link.site == "civitai":
        raise DownloadError(
            f"{link.shown} is a model, and Civitai does not store profiles.", "Use a link to a .toml file."
        )
    asked = _asked(link, patience)
    return small(asked, LARGEST_FILE_BYTES, patience), asked.what.rpartition("/")[2], link.shown


def _asked(link: Link, patience: Patience | None) -> Asked:
    """The request for the file that a link leads to."""
    from trainer_core.models import hub_interface
    from trainer_core.models.downloads.http import Asked
    from trainer_core.models.downloads.links import hugging_face_endpoint

    if link.site != "huggingface":
        return Asked(
            link.url, printable(urlsplit(link.url).path.rpartition("/")[2] or link.shown, 120), token=link.token
        )
    hub_interface.refuse_if_off()
    page = f"{hugging_face_endpoint()}/{link.repo}"
    path = link.path if link.path.endswith(".toml") else _only_profile(link, page, patience)
    revision = quote(link.revision or "main", safe="")
    return Asked(f"{page}/resolve/{revision}/{quote(path)}", printable(path, 200), page, link.token)


def _only_profile(link: Link, page: str, patience: Patience | None) -> str:
    """The path of the only .toml file in a repository, or in a folder of it."""
    import json

    from trainer_core.models.downloads.http import Asked
    from trainer_core.models.downloads.links import hugging_face_endpoint

    url = f"{hugging_face_endpoint()}/api/models/{link.repo}"
    if link.revision:
        url += f"/revision/{quote(link.revision, safe='')}"
    body = small(Asked(url, link.shown, page, link.token), LONGEST_LISTING_BYTES, patience)
    try:
        listed = [str(file["rfilename"]) for file in json.loads(body)["siblings"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DownloadError(
            f"The list of files of {link.shown} cannot be read.", "Try again later.", "content"
        ) from error
    inside = f"{link.path.strip('/')}/" if link.path else ""
    found = sorted(path for path in listed if path.endswith(".toml") and path.startswith(inside))
    if len(found) == 1:
        return found[0]
    shown = ", ".join(printable(path, 80) for path in found[:12])
    message = (
        f"{link.shown} contains {len(found)} profiles: {shown}." if found else f"{link.shown} contains no .toml file."
    )
    raise DownloadError(
        message, "Add the file name: hub:owner/name/file.toml.", "choice" if found else "missing", found
    )


def small(asked: Asked, most_bytes: int, patience: Patience | None = None) -> bytes:
    """The body of a small file.

    Raises:
        DownloadError: it is refused, is a web page, is larger, or takes too long.
    """
    from trainer_core.models.downloads import http

    patience = patience or http.BRIEF
    return http.keep_trying(lambda: _in_time(lambda: _once(asked, most_bytes, patience), asked, patience), patience)


def _in_time(fetch: Callable[[], bytes], asked: Asked, patience: Patience) -> bytes:
    """The result of `fetch`, which runs in a thread: a server that sends a header now and then could block it forever."""
    done: Future[bytes] = Future()

    def run() -> None:
        try:
            done.set_result(fetch())
        except EaselError as error:
            done.set_exception(error)
        finally:
            done.cancel()  # so that nobody waits after an unexpected error

    threading.Thread(target=run, name="fetch-profile", daemon=True).start()
    try:
        return done.result(_longest_s(patience) + 1)
    except TimeoutError:
        raise _too_slow(asked) from None


def _longest_s(patience: Patience) -> float:
    return min(LONGEST_FETCH_S, 4 * patience.read_s)


def _too_slow(asked: Asked) -> DownloadError:
    return DownloadError(f"{printable(asked.what, 200)} takes too long to download.", "Try again later.", "content")


def _once(asked: Asked, most_bytes: int, patience: Patience) -> bytes:
    from trainer_core.models.downloads import http

    what, body, began = printable(asked.what, 200), bytearray(), time.monotonic()
    with http.get(asked, patience=patience) as answer:
        if answer.status != OK:
            raise DownloadError(f"The server sent only a part of {what}.", "Try again later.", "content")
        if answer.header("content-type").lower().startswith(("text/html", "application/xhtml")):
            hint = "Copy the link to the file itself, such as the link of the button Raw or Download."
            raise DownloadError(f"{what} is a web page, not a profile.", hint, "content")
        large = DownloadError(f"{what} is larger than {most_bytes // 1024} kB, so it is not a profile.", "", "content")
        if (answer.length_bytes or 0) > most_bytes:
            raise large
        for chunk in answer.chunks():
            body += chunk
            if len(body) > most_bytes:
                raise large
            # A server that sends a byte now and then never reaches the timeout for one chunk.
            if time.monotonic() - began > _longest_s(patience):
                raise _too_slow(asked)
    return bytes(body)
