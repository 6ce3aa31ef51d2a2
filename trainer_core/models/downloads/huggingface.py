"""Finds the files of a model in a Hugging Face repository."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from trainer_core.errors import DownloadError
from trainer_core.models import hub_interface
from trainer_core.models.downloads import names, refusals
from trainer_core.models.downloads.http import BRIEF, Asked, Patience, get_json, keep_trying
from trainer_core.models.downloads.links import Link, hugging_face_endpoint, is_model_name
from trainer_core.models.downloads.remote import Remote, RemoteFile
from trainer_core.models.tokens import find
from trainer_core.text import printable

# The files that a component needs besides its weights: configs, tokenizers and their vocabularies.
_COMPANIONS = (".json", ".txt", ".model", ".jinja")
# Source: diffusers/utils/hub_utils.py, _add_variant, and transformers/utils/hub.py; a variant is before or after the shard number.
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>[a-z0-9_]+))?(?P<shard>-\d{5}-of-\d{5})?"
    r"\.(?P<ending>safetensors|bin)(?P<index>\.index(?:\.(?P<of>[a-z0-9_]+))?\.json)?"
)
_MOST_LISTED = 40


def resolve(link: Link, patience: Patience = BRIEF, cancel: threading.Event | None = None, variant: str = "") -> Remote:
    """The file or the folder that a link to a repository leads to.

    `variant` ("fp16") chooses among the weights of a diffusers folder; "" takes those without a variant, as diffusers does.

    Raises:
        DownloadError: there is none, access is refused, or several files are possible: then `choices` lists them.
    """
    endpoint = hugging_face_endpoint()
    page = f"{endpoint}/{link.repo}"
    commit, files = keep_trying(lambda: listing(link, endpoint, page, patience), patience, cancel)
    url = f"{endpoint}/{link.repo}/resolve/{quote(commit, safe='')}"
    remote = {
        path: RemoteFile(path, f"{url}/{quote(path)}", size, sha256)
        for path, (size, sha256) in files.items()
        if names.safe_path(path)
    }
    folder = link.path
    if link.path in remote:
        if not link.path.endswith(".index.json"):
            return _one(remote[link.path], link, page)
        folder = link.path.rpartition("/")[0]
    inside = _below(remote, folder)
    if not inside:
        raise _no_such_file(link, list(remote))
    if "model_index.json" in inside:
        asked = Asked(inside["model_index.json"].url, link.shown, page, link.token)
        index = get_json(asked, patience, cancel)
        chosen = _pipeline(inside, index if isinstance(index, dict) else {}, variant)
    elif "config.json" in inside and len(weights := _weights(list(inside), variant)) > 1:
        chosen = [path for path in inside if "/" not in path and _is_companion(path)] + weights
    else:
        return _one(_only(inside, link), link, page)
    inner = tuple(replace(inside[path], name=path) for path in sorted(set(chosen)))
    return Remote("huggingface", _title(link, folder), inner, is_folder=True, page=page, token=link.token)


def chosen(
    repo: str,
    files: Sequence[str],
    revision: str = "",
    patience: Patience = BRIEF,
    cancel: threading.Event | None = None,
) -> Remote:
    """These files of a repository, whatever they are; a name with "*" stands for all that fit it, of which there may be none.

    Raises:
        DownloadError: one of them is not there, or access is refused.
    """
    endpoint = hugging_face_endpoint()
    page, link = f"{endpoint}/{repo}", Link("huggingface", repo, repo=repo, revision=revision)
    commit, known = keep_trying(lambda: listing(link, endpoint, page, patience), patience, cancel)
    plain = [name for name in files if "*" not in name]
    if missing := [name for name in plain if name not in known]:
        raise DownloadError(f"{repo} has no file {missing[0]}.", "It may have changed: see its page.", "missing")
    fitting = (name for name in known if any("*" in each and fnmatch.fnmatchcase(name, each) for each in files))
    wanted = dict.fromkeys((*plain, *sorted(fitting)))
    url = f"{endpoint}/{repo}/resolve/{quote(commit, safe='')}"
    listed = tuple(RemoteFile(name, f"{url}/{quote(name)}", *known[name]) for name in wanted)
    return Remote("huggingface", repo.rpartition("/")[2], listed, is_folder=True, page=page)


def listing(
    link: Link, endpoint: str, page: str, patience: Patience, *, of_dataset: bool = False
) -> tuple[str, dict[str, tuple[int | None, str]]]:
    """The commit of a revision, and the size and hash of each file by path, of a model or a dataset; a path may not be safe.

    Raises:
        DownloadError: there is no such repository, or access is refused.
    """
    import httpx2
    from huggingface_hub import errors

    token = link.token or find("huggingface")
    api = hub_interface.opened(endpoint=endpoint, token=False, headers=token.header() if token else None)
    host = httpx2.URL(endpoint).host
    try:
        ask = api.dataset_info if of_dataset else api.model_info
        info = ask(link.repo, revision=link.revision or None, files_metadata=True, timeout=patience.read_s)
    except errors.HfHubHTTPError as error:
        raise refusals.of_status(
            error.response.status_code,
            error.response.headers,
            what=link.shown,
            site="huggingface",
            page=page,
            with_token=token is not None,
        ) from None
    except httpx2.HTTPError as error:
        raise refusals.of_failure(error, host) from None
    except (errors.HFValidationError, ValueError, TypeError, KeyError) as error:
        raise DownloadError(
            f"{host} sent an unexpected response for {link.shown}.", "Try again later.", "content"
        ) from error
    listed = {
        file.rfilename: (file.lfs.size if file.lfs else file.size, file.lfs.sha256 if file.lfs else "")
        for file in info.siblings or ()
    }
    return info.sha or link.revision or "main", listed


def _one(file: RemoteFile, link: Link, page: str) -> Remote:
    """A remote model of one file. A generic file name ("model.safetensors") is replaced by that of the repository."""
    folder, _, name = file.name.rpartition("/")
    if found := _WEIGHTS.fullmatch(name):
        name = f"{_title(link, folder)}.{found['ending']}"
    return Remote("huggingface", name, (replace(file, name=name),), page=page, token=link.token)


def _title(link: Link, folder: str) -> str:
    """The name of a repository, followed by that of the folder in it."""
    return names.safe("-".join([link.repo.rpartition("/")[2], *filter(None, folder.split("/"))]))


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _below(files: Mapping[str, RemoteFile], folder: str) -> dict[str, RemoteFile]:
    prefix = _prefix(folder)
    return {path.removeprefix(prefix): file for path, file in files.items() if path.startswith(prefix)}


def _pipeline(files: Mapping[str, RemoteFile], index: Mapping[str, Any], variant: str) -> list[str]:
    """The files that diffusers loads: for each component its configs and one set of weights."""
    chosen = ["model_index.json"]
    for component, value in index.items():
        if not isinstance(value, list) or len(value) != 2 or value[1] is None:
            continue
        own = [path.removeprefix(f"{component}/") for path in files if path.startswith(f"{component}/")]
        own = [path for path in own if "/" not in path]
        wanted = [path for path in own if _is_companion(path)] + _weights(own, variant)
        chosen += [f"{component}/{path}" for path in wanted]
    return chosen


def _is_companion(path: str) -> bool:
    return path.endswith(_COMPANIONS) and ".index." not in path and "flax" not in path and "openvino" not in path


def _weights(paths: Sequence[str], variant: str) -> list[str]:
    """One set of weights of a component, with its index: safetensors before pickles, no variant before variants."""
    sets: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for path in paths:
        if found := _WEIGHTS.fullmatch(path):
            key = (found["ending"], found["variant"] or found["of"] or "")
            sets.setdefault(key, []).append((path, bool(found["shard"] or found["index"])))
    for ending in ("safetensors", "bin"):
        names = [name for kind, name in sets if kind == ending]
        for name in (variant, "", "fp16", "bf16", *sorted(names)):
            if name in names:
                chosen = sets[ending, name]
                return [path for path, is_split in chosen if is_split] or [chosen[0][0]]
    return []


def _only(files: Mapping[str, RemoteFile], link: Link) -> RemoteFile:
    """The only model file of a repository that is not a diffusers folder."""
    models = [path for path in files if is_model_name(path)]
    for endings in ((".safetensors", ".sft"), (".gguf",), (".ckpt", ".pt", ".pth", ".bin")):
        found = [path for path in models if path.lower().endswith(endings)]
        if len(found) == 1:
            return files[found[0]]
        if found:
            break
    if not models:
        raise DownloadError(f"{link.shown} contains no model file.", "Check the name, or choose another.", "content")
    raise _choice(f"{link.shown} contains several models.", link, models)


def _no_such_file(link: Link, paths: Sequence[str]) -> DownloadError:
    models = [path for path in paths if is_model_name(path)]
    if not models:
        return DownloadError(f"There is no {link.shown}, and no other model there.", "Check the link.", "missing")
    error = _choice(f"There is no {link.shown}.", link, models)
    error.kind = "missing"
    return error


def _choice(message: str, link: Link, models: Sequence[str]) -> DownloadError:
    at = f"@{link.revision}" if link.revision else ""
    prefix = _prefix(link.path) if message.endswith("several models.") else ""
    listed = [printable(f"hf:{link.repo}/{prefix}{path}{at}", 300) for path in sorted(models)[:_MOST_LISTED]]
    return DownloadError(message, "Name one of them: " + ", ".join(listed) + ".", "choice", listed)
