"""Plans with several image folders, drawn at random from a seed: repeats, captions, resolutions, masks, selections, class images."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image

SIZES = ((64, 48), (300, 280), (80, 300), (256, 256), (640, 200), (200, 640), (333, 500), (512, 128), (97, 103))
TEXTS = ("a cat", "sks, one, two, three", "sks one\nsks two", "{red|blue} house", " late \n\n", "caf\u00e9, 1girl", "")
WORDS = ("mika", "elena woman", "tom", "a_b")
ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".JPG": "JPEG"}


def make(root: Path, seed: int, *, alpha: bool) -> dict[str, Any]:
    """Fills new folders, and returns the settings of a plan with them.

    `alpha`: whether the engine has everything: transparency as masks, choices in captions, and held-out images.
    """
    chance = random.Random(seed)
    values: dict[str, Any] = {
        "dataset.trigger": chance.choice(["sks", "sks", "zwx person"]),
        "dataset.resolution": chance.choice([256, 320, 512]),
        "dataset.repeats": chance.randint(1, 4),
        "dataset.bucketing": chance.random() < 0.85,
        "dataset.caption_extension": chance.choice([".txt", ".txt", ".caption"]),
        "dataset.shuffle_captions": chance.random() < 0.4,
        "schedule.batch_size": chance.choice([1, 1, 2, 3]),
    }
    if values["dataset.shuffle_captions"]:
        values["dataset.keep_tokens"] = chance.randint(0, 2)
    if chance.random() < 0.2:
        return values | _layout(root / "kohya", chance)
    first = root / "first"
    names = _folder(first, chance, values["dataset.caption_extension"])
    values["dataset.path"] = str(first)
    if chance.random() < 0.25:
        values["dataset.selection"] = _selection(first, names, chance)
    if chance.random() < 0.25:
        values["dataset.masks"] = _masks(first, root / "first masks", names, chance)
    if alpha and chance.random() < 0.25:
        values["dataset.validation_share"] = chance.choice([0.1, 0.3, 0.5])
    if chance.random() < 0.25:
        _folder(root / "class", chance, values["dataset.caption_extension"], most=9)
        values |= {"dataset.class_path": str(root / "class"), "dataset.class_caption": "a person"}
        values["dataset.class_repeats"] = chance.randint(1, 3)
    subsets = tuple(_subset(root, number, values, chance, alpha=alpha) for number in range(chance.randint(0, 4)))
    if subsets:
        values["dataset.subsets"] = subsets
    if alpha and chance.random() < 0.2:
        values["native"] = {"kohya": {chance.choice(["alpha_mask", "enable_wildcard"]): True}}
    return values


def _layout(root: Path, chance: random.Random) -> dict[str, Any]:
    """A folder in kohya's layout, whose sub-folders are taken by the fix that the scan offers."""
    for word in chance.sample(WORDS, chance.randint(2, 4)):
        _folder(root / f"{chance.randint(1, 6)}_{word}", chance, ".txt")
    if chance.random() < 0.5:
        _folder(root / f"{chance.randint(1, 3)}_woman", chance, ".txt")
    return {"dataset.path": str(root), "dataset.caption_extension": ".txt"}


def _subset(root: Path, number: int, values: dict[str, Any], chance: random.Random, *, alpha: bool) -> dict[str, Any]:
    name = chance.choice([f"{chance.randint(1, 9)}_{chance.choice(WORDS)}", f"more {number}", f"set[{number}]"])
    folder = root / str(number) / name
    table: dict[str, Any] = {"path": str(folder)}
    if chance.random() < 0.3:
        table["caption_extension"] = chance.choice([".txt", ".tags"])
    names = _folder(folder, chance, table.get("caption_extension", values["dataset.caption_extension"]))
    if chance.random() < 0.25:
        table |= {"kind": "regularisation", "caption": "a person"}
    if chance.random() < 0.6:
        table["repeats"] = chance.randint(1, 5)
    if chance.random() < 0.4:
        table["resolution"] = chance.choice([256, 320, 512])
    if chance.random() < 0.4:
        table["caption"] = chance.choice(WORDS)
    if chance.random() < 0.3:
        table["shuffle_captions"] = chance.random() < 0.5
        table["keep_tokens"] = chance.randint(0, 3)
    if chance.random() < 0.25:
        table["selection"] = _selection(folder, names, chance)
    if alpha and "kind" not in table and chance.random() < 0.2:
        table["validation_share"] = chance.choice([0.0, 0.2, 1.0])
    return table | _masking(root, folder, table, names, chance, number, alpha=alpha)


def _masking(
    root: Path,
    folder: Path,
    given: dict[str, Any],
    names: list[str],
    chance: random.Random,
    number: int,
    *,
    alpha: bool,
) -> dict[str, Any]:
    """How the images of a further folder are masked, and whether the lines of their captions are chosen from."""
    table: dict[str, Any] = {}
    if "kind" not in given and chance.random() < 0.3:
        table["masks"] = _masks(folder, root / f"masks {number}", names, chance)
    elif alpha and chance.random() < 0.3:
        table["alpha_masks"] = chance.random() < 0.7
    if alpha and chance.random() < 0.25:
        table["caption_choices"] = chance.random() < 0.7
    return table


def _folder(root: Path, chance: random.Random, extension: str, most: int = 6) -> list[str]:
    """Fills a folder, and returns the names of its images."""
    root.mkdir(parents=True)
    names = []
    for number in range(chance.randint(1, most)):
        ending = chance.choice([*ENDINGS, ".png"])
        path = root / f"{chance.choice(['img', 'x y', 'cat_2024_01_02', 'a[1]'])}{number}{ending}"
        mode = "RGBA" if ENDINGS[ending] == "PNG" and chance.random() < 0.3 else "RGB"
        color = tuple(chance.randint(0, 255) for _ in mode)
        exif = Image.Exif()
        if ENDINGS[ending] == "JPEG" and chance.random() < 0.2:
            exif[0x0112] = 6
        options = {} if ENDINGS[ending] == "BMP" else {"exif": exif}
        Image.new(mode, chance.choice(SIZES), color).save(path, ENDINGS[ending], **options)
        if (text := chance.choice(TEXTS)) or chance.random() < 0.3:
            path.with_suffix(extension).write_text(text, encoding="utf-8")
        names.append(path.name)
    return names


def _selection(root: Path, names: list[str], chance: random.Random) -> str:
    chosen = [*chance.sample(names, chance.randint(1, len(names))), *chance.choice([[], ["gone.png"]])]
    (root / ".easel").mkdir()
    (root / ".easel" / "selections.json").write_text(json.dumps({"selections": {"best": chosen, "none": []}}))
    return "best"


def _masks(root: Path, folder: Path, names: list[str], chance: random.Random) -> str:
    """The folder of masks, half black and half white, at least one, of images as they are upright."""
    folder.mkdir()
    for name in chance.sample(names, chance.randint(max(1, len(names) - 1), len(names))):
        with Image.open(root / name) as opened:
            size = opened.size[::-1] if opened.getexif().get(0x0112) == 6 else opened.size
        mask = Image.new("L", size, 0)
        mask.paste(255, (0, 0, size[0], size[1] // 2))
        mask.save(folder / f"{Path(name).stem}{chance.choice(['', '-masklabel', '_mask'])}.png")
    return str(folder)
