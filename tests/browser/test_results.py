"""Results in JupyterLab: the grid by keyboard, a large image, the best, a download of 60 MB, themes and widths."""

import contextlib
import hashlib
import os
import re

from playwright.sync_api import TimeoutError, expect  # noqa: A004

from tests.support.looks import OVERFLOW, WEAK
from tests.support.page import prepare
from tests.support.pages import go
from tests.support.sampled import add_samples, add_validation
from trainer_core.prepare.workbench import Workbench

READY = ".easel[data-easel-keys=kept]"
IN_APP = "() => document.activeElement !== document.body && Boolean(document.activeElement.closest('.easel'))"
WIDTHS = (1600, 1280, 700, 390)
THEMES = ("Light", "Dark", "Minimal", "Cyberpunk")
SEEN = """() => { const all = [...document.querySelectorAll('.easel-compare .easel-sg-grid .easel-sg-tile img')];
  return all.length >= 9 && all.every(image => image.naturalWidth > 0); }"""
LARGE = 60_000_000


def finished(home):
    """A run with checkpoints and samples at four steps, and a ComfyUI beside it."""
    bench = Workbench(engine="rehearsal")
    bench.set({**prepare(home, 40, steps_per_second=0), "output.save_every_steps": 10, "sampling.every_steps": 0})
    run = bench.start()
    run.wait(120)
    add_samples(run, (0, 10, 20, 40), prompts=3)
    add_validation(run, {10: 0.3, 20: 0.1, 40: 0.2})
    return run


def test_checkpoints_are_compared_chosen_and_taken_in_every_theme_and_width(notebook, page, home):
    finished(home)
    comfy = home / "ComfyUI"
    (comfy / "models").mkdir(parents=True)
    notebook(prepare(home), COMFYUI_PATH=str(comfy)).run()
    page.wait_for_selector(READY)
    go(page, "Results")
    page.wait_for_function(SEEN)

    # The keyboard: one tile is in the Tab order, arrows move, Enter opens, Escape closes and gives the keyboard back.
    tiles = page.locator(".easel-compare .easel-sg-tile")
    assert page.locator('.easel-compare .easel-sg-tile[tabindex="0"]').count() == 1
    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("Step 10$"))
    page.keyboard.press("Enter")
    big = page.locator(".easel-compare .easel-sg-big")
    expect(big.locator("b")).to_have_text("Step 10")
    page.wait_for_function("() => document.querySelector('.easel-compare .easel-sg-big img').naturalWidth > 192")
    page.locator(".easel-compare .easel-sg-slider").focus()
    page.keyboard.press("ArrowRight")
    expect(big.locator("b")).to_have_text("Step 20")
    page.keyboard.press("Escape")
    expect(big).to_be_hidden()
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("Step 20$"))
    for key in ("d", "d", "b", "x"):
        page.keyboard.press(key)
    assert page.evaluate("() => document.querySelectorAll('.jp-Notebook .jp-Cell').length") == 2

    # The best, and its delivery.
    star = page.get_by_role("button", name="Mark Step 20 as your best")
    star.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Step 20 is your best: take the mark away")).to_be_focused()
    expect(page.locator(".easel-figures:visible")).to_contain_text("step 20")
    page.get_by_role("button", name="Copy best to ComfyUI").click()
    expect(page.locator(".easel-message:visible")).to_contain_text("Copied to ComfyUI")
    assert [path.name for path in (comfy / "models" / "loras").iterdir()] == ["trial-step00000020.safetensors"]
    page.wait_for_function(IN_APP)

    # Two with a slider.
    page.get_by_role("button", name="Two with a slider").click()
    expect(page.locator(".easel-compare .easel-sg-stage img").first).to_be_visible()
    page.locator(".easel-compare").get_by_label("Left checkpoint").select_option("10")
    expect(page.locator(".easel-compare .easel-sg-tag").first).to_have_text("Step 10")
    page.locator(".easel-compare").get_by_role("button", name="Grid", exact=True).click()

    # Every theme, and every width.
    for theme in THEMES:
        page.get_by_label("Theme", exact=True).select_option(theme)
        page.wait_for_selector(f".easel-theme-{theme.lower()}")
        # The colours of a button change within a moment.
        with contextlib.suppress(TimeoutError):
            page.wait_for_function(f"() => ({WEAK})().length === 0", timeout=8000)
        assert page.evaluate(WEAK) == [], theme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        with contextlib.suppress(TimeoutError):
            page.wait_for_function(f"() => ({OVERFLOW})().length === 0", timeout=8000)
        assert page.evaluate(OVERFLOW) == [], width


def test_a_file_of_60_mb_is_downloaded_in_pieces(notebook, page, home):
    """The file is larger than a message of Jupyter may be."""
    run = finished(home)
    notebook(prepare(home)).run()
    page.wait_for_selector(READY)
    go(page, "Results")
    page.wait_for_function(SEEN)
    page.locator(".easel-compare .easel-sg-tile").first.click()
    final = run.folder.output / "trial.safetensors"
    page.get_by_role("button", name="Choose Step 40").click()
    large = os.urandom(LARGE)
    (made,) = (run.folder.path / "finished").glob("*-trial.safetensors")
    made.write_bytes(large)
    assert final.is_file()
    with page.expect_download() as found:
        page.locator(".easel-chosen .easel-deliver-download").click()
    taken = found.value
    assert taken.suggested_filename == "trial.safetensors"
    assert hashlib.sha256(taken.path().read_bytes()).digest() == hashlib.sha256(large).digest()
    expect(page.get_by_text("Downloaded trial.safetensors, 60 MB", exact=False)).to_be_visible()


def test_on_a_narrow_page_watch_shows_one_prompt_with_a_strip_of_steps(notebook, page, home):
    finished(home)
    page.set_viewport_size({"width": 390, "height": 844})
    notebook(prepare(home)).run()
    page.wait_for_selector(READY)
    go(page, "History")
    page.locator(".easel-runs-row").first.press("Enter")
    page.locator(".easel-past-run").get_by_role("button", name=re.compile("^Watch")).click()
    view = page.locator(".easel-sample-view:visible")
    expect(view.get_by_label("Prompt of the samples")).to_have_value("0")
    strip = view.locator(".easel-sg-strip .easel-sg-tile")
    expect(strip).to_have_count(4)
    expect(view.locator(".easel-sg-step b")).to_have_text("Step 40")
    strip.first.click()
    expect(view.locator(".easel-sg-step b")).to_have_text("before")
    view.get_by_label("Prompt of the samples").select_option("2")
    expect(view.locator(".easel-sg-prompt")).to_have_text("Prompt 3")
    expect(view.locator(".easel-sg-scroll")).to_be_hidden()
