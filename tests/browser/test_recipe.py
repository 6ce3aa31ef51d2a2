"""The recipe and the samples in JupyterLab: cards, epochs, prompts and profiles, by keyboard and in every width."""

import re
from dataclasses import replace

from playwright.sync_api import expect

from tests.support.page import prepare
from tests.support.pages import fill, unfold
from trainer_core import profiles

READY = ".easel[data-easel-keys=kept]"
CELLS = "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length"
FOCUSED = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
OVERFLOW = """() => [...document.querySelectorAll('.easel-cards *, .easel-linked *, .easel-prompts *, .easel-part *')].filter(node => {
  if (!node.checkVisibility() || node.closest('.easel-beside, .easel-pop, svg')) return false;
  const own = node.getBoundingClientRect(), app = document.querySelector('.easel').getBoundingClientRect();
  return own.width > 1 && (own.right > app.right + 1 || own.left < app.left - 1);
}).map(node => `${node.className}: ${node.innerText?.slice(0, 60)}`)"""
TALL = """() => [...document.querySelectorAll('.easel-card-choice b')].filter(node => node.offsetHeight > 24).map(node => node.innerText)"""


def test_cards_and_epochs_are_used_by_keyboard(notebook, page, home):
    notebook(prepare(home, steps=40), "sd15-character").run()
    page.wait_for_selector(READY)
    cells = page.evaluate(CELLS)
    cards = page.get_by_role("radiogroup", name="What should it learn?")
    expect(cards.get_by_role("radio", name="Character")).to_have_attribute("aria-checked", "true")
    cards.get_by_role("radio", name="Character").focus()
    page.keyboard.press("ArrowRight")
    expect(cards.get_by_role("radio", name="Style")).to_have_attribute("aria-checked", "true")
    expect(page.get_by_label("Profile", exact=True)).to_have_value(re.compile("."))
    expect(page.get_by_label("Profile", exact=True).locator("option:checked")).to_have_text("Style")
    for key in ("b", "d", "d", "x", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.get_by_label("Profile", exact=True).locator("option:checked")).to_have_text("Character")
    assert "Character" in page.evaluate(FOCUSED)

    fill(page, "Repeats", "2")
    fill(page, "Batch size", "2")
    epochs = page.get_by_label("Steps, in epochs", exact=True)
    expect(epochs).to_have_value("6.7")
    fill(page, "Steps, in epochs", "10")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("60")
    fill(page, "Steps, in epochs", "many")
    expect(epochs).to_have_value("10")
    fill(page, "Steps", "61")
    expect(epochs).to_have_value("10.2")
    described = page.evaluate(
        "field => document.getElementById(field.getAttribute('aria-describedby').split(' ').at(-1)).innerText",
        epochs.element_handle(),
    )
    assert "6 steps make an epoch." in described

    assert page.evaluate(CELLS) == cells


def test_prompts_are_edited_by_keyboard_in_every_width(notebook, page, home):
    notebook(prepare(home, steps=60), "sd15-character").run()
    page.wait_for_selector(READY)
    cells = page.evaluate(CELLS)
    unfold(page, "Samples")
    prompts = page.get_by_role("list", name="Sample prompts")
    page.get_by_role("button", name="Add a prompt").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "Prompt 2"
    page.keyboard.type("a castle")
    page.keyboard.press("Tab")
    expect(prompts.locator(".easel-prompt-control:visible")).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Add: Portrait")).click()
    expect(page.get_by_label("Prompt 3", exact=True)).to_have_value("{trigger}, portrait, looking at the viewer")
    page.get_by_role("button", name="Move prompt 3 up").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt 2", exact=True)).to_have_value("{trigger}, portrait, looking at the viewer")
    assert page.evaluate(FOCUSED) == "Move prompt 2 up", "the keyboard stays with the prompt"
    page.get_by_label("Size, seed and more of prompt 2").click()
    seed = page.get_by_label("Seed of prompt 2", exact=True)
    seed.fill("7")
    seed.press("Tab")
    expect(prompts.get_by_text("Seed 7")).to_be_visible()
    page.get_by_role("button", name="Remove prompt 2").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt 2", exact=True)).to_have_value("a castle")
    expect(page.get_by_label("Prompt 2", exact=True)).to_be_focused()
    page.get_by_role("button", name="Put it back").click()
    expect(page.get_by_label("Prompt 3", exact=True)).to_have_value("a castle")
    expect(prompts.get_by_text("Seed 7")).to_be_visible()
    fill(page, "Sample every (steps)", "20")
    expect(page.get_by_text("3 prompts, every 20 steps: 9 images")).to_be_visible()
    width = page.get_by_label("Width (px) of prompt 2", exact=True)
    width.fill("5")
    width.press("Tab")
    expect(page.get_by_text("number 2: width", exact=False)).to_be_visible()
    page.get_by_label("Prompt 1", exact=True).focus()
    for key in ("b", "d", "d"):
        page.keyboard.press(key)
    assert page.evaluate(CELLS) == cells
    for width in (1600, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate(OVERFLOW) == [], width
        assert page.evaluate(TALL) == [], width


def test_profiles_are_compared_saved_and_exchanged_on_the_page(notebook, page, home, tmp_path):
    theirs = replace(profiles.shipped()["sd15-style"], id="of-a-friend", title="Friend")
    (tmp_path / "friend.toml").write_text(profiles.dumps(theirs))
    notebook(prepare(home, steps=40), "sd15-character").run()
    page.wait_for_selector(READY)
    page.get_by_role("button", name="Compare two profiles").click()
    page.get_by_label("Compared with", exact=True).select_option(label="Style")
    expect(page.locator(".easel-beside tbody tr").first).to_have_class("easel-differs")
    expect(page.get_by_text(re.compile(r"\d+ of \d+ settings differ"))).to_be_visible()
    page.get_by_role("button", name="Save as my profile").click()
    fill(page, "Name of the profile", "My figure")
    page.get_by_role("button", name="Save as my profile").last.click()
    mine = page.get_by_role("radio", name="My figure")
    expect(mine).to_have_attribute("aria-checked", "true")
    page.get_by_role("button", name="Import and export").click()
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload a file").click()
    chosen.value.set_files(tmp_path / "friend.toml")
    expect(page.get_by_text("“Friend”", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Save it as mine").click()
    expect(page.get_by_role("radio", name="Friend")).to_be_visible()
    page.get_by_label("Your profiles", exact=True).select_option(label="Friend")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download it").click()
    assert profiles.load(saved.value.path().rename(tmp_path / saved.value.suggested_filename)) == theirs
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("radio", name="Friend")).to_have_count(0)
    page.get_by_role("button", name="Put it back").click()
    expect(page.get_by_role("radio", name="Friend")).to_be_visible()
