"""A path means what its user sees: in a notebook also a path as JupyterLab's file browser copies it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from trainer_core import places
from trainer_core.prepare.workbench import Workbench


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root folder of a Jupyter server, whose notebook is in `root/notebooks`, as a kernel finds it."""
    root = tmp_path / "root"
    for folder in ("notebooks/near", "data/images", "home"):
        (root / folder).mkdir(parents=True)
    (runtime := tmp_path / "runtime").mkdir()
    (runtime / "jpserver-4242.json").write_text(json.dumps({"pid": 4242, "root_dir": str(root)}))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("JPY_PARENT_PID", "4242")
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.chdir(root / "notebooks")
    return root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("near", "notebooks/near"),
        ("data/images", "data/images"),
        ("../data/images", "data/images"),
        ("data/new/folder", "data/new/folder"),
        ("new/folder", "notebooks/new/folder"),
        ("notebooks/near", "notebooks/near"),
        ("~/x", "home/x"),
        (' "data/images" ', "data/images"),
        ("'~/x'", "home/x"),
        ("data/images\n", "data/images"),
        (".", "notebooks"),
    ],
)
def test_a_relative_path_starts_in_the_notebooks_folder_or_the_servers_root(
    notebook: Path, text: str, found: str
) -> None:
    assert os.path.normpath(places.typed(text).absolute()) == str(notebook / found)


def test_a_path_that_was_copied_as_a_link(notebook: Path) -> None:
    assert places.typed(f"file://{notebook}/my%20images") == notebook / "my images"


def test_a_name_with_quotes_stays_if_it_exists(notebook: Path) -> None:
    (notebook / "notebooks" / "'odd'").mkdir()
    assert places.typed("'odd'") == Path("'odd'")


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"root_dir": 3}', '{"root_dir": ""}'])
def test_without_a_valid_record_a_path_starts_in_the_working_folder(notebook: Path, record: str) -> None:
    (notebook.parent / "runtime" / "jpserver-4242.json").write_text(record)
    assert places.typed("data/images") == Path("data/images")


def test_outside_a_notebook(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in ("", "1", "x"):
        monkeypatch.setenv("JPY_PARENT_PID", pid)
        assert places.typed("data/images") == Path("data/images")


def test_a_job_finds_its_files_where_the_user_sees_them(notebook: Path) -> None:
    Image.new("RGB", (64, 64)).save(notebook / "data" / "images" / "a.png")
    bench = Workbench()
    bench.set({"dataset.path": '"data/images"', "output.folder": "data/loras"})
    assert bench.state.draft.values["dataset.path"] == "data/images"
    assert [image.name for image in bench.state.facts.dataset.images] == ["a.png"]
    assert bench.state.facts.at("output.folder", "data/loras").path == str(notebook / "data" / "loras")


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
def test_for_an_image_its_folder_is_offered(notebook: Path, name: str) -> None:
    folder = notebook / "data" / "images"
    Image.new("RGB", (64, 64)).save(folder / "a.png")
    (folder / "a.txt").write_text("a cat")
    bench = Workbench()
    bench.set({"dataset.path": f"data/images/{name}"})
    (problem,) = [each for each in bench.problems if each.path == "dataset.path"]
    assert problem.fix is not None
    bench.set(problem.fix.changes)
    assert len(bench.state.facts.dataset.images) == 1
