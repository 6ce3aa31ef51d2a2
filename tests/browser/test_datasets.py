"""A person brings images in, looks at them, writes captions, changes many at once and takes it back, in JupyterLab."""

import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.page import wait_for
from tests.support.pages import fill, go
from trainer_core.curation import selections

KEPT = ".easel[data-easel-keys=kept]"
EVIL = "<img src=x onerror=\"window.__pwned='page'\">"
DROP = """([files, target]) => { const data = new DataTransfer();
  for (const [name, bytes, type] of files) data.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt(0))], name, { type }));
  document.querySelector(target).dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }"""


@pytest.fixture
def photos(tmp_path):
    """Sixty images with captions in a folder of the user's computer."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    for number in range(60):
        image = Image.effect_noise((40, 30), 50 + number).convert("RGB").resize((640, 480 + 64 * (number % 3)))
        image.save(folder / f"photo{number:02}.jpg", quality=88)
        (folder / f"photo{number:02}.txt").write_text(f"inkwash, boat, harbour {number}")
    return folder


@pytest.fixture
def app(notebook, page):
    def open_one():
        book = notebook(shipped="Dataset_Preparation").run()
        page.wait_for_selector(KEPT)
        return book

    return open_one


def dataset(home, name="my images"):
    return home / "datasets" / name


def message(page):
    return page.locator(".easel-message:not(.easel-locked)")


def tiles(page):
    return page.locator(".easel-tile:visible")


def test_images_come_in_are_captioned_changed_and_taken_back(app, page, home, photos):
    book = app()
    expect(page.locator(".easel-headline:visible")).to_contain_text("No dataset is open")
    page.locator(".easel-drop input[type=file]").first.set_input_files(sorted(photos.iterdir()))
    expect(page.locator(".easel-figures:visible")).to_contain_text("60")
    expect(message(page)).to_contain_text("Added 60 images with 60 captions")
    assert len(list(dataset(home).glob("*.jpg"))) == 60
    page.wait_for_function(
        "() => [...document.querySelectorAll('.easel-tile img')].filter(one => one.naturalWidth).length >= 6"
    )
    assert tiles(page).count() < 100

    # The caption of one image, with a suggested tag; Ctrl+Enter goes on.
    tiles(page).nth(1).click()
    caption = page.get_by_label("Caption", exact=True)
    expect(caption).to_have_value("inkwash, boat, harbour 1")
    caption.click()
    page.keyboard.press("Control+End")
    page.keyboard.type(", harbour 4")
    expect(page.get_by_role("option", name=re.compile("harbour 4")).first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    expect(caption).to_have_value("inkwash, boat, harbour 2")
    expect(page.get_by_role("button", name="Undo").first).to_be_enabled()
    assert re.fullmatch("inkwash, boat, harbour 1, harbour 4[0-9]?", (dataset(home) / "photo01.txt").read_text())

    # Many at once, with a preview first.
    before = {path.name: path.read_bytes() for path in dataset(home).glob("*.txt")}
    go(page, "Captions")
    page.get_by_label("What to do", exact=True).select_option(label="Replace a tag")
    fill(page, "Tag", "boat")
    fill(page, "New tag", "ship")
    page.get_by_role("button", name="Change 60 captions").click()
    expect(message(page)).to_contain_text("60 files changed")
    assert (dataset(home) / "photo09.txt").read_text() == "inkwash, ship, harbour 9"
    page.locator(".easel-bars:visible").get_by_role("button", name="Undo").click()
    expect(message(page)).to_contain_text("Undo: Replace the tag boat with ship")
    assert {path.name: path.read_bytes() for path in dataset(home).glob("*.txt")} == before

    # After the kernel was restarted, the dataset is open again and can be taken back further.
    book.restart_kernel()
    book.run()
    expect(page.locator(".easel-figures:visible")).to_contain_text("60")
    page.locator(".easel-bars:visible").get_by_role("button", name="Undo").click()
    expect(message(page)).to_contain_text("Undo: Caption of photo01.jpg")
    assert (dataset(home) / "photo01.txt").read_text() == "inkwash, boat, harbour 1"


def test_the_list_is_used_by_keyboard_and_keeps_its_keys(app, page, home, photos):
    dataset(home, "known").parent.mkdir(parents=True)
    photos.rename(dataset(home, "known"))
    app()
    page.get_by_role("button", name="Open the dataset known").press("Enter")
    listbox = page.get_by_role("listbox", name="Images of the dataset")
    expect(tiles(page).first).to_be_visible()
    listbox.focus()
    cells = page.locator(".jp-Cell").count()
    for key in ("d", "d", "b", "a", "x", "z", "ArrowDown", "Home"):
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells
    expect(page.locator(".easel-image-name")).to_have_text("photo00.jpg")
    for key in ("ArrowRight", " ", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".easel-chosen-bar")).to_contain_text("3 chosen")
    page.keyboard.press("k")
    page.keyboard.press("r")
    expect(page.locator(".easel-tile-kept")).to_have_count(1)
    expect(page.locator(".easel-tile-rejected")).to_have_count(1)
    wanted = {"photo03.jpg": "keep", "photo04.jpg": "reject"}
    # They are seen before they are written.
    while dict(selections.read(dataset(home, "known")).choices) != wanted:
        page.wait_for_timeout(100)
    expect(page.locator(".easel-image-name")).to_have_text("photo05.jpg")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Caption", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(listbox).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator(".easel-image-name")).to_have_text("photo59.jpg")
    active = listbox.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-posinset") == "60"
    assert page.locator(f"#{active}").get_attribute("aria-setsize") == "60"
    for width in (1600, 1280, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for place in ("Images", "Captions", "Tagging", "Check", "Edits"):
            go(page, place)
            assert page.evaluate(
                "() => document.querySelector('.easel').scrollWidth <= document.querySelector('.easel').clientWidth"
            ), (width, place)


def test_what_is_typed_lands_at_its_own_image_however_fast_and_survives_a_reload(app, page, home, photos):
    root = dataset(home, "quick")
    root.parent.mkdir(parents=True)
    photos.rename(root)
    book = app()
    page.get_by_role("button", name="Open the dataset quick").click()
    expect(tiles(page).first).to_be_visible()
    page.get_by_role("listbox", name="Images of the dataset").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Caption", exact=True)).to_be_focused()
    for number in range(8):
        page.keyboard.press("Control+A")
        page.keyboard.type(f"<{number}>")
        page.keyboard.press("Control+Enter")
    expect(page.locator(".easel-image-name")).to_have_text("photo08.jpg")
    expect(page.get_by_label("Caption", exact=True)).to_be_editable()
    # Keys that are pressed before an image has arrived wait for it.
    captions = [root / f"photo{number:02}.txt" for number in range(8)]
    wait_for(lambda: captions[-1].read_text() == "<7>")
    assert [caption.read_text() for caption in captions] == [f"<{number}>" for number in range(8)]
    page.get_by_label("Caption", exact=True).fill("typed before the page is gone")
    page.goto("about:blank")
    book.open().run()
    expect(page.locator(".easel-figures:visible")).to_contain_text("60")
    assert (root / "photo08.txt").read_text() == "typed before the page is gone"


def test_files_are_dropped_and_text_from_outside_is_shown_as_text(app, page, home, photos):
    import base64

    app()
    encoded = base64.b64encode((photos / "photo00.jpg").read_bytes()).decode()
    caption = base64.b64encode(f"{EVIL}, boat".encode()).decode()
    name = EVIL.replace("/", "")
    files = [[f"{name}.jpg", encoded, "image/jpeg"], [f"{name}.txt", caption, "text/plain"], ["virus.exe", caption, ""]]
    files.append(["no image.jpg", caption, "image/jpeg"])
    page.evaluate(DROP, [files, ".easel-drop"])
    expect(message(page)).to_contain_text("Added 2 images with 1 caption")
    expect(message(page)).to_contain_text("1 file was left out")
    expect(page.get_by_label("Caption", exact=True)).to_have_value(f"{EVIL}, boat")
    broken = page.locator(".easel-tile").filter(has_text="no image.jpg")
    expect(broken.get_by_text("Cannot be shown")).to_be_visible()
    expect(broken).to_have_attribute("aria-label", re.compile("cannot be shown"))
    for place in ("Captions", "Tagging", "Check", "Edits"):
        go(page, place)
        page.wait_for_timeout(200)
    assert page.evaluate("() => window.__pwned") is None
    assert page.locator(".easel img[src=x], .easel script").count() == 0
