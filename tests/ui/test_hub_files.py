"""Files that the engine needs of the Hub are fetched by one click, and then the problem is gone."""

import pytest

from tests.support.hub_server import addresses, serving
from tests.support.page import click, markup, on_page, wait_for
from trainer_core import hub_switch
from trainer_core.engines import manifest
from trainer_core.engines.status import EngineStatus
from trainer_core.install import choice, hub_files

KOHYA = manifest.read("kohya")
ROWS = [KOHYA.hub[name] for name in KOHYA.families["hunyuan_image"].hub]


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """kohya counts as installed, and nothing of the Hub is on this machine."""
    for name in (*hub_switch.SWITCHES, "TRANSFORMERS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(choice, "statuses", lambda *_: {"kohya": EngineStatus(installed=True)})


def shown(app):
    """The texts of the problems on the page."""
    return [row.text.value for row in app.launch.problems.rows if on_page(row.widget)]


def test_the_files_are_fetched_by_one_click_and_the_problem_is_gone(open_app, monkeypatch):
    with serving({path: data for row in ROWS for path, data in addresses(row).items()}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        app = open_app({"model.family": "hunyuan_image", "schedule.steps": 5}, engine="kohya")
        wait_for(lambda: "The engine downloads them from the Hugging Face Hub when it starts" in markup(app.root))
        # A row that showed the problem before the answer is hidden now, and not changed.
        rows = [row for row in app.launch.problems.rows if row.is_shown]
        (fetch,) = [row.button for row in rows if row.button.description == "Fetch the files now"]
        click(fetch)
        wait_for(lambda: not hub_files.missing(KOHYA, "hunyuan_image"))
        wait_for(lambda: "Done: the files are there." in markup(app.root))
        wait_for(lambda: not app.session.bench.state.facts.hub.missing)
        wait_for(lambda: not any("Hugging Face Hub" in text for text in shown(app)))


def test_without_a_connection_the_start_is_stopped_once_that_is_known(open_app, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    app = open_app({"model.family": "hunyuan_image", "schedule.steps": 5}, engine="kohya")
    wait_for(lambda: "The Hugging Face Hub cannot be reached, so the training would stop at once." in markup(app.root))
    assert any(one.severity == "error" and "Hub" in one.message for one in app.session.problems)
