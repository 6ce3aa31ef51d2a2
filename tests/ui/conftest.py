"""A home of its own and an app without a page for each test."""

import pytest

from trainer_core.workbench import Workbench
from trainer_ui.apps import LoraTrainer


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


@pytest.fixture
def open_app(home):
    """Opens an app as a cell does, and closes it at the end; its feed is a real thread."""
    opened = []

    def open_one(settings=None, profile="", engine="rehearsal", preset=""):
        app = LoraTrainer(Workbench(engine=engine))
        opened.append(app)
        app.open(settings or {}, profile, preset)
        return app

    yield open_one
    for app in opened:
        app.close()
