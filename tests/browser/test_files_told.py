"""What the page of the file uploader says of files that do not come as they are, and of a kernel that is gone."""

import os

from playwright.sync_api import expect

KEPT = ".easel[data-easel-keys=kept]"
LOOK = "(node) => [getComputedStyle(node).filter, getComputedStyle(node).opacity]"


def row(page, name):
    return page.locator(".easel-arrive-row", has=page.locator("b", has_text=name))


def test_every_file_that_was_dropped_is_accounted_for_and_a_lost_kernel_leaves_nothing_that_looks_ready(notebook, page):
    book = notebook(shipped="File_Uploader")
    book.run()
    page.wait_for_selector(KEPT)
    # A browser gives such names for what is in a folder, and for what a page of another program drops.
    page.locator(".easel-arrive-drop").evaluate(
        """(node) => {
          const drag = new DataTransfer();
          const names = ["../../evil.txt", ".bashrc", "CON.safetensors", "z".repeat(250) + ".txt", "zero.safetensors", "notzip.zip"];
          for (const name of names) drag.items.add(new File(name.startsWith("zero") ? [] : ["hello"], name));
          node.dispatchEvent(new DragEvent("drop", { dataTransfer: drag, bubbles: true, cancelable: true }));
        }"""
    )
    told = page.locator(".easel-arrive-told")
    expect(told).to_contain_text("4 of 4 files are here")
    expect(told).to_contain_text("2 were left out, and 3 cannot be used: the list says why.")
    expect(page.locator(".easel-arrive-row")).to_have_count(6)
    expect(row(page, "evil.txt")).to_contain_text("Left out: its name leads out of the folder")
    expect(row(page, ".bashrc")).to_contain_text("Left out: it is hidden")
    expect(row(page, "zzz")).to_contain_text("was too long, and was shortened")
    expect(row(page, "CON.")).to_contain_text("_CON.safetensors, because some systems cannot have")
    expect(row(page, "zero.")).to_contain_text("It is empty")
    expect(row(page, "notzip")).to_contain_text("not a zip")
    expect(page.locator(".easel-arrive-is-ok")).to_have_count(1)
    if folder := os.environ.get("EASEL_TOLD"):
        page.locator(".easel").first.screenshot(path=f"{folder}/told.png")
    headline = page.locator(".easel-bars .easel-headline:visible")
    expect(headline).to_contain_text("Ready for your files")
    assert headline.evaluate(LOOK) == ["none", "1"]
    book.restart_kernel()
    expect(page.get_by_text("Disconnected from the kernel")).to_be_visible()
    expect(page.locator(".easel-bars[inert]").first).to_be_attached()
    assert headline.evaluate(LOOK) == ["grayscale(1)", "0.55"]
    if folder := os.environ.get("EASEL_TOLD"):
        page.screenshot(path=f"{folder}/lost.png")
