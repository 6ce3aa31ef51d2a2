"""What the demo trains on: a base model, downloaded if possible and else made, and the tokenizers for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from trainer_core import places
from trainer_core.child import ADDRESSES, child_environment
from trainer_core.demo import checkpoint, tiny_sdxl
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest, Demo
from trainer_core.errors import InstallError
from trainer_core.install import clip_tokenizer, environments
from trainer_core.install.hub_files import TOKENIZERS, vocabulary
from trainer_core.models import tokens

Report = Callable[[str], None]

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
    if not all((folder / name.replace("/", "_") / "vocab.json").is_file() for name in clip_tokenizer.PADDING):
        clip_tokenizer.write_cache(merges or vocabulary(places.models() / "demo" / "vocabulary"), folder)
    return folder


def _token() -> dict[str, str]:
    """What the Hub's client may need and finds in no file."""
    names = (*tokens.SITES["huggingface"].names, *ADDRESSES)
    return {name: os.environ[name] for name in names if name in os.environ}


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
        done = subprocess.run(command, timeout=_FETCH_S, env=child_environment(_token()), check=False)
        if done.returncode:
            raise InstallError(
                f"{repository} could not be downloaded.", "Check the connection, or use a checkpoint of your own."
            )
        for file in folder.glob("*/*.fp16.safetensors"):
            # Under these names the engine finds the parts without being given a variant.
            file.rename(file.with_name(file.name.replace(".fp16", "")))
        complete.touch()
    return model
