"""A person who never used Easel and has only a keyboard goes the whole way in JupyterLab, with a real engine.

Nothing is clicked, and the browser reaches no network but its own loopback. The engine is installed by the button of the app, once
for this file, from the package cache that the installation for the other tests has filled.
"""

import re
import shutil

import pytest
from playwright.sync_api import expect
from safetensors import safe_open

from tests.support.keyboard import Keyboard
from trainer_core import places
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.install import environments, uv
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.run import list_runs

ENGINE, TITLE = "simpletuner", "SimpleTuner"
READY = ".easel[data-easel-keys=kept]"
LONG_MS = 600_000
"""For what an engine does: a busy machine needs minutes where an idle one needs seconds."""
STEPS, EVERY = 100, 5

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The home of Easel for both trainings. It is removed, because an engine is large."""
    if environments.installed(ENGINE) is None:
        pytest.skip(
            f"{ENGINE} is not installed here (python installer.py backend install {ENGINE}), so it may be out of reach"
        )
    folder = tmp_path_factory.mktemp("journey") / "easel"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(own, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(own))
    yield own
    for run in list_runs(places.runs()):
        if run.state not in FINAL_STATES:
            run.stop(grace_s=1)


@pytest.fixture
def person(tmp_path, home, monkeypatch):
    """The person's own folder: a base model, images with captions, and a folder for the results."""
    folder = tmp_path / "person"
    (folder / "loras").mkdir(parents=True)
    draw_dataset(folder / "images")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("EASEL_HOME", str(tmp_path / "made"))
        shutil.copytree(assets.make_base(ENGINE, report=str), folder / "tiny-sdxl")
    return folder


@pytest.fixture
def begin(notebook, page, person):
    """Opens a notebook, runs its cell with Shift+Enter, and gives the keyboard, which the app has now."""

    def open_one(shipped):
        cache = str(uv.cache_folder(uv.ensure_uv(str)))
        book = notebook(shipped=shipped, HOME=str(person), UV_CACHE_DIR=cache, EASEL_ENGINE="")
        keyboard = Keyboard(page)
        keyboard.press("Shift+Enter", "Shift+Enter")
        arrived(page, keyboard, "Prepare")
        return book, keyboard

    return open_one


def arrived(page, keyboard, place):
    """Waits until the app is there, shows this place, and has taken the keyboard from the cell below it."""
    page.wait_for_selector(READY)
    expect(page.get_by_role("tab", name=re.compile(f"^{place}"))).to_be_focused()
    assert keyboard.focused()["seen"]


def stands(page, sentence, limit_ms=LONG_MS):
    """Waits until the bar that is shown says this."""
    bar = page.locator(".easel-bars:visible :is(.easel-headline, .easel-run)").first
    expect(bar).to_contain_text(re.compile(sentence), timeout=limit_ms)


def install(page, keyboard):
    """Chooses the engine in the step of the model, and installs it by its button."""
    keyboard.unfold("Engine: ", back=True).choose("Training engine", TITLE)
    expect(page.get_by_text(f"{TITLE} is not installed.", exact=False).first).to_be_visible()
    keyboard.activate(f"Install {TITLE}", back=True)
    told = page.locator(".easel-install")
    expect(told).to_contain_text(f"Installing {TITLE}: installing packages")
    expect(page.get_by_role("button", name="Stop the installation")).to_be_focused()


def answer(page, keyboard, person, name, **more):
    """Answers the questions; `more` are further settings, by the names of their fields."""
    keyboard.enter("Path or link", str(person / "tiny-sdxl"))
    expect(page.get_by_text("tiny-sdxl is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
    keyboard.enter("Folder with images", str(person / "images"))
    expect(page.get_by_text("12 of 12 images have a caption", exact=False)).to_be_visible()
    for field, value in more.items():
        keyboard.enter(field.replace("_", " "), value)
    keyboard.enter("Name$", name)


def result_of(file):
    """The tensors and the metadata of a file of weights, read as a whole."""
    with safe_open(file, "numpy") as weights:
        return {key: weights.get_tensor(key) for key in weights.keys()}, weights.metadata() or {}  # noqa: SIM118 - not a dict


def deliver(page, keyboard, folder):
    """Copies the chosen result to a folder that the user types, and waits until the app says where it is."""
    keyboard.tab_to("Copy to a folder").press("Enter")
    expect(page.get_by_role("textbox", name="Folder", exact=True)).to_be_focused()
    keyboard.press("ControlOrMeta+a")
    page.keyboard.type(str(folder))
    keyboard.press("Enter").activate("Copy it there")
    expect(page.locator(".easel-message:visible")).to_contain_text(re.compile("Copied to|already"), timeout=LONG_MS)


def test_a_lora_by_keyboard_from_no_engine_to_a_file_in_a_chosen_folder(begin, person, home, page, new_page):
    book, keyboard = begin("LoRA_Trainer")
    expect(page.get_by_text("No training engine yet.", exact=False)).to_be_visible()
    answer(page, keyboard, person, "blob", Trigger_word="blobbert")
    install(page, keyboard)

    # The other questions are answered while the engine is being installed.
    keyboard.tab_to("Character", "radio").press("Space")
    stands(page, "The engine is being installed|Ready")
    expect(page.get_by_label("Rank", exact=True)).to_have_value("32")
    for field, value in {"Steps$": STEPS, "Rank": 4, "Resolution": 64, "Batch size": 1, "Save every": EVERY}.items():
        keyboard.enter(field, str(value))
    keyboard.unfold("Samples, ").enter(r"Sample every \(", str(EVERY)).unfold("Samples: ")
    for field, value in {"Sample width": 64, "Sample height": 64, "Sampler steps": 2}.items():
        keyboard.enter(field, str(value))

    # A value that cannot be, and the button that puts it right.
    keyboard.enter("Rank", "5000", back=True)
    keyboard.activate("Use ", back=True)
    expect(page.get_by_label("Rank", exact=True)).not_to_have_value("5000")
    assert keyboard.focused()["app"]
    keyboard.enter("Rank", "4")

    # The engine can be used before every optimizer was tried.
    stands(page, "Ready")
    assert environments.installed(ENGINE) is not None
    keyboard.activate("Start training", back=True)
    stands(page, "Starting|Training")
    assert keyboard.focused()["name"].startswith("Watch")
    page.wait_for_function(
        "() => document.querySelector('.easel-chart')?.easelSeries.steps.length >= 5", timeout=LONG_MS
    )
    (run,) = list_runs(places.runs())

    # The tab is closed and the kernel restarted: the run is there again.
    keyboard.press("ControlOrMeta+s")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.close()
    page = book.page = new_page()
    keyboard = Keyboard(page)
    book.reopen()
    arrived(page, keyboard, "Watch")
    keyboard.tab_to("Code Cell", back=True).press("0", "0")
    expect(page.locator(".jp-Dialog button.jp-mod-accept")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="run the cell again")).to_be_in_viewport()
    keyboard.press("Shift+Enter")
    arrived(page, keyboard, "Watch")
    stands(page, "Training|Stopped|Finished")
    assert run.state is JobState.RUNNING

    # Samples are there. The run is stopped; one of its checkpoints is taken.
    page.wait_for_function(
        "() => [...document.querySelectorAll('.easel-watch .easel-sg-tile img')].some(one => one.naturalWidth)",
        timeout=LONG_MS,
    )
    keyboard.tab_to("Stop:").press("Enter")
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    keyboard.activate("Stop it now", back=True)
    stands(page, "Stopped at step")
    expect(page.get_by_role("button", name=re.compile("^Resume: goes on"))).to_be_visible(timeout=LONG_MS)
    keyboard.activate("See the result")
    keyboard.activate(f"Choose Step {EVERY}$")
    deliver(page, keyboard, person / "loras")
    (taken,) = (person / "loras").iterdir()
    assert re.fullmatch(rf"blob-step0*{EVERY}\.safetensors", taken.name)
    assert result_of(taken)[0]

    # It is resumed, ends, and its LoRA is delivered.
    keyboard.go("Watch").activate("Resume")
    expect(page.get_by_role("button", name="Resume it now")).to_be_visible()
    keyboard.activate("Resume it now")
    stands(page, "Finished")
    keyboard.activate("See the result")
    expect(page.locator(".easel-results .easel-chosen")).to_contain_text("blob.safetensors")
    deliver(page, keyboard, person / "loras")
    tensors, metadata = result_of(person / "loras" / "blob.safetensors")
    assert all((values == values).all() for values in tensors.values()), "no value is NaN"  # noqa: PLR0124
    assert metadata["ss_network_dim"] == "4"
    resumed = list_runs(places.runs())[0]
    assert resumed.state is JobState.COMPLETED
    assert resumed.result["acceptance"]["ok"]
    assert len(list((person / "images").iterdir())) == 24, "the images are only read"


def test_a_whole_model_by_keyboard_with_the_same_engine(begin, person, home, page):
    if environments.installed(ENGINE) is None:
        environments.install(ENGINE, tried=False, report=str)
    _, keyboard = begin("Finetuning_Trainer")
    answer(page, keyboard, person, "whole")
    keyboard.activate("Full finetuning", back=True)
    for field, value in {"Steps$": 4, "Resolution": 64, "Batch size": 1, "Save every": 0}.items():
        keyboard.enter(field, str(value))
    stands(page, "Ready")
    keyboard.activate("Start training", back=True)
    stands(page, "Finished")
    keyboard.activate("See the result")
    expect(page.locator(".easel-results .easel-chosen")).to_contain_text("whole")
    run = list_runs(places.runs())[0]
    assert run.state is JobState.COMPLETED
    assert run.result["acceptance"]["ok"]
    deliver(page, keyboard, person / "loras")
    (model,) = (person / "loras").iterdir()
    parts = [model] if model.is_file() else sorted(model.rglob("*.safetensors"))
    assert parts
    assert all(result_of(part)[0] for part in parts)
