"""Each test has its own home, and can open an app without a page."""

import pytest

from tests.support import recorded_headers
from tests.support.misbehaving import running
from trainer_core import hub_switch
from trainer_core.models import tokens
from trainer_core.prepare.workbench import Workbench
from trainer_ui.apps.lora_trainer import LoraTrainer


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


@pytest.fixture
def opening(home):
    """Opens an app of any kind as a cell does, and closes it at the end; its feed is a real thread."""
    opened = []

    def open_one(kind, *arguments):
        app = kind(*arguments)
        opened.append(app)
        app.open()
        return app

    yield open_one
    for app in opened:
        app.close()


@pytest.fixture
def open_app(opening):
    """Opens the LoRA trainer."""

    def open_one(settings=None, profile="", engine="rehearsal", preset=""):
        return opening(LoraTrainer, Workbench(engine=engine), settings, profile, preset)

    return open_one


@pytest.fixture
def hub(monkeypatch):
    """A local Hugging Face hub, and neither token nor switch of the person who runs the tests."""
    for name in (*tokens.SITES["huggingface"].names, *hub_switch.SWITCHES):
        monkeypatch.delenv(name, raising=False)
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    tokens.forget("huggingface")


@pytest.fixture
def tiny(tmp_path):
    """The files of a small SDXL, by their names in its repository."""
    root = recorded_headers.write("folder-sdxl-tiny", tmp_path)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
