"""The page around the places in JupyterLab: settled steps fold, what blocks is filled, the guide opens, a low window keeps its room."""

import re
import time

from playwright.sync_api import expect

from tests.support.page import prepare
from tests.support.pages import fill, step, unfold

READY = ".easel[data-easel-keys=kept]"
COVERED = "() => parseFloat(getComputedStyle(document.querySelector('.easel')).getPropertyValue('--easel-covered'))"
COLOUR = "(node) => getComputedStyle(node).backgroundColor"
FOCUSED = "() => document.activeElement.closest('.easel') !== null && document.activeElement.checkVisibility()"
DRAWN_AGAIN = """(node) => {
  const again = node.cloneNode(true);
  again.addEventListener('click', () => { document.body.dataset.pressed = Number(document.body.dataset.pressed ?? 0) + 1; });
  node.replaceWith(again);
}"""


def test_settled_steps_fold_and_the_keyboard_is_never_lost(notebook, page, home):
    settings = prepare(home)
    notebook({"model.path": settings["model.path"]}).run()
    page.wait_for_selector(READY)
    model = step(page, "Model")
    unfold(page, "Model")
    fill(page, "Folder with images and captions", settings["dataset.path"])
    expect(model).to_have_attribute("aria-expanded", "true")
    fill(page, "Path or link", str(home / "models" / "none.safetensors"))
    expect(model).to_contain_text("has a problem")
    fill(page, "Path or link", settings["model.path"])
    expect(model).to_contain_text("Stable Diffusion 1.5")
    fill(page, "Trigger word", "ohwx")
    expect(model).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_label("Trigger word", exact=True)).to_be_focused()
    fill(page, "Name", "trial")
    change = page.get_by_role("button", name="Change the folder")
    expect(change).to_be_visible()
    expect(page.get_by_label("Folder with images and captions", exact=True)).to_be_hidden()
    change.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Folder with images and captions", exact=True)).to_be_visible()
    page.wait_for_function(FOCUSED)
    model.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Path or link", exact=True)).to_be_visible()
    expect(model).to_be_focused()


def test_a_press_counts_although_the_page_grows_before_the_release(notebook, page, home):
    notebook(prepare(home)).run()
    group = page.get_by_role("button", name="Optimizer:")
    group.scroll_into_view_if_needed()
    box = group.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    page.mouse.down()
    grow = "group => { const more = document.createElement('div'); more.style.height = '200px'; group.parentElement.before(more); }"
    group.evaluate(grow)
    page.mouse.up()
    expect(group).to_have_attribute("aria-expanded", "true")
    # One that was drawn again before the release is pressed, too.
    other = page.get_by_role("button", name="Schedule:")
    other.scroll_into_view_if_needed()
    box = other.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    page.mouse.down()
    other.evaluate(DRAWN_AGAIN)
    page.mouse.up()
    assert page.evaluate("() => document.body.dataset.pressed") == "1"
    # One that the mouse was dragged away from is no press.
    box = group.bounding_box()
    page.mouse.move(box["x"] + 40, group.bounding_box()["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, 5)
    page.mouse.up()
    page.wait_for_timeout(500)
    expect(group).to_have_attribute("aria-expanded", "true")


def test_what_blocks_is_filled_and_a_low_window_keeps_only_the_bar_in_sight(notebook, page, home):
    notebook(prepare(home) | {"network.rank": 5000, "network.alpha": -1.0}, "sd15-character").run()
    page.wait_for_selector(READY)
    start = page.get_by_role("button", name="Start training")
    expect(start).to_have_attribute("aria-disabled", "true")
    expect(start).to_have_text(re.compile("3 things stop it"))
    filled = page.locator(".easel-top .jupyter-button.mod-primary:visible")
    expect(filled).to_have_count(1)
    expect(filled).to_have_text(re.compile("^Use "))
    high = page.evaluate(COVERED)
    page.set_viewport_size({"width": 1280, "height": 600})
    page.wait_for_function(f"({COVERED})() < 90")
    assert high > 180
    page.evaluate("() => document.querySelector('.easel .easel-step:last-child').scrollIntoView({block: 'end'})")
    expect(start).to_be_in_viewport()
    expect(page.get_by_role("tab", name="Prepare")).not_to_be_in_viewport()
    start.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Not started. 3 things stop it.")).to_be_in_viewport()
    page.set_viewport_size({"width": 1360, "height": 900})
    while filled.count() and start.get_attribute("aria-disabled") == "true":
        filled.first.click()
        page.wait_for_timeout(500)
    expect(start).to_have_attribute("aria-disabled", "false")
    expect(start).to_have_class(re.compile("mod-primary"))


def test_the_guide_is_used_by_keyboard_without_a_connection(notebook, page, home):
    notebook(prepare(home)).run()
    page.wait_for_selector(READY)
    page.get_by_role("tab", name="History").click()
    help_ = page.get_by_role("button", name="?: the guide about History")
    help_.focus()
    page.keyboard.press("Enter")
    guide = page.get_by_role("dialog", name="Guide")
    expect(guide.locator(".easel-guide-body")).to_be_focused()
    expect(guide.get_by_role("heading", name="History", exact=True)).to_be_in_viewport()
    guide.get_by_label("Page of the guide").select_option("When something fails")
    expect(guide.get_by_role("heading", name="When something fails")).to_be_in_viewport()
    link = guide.get_by_role("button", name="the LoRA trainer").first
    link.focus()
    page.keyboard.press("Enter")
    expect(guide.get_by_role("heading", name="Prepare", exact=True)).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(guide).to_be_hidden()
    expect(help_).to_be_focused()


def test_what_is_typed_is_kept_before_the_field_is_left_and_a_lost_kernel_leaves_no_button_to_press(
    notebook, page, home
):
    book = notebook(prepare(home))
    book.run()
    page.wait_for_selector(READY)
    unfold(page, "Dataset")
    word = page.get_by_label("Trigger word", exact=True)
    word.fill("")
    word.press_sequentially("rexdg")
    word.press("ArrowLeft")
    kept = home / "forms" / "lora_trainer.json"
    end = time.monotonic() + 20
    while not (kept.exists() and '"rexdg"' in kept.read_text(encoding="utf-8")):
        assert time.monotonic() < end, "what was typed is not kept while the field has the keyboard"
        page.wait_for_timeout(100)
    word.press("o")
    expect(word).to_have_value("rexdog")
    expect(word).to_be_focused()
    start = page.locator(".easel-bars .easel-start:visible")
    filled = start.evaluate(COLOUR)
    arrow = page.locator(".easel-step-button:visible").first
    icon, before = page.locator(".easel-guide-open"), "(node) => getComputedStyle(node, '::before').content"
    assert icon.evaluate(before) == '""'
    book.restart_kernel()
    expect(page.get_by_text("Disconnected from the kernel")).to_be_visible()
    expect(page.locator(".easel-bars[inert]").first).to_be_attached()
    # The colour changes gradually.
    expect(start).not_to_have_css("background-color", filled)
    assert icon.evaluate(before) == '""'
    assert arrow.evaluate("(node) => getComputedStyle(node, '::after').content") == '""'
