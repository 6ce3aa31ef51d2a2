"""The grid of samples without a page: which images it sends, and when."""

from __future__ import annotations

import time
from typing import Any

from tests.support.page import sent_by, wait_for
from trainer_ui.components.sample_grid import Column, Row, SampleGrid


def told(grid: SampleGrid) -> Any:
    """What the page is told of a grid."""
    return grid.content


def ask(grid, **message):
    """What the page sends."""
    grid._handle_custom_msg(message, [])


def test_small_images_come_in_batches_and_only_when_they_are_asked_for(home, tmp_path):
    from PIL import Image

    paths = []
    for number in range(10):
        Image.new("RGB", (400, 300), (number * 20, 90, 90)).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    grid = SampleGrid()
    sent = sent_by(grid)
    grid.show_grid([Row("a")], [Column(n, str(n), {0: path}) for n, path in enumerate(paths)])
    time.sleep(0.05)
    assert sent == []
    version = told(grid)["version"]
    ask(grid, kind="images", version=version, size="small", wanted=list(range(10)))
    wait_for(lambda: sent)
    ((message, buffers),) = sent
    assert [item["index"] for item in message["items"]] == list(range(8))
    assert [item["type"] for item in message["items"]][3] == ""
    assert all(len(buffer) < 20_000 for buffer in buffers)
    ask(grid, kind="images", version=version - 1, size="small", wanted=[9])
    time.sleep(0.1)
    assert len(sent) == 1


def test_a_run_that_grows_keeps_the_numbers_of_its_images_and_another_one_gets_a_new_version(tmp_path):
    grid = SampleGrid()
    first = Column(10, "10", {0: tmp_path / "a"})
    grid.show_grid([Row("p")], [first])
    version = told(grid)["version"]
    grid.show_grid([Row("p")], [first, Column(20, "20", {0: tmp_path / "b"})])
    assert told(grid)["version"] == version
    assert [one["images"] for one in told(grid)["columns"]] == [[0], [1]]
    grid.show_grid([Row("p")], [Column(10, "10", {0: tmp_path / "c"})], anew=True)
    assert told(grid)["version"] == version + 1
