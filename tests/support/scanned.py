"""Folders of drawn images for the tests of scans, and the rules of two kinds of engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer_core.datasets import defects
from trainer_core.datasets.rules import DatasetRules
from trainer_core.datasets.scan import Dataset
from trainer_core.problems import Problem

KOHYA = DatasetRules(frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"}), False, "first", borrows_captions=True)
SIMPLETUNER = DatasetRules(KOHYA.extensions | {".gif", ".tif"}, True, "each", recursive=True)


def draw(path: Path, size: tuple[int, int] = (300, 260), mode: str = "RGB", **options: object) -> Path:
    """An image that does not compress well, so that truncating its file removes pixels."""
    noise = np.random.default_rng(len(path.name)).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).resize(size).convert(mode).save(path, **options)
    return path


def captioned(path: Path, text: str = "sks toy") -> Path:
    draw(path)
    path.with_suffix(".txt").write_text(text)
    return path


def problem_of(found: Dataset, key: str) -> Problem | None:
    """The Problem for one defect; None without one."""
    reason = defects.DEFECTS[key].reason
    return next((problem for problem in found.problems if f": {reason}." in problem.message), None)


def draw_rgba(alpha: np.ndarray) -> Image.Image:
    color = np.full((*alpha.shape, 3), 90, np.uint8)
    return Image.fromarray(np.dstack([color, alpha]))


def dataset(root: Path, *names: str, without: tuple[str, ...] = ()) -> None:
    """Images with captions, except those in `without`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (draw if name in without else captioned)(root / name)


def gray(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (300, 260), 255).convert("RGB").save(path)
    return path


def named(found: Dataset) -> list[str]:
    return [image.name for image in found.images]
