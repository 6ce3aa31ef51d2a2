"""Several image folders and captions in the dataset card of a trainer, by keyboard, in JupyterLab."""

from playwright.sync_api import expect

from tests.support import chat_server
from tests.support.page import draw_images, prepare

KEPT = ".easel[data-easel-keys=kept]"


EVIL = "10_<img src=x onerror=alert(1)>"


def test_folders_are_added_changed_and_captioned_without_leaving_the_trainer(notebook, page, home):
    settings = prepare(home)
    images = home / "images"
    (images / "image5.txt").unlink()
    draw_images(home / EVIL, ["a coat"] * 2)
    notebook(settings).run()
    page.wait_for_selector(KEPT)
    add_one(page, home)
    change(page)
    duplicate_and_remove(page)
    for width in (390, 700, 1360):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(
            "() => { const one = document.querySelector('.easel'); return one.scrollWidth <= one.clientWidth; }"
        ), width
    caption_here(page)
    assert (images / "image5.txt").read_text() == chat_server.FINE


def add_one(page, home):
    rows = page.locator(".easel-folder")
    more = page.get_by_role("button", name="Add another folder")
    expect(more).to_be_visible()
    assert rows.count() == 0, "one folder is as simple as it was"

    more.press("Enter")
    field = page.get_by_label("Folder with more images")
    expect(field).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".easel-folder-message")).to_contain_text("Type the path")
    page.keyboard.type(str(home / EVIL))
    page.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    own = rows.nth(1)
    expect(own).to_contain_text("2 images, each 10 times: 20")
    expect(own.locator("summary").first).to_be_focused()
    assert page.locator(".easel-folder img").count() == 0


def change(page):
    own = page.locator(".easel-folder").nth(1)
    # What JupyterLab would take as commands of a notebook stays in the field.
    caption = own.get_by_label("Default caption")
    caption.fill("")
    caption.press_sequentially("dd bb")
    caption.press("Tab")
    own.get_by_label("Repeats").fill("3")
    own.get_by_label("Repeats").press("Enter")
    expect(own).to_contain_text("each 3 times: 6")
    expect(page.locator(".easel-folder-total")).to_contain_text("6 + 6 = 12 images")
    own.get_by_label("Repeats").fill("0")
    own.get_by_label("Repeats").press("Enter")
    expect(page.locator(".easel-folder-message")).to_contain_text("it must be 1 or more")
    own.get_by_label("Repeats").fill("3")
    own.get_by_label("Repeats").press("Enter")
    expect(page.locator(".easel-folder-message")).to_be_empty()


def duplicate_and_remove(page):
    rows = page.locator(".easel-folder")
    rows.nth(1).get_by_role("button", name="Duplicate").press("Enter")
    expect(rows).to_have_count(3)
    expect(rows.nth(2).locator("summary").first).to_be_focused()
    expect(rows.nth(2)).to_contain_text("the same images")
    rows.nth(2).get_by_role("button", name="Remove").press("Enter")
    expect(rows).to_have_count(2)
    expect(rows.nth(1).locator("summary").first).to_be_focused()
    page.get_by_role("button", name="Put it back").press("Enter")
    expect(rows).to_have_count(3)
    rows.nth(2).get_by_role("button", name="Remove").press("Enter")
    expect(rows).to_have_count(2)
    expect(rows.nth(1).get_by_label("Default caption")).to_have_value("dd bb")


def caption_here(page):
    page.get_by_role("button", name="Caption these").click()
    with chat_server.running() as server:
        page.get_by_role("radio", name="A server").click()
        for name, text in (("Address of the server", server.url), ("Model of the server", chat_server.MODEL)):
            page.get_by_label(name, exact=True).fill(text)
            page.get_by_label(name, exact=True).press("Enter")
        page.get_by_role("button", name="Another question").click()
        page.get_by_label("Another question", exact=True).fill(chat_server.QUESTION)
        page.get_by_label("Another question", exact=True).press("Tab")
        page.locator(".easel-machine").get_by_role("button", name="Start", exact=True).click()
        page.get_by_role("button", name="Write 1 caption").click()
        expect(page.get_by_text("6 of 6 images have a caption")).to_be_visible()
