"""Brings the files that an engine loads from the Hub to where it looks for them. Standard library only.

Tokenizers whose vocabulary comes with packages or with the engine's sources are made from that, without the Hub; the others are
downloaded by their pinned commit. A folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from trainer_core import hub_switch, places
from trainer_core.engines.hub import HubFiles
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install import hub_reach
from trainer_core.install.installed import engine_home

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

Report = Callable[[str], None]

TOKENIZERS = "tokenizers"
"""The folder below the models folder with tokenizers that were made or downloaded for engines."""
LARGEST_BYTES = 64 << 20
_FETCH_S = 60
_WHEEL_S = 600
# The wheel that contains the vocabulary; only that file is kept, and it is also checked by its own hash.
OPEN_CLIP = "open-clip-torch==3.3.0 --hash=sha256:c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce"


def hub_cache() -> Path:
    """The folder where the Hub's own client keeps what it has downloaded.

    Source: huggingface_hub/constants.py; transformers/utils/hub.py.
    """
    for name in ("TRANSFORMERS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if chosen := os.environ.get(name):
            return places.typed(chosen)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return places.typed(str(home)) / "hub"


def missing(
    manifest: BackendManifest, family: str, variant: str = "", *, is_folder: bool = False
) -> tuple[HubFiles, ...]:
    """The files that an engine loads for a family and that it would not find on this machine; `is_folder`: the model is one."""
    claim = manifest.families.get(family)
    rows = (manifest.hub[name] for name in claim.hub_of(variant)) if claim is not None else ()
    return tuple(row for row in rows if not (is_folder and row.single_file) and not is_there(row))


def is_there(row: HubFiles) -> bool:
    """Whether an engine finds these files without the Hub. It takes a folder among the tokenizers as it is, also an incomplete one."""
    own = _own(row)
    if row.place == "tokenizers" and os.path.lexists(own):
        return _has_all(own, row.files)
    commit = _cached_commit(row)
    return bool(commit) and _has_all(_snapshot(row, commit), row.files)


def folder_of(row: HubFiles) -> Path:
    """The folder in which an engine finds these files, or would find them."""
    own = _own(row)
    if row.place == "tokenizers" and (os.path.lexists(own) or not _cached_commit(row)):
        return own
    return _snapshot(row, _cached_commit(row) or row.revision)


def can_make(row: HubFiles, manifest: BackendManifest) -> bool:
    """Whether Easel can make these files without the Hub."""
    if row.made == "t5":
        return _source(row, manifest) is not None
    return row.made == "clip"


def common(manifest: BackendManifest) -> list[HubFiles]:
    """The tokenizers that an installation of the engine brings along."""
    return [row for row in manifest.hub.values() if row.place == "tokenizers" and not row.gated]


def prepare(manifest: BackendManifest, report: Report) -> None:
    """Brings the common tokenizers of an engine to where it looks; what cannot be had is said, and is no failure."""
    rows = [row for row in common(manifest) if not is_there(row)]
    if rows:
        report("Fetching the tokenizers, so that trainings can start without a connection.")
    for row in rows:
        if not can_make(row, manifest) and hub_reach.reach(hub_reach.TRIES_S + 1) != "yes":
            report(f"Without {row.title}: the Hub cannot be reached. The engine downloads it when it first needs it.")
            continue
        try:
            bring(row, manifest, report)
        except InstallError as error:
            report(f"Without {row.title}: {error.message} The engine downloads it when it first needs it.")


def bring_all(
    rows: Iterable[HubFiles], manifest: BackendManifest, report: Report, header: Mapping[str, str] | None = None
) -> None:
    """Brings these files to where the engine looks.

    Raises:
        InstallError: some cannot be had; the others are there.
    """
    failed = []
    for row in rows:
        try:
            bring(row, manifest, report, header)
        except InstallError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def bring(row: HubFiles, manifest: BackendManifest, report: Report, header: Mapping[str, str] | None = None) -> Path:
    """The folder of these files, filled if necessary. `header` has the user's token for a gated repository.

    Raises:
        InstallError: they can neither be made nor downloaded.
    """
    if row.place == "hub":
        # The name "main" leads to the commit that the Hub's client has seen, so the files must be those of that commit.
        commit = _cached_commit(row) or row.revision
        folder = _snapshot(row, commit)
        if not _has_all(folder, row.files):
            report(f"Downloading {row.title} from {hub_reach.endpoint()}.")
            _download(row, commit, folder, header)
            write_whole(_repository(row) / "refs" / "main", commit)
        return folder
    folder = _own(row)
    if _has_all(folder, row.files):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
        fresh = Path(name, "files")
        _fill(row, manifest, fresh, report, header)
        if os.path.lexists(folder):
            folder.rename(Path(name, "old"))
        fresh.rename(folder)
    return folder


def _fill(
    row: HubFiles, manifest: BackendManifest, folder: Path, report: Report, header: Mapping[str, str] | None
) -> None:
    """Makes the files in a new folder, or downloads them."""
    source = _source(row, manifest)
    if row.made == "clip":
        from trainer_core.install import clip_tokenizer

        report(f"Making {row.title} from the vocabulary of open_clip.")
        clip_tokenizer.write(
            vocabulary(places.models() / "demo" / "vocabulary"), folder, row.padding or clip_tokenizer.END
        )
    elif source is not None:
        report(f"Making {row.title} from the sources of {manifest.title}.")
        folder.mkdir()
        shutil.copyfile(source, folder / row.files[0])
        write_whole(folder / "tokenizer_config.json", json.dumps(T5_CONFIG))
    else:
        report(f"Downloading {row.title} from {hub_reach.endpoint()}.")
        _download(row, row.revision, folder, header)


T5_CONFIG = {
    "tokenizer_class": "T5Tokenizer",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "extra_ids": 100,
    "additional_special_tokens": [f"<extra_id_{number}>" for number in range(100)],
    "model_max_length": 512,
}
"""Source: tokenizer_config.json of google/t5-v1_1-xxl; model_max_length as transformers sets it for T5."""


def vocabulary(folder: Path) -> Path:
    """The file of CLIP merges: from the environment of an installed engine, else from the open_clip wheel.

    Raises:
        InstallError: the wheel cannot be downloaded.
    """
    from trainer_core.install import clip_tokenizer

    file = folder / clip_tokenizer.VOCABULARY
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    inside = f"*/venv/lib/python*/site-packages/open_clip/{clip_tokenizer.VOCABULARY}"
    present = next(places.engines().glob(inside), None)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if present is None:
            present = _fetch_open_clip(Path(scratch))
        fresh = Path(scratch, "fresh")
        shutil.copyfile(present, fresh)
        fresh.replace(file)
    return file


def _fetch_open_clip(scratch: Path) -> Path:
    """The vocabulary file of the wheel, unpacked below `scratch` without its dependencies such as torch."""
    from trainer_core.install.clip_tokenizer import VOCABULARY
    from trainer_core.install.uv import decisive_line, ensure_uv, uv_environment

    (scratch / "wanted.txt").write_text(OPEN_CLIP + "\n", encoding="utf-8")
    command = [str(ensure_uv()), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--target", str(scratch / "wheel")]
    command += ["--requirement", str(scratch / "wanted.txt")]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WHEEL_S,
            env=uv_environment(),
            check=False,
        )
        reason = decisive_line(done.stdout.decode("utf-8", "replace")) if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    if reason:
        raise InstallError(
            f"The CLIP vocabulary could not be downloaded: {reason}", "Check the connection to the package registry."
        )
    return scratch / "wheel" / "open_clip" / VOCABULARY


def _download(row: HubFiles, commit: str, folder: Path, header: Mapping[str, str] | None) -> None:
    """Downloads the files of a commit into a folder.

    Raises:
        InstallError: the Hub is switched off, cannot be reached, or does not give them.
    """
    import urllib.error
    import urllib.request

    if hub_switch.is_off():
        message = f"The Hub is switched off (HF_HUB_OFFLINE), and {row.title} can only be had from there."
        raise InstallError(message, "Unset it, or copy the files from a machine that has them.")
    for name in (*row.files, *row.more):
        address = "/".join(filter(None, (hub_reach.endpoint(), row.id, "resolve", commit, row.of, quote(name))))
        request = urllib.request.Request(address)
        for key, value in (header or {}).items():
            # Not sent to the server that the Hub redirects to.
            request.add_unredirected_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=_FETCH_S) as answer:
                data = answer.read(LARGEST_BYTES + 1)
        except urllib.error.HTTPError as error:
            if error.code == 404 and name in row.more:
                continue
            raise InstallError(f"Downloading {row.title}: {_refusal(error.code)}", _advice(row, error.code)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise InstallError(f"Downloading {row.title} failed: {reason}.", "Check the connection.") from error
        if len(data) > LARGEST_BYTES or (
            name == row.files[0] and row.sha256 and hashlib.sha256(data).hexdigest() != row.sha256
        ):
            raise InstallError(f"{name} of {row.id} is not the expected file.", "Try again later.")
        write_whole(folder / name, data)


def _refusal(status: int) -> str:
    return "the Hub asks for a login." if status in (401, 403) else f"the Hub answered with status {status}."


def _advice(row: HubFiles, status: int) -> str:
    if status in (401, 403):
        return f"Accept its licence on {hub_reach.HUB}/{row.id}, and set HF_TOKEN."
    return "Try again later."


def _own(row: HubFiles) -> Path:
    return places.models() / TOKENIZERS / row.folder_name


def _repository(row: HubFiles) -> Path:
    """Its folder in the cache of the Hub. Source: huggingface_hub, the layout of its cache."""
    return hub_cache() / f"models--{row.id.replace('/', '--')}"


def _snapshot(row: HubFiles, commit: str) -> Path:
    return _repository(row) / "snapshots" / commit / row.of


def _cached_commit(row: HubFiles) -> str:
    """The commit that the cache of the Hub has for the name "main"; "" if none."""
    try:
        commit = (_repository(row) / "refs" / "main").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return commit if commit.isalnum() else ""


def _source(row: HubFiles, manifest: BackendManifest) -> Path | None:
    """The file of the engine's own sources that the files are made from; None if it is not there or another one."""
    if not row.source:
        return None
    file = engine_home(manifest.id) / "source" / row.source
    try:
        return file if hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256 else None
    except OSError:
        return None


def _has_all(folder: Path, files: Iterable[str]) -> bool:
    return all((folder / name).is_file() for name in files)
