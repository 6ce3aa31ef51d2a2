"""A captioner of this machine as a job, with tiny models of random weights that have the interface of the real ones.

What they write has no meaning; the test shows that a model is loaded without code of its folder, asked and read.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from trainer_core.captioning import asking, captioners, checks, local
from trainer_core.child import child_environment
from trainer_core.engines import registry
from trainer_core.install import tool_environments
from trainer_core.install.installed import installed

ROOT = Path(__file__).parents[2]
MODELS = (
    ("joycaption-beta-one", "qwen2-5-vl-7b", "florence-2-base")
    if os.environ.get("EASEL_ALL_CAPTIONERS")
    else ("florence-2-base",)
)
"""One of each class of transformers; by default only one with a small model, because importing torch takes most of the time."""


def python() -> Path:
    """A Python with transformers 5: that of the environment, else of an installed engine. Skips the test if there is none."""
    if tool_environments.installed(captioners.ENVIRONMENT) is not None:
        return tool_environments.interpreter(captioners.ENVIRONMENT)
    for backend in registry.available():
        found = installed(backend.manifest.id)
        if found is not None and list((found.home / "venv" / "lib").glob("python3*/site-packages/transformers-5*")):
            return found.python
    pytest.skip("no environment with transformers 5: easel tools fetch-captioner --model florence-2-base --folder .")
    raise AssertionError


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """A captioner, the folder of its tiny model, and the Python that runs it."""
    program, row = python(), captioners.get(request.param)
    folder = tmp_path_factory.mktemp("model")
    command = [program, ROOT / "tests/support/tiny_captioner.py", row.loader, folder]
    environment = child_environment({"HF_HUB_OFFLINE": "1"})
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return row, folder, program


@pytest.mark.backend
def test_a_local_captioner_is_loaded_asked_and_read(made, tmp_path, monkeypatch):
    row, folder, program = made
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(local.tool_environments, "interpreter", lambda _: program)
    root = tmp_path / "images"
    root.mkdir()
    Image.new("RGB", (90, 60), (200, 30, 30)).save(root / "one.png")
    Image.new("RGBA", (40, 70), (20, 30, 230, 90)).save(root / "two.png")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    # A model that brings code is loaded without it.
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    program_folder = tmp_path / "program"
    program_folder.mkdir()
    monkeypatch.chdir(program_folder)
    lines: list[str] = []
    monkeypatch.setattr(asking.own_program, "report", lines.append)
    wanted = asking.Settings(dataset=str(root), model=row.id, folder=str(folder), text="Write one caption of the image")
    asking.run(wanted)
    found = asking.known(wanted)
    assert set(found) == {"one.png", "two.png"}
    assert all(each.said for each in found.values())
    assert not any(mark in each.said for each in found.values() for mark in ("<image>", "<s>", "</s>", "assistant :"))
    assert any(line.startswith("Not captioned: broken.png") for line in lines)
    assert not (tmp_path / "ran").exists()
    # What is done is not done again.
    lines.clear()
    asking.run(wanted)
    assert "Captioned 2 of 3" in lines


def test_a_captioner_that_is_not_here_is_a_problem_with_a_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    root = tmp_path / "images"
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "a.png")
    found = checks.before_captioning(asking.Settings(dataset=str(root), model="florence-2-base"))
    blocking = [each for each in found if each.severity == "error"]
    assert len(blocking) == 2
    assert all(each.fix.task.command == "easel tools fetch-captioner --model florence-2-base" for each in blocking)
    assert [path.name for path in root.iterdir()] == ["a.png"]
