"""A fix that needs work, such as a copy of a file with other names, is one click: the job runs, then the copy is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import model_forms
from tests.support.page import button, click, markup, on_page, wait_for
from trainer_core.models import detection, header

LABEL = "Make a copy that the engine reads"


@pytest.fixture
def opened(open_app: Any, home: Path) -> Any:
    """The app with a FLUX model and a VAE in the names of diffusers."""
    folder = home / "models"
    folder.mkdir(parents=True)
    values = {
        "model.path": str(model_forms.write("flux", folder)),
        "model.vae": str(model_forms.write("vae-diffusers", folder)),
    }
    app = open_app(values, engine="kohya")
    app.session.show()
    return app


def test_a_click_makes_the_copy_and_uses_it(opened: Any) -> None:
    session, tool = opened.session, opened.launch.problems.tool
    assert "right kind of file, but the engine cannot read this form of it" in markup(opened.root)
    assert not on_page(tool.widget)
    before = session.values["model.vae"]
    click(button(opened.root, LABEL))
    wait_for(lambda: session.values["model.vae"] != before)
    made = Path(session.values["model.vae"])
    assert detection.detect(header.read(made)).layout == "ldm"
    wait_for(lambda: session.message == "The file is used now.")
    wait_for(lambda: "model.vae" not in {problem.path for problem in session.problems})
    assert "Done: the files are there." in markup(tool.widget)
    wait_for(lambda: not on_page(tool.stop))


def test_a_setting_that_was_changed_meanwhile_is_kept(opened: Any, home: Path) -> None:
    session = opened.session
    other = str(model_forms.write("vae-ldm", home))
    click(button(opened.root, LABEL))
    with session.lock:
        session.change({"model.vae": other})
        session.show()
    wait_for(lambda: session.message.startswith("The file is at"))
    assert session.values["model.vae"] == other


def test_a_copy_that_cannot_be_made_says_why(opened: Any, home: Path) -> None:
    (home / "models" / "vae").write_text("a file where the folder should be")
    click(button(opened.root, LABEL))
    wait_for(lambda: "This did not work." in markup(opened.launch.problems.tool.widget))
    wait_for(lambda: not on_page(opened.launch.problems.tool.stop))
    assert opened.session.values["model.vae"].endswith("vae-diffusers.safetensors")
    opened.session.handler(lambda _: opened.kept.start_afresh())()
    assert not on_page(opened.launch.problems.tool.widget), "the form to which the fix belonged is gone"
