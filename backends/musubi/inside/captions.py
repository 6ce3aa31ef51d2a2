"""Runs musubi-tuner's program that encodes captions, unless all of them are encoded: it would load the text encoder for nothing.

    python captions.py --images FOLDER CAPTION_EXTENSION CACHE ... -- PROGRAM ARGUMENT...

For continued runs, which have the cache of the run before. Standard library only. Source: dataset/image_video_dataset.py,
get_text_encoder_output_cache_path: the name of the image, the short name of the model, and _te.safetensors.
"""

from __future__ import annotations

import glob
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

SAID = "All captions are encoded already."


def lacking(images: Path, extension: str, cache: Path) -> Iterator[Path]:
    """The captions of a folder of which the cache has nothing."""
    for caption in images.glob(f"*{glob.escape(extension)}"):
        if not any(cache.glob(f"{glob.escape(caption.stem)}_*_te.safetensors")):
            yield caption


def main(arguments: list[str]) -> None:
    """Ends at once if nothing is lacking; else becomes the program."""
    end = arguments.index("--")
    folders, program = [each for each in arguments[:end] if each != "--images"], arguments[end + 1 :]
    asked = zip(folders[::3], folders[1::3], folders[2::3], strict=True)
    if not any(True for images, extension, cache in asked for _ in lacking(Path(images), extension, Path(cache))):
        print(SAID)
        return
    sys.argv = program
    sys.path[0] = str(Path(program[0]).parent)
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
