"""Parses what a user can paste for a remote model (pages, download links, short names) into one `Link`.

A token in a link is removed from it, because addresses end up in logs and histories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from trainer_core.errors import DownloadError
from trainer_core.models.tokens import Token, title
from trainer_core.places import is_there, typed
from trainer_core.text import printable

HUGGING_FACE_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
CIVITAI_HOSTS = frozenset({"civitai.com", "www.civitai.com", "civitai.green", "civitai.red"})
MODEL_ENDINGS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
SHORT = ("hf:", "civitai:", "urn:air:", "air:")
"""The prefixes of the short names of remote models."""

# The names of query parameters that contain a token, letters only.
_SECRETS = frozenset({"token", "apikey", "accesstoken", "authtoken", "hftoken"})
# Source: huggingface_hub/utils/_validators.py, validate_repo_id.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
# Source: the AIR specification of Civitai, urn:air:{ecosystem}:{type}:{source}:{id}@{version?}.
_AIR = re.compile(r"(?:urn:)?air:[^:]+:[^:]+:([^:]+):([^@:]+)(?:@([^:.]+))?(?:[:.].*)?", re.IGNORECASE)
_CIVITAI_CHOICES = ("type", "format", "size", "fp", "fileId")


@dataclass(frozen=True)
class Link:
    """The location of a model: a Hugging Face repository, a Civitai model, or an address ("web").

    `shown` is safe to show: it contains neither a token nor a signature. `notes` are sentences on what was changed.
    """

    site: str
    shown: str
    url: str = field(default="", repr=False)
    repo: str = ""
    revision: str = ""
    path: str = ""
    model_id: int | None = None
    version_id: int | None = None
    host: str = ""
    wanted: Mapping[str, str] = field(default_factory=dict)
    token: Token | None = None
    notes: tuple[str, ...] = ()


def parse(text: str) -> Link | None:
    """The link in a text; None where the text is a path on this machine.

    Raises:
        DownloadError: it is a link of a kind that Easel does not follow.
    """
    text = _whole(text)
    lower = text.lower()
    if lower.startswith(SHORT) and "?" in text:
        raise _refused(
            text,
            "contains a question mark.",
            "Remove it and everything after it. Easel reads tokens from HF_TOKEN and CIVITAI_TOKEN.",
        )
    if lower.startswith("hf:"):
        return _hugging_face_name(text[3:].lstrip("/"), text)
    if lower.startswith("civitai:"):
        return _civitai_name(text[8:], text)
    if lower.startswith(("urn:air:", "air:")):
        return _air(text)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://|(file|data|javascript|magnet|mailto):", text)
    if scheme:
        return _address(text)
    if (
        _REPO.fullmatch(text)
        and not lower.endswith((*MODEL_ENDINGS, ".json"))
        and ".." not in text
        and not is_there(typed(text))
    ):
        return Link("huggingface", text, repo=text)
    return None


def shown(text: str) -> str:
    """The text in a form that is safe to show, in case it is a link with a secret in it.

    An address loses its user and password. Of its query only the parameters that choose a file stay: the others may be a
    token or a signature.
    """
    scheme, mark, rest = _whole(text).partition("://")
    if not mark:
        return text.partition("?")[0] if text.lower().startswith(SHORT) else text
    address, query = re.fullmatch(r"([^?#]*)(?:\?([^#]*))?(?:#.*)?", rest, re.DOTALL).groups("")  # pyright: ignore[reportOptionalMemberAccess]
    host, slash, path = address.partition("/")
    kept = [(name, value) for name, value in parse_qsl(query) if name in (*_CIVITAI_CHOICES, "modelVersionId")]
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" + (f"?{urlencode(kept)}" if kept else "")


def _whole(text: str) -> str:
    """The link without quotes or angle brackets around it, and with the https:// that browsers hide."""
    bare = text.strip().strip("<>\"'")
    host = bare.partition("/")[0].lower()
    is_page = host in HUGGING_FACE_HOSTS | CIVITAI_HOSTS and not is_there(typed(bare))
    return f"https://{bare}" if is_page else bare if "://" in bare else text.strip()


def hugging_face_endpoint() -> str:
    """The address of Hugging Face, or of the mirror in $HF_ENDPOINT."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def civitai_endpoint(host: str = "") -> str:
    """The address of Civitai: $CIVITAI_ENDPOINT, else the Civitai site that the link names."""
    chosen = os.environ.get("CIVITAI_ENDPOINT", "").rstrip("/")
    return chosen or f"https://{host.removeprefix('www.') if host in CIVITAI_HOSTS else 'civitai.com'}"


def site_of(url: str) -> str:
    """The site whose token may be sent to an address: "huggingface", "civitai", or "" for others and for plain http."""
    parts = urlsplit(url)
    for site, hosts, endpoint in (
        ("huggingface", HUGGING_FACE_HOSTS, hugging_face_endpoint()),
        ("civitai", CIVITAI_HOSTS, civitai_endpoint()),
    ):
        if origin(url) == origin(endpoint) or (parts.scheme == "https" and parts.hostname in hosts and not parts.port):
            return site
    return ""


def origin(url: str) -> tuple[str, str, int | None]:
    """The scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _refused(text: str, reason: str, hint: str) -> DownloadError:
    return DownloadError(f"{printable(shown(text), 200)} {reason}", hint)


def _hugging_face_name(name: str, text: str) -> Link:
    """The link of `org/name[/path][@revision]`; the revision may also follow the name."""
    first, _, revision = name.partition("@")
    if "/" in revision and first.count("/") == 1:
        # The spelling of huggingface_hub: org/name@revision/path.
        revision, _, path = revision.partition("/")
        first = f"{first}/{path}"
    return _in_repo(first.split("/"), revision, text)


def _in_repo(parts: list[str], revision: str, text: str) -> Link:
    repo, path = "/".join(parts[:2]), "/".join(part for part in parts[2:] if part)
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise _refused(text, "is not a Hugging Face repository.", "Write it as hf:owner/name or hf:owner/name/file.")
    if any(part in {".", ".."} or "\\" in part for part in path.split("/")):
        raise _refused(text, "leads outside its repository.", "Copy the link again from the page of the file.")
    shown = f"hf:{repo}" + (f"/{path}" if path else "") + (f"@{revision}" if revision else "")
    return Link("huggingface", printable(shown, 300), repo=repo, revision=revision, path=path)


def _civitai_name(name: str, text: str) -> Link:
    model, _, version = name.strip("/").partition("@")
    if not (model or version) or any(part and not _is_id(part) for part in (model, version)):
        raise _refused(text, "is not a Civitai model.", "Write it as civitai:ID or civitai:ID@VERSION.")
    return _civitai(int(model) if model else None, int(version) if version else None)


def _civitai(model: int | None, version: int | None, host: str = "", wanted: Mapping[str, str] | None = None) -> Link:
    shown = f"civitai:{model or ''}" + (f"@{version}" if version else "")
    return Link("civitai", shown, model_id=model, version_id=version, host=host, wanted=wanted or {})


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) < 16


def _air(text: str) -> Link:
    found = _AIR.fullmatch(text)
    source = found.group(1).lower() if found else ""
    if found and source == "civitai" and _is_id(found.group(2)) and (not found.group(3) or _is_id(found.group(3))):
        return _civitai(int(found.group(2)), int(found.group(3)) if found.group(3) else None)
    if found and source == "huggingface":
        return _in_repo(found.group(2).split("/"), found.group(3) or "", text)
    raise _refused(
        text, "is not an AIR of a model on Civitai or Hugging Face.", "Copy it again from the page of the model."
    )


def _address(text: str) -> Link:
    """The link of a web address."""
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise DownloadError("This address cannot be read.", "Copy it again from the browser.") from error
    if parts.scheme.lower() not in {"http", "https"}:
        message = f"Easel does not follow links that start with {printable(parts.scheme, 30)}:."
        raise DownloadError(message, "Use a link that starts with https://, or the path of a file on this machine.")
    if parts.username is not None or parts.password is not None:
        message = f"The link to {printable(host, 100)} contains a user name or a password."
        raise DownloadError(message, "Remove it from the link: addresses end up in logs and histories.")
    if not host or port == 0 or not text.isprintable() or " " in text:
        raise DownloadError("This address names no site, or contains a space.", "Copy it again from the browser.")
    parts, token, notes = _without_token(parts, host)
    clean = urlunsplit(parts._replace(fragment=""))
    found = _by_host(parts, host, clean)
    return replace(found, token=token, notes=notes)


def _by_host(parts: SplitResult, host: str, clean: str) -> Link:
    places: tuple[tuple[str, frozenset[str], Callable[[SplitResult, str], Link | None]], ...] = (
        (hugging_face_endpoint(), HUGGING_FACE_HOSTS, _hugging_face_page),
        (civitai_endpoint(), CIVITAI_HOSTS, _civitai_page),
    )
    for endpoint, hosts, read in places:
        if host in hosts or origin(clean) == origin(endpoint):
            if link := read(parts, host):
                return link
            break
    path = unquote(parts.path)
    return Link("web", printable(f"{parts.scheme}://{parts.netloc}{path}", 300), url=clean, host=host)


def _hugging_face_page(parts: SplitResult, _host: str) -> Link | None:
    """The link of a model's page, or of a file or folder in it; None for other pages, such as a data set."""
    names = [unquote(name) for name in parts.path.split("/") if name]
    if len(names) < 2 or names[0] in {"datasets", "spaces", "api", "docs", "collections"}:
        return None
    shown = "/".join(names)
    if len(names) == 2:
        return _in_repo(names, "", shown)
    if names[2] in {"resolve", "blob", "tree", "raw"} and len(names) > 3:
        revision, path = _revision(names[3:])
        return _in_repo([*names[:2], *path], revision, shown)
    return None


def _revision(names: list[str]) -> tuple[str, list[str]]:
    """The revision and the path after it. The revision of a pull request contains slashes: refs/pr/1."""
    if names[:2] == ["refs", "pr"] and len(names) > 2:
        return "/".join(names[:3]), names[3:]
    return names[0], names[1:]


def _civitai_page(parts: SplitResult, host: str) -> Link:
    names = [name for name in parts.path.split("/") if name]
    query = dict(parse_qsl(parts.query))
    wanted = {name: query[name] for name in _CIVITAI_CHOICES if name in query}
    if names[:1] == ["api"]:
        names = [name for name in names if name not in {"api", "v1", "download"}]
        kind = {"models": "version" if "download" in parts.path else "model", "model-versions": "version"}
    else:
        kind = {"models": "model", "model-versions": "version"}
    if len(names) >= 2 and names[0] in kind and _is_id(names[1]):
        number = int(names[1])
        if kind[names[0]] == "version":
            return _civitai(None, number, host, wanted)
        version = query.get("modelVersionId", "")
        return _civitai(number, int(version) if _is_id(version) else None, host, wanted)
    message = "This Civitai page is not the page of a model."
    raise DownloadError(message, "Open the model there and copy the address of its page or of its download button.")


def _without_token(parts: SplitResult, host: str) -> tuple[SplitResult, Token | None, tuple[str, ...]]:
    """The address without the token in its query, the token, and a note about it."""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if re.sub(r"[^a-z]", "", name.lower()) not in _SECRETS]
    if len(kept) == len(pairs):
        return parts, None, ()
    text = next(value for name, value in pairs if (name, value) not in kept)
    site = site_of(urlunsplit(parts)) or host
    token = Token(text, site, "the link") if text else None
    note = (
        f"Easel removed the token from the link to {title(site)} and sends it in a header, because addresses end up in logs. "
        "Create a new token if you shared this link."
    )
    return parts._replace(query=urlencode(kept)), token, (note,) if token else ()


def is_model_name(name: str) -> bool:
    """Whether a file name has the extension of a model file."""
    return Path(name.lower()).suffix in MODEL_ENDINGS
