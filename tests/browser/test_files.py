"""Files come in through JupyterLab over a bad network, are tidied up by keyboard, and go out again."""

import re
import zipfile
from dataclasses import replace

from playwright.sync_api import expect

from tests.support import lab, shipped
from tests.support.pages import go
from tests.support.relay import relay
from tests.support.sending import digest, large_file, sent

KEPT = ".easel[data-easel-keys=kept]"
EVIL = "<img src=x onerror=\"window.__pwned='page'\">.txt"


def message(page):
    return page.locator(".easel-message:not(.easel-locked)")


def test_a_large_file_is_cut_twice_and_arrives_whole(server, page, home, tmp_path):
    large = large_file(tmp_path)
    with relay(server.address) as network:
        shipped.write(server, "large.ipynb", {"EASEL_HOME": str(home)}, shipped="File_Uploader")
        book = lab.Notebook(page, replace(server, address=f"http://127.0.0.1:{network.port}"), "large.ipynb")
        book.open().run()
        page.wait_for_selector(KEPT)
        page.locator(".easel-arrive input[type=file]").first.set_input_files(large)
        assert sent(page, 0.2) >= 0.2
        # JupyterLab connects again by itself; what was on its way is lost.
        assert network.cut() > 0
        network.mend()
        assert sent(page, 0.5) >= 0.5, "it goes on by itself"
        assert list((home / "models").glob("[!.]*")) == []
        book.save()
        book.reopen()
        page.wait_for_selector(KEPT)
        expect(page.locator(".easel-files-unfinished")).to_contain_text("base.dat")
        page.locator(".easel-arrive input[type=file]").first.set_input_files(large)
        expect(page.locator(".easel-arrive-is-ok")).to_contain_text("the same here and on your computer")
    assert digest(home / "models" / "base.dat") == digest(large)
    expect(page.locator(".easel-arrive-hash")).to_contain_text(digest(large))
    for session in server.call("sessions"):
        server.call(f"sessions/{session['id']}", "DELETE")


def test_files_are_tidied_up_by_keyboard_and_downloaded_as_a_zip(notebook, page, home, tmp_path):
    folder = home / "datasets" / "elena"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"image{number:04}.txt").write_text("caption")
    (folder / EVIL).write_text("evil")
    notebook(shipped="File_Uploader").run()
    page.wait_for_selector(KEPT)
    go(page, "Files")
    page.get_by_label("Folder", exact=True).select_option(label="Datasets")
    listbox = page.get_by_role("listbox", name="Files in this folder")
    expect(page.locator(".easel-files-row")).to_contain_text(["elena"])
    listbox.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".easel-files-told")).to_contain_text("3,001 here")
    assert page.locator(".easel-files-row").count() < 60, "only the rows in sight are made"
    cells = page.locator(".jp-Cell").count()
    for key in ("d", "d", "b", "a", "x", "End", "Home", "ArrowDown", " ", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells, "JupyterLab takes none of the keys"
    expect(page.locator(".easel-files-told")).to_contain_text("3 chosen")
    expect(page.locator(".easel-files-chosen")).to_contain_text("3 files")
    page.keyboard.press("Delete")
    expect(page.locator(".easel-files-asks:visible")).to_contain_text("Move these 3 to the trash?")
    page.get_by_role("button", name="Move to the trash").press("Enter")
    expect(message(page)).to_contain_text("Moved 3 to the trash")
    assert len(list(folder.iterdir())) == 2998
    listbox.focus()
    page.keyboard.press("Home")
    page.keyboard.press("F2")
    page.keyboard.type("first")
    page.keyboard.press("Enter")
    expect(message(page)).to_contain_text("to first.txt")
    assert (folder / "first.txt").exists()
    page.keyboard.press("Backspace")
    expect(page.locator(".easel-files-told")).to_contain_text("1 here")
    page.locator(".easel-files-row").first.click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("^Download")).click()
    saved = tmp_path / "elena.zip"
    waiting.value.save_as(saved)
    with zipfile.ZipFile(saved) as packed:
        assert packed.testzip() is None
        assert len(packed.namelist()) == 2998
    assert not page.evaluate("() => window.__pwned")
    go(page, "Trash")
    page.get_by_role("button", name=re.compile("^Put image")).first.press("Enter")
    expect(message(page)).to_contain_text("again")
    assert len(list(folder.iterdir())) == 2999
    for width in (1600, 1280, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for place in ("Bring in", "From a link", "Files", "Trash"):
            go(page, place)
            wide = page.evaluate(
                "() => { const app = document.querySelector('.easel'); return app.scrollWidth - app.clientWidth }"
            )
            assert wide <= 1, f"{place} at {width} is {wide} pixels too wide"
