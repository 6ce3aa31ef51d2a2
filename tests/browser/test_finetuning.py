"""The finetuning trainer in JupyterLab: methods by keyboard, starter models, the file picker, and a training to its end."""

import re

from playwright.sync_api import expect
from safetensors.numpy import save_file

from tests.support import trained_models
from tests.support.page import prepare

READY = ".easel[data-easel-keys=kept]"
CELLS = "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length"


def test_methods_starter_models_and_the_file_picker_are_used_by_keyboard(notebook, page, tmp_path):
    images = tmp_path / "person" / "albums" / "mika"
    images.mkdir(parents=True)
    notebook(shipped="Finetuning_Trainer", HOME=str(tmp_path / "person")).run()
    page.wait_for_selector(READY)
    cells = page.evaluate(CELLS)
    expect(page.get_by_text("Four questions, then you can train")).to_be_visible()
    assert page.locator(".easel .easel-is-error:visible").count() == 0

    card = page.get_by_role("button", name=re.compile("^DreamBooth"))
    expect(card).to_contain_text("3 to 5 images")
    card.focus()
    page.keyboard.press("Space")
    expect(card).to_have_class(re.compile("mod-active"))
    expect(page.get_by_role("checkbox", name="Train text encoder")).to_be_visible()
    expect(page.get_by_label("Rank", exact=True)).to_have_count(0)
    page.keyboard.press("b")
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert page.evaluate(CELLS) == cells, "JupyterLab does not take the keys"

    first = page.get_by_role("radio").first
    first.focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("It is saved in")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio").nth(1)).to_be_checked()
    expect(page.get_by_role("link", name=re.compile("^Licence"))).to_have_attribute("href", re.compile("^https://"))
    shown, button = page.get_by_role("radio").count(), page.get_by_role("button", name=re.compile("more models$"))
    more = int(button.inner_text().split()[0])
    button.click()
    expect(page.get_by_role("radio")).to_have_count(shown + more)

    choose = page.get_by_role("button", name="Choose a folder")
    choose.focus()
    page.keyboard.press("Enter")
    picker = page.locator(".easel-picker")
    expect(picker.get_by_label("Filter the names")).to_be_focused()
    expect(picker.get_by_label("albums, folder")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(picker.get_by_label("mika, folder")).to_be_focused()
    page.keyboard.press("Backspace")
    expect(picker.get_by_label("albums, folder")).to_be_focused()
    page.keyboard.press("Enter")
    expect(picker.get_by_label("mika, folder")).to_be_focused()
    page.keyboard.press("Enter")
    expect(picker.locator(".easel-picker-path")).to_have_text(str(images))
    picker.get_by_role("button", name="Use this folder").click()
    expect(picker).to_have_count(0)
    expect(choose).to_be_focused()
    expect(page.get_by_role("textbox", name="Folder with images and captions")).to_have_value(str(images))


def test_a_finetuning_runs_to_its_end(notebook, page, home):
    settings = prepare(home)
    model = home / "models" / "tiny.safetensors"
    save_file(trained_models.sd15(), model)
    settings |= {"model.path": str(model), "schedule.steps": 30, "schedule.warmup_steps": 0, "sampling.every_steps": 0}
    notebook({**settings, "native": {"rehearsal": {"steps_per_second": 0}}}, shipped="Finetuning_Trainer").run()
    page.wait_for_selector(READY)
    page.get_by_role("button", name=re.compile("^Full finetuning")).click()
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("button", name="See the result").click()
    expect(page.get_by_role("tab", name=re.compile("^Results"))).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name=re.compile("^Results"))).to_contain_text("trial.safetensors")
