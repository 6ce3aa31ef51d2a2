"""A file that is not complete goes on from its row, or where its part waits, and the tabs of a narrow page are one row."""

import hashlib
import os

import pytest
from playwright.sync_api import expect

from tests.support.pages import go
from trainer_core.keeping import bounds, receiving

KEPT = ".easel[data-easel-keys=kept]"
SIZE_BYTES, HAVE_BYTES = 24 << 20, 16 << 20


@pytest.fixture
def parts(home, tmp_path):
    """Two files of the user's computer, of which a part waits in a folder of Models, by name."""
    (home / "models" / "checkpoints").mkdir(parents=True)
    receiver, found = receiving.Receiver(bounds.spot("models", "checkpoints")), {}
    for name in ("base.bin", "other.bin"):
        content = os.urandom(SIZE_BYTES)
        (tmp_path / name).write_bytes(content)
        [one] = receiver.announce([{"path": name, "size": SIZE_BYTES}])
        for at in range(0, HAVE_BYTES, 8 << 20):
            receiver.write(one.id, at, content[at : at + (8 << 20)])
        found[name] = tmp_path / name
    receiver.close()
    return found


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_part_goes_on_from_its_row_and_where_it_waits_when_another_folder_is_chosen(notebook, page, home, parts):
    notebook(shipped="File_Uploader").run()
    page.wait_for_selector(KEPT)
    expect(page.get_by_label("Folder in it", exact=True)).to_have_value("(directly in it)")
    with page.expect_file_chooser() as asked:
        page.get_by_role("button", name="Continue with models/checkpoints/base.bin").click()
    expect(page.locator(".easel-arrive-told")).to_contain_text(
        "Choose base.bin on your computer again: 16.8 MB of 25.2 MB"
    )
    expect(page.locator(".easel-arrive-where")).to_contain_text("Models / checkpoints")
    asked.value.set_files(parts["base.bin"])
    expect(page.locator(".easel-arrive-is-ok")).to_contain_text("It is in models/checkpoints/base.bin")
    assert digest(home / "models" / "checkpoints" / "base.bin") == digest(parts["base.bin"])
    page.get_by_label("Folder in it", exact=True).select_option(label="(directly in it)")
    expect(page.locator(".easel-arrive-where")).not_to_contain_text("checkpoints")
    page.locator(".easel-arrive input[type=file]").first.set_input_files(parts["other.bin"])
    there = page.get_by_role("button", name="Continue in models/checkpoints")
    expect(there).to_be_focused()
    expect(page.locator(".easel-arrive-asked:visible")).to_contain_text(
        "16.8 MB of other.bin (25.2 MB) are here already"
    )
    expect(page.locator(".easel-files-bar:visible")).to_contain_text("A file waits for your answer")
    there.press("Enter")
    expect(page.locator(".easel-arrive-is-ok")).to_contain_text("It is in models/checkpoints/other.bin")
    assert digest(home / "models" / "checkpoints" / "other.bin") == digest(parts["other.bin"])
    assert [path.name for path in (home / "models").iterdir()] == ["checkpoints"]
    go(page, "Files")
    page.locator(".easel-files-row").filter(has_text="checkpoints").dblclick()
    expect(page.locator(".easel-files-told")).to_contain_text("2 here")
    page.set_viewport_size({"width": 390, "height": 844})
    tabs = page.get_by_role("tablist", name="Places")
    go(page, "Trash")
    expect(page.get_by_role("tab", name="Trash")).to_be_in_viewport(ratio=1)
    assert tabs.bounding_box()["height"] <= 48, "one row"
