"""axe-core's rules on every place of the LoRA app and of the file app, in JupyterLab, in light and dark."""

import re

from playwright.sync_api import expect

from tests.support import tool_files
from tests.support.axe import READY, TWO, look, seen
from tests.support.pages import go
from tests.support.tool_pages import enter


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
    # Not the first row: until the kernel has answered, it is one of the folder before.
    row, chosen = page.locator(".easel-files-row", has_text="elena"), page.locator(".easel-files-chosen")
    row.click()
    expect(chosen).to_contain_text("elena")
    found += seen(page, "Files", "From a link")
    go(page, "Files")
    row.click()
    expect(chosen).to_contain_text("elena")
    page.keyboard.press("Delete")
    found += look(page, "files, asked", TWO)
    page.get_by_role("button", name="Move to the trash").press("Enter")
    found += seen(page, "Trash")
    assert found == []
