"""axe-core's rules on every place of the notebooks for model files and of the file notebook, in JupyterLab, in light and dark."""

import re

from playwright.sync_api import expect

from tests.support import small_models, tool_files
from tests.support.axe import READY, look
from tests.support.pages import go

TWO = ("Light", "Dark")


def seen(page, *places):
    """What axe-core finds in these places, with everything unfolded."""
    found = []
    for place in places:
        page.get_by_role("tab", name=place, exact=True).click()
        for fold in page.locator(".easel-fold:visible").all():
            if fold.get_attribute("aria-expanded") != "true":
                fold.click()
        page.wait_for_timeout(300)
        found += look(page, place, TWO)
    return found


def enter(page, label, text):
    """Types into the field with this label, of the place that is shown."""
    field = page.get_by_label(label, exact=True).locator("visible=true").first
    field.fill(str(text))
    field.press("Enter")


def test_axe_finds_nothing_in_the_checkpoint_merger(notebook, page, tmp_path, with_axe):
    base = small_models.arrays("sd15", 1)
    model = small_models.write(tmp_path / "one.safetensors", base)
    other = small_models.write(tmp_path / "two.safetensors", small_models.near(base, 2))
    notebook(shipped="Checkpoint_Merger").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "merger, first", TWO)
    enter(page, "Model A", model)
    enter(page, "Model B", other)
    page.get_by_role("button", name="Merge", exact=True).locator("visible=true").click()
    page.locator(".easel-tool-made:visible").wait_for()
    found += seen(page, "Job", "Jobs", "Bake LoRAs")
    assert found == []


def test_axe_finds_nothing_in_the_lora_utilities(notebook, page, tmp_path, with_axe):
    lora = tool_files.loras(tmp_path / "loras")["elena"]
    notebook(shipped="Lora_Utilities").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "LoRA, first", TWO)
    enter(page, "LoRA", lora)
    page.get_by_role("button", name="Look inside", exact=True).locator("visible=true").click()
    page.locator(".easel-lora-report:visible").wait_for()
    found += seen(page, "Job", "Merge", "Extract")
    go(page, "Scale")
    enter(page, "LoRA", lora)
    page.get_by_role("button", name="Show its blocks").click()
    go(page, "Metadata")
    enter(page, "LoRA", lora)
    enter(page, "Title", "Another title")
    expect(page.locator(".easel-tool-keys li", has_text="then")).to_have_count(1)
    go(page, "Publish")
    enter(page, "LoRA", lora)
    expect(page.get_by_label("Model card", exact=True)).to_have_value(re.compile("elenavr"))
    found += seen(page, "Scale", "Metadata", "Publish")
    assert found == []


def test_axe_finds_nothing_in_the_model_converter(notebook, page, tmp_path, with_axe):
    model = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    notebook(shipped="Model_Converter").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "converter, first", TWO)
    enter(page, "File or folder 1", model)
    found += seen(page, "Convert", "Check", "Jobs")
    assert found == []


def test_axe_finds_nothing_in_the_file_uploader(notebook, page, home, with_axe):
    folder = home / "datasets" / "elena"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"image{number}.txt").write_text("caption")
    notebook(shipped="File_Uploader").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "files, first", TWO)
    go(page, "Files")
    page.get_by_label("Folder", exact=True).select_option(label="Datasets")
    page.locator(".easel-files-row").first.click()
    found += seen(page, "Files", "From a link")
    go(page, "Files")
    page.locator(".easel-files-row").first.click()
    page.keyboard.press("Delete")
    found += look(page, "files, asked", TWO)
    page.get_by_role("button", name="Move to the trash").press("Enter")
    found += seen(page, "Trash")
    assert found == []
