"""Lists the images of a folder with their captions and control images, for musubi-tuner. Standard library only.

    python pairs.py TARGET.jsonl CAPTION_EXTENSION IMAGES CONTROLS CONTROLS...

Run by the engine's own Python as the first command of a job. Each control image has the name of its image, in a folder of its own.
Source: dataset/datasources.py, ImageJsonlDatasource.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path


def rows(extension: str, images: Path, controls: list[Path]) -> Iterator[dict[str, str]]:
    """One row for each image that all the folders of control images have by name."""
    for image in sorted(images.iterdir()):
        caption = image.with_name(f"{image.stem}{extension}")
        shown = [folder / image.name for folder in controls]
        if caption != image and caption.is_file() and all(each.is_file() for each in shown):
            paths = {f"control_path_{number}": str(each) for number, each in enumerate(shown)}
            yield {"image_path": str(image), "caption": caption.read_text("utf-8").strip(), **paths}


def main(target: str, extension: str, images: str, *controls: str) -> None:
    """Writes the list and says how many pairs it has."""
    found = list(rows(extension, Path(images), [Path(each) for each in controls]))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    Path(target).write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(found)} images with {len(controls)} control images each")


if __name__ == "__main__":
    main(*sys.argv[1:])
