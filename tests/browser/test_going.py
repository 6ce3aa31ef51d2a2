"""By keyboard to each part of a place, and one line of the bar on a narrow page, in JupyterLab."""

import pytest
from playwright.sync_api import expect

from tests.support import axe
from tests.support.keyboard import Keyboard
from tests.support.page import prepare

MOST = 10
"""So many presses lead from the tabs to any part of a place at most."""
PARTS = ["Model", "Dataset", "Recipe", "Output", "Samples", "Memory", "Machine"]
OUTLINE = "() => getComputedStyle(document.activeElement).outlineStyle"
BAR = "() => document.querySelector('.easel-launch > .easel-ready').getBoundingClientRect()"


@pytest.fixture
def keys(page):
    return Keyboard(page)


def to_tabs(page, place="Prepare"):
    page.get_by_role("tab", name=place, exact=True).focus()


def test_every_step_is_a_few_keys_from_the_tabs(notebook, page, home, keys, with_axe):
    notebook(prepare(home), "sd15-character").run()
    page.wait_for_selector(axe.READY)
    menu = page.get_by_role("menu", name="Go to…")
    for number, part in enumerate(PARTS):
        to_tabs(page)
        pressed = ["Tab", "Enter", *["ArrowDown"] * number, "Enter"]
        assert len(pressed) <= MOST
        keys.press(*pressed)
        now = keys.focused()
        assert now["name"].startswith(part)
        assert now["seen"]
        assert page.evaluate(OUTLINE) == "solid"
        expect(menu).to_be_hidden()
    # A letter leads to the next part that begins with it, ArrowUp to the last one, and Escape back to the button.
    to_tabs(page)
    keys.press("Tab", "ArrowUp")
    assert (keys.focused()["name"], page.evaluate(OUTLINE)) == ("Machine", "solid")
    assert menu.get_by_role("menuitem").all_inner_texts() == PARTS
    keys.press("s")
    assert keys.focused()["name"] == "Samples"
    with_axe()
    assert axe.look(page, "going, closed", ["Light"]) == []
    to_tabs(page)
    keys.press("Tab", "Enter")
    expect(menu).to_be_visible()
    assert page.evaluate(axe.FINDINGS, []) == []
    keys.press("Escape")
    expect(menu).to_be_hidden()
    assert keys.focused()["name"] == "Go to…"
    # Tab leaves the menu, and goes on behind it.
    keys.press("Enter", "Tab")
    expect(menu).to_be_hidden()
    assert keys.focused()["name"] == "Guide"
    keys.press("Shift+Tab", "Shift+Tab")
    assert keys.focused()["role"] == "tab"


def test_another_notebook_has_it_for_places_with_several_parts(notebook, page, keys):
    notebook(shipped="Model_Converter").run()
    page.wait_for_selector(axe.READY)
    to_tabs(page, "Convert")
    keys.press("Tab", "Enter", "End", "Enter")
    assert keys.focused()["name"] == "What will be made"
    assert keys.focused()["seen"]
    assert page.evaluate(OUTLINE) == "solid"
    to_tabs(page, "Check")
    keys.press("Enter")
    page.get_by_role("button", name="Go to…").wait_for(state="hidden")


def test_a_narrow_page_with_a_problem_keeps_one_line_in_sight(notebook, page, home, keys):
    notebook(prepare(home) | {"network.rank": 5000, "network.alpha": -1.0}, "sd15-character").run()
    page.wait_for_selector(axe.READY)
    fix = page.locator(".easel-problem .easel-fix:visible").first
    start, title = page.get_by_role("button", name="Start training"), page.get_by_text("3 things to settle")
    for width, height in ((700, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        expect(fix).to_be_visible()
        page.evaluate("() => document.querySelector('.easel .easel-step:last-child').scrollIntoView({block: 'end'})")
        expect(fix).not_to_be_in_viewport()
        expect(start).to_be_in_viewport(ratio=1)
        expect(title).to_be_in_viewport(ratio=1)
        assert page.evaluate(BAR)["height"] < height / 15
        said, button = title.bounding_box(), start.bounding_box()
        assert said["x"] + said["width"] <= button["x"]
        # By Tab the problem comes into sight again, below the line.
        start.focus()
        keys.press("Tab")
        expect(fix).to_be_focused()
        expect(fix).to_be_in_viewport(ratio=1)
        bar = page.evaluate(BAR)
        assert fix.bounding_box()["y"] >= bar["y"] + bar["height"]
