"""What the notebooks say and use on the platforms. Simulated: none of them was run live."""

from __future__ import annotations

import re
from pathlib import Path

import ipywidgets
import pytest

import trainer_ui
from tests.support.page import unfold
from trainer_ui import widgets

OF_7_7 = {
    "HTML", "Box", "Button", "Checkbox", "Dropdown", "FloatProgress", "IntText", "Label", "Layout", "Password", "Text", "Textarea",
    "ToggleButton", "VBox", "Widget",
}  # fmt: skip
"""What the panels use of ipywidgets, all of which is in the 7.7.1 of Colab: there it was made and shown by hand."""


def test_the_panels_use_only_widgets_that_colab_has():
    assert set(widgets.__all__) <= OF_7_7
    assert all(hasattr(ipywidgets, name) for name in OF_7_7)


def test_tooltips_are_set_under_the_name_of_every_version():
    """In ipywidgets 7.7, `tooltip` of a field or list is a plain attribute that nothing shows."""
    sources = Path(trainer_ui.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if re.search(r"\.tooltip = ", path.read_text("utf-8"))]


@pytest.mark.parametrize(
    ("platform", "folder", "said"),
    [
        (
            "colab",
            "",
            "does not survive the end of a session. /content/drive/MyDrive survives if Google Drive is mounted",
        ),
        ("colab", "/content/drive/MyDrive/loras", "Colab: this folder survives the end of a session, if"),
        ("runpod", "/root/out", "RunPod: this folder does not survive"),
        ("local", "", ""),
    ],
)
def test_the_step_output_says_whether_results_survive(open_app, monkeypatch, platform, folder, said):
    monkeypatch.setenv("EASEL_PROVIDER", platform)
    app = open_app({"output.folder": folder})
    unfold(app.output.step)
    app.output.show()
    shown = app.output.survives.value
    assert said in shown if said else "survive" not in shown
