"""A person who never used Easel and has only a keyboard goes the whole way in JupyterLab, with a real engine.

Nothing is clicked, and the browser reaches no network but its own loopback. The engine is installed by the button of the app, once
for this file, from the package cache that the installation for the other tests has filled.
"""

import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from safetensors import safe_open

from tests.support import chat_server
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
STEPS, EVERY = 40, 4
CHART = "document.querySelector('.easel-chart')?.easelSeries.steps.length ?? 0"
SAMPLES = "() => [...document.querySelectorAll('.easel-watch .easel-sg-tile img')].some(one => one.naturalWidth)"

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
        arrived(page, keyboard, "Images" if shipped == "Dataset_Preparation" else "Prepare")
        return book, keyboard

    return open_one


def arrived(page, keyboard, place):
    """Waits until the app is there, shows this place, and has taken the keyboard from the cell below it."""
    page.wait_for_selector(READY)
    expect(page.get_by_role("tab", name=re.compile(f"^{place}"))).to_be_focused()
    assert keyboard.focused()["seen"]


def stands(page, sentence):
    """Waits until the bar that is shown says this; a run that has failed never will."""
    bar = page.locator(".easel-bars:visible :is(.easel-headline, .easel-run)").first
    expect(bar).to_contain_text(re.compile(f"{sentence}|Failed"), timeout=LONG_MS)
    assert "Failed" not in bar.inner_text(), page.locator(".easel-watch").inner_text()


def answer(page, keyboard, person, name, trigger=""):
    """Gives the model, the images, the trigger word and the name."""
    keyboard.enter("Path or link", str(person / "tiny-sdxl"))
    expect(page.get_by_text("tiny-sdxl is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
    keyboard.enter("Folder with images", str(person / "images"))
    expect(page.get_by_text("12 of 12 images have a caption", exact=False)).to_be_visible()
    if trigger:
        keyboard.enter("Trigger word", trigger)
    keyboard.enter("Name$", name)


def enter_all(keyboard, values):
    """Enters numbers, by the names of their fields, in the order of the page."""
    for field, value in values.items():
        keyboard.enter(field, str(value))


def install(page, keyboard):
    """Chooses the engine in the step of the model, and presses the button that installs it."""
    # The model has folded to a line, because the images were chosen after it.
    keyboard.unfold("Model, ", back=True).unfold("Engine: ").choose("Training engine", TITLE)
    expect(page.get_by_text(f"{TITLE} is not installed.", exact=False).first).to_be_visible()
    keyboard.activate(f"Install {TITLE}", back=True)
    expect(page.locator(".easel-install")).to_contain_text(f"Installing {TITLE}: installing packages", timeout=LONG_MS)
    assert keyboard.focused()["app"]
    assert keyboard.focused()["seen"]


def choose_a_profile(page, keyboard):
    """Takes the profile for a character, and makes the training small enough for a CPU."""
    keyboard.tab_to("Character", "radio").press("Space")
    expect(page.get_by_label("Rank", exact=True)).to_have_value("32")
    enter_all(keyboard, {"Steps$": STEPS, "Rank": 4, "Resolution": 64, "Batch size": 1})
    keyboard.unfold("Output, ").enter("Save every", str(EVERY))
    keyboard.unfold("Samples, ").enter(r"Sample every \(", str(EVERY)).unfold("Samples: ")
    enter_all(keyboard, {"Sample width": 64, "Sample height": 64, "Sampler steps": 2})


def fix_a_problem(page, keyboard):
    """Enters a value that cannot be, and presses the button that puts it right."""
    keyboard.enter("Rank", "5000", back=True)
    keyboard.activate(r"Use \d", back=True)
    expect(page.get_by_label("Rank", exact=True)).not_to_have_value("5000")
    assert keyboard.focused()["app"]
    keyboard.enter("Rank", "4")


def start(page, keyboard):
    """Starts the training as soon as the engine is there, before all of its optimizers were tried."""
    stands(page, "Ready")
    assert environments.installed(ENGINE) is not None
    keyboard.activate("Stop the trials", back=True)
    expect(page.locator(".easel-install")).to_contain_text(f"{TITLE} is installed.")
    keyboard.activate("Start training", back=True)
    stands(page, "Starting|Training")
    assert keyboard.focused()["name"].startswith("Watch")


def come_back(book, keyboard, page):
    """Opens the notebook in another tab, restarts its kernel, and runs its cell again; gives the keyboard of that tab."""
    keyboard.press("ControlOrMeta+s")
    book.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    book.page.close()
    book.page, keyboard = page, Keyboard(page)
    book.reopen()
    arrived(page, keyboard, "Watch")
    keyboard.tab_to("Code Cell", back=True).press("0", "0")
    expect(page.locator(".jp-Dialog button.jp-mod-accept")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="run the cell again")).to_be_in_viewport()
    keyboard.press("Shift+Enter")
    expect(page.get_by_role("alert").filter(has_text="run the cell again")).to_be_hidden()
    arrived(page, keyboard, "Watch")
    return keyboard


def stop(page, keyboard):
    """Waits for steps and samples, and stops the run after the question."""
    page.wait_for_function(f"() => ({CHART}) >= {EVERY}", timeout=LONG_MS)
    page.wait_for_selector(".easel-watch .easel-sg-tile", state="attached", timeout=LONG_MS)
    # Images are loaded when they come into sight.
    keyboard.tab_to("blobbert, portrait", "button")
    page.wait_for_function(SAMPLES)
    keyboard.tab_to("Stop:", back=True).press("Enter")
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    keyboard.activate("Stop it now", back=True)
    stands(page, "Stopped at step")
    expect(page.get_by_role("button", name=re.compile("^Resume: goes on"))).to_be_visible(timeout=LONG_MS)


def resume(page, keyboard):
    """Resumes the run after what will happen was shown, and waits for its end."""
    keyboard.go("Watch").activate("Resume")
    expect(page.get_by_role("button", name="Resume it now")).to_be_visible()
    keyboard.activate("Resume it now")
    stands(page, "Finished")


def deliver(page, keyboard, folder, pattern):
    """Copies the chosen result to a folder that the user types; returns the path once it is there, which is when it is whole."""
    keyboard.activate("Copy to a folder")
    expect(page.get_by_role("textbox", name="Folder", exact=True)).to_be_focused()
    keyboard.enter("Folder$", str(folder)).activate("Copy it there")
    until = time.monotonic() + LONG_MS / 1000
    while not (found := [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]):
        assert time.monotonic() < until, list(folder.iterdir())
        page.wait_for_timeout(200)
    return found[0]


def read(file):
    """The tensors and the metadata of a file of weights; none of its values is NaN."""
    with safe_open(file, "numpy") as weights:
        tensors = [weights.get_tensor(key) for key in weights.keys()]  # noqa: SIM118 - it is no dict
        metadata = weights.metadata() or {}
    assert tensors
    assert not any(np.isnan(values).any() for values in tensors)
    return metadata


def accepted():
    """The newest run, which was accepted."""
    run = list_runs(places.runs())[0]
    assert run.state is JobState.COMPLETED, run.result
    assert run.result["acceptance"]["ok"]
    return run


def test_a_lora_by_keyboard_from_no_engine_to_a_file_in_a_chosen_folder(begin, person, page, new_page):
    book, keyboard = begin("LoRA_Trainer")
    expect(page.get_by_text("No training engine is installed yet.", exact=False)).to_be_visible()
    answer(page, keyboard, person, "blob", "blobbert")
    install(page, keyboard)
    choose_a_profile(page, keyboard)
    fix_a_problem(page, keyboard)
    start(page, keyboard)

    # While the engine loads, which takes longer than the training: the tab is closed and the kernel restarted.
    (run,) = list_runs(places.runs())
    page = new_page()
    keyboard = come_back(book, keyboard, page)
    assert run.state is JobState.RUNNING
    stop(page, keyboard)
    keyboard.activate("See the result").activate(f"Choose Step {EVERY}$")
    read(deliver(page, keyboard, person / "loras", rf"blob-step0*{EVERY}\.safetensors"))

    resume(page, keyboard)
    keyboard.activate("See the result")
    expect(page.locator(".easel-results .easel-chosen")).to_contain_text("blob.safetensors")
    metadata = read(deliver(page, keyboard, person / "loras", r"blob\.safetensors"))
    assert (metadata["easel.trigger"], metadata["easel.steps"]) == ("blobbert", str(STEPS))
    assert accepted().result["acceptance"]["rank"] == 4
    assert len(list((person / "images").iterdir())) == 24, "the images are only read"


def test_a_whole_model_by_keyboard_with_the_same_engine(begin, person, page):
    if environments.installed(ENGINE) is None:
        environments.install(ENGINE, tried=False, report=str)
    _, keyboard = begin("Finetuning_Trainer")
    answer(page, keyboard, person, "whole")
    keyboard.activate("Full finetuning", back=True)
    expect(page.get_by_role("button", name=re.compile("^Full finetuning"))).to_have_class(re.compile("mod-active"))
    enter_all(keyboard, {"Steps$": 4, "Resolution": 64, "Batch size": 1})
    keyboard.unfold("Output, ").enter("Save every", "0")
    # The profile warms up for longer than these few steps.
    keyboard.activate("Warm up over", back=True)
    stands(page, "Ready")
    keyboard.activate("Start training", back=True)
    stands(page, "Finished")
    keyboard.activate("See the result")
    expect(page.locator(".easel-results .easel-chosen")).to_contain_text("whole")
    model = deliver(page, keyboard, person / "loras", "whole.*")
    accepted()
    for part in [model] if model.is_file() else model.rglob("*.safetensors"):
        read(part)
    assert model.is_file() or (model / "model_index.json").is_file()


def photographed(folder):
    """Sixty images, of which the first six have no caption."""
    folder.mkdir()
    for number in range(60):
        image = Image.effect_noise((64, 48), 30 + number).convert("RGB").resize((256, 192 + 64 * (number % 2)))
        image.save(folder / f"photo{number:02}.jpg")
        if number >= 6:
            (folder / f"photo{number:02}.txt").write_text(f"a harbour, boat {number}")
    return folder


def test_a_dataset_is_brought_in_captioned_mended_and_trained_by_the_engine(begin, person, page, own):
    """Sixty images with captions, some without: seen, captioned by a server as a job, changed at once, taken back, trained."""
    if environments.installed(ENGINE) is None:
        environments.install(ENGINE, tried=False, report=str)
    photos = photographed(person / "photos")
    begin("Dataset_Preparation")
    page.locator(".easel-drop input[type=file]").first.set_input_files(sorted(photos.iterdir()))
    expect(page.locator(".easel-figures:visible")).to_contain_text("54")
    root = own / "datasets" / "my images"
    before = {path.name: path.read_bytes() for path in root.glob("*.txt")}
    with chat_server.running() as server:
        page.get_by_role("tab", name="Tagging").click()
        page.get_by_role("radio", name="A server").click()
        for field, text in (("Address of the server", server.url), ("Model of the server", chat_server.MODEL)):
            page.get_by_label(field, exact=True).fill(text)
            page.get_by_label(field, exact=True).press("Enter")
        page.get_by_role("button", name="Another question").click()
        page.get_by_label("Another question", exact=True).fill(chat_server.QUESTION)
        page.get_by_label("Another question", exact=True).press("Tab")
        page.get_by_role("button", name="Start", exact=True).click()
        page.get_by_role("button", name="Write 6 captions").click()
        expect(page.locator(".easel-figures:visible")).to_contain_text("60")
    assert {name: data for name in before if (data := (root / name).read_bytes())} == before, "a person's stay"
    page.get_by_role("tab", name="Captions").click()
    page.get_by_label("Trigger word", exact=True).locator("visible=true").fill("inkwash")
    page.get_by_label("Trigger word", exact=True).locator("visible=true").press("Enter")
    page.get_by_role("button", name="Change 60 captions").click()
    expect(page.get_by_role("button", name="Change the captions")).to_be_disabled()
    assert all(path.read_text().startswith("inkwash") for path in root.glob("*.txt"))
    undo = page.locator(".easel-bars:visible").get_by_role("button", name="Undo")
    undo.click()
    expect(page.get_by_role("button", name="Change 60 captions")).to_be_enabled()
    assert {path.name: path.read_bytes() for path in root.glob("*.txt") if path.name in before} == before

    _, keyboard = begin("LoRA_Trainer")
    # The form of the training before comes back.
    if page.get_by_role("button", name="Start afresh").is_visible():
        page.get_by_role("button", name="Start afresh").click()
    keyboard.enter("Path or link", str(person / "tiny-sdxl"))
    page.get_by_label("Your datasets", exact=True).select_option(label="my images (60 images, 60 captions)")
    expect(page.get_by_text("60 of 60 images have a caption", exact=False)).to_be_visible()
    keyboard.enter("Name$", "from_the_dataset")
    enter_all(keyboard, {"Steps$": 4, "Resolution": 64, "Batch size": 1})
    stands(page, "Ready")
    keyboard.activate("Start training", back=True)
    stands(page, "Finished")
    accepted()
