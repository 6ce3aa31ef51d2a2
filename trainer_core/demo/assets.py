"""What the demo trains on: a base model that is fetched where it can be, else made, and the tokenizers that go with it."""

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

from trainer_core import environments, places
from trainer_core.child import child_environment
from trainer_core.demo import checkpoint, tiny_sdxl, tokenizer
from trainer_core.errors import InstallError
from trainer_core.runs.place import TOKENIZERS
from trainer_core.uv import decisive_line, ensure_uv, uv_environment

Report = Callable[[str], None]

# The wheel that carries the vocabulary; only that one file of it is kept, and checked by its own hash too.
OPEN_CLIP = "open-clip-torch==3.3.0 --hash=sha256:c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce"
HUB = "https://huggingface.co"
_HUB_S = 4
_FETCH_S = 3600

# Real base models by engine: the repository and which of its files. Both may be downloaded without a login.
BASES = {
    "kohya": ("Comfy-Org/stable-diffusion-v1-5-archive", ["v1-5-pruned-emaonly-fp16.safetensors"]),
    "simpletuner": (
        "stabilityai/stable-diffusion-xl-base-1.0",
        ["--include", "model_index.json", "*/*.json", "*/merges.txt", "*/*.fp16.safetensors"],
    ),
}


def make_base(engine: str, report: Report = print) -> Path:
    """A base model of random numbers for the engine, made once: real in its structure, without any knowledge."""
    folder = places.models() / "demo"
    merges = vocabulary(folder / "vocabulary")
    if engine == "simpletuner":
        model = folder / "tiny-sdxl"
        if not (model / "model_index.json").is_file():
            report("Making a tiny SDXL model of random numbers.")
            tiny_sdxl.write(merges, model)
        return model
    tokenizers(merges=merges)
    model = folder / "sd15-random.safetensors"
    if not model.is_file():
        report("Making a checkpoint with the architecture of Stable Diffusion 1.5 and random numbers (2.1 GB).")
        checkpoint.write("sd15", model)
    return model


def tokenizers(folder: Path | None = None, merges: Path | None = None) -> Path:
    """The folder of CLIP tokenizers sd-scripts can use without the Hub, filled when it is not; by default where runs look."""
    folder = folder or places.models() / TOKENIZERS
    if not all((folder / name.replace("/", "_") / "vocab.json").is_file() for name in tokenizer.PADDING):
        tokenizer.write_cache(merges or vocabulary(places.models() / "demo" / "vocabulary"), folder)
    return folder


def vocabulary(folder: Path) -> Path:
    """The file of CLIP merges: from an installed SimpleTuner, else out of the open_clip wheel.

    Raises:
        InstallError: the wheel cannot be fetched.
    """
    file = folder / tokenizer.VOCABULARY
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    installed = environments.engine_home("simpletuner") / "venv"
    at_hand = next(installed.glob(f"lib/python*/site-packages/open_clip/{tokenizer.VOCABULARY}"), None)
    if at_hand is not None:
        shutil.copyfile(at_hand, file)
        return file
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        shutil.move(_fetch_open_clip(Path(scratch)), file)
    return file


def _fetch_open_clip(scratch: Path) -> Path:
    """The vocabulary in an unpacked wheel below `scratch`; its dependencies, torch among them, are left out."""
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
            f"The CLIP vocabulary could not be fetched: {reason}", "Check the connection to the package registry."
        )
    return scratch / "wheel" / "open_clip" / tokenizer.VOCABULARY


def hub_reachable() -> bool:
    """True when models can be downloaded from the Hugging Face Hub, or the mirror in HF_ENDPOINT, now."""
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
    """A real base model for the engine, fetched once with the engine's own Hub client.

    Raises:
        InstallError: it cannot be fetched.
    """
    repository, wanted = BASES[engine]
    folder = places.models() / "demo" / repository.replace("/", "--")
    model = folder / wanted[0] if wanted[0].endswith(".safetensors") else folder
    complete = folder / ".complete"
    if not complete.is_file():
        report(f"Fetching {repository} from the Hugging Face Hub.")
        client = environments.engine_home(engine) / "venv" / "bin" / "hf"
        command = [str(client), "download", repository, *wanted, "--local-dir", str(folder)]
        done = subprocess.run(command, timeout=_FETCH_S, env=child_environment(), check=False)
        if done.returncode:
            raise InstallError(
                f"{repository} could not be fetched.", "Check the connection, or use a checkpoint of your own."
            )
        for file in folder.glob("*/*.fp16.safetensors"):
            # Under these names the parts are found without being told of a variant.
            file.rename(file.with_name(file.name.replace(".fp16", "")))
        complete.touch()
    return model
