"""What several tests of the core begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.ends import ENDS, EVERY, SLOW
from tests.support.played import LIMIT_S, fingerprint, start
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.engines import registry
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training.run import Run


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


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> dict[str, Run]:
    """A run for each way to end, all started at once."""
    found = {}
    for ending in ENDS:
        steps = 4000 if ending == "nan" else 20
        found[ending] = start(
            tmp_path_factory.mktemp(ending), ending=ending, at=10, steps=steps, steps_per_second=SLOW, output=EVERY
        )
    for run in found.values():
        assert run.wait(LIMIT_S) in FINAL_STATES
    return found
