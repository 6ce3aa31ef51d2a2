"""What several tests of the core begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.played import fingerprint
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.engines import registry


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Dataset]:
    """A dataset that must be byte for byte what it was, whatever a test does with it."""
    root = tmp_path / "images"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (256, 256), (40 * number, 90, 120)).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"mika, image {number}")
    before = fingerprint(root)
    yield scan(root, registry.get("rehearsal").manifest.dataset, trigger="mika")
    assert fingerprint(root) == before
