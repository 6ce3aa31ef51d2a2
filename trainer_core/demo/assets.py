"""What the demo trains on: a base model, downloaded if possible and else made, and the tokenizers for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from trainer_core import places
from trainer_core.child import child_environment
from trainer_core.demo import checkpoint, tiny_sdxl, tokenizer
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest, Demo
from trainer_core.errors import InstallError
from trainer_core.install import environments
from trainer_core.install.place import TOKENIZERS
from trainer_core.install.uv import decisive_line, ensure_uv, uv_environment

Report = Callable[[str], None]

# The wheel that contains the vocabulary; only that file is kept, and it is also checked by its own hash.
OPEN_CLIP = "open-clip-torch==3.3.0 --hash=sha256:c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce"
HUB = "https://huggingface.co"
_HUB_S = 4
_FETCH_S = 3600


def demo_of(engine: BackendManifest) -> Demo:
    """What the demo trains on with an engine.

    Raises:
        InstallError: its manifest has no demo.
    """
    if engine.demo is None:
        raise InstallError(f"There is no demo with {engine.title}.", "Choose another engine with --backend.")
    return engine.demo


def make_base(engine: str, report: Report = print) -> Path:
    """A base model with random weights for the engine, made once: its structure is real, but it is not trained."""
    folder = places.models() / "demo"
    merges = vocabulary(folder / "vocabulary")
    if demo_of(manifest.read(engine)).base == "folder":
        model = folder / "tiny-sdxl"
        if not (model / "model_index.json").is_file():
            report("Making a tiny SDXL model with random weights.")
            tiny_sdxl.write(merges, model)
        return model
    tokenizers(merges=merges)
    model = folder / "sd15-random.safetensors"
    if not model.is_file():
        report("Making a checkpoint with the architecture of Stable Diffusion 1.5 and random weights (2.1 GB).")
        checkpoint.write("sd15", model)
    return model


def tokenizers(folder: Path | None = None, merges: Path | None = None) -> Path:
    """The folder of CLIP tokenizers that engines can use without the Hub, filled if necessary; by default where runs look."""
    folder = folder or places.models() / TOKENIZERS
    if not all((folder / name.replace("/", "_") / "vocab.json").is_file() for name in tokenizer.PADDING):
        tokenizer.write_cache(merges or vocabulary(places.models() / "demo" / "vocabulary"), folder)
    return folder


def vocabulary(folder: Path) -> Path:
    """The file of CLIP merges: from the environment of an installed engine, else from the open_clip wheel.

    Raises:
        InstallError: the wheel cannot be downloaded.
    """
    file = folder / tokenizer.VOCABULARY
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    inside = f"*/venv/lib/python*/site-packages/open_clip/{tokenizer.VOCABULARY}"
    present = next(places.engines().glob(inside), None)
    if present is not None:
        shutil.copyfile(present, file)
        return file
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        shutil.move(_fetch_open_clip(Path(scratch)), file)
    return file


def _fetch_open_clip(scratch: Path) -> Path:
    """The vocabulary file of the wheel, unpacked below `scratch` without its dependencies such as torch."""
    (scratch / "wanted.txt").write_text(OPEN_CLIP + "\n", encoding="utf-8")
    command = [str(ensure_uv()), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += [
        "--python",
        sys.executable,
        "--target",
        str(scratch / "wheel"),
        "--requirement",
        str(scratch / "wanted.txt"),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_FETCH_S, env=uv_environment(), check=False
    )
    if done.returncode:
        reason = decisive_line(done.stdout.decode("utf-8", "replace"))
        raise InstallError(
            f"The CLIP vocabulary could not be downloaded: {reason}", "Check the connection to the package registry."
        )
    return scratch / "wheel" / "open_clip" / tokenizer.VOCABULARY


def hub_reachable() -> bool:
    """Whether models can be downloaded now from the Hugging Face Hub, or from the mirror in HF_ENDPOINT."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        address = os.environ.get("HF_ENDPOINT", HUB)
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_HUB_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def download_base(engine: str, report: Report = print) -> Path:
    """A real base model for the engine, downloaded once with the engine's own Hub client.

    Raises:
        InstallError: it cannot be downloaded.
    """
    demo = demo_of(manifest.read(engine))
    repository, is_folder = demo.repository, demo.base == "folder"
    wanted = ["--include", *demo.files] if is_folder else list(demo.files)
    folder = places.models() / "demo" / repository.replace("/", "--")
    model = folder if is_folder else folder / demo.files[0]
    complete = folder / ".complete"
    if not complete.is_file():
        report(f"Fetching {repository} from the Hugging Face Hub.")
        client = environments.engine_home(engine) / "venv" / "bin" / "hf"
        command = [str(client), "download", repository, *wanted, "--local-dir", str(folder)]
        done = subprocess.run(command, timeout=_FETCH_S, env=child_environment(), check=False)
        if done.returncode:
            raise InstallError(
                f"{repository} could not be downloaded.", "Check the connection, or use a checkpoint of your own."
            )
        for file in folder.glob("*/*.fp16.safetensors"):
            # Under these names the engine finds the parts without being given a variant.
            file.rename(file.with_name(file.name.replace(".fp16", "")))
        complete.touch()
    return model
